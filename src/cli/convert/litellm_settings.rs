//! The settings of a LiteLLM configuration.

use super::import::{Draft, Import, serving, variable};
use super::litellm_fallbacks::{Fallback, Fallbacks};
use super::litellm_values::{budgets, environment, names, value};
use super::tree::{is_empty, member, number, pairs, text, whole};
use crate::cli::key::hash;
use crate::config::file::yaml::{Node, Value};
use crate::config::rows::CredentialRow;

/// Longer waits than these are not reached by default, and so the upper bounds are set too.
const LONGEST_COOLDOWN: f64 = 300.0;

/// Reads `litellm_settings` or `router_settings`, which share most of their names.
pub(super) fn settings(section: &str, node: &Node, fallbacks: &mut Fallbacks, import: &mut Import) {
    for (name, node) in pairs(node) {
        let path = format!("{section}.{name}");
        match name.as_str() {
            "ssl_verify" if node.value == Value::Bool(false) => import.set("verify_ssl", false),
            _ if is_empty(node) => {}
            name if name.ends_with("fallbacks") => fallback(name, &path, node, fallbacks, import),
            name if name.contains("budget") => budget(section, name, &path, node, import),
            "model_group_alias" => aliases(node, import),
            "num_retries" => match whole(node) {
                Some(retries) => import.set("max_attempts", (retries + 1).clamp(1, 100)),
                None => import.leave_field(node.line, &path),
            },
            "timeout" | "request_timeout" => seconds("total_timeout_secs", &path, node, import),
            "stream_timeout" => seconds("ttft_timeout_secs", &path, node, import),
            "cooldown_time" => cooldown(&path, node, import),
            "disable_cooldowns" => import.set("adaptive_routing_enabled", false),
            "routing_strategy" | "enable_pre_call_checks" | "optional_pre_call_checks" => {
                routing(name, &path, node, import);
            }
            // Read with all deployments.
            "default_max_parallel_requests" if whole(node).is_some() => {}
            "redis_url" => match text(node) {
                Some(url) => {
                    import.has_password |= environment(url).is_none() && url.contains('@');
                    import.set("limits_url", quoted(&value(url)));
                }
                None => import.leave_field(node.line, &path),
            },
            // Read together with `redis_host`.
            "redis_host" | "redis_port" | "redis_password" | "redis_db" => {}
            "set_verbose" => import.set("log_level", "debug"),
            // This gateway always does so.
            "drop_params" | "modify_params" | "json_logs" => {}
            "callbacks" | "success_callback" | "failure_callback" => callbacks(&path, node, import),
            _ => import.leave_field(node.line, &path),
        }
    }
    redis(node, import);
}

/// Keeps the models that are asked after others.
fn fallback(name: &str, path: &str, node: &Node, fallbacks: &mut Fallbacks, import: &mut Import) {
    match name {
        "fallbacks" => fallbacks.of_failures.extend(lists(node)),
        "context_window_fallbacks" => fallbacks.of_length.extend(lists(node)),
        "content_policy_fallbacks" => fallbacks.of_content.extend(lists(node)),
        "default_fallbacks" => {
            fallbacks.of_failures.push(Fallback { from: None, to: texts(node), line: node.line });
        }
        _ => import.leave_field(node.line, path),
    }
}

/// Says how requests are shared and checked here instead.
fn routing(name: &str, path: &str, node: &Node, import: &mut Import) {
    match name {
        "routing_strategy" if text(node) == Some("simple-shuffle") => {}
        "routing_strategy" => {
            import.leave(node.line, format!("{path}: requests are shared by weights, as with simple-shuffle"));
        }
        "enable_pre_call_checks" => {
            let message = format!(
                "{path}: rpm and tpm become limits of providers; whether a prompt fits is known when the provider \
                 refuses it, which context_window_fallbacks answers"
            );
            import.leave(node.line, message);
        }
        _ => {
            for check in names(node).into_iter().filter(|check| text(check) != Some("enforce_model_rate_limits")) {
                import.leave_field(check.line, &format!("{path}: `{}`", text(check).unwrap_or_default()));
            }
        }
    }
}

/// Makes budgets of providers and tags.
fn budget(section: &str, name: &str, path: &str, node: &Node, import: &mut Import) {
    match name {
        "provider_budget_config" => {
            for (vendor, line, spending) in budgets(path, node, ["budget_limit", "time_period"], import) {
                if !import.bound_vendor(vendor, &spending) {
                    import.leave(line, format!("{path}.{vendor} is not the budget of one provider here"));
                }
            }
        }
        "tag_budget_config" => {
            for (tag, _, spending) in budgets(path, node, ["max_budget", "budget_duration"], import) {
                import.add_budget("tag", tag, &spending);
            }
        }
        "max_budget" => {
            let message = format!("{path}: no budget is of the whole gateway; make one of a group of all keys");
            import.leave(node.line, message);
        }
        // Read together with `max_budget`.
        "budget_duration" if section == "litellm_settings" => {}
        _ => import.leave_field(node.line, path),
    }
}

fn texts(node: &Node) -> Vec<String> {
    names(node).into_iter().filter_map(text).map(str::to_owned).collect()
}

/// Reads `[{MODEL: [MODEL, ...]}, ...]`.
fn lists(node: &Node) -> Vec<Fallback> {
    let pairs = names(node).into_iter().flat_map(pairs);
    let fallback = |(from, to): &(String, Node)| {
        let from = Some(from.clone()).filter(|from| from != "*");
        Fallback { from, to: texts(to), line: to.line }
    };
    pairs.map(fallback).collect()
}

fn seconds(setting: &'static str, path: &str, node: &Node, import: &mut Import) {
    match number(node).filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
        Some(seconds) => import.set(setting, seconds),
        None => import.leave_field(node.line, path),
    }
}

fn cooldown(path: &str, node: &Node, import: &mut Import) {
    let Some(seconds) = number(node).filter(|seconds| seconds.is_finite() && *seconds > 0.0) else {
        return import.leave_field(node.line, path);
    };
    import.set("adaptive_base_429_cooldown_secs", seconds);
    import.set("adaptive_base_open_duration_secs", seconds);
    if seconds > LONGEST_COOLDOWN {
        import.set("adaptive_max_429_cooldown_secs", seconds);
        import.set("adaptive_max_open_duration_secs", seconds);
    }
    import.leave(node.line, format!("{path} is the first rest of a provider here; each further one is twice as long"));
}

/// Makes LIMITS_URL of the parts of an address.
fn redis(node: &Node, import: &mut Import) {
    let part = |name: &str| member(node, name).filter(|node| !is_empty(node)).and_then(text);
    let Some(host) = part("redis_host") else { return };
    let password = part("redis_password").map(|password| match environment(password) {
        Some(name) => {
            let line = member(node, "redis_password").map_or(node.line, |node| node.line);
            let message = format!(
                "redis_password: {name} becomes a part of the URL in LIMITS_URL; percent-encode its value if it has \
                 characters like `@`, `/`, `:` or `%`"
            );
            import.leave(line, message);
            format!(":{}@", variable(name))
        }
        None => {
            import.has_password = true;
            format!(":{}@", percent_encoded(password))
        }
    });
    let port = part("redis_port").map_or_else(|| "6379".to_owned(), value);
    let database = part("redis_db").map(|database| format!("/{}", value(database))).unwrap_or_default();
    let url = format!("redis://{}{}:{port}{database}", password.unwrap_or_default(), value(host));
    import.set("limits_url", quoted(&url));
}

/// Encodes what a URL does not take in a password.
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// As a YAML value: `$` stands for itself, and the marks of variables are escaped, as `file::write`
/// escapes them.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('$', "$$")
}

fn callbacks(path: &str, node: &Node, import: &mut Import) {
    for node in names(node) {
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
        let entries: Vec<_> = serving(&import.providers, target)
            .into_iter()
            .map(|(draft, (_, upstream, more))| (draft.clone(), (alias.clone(), upstream, more)))
            .collect();
        for (source, entry) in entries {
            found = true;
            let is_source = |draft: &&mut Draft| draft.name == source.name && !draft.serves(alias);
            match import.providers.iter_mut().find(is_source) {
                // With a name it would no longer serve what is left.
                Some(draft) if draft.models.is_empty() => import.add(Draft { models: vec![entry], ..source }),
                Some(draft) => draft.models.push(entry),
                None => {}
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

/// Reads `general_settings`.
pub(super) fn general(node: &Node, import: &mut Import) {
    let is_set = |name: &str| member(node, name).is_some_and(|node| !is_empty(node));
    let checks_health = is_set("background_health_checks");
    if checks_health && !is_set("health_check_interval") {
        import.set("health_check_interval_secs", 300);
    }
    for (name, node) in pairs(node) {
        let path = format!("general_settings.{name}");
        match name.as_str() {
            _ if is_empty(node) => {}
            "master_key" => master_key(node, import),
            "database_url" => {
                let message = "general_settings.database_url: the keys in that database are carried over with --keys";
                import.leave(node.line, message);
            }
            // Read with all deployments.
            "max_parallel_requests" if whole(node).is_some() => {}
            "global_max_parallel_requests" => count("max_concurrent_requests", 1, &path, node, import),
            "max_request_size_mb" => count("max_body_bytes", 1 << 20, &path, node, import),
            "background_health_checks" => {}
            "health_check_interval" if checks_health => seconds("health_check_interval_secs", &path, node, import),
            "disable_spend_logs" => import.set("request_log_enabled", false),
            "store_prompts_in_spend_logs" => import.set("request_log_body_enabled", true),
            "maximum_spend_logs_retention_period" => match text(node).and_then(days) {
                Some(days) => import.set("request_log_retention_days", days),
                None => import.leave_field(node.line, &path),
            },
            "alerting" => {
                import.leave(node.line, format!("{path}: set WEBHOOK_URL, with WEBHOOK_FORMAT=slack for Slack"));
            }
            // This gateway always does so.
            "allow_requests_on_db_unavailable" => {}
            _ => import.leave_field(node.line, &path),
        }
    }
}

fn count(setting: &'static str, unit: i64, path: &str, node: &Node, import: &mut Import) {
    match whole(node) {
        Some(count) => import.set(setting, count.saturating_mul(unit)),
        None => import.leave_field(node.line, path),
    }
}

/// Reads whole days, such as `30d`.
fn days(text: &str) -> Option<u32> {
    text.strip_suffix('d')?.parse().ok().filter(|days| *days > 0)
}

/// The master key may use every model, and so may the credential that it becomes.
fn master_key(node: &Node, import: &mut Import) {
    let given = text(node).unwrap_or_default();
    import.credentials.push(CredentialRow {
        credential_key: environment(given).map_or_else(|| hash(given), variable),
        name: "litellm-master".to_owned(),
        allowed_models: "[]".to_owned(),
        metadata: "{}".to_owned(),
        is_enabled: true,
        ..CredentialRow::default()
    });
    let message = "general_settings.master_key is a client's key here; the key of the admin interface is the variable \
                   ADMIN_KEY";
    import.leave(node.line, message);
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn passwords_in_urls() {
        assert_eq!(percent_encoded("p@ss/w:ö-1"), "p%40ss%2Fw%3A%C3%B6-1");
    }
}
