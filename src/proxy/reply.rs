//! Writes responses of the gateway's own: heads, JSON bodies, errors in the client's format.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::auth::{Budget, Wait};
use super::budget::left::BudgetLeft;
use super::clock;
use llm_http::{Version, write};
use llm_wire::Format;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
use llm_wire::formats::profile::RateLimitHeaders;

/// What every response to a request must agree on, whichever stage writes it.
#[derive(Debug, Clone)]
pub struct ResponseMeta {
    /// The format that errors are written in.
    pub format: Format,
    pub version: Version,
    pub keep_alive: bool,
    /// Whether the method is HEAD: the response has no body.
    pub head_only: bool,
    /// What a page in a browser may do with the response.
    pub cors: Cors,
    /// What is left of the caller's own limits. A provider's limits are not shown beside them.
    pub budget: Option<Budget>,
    /// What is left of the caller's budgets. `None` without any.
    pub spending: Option<BudgetLeft>,
    /// Who was asked last. `None` before the first attempt, and with SHOW_PROVIDER_HEADERS off.
    pub upstream: Option<Upstream>,
}

/// An attempt, for the headers that describe it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The fields that name the provider and its model (`Candidate::name_fields`).
    pub name_fields: Rc<[u8]>,
    /// How many requests were sent to providers, this one included.
    pub attempts: u32,
}

/// What a page in a browser may do with a response (Fetch Standard, CORS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// The client is no page: it sent no `origin`.
    NoPage,
    /// Pages of every origin may read it: what protects the API is its key.
    AnyPage,
    /// Pages of this origin may read it.
    Page(Box<str>),
    /// The page may not read it.
    Refused,
}

/// Begins a head: the status line and the fields that every response has. The caller adds its own
/// and calls `write::end_head`.
pub fn begin(out: &mut Vec<u8>, status: u16, meta: &ResponseMeta, request_id: &[u8]) {
    let second = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    begin_at(out, status, meta, request_id, second);
}

/// Does the same where the time is known, in seconds since 1970.
pub fn begin_at(out: &mut Vec<u8>, status: u16, meta: &ResponseMeta, request_id: &[u8], second: u64) {
    write_start(out, status, second);
    // The end of what [`write_start`] writes is the name of the field. An id was checked when it
    // was taken from the client.
    out.extend_from_slice(request_id);
    out.extend_from_slice(b"\r\n");
    if let Some(name) = meta.format.profile().http.request_id_header {
        write::known_header(out, name, request_id);
    }
    match (meta.version, meta.keep_alive) {
        (_, false) => write::static_header(out, "connection", "close"),
        (Version::Http10, true) => write::static_header(out, "connection", "keep-alive"),
        (Version::Http11, true) => {}
    }
    match &meta.cors {
        Cors::NoPage => {}
        Cors::AnyPage => {
            write::static_header(out, "access-control-allow-origin", "*");
            write::static_header(out, "access-control-expose-headers", "*");
        }
        Cors::Page(origin) => {
            let _ = write::header(out, "access-control-allow-origin", origin.as_bytes());
            write::static_header(out, "access-control-expose-headers", "*");
            write::static_header(out, "vary", "origin");
        }
        Cors::Refused => write::static_header(out, "vary", "origin"),
    }
    if let Some(budget) = &meta.budget {
        write_limits(out, meta.format, budget);
    }
    if let Some(left) = &meta.spending {
        left.write(out);
    }
    if let Some(upstream) = &meta.upstream {
        out.extend_from_slice(&upstream.name_fields);
        out.extend_from_slice(itoa::Buffer::new().format(upstream.attempts).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes what is left of the caller's own limits, under the names that its SDK reads.
fn write_limits(out: &mut Vec<u8>, format: Format, budget: &Budget) {
    let headers = format.profile().http.rate_limit_headers;
    for (what, level) in [("requests", budget.requests), ("tokens", budget.tokens)] {
        let Some(level) = level else { continue };
        let mut field = |name: &str, value: &str| {
            let name = match headers {
                RateLimitHeaders::Anthropic => format!("anthropic-ratelimit-{what}-{name}"),
                RateLimitHeaders::OpenAi => format!("x-ratelimit-{name}-{what}"),
            };
            let _ = write::header(out, &name, value.as_bytes());
        };
        field("limit", itoa::Buffer::new().format(level.limit));
        field("remaining", itoa::Buffer::new().format(level.left));
        match headers {
            // The time is in whole seconds, so it is rounded up.
            RateLimitHeaders::Anthropic => {
                field("reset", &clock::rfc3339(SystemTime::now() + Duration::from_millis(level.reset_ms + 999)));
            }
            RateLimitHeaders::OpenAi => field("reset", &Wait(level.reset_ms).to_string()),
        }
    }
}

/// Writes the status line, the `date` field and the beginning of `x-request-id`. The text for
/// status 200 is made once a second per worker.
fn write_start(out: &mut Vec<u8>, status: u16, second: u64) {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    DATE.with_borrow_mut(|(of, text)| {
        if *of != second {
            *of = second;
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *text = format!("{OK}date: {}\r\nx-request-id: ", httpdate::fmt_http_date(date));
        }
        if status == 200 {
            return out.extend_from_slice(text.as_bytes());
        }
        write::status_line(out, status);
        out.extend_from_slice(&text.as_bytes()[OK.len()..]);
    });
}

/// Writes a complete response with a JSON body.
pub fn json(out: &mut Vec<u8>, status: u16, meta: &ResponseMeta, request_id: &str, body: &[u8]) {
    typed(out, status, meta, request_id, "application/json", body);
}

/// Writes a complete response of any type.
pub fn typed(
    out: &mut Vec<u8>,
    status: u16,
    meta: &ResponseMeta,
    request_id: &str,
    content_type: &'static str,
    body: &[u8],
) {
    begin(out, status, meta, request_id.as_bytes());
    write::static_header(out, "content-type", content_type);
    finish(out, meta, body);
}

fn finish(out: &mut Vec<u8>, meta: &ResponseMeta, body: &[u8]) {
    write::content_length(out, body.len() as u64);
    write::end_head(out);
    if !meta.head_only {
        out.extend_from_slice(body);
    }
}

/// Writes a complete error response in the client's format. Returns its status.
pub fn error(out: &mut Vec<u8>, meta: &ResponseMeta, request_id: &str, error: &Error) -> u16 {
    let status = errors::status(meta.format, error.kind);
    let mut body = Vec::with_capacity(256);
    errors::body(meta.format, &mut body, error, request_id);
    begin(out, status, meta, request_id.as_bytes());
    write::static_header(out, "content-type", "application/json");
    // A client that may retry learns when, even if that is a guess.
    let may_retry = matches!(error.kind, Kind::RateLimit | Kind::Overloaded | Kind::NoUpstream);
    if let Some(seconds) = error.retry_after.or(may_retry.then_some(1)) {
        let _ = write::header(out, "retry-after", itoa::Buffer::new().format(seconds).as_bytes());
        // It is no standard, but the SDKs of both vendors read it first.
        if let Some(ms) = meta.budget.and_then(|budget| budget.retry_ms) {
            let _ = write::header(out, "retry-after-ms", itoa::Buffer::new().format(ms).as_bytes());
        }
    }
    if error.kind == Kind::Budget {
        // SDKs read it before the status.
        write::static_header(out, "x-should-retry", "false");
    }
    if let Some(methods) = error.allow {
        write::static_header(out, "allow", methods.allow());
    }
    if error.kind == Kind::UpgradeRequired {
        // RFC 9110 15.5.22 requires the field, which names what this server speaks, and 7.8 the
        // connection option with it.
        write::static_header(out, "upgrade", "HTTP/1.1");
        write::static_header(out, "connection", "upgrade");
    }
    finish(out, meta, &body);
    status
}
