//! The request as one provider gets it: where it goes ([`path`]), its head, its body ([`bypass`] or [`translated`]).

pub mod bypass;
pub mod translated;

use std::rc::Rc;

pub use bypass::Bypass;
pub use translated::Translated;

use super::core::View;
use super::count;
use super::endpoint::Operation;
use super::headers;
use super::request::Exchange;
use crate::config::snapshot::Provider;
use crate::error::{Error, Kind};
use crate::net::http::write;
use crate::record::trace::Context;
use crate::route::pick::Candidate;
use crate::route::reach::{Reach, ThinkingTools};
use crate::wire::Format;
use crate::wire::mend::Mend;
use crate::wire::peek;

/// Bodies up to this size travel in one write with the head; larger ones are not copied for it.
const JOINED_BODY: usize = 16 << 10;

/// A request ready to be written.
pub struct Prepared {
    /// The head, and the body if it is small.
    pub first: Rc<Vec<u8>>,
    /// The body, if it is not in `first`.
    pub rest: Option<Rc<Vec<u8>>>,
    pub format: Format,
    pub way: Way,
    /// The upstream's name of the model.
    pub model: Rc<str>,
    /// Path at the provider, behind the version segment.
    pub path: &'static str,
    /// Where the body begins in `first`; `None` if it is the client's own.
    own_body: Option<usize>,
}

impl Prepared {
    /// The body, if it is another than the client's.
    pub fn own_body(&self) -> Option<&[u8]> {
        let at = self.own_body?;
        Some(self.rest.as_deref().map_or(&self.first[at..], Vec::as_slice))
    }
}

/// How the client's request became the provider's, and so how the answer becomes the client's.
pub enum Way {
    Bypass(Bypass),
    Translated(Box<Translated>),
}

/// Makes the request for `candidate` out of the client's. `mend` is what an earlier refusal has taught.
pub fn request(x: &Exchange<'_>, view: &View, candidate: &Candidate, mend: Mend) -> Result<Prepared, Error> {
    let provider = view.provider(candidate.provider);
    let model: Rc<str> = candidate.upstream_model.clone().unwrap_or_else(|| Rc::from(x.model.stripped()));
    let reach = &detour(x, provider, candidate, &model);
    let (way, body) = if reach.format == x.relay.format {
        let (bypass, body) = bypass::body(x, provider, candidate, &model);
        (Way::Bypass(bypass), body)
    } else {
        let (translated, mut body) = translated::body(x, provider, reach, &model, mend)?;
        if x.relay.operation == Operation::Count {
            body = count::body(reach.format, &body);
        }
        (Way::Translated(Box::new(translated)), Some(body))
    };
    let length = body.as_ref().map_or(x.body().len(), Vec::len);
    let mut first = Vec::with_capacity(1024 + if length <= JOINED_BODY { length } else { 0 });
    head(&mut first, x, provider, (reach.format, &model), &way, length)?;
    let own_body = body.is_some().then_some(first.len());
    let rest = match body {
        _ if length <= JOINED_BODY => {
            first.extend_from_slice(body.as_deref().unwrap_or(x.body()));
            None
        }
        Some(edited) => Some(Rc::new(edited)),
        None => Some(x.shared_body()),
    };
    let path = endpoint(x, reach.format);
    Ok(Prepared { first: Rc::new(first), rest, format: reach.format, way, model, path, own_body })
}

/// The candidate's way, or the one for tools together with thinking where the model refuses them on Chat.
fn detour(x: &Exchange<'_>, provider: &Provider, candidate: &Candidate, model: &str) -> Reach {
    let reach = candidate.reach;
    if reach.thinking_tools != ThinkingTools::OnResponses || x.relay.operation != Operation::Generate {
        return reach;
    }
    let (has_tools, effort) = peek::tools_and_effort(x.body());
    match reach.caps.needs_responses(has_tools, effort) {
        true => Reach::plain(Format::Responses, provider, model),
        false => reach,
    }
}

/// Path at the provider, behind the version segment.
fn endpoint(x: &Exchange<'_>, format: Format) -> &'static str {
    match (x.relay.operation, format) {
        _ if format == x.relay.format => x.relay.upstream,
        (Operation::Count, Format::Messages) => "/messages/count_tokens",
        (Operation::Count, _) => "/responses/input_tokens",
        (_, Format::Chat) => "/chat/completions",
        (_, Format::Messages) => "/messages",
        (_, Format::Responses) => "/responses",
    }
}

fn head(
    out: &mut Vec<u8>,
    x: &Exchange<'_>,
    provider: &Provider,
    (format, model): (Format, &str),
    way: &Way,
    length: usize,
) -> Result<(), Error> {
    let own_format = matches!(way, Way::Bypass(_));
    let mut target = Vec::with_capacity(128);
    // A query speaks to the client's own vendor, as the path does.
    let query = x.query().filter(|_| own_format);
    provider.write_target(&mut target, (format, endpoint(x, format)), Some(model), query);
    let bad = |_| {
        let note = format!("provider `{}`: its api_base makes a URL that can't be sent", provider.key);
        Error::gateway(Kind::Internal, note)
    };
    write::request_line(out, "POST", &target).map_err(bad)?;
    write::header(out, "host", provider.base.authority.as_bytes()).map_err(bad)?;
    let at = provider.formats.iter().position(|f| *f == format).unwrap_or(0);
    if let Some(lines) = provider.auth.get(at) {
        out.extend_from_slice(lines);
    }
    let own = |name: &[u8]| provider.own_header_names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    let mut seen = Seen::default();
    let trace = x.ticket.trace();
    for (name, value) in x.head.fields(x.bytes()) {
        if headers::to_upstream(name, own_format) && !own(name) && !is_of_trace(name, trace.map(|(trace, _)| trace)) {
            seen.note(name);
            // Name and value passed the parser, which refuses what these writers would refuse.
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    if !seen.content_type && !own(b"content-type") {
        write::static_header(out, "content-type", "application/json");
    }
    if !seen.user_agent && !own(b"user-agent") {
        write::static_header(out, "user-agent", concat!("llm-proxy/", env!("CARGO_PKG_VERSION")));
    }
    if format == Format::Messages && !seen.anthropic_version && !own(b"anthropic-version") {
        write::static_header(out, "anthropic-version", "2023-06-01");
    }
    if let Way::Translated(translated) = way {
        of_translation(out, translated, own(b"anthropic-beta"));
    }
    write::static_header(out, "accept-encoding", "identity");
    let _ = write::header(out, "x-request-id", x.ticket.request_id().as_bytes());
    if let Some((trace, number)) = trace.filter(|_| !own(b"traceparent")) {
        let _ = write::header(out, "traceparent", trace.traceparent(number).as_bytes());
    }
    write::content_length(out, length as u64);
    out.extend_from_slice(&provider.extra_headers);
    write::end_head(out);
    Ok(())
}

/// Whether a header speaks of the client's span where the provider is to see ours. `tracestate` is worth nothing without a trace that goes on.
fn is_of_trace(name: &[u8], trace: Option<Context>) -> bool {
    let Some(trace) = trace else { return false };
    name.eq_ignore_ascii_case(b"traceparent") || (trace.parent.is_none() && name.eq_ignore_ascii_case(b"tracestate"))
}

/// What a translated request says in its head.
fn of_translation(out: &mut Vec<u8>, translated: &Translated, own_betas: bool) {
    let accept = if translated.plan.upstream_stream { "text/event-stream" } else { "application/json" };
    write::static_header(out, "accept", accept);
    if !translated.plan.betas.is_empty() && !own_betas {
        // The names are ours.
        let _ = write::header(out, "anthropic-beta", translated.plan.betas.join(",").as_bytes());
    }
}

#[derive(Default)]
struct Seen {
    content_type: bool,
    user_agent: bool,
    anthropic_version: bool,
}

impl Seen {
    fn note(&mut self, name: &[u8]) {
        self.content_type |= name.eq_ignore_ascii_case(b"content-type");
        self.user_agent |= name.eq_ignore_ascii_case(b"user-agent");
        self.anthropic_version |= name.eq_ignore_ascii_case(b"anthropic-version");
    }
}
