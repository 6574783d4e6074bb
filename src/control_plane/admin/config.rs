//! `/config` and `/auth`: what is in force, what is wrong with it, and reading it again.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::boot::table::{VARIABLES, Variable};
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::control_plane::admin::view;

/// The admin key is right
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Valid {
    valid: bool,
    message: &'static str,
}

/// The version of the configuration in force
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigVersion {
    version: i64,
    /// Time of this response
    timestamp: Moment,
}

/// The configuration in force after the store was read again
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Reloaded {
    version: i64,
    timestamp: Moment,
    /// Number of providers that are served
    providers_count: usize,
    /// Number of credentials that are valid
    credentials_count: usize,
    /// Number of problems; /config/problems lists them
    problems_count: usize,
}

/// The rows, and parts of rows, that cannot be used; the others are served
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problems {
    version: i64,
    problems: Vec<RowProblem>,
}

/// A row, or a part of a row, that cannot be used
#[derive(Debug, Serialize, JsonSchema)]
struct RowProblem {
    /// `provider NAME` or `credential NAME`
    object: String,
    message: String,
}

body! {
    /// A script to validate.
    Script {
        required lua_script: String = "source of the script";
    }
}

/// Whether the script can be used
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScriptVerdict {
    valid: bool,
    error: Option<&'static str>,
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(since.as_secs()).unwrap_or_default())
}

pub(super) async fn validate(_: Arc<Context>, _: AdminRequest) -> Outcome {
    json(200, &Valid { valid: true, message: "Admin key is valid" })
}

pub(super) async fn version(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let version = context.shared.publisher.load().version;
    Ok(freshness.mark(json(200, &ConfigVersion { version, timestamp: now() })?))
}

pub(super) async fn reload(context: Arc<Context>, _: AdminRequest) -> Outcome {
    if let Err(message) = context.current.reload().await {
        return Err(Refusal::new(503, "store_unavailable", message));
    }
    let snapshot = context.shared.publisher.load();
    json(
        200,
        &Reloaded {
            version: snapshot.version,
            timestamp: now(),
            providers_count: snapshot.providers.len(),
            credentials_count: snapshot.credentials_by_id.len(),
            problems_count: context.current.read().problems.len(),
        },
    )
}

pub(super) async fn problems(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let read = context.current.read();
    let messages = read
        .problems
        .iter()
        .map(|problem| RowProblem { object: problem.object.clone(), message: problem.message.clone() });
    Ok(freshness.mark(json(200, &Problems { version: read.rows.version, problems: messages.collect() })?))
}

pub(super) async fn validate_script(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let _ = context.refresh_if_possible().await;
    context.provider(req.id)?;
    let body: Script = req.body()?;
    let error = match body.lua_script.trim() {
        "" => "the script is empty",
        _ => "scripts are not served by this version",
    };
    json(200, &ScriptVerdict { valid: false, error: Some(error) })
}

/// This gateway
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GatewayStatus {
    /// Version of the program
    program: &'static str,
    /// Version of the configuration in force
    version: i64,
    /// `ok`, or what is wrong
    store: &'static str,
    /// `file`, `embedded` or `postgresql`
    store_kind: &'static str,
    /// Why nothing can be changed here; null if it can
    read_only: Option<String>,
    uptime_seconds: u64,
    workers: usize,
    /// Interface to the system that the workers use: `io_uring` or `epoll`
    driver: Option<&'static str>,
    providers_count: usize,
    credentials_count: usize,
    problems_count: usize,
    /// Whether the store keeps finished requests (REQUEST_LOG_ENABLED)
    logs_requests: bool,
}

pub(super) async fn status(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let boot = &context.shared.boot;
    let read_only = boot
        .config_file
        .as_ref()
        .map(|path| format!("the configuration is the file {}; edit it, and the gateway follows it", path.display()));
    let read = context.current.read();
    let status = GatewayStatus {
        program: env!("CARGO_PKG_VERSION"),
        version: context.shared.publisher.load().version,
        store: context.shared.store.get().name(),
        store_kind: match (&boot.config_file, &boot.db_url) {
            (Some(_), _) => "file",
            (None, Some(_)) => "postgresql",
            (None, None) => "embedded",
        },
        read_only,
        uptime_seconds: context.shared.origin.elapsed().as_secs(),
        workers: context.shared.shards.len(),
        driver: context.shared.driver.get().copied(),
        providers_count: read.rows.providers.len(),
        credentials_count: read.rows.credentials.len(),
        problems_count: read.problems.len(),
        logs_requests: boot.observe.request_log.enabled,
    };
    Ok(freshness.mark(json(200, &status)?))
}

/// The settings of this gateway
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Settings {
    settings: Vec<Setting>,
}

/// A setting with its value in force
#[derive(Debug, Serialize, JsonSchema)]
struct Setting {
    name: &'static str,
    /// As it would be written; `***` is a secret that is set, empty is unset
    value: String,
    /// Where the value stands, such as `PORT in the environment`; null is the default
    source: Option<String>,
    default: &'static str,
    help: std::borrow::Cow<'static, str>,
}

pub(super) async fn settings(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let given = &context.shared.boot.given;
    let setting = |variable: &'static Variable| {
        let found = given.iter().find(|given| given.name == variable.name);
        let value = match found {
            Some(given) => given.value.clone().unwrap_or_else(|| view::MASK.to_owned()),
            None => variable.default.to_owned(),
        };
        let source = found.map(|given| given.place.clone());
        Setting { name: variable.name, value, source, default: variable.default, help: variable.description() }
    };
    json(200, &Settings { settings: VARIABLES.iter().map(setting).collect() })
}
