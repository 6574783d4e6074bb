//! A PostgreSQL database, shared by any number of gateways, and by operators who write SQL by hand.
//!
//! Changes are announced by `NOTIFY`, and the version is polled as well in case that a notice was
//! lost. A connection that ends is made again at its next use; changes in between are unknown, so
//! that everything is read again.

mod adopt;
mod connection;
mod explain;
mod logs;
mod migrate;
mod rows;
mod spend;
pub mod steps;
mod sums;
mod tls;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Transaction};

use crate::config::boot::db_url::DbUrl;
use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::control_plane::store::change::{AuditRow, Changes, Delta, SumsKey, Write, Written};
use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::identity::digest;
use crate::control_plane::store::interface::Store;
use crate::control_plane::store::logs::Tables;
use crate::control_plane::store::migrations::{Migration, POSTGRES};
use crate::limit::budget::{Claim, Grant};
use connection::{
    Access, ClientGuard, ClientSlot, MIGRATION_TIMEOUT, Notifications, PROBE_TIMEOUT, READ_TIMEOUT, StoreClient,
    WRITE_TIMEOUT, WRITE_TIMEOUT_PER_ROW, drive, with_timeout,
};
use explain::QueryError;
use migrate::Done;
use rows::BEFORE_ALL;

/// Removals that are remembered, in versions; the trigger `llm_proxy_list_removed` forgets those
/// before.
const REMEMBERED: i64 = 100_000;

pub struct Postgres {
    access: Access,
    options: Options,
    notifications: Arc<Notifications>,
    /// The last answer.
    known: Mutex<Option<LastAnswer>>,
    /// Reads and listens.
    reader: ClientSlot,
    /// Writes. Made when there is something to write.
    writer: ClientSlot,
    /// Writes logs, and looks into them. Made when they are wanted.
    log_writer: ClientSlot,
    log_reader: ClientSlot,
    /// Claims of budgets, for which requests wait. Made when there are any.
    claimer: ClientSlot,
    /// A migration of llm-proxy v1 has failed half-way.
    dirty: AtomicBool,
}

/// The note about such a store, after its name.
const DIRTY: &str = "is marked as dirty in schema_migrations: a migration of llm-proxy v1 has failed half-way; its \
    tables are whole and in use, but check the rows, then UPDATE schema_migrations SET dirty = false";

#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether steps that the database lacks are run when it is first connected to.
    pub migrate: bool,
    /// How often it is asked for its version, notices or not.
    pub poll: Duration,
}

impl Postgres {
    /// Connects to nothing yet.
    pub fn new(url: &DbUrl, options: Options) -> Result<Postgres, Error> {
        Ok(Postgres {
            access: Access::new(url)?,
            options,
            notifications: Arc::default(),
            known: Mutex::default(),
            reader: ClientSlot::default(),
            writer: ClientSlot::default(),
            log_writer: ClientSlot::default(),
            log_reader: ClientSlot::default(),
            claimer: ClientSlot::default(),
            dirty: AtomicBool::new(false),
        })
    }

    async fn reader(&self) -> Result<ClientGuard<'_>, Error> {
        let mut guard = self.reader.lock().await;
        if guard.as_ref().is_none_or(StoreClient::is_dead) {
            *guard = None;
            let mut conn = self.connect().await?;
            self.prepare(&mut conn).await?;
            self.notifications.gap.store(true, Ordering::Relaxed);
            *guard = Some(conn);
        }
        self.guarded(guard)
    }

    /// Makes a new connection the reader: with the right tables under it, and listening before
    /// anything is read.
    async fn prepare(&self, conn: &mut StoreClient) -> Result<(), Error> {
        let missing = with_timeout(&self.access, READ_TIMEOUT, missing(&conn.client)).await;
        let missing = conn.settle(missing)?;
        if !missing.is_empty() {
            if !self.options.migrate {
                return Err(QueryError::Reported(lacking(&missing)).explain(&self.access.place));
            }
            let done =
                with_timeout(&self.access, MIGRATION_TIMEOUT, migrate::up(&mut conn.client, POSTGRES, None)).await;
            self.log_steps(&conn.settle(done)?);
        }
        let dirty = with_timeout(&self.access, PROBE_TIMEOUT, migrate::was_left_dirty(&conn.client)).await;
        let dirty = conn.settle(dirty)?;
        if dirty && !self.dirty.swap(true, Ordering::Relaxed) {
            tracing::warn!("gateway: the store {} {DIRTY}", self.access.place);
        }
        let listening = async |client: &Client| Ok(client.batch_execute("LISTEN llm_proxy_config").await?);
        let listening = with_timeout(&self.access, PROBE_TIMEOUT, listening(&conn.client)).await;
        conn.settle(listening)
    }

    /// Any but the reader.
    async fn other<'a>(&'a self, link: &'a ClientSlot) -> Result<ClientGuard<'a>, Error> {
        let mut guard = link.lock().await;
        if guard.as_ref().is_none_or(StoreClient::is_dead) {
            *guard = None;
            // The reader has checked the tables before there is anything to write.
            drop(self.reader().await?);
            *guard = Some(self.connect().await?);
        }
        self.guarded(guard)
    }

    async fn connect(&self) -> Result<StoreClient, Error> {
        let (client, connection) = self.access.connect().await?;
        tokio::spawn(drive(connection, self.notifications.clone()));
        let mut conn = StoreClient::new(client);
        let set = async |client: &Client| Ok(client.batch_execute(SESSION).await?);
        let set = with_timeout(&self.access, PROBE_TIMEOUT, set(&conn.client)).await;
        conn.settle(set)?;
        Ok(conn)
    }

    fn guarded<'a>(&self, guard: MutexGuard<'a, Option<StoreClient>>) -> Result<ClientGuard<'a>, Error> {
        let lost =
            |_| Error::new(Fault::Unavailable, format!("the connection to the store {} is lost", self.access.place));
        MutexGuard::try_map(guard, Option::as_mut).map_err(lost)
    }

    fn log_steps(&self, done: &Done) {
        let place = &self.access.place;
        if done.adopted {
            tracing::info!("gateway: the store {place} was that of llm-proxy v1; all of its rows are kept");
        }
        if !done.steps.is_empty() {
            tracing::info!("gateway: the store {place} was migrated, steps {:?}", done.steps);
        }
    }

    async fn fetch_version(&self) -> Result<i64, Error> {
        let count = *self.notifications.count.borrow();
        let mut reader = self.reader().await?;
        let answer = with_timeout(&self.access, PROBE_TIMEOUT, version(&reader.client)).await;
        let version = reader.settle(answer)?;
        self.remember_version(count, version);
        Ok(version)
    }

    /// `since` of `None` is everything.
    async fn read(&self, since: Option<i64>) -> Result<Changes, Error> {
        let count = *self.notifications.count.borrow();
        let mut reader = self.reader().await?;
        // A gap that opens from here on is seen next time.
        let since = since.filter(|_| !self.notifications.gap.load(Ordering::Relaxed));
        self.notifications.gap.store(false, Ordering::Relaxed);
        let answer = with_timeout(&self.access, READ_TIMEOUT, read(&mut reader.client, since)).await;
        let read = reader.settle(answer);
        match &read {
            Ok(Changes::All(Rows { version, .. }) | Changes::Some(Delta { version, .. })) => {
                self.remember_version(count, *version)
            }
            Err(_) => self.notifications.gap.store(true, Ordering::Relaxed),
        }
        read
    }

    /// Keeps the version of a response, and the number of notices that were known when it was
    /// requested.
    fn remember_version(&self, count: u64, version: i64) {
        let known = LastAnswer { at: Instant::now(), count, version };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Reads the version when there are notices, and else once in [`Options::poll`], however often
    /// this is called.
    async fn wait(&self, since: i64) -> Result<(), Error> {
        let mut notifications = self.notifications.count.subscribe();
        loop {
            let count = *notifications.borrow_and_update();
            let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if self.notifications.gap.load(Ordering::Relaxed) || known.is_some_and(|known| known.version > since) {
                return Ok(());
            }
            match known {
                Some(known) if known.count == count && known.at.elapsed() < self.options.poll => {
                    // The sender lives as long as `self`.
                    let _ = timeout_at(known.at + self.options.poll, notifications.changed()).await;
                }
                _ if self.fetch_version().await? == since => {}
                _ => return Ok(()),
            }
        }
    }
}

/// The last response of the database.
#[derive(Debug, Clone, Copy)]
struct LastAnswer {
    at: Instant,
    /// Of [`Notifications::count`], before it was asked.
    count: u64,
    version: i64,
}

/// The first statements of each session. `search_path` is that of the user or of DB_URL's options.
const SESSION: &str =
    "SET lock_timeout = '10s'; SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '60s'";

/// Returns the steps that the database lacks. Fails for a database of another program.
async fn missing(client: &Client) -> Result<Vec<&'static Migration>, QueryError> {
    let state = migrate::look(client).await?;
    Ok(migrate::pending(POSTGRES, &state)?)
}

fn lacking(missing: &[&Migration]) -> Error {
    let steps: Vec<_> = missing.iter().map(|step| format!("{} ({})", step.version, step.name)).collect();
    let message = format!(
        "lacks the migrations {}; run `llm-proxy migrate up`, or let the server do it with MIGRATE_ON_START=true",
        steps.join(", ")
    );
    Error::new(Fault::Version, message)
}

/// The table of migrations, which each store makes once: its number in its database, and when its
/// first step was taken. `None` where there is no such table yet.
async fn identity(client: &Client) -> Result<Option<String>, QueryError> {
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

async fn version(client: &(impl GenericClient + Sync)) -> Result<i64, QueryError> {
    match client.query_typed_opt("SELECT version FROM config_version WHERE id = 1", &[]).await? {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(write::no_version()),
    }
}

/// All of it is as of one moment.
async fn read(client: &mut Client, since: Option<i64>) -> Result<Changes, QueryError> {
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

impl Store for Postgres {
    fn place(&self) -> String {
        self.access.place.clone()
    }

    fn version(&self) -> Answer<'_, i64> {
        Box::pin(self.fetch_version())
    }

    fn load(&self) -> Answer<'_, Rows> {
        Box::pin(async move {
            match self.read(None).await? {
                Changes::All(rows) => Ok(rows),
                Changes::Some(_) => Err(Error::new(Fault::Unavailable, "asked for everything, the store gave a part")),
            }
        })
    }

    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        Box::pin(self.read(Some(since)))
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        Box::pin(self.wait(since))
    }

    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        Box::pin(async move {
            let mut writer = self.other(&self.writer).await?;
            let longest = WRITE_TIMEOUT + WRITE_TIMEOUT_PER_ROW * u32::try_from(writes.len()).unwrap_or(u32::MAX);
            let answer = with_timeout(&self.access, longest, write::write_all(&mut writer.client, &writes)).await;
            writer.settle(answer)
        })
    }

    fn audit_log(&self, before: Option<i64>, limit: u32) -> Answer<'_, Vec<AuditRow>> {
        Box::pin(async move {
            let mut reader = self.reader().await?;
            let answer =
                with_timeout(&self.access, READ_TIMEOUT, write::audit_log(&reader.client, before, limit)).await;
            reader.settle(answer)
        })
    }

    /// By a connection of its own, since the reader may bring the tables up to date.
    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            let mut conn = self.connect().await?;
            let answer = with_timeout(&self.access, PROBE_TIMEOUT, identity(&conn.client)).await;
            conn.settle(answer)
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let dirty = || Problem { object: "store".to_owned(), message: DIRTY.to_owned() };
        self.dirty.load(Ordering::Relaxed).then(dirty).into_iter().collect()
    }

    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        Box::pin(async move {
            let mut claimer = self.other(&self.claimer).await?;
            let answer = with_timeout(&self.access, PROBE_TIMEOUT, sums::claim(&mut claimer.client, &claims)).await;
            claimer.settle(answer)
        })
    }

    fn tables(&self) -> Option<&dyn Tables> {
        Some(self)
    }
}
