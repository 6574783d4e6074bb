//! What models cost.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{empty, failure, framed, grouped, pages};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

const COLUMNS: &[(&str, &str)] = &[
    ("input", "Input"),
    ("output", "Output"),
    ("cache_read", "Cached input"),
    ("cache_write_5m", "Cache write, 5 min"),
    ("cache_write_1h", "Cache write, 1 h"),
    ("reasoning", "Reasoning"),
];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/prices", &[("search", &search), ("page", &page), ("size", "100")]).await;
    let body = html! {
        p { "Dollars per million tokens. They are imported on the command line: " code { "llm-proxy import-prices FILE" } "." }
        form.bar method="get" action="/ui/prices" role="search" {
            label { "Model" input type="search" name="search" value=(search); }
            button.quiet type="submit" { "Search" }
        }
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
            thead { tr { th scope="col" { "Model" } @for (_, title) in COLUMNS { th.number scope="col" { (title) } } } }
            tbody { @for price in prices { tr {
                th.break scope="row" { (text(price, "model")) }
                @for (name, _) in COLUMNS { td.number { (price[name].as_f64().map_or("–".to_owned(), |price| price.to_string())) } }
            } } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/prices", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}
