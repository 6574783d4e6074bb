//! LiteLLM's `config.yaml` (docs.litellm.ai/docs/proxy/config_settings, read 2026-11).

use super::import::{Draft, Import, variable, weight};
use super::litellm_fallbacks::{Fallback, add_standbys};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use super::vendors::{self, Vendor};
use crate::cli::key::hash;
use crate::config::file::yaml::{Node, Value};
use crate::config::rows::CredentialRow;

pub(super) fn read(root: &Node, import: &mut Import) {
    if let Some(list) = member(root, "model_list") {
        items(list).iter().enumerate().for_each(|(at, node)| deployment(at, node, import));
    }
    let mut fallbacks = Vec::new();
    for (name, node) in pairs(root) {
        match name.as_str() {
            "model_list" => {}
            "litellm_settings" | "router_settings" => settings(name, node, &mut fallbacks, import),
            "general_settings" => general(node, import),
            "environment_variables" => {
                for (variable, node) in pairs(node) {
                    let message = format!("set the environment variable {variable} of the gateway yourself");
                    import.leave(node.line, message);
                }
            }
            _ => import.leave_field(node.line, name),
        }
    }
    add_standbys(&fallbacks, import);
}

/// Members of `litellm_params` that say where a model is, or that need no counterpart: parameters
/// that a provider does not take are always dropped here.
const KNOWN: &[&str] = &[
    "model",
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "organization",
    "extra_headers",
    "headers",
    "weight",
    "order",
    "rpm",
    "tpm",
    "custom_llm_provider",
    "drop_params",
];

/// Prices, under the names that both gateways have for them.
const PRICES: &[&str] = &[
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

/// One item of `model_list`.
fn deployment(at: usize, node: &Node, import: &mut Import) {
    let path = format!("model_list[{at}]");
    let model_name = member(node, "model_name").and_then(text).unwrap_or_default().to_owned();
    let Some(params) = member(node, "litellm_params") else {
        return import.leave(node.line, format!("{path} has no litellm_params and is not carried over"));
    };
    let Some(model) = member(params, "model") else {
        return import.leave(params.line, format!("{path} names no model and is not carried over"));
    };
    let provider = member(params, "custom_llm_provider").and_then(text);
    let full = text(model).unwrap_or_default();
    let Some((vendor, upstream)) = split(provider, full) else {
        let message = format!("{path}: `{full}` is of a provider that is not served by this version");
        return import.leave(model.line, message);
    };
    if model_name.is_empty() || (model_name == "*" && upstream == "*") {
        let message = format!(
            "{path}: a model_name of `{model_name}` leaves the provider to the name of the model; name each provider"
        );
        return import.leave(node.line, message);
    }
    let Some(base) = base(vendor, params) else {
        return import.leave(params.line, format!("{path}: {} needs an api_base", vendor.name));
    };
    let mut more = Vec::new();
    info(&path, node, params, &mut more, import);
    let headers = headers(params);
    let draft = Draft {
        name: vendor.name.to_owned(),
        kind: vendor.kind,
        base,
        api_key: key(member(params, "api_key"), vendor),
        headers,
        weight: share(&path, params, import),
        models: vec![(model_name, upstream.to_owned(), more)],
    };
    import.add(draft);
    for (name, node) in pairs(params) {
        if !KNOWN.contains(&name.as_str()) && !PRICES.contains(&name.as_str()) && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.litellm_params.{name}"));
        }
    }
}

/// Returns vendor and upstream model of LiteLLM's `provider/model`. LiteLLM looks a name without a
/// provider up in a list; here the beginnings of names decide.
fn split<'m>(provider: Option<&str>, model: &'m str) -> Option<(&'static Vendor, &'m str)> {
    if let Some(provider) = provider {
        let upstream = model.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(model);
        return vendors::find(provider).map(|vendor| (vendor, upstream));
    }
    if let Some((provider, upstream)) = model.split_once('/') {
        return vendors::find(provider).map(|vendor| (vendor, strip_route(vendor, upstream)));
    }
    let (_, name) = BEGINNINGS.iter().find(|(begins, _)| model.starts_with(begins))?;
    vendors::find(name).map(|vendor| (vendor, model))
}

/// The beginnings of model names, with the vendor of each.
const BEGINNINGS: &[(&str, &str)] = &[
    ("claude", "anthropic"),
    ("gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("chatgpt-", "openai"),
    ("text-embedding-", "openai"),
    ("dall-e", "openai"),
    ("tts-", "openai"),
    ("gemini", "gemini"),
    ("mistral", "mistral"),
    ("codestral", "mistral"),
];

/// `openai/responses/gpt-5` asks for a path of the API, which this gateway chooses itself.
fn strip_route<'m>(vendor: &Vendor, upstream: &'m str) -> &'m str {
    let route = matches!(vendor.name, "openai" | "azure").then(|| upstream.strip_prefix("responses/")).flatten();
    route.unwrap_or(upstream)
}

fn base(vendor: &Vendor, params: &Node) -> Option<String> {
    let given = ["api_base", "base_url"].iter().find_map(|name| member(params, name)).and_then(text);
    let base = match given {
        Some(given) => value(given),
        None if vendor.base.is_empty() => return None,
        None => vendor.base.to_owned(),
    };
    // LiteLLM means Ollama's own API, and this gateway needs its OpenAI-compatible one.
    let base = match vendor.name {
        "ollama" | "ollama_chat" if !base.trim_end_matches('/').ends_with("/v1") => {
            format!("{}/v1", base.trim_end_matches('/'))
        }
        _ => base,
    };
    match member(params, "api_version").and_then(text) {
        Some(version) if vendor.name == "azure" && !base.contains('?') => {
            Some(format!("{}?api-version={}", base.trim_end_matches('/'), value(version)))
        }
        _ => Some(base),
    }
}

/// `os.environ/NAME` becomes a variable of the file.
fn value(given: &str) -> String {
    given.strip_prefix("os.environ/").map_or_else(|| given.to_owned(), variable)
}

/// Writes a key. One that is in the environment stays there, and the row names its variable.
fn key(given: Option<&Node>, vendor: &Vendor) -> String {
    match given.and_then(text) {
        Some(given) => given.strip_prefix("os.environ/").map_or_else(|| given.to_owned(), |name| format!("env:{name}")),
        None if vendor.variable.is_empty() => String::new(),
        None => format!("env:{}", vendor.variable),
    }
}

fn headers(params: &Node) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for name in ["headers", "extra_headers"] {
        let given = member(params, name).map(pairs).unwrap_or_default();
        headers.extend(given.iter().filter_map(|(name, node)| Some((name.clone(), value(text(node)?)))));
    }
    if let Some(organization) = member(params, "organization").and_then(text) {
        headers.push(("OpenAI-Organization".to_owned(), value(organization)));
    }
    headers
}

/// Returns the share of a deployment: LiteLLM goes by `weight`, else by `rpm`, else by `tpm`.
fn share(path: &str, params: &Node, import: &mut Import) -> i64 {
    for name in ["rpm", "tpm"] {
        if let Some(node) = member(params, name).filter(|node| !is_empty(node)) {
            let message = format!("{path}.litellm_params.{name} is a share of the requests here, not a limit");
            import.leave(node.line, message);
        }
    }
    if let Some(order) = member(params, "order").and_then(whole).filter(|order| *order > 1) {
        if order > 2 {
            let line = member(params, "order").map_or(params.line, |node| node.line);
            import.leave(line, format!("{path}.litellm_params.order is a standby; standbys have no order among them"));
        }
        return 0;
    }
    let share = ["weight", "rpm", "tpm"].iter().find_map(|name| member(params, name).and_then(number));
    share.map_or(1, weight)
}

/// The members of `model_info` are kept beside the upstream's name, for listings and prices.
fn info(path: &str, node: &Node, params: &Node, more: &mut Vec<(String, String)>, import: &mut Import) {
    for name in PRICES {
        if let Some(price) = member(params, name).filter(|price| number(price).is_some()) {
            more.push(((*name).to_owned(), price.json()));
        }
    }
    for (name, value) in member(node, "model_info").map(pairs).unwrap_or_default() {
        match name.as_str() {
            "id" | "db_model" => {}
            "mapped_model" => import.leave_field(value.line, &format!("{path}.model_info.{name}")),
            _ if more.iter().any(|(known, _)| known == name) => {}
            _ => more.push((name.clone(), value.json())),
        }
    }
    for (name, value) in pairs(node) {
        if !matches!(name.as_str(), "model_name" | "litellm_params" | "model_info") && !is_empty(value) {
            import.leave_field(value.line, &format!("{path}.{name}"));
        }
    }
}

fn settings(section: &str, node: &Node, fallbacks: &mut Vec<Fallback>, import: &mut Import) {
    for (name, node) in pairs(node) {
        let path = format!("{section}.{name}");
        let list = |node: &Node| items(node).iter().filter_map(text).map(str::to_owned).collect::<Vec<_>>();
        match name.as_str() {
            _ if is_empty(node) => {}
            "fallbacks" => {
                for (from, to) in items(node).iter().flat_map(pairs) {
                    let from = Some(from.clone()).filter(|from| from != "*");
                    fallbacks.push(Fallback { from, to: list(to), line: to.line });
                }
            }
            "default_fallbacks" => fallbacks.push(Fallback { from: None, to: list(node), line: node.line }),
            "model_group_alias" => aliases(node, import),
            "num_retries" => match whole(node) {
                Some(retries) => import.set("max_attempts", (retries + 1).clamp(1, 100)),
                None => import.leave_field(node.line, &path),
            },
            "timeout" | "request_timeout" => match text(node).filter(|_| number(node).is_some()) {
                Some(seconds) => import.set("total_timeout_secs", seconds),
                None => import.leave_field(node.line, &path),
            },
            "stream_timeout" => match text(node).filter(|_| number(node).is_some()) {
                Some(seconds) => import.set("ttft_timeout_secs", seconds),
                None => import.leave_field(node.line, &path),
            },
            "routing_strategy" if text(node) == Some("simple-shuffle") => {}
            "routing_strategy" => {
                import.leave(node.line, format!("{path}: requests are shared by weights, as with simple-shuffle"));
            }
            "redis_url" => match text(node) {
                Some(url) => import.set("limits_url", quoted(&value(url))),
                None => import.leave_field(node.line, &path),
            },
            // Read together with `redis_host`.
            "redis_port" | "redis_password" => {}
            "set_verbose" => import.set("log_level", "debug"),
            // This gateway always does so.
            "drop_params" | "json_logs" => {}
            "callbacks" | "success_callback" | "failure_callback" => callbacks(&path, node, import),
            "redis_host" => {}
            _ => import.leave_field(node.line, &path),
        }
    }
    let part = |name: &str| member(node, name).and_then(text).map(value);
    if let Some(host) = part("redis_host") {
        let password = part("redis_password").map(|password| format!(":{password}@")).unwrap_or_default();
        let port = part("redis_port").unwrap_or_else(|| "6379".to_owned());
        import.set("limits_url", quoted(&format!("redis://{password}{host}:{port}")));
    }
}

/// As a YAML value; the marks of variables are escaped, as `file::write` escapes them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn callbacks(path: &str, node: &Node, import: &mut Import) {
    let names: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    for node in names {
        match text(node).unwrap_or_default() {
            // `/metrics` is always there.
            "prometheus" => {}
            // Its keys have the same variables.
            "langfuse" => import.set("langfuse_enabled", true),
            "otel" => {
                import.leave(node.line, format!("{path}: for `otel` set OTEL_EXPORTER_OTLP_ENDPOINT of the gateway"));
            }
            other => import.leave_field(node.line, &format!("{path}: `{other}`")),
        }
    }
}

/// Another name for a model is another entry of its providers.
fn aliases(node: &Node, import: &mut Import) {
    for (alias, node) in pairs(node) {
        let target = text(node).or_else(|| member(node, "model").and_then(text)).unwrap_or_default();
        let mut found = false;
        for draft in &mut import.providers {
            let models: Vec<_> = draft.models.iter().filter(|(model, ..)| model == target).cloned().collect();
            for (_, upstream, more) in models {
                found = true;
                if !draft.serves(alias) {
                    draft.models.push((alias.clone(), upstream, more));
                }
            }
        }
        if !found {
            import.leave(node.line, format!("model_group_alias.{alias}: there is no model `{target}` to lead to"));
        }
        if member(node, "hidden").is_some_and(|hidden| !is_empty(hidden)) {
            import.leave(node.line, format!("model_group_alias.{alias}.hidden: it is listed all the same"));
        }
    }
}

/// The master key may use every model, and so may the credential that it becomes.
fn general(node: &Node, import: &mut Import) {
    for (name, node) in pairs(node) {
        match name.as_str() {
            _ if is_empty(node) => {}
            "master_key" => {
                let given = text(node).unwrap_or_default();
                let key = match given.strip_prefix("os.environ/") {
                    Some(name) => variable(name),
                    None => hash(given),
                };
                import.credentials.push(CredentialRow {
                    credential_key: key,
                    name: "litellm-master".to_owned(),
                    allowed_models: "[]".to_owned(),
                    metadata: "{}".to_owned(),
                    is_enabled: true,
                    ..CredentialRow::default()
                });
                let message = "general_settings.master_key is a client's key here; the key of the admin interface is \
                               the variable ADMIN_KEY";
                import.leave(node.line, message);
            }
            "database_url" => {
                let message = "general_settings.database_url: the keys in that database are carried over with --keys";
                import.leave(node.line, message);
            }
            _ => import.leave_field(node.line, &format!("general_settings.{name}")),
        }
    }
}
