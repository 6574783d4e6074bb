//! Prepares the request for one candidate: its path, its head, and its body ([`bypass`] or
//! [`translated`]).

pub mod bypass;
pub mod translated;

use std::rc::Rc;

pub use bypass::Bypass;
pub use translated::Translated;

use super::body;
use super::core::WorkerSnapshot;
use super::endpoint::Operation;
use super::headers;
use super::request_context::{RequestContext, method_name};
use super::upstream_head::{HeadKind, UpstreamHead};
use crate::config::snapshot::Provider;
use crate::net::buffers;
use crate::route::pick::Candidate;
use crate::route::target_format::{TargetFormat, ThinkingTools};
use crate::shared::body_memory::HeldMemory;
use crate::telemetry::trace::Context;
use llm_http::write;
use llm_wire::Format;
use llm_wire::canonical::loss::Repair;
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::peek;
use llm_wire::request::retry_without::RetryWithout;

/// Bodies up to this size are written together with the head. Larger ones are not copied for it.
const JOINED_BODY: usize = 16 << 10;

/// A request that is ready to be written.
pub struct Prepared {
    /// The head, and the body if it is small.
    pub first: Rc<Vec<u8>>,
    /// The body, if it is not in `first`.
    pub rest: Option<Rc<Vec<u8>>>,
    pub format: Format,
    pub mode: TransferMode,
    /// The upstream model.
    pub model: Rc<str>,
    /// The path at the provider, behind the version segment.
    pub path: &'static str,
    /// Where the body begins in `first`; `None` if it is the client's own.
    own_body: Option<usize>,
    /// What a large body of its own takes of the memory for bodies.
    _held: HeldMemory,
}

impl Prepared {
    /// Gives back what was written: the head, and a body of its own.
    pub fn release_written(&mut self) {
        (self.rest, self.own_body) = (None, None);
        if let Some(first) = Rc::get_mut(&mut self.first) {
            buffers::give(std::mem::take(first));
        }
    }

    /// Returns the body, if it is not the client's.
    pub fn own_body(&self) -> Option<&[u8]> {
        let at = self.own_body?;
        Some(self.rest.as_deref().map_or(&self.first[at..], Vec::as_slice))
    }
}

/// How the request reaches the provider, and therefore how the response reaches the client.
pub enum TransferMode {
    Bypass(Bypass),
    Translated(Box<Translated>),
}

/// Prepares the client's request for `candidate`, without what the provider refused before.
pub fn request(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    candidate: &Candidate,
    retry_without: RetryWithout,
) -> Result<Prepared, Error> {
    let provider = view.provider(candidate.provider);
    let model = candidate.upstream_model.clone();
    if let Some(stored) = &req.stored {
        return about_stored(req, view, provider, model, &stored.path);
    }
    let target = &target_format(req, provider, candidate, &model);
    let (mode, body) = if target.format == req.route.format {
        let (bypass, body) = bypass::body(req, provider, candidate, &model);
        (TransferMode::Bypass(bypass), body)
    } else {
        let scope = view.scope(candidate.provider, &model);
        let (mut translated, mut body) = translated::body(req, view, (provider, scope), target, &model, retry_without)?;
        if target.format != candidate.target.format {
            translated.ledger.repair(Repair::ThinkingTools);
        }
        if req.route.operation == Operation::Count {
            body = translated::counted(target.format, &body);
        }
        (TransferMode::Translated(Box::new(translated)), Some(body))
    };
    let length = body.as_ref().map_or(req.body().len(), Vec::len);
    let mut held = req.core.shared.body_memory.hold();
    if length > JOINED_BODY
        && let Some(body) = &body
    {
        held.grow_to(body.capacity()).map_err(|error| body::exhausted(req.core, error))?;
    }
    let mut first = buffers::take(1024 + if length <= JOINED_BODY { length } else { 0 });
    let path = upstream_path(req, target.format);
    let parts = HeadParts { provider, method: "POST", path, format: target.format, model: &model, mode: &mode, length };
    write_head(&mut first, req, view, &parts)?;
    let own_body = body.is_some().then_some(first.len());
    let rest = match body {
        _ if length <= JOINED_BODY => {
            first.extend_from_slice(body.as_deref().unwrap_or(req.body()));
            None
        }
        Some(edited) => Some(Rc::new(edited)),
        None => Some(req.shared_body()),
    };
    Ok(Prepared { first: Rc::new(first), rest, format: target.format, mode, model, path, own_body, _held: held })
}

/// Prepares a request about a stored response: the client's own, with the provider's key.
fn about_stored(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    provider: &Provider,
    model: Rc<str>,
    path: &str,
) -> Result<Prepared, Error> {
    let format = req.route.format;
    let mode = TransferMode::Bypass(Bypass { renamed: false, hide_usage: false, effort_none_added: false });
    let (method, length) = (method_name(req.head.method), req.body().len());
    let mut first = buffers::take(1024 + length);
    write_head(
        &mut first,
        req,
        view,
        &HeadParts { provider, method, path, format, model: &model, mode: &mode, length },
    )?;
    first.extend_from_slice(req.body());
    let (path, held) = (req.route.upstream, req.core.shared.body_memory.hold());
    Ok(Prepared { first: Rc::new(first), rest: None, format, mode, model, path, own_body: None, _held: held })
}

/// Returns the candidate's target format, or Responses for tools together with reasoning where the
/// model refuses them on Chat.
fn target_format(req: &RequestContext<'_>, provider: &Provider, candidate: &Candidate, model: &str) -> TargetFormat {
    let target = candidate.target;
    if target.thinking_tools != ThinkingTools::ViaResponses || req.route.operation != Operation::Generate {
        return target;
    }
    let (has_tools, effort) = peek::tools_and_effort(req.body());
    match target.caps.needs_responses(has_tools, effort) {
        true => TargetFormat::plain(Format::Responses, provider, model),
        false => target,
    }
}

/// Returns the path at the provider, behind the version segment.
fn upstream_path(req: &RequestContext<'_>, format: Format) -> &'static str {
    let http = &format.profile().http;
    match req.route.operation {
        _ if format == req.route.format => req.route.upstream,
        // A format without a counter is never asked for one.
        Operation::Count => http.count_path.unwrap_or(http.path),
        _ => http.path,
    }
}

/// What the head of a request is made from, beside the client's request.
struct HeadParts<'a> {
    provider: &'a Provider,
    method: &'static str,
    /// The path at the provider, behind the version segment.
    path: &'a str,
    format: Format,
    model: &'a Rc<str>,
    mode: &'a TransferMode,
    /// Bytes of the body.
    length: usize,
}

/// Writes the head. Where nothing but the body's length, the request id and the client's head make
/// it differ from an earlier one, and the client's head is the same, it is copied: no trace, which
/// has another span each time, and no translation that names beta features.
fn write_head(
    out: &mut Vec<u8>,
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    parts: &HeadParts<'_>,
) -> Result<(), Error> {
    let generation = view.snapshot.generation;
    let trace = req.recorder.trace();
    let kind = head_kind(parts).filter(|_| trace.is_none());
    let known = req.client.known.as_ref().zip(kind);
    let is_for = |kind| (parts.provider.id, &**parts.model, kind);
    if !known.is_some_and(|(known, kind)| known.write_upstream(generation, is_for(kind), out)) {
        write_fields(out, req, parts, trace)?;
        out.extend_from_slice(b"x-request-id: ");
        if let Some((known, kind)) = known.filter(|_| out.len() <= UpstreamHead::MAX_KEPT) {
            let (provider, model) = (parts.provider.id, parts.model.clone());
            known.keep_upstream(UpstreamHead { generation, provider, model, kind, bytes: out.clone() });
        }
    }
    // An id was checked when it was taken from the client.
    out.extend_from_slice(req.recorder.request_id_bytes());
    out.extend_from_slice(b"\r\n");
    let own = |name: &str| parts.provider.own_header_names.iter().any(|own| name.eq_ignore_ascii_case(own));
    if let Some((trace, number)) = trace.filter(|_| !own("traceparent")) {
        let _ = write::named_header(out, "traceparent", trace.traceparent(number).as_bytes());
    }
    if parts.length > 0 || parts.method == "POST" {
        write::content_length(out, parts.length as u64);
    }
    out.extend_from_slice(&parts.provider.extra_headers);
    write::end_head(out);
    Ok(())
}

/// Returns what a head depends on beside the client's head, the provider and the model. `None` if
/// that is more than a few cases.
fn head_kind(parts: &HeadParts<'_>) -> Option<HeadKind> {
    match parts.mode {
        TransferMode::Bypass(_) => Some(HeadKind::Passthrough),
        TransferMode::Translated(translated) if translated.plan.betas.is_empty() => {
            Some(HeadKind::Translated { format: parts.format, is_stream: translated.plan.upstream_stream })
        }
        TransferMode::Translated(_) => None,
    }
}

/// Writes the request line, and all fields up to the request id.
fn write_fields(
    out: &mut Vec<u8>,
    req: &RequestContext<'_>,
    parts: &HeadParts<'_>,
    trace: Option<(Context, u64)>,
) -> Result<(), Error> {
    let HeadParts { provider, method, path, format, model, mode, .. } = *parts;
    if !provider.has_path_for(format, model) {
        let note =
            format!("model `{model}` cannot stand in the path of provider `{}`; name another model", provider.key);
        return Err(Error::client(Kind::InvalidRequest, note).param("model"));
    }
    let own_format = matches!(mode, TransferMode::Bypass(_));
    let mut target = Vec::with_capacity(128);
    // A query is for the client's own vendor, as the path is.
    let query = req.query().filter(|_| own_format);
    provider.write_target(&mut target, (format, path), Some(model), query);
    let invalid = |_| {
        let note = format!("provider `{}` has an api_base that makes an invalid URL", provider.key);
        Error::gateway(Kind::Internal, note)
    };
    write::request_line(out, method, &target).map_err(invalid)?;
    write::header(out, "host", provider.base.authority.as_bytes()).map_err(invalid)?;
    let at = provider.formats.iter().position(|f| *f == format).unwrap_or(0);
    if let Some(lines) = provider.auth.get(at) {
        out.extend_from_slice(lines);
    }
    let own = |name: &[u8]| provider.own_header_names.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    let mut forwarded = Forwarded::default();
    for (name, value) in req.head.fields(req.bytes()) {
        if headers::to_upstream(name, own_format)
            && !own(name)
            && !is_replaced_by_trace(name, trace.map(|(trace, _)| trace))
            && !names_other_type(name, value)
        {
            forwarded.note(name);
            // Name and value passed the parser, which refuses what these writers would refuse.
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    if !forwarded.content_type && !own(b"content-type") && parts.length > 0 {
        write::static_header(out, "content-type", "application/json");
    }
    if !forwarded.user_agent && !own(b"user-agent") {
        write::static_header(out, "user-agent", concat!("llm-proxy/", env!("CARGO_PKG_VERSION")));
    }
    if let Some((name, value)) = format.profile().http.version_header
        && !forwarded.anthropic_version
        && !own(name.as_bytes())
    {
        write::static_header(out, name, value);
    }
    if let TransferMode::Translated(translated) = mode {
        write_translation_fields(out, translated, own(b"anthropic-beta"));
    }
    write::static_header(out, "accept-encoding", "identity");
    Ok(())
}

/// Returns whether a header gives the body another type than JSON, which every body that comes here
/// is: curl says `application/x-www-form-urlencoded` where it was not told otherwise, and OpenAI
/// refuses that. The default takes its place.
fn names_other_type(name: &[u8], value: &[u8]) -> bool {
    const JSON: &[u8] = b"application/json";
    name.eq_ignore_ascii_case(b"content-type")
        && !value.get(..JSON.len()).is_some_and(|start| start.eq_ignore_ascii_case(JSON))
}

/// Returns whether a header is about the client's span where the provider gets the gateway's.
/// `tracestate` has no meaning without the trace that it belongs to.
fn is_replaced_by_trace(name: &[u8], trace: Option<Context>) -> bool {
    let Some(trace) = trace else { return false };
    name.eq_ignore_ascii_case(b"traceparent") || (trace.parent.is_none() && name.eq_ignore_ascii_case(b"tracestate"))
}

/// Writes the fields that only a translated request has.
fn write_translation_fields(out: &mut Vec<u8>, translated: &Translated, own_betas: bool) {
    let accept = if translated.plan.upstream_stream { "text/event-stream" } else { "application/json" };
    write::static_header(out, "accept", accept);
    if !translated.plan.betas.is_empty() && !own_betas {
        // The names are the gateway's own, so the value is valid.
        let _ = write::header(out, "anthropic-beta", translated.plan.betas.join(",").as_bytes());
    }
}

/// Fields of the client that were forwarded, and need no default.
#[derive(Default)]
struct Forwarded {
    content_type: bool,
    user_agent: bool,
    anthropic_version: bool,
}

impl Forwarded {
    fn note(&mut self, name: &[u8]) {
        self.content_type |= name.eq_ignore_ascii_case(b"content-type");
        self.user_agent |= name.eq_ignore_ascii_case(b"user-agent");
        self.anthropic_version |= name.eq_ignore_ascii_case(b"anthropic-version");
    }
}
