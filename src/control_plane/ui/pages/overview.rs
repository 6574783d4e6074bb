//! What the gateway does and whether it is well.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use serde_json::Value;

use super::providers::brief;
use crate::control_plane::ui::chart::{Bar, Chart, chart};
use crate::control_plane::ui::html::{
    dollars, empty, failure, framed, grouped, milliseconds, nothing, options, short, state,
};
use crate::control_plane::ui::visit::{Fetched, Visit, decimal, list, number, text};
use crate::rfc3339;

/// A choice of the time that is looked at: name, title, seconds, whether bars are days.
const PERIODS: &[(&str, &str, i64, bool)] = &[
    ("24h", "Last 24 hours", 86_400, false),
    ("3d", "Last 3 days", 3 * 86_400, false),
    ("7d", "Last 7 days", 7 * 86_400, true),
    ("30d", "Last 30 days", 30 * 86_400, true),
];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let providers = visit.get("/providers", &[]).await;
    let (wanted, ..) = period(visit);
    let body = html! {
        (first_steps(visit))
        form.bar method="get" action="/ui" {
            label { "Time" select name="period" { (options(&PERIODS.map_names(), wanted)) } }
            button.quiet type="submit" { "Show" }
        }
        (numbers(visit).await)
        h2 { "Providers" }
        (match &providers { Ok(providers) => provider_table(visit, providers).await, Err(message) => failure(message) })
        h2 { "Problems of the configuration" }
        (problems(visit.get("/config/problems", &[]).await))
        h2 { "This gateway" }
        (facts(&visit.status))
    };
    framed(visit, "", "Overview", body)
}

trait Names {
    fn map_names(&self) -> Vec<(&'static str, &'static str)>;
}

impl Names for [(&'static str, &'static str, i64, bool)] {
    fn map_names(&self) -> Vec<(&'static str, &'static str)> {
        self.iter().map(|(name, title, ..)| (*name, *title)).collect()
    }
}

fn period(visit: &Visit<'_>) -> (&'static str, i64, bool) {
    let wanted = visit.query("period");
    let found = PERIODS.iter().find(|(name, ..)| *name == wanted).unwrap_or(&PERIODS[0]);
    (found.0, found.2, found.3)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// Returns what is left to do before the first request is answered.
fn first_steps(visit: &Visit<'_>) -> Markup {
    let (providers, keys) = (number(&visit.status, "providers_count"), number(&visit.status, "credentials_count"));
    if providers > 0 && keys > 0 {
        return nothing();
    }
    empty(html! {
        h2 { "Three steps to the first answer" }
        ol.steps {
            li .done[providers > 0] {
                a href="/ui/providers/new" { "Add a provider" } ": who answers the requests. "
                @if providers > 0 { "Done." } @else { "You need its API key, or a local server such as Ollama." }
            }
            li .done[keys > 0] {
                a href="/ui/keys/new" { "Create a key" } ": what your applications send. "
                @if keys > 0 { "Done." } @else { "It is shown once." }
            }
            li { a href="/ui/playground" { "Send a request" } " in the playground, then " a href="/ui/connect" { "connect a client" } "." }
        }
    })
}

async fn numbers(visit: &Visit<'_>) -> Markup {
    let (_, seconds, by_day) = period(visit);
    let step = if by_day { 86_400 } else { 3600 };
    // The first bar is a whole one.
    let from = rfc3339::format(now() / step * step - seconds + step);
    match visit.get("/logs/summary", &[("start_time", &from)]).await {
        Ok(summary) => html! { (tiles(&summary)) (charts(&summary, seconds, by_day)) },
        Err(message) => failure(&message),
    }
}

fn tiles(summary: &Value) -> Markup {
    let percentiles = |name: &str| {
        let of = |at: &str| milliseconds(&summary[name][at]);
        (of("p50"), format!("90 %: {} · 99 %: {}", of("p90"), of("p99")))
    };
    let (duration, durations) = percentiles("duration_ms");
    let (ttft, ttfts) = percentiles("ttft_ms");
    let (requests, errors) = (number(summary, "requests"), number(summary, "errors"));
    let (input, output) = (number(summary, "input_tokens"), number(summary, "output_tokens"));
    let rate = errors as f64 / requests.max(1) as f64 * 100.0;
    let tile = |name: &str, value: String, more: String| {
        html! { dl.tile { dt { (name) } dd { (value) } dd.more { (more) } } }
    };
    html! {
        div.tiles {
            (tile("Requests", grouped(requests), format!("{} failed ({rate:.1} %)", grouped(errors))))
            (tile("Duration, median", duration, durations))
            (tile("First token, median", ttft, ttfts))
            (tile("Tokens", short((input + output) as f64), format!("{} in · {} out", short(input as f64), short(output as f64))))
            (tile("Cost", dollars(decimal(summary, "cost")), "of models with known prices".to_owned()))
        }
    }
}

fn charts(summary: &Value, seconds: i64, by_day: bool) -> Markup {
    let step = if by_day { 86_400 } else { 3600 };
    let last = now() / step * step;
    let times: Vec<i64> = (0..seconds / step).rev().map(|back| last - back * step).collect();
    let mut rows: HashMap<i64, Vec<&Value>> = HashMap::new();
    for hour in list(summary, "hours") {
        let time = rfc3339::parse(text(hour, "time")).unwrap_or_default();
        rows.entry(time / step * step).or_default().push(hour);
    }
    let sum = |time: &i64, name: &str| {
        let hours = rows.get(time).map(Vec::as_slice).unwrap_or_default();
        hours.iter().map(|hour| decimal(hour, name)).sum::<f64>()
    };
    let bars = |names: &[&str]| -> Vec<Bar> {
        let bar = |time: &i64| {
            let label = rfc3339::format(*time);
            let label = if by_day { label[..10].to_owned() } else { label[5..16].replace('T', " ") };
            Bar { label, parts: names.iter().map(|name| sum(time, name)).collect() }
        };
        times.iter().map(bar).collect()
    };
    let (tokens, cost) = (bars(&["input_tokens", "output_tokens"]), bars(&["cost"]));
    let mut requests = bars(&["requests", "errors"]);
    // What failed is among the requests.
    requests.iter_mut().for_each(|bar| bar.parts[0] -= bar.parts[1]);
    html! {
        div.charts {
            (chart(&Chart { title: "Requests", series: &["answered", "failed"], bars: requests, show: short }))
            (chart(&Chart { title: "Tokens", series: &["input", "output"], bars: tokens, show: short }))
            (chart(&Chart { title: "Cost", series: &["dollars"], bars: cost, show: dollars }))
        }
    }
}

async fn provider_table(visit: &Visit<'_>, providers: &Value) -> Markup {
    if list(providers, "providers").is_empty() {
        return empty(html! { "No provider yet. " a href="/ui/providers/new" { "Add one" } "." });
    }
    // This hour and the one before.
    let from = rfc3339::format(now() - 3600);
    let used = visit.get("/logs/summary", &[("start_time", &from)]).await.unwrap_or_default();
    let problems = visit.get("/config/problems", &[]).await.unwrap_or_default();
    let circuits = visit.get("/circuits", &[]).await.unwrap_or_default();
    let row = |provider: &Value| {
        let name = text(provider, "provider_key");
        let used = list(&used, "providers").iter().find(|row| text(row, "name") == name);
        let (requests, errors) = used.map_or((0, 0), |row| (number(row, "requests"), number(row, "errors")));
        let object = format!("provider {name}");
        let has_problem = list(&problems, "problems").iter().any(|problem| text(problem, "object") == object);
        html! {
            tr {
                th scope="row" { a href={ "/ui/providers/" (number(provider, "id")) } { (name) } }
                td { (state(provider["is_enabled"] == true, "enabled", "disabled")) @if has_problem { " " span.state.bad { "problem" } } }
                td { (brief(&circuits, number(provider, "id"))) }
                td.number { (grouped(requests)) }
                td.number { (grouped(errors)) }
                td.break { (text(provider, "api_base")) }
            }
        }
    };
    html! {
        div.wide {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Service" } th.number scope="col" { "Requests, this hour and the last" } th.number scope="col" { "Failed" } th scope="col" { "Address" } } }
                tbody { @for provider in list(providers, "providers") { (row(provider)) } }
            }
        }
    }
}

fn problems(fetched: Fetched<Value>) -> Markup {
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(message) => return failure(&message),
    };
    html! {
        @if list(&fetched, "problems").is_empty() {
            p { span.state.good { "none" } }
        } @else {
            div.wide { table {
                thead { tr { th scope="col" { "Row" } th scope="col" { "What is wrong" } } }
                tbody {
                    @for problem in list(&fetched, "problems") {
                        tr { th scope="row" { (text(problem, "object")) } td.break { (text(problem, "message")) } }
                    }
                }
            } }
        }
    }
}

fn facts(status: &Value) -> Markup {
    let uptime = number(status, "uptime_seconds");
    html! {
        dl.facts.panel {
            dt { "Store" } dd { (text(status, "store_kind")) ": " (text(status, "store")) }
            dt { "Version of the program" } dd { (text(status, "program")) }
            dt { "Version of the configuration" } dd { (number(status, "version")) }
            dt { "Running for" } dd { (uptime / 86_400) " d " (uptime / 3600 % 24) " h " (uptime / 60 % 60) " min" }
            dt { "Workers" } dd { (number(status, "workers")) " on " (text(status, "driver")) }
        }
    }
}
