//! Reads the rows, their version and the identity of a database.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Transaction};

use crate::config::rows::Rows;
use crate::control_plane::store::change::{Changes, Delta};
use crate::control_plane::store::identity::digest;
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::rows::{self, BEFORE_ALL};
use crate::control_plane::store::postgres::write;

/// Removals that are remembered, in versions; the trigger `llm_proxy_list_removed` forgets those
/// before.
const REMEMBERED: i64 = 100_000;

/// Returns the table of migrations, which each store makes once: its number in its database, and
/// when its first step was taken. `None` where there is no such table yet.
pub(super) async fn identity(client: &Client) -> Result<Option<String>, QueryError> {
    const THERE: &str = "SELECT to_regclass('llm_proxy_migrations')::oid::bigint";
    const FIRST: &str = "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = current_database()), \
                                extract(epoch FROM min(applied_at))::text FROM llm_proxy_migrations";
    let there = client.query_typed_opt(THERE, &[]).await?;
    let table: Option<i64> = there.map(|row| row.try_get(0)).transpose()?.flatten();
    let Some(table) = table else { return Ok(None) };
    let Some(row) = client.query_typed_opt(FIRST, &[]).await? else { return Ok(None) };
    let (database, first): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(first.map(|first| digest(&format!("postgres:{database}:{table}:{first}"))))
}

pub(super) async fn version(client: &(impl GenericClient + Sync)) -> Result<i64, QueryError> {
    match client.query_typed_opt("SELECT version FROM config_version WHERE id = 1", &[]).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(write::no_version()),
    }
}

/// All of it is as of one moment.
pub(super) async fn read(client: &mut Client, since: Option<i64>) -> Result<Changes, QueryError> {
    let moment =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let version = version(&moment).await?;
    // A version that is behind is that of a backup.
    let since = since.filter(|since| (version - REMEMBERED..=version).contains(since));
    let delta = match since {
        Some(since) => delta(&moment, since, version).await?,
        None => None,
    };
    let changes = match delta {
        Some(delta) => Changes::Some(delta),
        None => Changes::All(Rows {
            version,
            providers: rows::providers(&moment, BEFORE_ALL).await?,
            credentials: rows::credentials(&moment, BEFORE_ALL).await?,
            groups: rows::groups(&moment, BEFORE_ALL).await?,
            models: rows::models(&moment, BEFORE_ALL).await?,
            budgets: rows::budgets(&moment, BEFORE_ALL).await?,
        }),
    };
    moment.commit().await?;
    Ok(changes)
}

/// `None` if that is no longer known.
async fn delta(moment: &Transaction<'_>, since: i64, version: i64) -> Result<Option<Delta>, QueryError> {
    let mut delta = Delta { version, ..Delta::default() };
    const REMOVED: &str = "SELECT object, row_id FROM config_removed WHERE version > $1";
    for row in moment.query_typed(REMOVED, &[(&since, Type::INT8)]).await? {
        match (row.try_get(0)?, row.try_get::<_, Option<i64>>(1)?) {
            ("providers", Some(id)) => delta.removed_providers.push(id),
            ("credentials", Some(id)) => delta.removed_credentials.push(id),
            ("credential_groups", Some(id)) => delta.removed_groups.push(id),
            ("virtual_models", Some(id)) => delta.removed_models.push(id),
            ("budgets", Some(id)) => delta.removed_budgets.push(id),
            _ => return Ok(None),
        }
    }
    delta.providers = rows::providers(moment, since).await?;
    delta.credentials = rows::credentials(moment, since).await?;
    delta.groups = rows::groups(moment, since).await?;
    delta.models = rows::models(moment, since).await?;
    delta.budgets = rows::budgets(moment, since).await?;
    Ok(Some(delta))
}
