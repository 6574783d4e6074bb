//! Takes a database from what [`adopt`](crate::control_plane::store::postgres::adopt) found to the
//! schema of this binary, and back. All steps of one call are one transaction under an advisory
//! lock: of many processes that start at once one does the work, and a step that fails leaves
//! nothing behind.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Transaction};

use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::migrations;
use crate::control_plane::store::migrations::{Applied, Migration};
use crate::control_plane::store::postgres::adopt;
use crate::control_plane::store::postgres::adopt::Found;
use crate::control_plane::store::postgres::explain::QueryError;

/// The lock of those who change the schema, together with the schema's name.
const LOCK: i32 = 0x6c6c_6d70;
/// Longest wait for that lock, or for another session's lock on a table.
const LOCK_TIMEOUT: &str = "60s";

/// The state of a database before a migration.
#[derive(Debug)]
pub(super) struct State {
    pub found: Found,
    pub applied: Vec<Applied>,
}

pub(super) async fn look(client: &(impl GenericClient + Sync)) -> Result<State, QueryError> {
    let (found, applied) = match adopt::recognise(&adopt::tables(client).await?) {
        Found::Reported => (Found::Reported, adopt::read_applied(client).await?),
        found => (found, Vec::new()),
    };
    Ok(State { found, applied })
}

/// Returns the missing steps. Fails for a database of another program or of a newer version.
pub(super) fn pending<'a>(known: &'a [Migration], state: &State) -> Result<Vec<&'a Migration>, Error> {
    if let Found::Other(why) = &state.found {
        return Err(Error::new(Fault::Version, why.clone()));
    }
    migrations::pending(known, &state.applied)
}

/// What `up` did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The steps that were run.
    pub steps: Vec<i64>,
    /// There was a database of llm-proxy v1.
    pub adopted: bool,
}

/// Brings the schema up to `to`, or to the newest.
pub(super) async fn up(client: &mut Client, known: &[Migration], to: Option<i64>) -> Result<Done, QueryError> {
    if pending(known, &look(client).await?)?.is_empty() {
        return Ok(Done::default());
    }
    let transaction = locked(client).await?;
    // Read again under the lock: another process may have migrated meanwhile.
    let state = look(&transaction).await?;
    let steps: Vec<_> =
        pending(known, &state)?.into_iter().filter(|step| to.is_none_or(|to| step.version <= to)).collect();
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS llm_proxy_migrations ( \
            version    BIGINT      PRIMARY KEY, \
            name       TEXT        NOT NULL, \
            checksum   TEXT        NOT NULL, \
            adopted    BOOLEAN     NOT NULL DEFAULT false, \
            applied_at TIMESTAMPTZ NOT NULL DEFAULT now() \
        )";
    transaction.batch_execute(TABLE).await?;
    let adopted = state.found == Found::Version1;
    for step in &steps {
        transaction.batch_execute(step.up).await?;
        const LINE: &str =
            "INSERT INTO llm_proxy_migrations (version, name, checksum, adopted) VALUES ($1::bigint, $2, $3, $4)";
        let line: &[(&(dyn ToSql + Sync), Type)] = &[
            (&step.version, Type::INT8),
            (&step.name, Type::TEXT),
            (&step.checksum(), Type::TEXT),
            (&(adopted && step.version == 1), Type::BOOL),
        ];
        transaction.execute_typed(LINE, line).await?;
    }
    transaction.commit().await?;
    Ok(Done { steps: steps.iter().map(|step| step.version).collect(), adopted })
}

/// Reverts steps, the newest first, until `to` is the newest. Returns the reverted ones.
pub(super) async fn down(client: &mut Client, known: &[Migration], to: i64) -> Result<Vec<i64>, QueryError> {
    let transaction = locked(client).await?;
    let state = look(&transaction).await?;
    // An unknown step can't be reverted.
    pending(known, &state)?;
    let mut taken = Vec::new();
    for step in known.iter().rev().filter(|step| step.version > to) {
        if !state.applied.iter().any(|applied| applied.version == step.version) {
            continue;
        }
        let version: &[(&(dyn ToSql + Sync), Type)] = &[(&step.version, Type::INT8)];
        const LINE: &str = "DELETE FROM llm_proxy_migrations WHERE version = $1::bigint RETURNING adopted";
        let adopted: bool = transaction.query_typed_one(LINE, version).await?.try_get(0)?;
        // Objects that were there before the first step stay.
        if !adopted {
            transaction.batch_execute(step.down).await?;
        }
        taken.push(step.version);
    }
    if taken.len() == state.applied.len() && !taken.is_empty() {
        transaction.batch_execute("DROP TABLE llm_proxy_migrations").await?;
    }
    transaction.commit().await?;
    Ok(taken)
}

/// Returns whether a migration of llm-proxy v1 has failed half-way, by its own mark.
pub(super) async fn was_left_dirty(client: &Client) -> Result<bool, QueryError> {
    const HAS_MARK: &str = "SELECT EXISTS (SELECT 1 FROM pg_attribute \
        WHERE attrelid = to_regclass('schema_migrations') AND attname = 'dirty' AND NOT attisdropped)";
    if !client.query_typed_one(HAS_MARK, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    const MARK: &str = "SELECT coalesce(bool_or(dirty::boolean), false) FROM schema_migrations";
    Ok(client.query_typed_one(MARK, &[]).await?.try_get(0)?)
}

/// Returns a transaction that has the lock.
async fn locked(client: &mut Client) -> Result<Transaction<'_>, QueryError> {
    let transaction = client.transaction().await?;
    let settings = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL statement_timeout = 0");
    transaction.batch_execute(&settings).await?;
    let lock = format!("SELECT pg_advisory_xact_lock({LOCK}, hashtext(current_schema()))");
    transaction.batch_execute(&lock).await?;
    Ok(transaction)
}
