//! Bifrost's `config.json` (docs.getbifrost.ai/quickstart/gateway/provider-configuration and its
//! examples, read 2026-11).

use super::import::{Draft, DraftModel, Import, per_second, variable, weight};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use super::vendors::{self, Vendor};
use crate::cli::key::hash;
use crate::config::file::yaml::{Node, Value};
use crate::config::rows::CredentialRow;

pub(super) fn read(root: &Node, import: &mut Import) {
    for (name, node) in pairs(root) {
        match name.as_str() {
            "$schema" => {}
            "providers" => pairs(node).iter().for_each(|(name, node)| provider(name, node, import)),
            "governance" => governance(node, import),
            "client" => client(node, import),
            _ if is_empty(node) => {}
            _ => import.leave_field(node.line, name),
        }
    }
}

fn provider(name: &str, node: &Node, import: &mut Import) {
    let custom = member(node, "custom_provider_config");
    let kind = custom.and_then(|custom| member(custom, "base_provider_type")).and_then(text);
    let Some(vendor) = vendors::find(kind.unwrap_or(name)) else {
        let message = format!("providers.{name} is of a vendor that is not served by this version");
        return import.leave(node.line, message);
    };
    let network = member(node, "network_config");
    let base = network.and_then(|network| member(network, "base_url")).filter(|node| !is_empty(node)).and_then(text);
    let headers = network.and_then(|network| member(network, "extra_headers")).map(pairs).unwrap_or_default();
    let headers: Vec<_> = headers.iter().filter_map(|(name, node)| Some((name.clone(), value(text(node)?)))).collect();
    for (at, key) in member(node, "keys").map(items).unwrap_or_default().iter().enumerate() {
        let path = format!("providers.{name}.keys[{at}]");
        one_key(&path, (name, vendor), base, &headers, key, import);
    }
    for (field, node) in network.map(pairs).unwrap_or_default() {
        if !matches!(field.as_str(), "base_url" | "extra_headers") && !is_empty(node) {
            import.leave_field(node.line, &format!("providers.{name}.network_config.{field}"));
        }
    }
    for (field, node) in pairs(node) {
        if !matches!(field.as_str(), "keys" | "network_config" | "custom_provider_config") && !is_empty(node) {
            import.leave_field(node.line, &format!("providers.{name}.{field}"));
        }
    }
}

/// Each key of a provider is a provider here: it has a share and models of its own.
fn one_key(
    path: &str,
    (name, vendor): (&str, &Vendor),
    base: Option<&str>,
    headers: &[(String, String)],
    node: &Node,
    import: &mut Import,
) {
    let azure = member(node, "azure_key_config");
    let endpoint = azure.and_then(|azure| member(azure, "endpoint")).and_then(text).or(base);
    let base = match endpoint {
        Some(endpoint) => value(endpoint),
        None if vendor.base.is_empty() => {
            return import.leave(node.line, format!("{path}: {name} needs an address, and none is given"));
        }
        None => vendor.base.to_owned(),
    };
    let version = azure.and_then(|azure| member(azure, "api_version")).and_then(text);
    let base = match version {
        Some(version) => format!("{}?api-version={}", base.trim_end_matches('/'), value(version)),
        // Bifrost adds the version itself.
        None if vendor.kind == "openai" && endpoint.is_some() && !base.contains("/v1") => {
            format!("{}/v1", base.trim_end_matches('/'))
        }
        None => base,
    };
    let api_key = member(node, "value").and_then(text).unwrap_or_default();
    let api_key = api_key.strip_prefix("env.").map_or_else(|| api_key.to_owned(), |name| format!("env:{name}"));
    let draft = Draft {
        name: name.to_owned(),
        kind: vendor.kind,
        base,
        api_key,
        headers: headers.to_vec(),
        weight: member(node, "weight").and_then(number).map_or(1, weight),
        models: models(path, name, azure, node, import),
    };
    import.add(draft);
    const KNOWN: &[&str] = &["id", "name", "value", "weight", "models", "azure_key_config", "deployments", "aliases"];
    for (field, node) in pairs(node) {
        if !KNOWN.contains(&field.as_str()) && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.{field}"));
        }
    }
}

/// Bifrost's clients ask for `provider/model`; the model alone is served as well, where it is named.
fn models(path: &str, provider: &str, azure: Option<&Node>, node: &Node, import: &mut Import) -> Vec<DraftModel> {
    let deployments = azure.and_then(|azure| member(azure, "deployments"));
    let deployments = [deployments, member(node, "deployments"), member(node, "aliases")];
    let mut named: Vec<(String, String)> = Vec::new();
    for (model, upstream) in deployments.into_iter().flatten().flat_map(pairs) {
        named.extend(text(upstream).map(|upstream| (model.clone(), upstream.to_owned())));
    }
    let list = member(node, "models").map(items).unwrap_or_default();
    let is_all = list.is_empty() || list.iter().any(|model| text(model) == Some("*"));
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

fn value(given: &str) -> String {
    given.strip_prefix("env.").map_or_else(|| given.to_owned(), variable)
}

fn governance(node: &Node, import: &mut Import) {
    let limits = member(node, "rate_limits").map(items).unwrap_or_default();
    for (at, key) in member(node, "virtual_keys").map(items).unwrap_or_default().iter().enumerate() {
        virtual_key(at, key, limits, import);
    }
    for (field, node) in pairs(node) {
        if !matches!(field.as_str(), "virtual_keys" | "rate_limits") && !is_empty(node) {
            import.leave_field(node.line, &format!("governance.{field}"));
        }
    }
}

/// A virtual key is a credential: what it may use, and how much.
fn virtual_key(at: usize, node: &Node, limits: &[Node], import: &mut Import) {
    let path = format!("governance.virtual_keys[{at}]");
    let get = |name: &str| member(node, name).filter(|node| !is_empty(node));
    let Some(given) = get("value").or_else(|| get("id")).and_then(text) else {
        return import.leave(node.line, format!("{path} has no value and is not carried over"));
    };
    let credential_key = given.strip_prefix("env.").map_or_else(|| hash(given), variable);
    let wanted = get("rate_limit_id").and_then(text);
    let limit = get("rate_limit").or_else(|| limits.iter().find(|limit| member(limit, "id").and_then(text) == wanted));
    let limit = limit.filter(|_| wanted.is_some() || get("rate_limit").is_some());
    let per_minute = |most: &str, time: &str| {
        let most = whole(member(limit?, most)?)?;
        Some(most * 60 / seconds(text(member(limit?, time)?)?)?.max(1))
    };
    let row = CredentialRow {
        credential_key,
        name: get("name").and_then(text).map_or_else(|| format!("bifrost-{}", at + 1), str::to_owned),
        allowed_models: allowed(&path, get("provider_configs"), import),
        rate_limit: per_minute("request_max_limit", "request_reset_duration").map(per_second),
        tokens_per_minute: per_minute("token_max_limit", "token_reset_duration"),
        metadata: "{}".to_owned(),
        is_enabled: !matches!(member(node, "is_active").map(|node| &node.value), Some(Value::Bool(false))),
        ..CredentialRow::default()
    };
    import.credentials.push(row);
    const KNOWN: &[&str] =
        &["id", "name", "value", "description", "is_active", "provider_configs", "rate_limit_id", "rate_limit"];
    for (field, node) in pairs(node) {
        if !KNOWN.contains(&field.as_str()) && !is_empty(node) {
            import.leave_field(node.line, &format!("{path}.{field}"));
        }
    }
}

/// Reads a length of time such as `30s`, `1m`, `1h` or `1d`, in seconds.
fn seconds(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    Some(count * seconds)
}

fn allowed(path: &str, configs: Option<&Node>, import: &mut Import) -> String {
    let mut allowed = Vec::new();
    for (at, config) in configs.map(items).unwrap_or_default().iter().enumerate() {
        let path = format!("{path}.provider_configs[{at}]");
        let provider = member(config, "provider").and_then(text).unwrap_or_default();
        let models = member(config, "allowed_models").map(items).unwrap_or_default();
        let models: Vec<&str> = models.iter().filter_map(text).collect();
        if models.is_empty() || models.contains(&"*") {
            allowed.push(format!("{provider}/*"));
        } else {
            allowed.extend(models.iter().flat_map(|model| [format!("{provider}/{model}"), (*model).to_owned()]));
        }
        for (field, node) in pairs(config) {
            let is_all = items(node).iter().any(|item| text(item) == Some("*"));
            if !matches!(field.as_str(), "provider" | "allowed_models") && !is_empty(node) && !is_all {
                import.leave_field(node.line, &format!("{path}.{field}"));
            }
        }
    }
    serde_json::Value::from(allowed).to_string()
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
            "enable_logging" => {}
            _ => import.leave_field(node.line, &format!("client.{field}")),
        }
    }
}
