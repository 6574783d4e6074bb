//! Counts of tokens for a request that is not made: `/v1/messages/count_tokens` and
//! `/v1/responses/input_tokens` (`docs/internals/translation/requests.md`, "Counting tokens without
//! a request").
//!
//! A provider with a counter of its own is asked, in its format. Where there is none the count is
//! an estimate: clients that plan their context by it cope with a guess, and badly with a 404.

use super::endpoint::Operation;
use super::reply;
use super::request_context::Next;
use super::request_context::RequestContext;
use crate::tokens;
use llm_wire::Format;
use llm_wire::json::{RawValue, write};
use llm_wire::target::quirks::Host;

/// What a counter takes of a request; the rest speaks of an answer, and would be refused as
/// unknown.
fn counted(format: Format) -> &'static [&'static str] {
    match format {
        Format::Messages => &["model", "messages", "system", "tools", "tool_choice", "thinking", "mcp_servers"],
        _ => &[
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "text",
            "reasoning",
            "truncation",
            "parallel_tool_calls",
        ],
    }
}

/// Whether nobody is asked for the count: the candidate's format has no counter, or its host
/// imitates a format that has.
pub fn is_local(req: &RequestContext<'_>, format: Format, host: Host) -> bool {
    let has_counter = match format {
        Format::Chat => false,
        Format::Messages => true,
        Format::Responses => matches!(host, Host::OpenAi | Host::Azure),
    };
    req.route.operation == Operation::Count && format != req.route.format && !has_counter
}

/// A translated request, cut to what a counter takes.
pub fn body(format: Format, request: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.len());
    write::object(&mut out, |o| {
        for (key, value, _) in RawValue::new(request).members() {
            if let Some(name) = counted(format).iter().find(|name| key.eq_str(name)) {
                o.value(name, value);
            }
        }
    });
    out
}

/// Answers with an estimate.
pub async fn estimate(req: &mut RequestContext<'_>) -> Next {
    let tokens = tokens::prompt(req.body()).max(1);
    answer(req, tokens).await
}

/// Answers with what the counter of another format said; with an estimate if it said nothing.
pub async fn counted_by(req: &mut RequestContext<'_>, answer_body: &[u8]) -> Next {
    let said = RawValue::parse(answer_body).ok().and_then(|raw| raw.find("input_tokens")?.as_u64());
    match said {
        Some(tokens) => answer(req, tokens).await,
        None => estimate(req).await,
    }
}

/// The count in the client's format.
async fn answer(req: &mut RequestContext<'_>, tokens: u64) -> Next {
    let mut body = Vec::new();
    write::object(&mut body, |o| {
        if req.route.format == Format::Responses {
            o.str("object", "response.input_tokens");
        }
        o.u64("input_tokens", tokens);
    });
    let mut out = Vec::with_capacity(512);
    reply::json(&mut out, 200, &req.meta, req.recorder.request_id(), &body);
    req.recorder.set_complete(200);
    req.recorder.capture_reply(&out);
    req.finish(out).await
}
