//! Checks the health of providers. A check on request sends a short request to models of a
//! provider, which costs a few tokens. Those of HEALTH_CHECK_INTERVAL_SECS fetch the list of
//! models, which costs nothing; only a provider without a list gets a short request. The results
//! are in the metrics too.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::rows::ProviderRow;
use crate::config::snapshot::Provider;
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::{Count, Moment};
use crate::control_plane::admin::health_probe::{failure_message, models_to_check, probe_request};
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::control_plane::http::provider;

type Seconds = Count<1, 120>;
type ConcurrencyLimit = Count<1, 10>;

const TIMEOUT: i64 = 30;
/// Of the checks that are asked for by GET.
const SHORT_TIMEOUT: i64 = 10;
const DEFAULT_CONCURRENCY: i64 = 2;
/// The most models of one provider that one check sends requests to.
const MAX_MODELS: usize = 100;
body! {
    /// Which providers and models to check.
    Check {
        optional provider_ids: Vec<i64> = "ids of the providers to check; all that are enabled by default";
        optional models: Vec<String> = "models to check at each provider; those of its mapping by default";
        optional timeout_secs: Seconds = "seconds for each call, 30 by default";
        optional max_concurrent: ConcurrencyLimit = "providers that are checked at one time, 2 by default";
    }
}

body! {
    /// Which models of the provider to check.
    ProviderCheck {
        optional models: Vec<String> = "names of models; those of its mapping by default";
        optional max_concurrent: ConcurrencyLimit = "models that are checked at one time, 2 by default";
        optional timeout_secs: Seconds = "seconds for each call, 30 by default";
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Health {
    Healthy,
    Unhealthy,
    Disabled,
    Unknown,
}

/// The health of one model
#[derive(Debug, Serialize, JsonSchema)]
struct ModelHealth {
    model: String,
    status: Health,
    response_time_ms: Option<u64>,
    error: Option<String>,
}

/// The health of a provider's models
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderHealth {
    provider_id: i64,
    provider_key: String,
    provider_type: String,
    status: Health,
    models: Vec<ModelHealth>,
    avg_response_time_ms: Option<u64>,
    checked_at: Moment,
    /// Why the provider cannot be checked at all
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The health of several providers
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Checked {
    providers: Vec<ProviderHealth>,
    total_providers: usize,
    healthy_providers: usize,
    unhealthy_providers: usize,
}

/// The health of a provider, with numbers
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderChecked {
    #[serde(flatten)]
    health: ProviderHealth,
    summary: Summary,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Summary {
    total_models: usize,
    healthy_models: usize,
    unhealthy_models: usize,
}

/// The health of the gateway and its providers
#[derive(Debug, Serialize, JsonSchema)]
struct Detailed {
    /// `ok`, or `degraded` if a provider is unhealthy
    status: &'static str,
    #[serde(flatten)]
    checked: Checked,
}

pub(super) async fn check(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Check = req.body()?;
    let _ = context.refresh_if_possible().await;
    let rows = selected_rows(&context, body.provider_ids.unwrap_or_default())?;
    let plan = Plan {
        models: body.models.unwrap_or_default(),
        call_timeout: seconds(body.timeout_secs.map_or(TIMEOUT, i64::from)),
        concurrency: 1,
        most: MAX_MODELS,
        by_list: false,
    };
    json(
        200,
        &check_providers(&context, rows, Arc::new(plan), body.max_concurrent.map_or(DEFAULT_CONCURRENCY, i64::from))
            .await,
    )
}

pub(super) async fn provider(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: ProviderCheck = req.body()?;
    let _ = context.refresh_if_possible().await;
    let row = context.provider(req.id)?;
    let plan = Plan {
        models: body.models.unwrap_or_default(),
        call_timeout: seconds(body.timeout_secs.map_or(TIMEOUT, i64::from)),
        concurrency: usize::try_from(body.max_concurrent.map_or(DEFAULT_CONCURRENCY, i64::from)).unwrap_or(1),
        most: MAX_MODELS,
        by_list: false,
    };
    let health = check_provider(context, row, Arc::new(plan)).await;
    let count = |status| health.models.iter().filter(|model| model.status == status).count();
    let summary = Summary {
        total_models: health.models.len(),
        healthy_models: count(Health::Healthy),
        unhealthy_models: count(Health::Unhealthy),
    };
    json(200, &ProviderChecked { health, summary })
}

pub(super) async fn one(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let call_timeout = seconds(req.number("timeout_secs", 1, 120)?.unwrap_or(SHORT_TIMEOUT));
    let models = req.query("models").unwrap_or_default();
    let models = models.split(',').map(str::trim).filter(|model| !model.is_empty()).map(str::to_owned).collect();
    let _ = context.refresh_if_possible().await;
    let row = context.provider(req.id)?;
    json(
        200,
        &check_provider(
            context,
            row,
            Arc::new(Plan { models, call_timeout, concurrency: 1, most: MAX_MODELS, by_list: false }),
        )
        .await,
    )
}

/// `GET /health/detailed`: everything that is enabled.
pub(super) async fn detailed(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let _ = context.refresh_if_possible().await;
    let rows = selected_rows(&context, Vec::new())?;
    let plan = Plan {
        models: Vec::new(),
        call_timeout: seconds(SHORT_TIMEOUT),
        concurrency: 1,
        most: MAX_MODELS,
        by_list: false,
    };
    let checked = check_providers(&context, rows, Arc::new(plan), 10).await;
    let status = if checked.unhealthy_providers == 0 { "ok" } else { "degraded" };
    json(200, &Detailed { status, checked })
}

/// Fetches each provider's list of models at intervals.
pub(super) async fn watch(context: Arc<Context>, period: Duration) {
    let call_timeout = seconds(SHORT_TIMEOUT);
    let plan = Arc::new(Plan { models: Vec::new(), call_timeout, concurrency: 1, most: 1, by_list: true });
    loop {
        tokio::time::sleep(period).await;
        let rows = selected_rows(&context, Vec::new()).unwrap_or_default();
        for health in check_providers(&context, rows, plan.clone(), DEFAULT_CONCURRENCY).await.providers {
            if health.status == Health::Unhealthy {
                let why = health.models.into_iter().find_map(|model| model.error).or(health.error).unwrap_or_default();
                tracing::warn!(provider = health.provider_key, "upstream: the check of its health failed: {why}");
            }
        }
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

/// Returns the rows of these ids; all enabled rows if there are no ids.
fn selected_rows(context: &Context, ids: Vec<i64>) -> Result<Vec<ProviderRow>, Refusal> {
    if !ids.is_empty() {
        return ids.into_iter().map(|id| context.provider(id)).collect();
    }
    let read = context.current.read();
    Ok(read.rows.providers.iter().filter(|row| row.is_enabled).cloned().collect())
}

/// How to ask.
struct Plan {
    /// Empty: those that the provider has.
    models: Vec<String>,
    /// Per call.
    call_timeout: Duration,
    /// Models at one time.
    concurrency: usize,
    /// Models of a provider in all.
    most: usize,
    /// A list of models will do.
    by_list: bool,
}

/// Checks providers, a few at a time, and returns the results in the order of the request.
async fn check_providers(context: &Arc<Context>, rows: Vec<ProviderRow>, plan: Arc<Plan>, concurrency: i64) -> Checked {
    let permits = Arc::new(Semaphore::new(usize::try_from(concurrency).unwrap_or(1)));
    let mut tasks = JoinSet::new();
    for (at, row) in rows.into_iter().enumerate() {
        let (context, plan, permits) = (context.clone(), plan.clone(), permits.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (at, check_provider(context, row, plan).await)
        });
    }
    let mut found = tasks.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    let providers: Vec<_> = found.into_iter().map(|(_, health)| health).collect();
    let count = |status| providers.iter().filter(|provider| provider.status == status).count();
    Checked {
        total_providers: providers.len(),
        healthy_providers: count(Health::Healthy),
        unhealthy_providers: count(Health::Unhealthy),
        providers,
    }
}

async fn check_provider(context: Arc<Context>, row: ProviderRow, plan: Arc<Plan>) -> ProviderHealth {
    let mut health = ProviderHealth {
        provider_id: row.id,
        provider_key: row.provider_key.clone(),
        provider_type: row.provider_type.clone(),
        status: Health::Unknown,
        models: Vec::new(),
        avg_response_time_ms: None,
        checked_at: now(),
        error: None,
    };
    if !row.is_enabled {
        health.status = Health::Disabled;
        return health;
    }
    let snapshot = context.shared.publisher.load();
    let Some(provider) = snapshot.provider(row.id) else {
        health.status = Health::Unhealthy;
        health.error = Some("it can't be used; GET /admin/v1/config/problems shows why".to_owned());
        return health;
    };
    health.models = check_models(&context, provider, &plan).await;
    let is = |status| health.models.iter().any(|model| model.status == status);
    health.status = match health.models.is_empty() {
        true => Health::Unknown,
        false if is(Health::Healthy) => Health::Healthy,
        false => Health::Unhealthy,
    };
    let times: Vec<u64> = health.models.iter().filter_map(|model| model.response_time_ms).collect();
    health.avg_response_time_ms = times.iter().sum::<u64>().checked_div(times.len() as u64);
    match health.status {
        Health::Healthy => context.health.set(row.id, true),
        // Models that the caller named may be misspelled, which is no fault of the provider.
        Health::Unhealthy if plan.models.is_empty() => context.health.set(row.id, false),
        _ => {}
    }
    health
}

/// Sends a request to each model, a few at a time, and returns the results in order.
async fn check_models(context: &Arc<Context>, provider: &Arc<Provider>, plan: &Arc<Plan>) -> Vec<ModelHealth> {
    if plan.by_list
        && let Some(health) = check_list(context, provider).await
    {
        return vec![health];
    }
    let lists = context.shared.catalog.load();
    let models = if plan.models.is_empty() { models_to_check(provider, &lists) } else { plan.models.clone() };
    let permits = Arc::new(Semaphore::new(plan.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    for (at, model) in models.into_iter().take(plan.most).enumerate() {
        let (context, provider, plan, permits) = (context.clone(), provider.clone(), plan.clone(), permits.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (at, check_model(&context, &provider, model, plan.call_timeout).await)
        });
    }
    let mut found = tasks.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, health)| health).collect()
}

/// Fetches the list of models; `None` if the provider has none.
async fn check_list(context: &Context, provider: &Provider) -> Option<ModelHealth> {
    const HAS_NONE: [&str; 3] = ["status 404", "status 405", "status 501"];
    let started = Instant::now();
    let answer = match provider::target(provider, "/models", None, "") {
        Ok(target) => context.client.of_provider(&provider.outbound).get(target.uri, target.headers).await.map(|_| ()),
        Err(why) => Err(why),
    };
    let elapsed = started.elapsed();
    if answer.is_ok() {
        context.health.latency(provider, elapsed);
    }
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let (status, error) = match answer {
        Ok(()) => (Health::Healthy, None),
        Err(why) if HAS_NONE.contains(&why.as_str()) => return None,
        Err(why) => (Health::Unhealthy, Some(why)),
    };
    Some(ModelHealth { model: "(list of models)".to_owned(), status, response_time_ms: Some(elapsed), error })
}

/// Makes one short call.
async fn check_model(context: &Context, provider: &Provider, model: String, call_timeout: Duration) -> ModelHealth {
    let started = Instant::now();
    let answered = timeout(call_timeout, call(context, provider, &model)).await;
    let elapsed = started.elapsed();
    if let Ok(Ok(())) = answered {
        context.health.latency(provider, elapsed);
    }
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let (status, response_time_ms, error) = match answered {
        Ok(Ok(())) => (Health::Healthy, Some(elapsed), None),
        Ok(Err(error)) => (Health::Unhealthy, Some(elapsed), Some(error)),
        Err(_) => (Health::Unhealthy, None, Some(format!("Timeout after {}s", call_timeout.as_secs()))),
    };
    ModelHealth { model, status, response_time_ms, error }
}

async fn call(context: &Context, provider: &Provider, model: &str) -> Result<(), String> {
    let (target, body) = probe_request(provider, model)?;
    let (status, body) = context.client.of_provider(&provider.outbound).post(target.uri, target.headers, body).await?;
    if status.is_success() { Ok(()) } else { Err(failure_message(status.as_u16(), &body)) }
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_secs()).unwrap_or_default())
}
