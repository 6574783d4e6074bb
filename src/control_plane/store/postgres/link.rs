//! Connections: made when they are wanted, made again when they are lost, each call with an end to
//! its patience.
//!
//! There are several, so that a write which waits for somebody's lock holds up no reader: one reads
//! and listens, one writes, and two are for the logs.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{MappedMutexGuard, Mutex, watch};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};

use crate::config::boot::db_url::DbUrl;
use crate::control_plane::store::postgres::explain::{Trouble, explain};
use crate::control_plane::store::postgres::tls;
use crate::control_plane::store::postgres::tls::Tls;
use crate::control_plane::store::{Error, Fault};

/// Longest wait for a connection, if DB_URL has no `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer. Reading 100,000 rows takes a second or two.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for the answer to a question that needs no work. What is silent for so long is
/// away.
pub(super) const GLANCE: Duration = Duration::from_secs(10);
/// Longest wait for a change of one row to be made. Shorter than that of who asks for it, so that
/// the connection is given up here.
pub(super) const CHANGE: Duration = Duration::from_secs(25);
/// What each change of many may add to that.
pub(super) const CHANGE_OF_MANY: Duration = Duration::from_millis(20);
/// Longest wait for migrations, which may have to go through a table of logs.
pub(super) const MIGRATION: Duration = Duration::from_secs(1800);
/// How long what was sent may stay without a receipt.
const RECEIPT: Duration = Duration::from_secs(30);

/// How the database is reached.
pub(super) struct Access {
    config: Config,
    tls: Tls,
    /// For messages.
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
        // Whoever names no user is the system's, as for every client of PostgreSQL.
        let user = url.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "postgres".to_owned());
        config.user(&user).dbname(url.database.as_deref().unwrap_or(&user));
        if let Some(password) = &url.password {
            config.password(password.as_bytes());
        }
        if let Some(options) = &url.options {
            config.options(options);
        }
        let connect = url.connect_timeout.unwrap_or(CONNECT);
        config
            .ssl_mode(tls::ssl_mode(url))
            .tcp_user_timeout(RECEIPT)
            .application_name(url.application_name.as_deref().unwrap_or("llm-proxy"))
            .connect_timeout(connect)
            .keepalives_idle(Duration::from_secs(30));
        Ok(Access { config, tls, place, connect: connect * u32::try_from(url.hosts.len()).unwrap_or(1) })
    }

    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, tls::Stream<Socket>>), Error> {
        match timeout(self.connect * 2, self.config.connect(self.tls.clone())).await {
            Ok(Ok(pair)) => Ok(pair),
            Ok(Err(error)) => Err(explain(&self.place, &error)),
            Err(_) => Err(self.silent(self.connect * 2)),
        }
    }

    fn silent(&self, waited: Duration) -> Error {
        let message = format!(
            "the store {} gave no answer within {} s; is its host reachable, or is another session holding a lock?",
            self.place,
            waited.as_secs()
        );
        Error::new(Fault::Unavailable, message)
    }
}

/// An unsolicited message of a connection.
#[derive(Default)]
pub(super) struct News {
    /// Counts notices and lost connections.
    pub heard: watch::Sender<u64>,
    /// Set with each new connection: what happened before it is not known.
    pub gap: AtomicBool,
}

impl News {
    fn signal(&self) {
        self.heard.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// One connection, if it is made.
pub(super) type Link = Mutex<Option<Live>>;

/// A connection that was made.
pub(super) struct Live {
    pub client: Client,
    /// A call on it took too long, and nobody knows what comes on it next.
    given_up: bool,
}

impl Live {
    pub(super) fn new(client: Client) -> Live {
        Live { client, given_up: false }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.given_up || self.client.is_closed()
    }
}

/// A connection that nobody else uses meanwhile.
pub(super) type Held<'a> = MappedMutexGuard<'a, Live>;

/// Waits for an answer, but not for ever.
pub(super) async fn patiently<T>(
    access: &Access,
    longest: Duration,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, (Error, Patience)> {
    match timeout(longest, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(trouble)) => Err((trouble.explain(&access.place), Patience::Kept)),
        Err(_) => Err((access.silent(longest), Patience::Lost)),
    }
}

/// Whether a call that failed was at least answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Kept,
    Lost,
}

impl Live {
    /// What a call came to.
    pub(super) fn settle<T>(&mut self, answer: Result<T, (Error, Patience)>) -> Result<T, Error> {
        answer.map_err(|(error, patience)| {
            self.given_up |= patience == Patience::Lost;
            error
        })
    }
}

/// Drives a connection until it ends, and passes on its unsolicited messages.
pub(super) async fn drive(mut connection: Connection<Socket, tls::Stream<Socket>>, news: Arc<News>) {
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => news.signal(),
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
    news.signal();
}
