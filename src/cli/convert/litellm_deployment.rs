//! The items of LiteLLM's `model_list`, which become providers.

use super::import::{Draft, Import, Spending, weight};
use super::litellm_values::{environment, value};
use super::tree::{is_empty, items, member, number, pairs, text, whole};
use super::vendors::{self, Vendor};
use crate::config::file::yaml::{Node, Value};

/// What the rest of the file says about all deployments.
#[derive(Debug, Default)]
pub(super) struct Common<'n> {
    /// `credential_list`: names, and the values behind them.
    pub(super) credentials: Vec<(&'n str, &'n Node)>,
    /// Whether `rpm` and `tpm` are limits. They are shares otherwise.
    pub(super) enforces_rates: bool,
    /// The most requests of a deployment at a time that has no number of its own.
    pub(super) max_concurrency: Option<i64>,
}

/// Members of `litellm_params` that are read here, or that need no counterpart: parameters that a
/// provider does not take are always dropped.
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
    "litellm_credential_name",
    "timeout",
    "request_timeout",
    "stream_timeout",
    "max_retries",
    "num_retries",
    "max_parallel_requests",
    "max_budget",
    "budget_duration",
];

/// Prices, under the names that both gateways have for them.
const PRICES: &[&str] = &[
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

/// `litellm_params` of a deployment, and the credential that it names.
struct Params<'n> {
    own: &'n Node,
    credential: Option<&'n Node>,
}

impl<'n> Params<'n> {
    /// Finds the parameters of the item `node`. `None`, reported, if it has none.
    fn of(path: &str, node: &'n Node, common: &Common<'n>, import: &mut Import) -> Option<Params<'n>> {
        let Some(own) = member(node, "litellm_params") else {
            import.leave(node.line, format!("{path} has no litellm_params and is not carried over"));
            return None;
        };
        let mut params = Params { own, credential: None };
        if let Some(name) = member(own, "litellm_credential_name") {
            params.credential =
                common.credentials.iter().find(|(known, _)| text(name) == Some(known)).map(|(_, node)| *node);
            if params.credential.is_none() {
                import.leave(name.line, format!("{path}: no item of credential_list has this litellm_credential_name"));
            }
        }
        Some(params)
    }

    fn get(&self, name: &str) -> Option<&'n Node> {
        let shared = || self.credential.and_then(|values| member(values, name));
        member(self.own, name).filter(|node| !is_empty(node)).or_else(shared)
    }

    /// Returns a number. Anything else is reported.
    fn number(&self, name: &str, path: &str, import: &mut Import) -> Option<f64> {
        let node = self.get(name)?;
        let found = number(node).filter(|number| number.is_finite() && *number >= 0.0);
        if found.is_none() {
            let message = format!("{path}.litellm_params.{name} is no number in this file and is not carried over");
            import.leave(node.line, message);
        }
        found
    }

    /// Returns the vendor and the model's name there. `None`, reported, if this version serves no
    /// such vendor.
    fn upstream(&self, path: &str, import: &mut Import) -> Option<(&'static Vendor, &'n str)> {
        let Some(model) = self.get("model") else {
            import.leave(self.own.line, format!("{path} names no model and is not carried over"));
            return None;
        };
        let full = text(model).unwrap_or_default();
        if let Some(name) = environment(full) {
            let message =
                format!("{path}: its model is in the environment variable {name}; write the model into the file");
            import.leave(model.line, message);
            return None;
        }
        let found = split(self.get("custom_llm_provider").and_then(text), full);
        if found.is_none() {
            let message = match full {
                "*" => {
                    format!("{path}: a model of `*` leaves the provider to the name of the model; name each provider")
                }
                _ => format!("{path}: `{full}` is of a provider that is not served by this version"),
            };
            import.leave(model.line, message);
        }
        found
    }
}

/// Reads one item of `model_list`.
pub(super) fn read(at: usize, node: &Node, common: &Common<'_>, import: &mut Import) {
    let path = format!("model_list[{at}]");
    let model_name = member(node, "model_name").and_then(text).unwrap_or_default().to_owned();
    let Some(params) = Params::of(&path, node, common, import) else { return };
    let Some((vendor, upstream)) = params.upstream(&path, import) else { return };
    if model_name.is_empty() || upstream.is_empty() {
        return import.leave(node.line, format!("{path} has a name that is empty and is not carried over"));
    }
    let is_catch_all = model_name == "*" && upstream == "*";
    if is_catch_all {
        let message = format!(
            "{path}: it serves what no other provider has a name or a pattern for, and also what those fail to serve"
        );
        import.leave(node.line, message);
    }
    let Some(base) = base(vendor, &params) else {
        return import.leave(params.own.line, format!("{path}: {} needs an api_base", vendor.name));
    };
    let mut more = Vec::new();
    info(&path, node, &model_name, &params, &mut more, import);
    if is_catch_all && !more.is_empty() {
        import.leave(node.line, format!("{path}: what is known of its models is not carried over"));
    }
    let draft = Draft {
        name: vendor.name.to_owned(),
        vendor: vendor.name.to_owned(),
        kind: vendor.kind,
        base,
        api_key: key(params.get("api_key"), vendor),
        headers: headers(&params),
        weight: share(&path, &params, common, import),
        tier: params.number("order", &path, import).map_or(0, |order| (order as i64).clamp(1, 100) - 1),
        params: provider_params(&path, &params, common, import),
        budget: budget(&path, &params, import),
        models: if is_catch_all { Vec::new() } else { vec![(model_name, upstream.to_owned(), more)] },
    };
    import.add(draft);
    for (name, node) in pairs(params.own) {
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
    ("ft:gpt-", "openai"),
    ("dall-e", "openai"),
    ("tts-", "openai"),
    ("whisper-", "openai"),
    ("omni-moderation-", "openai"),
    ("text-moderation-", "openai"),
    ("computer-use-", "openai"),
    ("codex-", "openai"),
    ("gemini", "gemini"),
    ("mistral", "mistral"),
    ("codestral", "mistral"),
];

/// `openai/responses/gpt-5` asks for a path of the API, which this gateway chooses itself.
fn strip_route<'m>(vendor: &Vendor, upstream: &'m str) -> &'m str {
    let route = matches!(vendor.name, "openai" | "azure").then(|| upstream.strip_prefix("responses/")).flatten();
    route.unwrap_or(upstream)
}

fn base(vendor: &Vendor, params: &Params<'_>) -> Option<String> {
    let given = ["api_base", "base_url"].iter().find_map(|name| params.get(name)).and_then(text);
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
    match params.get("api_version").and_then(text) {
        Some(version) if vendor.name == "azure" && !base.contains('?') => {
            Some(format!("{}?api-version={}", base.trim_end_matches('/'), value(version)))
        }
        _ => Some(base),
    }
}

/// Writes a key. One that is in the environment stays there, and the row names its variable.
fn key(given: Option<&Node>, vendor: &Vendor) -> String {
    match given.and_then(text) {
        Some(given) => environment(given).map_or_else(|| given.to_owned(), |name| format!("env:{name}")),
        None if vendor.variable.is_empty() => String::new(),
        None => format!("env:{}", vendor.variable),
    }
}

fn headers(params: &Params<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for name in ["headers", "extra_headers"] {
        let given = params.get(name).map(pairs).unwrap_or_default();
        headers.extend(given.iter().filter_map(|(name, node)| Some((name.clone(), value(text(node)?)))));
    }
    if let Some(organization) = params.get("organization").and_then(text) {
        headers.push(("OpenAI-Organization".to_owned(), value(organization)));
    }
    headers
}

/// Returns the share of a deployment: LiteLLM goes by `weight`, else by `rpm`, else by `tpm`.
fn share(path: &str, params: &Params<'_>, common: &Common<'_>, import: &mut Import) -> i64 {
    let own = params.number("weight", path, import).map(weight);
    let mut of_rates = None;
    for name in ["rpm", "tpm"] {
        let Some(node) = params.get(name) else { continue };
        let rate = params.number(name, path, import);
        if rate.is_some() && !common.enforces_rates {
            let message = format!(
                "{path}.litellm_params.{name} is a share of the requests here, not a limit; `limits` in \
                 provider_params would be one"
            );
            import.leave(node.line, message);
        }
        of_rates = of_rates.or(rate.map(weight));
    }
    own.or(of_rates).unwrap_or(1)
}

/// Deadlines, retries and limits of a deployment.
fn provider_params(
    path: &str,
    params: &Params<'_>,
    common: &Common<'_>,
    import: &mut Import,
) -> Vec<(&'static str, String)> {
    let mut number = |names: &[&str]| names.iter().find_map(|name| params.number(name, path, import));
    let total = number(&["timeout", "request_timeout"]).filter(|seconds| *seconds > 0.0);
    let first_content = number(&["stream_timeout"]).filter(|seconds| *seconds > 0.0);
    let attempts = number(&["max_retries", "num_retries"]).map(|retries| retries.min(99.0) + 1.0);
    let at_once = number(&["max_parallel_requests"]).or(common.max_concurrency.map(|most| most as f64));
    let rate = |node: Option<&Node>| node.filter(|_| common.enforces_rates).and_then(number_of);
    let groups = [
        ("timeouts", [("total", total), ("first_content", first_content), ("", None)]),
        ("retries", [("max_attempts", attempts), ("", None), ("", None)]),
        (
            "limits",
            [
                ("max_concurrency", at_once.map(f64::round)),
                ("requests_per_minute", rate(params.get("rpm")).map(f64::round)),
                ("tokens_per_minute", rate(params.get("tpm")).map(f64::round)),
            ],
        ),
    ];
    let json = |members: &[(&str, Option<f64>)]| {
        let members = members.iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", (*value)?)));
        members.collect::<Vec<_>>().join(",")
    };
    let groups = groups.iter().map(|(name, members)| (*name, json(members)));
    groups.filter(|(_, members)| !members.is_empty()).map(|(name, members)| (name, format!("{{{members}}}"))).collect()
}

fn number_of(node: &Node) -> Option<f64> {
    whole(node).map(|number| number as f64)
}

fn budget(path: &str, params: &Params<'_>, import: &mut Import) -> Option<Spending> {
    let amount = params.get("max_budget")?;
    match Spending::new(number(amount), params.get("budget_duration").and_then(text)) {
        Ok(spending) => Some(spending),
        Err(why) => {
            import.leave(amount.line, format!("{path}.litellm_params.max_budget is not carried over: {why}"));
            None
        }
    }
}

/// The members of `model_info` are kept beside the upstream's name, for listings and prices.
fn info(
    path: &str,
    node: &Node,
    model_name: &str,
    params: &Params<'_>,
    more: &mut Vec<(String, String)>,
    import: &mut Import,
) {
    // A quoted number is a number too.
    let price = |node: &Node| match &node.value {
        Value::Number(_) => Some(node.json()),
        _ => number(node).filter(|price| price.is_finite()).map(|price| price.to_string()),
    };
    for name in PRICES {
        if let Some(price) = member(params.own, name).and_then(price) {
            more.push(((*name).to_owned(), price));
        }
    }
    for (name, value) in member(node, "model_info").map(pairs).unwrap_or_default() {
        match name.as_str() {
            "id" | "db_model" => {}
            "mapped_model" => import.leave_field(value.line, &format!("{path}.model_info.{name}")),
            "access_groups" => {
                let groups = items(value).iter().filter_map(text);
                import.access_groups.extend(groups.map(|group| (group.to_owned(), model_name.to_owned())));
            }
            _ if more.iter().any(|(known, _)| known == name) => {}
            _ if PRICES.contains(&name.as_str()) => {
                more.push((name.clone(), price(value).unwrap_or_else(|| value.json())));
            }
            _ => more.push((name.clone(), value.json())),
        }
    }
    for (name, value) in pairs(node) {
        if !matches!(name.as_str(), "model_name" | "litellm_params" | "model_info") && !is_empty(value) {
            import.leave_field(value.line, &format!("{path}.{name}"));
        }
    }
}
