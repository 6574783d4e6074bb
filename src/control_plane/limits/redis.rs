//! The store that nodes share their buckets in: Redis 5 or later, or Valkey. One script call for
//! each bucket, all of a round in one pipeline.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, RedisError};
use tokio::time::timeout;

use crate::limit::Bucket;

const SCRIPT: &str = include_str!("renew.lua");

/// A connection that is not made by then is not made.
const CONNECT: Duration = Duration::from_secs(1);
/// A store that is slower than this holds requests back, for their slices run out. Then it is as
/// good as down.
const ANSWER: Duration = Duration::from_millis(500);

/// What one bucket asks.
pub(crate) struct Ask {
    pub key: String,
    pub bucket: Arc<Bucket>,
    /// Units that were used before the store was told; below zero, units that come back.
    pub used: i64,
    pub wanted: u64,
}

/// What the store says to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub units: u64,
    /// Left for all nodes.
    pub left: u64,
    /// Until one more unit is there.
    pub wait: Duration,
}

/// The store, and the connection to it if there is one.
pub(crate) struct Remote {
    client: Client,
    open: Option<Open>,
}

struct Open {
    connection: MultiplexedConnection,
    /// The script's name at the store.
    script: String,
}

impl Remote {
    /// The error does not hold the URL, which may hold a password.
    pub(crate) fn new(url: &str) -> Result<Remote, String> {
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let client = Client::open(info).map_err(|error| error.to_string())?;
        Ok(Remote { client, open: None })
    }

    /// One round: a grant for each ask, in order. Without asks it finds out whether the store is
    /// there.
    ///
    /// After an error nothing is known of what was granted; the connection is made anew.
    pub(crate) async fn ask(&mut self, asks: &[Ask]) -> Result<Vec<Grant>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT, self.connect()).await?,
        };
        let (open, grants) = within(ANSWER, renew(open, asks)).await?;
        self.open = Some(open);
        Ok(grants)
    }

    async fn connect(&self) -> Result<Open, RedisError> {
        // The times that count are ours.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        Ok(Open { connection, script })
    }
}

async fn renew(mut open: Open, asks: &[Ask]) -> Result<(Open, Vec<Grant>), RedisError> {
    if asks.is_empty() {
        redis::cmd("PING").exec_async(&mut open.connection).await?;
        return Ok((open, Vec::new()));
    }
    let mut pipeline = Pipeline::with_capacity(asks.len());
    for Ask { key, bucket, used, wanted } in asks {
        let per_microsecond = f64::from(bucket.rate()) * 1000.0 / bucket.per().nanos() as f64;
        let call = pipeline.cmd("EVALSHA").arg(&open.script).arg(1).arg(key);
        call.arg(bucket.burst()).arg(per_microsecond).arg(*used).arg(*wanted);
    }
    let answers: Vec<(u64, u64, u64)> = pipeline.query_async(&mut open.connection).await?;
    let grant = |(units, left, wait)| Grant { units, left, wait: Duration::from_micros(wait) };
    Ok((open, answers.into_iter().map(grant).collect()))
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(time, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
    }
}
