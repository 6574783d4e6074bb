//! Connections to PostgreSQL. Each is opened at its first use, opened again after it was lost, and
//! every call on it has a timeout.
//!
//! There are several, so that a write which waits for another session's lock delays no read: one
//! reads and listens, one writes, and two are for the logs.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{MappedMutexGuard, Mutex, watch};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};

use crate::config::boot::db_url::DbUrl;
use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::postgres::explain::{QueryError, explain};
use crate::control_plane::store::postgres::tls;
use crate::control_plane::store::postgres::tls::Tls;

/// The longest wait for a connection, if DB_URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for a response. Reading 100,000 rows takes a second or two.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest wait for the response to a query that needs no work. A server that is silent for so
/// long counts as unreachable.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for a change of one row. It is shorter than the caller's own timeout, so that
/// the connection is given up here.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(25);
/// What each change of a batch adds to that.
pub(super) const WRITE_TIMEOUT_PER_ROW: Duration = Duration::from_millis(20);
/// The longest wait for migrations, which may have to rewrite a table of logs.
pub(super) const MIGRATION_TIMEOUT: Duration = Duration::from_secs(1800);
/// How long sent bytes may stay without an acknowledgement (`TCP_USER_TIMEOUT`).
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// How the database is reached.
pub(super) struct Access {
    config: Config,
    tls: Tls,
    /// The name of the store in messages, never with a password.
    pub place: String,
    connect: Duration,
}

impl Access {
    pub(super) fn new(url: &DbUrl) -> Result<Access, Error> {
        let place = format!("PostgreSQL {}", url.place());
        let tls = Tls::new(url.tls, url.root_cert.as_deref()).map_err(|why| {
            Error::new(Fault::Unavailable, format!("the store {place} can't be asked over TLS: {why}"))
        })?;
        let mut config = Config::new();
        for (host, port) in &url.hosts {
            config.host(host).port(*port);
        }
        // Without a user it is the system's, as for every client of PostgreSQL.
        let user = url.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "postgres".to_owned());
        config.user(&user).dbname(url.database.as_deref().unwrap_or(&user));
        if let Some(password) = &url.password {
            config.password(password.as_bytes());
        }
        if let Some(options) = &url.options {
            config.options(options);
        }
        let connect = url.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        config
            .ssl_mode(tls::ssl_mode(url))
            .tcp_user_timeout(ACK_TIMEOUT)
            .application_name(url.application_name.as_deref().unwrap_or("llm-proxy"))
            .connect_timeout(connect)
            .keepalives_idle(Duration::from_secs(30));
        Ok(Access { config, tls, place, connect: connect * u32::try_from(url.hosts.len()).unwrap_or(1) })
    }

    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, tls::Stream<Socket>>), Error> {
        match timeout(self.connect * 2, self.config.connect(self.tls.clone())).await {
            Ok(Ok(pair)) => Ok(pair),
            Ok(Err(error)) => Err(explain(&self.place, &error)),
            Err(_) => Err(self.timed_out(self.connect * 2)),
        }
    }

    fn timed_out(&self, waited: Duration) -> Error {
        let message = format!(
            "the store {} gave no answer within {} s; is its host reachable, or is another session holding a lock?",
            self.place,
            waited.as_secs()
        );
        Error::new(Fault::Unavailable, message)
    }
}

/// The unsolicited messages of a connection.
#[derive(Default)]
pub(super) struct Notifications {
    /// The number of notices and of lost connections so far.
    pub count: watch::Sender<u64>,
    /// Set with each new connection: changes before it may have gone unnoticed.
    pub gap: AtomicBool,
}

impl Notifications {
    fn signal(&self) {
        self.count.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// One connection, if it is open.
pub(super) type ClientSlot = Mutex<Option<StoreClient>>;

/// An open connection.
pub(super) struct StoreClient {
    pub client: Client,
    /// A call on it timed out, so its response may still arrive: the connection can't be used
    /// again.
    given_up: bool,
}

impl StoreClient {
    pub(super) fn new(client: Client) -> StoreClient {
        StoreClient { client, given_up: false }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.given_up || self.client.is_closed()
    }
}

/// An open connection, locked for its one user.
pub(super) type ClientGuard<'a> = MappedMutexGuard<'a, StoreClient>;

/// Waits for a call, at most `longest`.
pub(super) async fn with_timeout<T>(
    access: &Access,
    longest: Duration,
    work: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, (Error, CallEnd)> {
    match timeout(longest, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err((error.explain(&access.place), CallEnd::Answered)),
        Err(_) => Err((access.timed_out(longest), CallEnd::TimedOut)),
    }
}

/// How a failed call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallEnd {
    Answered,
    TimedOut,
}

impl StoreClient {
    /// Notes whether the call timed out, and returns its result.
    pub(super) fn settle<T>(&mut self, answer: Result<T, (Error, CallEnd)>) -> Result<T, Error> {
        answer.map_err(|(error, end)| {
            self.given_up |= end == CallEnd::TimedOut;
            error
        })
    }
}

/// Drives a connection until it ends, and passes on its unsolicited messages.
pub(super) async fn drive(mut connection: Connection<Socket, tls::Stream<Socket>>, notifications: Arc<Notifications>) {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => notifications.signal(),
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!("gateway: PostgreSQL reports: {}", notice.message())
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!("gateway: a connection to postgresql has ended: {error}");
                break;
            }
            None => break,
        }
    }
    notifications.signal();
}
