//! The parts of another gateway's configuration that were understood, as rows of this one.

use crate::config::file::{self, FileProblem};
use crate::config::rows::{CredentialRow, ProviderRow, Rows};

/// The result of a conversion while the file is read.
#[derive(Debug, Default)]
pub(super) struct Import {
    pub(super) providers: Vec<Draft>,
    pub(super) credentials: Vec<CredentialRow>,
    /// Settings by their names in a configuration file, with values as YAML.
    settings: Vec<(&'static str, String)>,
    /// The parts that are not carried over.
    pub(super) left: Vec<FileProblem>,
}

/// A provider while models are added to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) base: String,
    pub(super) api_key: String,
    /// Names and values of headers.
    pub(super) headers: Vec<(String, String)>,
    pub(super) weight: i64,
    /// Model, upstream model, and what else is known of it as JSON members.
    pub(super) models: Vec<DraftModel>,
}

/// A model's name, its name at the provider, and what else is known of it: JSON members.
pub(super) type DraftModel = (String, String, Vec<(String, String)>);

impl Draft {
    /// Returns whether both are the same account at the same place with the same share.
    fn is_like(&self, other: &Draft) -> bool {
        let key = |draft: &Draft| {
            (draft.kind, draft.base.clone(), draft.api_key.clone(), draft.headers.clone(), draft.weight)
        };
        key(self) == key(other)
    }

    pub(super) fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|(known, ..)| known == model)
    }

    fn row(self) -> ProviderRow {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let entry = |(model, upstream, more): &(String, String, Vec<(String, String)>)| {
            let more: String = more.iter().map(|(name, value)| format!(",{}:{value}", text(name))).collect();
            match more.is_empty() {
                true => format!("{}:{}", text(model), text(upstream)),
                false => format!("{}:{{\"mapped_model\":{}{more}}}", text(model), text(upstream)),
            }
        };
        let models: Vec<_> = self.models.iter().map(entry).collect();
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
        let params = match headers.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{\"custom_headers\":{{{}}}}}", headers.join(",")),
        };
        ProviderRow {
            provider_key: self.name,
            provider_type: self.kind.to_owned(),
            api_base: self.base,
            api_key: self.api_key.into(),
            model_mapping: format!("{{{}}}", models.join(",")),
            weight: self.weight,
            provider_params: params,
            is_enabled: true,
            ..ProviderRow::default()
        }
    }
}

impl Import {
    /// Reports a part that is not carried over.
    pub(super) fn leave(&mut self, line: usize, message: impl Into<String>) {
        self.left.push(FileProblem { line, message: message.into() });
    }

    /// Reports a field that has no counterpart.
    pub(super) fn leave_field(&mut self, line: usize, path: &str) {
        self.leave(line, format!("{path} has no counterpart and is not carried over"));
    }

    /// Adds a model to a provider like `draft` that does not serve it yet, or to a new one.
    pub(super) fn add(&mut self, draft: Draft) {
        for model in draft.models.clone() {
            let like = self.providers.iter_mut().find(|known| known.is_like(&draft) && !known.serves(&model.0));
            match like {
                Some(known) => known.models.push(model),
                None => {
                    let name = self.free_name(&draft.name);
                    self.providers.push(Draft { name, models: vec![model], ..draft.clone() });
                }
            }
        }
    }

    fn free_name(&self, name: &str) -> String {
        let taken = |name: &str| self.providers.iter().any(|draft| draft.name == name);
        if !taken(name) {
            return name.to_owned();
        }
        (2..).map(|count| format!("{name}-{count}")).find(|name| !taken(name)).unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_string()));
    }

    /// Takes what is not carried over, in the order of lines.
    pub(super) fn take_notes(&mut self) -> Vec<FileProblem> {
        self.left.sort_by_key(|problem| problem.line);
        std::mem::take(&mut self.left)
    }

    /// Writes the configuration file.
    pub(super) fn text(self) -> String {
        let mut text = String::new();
        if !self.settings.is_empty() {
            text.push_str("settings:\n");
            for (name, value) in &self.settings {
                text.push_str(&format!("  {name}: {value}\n"));
            }
        }
        let providers = self.providers.into_iter().map(Draft::row).collect();
        let rows = Rows { version: 0, providers, credentials: self.credentials, ..Rows::default() };
        text.push_str(&file::write(&rows, &|_| None));
        fill_in(&text)
    }
}

/// Returns a value that the environment will have: [`fill_in`] makes `${NAME}` of it. Rows hold it
/// as text, in which a dollar sign stands for itself.
pub(super) fn variable(name: &str) -> String {
    format!("\u{1}{name}\u{2}")
}

/// Replaces the marks of [`variable`], which `file::write` has escaped; a hash that is one becomes a
/// key.
fn fill_in(text: &str) -> String {
    let text = text.replace("\\u0001", "${").replace("\\u0002", "}");
    text.replace("credential_key: \"${", "key: \"${")
}

/// Requests per second of a limit per minute: at least one, since there is no smaller rate here.
pub(super) fn per_second(per_minute: i64) -> i64 {
    if per_minute == 0 { 0 } else { (per_minute + 30).div_euclid(60).max(1) }
}

/// A weight as this gateway has them, from shares that may be fractions.
pub(super) fn weight(share: f64) -> i64 {
    let scaled = if share.fract() == 0.0 { share } else { share * 100.0 };
    (scaled.round() as i64).clamp(0, 1_000_000)
}
