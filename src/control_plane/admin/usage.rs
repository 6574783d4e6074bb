//! `GET /v1/usage`: a client's look at its own credential. A worker has checked its key.
//!
//! It shows what is in force for the credential: its own limits and budgets, and those of its
//! groups. Of these, which others use too, it shows what is left and not what the others have used.

use std::sync::Arc;

use serde::Serialize;
use tokio::time::{Duration, timeout};

use crate::config::snapshot::{Credential, Snapshot};
use crate::control_plane::admin::budgets::current;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::admin::spend::SpendRow;
use crate::control_plane::admin::view::amount;
use crate::control_plane::store::logs::spend::DAY;
use crate::control_plane::store::logs::{SpendBy, SpendQuery, Tables};
use crate::control_plane::store::{Error, Store, now};
use crate::limit::budget::{Budget, Scope};
use crate::limit::period::{Period, Window, Zone};
use crate::limit::{Bucket, Limits};
use crate::shared::admin::Response;

/// The longest wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Serialize)]
struct Usage<'a> {
    object: &'static str,
    credential: &'a str,
    expires_at: Option<Moment>,
    limits: Vec<LevelLimits<'a>>,
    budgets: Vec<OwnBudget<'a>>,
    /// `None` if the store keeps no sums.
    spend: Option<OwnSpend>,
}

/// The limits of the credential or of one of its groups.
#[derive(Serialize)]
struct LevelLimits<'a> {
    scope: &'static str,
    name: &'a str,
    requests_per_second: Option<Rate>,
    tokens_per_minute: Option<Rate>,
    concurrent_requests: Option<Concurrency>,
}

#[derive(Serialize)]
struct Rate {
    limit: u32,
    remaining: u32,
    /// Milliseconds until all of it is there again.
    reset_ms: u64,
}

#[derive(Serialize)]
struct Concurrency {
    limit: u32,
    running: u64,
}

#[derive(Serialize)]
struct OwnBudget<'a> {
    name: &'a str,
    scope: &'static str,
    unit: &'static str,
    period: &'static str,
    time_zone: &'a str,
    is_hard: bool,
    /// With what was added for this window.
    amount: f64,
    left: f64,
    /// `None` for a budget that others spend of too.
    #[serde(skip_serializing_if = "Option::is_none")]
    spent: Option<f64>,
    since: Option<Moment>,
    renews_at: Option<Moment>,
}

/// What the credential has spent, by calendar in UTC.
#[derive(Serialize)]
struct OwnSpend {
    month: SpendRow,
    today: SpendRow,
    /// Of the month.
    by_model: Vec<SpendRow>,
    by_day: Vec<SpendRow>,
}

/// Responds with status 200, or with 404 or 503 and no body: the worker knows the client's format.
pub(super) async fn answer(context: &Context, id: i64) -> Response {
    let snapshot: Arc<Snapshot> = context.shared.publisher.load();
    // Removed since the worker has seen it.
    let Some(credential) = snapshot.credential(id) else { return Response { status: 404, ..Response::default() } };
    let now_ns = u64::try_from(context.shared.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    match timeout(STORE_TIMEOUT, usage(&*context.store, credential, now_ns)).await {
        Ok(Ok(usage)) => match serde_json::to_vec(&usage) {
            Ok(body) => Response { status: 200, body, ..Response::default() },
            Err(_) => Response { status: 503, ..Response::default() },
        },
        Ok(Err(_)) | Err(_) => Response { status: 503, ..Response::default() },
    }
}

async fn usage<'a>(store: &dyn Store, credential: &'a Credential, now_ns: u64) -> Result<Usage<'a>, Error> {
    let groups = credential.groups().iter().map(|group| ("group", &*group.name, &group.limits));
    let levels = std::iter::once(("credential", &*credential.name, &credential.limits)).chain(groups);
    let limits = levels
        .filter(|(.., limits)| !limits.is_none())
        .map(|(scope, name, limits)| level_limits(scope, name, limits, now_ns))
        .collect();
    let spend = match store.tables() {
        Some(tables) => Some(spend(tables, &credential.name).await?),
        None => None,
    };
    Ok(Usage {
        object: "usage",
        credential: &credential.name,
        expires_at: credential.expires_at.map(Moment),
        limits,
        budgets: budgets(store, credential).await?,
        spend,
    })
}

fn level_limits<'a>(scope: &'static str, name: &'a str, limits: &Limits, now_ns: u64) -> LevelLimits<'a> {
    let rate = |bucket: &Option<Arc<Bucket>>| {
        let bucket = bucket.as_ref()?;
        let level = bucket.level(now_ns);
        Some(Rate { limit: bucket.rate(), remaining: level.left, reset_ms: level.reset_ms })
    };
    let at_once = limits.at_once.as_ref();
    LevelLimits {
        scope,
        name,
        requests_per_second: rate(&limits.requests),
        tokens_per_minute: rate(&limits.tokens),
        concurrent_requests: at_once.map(|limit| Concurrency { limit: limit.most, running: limit.running.count() }),
    }
}

async fn budgets<'a>(store: &dyn Store, credential: &'a Credential) -> Result<Vec<OwnBudget<'a>>, Error> {
    let budgets = credential.budgets();
    if budgets.is_empty() {
        return Ok(Vec::new());
    }
    let reads: Vec<_> = budgets.iter().map(|budget| current(budget)).collect();
    let grants = store.claim(reads.iter().map(|(key, claim, _)| (key.clone(), *claim)).collect()).await?;
    let shown =
        |((budget, (_, _, window)), grant): ((&'a Arc<Budget>, &(_, _, Window)), _)| own(budget, *window, grant);
    Ok(budgets.iter().zip(&reads).zip(grants).map(shown).collect())
}

fn own(budget: &Budget, window: Window, grant: crate::limit::budget::Grant) -> OwnBudget<'_> {
    let terms = &budget.terms;
    let unit = terms.unit.name();
    let moment = |seconds| (terms.period != Period::Total).then_some(Moment(seconds));
    OwnBudget {
        name: &budget.name,
        scope: terms.scope.name(),
        unit,
        period: terms.period.name(),
        time_zone: &terms.zone.name,
        is_hard: terms.is_hard,
        amount: amount(unit, terms.amount.saturating_add(grant.sums.extra)),
        left: amount(unit, grant.left.max(0)),
        spent: (terms.scope == Scope::Credential).then(|| amount(unit, grant.sums.spent)),
        since: moment(window.starts_at),
        renews_at: moment(window.ends_at),
    }
}

async fn spend(tables: &dyn Tables, credential: &str) -> Result<OwnSpend, Error> {
    let today = now() / DAY * DAY;
    let utc = Zone::parse("");
    let month = utc.map_or(today, |utc| Window::of(Period::Month, &utc, today).starts_at);
    let query = |by| SpendQuery {
        by,
        per_day: false,
        from: month,
        to: today,
        only: vec![(SpendBy::Credential, credential.to_owned())],
    };
    let days = tables.spend(query(SpendBy::Day)).await?;
    let models = tables.spend(query(SpendBy::Model)).await?;
    let mut whole = crate::control_plane::store::logs::SpendSums::default();
    days.iter().for_each(|day| whole.add(&day.sums));
    let of_today = days.iter().find(|row| row.day == Some(today)).map(|row| row.sums).unwrap_or_default();
    Ok(OwnSpend {
        month: SpendRow::of(&whole),
        today: SpendRow::of(&of_today),
        by_model: models.into_iter().map(|row| SpendRow::new(row, SpendBy::Model)).collect(),
        by_day: days.into_iter().map(|row| SpendRow::new(row, SpendBy::Day)).collect(),
    })
}
