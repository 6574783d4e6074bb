//! `provider_params.capabilities`: what a provider's models can do, by the operator.
//!
//! The object's members hold for every model of the provider, those under `models` for the models
//! whose names match:
//!
//! ```json
//! {"url_images": false, "models": {"qwen3-*": {"max_output": 32768, "effort_levels": ["low", "high"]}}}
//! ```

use std::sync::Arc;

use serde_json::Value;

use crate::format::Format;
use crate::target::caps::Caps;
use crate::target::facts::{Facts, glob};
use crate::target::quirks::Host;
use crate::target::setting::{Setting, settings};

/// The capabilities of one provider, parsed once when the configuration is compiled.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The operator's own facts, which go before the embedded ones and behind `rules`.
    facts: Arc<Facts>,
    /// `(pattern, settings)` in stored order; the pattern `*` holds the settings outside `models`.
    /// Later ones win.
    rules: Vec<(String, Vec<Setting>)>,
}

impl Overrides {
    /// Reads the object `provider_params.capabilities`. Invalid members are left out and named in
    /// the second value, in words for the person who wrote them.
    pub fn parse(object: &Value) -> (Overrides, Vec<String>) {
        let mut problems = Vec::new();
        let mut out = Overrides::default();
        let Some(members) = object.as_object() else {
            if !object.is_null() {
                problems.push("capabilities must be an object".to_owned());
            }
            return (out, problems);
        };
        let general = members.iter().filter(|(name, _)| *name != "models");
        out.rules.push(("*".to_owned(), settings(general, "capabilities", &mut problems)));
        for (pattern, members) in members.get("models").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("capabilities.models.`{pattern}`");
            match members.as_object() {
                Some(members) => {
                    let settings = settings(members.iter(), &place, &mut problems);
                    out.rules.push((pattern.to_ascii_lowercase(), settings));
                }
                None => problems.push(format!("{place} must be an object")),
            }
        }
        (out, problems)
    }

    /// Puts the facts of an operator's file between the embedded ones and the provider's own.
    #[must_use]
    pub fn with_facts(self, facts: Arc<Facts>) -> Overrides {
        Overrides { facts, ..self }
    }

    /// Applies the facts about a model, and then the provider's own settings, to its capabilities.
    pub(crate) fn apply(&self, to: Format, host: Host, model: &str, caps: &mut Caps) {
        self.facts.apply(to, host, model, caps);
        if self.rules.iter().all(|(_, settings)| settings.is_empty()) {
            return;
        }
        let model = model.to_ascii_lowercase();
        for (_, settings) in self.rules.iter().filter(|(pattern, _)| glob(pattern, &model)) {
            settings.iter().for_each(|setting| setting.apply(caps));
        }
    }
}

impl Caps {
    /// Returns the table for `model` (the name sent upstream) behind an endpoint of format `to` at
    /// `host`.
    pub fn for_model(to: Format, host: Host, model: &str, overrides: &Overrides) -> Caps {
        let mut caps = Caps::MINIMAL;
        Facts::embedded().apply(to, host, model, &mut caps);
        overrides.apply(to, host, model, &mut caps);
        caps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::effort::Effort;
    use crate::target::caps::Thinking;
    use serde_json::json;

    #[test]
    fn a_provider_overrides_the_facts_and_a_model_the_provider() {
        let (overrides, problems) = Overrides::parse(&json!({
            "url_images": false, "max_output": 9, "families": ["chat", "responses"], "system_role": "developer",
            "models": {"Qwen3-*": {"max_output": 32768, "effort_levels": ["low", "high"], "reasoning": "effort"}},
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let other = Caps::for_model(Format::Chat, Host::Unknown, "llama", &overrides);
        assert!((other.max_output, other.url_images, other.developer, other.responses) == (9, false, true, true));
        let qwen = Caps::for_model(Format::Chat, Host::Unknown, "qwen3-32B", &overrides);
        assert_eq!((qwen.max_output, qwen.thinking), (32768, Thinking::Effort));
        assert!(qwen.levels.has(Effort::High) && !qwen.levels.has(Effort::Medium));
    }

    #[test]
    fn invalid_settings_are_named_and_the_rest_applies() {
        let (overrides, problems) = Overrides::parse(
            &json!({"pdf": "yes", "colour": 1, "n": true, "effort_levels": ["lots"], "models": {"x": 1}}),
        );
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(Caps::for_model(Format::Chat, Host::Unknown, "x", &overrides).n);
        assert_eq!(Overrides::parse(&json!([])).1.len(), 1);
        assert!(Overrides::parse(&json!(null)).1.is_empty());
    }
}
