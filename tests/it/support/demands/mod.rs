//! What a provider demands of a request, as a reader of its reference writes it down: roles, order,
//! pairing, required fields, allowed names. None of the code under test stands on this side.
//!
//! Sources: OpenAI API reference and its OpenAPI description, Anthropic Messages reference, both as
//! of 2026-08; what the pages leave out was taken from the vendors' error messages, as issue
//! trackers quote them.

mod chat;
mod messages;
mod responses;

use std::collections::BTreeMap;

use serde_json::Value;

use llm_wire::Format;

/// All that `body` breaks. `native` is the vendor itself, which refuses nothing that it documents;
/// imitators know fewer fields.
pub fn broken(format: Format, native: bool, body: &Value) -> Vec<String> {
    let mut check = Check { native, broken: Vec::new() };
    match format {
        Format::Chat => chat::request(body, &mut check),
        Format::Messages => messages::request(body, &mut check),
        Format::Responses => responses::request(body, &mut check),
    }
    check.broken
}

struct Check {
    native: bool,
    broken: Vec<String>,
}

impl Check {
    fn fault(&mut self, path: &str, what: impl std::fmt::Display) {
        self.broken.push(format!("{path}: {what}"));
    }

    fn demand(&mut self, so: bool, path: &str, what: &str) {
        if !so {
            self.fault(path, what);
        }
    }

    /// No member but these, none of them `null`.
    fn names(&mut self, object: &Value, path: &str, allowed: &[&str]) {
        let Some(members) = object.as_object() else { return self.fault(path, "is no object") };
        for (name, value) in members {
            self.demand(allowed.contains(&name.as_str()), path, &format!("`{name}` is not known here"));
            self.demand(!value.is_null(), path, &format!("`{name}` is null"));
        }
    }

    fn one_of(&mut self, value: &Value, path: &str, words: &[&str]) {
        self.demand(
            value.as_str().is_some_and(|word| words.contains(&word)),
            path,
            &format!("{value} is none of {words:?}"),
        );
    }

    fn string(&mut self, value: &Value, path: &str) {
        self.demand(value.is_string(), path, "is no string");
    }

    /// If it is there, it is a number in this range.
    fn number(&mut self, object: &Value, name: &str, range: std::ops::RangeInclusive<f64>) {
        if let Some(value) = object.get(name) {
            let fits = value.as_f64().is_some_and(|n| range.contains(&n));
            self.demand(fits, name, &format!("{value} is not within {range:?}"));
        }
    }

    /// `[A-Za-z0-9_-]`, 1 to `most`.
    fn name(&mut self, value: &Value, path: &str, most: usize) {
        let fits = |name: &str| {
            (1..=most).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        self.demand(value.as_str().is_some_and(fits), path, &format!("{value} is no name of up to {most} characters"));
    }

    fn schema(&mut self, schema: &Value, path: &str) {
        self.demand(schema.is_object(), path, "is no schema");
        self.demand(schema["type"] == "object", path, "is no schema of an object");
    }

    /// Each name once.
    fn once(&mut self, names: impl Iterator<Item = String>, path: &str) {
        let mut seen = BTreeMap::new();
        for name in names {
            *seen.entry(name).or_insert(0) += 1;
        }
        for (name, _) in seen.into_iter().filter(|(_, times)| *times > 1) {
            self.fault(path, format!("`{name}` stands twice"));
        }
    }

    /// A URL, or data with a media type of this kind.
    fn url(&mut self, value: &Value, path: &str) {
        let url = value.as_str().unwrap_or_default();
        let data = || url.strip_prefix("data:").is_some_and(|rest| rest.contains(";base64,"));
        let known = url.starts_with("https://") || url.starts_with("http://") || data();
        self.demand(known, path, "is no URL and no data");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
