//! The frame of every page, and the pieces that pages share.

use std::fmt::Display;

use maud::{DOCTYPE, Markup, PreEscaped, display, html};
use serde_json::Value;

use super::assets::address;
use super::visit::{Refused, Visit, text};

/// The pages of the menu: address behind `/ui`, title.
const MENU: &[(&str, &str)] = &[
    ("", "Overview"),
    ("/providers", "Providers"),
    ("/models", "Virtual models"),
    ("/explain", "Routing"),
    ("/keys", "Keys"),
    ("/groups", "Groups"),
    ("/budgets", "Budgets"),
    ("/logs", "Logs"),
    ("/spend", "Spend"),
    ("/playground", "Playground"),
    ("/connect", "Connect"),
    ("/prices", "Prices"),
    ("/settings", "Settings"),
    ("/audit", "Audit"),
];

/// Returns an HTML document.
pub(super) fn document(title: &str, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · llm-proxy" }
                link rel="icon" type="image/svg+xml" href=(address("icon.svg"));
                link rel="stylesheet" href=(address("page.css"));
                script type="module" src=(address("page.js")) {}
            }
            body { (body) }
        }
    }
}

/// Returns a page within the menu. `current` is its address behind `/ui`.
pub(super) fn framed(visit: &Visit<'_>, current: &str, title: &str, body: Markup) -> Markup {
    document(
        title,
        html! {
            a.skip href="#content" { "Skip to the content" }
            header.side {
                p.brand { a href="/ui" { "llm-proxy" } }
                nav aria-label="Pages" {
                    @for (path, name) in MENU {
                        a href={ "/ui" (path) } aria-current=[(*path == current).then_some("page")] { (name) }
                    }
                }
                div.foot {
                    p { "Version " (text(&visit.status, "program")) }
                    p { a href="/docs" { "API" } }
                    button.quiet type="button" data-sign-out { "Sign out" }
                }
            }
            main #content {
                p #connection .notice.bad role="alert" hidden { "The gateway does not answer. This page tries again." }
                p #session .notice.bad role="alert" hidden {
                    "Your session has ended. "
                    a href="/ui/sign-in" target="_blank" { "Sign in in another tab" }
                    ", then go on here: what you have entered is kept."
                }
                @if let Some(reason) = visit.read_only() {
                    p.notice { strong { "Read-only: " } (reason) "." }
                }
                h1 { (title) }
                (body)
            }
        },
    )
}

/// Returns the message of the admin interface in the place of what it could not give.
pub(super) fn failure(message: &(impl Display + ?Sized)) -> Markup {
    html! { p.notice.bad role="alert" { (display(message)) } }
}

/// Returns the status and the document in the place of a page whose row could not be read: 404 for
/// a row that there is not. `list` is the address of the list of its kind behind `/ui`.
pub(super) fn refused(visit: &Visit<'_>, list: &str, title: &str, why: &Refused) -> (u16, Markup) {
    let title = if why.status == 404 { format!("{title} not found") } else { title.to_owned() };
    let body = html! { (failure(why)) p { a href={ "/ui" (list) } { "To the list" } } };
    (why.status, framed(visit, list, &title, body))
}

/// Returns why there are neither requests nor sums of them; nothing where they are logged.
pub(super) fn unlogged(visit: &Visit<'_>) -> Markup {
    html! {
        @if visit.status["logs_requests"] == false {
            p.notice { "Requests are not logged: " code { "REQUEST_LOG_ENABLED" } " is off." }
        }
    }
}

/// Returns a sentence in the place of an empty list.
pub(super) fn empty(body: Markup) -> Markup {
    html! { div.empty { (body) } }
}

/// Returns a link to the form of a new row; nothing for those who can change nothing.
pub(super) fn new_link(visit: &Visit<'_>, address: &str, title: &str) -> Markup {
    html! { @if visit.read_only().is_none() { a.button href=(address) { (title) } } }
}

/// Where the answer to a form or button appears.
pub(super) fn outcome() -> Markup {
    html! { p.outcome role="status" aria-live="polite" {} }
}

/// Returns a number with a space between thousands.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Returns a number in four characters or so: 12.3k.
pub(super) fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        n if n >= 1e9 => (n / 1e9, "G"),
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e4 => (n / 1e3, "k"),
        n => (n, ""),
    };
    let digits = if unit.is_empty() && scaled.fract() == 0.0 { 0 } else { 1 };
    format!("{scaled:.digits$}{unit}")
}

/// Returns an amount in dollars. Small ones have more digits.
pub(super) fn dollars(amount: f64) -> String {
    match amount {
        0.0 => "$0".to_owned(),
        a if a < 0.0 => format!("-{}", dollars(-a)),
        a if a < 0.01 => format!("${a:.6}"),
        a if a < 1.0 => format!("${a:.4}"),
        a => {
            // In cents, so that rounding carries into the dollars.
            let cents = (a * 100.0).round() as i64;
            format!("${}.{:02}", grouped(cents / 100), cents % 100)
        }
    }
}

pub(super) fn milliseconds(value: &Value) -> String {
    match value.as_f64() {
        None => "–".to_owned(),
        Some(ms) if ms >= 10_000.0 => format!("{:.1}\u{a0}s", ms / 1000.0),
        Some(ms) if ms >= 1000.0 => format!("{:.2}\u{a0}s", ms / 1000.0),
        Some(ms) => format!("{ms:.0}\u{a0}ms"),
    }
}

/// Returns a time of UTC as the interface gives it, to the second.
pub(super) fn moment(time: &str) -> Markup {
    cut(time, 19)
}

/// Returns a time of UTC to the minute, for times that nobody needs to the second.
pub(super) fn minute(time: &str) -> Markup {
    cut(time, 16)
}

fn cut(time: &str, length: usize) -> Markup {
    let shown = time.get(..length).map_or(time.to_owned(), |text| text.replace('T', " "));
    html! { @if time.is_empty() { "–" } @else { time datetime=(time) { (shown) } } }
}

/// Whether something is on, in a word and a colour.
pub(super) fn state(is_on: bool, on: &str, off: &str) -> Markup {
    html! { @if is_on { span.state.good { (on) } } @else { span.state.off { (off) } } }
}

/// Links to the pages of a list.
pub(super) fn pages(address: &str, query: &str, page: i64, total_pages: i64) -> Markup {
    let link = |page: i64| match query {
        "" => format!("{address}?page={page}"),
        query => format!("{address}?{query}&page={page}"),
    };
    html! {
        @if total_pages > 1 {
            nav.pages aria-label="Pages of the list" {
                @if page > 1 { a rel="prev" href=(link(page - 1)) { "Previous" } }
                span { "Page " (grouped(page)) " of " (grouped(total_pages)) }
                @if page < total_pages { a rel="next" href=(link(page + 1)) { "Next" } }
            }
        }
    }
}

/// Returns a text that can be copied with a button.
pub(super) fn code(text: &str) -> Markup {
    html! {
        div.code {
            pre tabindex="0" { code { (text) } }
            button.quiet type="button" data-copy { "Copy" }
        }
    }
}

/// Returns a choice of a form.
pub(super) fn options(choices: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        @for (value, name) in choices {
            option value=(value) selected[*value == chosen] { (name) }
        }
    }
}

/// Nothing.
pub(super) fn nothing() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((grouped(0), grouped(999)), ("0".to_owned(), "999".to_owned()));
        assert_eq!([999.0, 12_345.0, 2_500_000.0, 3e9].map(short), ["999", "12.3k", "2.5M", "3.0G"]);
        assert_eq!([0.0, 0.000_5, 0.25, 12.345].map(dollars), ["$0", "$0.000500", "$0.2500", "$12.35"]);
        assert_eq!([-0.25, -3.0, 1234.999].map(dollars), ["-$0.2500", "-$3.00", "$1\u{202f}235.00"]);
    }
}
