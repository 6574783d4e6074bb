//! The form of the price of a model. Prices of long prompts, of tiers of service and of media are
//! members of `more`, with the names of published lists; `form.js` makes prices of a token of those
//! per million.

use maud::{Markup, html};
use serde_json::Value;

use super::special::{COLUMNS, sorted, title};
use crate::config::prices::price::Part;
use crate::config::prices::{Price, Special, Tier, fields};
use crate::control_plane::ui::html::{failure, framed, outcome};
use crate::control_plane::ui::visit::{Visit, list, number, text};

/// What is paid apart from plain tokens: member of `more`, title, kind of the field, and its value.
type Other = (&'static str, &'static str, &'static str, fn(&Price) -> Option<f64>);

const OTHERS: &[Other] = &[
    ("input_cost_per_audio_token", "Audio in, a million tokens", "per-million", |price| price.audio_input),
    ("output_cost_per_audio_token", "Audio out, a million tokens", "per-million", |price| price.audio_output),
    ("input_cost_per_image_token", "Pictures in, a million tokens", "per-million", |price| price.image_input),
    ("output_cost_per_image_token", "Pictures out, a million tokens", "per-million", |price| price.image_output),
    ("input_cost_per_request", "A request", "decimal", |price| price.per_request),
    ("search_context_cost_per_query.search_context_size_medium", "A search", "decimal", |price| price.per_search),
];

/// Writes the page of the price of one model, or of a new one.
pub(crate) async fn edit(visit: &Visit<'_>) -> Markup {
    let model = visit.query("model");
    let found = match visit.get("/prices", &[("search", &model), ("size", "500")]).await {
        Ok(found) => found,
        Err(message) => return framed(visit, "/prices", "Price", failure(&message)),
    };
    let known = list(&found, "prices").iter().find(|price| !model.is_empty() && text(price, "model") == model);
    let name = known.map_or("Add a price".to_owned(), |_| format!("Price of {model}"));
    // Prices for prompts of another length begin with a row for them.
    let above = visit.query("above").parse().unwrap_or(0);
    let body = html! {
        p { "Dollars per million tokens. What is empty costs as tokens of its kind do, and a tier of service as the standard one." }
        (form(visit, known.unwrap_or(&Value::Null), &model, above))
        @if visit.read_only().is_none() && known.is_some() {
            form.bar method="get" action="/ui/prices/edit" {
                input type="hidden" name="model" value=(model);
                label { "Also for prompts of more tokens than" input name="above" inputmode="numeric" pattern="[0-9]+" required size="10" placeholder="200000"; }
                button.quiet type="submit" { "Add a row" }
            }
        }
        @if let Some(price) = known.filter(|price| visit.read_only().is_none() && number(price, "id") > 0) { (removal(price, &model)) }
    };
    framed(visit, "/prices", &name, body)
}

fn form(visit: &Visit<'_>, price: &Value, model: &str, above: u64) -> Markup {
    let more = fields::read(&price["more"]);
    let version = (!price.is_null()).then(|| number(price, "row_version"));
    let is_read_only = visit.read_only().is_some();
    let column = |name: &str| price[name].as_f64().map(|dollars| dollars.to_string()).unwrap_or_default();
    html! {
        form.panel.form.broad data-method="POST" data-path="/admin/v1/prices" data-version=[version] data-then="/ui/prices" {
            fieldset.plain disabled[is_read_only] {
                label for="model" { "Model, a pattern, or either behind PROVIDER/" }
                input #model name="model" data-kind="text" required autocomplete="off" spellcheck="false" value=(model) readonly[!price.is_null()] placeholder="gpt-4o*";
                div.wide { table {
                    thead { tr { th scope="col" { "Prompts and tier" } @for (_, title) in COLUMNS { th.number scope="col" { (title) } } } }
                    tbody {
                        tr {
                            th scope="row" { "standard" }
                            @for (name, title) in COLUMNS { td.number { (cell(name, title, &column(name))) } }
                        }
                        @for special in rows(&more, above) { (special_row(&special)) }
                    }
                } }
                div.two {
                    @for (name, title, kind, dollars) in OTHERS { div {
                        label for=(name) { (title) }
                        input id=(name) data-kind=(kind) data-member={ "more." (name) } inputmode="decimal" value=(shown(dollars(&more)));
                    } }
                }
                @if !is_read_only { div.actions { button type="submit" { "Save" } } }
                (outcome())
            }
        }
    }
}

/// Returns the prices of tiers of service, of longer prompts that have any, and of prompts of more
/// than `above` tokens.
fn rows(more: &Price, above: u64) -> Vec<Special> {
    let mut rows: Vec<Special> = sorted(more).into_iter().cloned().collect();
    let wanted = Tier::OTHERS.map(|tier| (tier, 0)).into_iter().chain((above > 0).then_some((Tier::Standard, above)));
    for (tier, above) in wanted {
        if !rows.iter().any(|row| row.tier == tier && row.above == above) {
            rows.push(Special { tier, above, ..Special::default() });
        }
    }
    rows.sort_by_key(|row| (row.above, row.tier.name()));
    rows
}

fn special_row(special: &Special) -> Markup {
    let row = title(special.tier, special.above);
    html! {
        tr {
            th scope="row" { (row) }
            @for (part, (_, title)) in Part::ALL.into_iter().zip(COLUMNS) {
                td.number {
                    input.cell aria-label={ (row) ": " (title) } inputmode="decimal" size="6" data-kind="per-million"
                        data-member={ "more." (fields::name_of(part, special.above, special.tier)) }
                        value=(shown(special.parts[part as usize]));
                }
            }
        }
    }
}

/// Returns the field of a column.
fn cell(name: &str, title: &str, value: &str) -> Markup {
    html! {
        input.cell aria-label={ "standard: " (title) } inputmode="decimal" size="6" data-kind="decimal" name=(name) value=(value);
    }
}

fn shown(dollars: Option<f64>) -> String {
    dollars.map(|dollars| dollars.to_string()).unwrap_or_default()
}

fn removal(price: &Value, model: &str) -> Markup {
    html! {
        h2 { "Remove" }
        div.panel {
            div.actions {
                button.danger type="button" data-method="DELETE" data-path={ "/admin/v1/prices/" (number(price, "id")) }
                    data-version=(number(price, "row_version")) data-then="/ui/prices"
                    data-confirm={ "Remove the price of " (model) "? Requests for it then have no cost, and budgets in dollars refuse them." } { "Remove" }
            }
            (outcome())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_for_each_tier_and_each_length() {
        let more = fields::read(&json!({ "input_cost_per_token_above_200k_tokens": 2.5e-6 }));
        let titles = |above| rows(&more, above).iter().map(|row| title(row.tier, row.above)).collect::<Vec<_>>();
        assert_eq!(titles(0), ["batch", "flex", "priority", "over 200\u{202f}000"]);
        assert_eq!(titles(200_000).len(), 4);
        assert_eq!(titles(9)[3], "over 9");
        let row = special_row(&rows(&more, 0)[3]).into_string();
        assert!(row.contains("data-member=\"more.input_cost_per_token_above_200000_tokens\" value=\"2.5\""), "{row}");
    }
}
