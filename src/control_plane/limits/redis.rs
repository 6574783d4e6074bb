//! The store in which nodes share their buckets and sums of budgets: Redis 5 or later, or Valkey.
//! Each bucket takes one call of a script, and a round is one pipeline.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, Pipeline, RedisError};
use tokio::time::timeout;

use crate::limit::Bucket;
use crate::limit::budget::{Claim, Grant as SumsGrant, Sums};

const SCRIPT: &str = include_str!("renew.lua");
const COOLDOWN_SCRIPT: &str = include_str!("cooldown.lua");
const SUMS_SCRIPT: &str = include_str!("sums.lua");

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a round may take. A slower store would delay requests whose slices run out, so it
/// counts as down.
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

/// What is done to the sums of a budget.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Claim(Claim),
    /// Takes back a claim that was not answered, which has the number of the record: what it wanted
    /// and spent does not count, whether the store has carried it out, will do so or never does.
    /// What it gives counts once.
    Cancel(Claim),
    Reset,
    TopUp(i64),
}

/// What a node has heard last of the sums of a budget.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Tells the sums from those that the store had before it lost its data.
    pub id: String,
    /// How many calls the sums have had. A store that knows of fewer has older data.
    pub calls: u64,
    /// As they were then.
    pub sums: Sums,
}

/// The record by which the store knows what it has carried out already.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its name at the store: of a write, or of the claims of a node.
    pub key: String,
    /// How long it is kept, in milliseconds.
    pub keep_ms: u64,
    /// Of a claim. A later one has a higher number, and makes the earlier ones void.
    pub number: u64,
}

/// A change of the sums of a budget in one window.
pub(crate) struct SumsRequest {
    /// Their name at the store.
    pub key: String,
    /// How long the sums are kept after this, in milliseconds; 0 is for ever.
    pub keep_ms: u64,
    /// [`Heard::id`] of sums that are not there yet.
    pub new_id: String,
    /// `None` before the first answer.
    pub heard: Option<Heard>,
    /// `None` for a claim that only reads.
    pub record: Option<Record>,
    /// What is done to them.
    pub operation: Operation,
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
    /// The hash of the script that changes sums of budgets.
    sums_script: String,
}

impl Remote {
    /// Makes a client. The error does not show the URL, which may hold a password.
    pub(crate) fn new(url: &str) -> Result<Remote, String> {
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let client = Client::open(info).map_err(|error| error.to_string())?;
        Ok(Remote { client, open: None })
    }

    /// Performs one round: a grant for each request, in order. Without requests it checks whether
    /// the store responds.
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

    /// Reports cooldowns. Returns the milliseconds that each account rests as all nodes know, in
    /// order.
    pub(crate) async fn share_cooldowns(&mut self, cooldowns: &[Cooldown]) -> Result<Vec<u64>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let (open, left) = within(ROUND_TIMEOUT, share_cooldowns(open, cooldowns)).await?;
        self.open = Some(open);
        Ok(left)
    }

    /// Changes sums of budgets, each in one step. Returns units granted, what is left, and the
    /// sums, for each in order. After an error it is unknown which of them were changed, and a slow
    /// store may change them still.
    pub(crate) async fn change_sums(&mut self, requests: &[SumsRequest]) -> Result<Vec<(SumsGrant, Heard)>, String> {
        let open = match self.open.take() {
            Some(open) => open,
            None => within(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let (open, grants) = within(ROUND_TIMEOUT, change_sums(open, requests)).await?;
        self.open = Some(open);
        Ok(grants)
    }

    async fn connect(&self) -> Result<Open, RedisError> {
        // The timeouts are set here.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        let load = redis::cmd("SCRIPT").arg("LOAD").arg(COOLDOWN_SCRIPT).query_async(&mut connection).await;
        let load_sums = redis::cmd("SCRIPT").arg("LOAD").arg(SUMS_SCRIPT).query_async(&mut connection).await;
        Ok(Open { connection, script, cooldown_script: load?, sums_script: load_sums? })
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

/// Units granted, left, taken, spent, extra, epoch, id and calls. Numbers come as text: the scripts
/// of Redis have no other whole numbers above 2^53.
type SumsAnswer = (i64, i64, i64, i64, i64, i64, String, u64);

async fn change_sums(mut open: Open, requests: &[SumsRequest]) -> Result<(Open, Vec<(SumsGrant, Heard)>), RedisError> {
    let mut pipeline = Pipeline::with_capacity(requests.len());
    for SumsRequest { key, keep_ms, new_id, heard, record, operation } in requests {
        let call = pipeline.cmd("EVALSHA").arg(&open.sums_script);
        match record {
            Some(record) => call.arg(2).arg(key).arg(&record.key),
            None => call.arg(1).arg(key),
        };
        call.arg(*keep_ms).arg(new_id);
        let (id, sums, calls) =
            heard.as_ref().map_or(("", Sums::default(), 0), |heard| (&heard.id, heard.sums, heard.calls));
        call.arg(id).arg(sums.taken).arg(sums.spent).arg(sums.extra).arg(sums.epoch).arg(calls);
        let (record_ms, number) = record.as_ref().map_or((0, 0), |record| (record.keep_ms, record.number));
        call.arg(record_ms).arg(number);
        match operation {
            Operation::Claim(claim) => add_claim(call, "claim", claim),
            Operation::Cancel(claim) => {
                add_claim(call, "cancel", &Claim { give: claim.give.max(0), want: 0, spent: 0, ..*claim })
            }
            Operation::Reset => call.arg("reset"),
            Operation::TopUp(units) => call.arg("top_up").arg(*units),
        };
    }
    let answers: Vec<SumsAnswer> = pipeline.query_async(&mut open.connection).await?;
    let grant = |(units, left, taken, spent, extra, epoch, id, calls)| {
        let sums = Sums { taken, spent, extra, epoch };
        (SumsGrant { units, left, sums }, Heard { id, calls, sums })
    };
    Ok((open, answers.into_iter().map(grant).collect()))
}

fn add_claim<'call>(call: &'call mut Pipeline, operation: &str, claim: &Claim) -> &'call mut Pipeline {
    let epoch = claim.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    call.arg(operation).arg(epoch).arg(claim.amount).arg(claim.give).arg(claim.want).arg(claim.spent)
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(time, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", time.as_millis())),
    }
}
