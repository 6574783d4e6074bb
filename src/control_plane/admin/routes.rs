//! The table of routes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::request::{Ask, Outcome, Refusal};
use crate::control_plane::admin::{
    Status, Updated, audit, config, credentials, health, logs, prices, providers, transfer, view,
};
use crate::control_plane::metrics::scrape;
use crate::shared::admin::{Answer, Request};

type Serve = fn(Arc<Context>, Ask) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

pub(super) struct Route {
    pub(super) method: &'static str,
    /// Behind `/admin/v1`; `{..}` is a number.
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    pub(super) body: Option<Shape>,
    pub(super) status: u16,
    /// Of the answer; `None` is empty.
    pub(super) shape: Option<Shape>,
    pub(super) serve: Serve,
}

/// Of a query.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// From the first to the second.
    Number(i64, i64),
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A time.
    Moment,
}

const PAGE: &[Parameter] = &[
    Parameter { name: "page", help: "from 1", kind: Kind::Number(1, u32::MAX as i64) },
    Parameter {
        name: "size",
        help: "of a page; all unless given",
        kind: Kind::Number(1, crate::control_plane::admin::paging::MOST),
    },
    Parameter { name: "search", help: "part of the name, in any case", kind: Kind::Text },
];

const AUDIT: &[Parameter] = &[
    Parameter { name: "before", help: "lines with ids below this one", kind: Kind::Number(1, i64::MAX) },
    Parameter { name: "limit", help: "100 unless given", kind: Kind::Number(1, 1000) },
];

const CHECK: &[Parameter] = &[
    Parameter { name: "models", help: "names with commas between", kind: Kind::Text },
    Parameter { name: "timeout_secs", help: "per call; 10 unless given", kind: Kind::Number(1, 120) },
];

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! routes {
    ($( $method:ident $path:literal $tag:literal $summary:literal
        ($query:expr) $(<- $body:ty)? => $status:literal $($shape:ty)? : $($serve:ident)::+; )*) => {
        pub(super) const ROUTES: &[Route] = &[ $( Route {
            method: stringify!($method),
            path: $path,
            tag: $tag,
            summary: $summary,
            query: $query,
            body: routes!(@shape $($body)?),
            status: $status,
            shape: routes!(@shape $($shape)?),
            serve: |context, ask| Box::pin($($serve)::+(context, ask)),
        }, )* ];
    };
    (@shape) => { None };
    (@shape $type:ty) => { Some(shape::<$type> as Shape) };
}

routes! {
    POST   "/auth/validate" "config" "Whether the admin key is right" (&[]) => 200 config::Valid: config::validate;

    GET    "/providers" "providers" "All providers" (PAGE) => 200 providers::ProviderList: providers::list;
    POST   "/providers" "providers" "Make a provider" (&[]) <- providers::ProviderCreate => 201 providers::ProviderCreated: providers::create;
    GET    "/providers/{provider_id}" "providers" "One provider" (&[]) => 200 view::ProviderView: providers::get;
    PUT    "/providers/{provider_id}" "providers" "Change a provider" (&[]) <- providers::ProviderUpdate => 200 Updated: providers::update;
    PATCH  "/providers/{provider_id}" "providers" "Change a provider, as PUT does" (&[]) <- providers::ProviderUpdate => 200 Updated: providers::update;
    DELETE "/providers/{provider_id}" "providers" "Remove a provider" (&[]) => 204: providers::remove;
    PUT    "/providers/{provider_id}/status" "providers" "Switch a provider on or off" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    PATCH  "/providers/{provider_id}/status" "providers" "Switch a provider on or off" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    POST   "/providers/{provider_id}/status" "providers" "Switch a provider on or off" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    POST   "/providers/{provider_id}/validate-script" "providers" "CallState at a script" (&[]) <- config::Script => 200 config::ScriptVerdict: config::validate_script;
    POST   "/providers/{provider_id}/health" "health" "Ask a provider's models for a word, several at a time" (&[]) <- health::ProviderCheck => 200 health::ProviderChecked: health::provider;

    GET    "/credentials" "credentials" "All credentials" (PAGE) => 200 credentials::CredentialList: credentials::list;
    POST   "/credentials" "credentials" "Make a credential" (&[]) <- credentials::CredentialCreate => 201 credentials::CredentialCreated: credentials::create;
    GET    "/credentials/{credential_id}" "credentials" "One credential" (&[]) => 200 view::CredentialView: credentials::get;
    PUT    "/credentials/{credential_id}" "credentials" "Change a credential" (&[]) <- credentials::CredentialUpdate => 200 Updated: credentials::update;
    PATCH  "/credentials/{credential_id}" "credentials" "Change a credential, as PUT does" (&[]) <- credentials::CredentialUpdate => 200 Updated: credentials::update;
    DELETE "/credentials/{credential_id}" "credentials" "Remove a credential" (&[]) => 204: credentials::remove;
    PUT    "/credentials/{credential_id}/status" "credentials" "Switch a credential on or off" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    PATCH  "/credentials/{credential_id}/status" "credentials" "Switch a credential on or off" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    POST   "/credentials/{credential_id}/status" "credentials" "Switch a credential on or off" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    POST   "/credentials/{credential_id}/rotate" "credentials" "Give a credential a new key; the old one stays good for a while" (&[]) <- credentials::Rotate => 200 credentials::CredentialCreated: credentials::rotate;

    GET    "/config/version" "config" "The version in force" (&[]) => 200 config::ConfigVersion: config::version;
    POST   "/config/reload" "config" "Read everything again" (&[]) => 200 config::Reloaded: config::reload;
    GET    "/config/problems" "config" "What can't be used of the configuration" (&[]) => 200 config::Problems: config::problems;
    POST   "/config/reencrypt" "config" "Encrypt providers' keys under the SECRET_KEY of now" (&[]) => 200 providers::Reencrypted: providers::reencrypt;
    GET    "/config/export" "config" "Everything as a configuration file, without secrets" (&[]) => 200 transfer::Exported: transfer::export;
    POST   "/config/import" "config" "Take up a configuration file" (&[]) <- transfer::Import => 200 transfer::Imported: transfer::import;
    GET    "/prices" "config" "What models cost, in dollars per million tokens" (PAGE) => 200 prices::PriceList<'_>: prices::list;
    GET    "/audit" "config" "Who changed what, the newest first" (AUDIT) => 200 audit::AuditLog<'_>: audit::list;

    GET    "/logs" "logs" "Finished requests" (logs::LIST) => 200 logs::Paged<logs::LogEntry>: logs::list;
    GET    "/logs/stats" "logs" "Sums over finished requests" (logs::STATS) => 200 logs::LogStats: logs::stats;
    GET    "/logs/{log_id}" "logs" "One request, with headers and bodies" (&[]) => 200 logs::LogDetail: logs::get;
    DELETE "/logs/{log_id}" "logs" "Remove a row" (&[]) => 204: logs::remove;
    POST   "/logs/batch-delete" "logs" "Remove rows" (&[]) <- logs::BatchDelete => 200 logs::Deleted: logs::batch;
    GET    "/error-logs" "logs" "Failures at providers" (logs::ERRORS) => 200 logs::Paged<logs::ErrorEntry>: logs::errors;
    GET    "/error-logs/{log_id}" "logs" "One failure, with headers and bodies" (&[]) => 200 logs::ErrorDetail: logs::get_error;
    DELETE "/error-logs/{log_id}" "logs" "Remove a row" (&[]) => 204: logs::remove_error;
    POST   "/error-logs/batch-delete" "logs" "Remove rows" (&[]) <- logs::BatchDelete => 200 logs::Deleted: logs::batch_errors;

    POST   "/health/check" "health" "Ask models of several providers for a word" (&[]) <- health::Check => 200 health::Checked: health::check;
    GET    "/health/providers/{provider_id}" "health" "Ask a provider's models for a word, one after the other" (CHECK) => 200 health::ProviderHealth: health::one;
}

/// Not behind `/admin/v1`, and served with the same key.
const DETAILED: &str = "/health/detailed";

/// Needs no key, and is no part of the interface: the summing of all counters is for this thread.
const METRICS: &str = "/metrics";

/// Answers a request.
pub(super) async fn answer(context: Arc<Context>, request: Request) -> Answer {
    if request.path == METRICS {
        let problems = context.current.read().problems.len();
        let health = context.health.facts(&context.shared.publisher.load());
        return scrape::answer(&context.shared, problems, health, request.accept.as_deref());
    }
    let served = match find(&request) {
        Ok((serve, id)) => serve(context, Ask { request, id }).await,
        Err(answer) => return *answer,
    };
    served.unwrap_or_else(Refusal::answer)
}

fn find(request: &Request) -> Result<(Serve, i64), Box<Answer>> {
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    let path = request.path.strip_suffix('/').unwrap_or(&request.path);
    if path == DETAILED && method == "GET" {
        return Ok((|context, ask| Box::pin(health::detailed(context, ask)), 0));
    }
    // `/logs/stats` is no log of that name, whatever the method.
    let named = ROUTES.iter().any(|route| route.path == path);
    let matching = || {
        let routes = ROUTES.iter().filter(move |route| !named || route.path == path);
        routes.filter_map(|route| Some((route, matches(route.path, path)?)))
    };
    match matching().find(|(route, _)| route.method == method) {
        Some((route, Ok(id))) => Ok((route.serve, id)),
        Some((_, Err(name))) => {
            let message = format!("{name} must be a whole number from 1 to {}", i64::MAX);
            Err(Box::new(Refusal::invalid(message, Some(name.to_owned())).answer()))
        }
        None => {
            let allowed: Vec<_> = matching().map(|(route, _)| route.method).collect();
            if allowed.is_empty() {
                let shown: String = request.path.chars().take(200).collect();
                let message = format!("no such path: /admin/v1{shown}; GET /docs shows what there is");
                return Err(Box::new(Refusal::new(404, "not_found", message).answer()));
            }
            let message = format!("this path takes {}", allowed.join(", "));
            let mut answer = Refusal::new(405, "method_not_allowed", message).answer();
            answer.fields.push(("allow", allowed.join(", ")));
            Err(Box::new(answer))
        }
    }
}

/// The number in the path, 0 where the route has none; the name of what should be one and is not.
fn matches(template: &'static str, path: &str) -> Option<Result<i64, &'static str>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut found = Ok(0);
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                let name = wanted.trim_matches(['{', '}']);
                found = given.parse().ok().filter(|id| *id >= 1).ok_or(name);
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let rows = [
            ("/providers", "/providers", Some(Ok(0))),
            ("/providers/{provider_id}", "/providers/7", Some(Ok(7))),
            ("/providers/{provider_id}", "/providers/x", Some(Err("provider_id"))),
            ("/providers/{provider_id}", "/providers/0", Some(Err("provider_id"))),
            ("/providers/{provider_id}", "/providers", None),
            ("/providers/{provider_id}/status", "/providers/7", None),
            ("/providers/{provider_id}/status", "/providers/7/status", Some(Ok(7))),
        ];
        for (template, path, expected) in rows {
            assert_eq!(matches(template, path), expected, "{path}");
        }
    }

    #[test]
    fn no_route_stands_twice() {
        let mut seen = std::collections::HashSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
        }
    }
}
