//! What the gateway does and whether it is well.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use serde_json::Value;

use super::providers::brief;
use crate::control_plane::ui::chart::{Bar, Chart, Series, Stacking, chart};
use crate::control_plane::ui::html::{
    dollars, empty, failure, framed, grouped, milliseconds, nothing, options, short, state, unlogged,
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

/// Rows of a list that has a page of its own.
const SHOWN: usize = 20;

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let providers = visit.get("/providers", &[]).await;
    let summary = summary(visit).await;
    let is_unused = is_unused(visit, &summary).await;
    let body = html! {
        (first_steps(visit, is_unused))
        @if !is_unused { (numbers(visit, &summary)) }
        h2 { "Providers" }
        (match &providers { Ok(providers) => provider_table(visit, providers).await, Err(message) => failure(message) })
        h2 { "Problems of the configuration" }
        (problems(visit.get("/config/problems", &[]).await))
        h2 { "This gateway" }
        (facts(&visit.status))
    };
    framed(visit, "", "Overview", body)
}

/// Returns the sums of the time that is looked at.
async fn summary(visit: &Visit<'_>) -> Fetched<Value> {
    let (_, seconds, by_day) = period(visit);
    let (step, name) = if by_day { (86_400, "day") } else { (3600, "hour") };
    // The first bar is a whole one.
    let from = rfc3339::format(now() / step * step - seconds + step);
    visit.get("/logs/summary", &[("start_time", &from), ("step", name)]).await
}

/// Returns whether no request was ever logged, though they are.
async fn is_unused(visit: &Visit<'_>, summary: &Fetched<Value>) -> bool {
    visit.status["logs_requests"] == true
        && summary.as_ref().is_ok_and(|summary| number(summary, "requests") == 0)
        && visit.get("/logs", &[("page_size", "1")]).await.is_ok_and(|found| found["total"] == 0)
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
fn first_steps(visit: &Visit<'_>, is_unused: bool) -> Markup {
    let (providers, keys) = (number(&visit.status, "providers_count"), number(&visit.status, "credentials_count"));
    if providers > 0 && keys > 0 && !is_unused || visit.read_only().is_some() {
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

/// Returns the numbers of the time that is looked at, and the choice of it.
fn numbers(visit: &Visit<'_>, summary: &Fetched<Value>) -> Markup {
    let (chosen, seconds, by_day) = period(visit);
    let choices: Vec<_> = PERIODS.iter().map(|(name, title, ..)| (*name, *title)).collect();
    html! {
        form.bar method="get" action="/ui" {
            label { "Time" select name="period" { (options(&choices, chosen)) } }
            button.quiet type="submit" { "Show" }
        }
        (unlogged(visit))
        @match summary {
            Ok(summary) => { (tiles(summary)) (charts(summary, seconds, by_day)) }
            Err(message) => (failure(message)),
        }
    }
}

fn tiles(summary: &Value) -> Markup {
    let percentiles = |name: &str, none: &str| match &summary[name] {
        Value::Null => ("–".to_owned(), none.to_owned()),
        found => {
            let of = |at: &str| milliseconds(&found[at]);
            (of("p50"), format!("90\u{a0}% {} · 99\u{a0}% {}", of("p90"), of("p99")))
        }
    };
    let (duration, durations) = percentiles("duration_ms", "no request in this time");
    let (ttft, ttfts) = percentiles("ttft_ms", "no stream in this time");
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

/// The times of the bars of all charts, and what is known of each.
struct Times<'a> {
    /// The begin of each, in seconds since 1970.
    begins: Vec<i64>,
    rows: HashMap<i64, &'a Value>,
    by_day: bool,
}

impl Times<'_> {
    fn of(summary: &Value, seconds: i64, by_day: bool) -> Times<'_> {
        let step = if by_day { 86_400 } else { 3600 };
        let last = now() / step * step;
        let rows = list(summary, "hours").iter();
        Times {
            begins: (0..seconds / step).rev().map(|back| last - back * step).collect(),
            rows: rows.map(|row| (rfc3339::parse(text(row, "time")).unwrap_or_default(), row)).collect(),
            by_day,
        }
    }

    /// Returns bars of fields, which JSON pointers name.
    fn bars(&self, pointers: &[&str]) -> Vec<Bar> {
        let value = |time: &i64, pointer: &str| self.rows.get(time).and_then(|row| row.pointer(pointer)?.as_f64());
        let bar = |time: &i64| {
            let label = rfc3339::format(*time);
            let label = if self.by_day { label[..10].to_owned() } else { label[5..16].replace('T', " ") };
            Bar { label, values: pointers.iter().map(|pointer| value(time, pointer).unwrap_or_default()).collect() }
        };
        self.begins.iter().map(bar).collect()
    }
}

fn charts(summary: &Value, seconds: i64, by_day: bool) -> Markup {
    let times = Times::of(summary, seconds, by_day);
    let mut requests = times.bars(&["/requests", "/errors"]);
    // What failed is among the requests.
    requests.iter_mut().for_each(|bar| bar.values[0] -= bar.values[1]);
    let tokens = decimal(summary, "input_tokens") + decimal(summary, "output_tokens");
    let sums = |title, whole, series: &[Series], bars, show: fn(f64) -> String| {
        chart(&Chart { title, whole, series, bars, stacking: Stacking::Sum, show })
    };
    let percentiles = |title, name: &str| {
        let bars = times.bars(&[&format!("/{name}/p50"), &format!("/{name}/p99")]);
        let series = &[Series::Median, Series::Slowest];
        let show = |ms: f64| milliseconds(&Value::from(ms));
        let highest = bars.iter().flat_map(|bar| &bar.values).copied().fold(0.0, f64::max);
        let whole = if highest > 0.0 { format!("up to {}", show(highest)) } else { "–".to_owned() };
        chart(&Chart { title, whole, series, bars, stacking: Stacking::Nested, show })
    };
    html! {
        div.charts {
            (sums("Requests", short(decimal(summary, "requests")), &[Series::Answered, Series::Failed], requests, short))
            (percentiles("Duration", "duration_ms"))
            (percentiles("Time to the first token", "ttft_ms"))
            (sums("Tokens", short(tokens), &[Series::InputTokens, Series::OutputTokens], times.bars(&["/input_tokens", "/output_tokens"]), short))
            (sums("Cost", dollars(decimal(summary, "cost")), &[Series::Cost], times.bars(&["/cost"]), dollars))
        }
    }
}

async fn provider_table(visit: &Visit<'_>, providers: &Value) -> Markup {
    if list(providers, "providers").is_empty() {
        return empty(html! { "No provider yet." });
    }
    // This hour and the one before.
    let from = rfc3339::format(now() / 3600 * 3600 - 3600);
    let used = visit.get("/logs/summary", &[("start_time", &from)]).await.unwrap_or_default();
    let problems = visit.get("/config/problems", &[]).await.unwrap_or_default();
    let circuits = visit.get("/circuits", &[]).await.unwrap_or_default();
    let with_problems: HashSet<&str> = list(&problems, "problems")
        .iter()
        .filter_map(|problem| text(problem, "object").strip_prefix("provider "))
        .collect();
    let used: HashMap<&str, &Value> = list(&used, "providers").iter().map(|row| (text(row, "name"), row)).collect();
    let benched = list(&circuits, "circuits").iter().filter(|circuit| circuit["is_benched"] == true);
    let benched: HashSet<i64> = benched.map(|circuit| number(circuit, "provider_id")).collect();
    let health = |provider| {
        let name = text(provider, "provider_key");
        let used = |field| used.get(name).map_or(0, |row| number(row, field));
        Health {
            provider,
            has_problem: with_problems.contains(name),
            is_out: benched.contains(&number(provider, "id")),
            requests: used("requests"),
            errors: used("errors"),
        }
    };
    let mut rows: Vec<Health<'_>> = list(providers, "providers").iter().map(health).collect();
    rows.sort_by_key(|row| (!row.needs_attention(), Reverse(row.requests)));
    let all = rows.len();
    rows.truncate(SHOWN);
    html! {
        div.wide {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Service" } th.number scope="col" { "Requests since " (&from[11..16]) } th.number scope="col" { "Failed" } th scope="col" { "Address" } } }
                tbody { @for row in rows { (row.line(&circuits)) } }
            }
        }
        @if all > SHOWN {
            p.hint { (SHOWN) " of " (grouped(all as i64)) ": first those that need attention, then the busiest. " a href="/ui/providers" { "All providers" } }
        }
    }
}

/// A provider of the overview.
struct Health<'a> {
    provider: &'a Value,
    has_problem: bool,
    is_out: bool,
    requests: i64,
    errors: i64,
}

impl Health<'_> {
    fn needs_attention(&self) -> bool {
        self.has_problem || self.is_out
    }

    fn line(&self, circuits: &Value) -> Markup {
        let Health { provider, has_problem, requests, errors, .. } = *self;
        let id = number(provider, "id");
        html! {
            tr {
                th.break scope="row" { a href={ "/ui/providers/" (id) } { (text(provider, "provider_key")) } }
                td { (state(provider["is_enabled"] == true, "enabled", "disabled")) @if has_problem { " " span.state.bad { "problem" } } }
                td { (brief(circuits, id)) }
                td.number { (grouped(requests)) }
                td.number { (grouped(errors)) }
                td.break { (text(provider, "api_base")) }
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
                    @for problem in list(&fetched, "problems").iter().take(SHOWN) {
                        tr { th.break scope="row" { (text(problem, "object")) } td.break { (text(problem, "message")) } }
                    }
                }
            } }
            @let all = list(&fetched, "problems").len();
            @if all > SHOWN { p.hint { (SHOWN) " of " (grouped(all as i64)) "; " code { "GET /admin/v1/config/problems" } " has all." } }
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
            dt { "Running for" } dd { (duration(uptime)) }
            dt { "Workers" } dd { (number(status, "workers")) " on " (text(status, "driver")) }
        }
    }
}

/// Returns seconds in the two largest units that they fill.
fn duration(seconds: i64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
