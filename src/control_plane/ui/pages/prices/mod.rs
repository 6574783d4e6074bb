//! What models cost.

mod form;
mod special;

use maud::{Markup, html};
use serde_json::Value;

use crate::config::prices::{Price, fields};
use crate::control_plane::ui::forms::search_bar;
use crate::control_plane::ui::html::{empty, failure, framed, grouped, pages};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

use special::{COLUMNS, sorted, title};

pub(super) use form::edit;

/// Writes the page of the list of prices.
pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/prices", &[("search", &search), ("page", &page), ("size", "100")]).await;
    let new = visit.read_only().is_none().then_some(("/ui/prices/edit", "Add a price"));
    let body = html! {
        p { "Dollars per million tokens. A list of them is imported on the command line: " code { "llm-proxy import-prices FILE" } "." }
        @if found.as_ref().is_ok_and(|found| text(found, "source") == "program") {
            p.hint { "These come with the program. The first change here, or the first import, puts a table of your own in their place." }
        }
        (search_bar("/ui/prices", &search, new))
        (match found { Ok(found) => table(&found, &search), Err(message) => failure(&message) })
    };
    framed(visit, "/prices", "Prices", body)
}

fn table(found: &Value, search: &str) -> Markup {
    let prices = list(found, "prices");
    if prices.is_empty() {
        return empty(html! {
            @if search.is_empty() { "No prices yet, so no cost is known. LiteLLM's list of prices can be imported as it is." }
            @else { "No price is for a model with “" (search) "”." }
        });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Model" } @for (_, title) in COLUMNS { th.number scope="col" { (title) } }
                th scope="col" { "Also for" }
            } }
            tbody { @for price in prices { tr {
                th.break scope="row" { a href={ "/ui/prices/edit?" (encode(&[("model", text(price, "model"))])) } { (text(price, "model")) } }
                @for (name, _) in COLUMNS { td.number { (price[name].as_f64().map_or("–".to_owned(), |price| price.to_string())) } }
                td { (others(&fields::read(&price["more"]))) }
            } } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/prices", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

/// Returns what has prices of its own beside the columns, in a few words.
fn others(price: &Price) -> String {
    let mut words: Vec<String> = sorted(price).iter().map(|special| title(special.tier, special.above)).collect();
    let is_there = |prices: &[Option<f64>]| prices.iter().any(Option::is_some);
    let more = [
        ("audio", is_there(&[price.audio_input, price.audio_output])),
        ("pictures", is_there(&[price.image_input, price.image_output])),
        ("requests", is_there(&[price.per_request])),
        ("searches", is_there(&[price.per_search])),
    ];
    words.extend(more.into_iter().filter(|(_, is_there)| *is_there).map(|(word, _)| word.to_owned()));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn other_prices_are_named() {
        let more = json!({
            "input_cost_per_token_flex": 1e-6, "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token_above_200k_tokens_priority": 4e-6, "input_cost_per_audio_token": 1e-5,
        });
        let named = others(&fields::read(&more));
        assert_eq!(named, "flex, over 200\u{202f}000, priority over 200\u{202f}000, audio");
        assert_eq!(others(&fields::read(&json!(null))), "");
    }
}
