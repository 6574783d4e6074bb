//! Writes rows as a file that [`read`](super::read) reads as the same rows. Only what differs from
//! the default is written, and JSON unchanged, since YAML reads it and its order has a meaning.

use crate::config::budget;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::limit::budget::Unit;

/// Writes the rows as a file. A provider's key is in it as in the row, unless `variable` names a
/// variable of the environment to take it from.
pub fn write(rows: &Rows, variable: &dyn Fn(&ProviderRow) -> Option<String>) -> String {
    let mut out = String::new();
    out.push_str("providers:");
    list(&mut out, &rows.providers, |item, row| provider(item, row, variable(row)));
    out.push_str("credentials:");
    list(&mut out, &rows.credentials, credential);
    if !rows.groups.is_empty() {
        out.push_str("groups:");
        list(&mut out, &rows.groups, group);
    }
    if !rows.models.is_empty() {
        out.push_str("models:");
        list(&mut out, &rows.models, model);
    }
    if !rows.budgets.is_empty() {
        out.push_str("budgets:");
        list(&mut out, &rows.budgets, budget_row);
    }
    out
}

fn list<T>(out: &mut String, rows: &[T], write: impl Fn(&mut Item<'_>, &T)) {
    if rows.is_empty() {
        out.push_str(" []\n");
        return;
    }
    out.push('\n');
    for row in rows {
        write(&mut Item { out, first: true }, row);
    }
}

fn provider(item: &mut Item<'_>, row: &ProviderRow, variable: Option<String>) {
    item.text("provider_key", &row.provider_key);
    item.text("provider_type", &row.provider_type);
    item.text("api_base", &row.api_base);
    match variable {
        Some(name) => item.raw("api_key", &format!("${{{name}}}")),
        None if row.api_key.is_empty() => {}
        None => item.text("api_key", &row.api_key),
    }
    item.json("model_mapping", &row.model_mapping, "{}");
    if row.weight != 1 {
        item.raw("weight", &row.weight.to_string());
    }
    item.json("provider_params", &row.provider_params, "{}");
    if let Some(script) = &row.lua_script {
        item.text("lua_script", script);
    }
    item.enabled(row.is_enabled);
}

fn credential(item: &mut Item<'_>, row: &CredentialRow) {
    item.text("name", &row.name);
    item.text("credential_key", &row.credential_key);
    item.name("group_name", row.group_name.as_deref());
    item.json("allowed_models", &row.allowed_models, "[]");
    item.number("rate_limit", row.rate_limit);
    item.number("burst", row.burst);
    item.number("tokens_per_minute", row.tokens_per_minute);
    item.number("max_concurrency", row.max_concurrency);
    item.number("expires_at", row.expires_at);
    if let Some(key) = &row.previous_key {
        item.text("previous_key", key);
    }
    item.number("previous_key_until", row.previous_key_until);
    item.json("metadata", &row.metadata, "{}");
    item.enabled(row.is_enabled);
}

fn group(item: &mut Item<'_>, row: &GroupRow) {
    item.text("name", &row.name);
    item.name("parent", row.parent.as_deref());
    item.json("allowed_models", &row.allowed_models, "[]");
    item.number("rate_limit", row.rate_limit);
    item.number("burst", row.burst);
    item.number("tokens_per_minute", row.tokens_per_minute);
    item.number("max_concurrency", row.max_concurrency);
    item.json("metadata", &row.metadata, "{}");
    item.enabled(row.is_enabled);
}

fn model(item: &mut Item<'_>, row: &ModelRow) {
    item.text("name", &row.name);
    item.json("members", &row.members, "[]");
    item.json("overrides", &row.overrides, "{}");
    item.json("options", &row.options, "{}");
    item.enabled(row.is_enabled);
}

fn budget_row(item: &mut Item<'_>, row: &BudgetRow) {
    item.text("name", &row.name);
    item.text("scope", &row.scope);
    item.text("subject", &row.subject);
    if row.unit != "usd" {
        item.text("unit", &row.unit);
    }
    item.raw("amount", &budget::show(Unit::parse(&row.unit).unwrap_or(Unit::Dollars), row.amount));
    item.text("period", &row.period);
    if !row.time_zone.is_empty() {
        item.text("time_zone", &row.time_zone);
    }
    if !row.is_hard {
        item.raw("is_hard", "false");
    }
    item.json("warn_at", &row.warn_at, "[]");
    if let Some(model) = &row.downgrade_to {
        item.text("downgrade_to", model);
    }
    item.enabled(row.is_enabled);
}

/// One row while it is written.
struct Item<'o> {
    out: &'o mut String,
    first: bool,
}

impl Item<'_> {
    fn raw(&mut self, name: &str, value: &str) {
        let lead = if std::mem::take(&mut self.first) { "  - " } else { "    " };
        self.out.extend([lead, name, ": ", value, "\n"]);
    }

    fn number(&mut self, name: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.raw(name, &value.to_string());
        }
    }

    fn name(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn enabled(&mut self, enabled: bool) {
        if !enabled {
            self.raw("is_enabled", "false");
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
        let bare = value.starts_with(|first: char| first.is_ascii_alphabetic())
            && value.bytes().all(plain)
            && !matches!(value, "true" | "false" | "null");
        if bare { self.raw(name, value) } else { self.raw(name, &quoted(value)) }
    }

    /// Writes JSON. Text that is no JSON becomes a string; reading it gives the same problem as the
    /// row does.
    fn json(&mut self, name: &str, json: &str, default: &str) {
        match serde_json::from_str::<&serde_json::value::RawValue>(json) {
            Ok(value) if value.get() == default => {}
            Ok(value) => self.raw(name, &one_line(value.get())),
            Err(_) => self.raw(name, &quoted(json)),
        }
    }
}

/// Quotes a text as both JSON and YAML do. A dollar sign is doubled where it would begin a
/// variable.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    // Characters that JSON permits unescaped and YAML does not.
    let odd =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if odd(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    dollars(&out)
}

/// Doubles dollar signs that would be read as a variable or as a doubled sign: `gpt-$1` stays.
fn dollars(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter == '$' && matches!(letters.peek(), Some('$' | '{')) {
            out.push('$');
        }
    }
    out
}

/// Writes JSON without line breaks and spaces between its tokens, which mean something in YAML, and
/// with a space behind `:` and `,`, which YAML needs.
fn one_line(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    let mut rest = json;
    while let Some(at) = rest.find(['"', ':', ',', ' ', '\n', '\r', '\t']) {
        out.push_str(&rest[..at]);
        let (first, after) = rest[at..].split_at(1);
        rest = after;
        match first {
            "\"" => {
                let end = string_end(after);
                // Rewritten, so that what YAML does not take is escaped.
                let text: String = serde_json::from_str(&format!("\"{}", &after[..end])).unwrap_or_default();
                out.push_str(&quoted(&text));
                rest = &after[end..];
            }
            ":" => out.push_str(": "),
            "," => out.push_str(", "),
            _ => {}
        }
    }
    out.push_str(rest);
    out
}

/// Returns where the string ends whose opening quote is before `text`.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read;
    use super::*;

    fn there_and_back(rows: &Rows) {
        let text = write(rows, &|_| None);
        let file = read(&text, &|_| None).unwrap_or_else(|why| panic!("{text}\n{why:?}"));
        // Order of JSON is kept; spaces are not.
        let tight = |json: &str| one_line(json);
        let providers = rows.providers.iter().map(|row| ProviderRow {
            model_mapping: tight(&row.model_mapping),
            provider_params: tight(&row.provider_params),
            ..row.clone()
        });
        let read_back = file.providers.iter().map(|row| ProviderRow {
            model_mapping: tight(&row.model_mapping),
            provider_params: tight(&row.provider_params),
            ..row.clone()
        });
        assert_eq!(providers.collect::<Vec<_>>(), read_back.collect::<Vec<_>>(), "{text}");
        assert_eq!(rows.credentials, file.credentials, "{text}");
        assert_eq!(rows.groups, file.groups, "{text}");
        assert_eq!(rows.budgets, file.budgets, "{text}");
    }

    #[test]
    fn the_form_of_a_file() {
        let rows = Rows {
            version: 3,
            providers: vec![ProviderRow {
                provider_key: "open router".into(),
                provider_type: "openai".into(),
                api_base: "https://router/v1".into(),
                api_key: "a$${b}$1".into(),
                model_mapping: "{ \"z-*\" : \"up/$1\",\n \"a\": {\"mapped_model\":\"b\"}}".into(),
                weight: 1,
                provider_params: "{}".into(),
                is_enabled: true,
                ..ProviderRow::default()
            }],
            ..Rows::default()
        };
        let text = "providers:
  - provider_key: \"open router\"
    provider_type: openai
    api_base: \"https://router/v1\"
    api_key: \"a$$$${b}$1\"
    model_mapping: {\"z-*\": \"up/$1\", \"a\": {\"mapped_model\": \"b\"}}
credentials: []
";
        assert_eq!(write(&rows, &|_| None), text);
        there_and_back(&rows);
        assert_eq!(write(&Rows::default(), &|_| None), "providers: []\ncredentials: []\n");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(name in "\\PC{1,12}|[\\x00-\\x7f]{1,12}|[${}a]{1,12}", key in any::<String>(), script in any::<Option<String>>()) {
            let mapping = serde_json::json!({ name.as_str(): key.as_str() }).to_string();
            let provider = ProviderRow {
                provider_key: name.clone(),
                provider_type: "x".into(),
                api_base: "y".into(),
                api_key: key.as_str().into(),
                model_mapping: mapping,
                weight: 7,
                provider_params: "{}".into(),
                lua_script: script,
                ..ProviderRow::default()
            };
            let group = GroupRow {
                name: name.clone(),
                parent: Some(key.clone()).filter(|parent| !parent.is_empty()),
                allowed_models: serde_json::json!([key]).to_string(),
                burst: Some(7),
                metadata: "{}".into(),
                ..GroupRow::default()
            };
            let budget = BudgetRow {
                name: name.clone(),
                scope: "tag".into(),
                subject: name.clone(),
                unit: "usd".into(),
                amount: 1_234_567_891,
                period: "week".into(),
                time_zone: "Europe/Berlin".into(),
                warn_at: "[80]".into(),
                downgrade_to: Some("small".into()),
                ..BudgetRow::default()
            };
            let credential = CredentialRow {
                group_name: Some(name.clone()),
                name,
                credential_key: "ab".into(),
                allowed_models: "[]".into(),
                metadata: serde_json::json!({ "note": key }).to_string(),
                rate_limit: Some(-1),
                expires_at: Some(4_102_444_800),
                ..CredentialRow::default()
            };
            there_and_back(&Rows { version: 0, providers: vec![provider], credentials: vec![credential], groups: vec![group], budgets: vec![budget], ..Rows::default() });
        }
    }
}
