//! The sessions of one database: opened when they are needed, listening for changes, and what each
//! is for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;

use crate::config::boot::db_url::DbUrl;
use crate::config::rows::Rows;
use crate::control_plane::store::change::{Changes, Delta};
use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::migrations::{Migration, POSTGRES};
use crate::control_plane::store::postgres::connection::{
    Access, ClientGuard, ClientSlot, MIGRATION_TIMEOUT, Notifications, PROBE_TIMEOUT, READ_TIMEOUT, StoreClient, drive,
    with_timeout,
};
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::migrate::{self, Done};
use crate::control_plane::store::postgres::read::{read, version};

/// A store in a PostgreSQL database.
pub struct Postgres {
    pub(super) access: Access,
    pub(super) options: Options,
    pub(super) notifications: Arc<Notifications>,
    /// The last answer.
    known: Mutex<Option<LastAnswer>>,
    /// Reads and listens.
    pub(super) reader: ClientSlot,
    /// Writes. Made when there is something to write.
    pub(super) writer: ClientSlot,
    /// Writes logs, and looks into them. Made when they are wanted.
    pub(super) log_writer: ClientSlot,
    pub(super) log_reader: ClientSlot,
    /// Claims of budgets, for which requests wait. Made when there are any.
    pub(super) claimer: ClientSlot,
    /// A migration of llm-proxy v1 has failed half-way.
    pub(super) dirty: AtomicBool,
}

/// The note about such a store, after its name.
pub(super) const DIRTY: &str = "is marked as dirty in schema_migrations: a migration of llm-proxy v1 has failed half-way; its \
    tables are whole and in use, but check the rows, then UPDATE schema_migrations SET dirty = false";

/// What a process does with the database besides reading and writing rows.
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

    pub(super) async fn reader(&self) -> Result<ClientGuard<'_>, Error> {
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
    pub(super) async fn prepare(&self, conn: &mut StoreClient) -> Result<(), Error> {
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
    pub(super) async fn other<'a>(&'a self, link: &'a ClientSlot) -> Result<ClientGuard<'a>, Error> {
        let mut guard = link.lock().await;
        if guard.as_ref().is_none_or(StoreClient::is_dead) {
            *guard = None;
            // The reader has checked the tables before there is anything to write.
            drop(self.reader().await?);
            *guard = Some(self.connect().await?);
        }
        self.guarded(guard)
    }

    pub(super) async fn connect(&self) -> Result<StoreClient, Error> {
        let (client, connection) = self.access.connect().await?;
        tokio::spawn(drive(connection, self.notifications.clone()));
        let mut conn = StoreClient::new(client);
        let set = async |client: &Client| Ok(client.batch_execute(SESSION).await?);
        let set = with_timeout(&self.access, PROBE_TIMEOUT, set(&conn.client)).await;
        conn.settle(set)?;
        Ok(conn)
    }

    pub(super) fn guarded<'a>(&self, guard: MutexGuard<'a, Option<StoreClient>>) -> Result<ClientGuard<'a>, Error> {
        let lost =
            |_| Error::new(Fault::Unavailable, format!("the connection to the store {} is lost", self.access.place));
        MutexGuard::try_map(guard, Option::as_mut).map_err(lost)
    }

    pub(super) fn log_steps(&self, done: &Done) {
        let place = &self.access.place;
        if done.adopted {
            tracing::info!("gateway: the store {place} was that of llm-proxy v1; all of its rows are kept");
        }
        if !done.steps.is_empty() {
            tracing::info!("gateway: the store {place} was migrated, steps {:?}", done.steps);
        }
    }

    pub(super) async fn fetch_version(&self) -> Result<i64, Error> {
        let count = *self.notifications.count.borrow();
        let mut reader = self.reader().await?;
        let answer = with_timeout(&self.access, PROBE_TIMEOUT, version(&reader.client)).await;
        let version = reader.settle(answer)?;
        self.remember_version(count, version);
        Ok(version)
    }

    /// `since` of `None` is everything.
    pub(super) async fn read(&self, since: Option<i64>) -> Result<Changes, Error> {
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
    pub(super) fn remember_version(&self, count: u64, version: i64) {
        let known = LastAnswer { at: Instant::now(), count, version };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Reads the version when there are notices, and else once in [`Options::poll`], however often
    /// this is called.
    pub(super) async fn wait(&self, since: i64) -> Result<(), Error> {
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
