//! LiteLLM's `config.yaml` (docs.litellm.ai/docs/proxy/config_settings, read 2026-11).

use super::import::Import;
use super::litellm_deployment::{self as deployment, Common};
use super::litellm_fallbacks::{Fallbacks, add_standbys, add_virtual_models};
use super::litellm_settings::{general, settings};
use super::tree::{is_empty, items, member, pairs, text, whole};
use crate::config::file::yaml::Node;

/// The sections that hold settings. Those of the router go before those of LiteLLM itself, and so
/// they are read behind them.
const SETTINGS: &[&str] = &["litellm_settings", "router_settings"];

pub(super) fn read(root: &Node, import: &mut Import) {
    let common = common(root);
    if let Some(list) = member(root, "model_list") {
        items(list).iter().enumerate().for_each(|(at, node)| deployment::read(at, node, &common, import));
    }
    unused_credentials(root, &common, import);
    let mut fallbacks = Fallbacks::default();
    for section in SETTINGS {
        if let Some(node) = member(root, section) {
            settings(section, node, &mut fallbacks, import);
        }
    }
    for (name, node) in pairs(root) {
        match name.as_str() {
            "model_list" | "credential_list" => {}
            _ if SETTINGS.contains(&name.as_str()) => {}
            "general_settings" => general(node, import),
            "environment_variables" => {
                for (variable, node) in pairs(node) {
                    let message = format!("set the environment variable {variable} of the gateway yourself");
                    import.leave(node.line, message);
                }
            }
            "include" => import.leave(node.line, "include: the files that it names are not read; import each of them"),
            _ if is_empty(node) => {}
            _ => import.leave_field(node.line, name),
        }
    }
    add_standbys(&fallbacks.of_failures, import);
    add_virtual_models(&fallbacks, import);
}

/// Names the items of `credential_list` that no deployment names.
fn unused_credentials(root: &Node, common: &Common<'_>, import: &mut Import) {
    let deployments = member(root, "model_list").map(items).unwrap_or_default().iter();
    let named = |node| text(member(member(node, "litellm_params")?, "litellm_credential_name")?);
    let named: Vec<&str> = deployments.filter_map(named).collect();
    for (name, values) in common.credentials.iter().filter(|(name, _)| !named.contains(name)) {
        let message = format!("credential_list: no deployment names `{name}`, and it is not carried over");
        import.leave(values.line, message);
    }
}

/// Returns what the file says about all of its deployments.
fn common(root: &Node) -> Common<'_> {
    let credential = |node| Some((text(member(node, "credential_name")?)?, member(node, "credential_values")?));
    let router = |name: &str| member(root, "router_settings").and_then(|router| member(router, name));
    let general = |name: &str| member(root, "general_settings").and_then(|general| member(general, name));
    let checks = router("optional_pre_call_checks").map(items).unwrap_or_default();
    let by_usage =
        router("routing_strategy").and_then(text).is_some_and(|name| name.starts_with("usage-based-routing"));
    Common {
        credentials: member(root, "credential_list")
            .map(items)
            .unwrap_or_default()
            .iter()
            .filter_map(credential)
            .collect(),
        enforces_rates: by_usage
            || router("enable_pre_call_checks").is_some_and(|node| !is_empty(node))
            || checks.iter().any(|check| text(check) == Some("enforce_model_rate_limits")),
        max_concurrency: router("default_max_parallel_requests")
            .or_else(|| general("max_parallel_requests"))
            .and_then(whole)
            .filter(|most| *most > 0),
    }
}
