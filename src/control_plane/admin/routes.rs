//! The table of routes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::{
    audit, budgets, circuits, config, credentials, explain, groups, health, logs, models, prices, providers, spend,
    transfer, view,
};
use crate::route::explain::Explanation;
use crate::shared::admin::{Request, Response};

type Serve = fn(Arc<Context>, AdminRequest) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;
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

const PAGE: &[Parameter] = &[
    Parameter { name: "page", help: "number of the page, from 1", kind: Kind::Number(1, u32::MAX as i64) },
    Parameter {
        name: "size",
        help: "entries of a page; all of them by default",
        kind: Kind::Number(1, crate::control_plane::admin::paging::MAX_SIZE),
    },
    Parameter { name: "search", help: "a part of the name, in upper or lower case", kind: Kind::Text },
];

const BUDGETS: &[Parameter] = &[
    PAGE[0],
    PAGE[1],
    PAGE[2],
    Parameter {
        name: "scope",
        help: "only those of credentials, groups, tags or providers: credential, group, tag, provider",
        kind: Kind::Text,
    },
    Parameter { name: "subject", help: "only those of what has this name", kind: Kind::Text },
];

const CREDENTIALS: &[Parameter] = &[
    PAGE[0],
    PAGE[1],
    PAGE[2],
    Parameter { name: "group", help: "only those that belong to this group", kind: Kind::Text },
];

const AUDIT: &[Parameter] = &[
    Parameter { name: "before", help: "only entries whose id is lower", kind: Kind::Number(1, i64::MAX) },
    Parameter { name: "limit", help: "number of entries, 100 by default", kind: Kind::Number(1, 1000) },
    Parameter { name: "actor", help: "only changes of an actor whose name has this text", kind: Kind::Text },
    Parameter {
        name: "action",
        help: "only changes of this action, such as provider.create, or of this kind of row, such as provider",
        kind: Kind::Text,
    },
    Parameter { name: "object", help: "only changes of rows whose name has this text", kind: Kind::Text },
    logs::FROM,
    logs::TO,
];

const CHECK: &[Parameter] = &[
    Parameter { name: "models", help: "names of models, separated by commas", kind: Kind::Text },
    Parameter { name: "timeout_secs", help: "seconds for each call, 10 by default", kind: Kind::Number(1, 120) },
];

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! routes {
    ($( $method:ident $path:literal $tag:literal $summary:literal
        ($query:expr) $(<- $body:ty)? => $status:literal $($shape:ty)? : $($serve:ident)::+; )*) => {
        /// Every route of the admin API, in the order of the OpenAPI document.
        pub(crate) const ROUTES: &[Route] = &[ $( Route {
            method: stringify!($method),
            path: $path,
            tag: $tag,
            summary: $summary,
            query: $query,
            body: routes!(@shape $($body)?),
            status: $status,
            shape: routes!(@shape $($shape)?),
            serve: |context, req| Box::pin($($serve)::+(context, req)),
        }, )* ];
    };
    (@shape) => { None };
    (@shape $type:ty) => { Some(shape::<$type> as Shape) };
}

routes! {
    POST   "/auth/validate" "config" "Check the admin key" (&[]) => 200 config::Valid: config::validate;

    GET    "/providers" "providers" "List providers" (PAGE) => 200 providers::ProviderList: providers::list;
    POST   "/providers" "providers" "Create a provider" (&[]) <- providers::ProviderCreate => 201 providers::ProviderCreated: providers::create;
    GET    "/providers/{provider_id}" "providers" "Get a provider" (&[]) => 200 view::ProviderView: providers::get;
    PUT    "/providers/{provider_id}" "providers" "Change a provider" (&[]) <- providers::ProviderUpdate => 200 Updated: providers::update;
    PATCH  "/providers/{provider_id}" "providers" "Change a provider, as PUT does" (&[]) <- providers::ProviderUpdate => 200 Updated: providers::update;
    DELETE "/providers/{provider_id}" "providers" "Remove a provider" (&[]) => 204: providers::remove;
    PUT    "/providers/{provider_id}/status" "providers" "Enable or disable a provider" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    PATCH  "/providers/{provider_id}/status" "providers" "Enable or disable a provider" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    POST   "/providers/{provider_id}/status" "providers" "Enable or disable a provider" (&[]) <- Status => 200 providers::ProviderStatus: providers::status;
    POST   "/providers/{provider_id}/validate-script" "providers" "Validate a script; this version runs none" (&[]) <- config::Script => 200 config::ScriptVerdict: config::validate_script;
    POST   "/providers/{provider_id}/health" "health" "Send a one-token health request to models of a provider, several at a time; this costs tokens" (&[]) <- health::ProviderCheck => 200 health::ProviderChecked: health::provider;

    POST   "/providers/{provider_id}/circuit" "health" "Take a provider out of service, or put it back and forget its failures" (&[]) <- circuits::CircuitChange => 200 circuits::Circuits: circuits::change;
    GET    "/circuits" "health" "List which providers are out of service, why and for how long" (&[]) => 200 circuits::Circuits: circuits::list;

    GET    "/credentials" "credentials" "List credentials" (CREDENTIALS) => 200 credentials::CredentialList: credentials::list;
    POST   "/credentials" "credentials" "Create a credential" (&[]) <- credentials::CredentialCreate => 201 credentials::CredentialCreated: credentials::create;
    GET    "/credentials/{credential_id}" "credentials" "Get a credential" (&[]) => 200 view::CredentialView: credentials::get;
    PUT    "/credentials/{credential_id}" "credentials" "Change a credential" (&[]) <- credentials::CredentialUpdate => 200 Updated: credentials::update;
    PATCH  "/credentials/{credential_id}" "credentials" "Change a credential, as PUT does" (&[]) <- credentials::CredentialUpdate => 200 Updated: credentials::update;
    DELETE "/credentials/{credential_id}" "credentials" "Remove a credential" (&[]) => 204: credentials::remove;
    PUT    "/credentials/{credential_id}/status" "credentials" "Enable or disable a credential" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    PATCH  "/credentials/{credential_id}/status" "credentials" "Enable or disable a credential" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    POST   "/credentials/{credential_id}/status" "credentials" "Enable or disable a credential" (&[]) <- Status => 200 credentials::CredentialStatus: credentials::status;
    POST   "/credentials/{credential_id}/rotate" "credentials" "Replace the key of a credential; the old key stays valid for a while" (&[]) <- credentials::Rotate => 200 credentials::CredentialCreated: credentials::rotate;

    GET    "/budgets" "budgets" "List budgets, and what they have come to" (BUDGETS) => 200 budgets::BudgetList: budgets::list;
    POST   "/budgets" "budgets" "Create a budget" (&[]) <- budgets::BudgetCreate => 201 budgets::BudgetCreated: budgets::create;
    GET    "/budgets/{budget_id}" "budgets" "Get a budget, and what it has come to" (&[]) => 200 budgets::BudgetWithState: budgets::get;
    PUT    "/budgets/{budget_id}" "budgets" "Change a budget" (&[]) <- budgets::BudgetUpdate => 200 Updated: budgets::update;
    PATCH  "/budgets/{budget_id}" "budgets" "Change a budget, as PUT does" (&[]) <- budgets::BudgetUpdate => 200 Updated: budgets::update;
    DELETE "/budgets/{budget_id}" "budgets" "Remove a budget with its sums" (&[]) => 204: budgets::remove;
    PUT    "/budgets/{budget_id}/status" "budgets" "Enable or disable a budget" (&[]) <- Status => 200 budgets::BudgetStatus: budgets::status;
    PATCH  "/budgets/{budget_id}/status" "budgets" "Enable or disable a budget" (&[]) <- Status => 200 budgets::BudgetStatus: budgets::status;
    POST   "/budgets/{budget_id}/status" "budgets" "Enable or disable a budget" (&[]) <- Status => 200 budgets::BudgetStatus: budgets::status;
    POST   "/budgets/{budget_id}/reset" "budgets" "Restart the current window of a budget" (&[]) => 200 budgets::BudgetWithState: budgets::reset;
    POST   "/budgets/{budget_id}/top-up" "budgets" "Add to the amount of a budget, for the current window alone" (&[]) <- budgets::TopUp => 200 budgets::BudgetWithState: budgets::top_up;

    GET    "/groups" "groups" "List groups of credentials" (PAGE) => 200 groups::GroupList: groups::list;
    POST   "/groups" "groups" "Create a group" (&[]) <- groups::GroupCreate => 201 groups::GroupCreated: groups::create;
    GET    "/groups/{group_id}" "groups" "Get a group" (&[]) => 200 view::GroupView: groups::get;
    PUT    "/groups/{group_id}" "groups" "Change a group" (&[]) <- groups::GroupUpdate => 200 Updated: groups::update;
    PATCH  "/groups/{group_id}" "groups" "Change a group, as PUT does" (&[]) <- groups::GroupUpdate => 200 Updated: groups::update;
    DELETE "/groups/{group_id}" "groups" "Remove a group that nothing belongs to" (&[]) => 204: groups::remove;
    PUT    "/groups/{group_id}/status" "groups" "Enable or disable a group" (&[]) <- Status => 200 groups::GroupStatus: groups::status;
    PATCH  "/groups/{group_id}/status" "groups" "Enable or disable a group" (&[]) <- Status => 200 groups::GroupStatus: groups::status;
    POST   "/groups/{group_id}/status" "groups" "Enable or disable a group" (&[]) <- Status => 200 groups::GroupStatus: groups::status;

    POST   "/explain" "virtual models" "Explain which providers a request would go to, in which order and why, without sending it" (&[]) <- explain::Explain => 200 Explanation: explain::explain;

    GET    "/models" "virtual models" "List virtual models" (PAGE) => 200 models::ModelList: models::list;
    POST   "/models" "virtual models" "Create a virtual model" (&[]) <- models::ModelCreate => 201 models::ModelCreated: models::create;
    GET    "/models/{model_id}" "virtual models" "Get a virtual model" (&[]) => 200 view::ModelView: models::get;
    PUT    "/models/{model_id}" "virtual models" "Change a virtual model" (&[]) <- models::ModelUpdate => 200 Updated: models::update;
    PATCH  "/models/{model_id}" "virtual models" "Change a virtual model, as PUT does" (&[]) <- models::ModelUpdate => 200 Updated: models::update;
    DELETE "/models/{model_id}" "virtual models" "Remove a virtual model" (&[]) => 204: models::remove;
    PUT    "/models/{model_id}/status" "virtual models" "Enable or disable a virtual model" (&[]) <- Status => 200 models::ModelStatus: models::status;
    PATCH  "/models/{model_id}/status" "virtual models" "Enable or disable a virtual model" (&[]) <- Status => 200 models::ModelStatus: models::status;
    POST   "/models/{model_id}/status" "virtual models" "Enable or disable a virtual model" (&[]) <- Status => 200 models::ModelStatus: models::status;

    GET    "/config/version" "config" "Get the version of the configuration in force" (&[]) => 200 config::ConfigVersion: config::version;
    POST   "/config/reload" "config" "Read the store again" (&[]) => 200 config::Reloaded: config::reload;
    GET    "/config/problems" "config" "List rows, and parts of rows, that cannot be used" (&[]) => 200 config::Problems: config::problems;
    POST   "/config/reencrypt" "config" "Encrypt the stored API keys of providers with the current SECRET_KEY" (&[]) => 200 providers::Reencrypted: providers::reencrypt;
    GET    "/config/export" "config" "Export the configuration as a file, without secrets" (&[]) => 200 transfer::Exported: transfer::export;
    POST   "/config/import" "config" "Import a configuration file" (&[]) <- transfer::Import => 200 transfer::Imported: transfer::import;
    GET    "/config/status" "config" "Get the state of this gateway and its store" (&[]) => 200 config::GatewayStatus: config::status;
    GET    "/config/settings" "config" "List the settings of this gateway, without secrets, and where each comes from" (&[]) => 200 config::Settings: config::settings;
    GET    "/prices" "config" "List the prices of models, in dollars per million tokens" (PAGE) => 200 prices::PriceList<'_>: prices::list;
    POST   "/prices" "config" "Set the whole price of a model" (&[]) <- prices::PriceSet => 200 prices::Price: prices::set;
    DELETE "/prices/{price_id}" "config" "Remove the price of a model" (&[]) => 204: prices::remove;
    GET    "/audit" "config" "List changes of the configuration, the newest first" (AUDIT) => 200 audit::AuditLog<'_>: audit::list;

    GET    "/logs" "logs" "List finished requests" (logs::LIST) => 200 logs::Paged<logs::LogEntry>: logs::list;
    GET    "/logs/stats" "logs" "Sum up finished requests" (logs::STATS) => 200 logs::LogStats: logs::stats;
    GET    "/spend" "logs" "Sum up what was spent by credential, group, tag, model, provider, day or hour, as JSON or CSV" (spend::QUERY) => 200 spend::SpendList: spend::list;
    GET    "/logs/summary" "logs" "Sum up finished requests since an hour, hour by hour, from sums that are kept" (logs::SUMMARY) => 200 logs::LogSummary: logs::summary;
    GET    "/logs/{log_id}" "logs" "Get a finished request, with headers and bodies" (&[]) => 200 logs::LogDetail: logs::get;
    DELETE "/logs/{log_id}" "logs" "Remove an entry" (&[]) => 204: logs::remove;
    POST   "/logs/batch-delete" "logs" "Remove entries" (&[]) <- logs::BatchDelete => 200 logs::Deleted: logs::batch;
    GET    "/error-logs" "logs" "List failed attempts at providers" (logs::ERRORS) => 200 logs::Paged<logs::ErrorEntry>: logs::errors;
    GET    "/error-logs/{log_id}" "logs" "Get a failed attempt, with headers and bodies" (&[]) => 200 logs::ErrorDetail: logs::get_error;
    DELETE "/error-logs/{log_id}" "logs" "Remove an entry" (&[]) => 204: logs::remove_error;
    POST   "/error-logs/batch-delete" "logs" "Remove entries" (&[]) <- logs::BatchDelete => 200 logs::Deleted: logs::batch_errors;

    POST   "/health/check" "health" "Send a one-token health request to models of several providers; this costs tokens" (&[]) <- health::Check => 200 health::Checked: health::check;
    GET    "/health/providers/{provider_id}" "health" "Send a one-token health request to models of a provider, one after the other; this costs tokens" (CHECK) => 200 health::ProviderHealth: health::one;
}

/// Not behind `/admin/v1`, and served with the same key.
const DETAILED: &str = "/health/detailed";

/// Answers a request.
pub(super) async fn answer(context: Arc<Context>, request: Request) -> Response {
    let served = match find(&request) {
        Ok((serve, id)) => serve(context, AdminRequest { request, id }).await,
        Err(answer) => return *answer,
    };
    served.unwrap_or_else(Refusal::answer)
}

fn find(request: &Request) -> Result<(Serve, i64), Box<Response>> {
    let method = if request.method == "HEAD" { "GET" } else { request.method };
    let path = request.path.strip_suffix('/').unwrap_or(&request.path);
    if path == DETAILED && method == "GET" {
        return Ok((|context, req| Box::pin(health::detailed(context, req)), 0));
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

/// Returns the number in the path, 0 where the route has none; the name of what should be one and
/// is not.
fn matches(template: &'static str, path: &str) -> Option<Result<i64, &'static str>> {
    let (mut expected, mut given) = (template.split('/'), path.split('/'));
    let mut found = Ok(0);
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(expected), Some(given)) if expected.starts_with('{') => {
                let name = expected.trim_matches(['{', '}']);
                found = given.parse().ok().filter(|id| *id >= 1).ok_or(name);
            }
            (Some(expected), Some(given)) if expected == given => {}
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
    fn routes_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
        }
    }
}
