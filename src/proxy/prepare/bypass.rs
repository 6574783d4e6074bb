//! Prepares the body for a provider of the client's own format: the client's bytes, save what must
//! differ.

use super::super::request_context::RequestContext;
use crate::config::snapshot::Provider;
use crate::route::pick::Candidate;
use crate::route::target_format::ThinkingTools;
use llm_wire::Format;
use llm_wire::json::walk;
use llm_wire::passthrough::peek;
use llm_wire::passthrough::splice;
use llm_wire::passthrough::splice::Splice;
use llm_wire::reasoning::strip;
use llm_wire::target::quirks::Quirk;

/// What the relay must undo in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bypass {
    /// The provider got another name of the model than the client sent. The response gets the
    /// client's name back.
    pub renamed: bool,
    /// The response will have a usage chunk that the client did not request.
    pub hide_usage: bool,
    /// The request got the effort `none`, which the response's head names.
    pub effort_none_added: bool,
}

impl Bypass {
    /// Returns whether the client gets other bytes than the provider sends.
    pub fn edits(self) -> bool {
        self.renamed || self.hide_usage
    }
}

/// Returns the edited body. `None` if it is sent as it came.
pub fn body(
    req: &RequestContext<'_>,
    provider: &Provider,
    candidate: &Candidate,
    model: &str,
) -> (Bypass, Option<Vec<u8>>) {
    let mut splice = Splice::new();
    let renamed = *model != *req.model.requested;
    if renamed {
        splice.replace(req.model.value.clone(), splice::quoted(model));
    }
    let hide_usage = adds_usage(req, provider, candidate);
    if hide_usage {
        splice.ask_usage(req.body(), req.stream_options.span.clone());
    }
    let effort_none_added = candidate.target.thinking_tools == ThinkingTools::WithoutReasoning
        && matches!(peek::tools_and_effort(req.body()), (true, None));
    if effort_none_added {
        splice.put_first(req.body(), br#""reasoning_effort":"none""#);
    }
    if let Some(cap) = req.output_cap {
        let field = limit_field(req.route.format, candidate.target.caps.max_completion_tokens);
        set_limit(&mut splice, req.body(), field, cap);
    }
    if req.has_envelope {
        strip::cut(req.route.format, req.body(), &mut splice);
    }
    let edited = (!splice.is_empty()).then(|| {
        let mut edited = Vec::new();
        splice.apply(req.body(), &mut edited);
        edited
    });
    (Bypass { renamed, hide_usage, effort_none_added }, edited)
}

/// Returns the field that limits a response. Of Chat there are two, and models differ in which one
/// they take.
pub(super) fn limit_field(format: Format, max_completion_tokens: bool) -> &'static str {
    match format {
        Format::Chat if max_completion_tokens => "max_completion_tokens",
        Format::Chat | Format::Messages => "max_tokens",
        Format::Responses => "max_output_tokens",
    }
}

/// Sets the limit of a response that has none. One that is null is replaced, since it would count.
pub(super) fn set_limit(splice: &mut Splice, body: &[u8], field: &str, limit: u64) {
    let value = limit.to_string();
    let names = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
    let mut is_set = false;
    for (key, _, at) in walk::members(body).filter(|(key, ..)| names.iter().any(|name| key.eq_str(name))) {
        is_set |= key.eq_str(field);
        splice.replace(at, value.clone());
    }
    if !is_set {
        splice.put_first(body, format!("\"{field}\":{value}").as_bytes());
    }
}

/// Returns whether the request gets the option without which a Chat stream has no usage.
fn adds_usage(req: &RequestContext<'_>, provider: &Provider, candidate: &Candidate) -> bool {
    req.stream
        && !req.stream_options.include_usage
        && req.route.format.profile().request.has_usage_option
        && req.route.upstream == req.route.format.profile().http.path
        && candidate.target.caps.stream_usage
        && !provider.dialect.quirks.has(Quirk::NoStreamUsage)
}
