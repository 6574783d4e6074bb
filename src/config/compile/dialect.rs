//! The settings in `provider_params` about a provider's deviations: `host`, `quirks`,
//! `capabilities`, `translation`.
//!
//! ```json
//! {"host": "vllm", "quirks": ["think_tags", "-no_parallel"], "capabilities": {"url_images": false},
//!  "translation": {"strict": true, "foreign_reasoning": "text"}}
//! ```
//!
//! A wrong word is a problem that names it and changes nothing else: the provider is served by what
//! is known of its host.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::snapshot::{BaseUrl, Dialect};
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{PrefillPolicy, ServerTools};
use llm_wire::target::quirks::{Host, Quirk, Quirks};

/// The members that this module reads.
#[derive(Default)]
pub(super) struct Words<'j> {
    pub host: Option<&'j RawValue>,
    pub quirks: Option<&'j RawValue>,
    pub capabilities: Option<&'j RawValue>,
    pub translation: Option<&'j RawValue>,
}

impl Words<'_> {
    pub(super) fn compile(&self, base: &BaseUrl, id: i64, problems: &mut Vec<String>) -> Dialect {
        let host = self.host(base, problems);
        let (capabilities, messages) = self.capabilities.map(|raw| Overrides::parse(&value(raw))).unwrap_or_default();
        problems.extend(messages.into_iter().map(|message| format!("provider_params: {message}; it is left out")));
        let mut dialect = Dialect {
            host,
            quirks: self.quirks(host, base, problems),
            capabilities,
            account: id.to_string().into(),
            ..Dialect::default()
        };
        self.translation(&mut dialect, problems);
        dialect
    }

    fn host(&self, base: &BaseUrl, problems: &mut Vec<String>) -> Host {
        let known = Host::of(&base.authority);
        let Some(raw) = self.host else { return known };
        match value(raw).as_str().and_then(Host::named) {
            Some(host) => host,
            None => {
                let names: Vec<&str> = Host::ALL.iter().map(|host| host.name()).collect();
                problems.push(format!("provider_params: host {raw} is none of {}; it is left out", names.join(", ")));
                known
            }
        }
    }

    fn quirks(&self, host: Host, base: &BaseUrl, problems: &mut Vec<String>) -> Quirks {
        // Azure's versions have dates, the last of them April 2025; what OpenAI added since is
        // refused.
        let dated = base.query.split('&').any(|pair| pair.starts_with("api-version=20"));
        let built_in = match (host, dated) {
            (Host::Azure, true) => Quirks::of_host(host).with(Quirk::OldFields),
            _ => Quirks::of_host(host),
        };
        let Some(raw) = self.quirks else { return built_in };
        let Ok(words) = serde_json::from_str::<Vec<String>>(raw.get()) else {
            problems.push("provider_params: quirks is not a list of strings; it is left out".to_owned());
            return built_in;
        };
        let (quirks, unknown) = built_in.apply(words.iter().map(String::as_str));
        problems
            .extend(unknown.iter().map(|word| format!("provider_params: quirks: `{word}` is none; it is left out")));
        quirks
    }

    fn translation(&self, dialect: &mut Dialect, problems: &mut Vec<String>) {
        let Some(raw) = self.translation else { return };
        let Value::Object(members) = value(raw) else {
            problems.push("provider_params: translation is not an object; it is left out".to_owned());
            return;
        };
        for (name, value) in &members {
            if set(dialect, name, value).is_none() {
                let message = format!("provider_params: translation.{name} has no meaning or not the value `{value}`");
                problems.push(format!("{message}; it is left out"));
            }
        }
    }
}

/// Members of a JSON column were parsed before; this cannot fail.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Sets one member. Returns `None` if the name or the value is unknown.
fn set(dialect: &mut Dialect, name: &str, value: &Value) -> Option<()> {
    let word = value.as_str();
    let policy = &mut dialect.policy;
    match name {
        "strict" => dialect.strict = Some(value.as_bool()?),
        "repair_tool_pairs" => policy.repair_tool_pairs = value.as_bool()?,
        "foreign_reasoning" => {
            policy.foreign_reasoning_as_text = match word? {
                "text" => true,
                "drop" => false,
                _ => return None,
            }
        }
        "prefill" => {
            policy.prefill = match word? {
                "pass" => PrefillPolicy::Pass,
                "reject" => PrefillPolicy::Reject,
                "hint" => PrefillPolicy::Hint,
                _ => return None,
            }
        }
        "server_tools" => {
            policy.server_tools = match word? {
                "auto" => ServerTools::Auto,
                "reject" => ServerTools::Reject,
                "drop" => ServerTools::Drop,
                _ => return None,
            }
        }
        "thinking_tools" => {
            dialect.passes_thinking_tools = match word? {
                "auto" => false,
                "pass" => true,
                _ => return None,
            }
        }
        "reasoning_details" => policy.reasoning_details = value.as_bool()?,
        "summaries" => policy.summaries = value.as_bool()?,
        "anthropic_auto_cache" => policy.auto_cache = value.as_bool()?,
        "max_tokens" => policy.max_tokens = Some(value.as_u64().filter(|n| *n > 0)?),
        "emulate_stop" => policy.emulate_stop = value.as_bool()?,
        _ => return None,
    }
    Some(())
}
