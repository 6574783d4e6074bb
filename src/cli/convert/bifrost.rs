//! Bifrost's `config.json` (docs.getbifrost.ai/deployment-guides/config-json/providers, its schema
//! at getbifrost.ai/schema and its examples, read 2026-11).

use super::bifrost_governance as governance;
use super::bifrost_values::{Lists, env, value};
use super::import::{Draft, DraftModel, Import, variable, weight};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use super::vendors::{self, Vendor};
use crate::config::file::yaml::{Node, Value};

pub(super) fn read(root: &Node, import: &mut Import) {
    let lists = match member(root, "version").and_then(whole) {
        Some(1) => Lists::EmptyIsAll,
        _ => Lists::EmptyIsNone,
    };
    // Before `governance`, which has budgets of them.
    for (name, node) in member(root, "providers").map(pairs).unwrap_or_default() {
        provider(name, node, lists, import);
    }
    for (name, node) in pairs(root) {
        match name.as_str() {
            "$schema" | "version" | "providers" => {}
            "governance" => governance::read(node, lists, import),
            "client" => client(node, import),
            "plugins" => items(node).iter().enumerate().for_each(|(at, node)| plugin(at, node, import)),
            _ if is_empty(node) => {}
            _ => import.leave_field(node.line, name),
        }
    }
}

/// As a value of the file: `env.NAME` becomes a variable.
fn filled(given: &str) -> String {
    env(given).map_or_else(|| given.to_owned(), variable)
}

/// What all keys of a provider share.
struct Common<'n> {
    name: &'n str,
    vendor: &'static Vendor,
    base: Option<String>,
    headers: Vec<(String, String)>,
    params: Vec<(&'static str, String)>,
    lists: Lists,
}

fn provider(name: &str, node: &Node, lists: Lists, import: &mut Import) {
    let custom = member(node, "custom_provider_config");
    let kind = custom.and_then(|custom| member(custom, "base_provider_type")).and_then(text);
    let Some(vendor) = vendors::find(kind.unwrap_or(name)) else {
        let message = format!("providers.{name} is of a vendor that is not served by this version");
        return import.leave(node.line, message);
    };
    let network = member(node, "network_config");
    let base = network.and_then(|network| member(network, "base_url")).filter(|node| !is_empty(node)).and_then(value);
    let headers = network.and_then(|network| member(network, "extra_headers")).map(pairs).unwrap_or_default();
    let headers = headers.iter().filter_map(|(name, node)| Some((name.clone(), filled(&value(node)?)))).collect();
    let keys = member(node, "keys").map(items).unwrap_or_default();
    let params = params(name, node, keys.len(), import);
    let common = Common { name, vendor, base, headers, params, lists };
    for (at, key) in keys.iter().enumerate() {
        one_key(&format!("providers.{name}.keys[{at}]"), &common, key, import);
    }
    for (field, node) in custom.map(pairs).unwrap_or_default() {
        if field != "base_provider_type" && !is_empty(node) {
            import.leave_field(node.line, &format!("providers.{name}.custom_provider_config.{field}"));
        }
    }
    for (field, node) in pairs(node) {
        const READ: &[&str] =
            &["keys", "network_config", "custom_provider_config", "concurrency_and_buffer_size", "proxy_config"];
        if !READ.contains(&field.as_str()) && !is_empty(node) {
            import.leave_field(node.line, &format!("providers.{name}.{field}"));
        }
    }
}

/// Deadlines, retries, limits and the proxy of a provider, as members of `provider_params`.
fn params(name: &str, node: &Node, keys: usize, import: &mut Import) -> Vec<(&'static str, String)> {
    let (mut timeouts, mut params) = (Vec::new(), Vec::new());
    for (field, node) in member(node, "network_config").map(pairs).unwrap_or_default() {
        let path = format!("providers.{name}.network_config.{field}");
        match (field.as_str(), whole(node)) {
            ("base_url" | "extra_headers", _) => {}
            ("max_retries", Some(retries)) => {
                params.push(("retries", format!("{{\"max_attempts\":{}}}", retries.clamp(0, 99) + 1)));
            }
            _ if is_empty(node) => {}
            ("default_request_timeout_in_seconds", Some(seconds)) if seconds > 0 => {
                timeouts.push(format!("\"total\":{seconds}"));
            }
            ("stream_idle_timeout_in_seconds", Some(seconds)) if seconds > 0 => {
                timeouts.push(format!("\"silence\":{seconds}"));
            }
            _ => import.leave_field(node.line, &path),
        }
    }
    if !timeouts.is_empty() {
        params.push(("timeouts", format!("{{{}}}", timeouts.join(","))));
    }
    for (field, node) in member(node, "concurrency_and_buffer_size").map(pairs).unwrap_or_default() {
        let path = format!("providers.{name}.concurrency_and_buffer_size.{field}");
        match (field.as_str(), whole(node)) {
            _ if is_empty(node) => {}
            ("concurrency", Some(most)) if keys == 1 => {
                params.push(("limits", format!("{{\"max_concurrency\":{most}}}")));
            }
            ("concurrency", Some(_)) => {
                let message = format!("{path} is of all keys together; here `limits` are of each, and none are set");
                import.leave(node.line, message);
            }
            _ => import.leave_field(node.line, &path),
        }
    }
    if let Some(node) = member(node, "proxy_config").filter(|node| !is_empty(node)) {
        match proxy(node) {
            Some(None) => {}
            Some(Some(url)) => params.push(("proxy", serde_json::Value::from(url).to_string())),
            None => {
                let message =
                    format!("providers.{name}.proxy_config is not carried over; set `proxy` in provider_params");
                import.leave(node.line, message);
            }
        }
    }
    params
}

/// Returns the URL of a proxy that needs no password, `Some(None)` for that of the environment, and
/// `None` for one that can't be carried over.
fn proxy(node: &Node) -> Option<Option<String>> {
    let part = |name: &str| member(node, name).filter(|node| !is_empty(node)).and_then(value);
    match part("type").as_deref() {
        Some("environment") => Some(None),
        Some("none") => Some(Some("direct".to_owned())),
        Some("http" | "socks5") if part("username").is_none() && part("password").is_none() => {
            part("url").filter(|url| env(url).is_none() && !url.contains('@')).map(Some)
        }
        _ => None,
    }
}

/// Each key of a provider is a provider here: it has a share and models of its own.
fn one_key(path: &str, common: &Common<'_>, node: &Node, import: &mut Import) {
    if matches!(member(node, "enabled").map(|node| &node.value), Some(Value::Bool(false))) {
        return import.leave(node.line, format!("{path} is disabled and not carried over"));
    }
    let (name, vendor) = (common.name, common.vendor);
    let azure = member(node, "azure_key_config");
    let part = |name: &str| azure.and_then(|azure| member(azure, name)).filter(|node| !is_empty(node)).and_then(value);
    let endpoint = part("endpoint").or_else(|| common.base.clone());
    let base = match &endpoint {
        Some(endpoint) => filled(endpoint),
        None if vendor.base.is_empty() => {
            return import.leave(node.line, format!("{path}: {name} needs an address, and none is given"));
        }
        None => vendor.base.to_owned(),
    };
    let base = match part("api_version") {
        Some(version) => format!("{}?api-version={}", base.trim_end_matches('/'), filled(&version)),
        // Bifrost adds the version itself.
        None if vendor.kind == "openai" && endpoint.is_some() && !base.contains("/v1") => {
            format!("{}/v1", base.trim_end_matches('/'))
        }
        None => base,
    };
    let given = member(node, "value").filter(|node| !is_empty(node));
    let api_key = given.and_then(value).unwrap_or_default();
    if let Some(given) = given.filter(|_| api_key.is_empty()) {
        import.leave(given.line, format!("{path}: its value is not known here, and the provider has no key"));
    }
    let api_key = env(&api_key).map(|name| format!("env:{name}")).unwrap_or(api_key);
    let models = models(path, common, azure, node, import);
    if models.is_empty() {
        let message = format!("{path} serves no model; with \"version\": 1 an empty list is every model");
        return import.leave(node.line, message);
    }
    import.add(Draft {
        name: name.to_owned(),
        vendor: name.to_owned(),
        kind: vendor.kind,
        base,
        api_key,
        headers: common.headers.clone(),
        weight: member(node, "weight").and_then(number).map_or(1, weight),
        tier: 0,
        params: common.params.clone(),
        budget: None,
        models,
    });
    const KNOWN: &[&str] =
        &["id", "name", "value", "weight", "models", "azure_key_config", "deployments", "aliases", "enabled"];
    for (field, node) in pairs(node) {
        if !KNOWN.contains(&field.as_str()) && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.{field}"));
        }
    }
    for (field, node) in azure.map(pairs).unwrap_or_default() {
        if !matches!(field.as_str(), "endpoint" | "api_version" | "deployments") && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.azure_key_config.{field}"));
        }
    }
}

/// Bifrost's clients ask for `provider/model`; the model alone is served as well, where it is
/// named.
fn models(path: &str, common: &Common<'_>, azure: Option<&Node>, node: &Node, import: &mut Import) -> Vec<DraftModel> {
    let provider = common.name;
    let deployments = azure.and_then(|azure| member(azure, "deployments"));
    let deployments = [deployments, member(node, "deployments"), member(node, "aliases")];
    let mut named: Vec<(String, String)> = Vec::new();
    for (model, upstream) in deployments.into_iter().flatten().flat_map(pairs) {
        named.extend(text(upstream).map(|upstream| (model.clone(), upstream.to_owned())));
    }
    let list = member(node, "models").map(items).unwrap_or_default();
    let is_all = match list.is_empty() {
        true => common.lists == Lists::EmptyIsAll,
        false => list.iter().any(|model| text(model) == Some("*")),
    };
    for model in list.iter().filter_map(text).filter(|model| *model != "*") {
        if !named.iter().any(|(known, _)| known == model) {
            named.push((model.to_owned(), model.to_owned()));
        }
    }
    let mut models = Vec::new();
    for (model, upstream) in named {
        models.push((format!("{provider}/{model}"), upstream.clone(), Vec::new()));
        models.push((model, upstream, Vec::new()));
    }
    if is_all {
        models.push((format!("{provider}/*"), "*".to_owned(), Vec::new()));
        let message = format!("{path}: every model is served as {provider}/MODEL; map the names that come without it");
        import.leave(node.line, message);
    }
    models
}

/// Names a plugin that is enabled, with what takes its place.
fn plugin(at: usize, node: &Node, import: &mut Import) {
    if matches!(member(node, "enabled").map(|node| &node.value), Some(Value::Bool(false))) {
        return;
    }
    let name = member(node, "name").and_then(text).unwrap_or_default();
    let path = format!("plugins[{at}]: `{name}`");
    match name {
        // `/metrics` is always there.
        "telemetry" => {}
        "otel" => import.leave(node.line, format!("{path}: set OTEL_EXPORTER_OTLP_ENDPOINT of the gateway")),
        _ => import.leave_field(node.line, &path),
    }
}

fn client(node: &Node, import: &mut Import) {
    for (field, node) in pairs(node) {
        match field.as_str() {
            _ if is_empty(node) => {}
            "max_request_body_size_mb" => match whole(node) {
                Some(most) => import.set("max_body_bytes", most.saturating_mul(1 << 20)),
                None => import.leave_field(node.line, &format!("client.{field}")),
            },
            "log_retention_days" => match whole(node) {
                Some(days) => import.set("request_log_retention_days", days),
                None => import.leave_field(node.line, &format!("client.{field}")),
            },
            // This gateway always does so.
            "enable_logging" | "enforce_governance_header" | "enforce_auth_on_inference" => {}
            _ => import.leave_field(node.line, &format!("client.{field}")),
        }
    }
}
