//! The store in which nodes share their buckets: Redis 5 or later, or Valkey. Each bucket takes one
//! call of a script, and a round is one pipeline.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, RedisError};
use tokio::time::timeout;

use crate::limit::Bucket;

const SCRIPT: &str = include_str!("renew.lua");
const COOLDOWN_SCRIPT: &str = include_str!("cooldown.lua");

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a round may take. A slower store would delay requests whose slices run out, so it counts as
/// down.
const ROUND_TIMEOUT: Duration = Duration::from_millis(500);

/// The request of one bucket.
pub(crate) struct LeaseRequest {
    pub key: String,
    pub bucket: Arc<Bucket>,
    /// Units that were used before the store knew of them. Negative units are returned.
    pub used: i64,
    pub requested: u64,
}

/// The store's response to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub units: u64,
    /// Units left for all nodes.
    pub left: u64,
    /// The time until one more unit is there.
    pub wait: Duration,
}

/// What a node has to say of the cooldown of an account.
pub(crate) struct Cooldown {
    pub key: String,
    /// Milliseconds that the account rests; 0 if this node knows of none by itself.
    pub ms: u64,
    /// Whether one that this node has reported has ended before its time.
    pub is_over: bool,
}

/// The store, with its connection if there is one.
pub(crate) struct Remote {
    client: Client,
    open: Option<Open>,
}

struct Open {
    connection: MultiplexedConnection,
    /// The script's hash, by which the store knows it.
    script: String,
    /// That of the script of cooldowns.
    cooldown_script: String,
}

impl Remote {
    /// Makes a client. The error does not show the URL, which may hold a password.
    pub(crate) fn new(url: &str) -> Result<Remote, String> {
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let client = Client::open(info).map_err(|error| error.to_string())?;
        Ok(Remote { client, open: None })
    }

    /// Performs one round: a grant for each request, in order. Without requests it checks whether the
    /// store responds.
    ///
    /// After an error it is unknown what was granted, and the next round opens a new connection.
    pub(crate) async fn renew(&mut self, requests: &[LeaseRequest]) -> Result<Vec<Grant>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let (open, grants) = within(ROUND_TIMEOUT, renew(open, requests)).await?;
        self.open = Some(open);
        Ok(grants)
    }

    /// Reports cooldowns. Returns the milliseconds that each account rests as all nodes know, in order.
    pub(crate) async fn share_cooldowns(&mut self, cooldowns: &[Cooldown]) -> Result<Vec<u64>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let (open, left) = within(ROUND_TIMEOUT, share_cooldowns(open, cooldowns)).await?;
        self.open = Some(open);
        Ok(left)
    }

    async fn connect(&self) -> Result<Open, RedisError> {
        // The timeouts are set here.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(COOLDOWN_SCRIPT).query_async(&mut connection).await;
        Ok(Open { connection, script, cooldown_script: load? })
    }
}

async fn renew(mut open: Open, requests: &[LeaseRequest]) -> Result<(Open, Vec<Grant>), RedisError> {
    if requests.is_empty() {
        redis::cmd("PING").exec_async(&mut open.connection).await?;
        return Ok((open, Vec::new()));
    }
    let mut pipeline = Pipeline::with_capacity(requests.len());
    for LeaseRequest { key, bucket, used, requested } in requests {
        let per_microsecond = f64::from(bucket.rate()) * 1000.0 / bucket.per().nanos() as f64;
        let call = pipeline.cmd("EVALSHA").arg(&open.script).arg(1).arg(key);
        call.arg(bucket.burst()).arg(per_microsecond).arg(*used).arg(*requested);
    }
    let answers: Vec<(u64, u64, u64)> = pipeline.query_async(&mut open.connection).await?;
    let grant = |(units, left, wait)| Grant { units, left, wait: Duration::from_micros(wait) };
    Ok((open, answers.into_iter().map(grant).collect()))
}

async fn share_cooldowns(mut open: Open, cooldowns: &[Cooldown]) -> Result<(Open, Vec<u64>), RedisError> {
    let mut pipeline = Pipeline::with_capacity(cooldowns.len());
    for Cooldown { key, ms, is_over } in cooldowns {
        if *ms > 0 {
            pipeline.cmd("EVALSHA").arg(&open.cooldown_script).arg(1).arg(key).arg(*ms);
        } else {
            pipeline.cmd(if *is_over { "DEL" } else { "PTTL" }).arg(key);
        }
    }
    // PTTL is below zero for a key that is not there.
    let left: Vec<i64> = pipeline.query_async(&mut open.connection).await?;
    Ok((open, left.into_iter().map(|left| u64::try_from(left).unwrap_or(0)).collect()))
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(time, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
    }
}
