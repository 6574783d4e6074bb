//! The pieces of forms that several pages have. [`form.js`](../ui/assets/form.js) makes the JSON of
//! a change from the attributes `data-kind`, `data-empty` and `data-member`.

use maud::{Markup, html};
use serde_json::Value;

use super::html::outcome;
use super::visit::{list, number, text};

/// The row of the admin interface that a page changes.
pub(super) struct Row<'a> {
    /// The path of its kind behind `/admin/v1`, such as `/groups`.
    pub kind: &'a str,
    /// As the interface gives it. `Value::Null` is a new one.
    pub value: &'a Value,
}

impl Row<'_> {
    pub(super) fn is_new(&self) -> bool {
        self.value.is_null()
    }

    /// Returns the path for its changes.
    pub(super) fn path(&self) -> String {
        match self.is_new() {
            true => format!("/admin/v1{}", self.kind),
            false => format!("/admin/v1{}/{}", self.kind, number(self.value, "id")),
        }
    }

    pub(super) fn method(&self) -> &'static str {
        if self.is_new() { "POST" } else { "PUT" }
    }

    /// The version that a change is for, so that nobody overwrites a change that they have not
    /// seen.
    pub(super) fn version(&self) -> Option<i64> {
        (!self.is_new()).then(|| number(self.value, "row_version"))
    }

    /// Returns what an empty field means: a new row has no value for it, and null clears that of an
    /// old one.
    pub(super) fn empty(&self) -> Option<&'static str> {
        (!self.is_new()).then_some("null")
    }

    /// Returns a whole number, which may be empty.
    pub(super) fn number_field(&self, name: &str, title: &str, placeholder: &str) -> Markup {
        html! {
            div {
                label for=(name) { (title) }
                input id=(name) name=(name) data-kind="number" data-empty=[self.empty()] inputmode="numeric"
                    value=(self.value[name].as_i64().map(|number| number.to_string()).unwrap_or_default())
                    placeholder=(placeholder);
            }
        }
    }

    /// Returns the models that a key or group may use, and its limits.
    pub(super) fn models_and_limits(&self) -> Markup {
        let models: Vec<_> = list(self.value, "allowed_models").iter().filter_map(Value::as_str).collect();
        html! {
            label for="allowed_models" { "Models that it may use, one a line; none allows all" }
            textarea #allowed_models name="allowed_models" data-kind="lines" rows="3" spellcheck="false"
                placeholder="gpt-4o*" { (models.join("\n")) }
            div.two {
                (self.number_field("rate_limit", "Requests per second", "unlimited"))
                (self.number_field("burst", "Burst", "as the rate"))
                (self.number_field("tokens_per_minute", "Tokens per minute", "unlimited"))
                (self.number_field("max_concurrency", "Requests at one time", "unlimited"))
            }
        }
    }

    /// Returns the button that sends the form, and the place of its outcome.
    pub(super) fn submit(&self, is_read_only: bool, create: &str) -> Markup {
        html! {
            @if !is_read_only {
                div.actions { button type="submit" { @if self.is_new() { (create) } @else { "Save" } } }
            }
            (outcome())
        }
    }

    /// Enables, disables or removes the row. `question` is asked before it is removed.
    pub(super) fn dangers(&self, question: &str) -> Markup {
        let (path, version) = (self.path(), number(self.value, "row_version"));
        let is_enabled = self.value["is_enabled"] == true;
        html! {
            h2 { @if is_enabled { "Disable or remove" } @else { "Enable or remove" } }
            div.panel {
                div.actions {
                    button.quiet type="button" data-method="PUT" data-path={ (path) "/status" } data-version=(version)
                        data-body=(format!("{{\"is_enabled\":{}}}", !is_enabled)) {
                        @if is_enabled { "Disable" } @else { "Enable" }
                    }
                    button.danger type="button" data-method="DELETE" data-path=(path) data-version=(version)
                        data-then={ "/ui" (self.list()) } data-confirm=(question) { "Remove" }
                }
                (outcome())
            }
        }
    }

    /// Returns the page that lists the rows of its kind, behind `/ui`.
    fn list(&self) -> &str {
        if self.kind == "/credentials" { "/keys" } else { self.kind }
    }
}

/// The names of rows, for a field that completes them. `path` lists the rows, `name` is their
/// field.
pub(super) fn names(id: &str, rows: &[Value], name: &str) -> Markup {
    html! { datalist id=(id) { @for row in rows { option value=(text(row, name)) {} } } }
}

/// A form with the name of the rows that are searched, and a link to a form for a new one.
pub(super) fn search_bar(address: &str, search: &str, new: Option<(&str, &str)>) -> Markup {
    html! {
        form.bar method="get" action=(address) role="search" {
            label { "Name" input type="search" name="search" value=(search); }
            button.quiet type="submit" { "Search" }
            span.grow {}
            @if let Some((address, title)) = new { a.button href=(address) { (title) } }
        }
    }
}
