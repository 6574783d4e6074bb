//! Requests: from one format to another.

use crate::canonical::effort::Show;
use crate::canonical::loss::Ledger;
use crate::canonical::request::Request;
use crate::error::Error;
use crate::format::Format;
use crate::formats::{chat, messages, responses};
use crate::json::{RawValue, Tape};
use crate::reasoning::cache;
use crate::request::nested;
use crate::request::reader;
use crate::target::plan::{Context, Plan};
use crate::target::quirks::Quirk;

/// A translated request.
#[derive(Debug)]
pub struct Encoded {
    /// The body in the provider's format.
    pub body: Vec<u8>,
    /// For the answer, and for headers ([`Plan::betas`], [`Plan::upstream_stream`]).
    pub plan: Plan,
    /// For the headers `x-llm-proxy-dropped` and `x-llm-proxy-repaired`, and for counters.
    pub ledger: Ledger,
    /// Turns that got back their reasoning from [`Context::memory`].
    pub restored: usize,
}

/// Translates a request of format `from` for the target in `cx`. Errors are the client's, with
/// `param`.
///
/// ```
/// # use llm_wire::{Format, translate};
/// # use llm_wire::target::{overrides::Overrides, plan::{Context, Target}, quirks::Host};
/// let target = Target::new(Format::Responses, Host::OpenAi, "gpt-5.1", "p", &Overrides::default());
/// let body = br#"{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}"#;
/// let encoded = translate::request(Format::Messages, body, &Context::new(target, "m"))?;
/// assert!(encoded.body.starts_with(b"{"));
/// # Ok::<(), llm_wire::error::Error>(())
/// ```
pub fn request(from: Format, body: &[u8], cx: &Context<'_>) -> Result<Encoded, Error> {
    let mut tape = Tape::default();
    let raw = reader::body(&mut tape, body)?;
    let mut ledger = Ledger::new(cx.policy.strict);
    let mut request = decode(from, raw, &mut ledger)?;
    if from != cx.target.format {
        nested::name_unknown(from, raw, &mut ledger)?;
    }
    has_messages(&request)?;
    request.cache.body = Some(raw);
    let restored = match cx.memory {
        Some(memory) if !from.profile().response.has_opaque_reasoning => cache::restore(&mut request, memory),
        _ => 0,
    };
    cx.without.apply(&mut request, &cx.target.caps, &mut ledger)?;
    let mut plan = Plan::new(from, raw, cx);
    plan.stream = request.stream;
    plan.upstream_stream = request.stream || cx.target.quirks.has(Quirk::AlwaysStream);
    plan.include_usage = request.include_usage;
    plan.display_omitted =
        from.profile().response.has_omitted_thinking && request.reasoning.show == Some(Show::Omitted);
    plan.logprobs = request.sampling.logprobs || request.sampling.top_logprobs.is_some_and(|n| n > 0);
    let mut out = Vec::with_capacity(body.len() + body.len() / 8 + 256);
    match cx.target.format {
        Format::Chat => chat::request::encode(&request, cx, &mut plan, &mut ledger, &mut out)?,
        Format::Messages => messages::request::encode(&request, cx, &mut plan, &mut ledger, &mut out)?,
        Format::Responses => responses::request::encode(&request, cx, &mut plan, &mut ledger, &mut out)?,
    }
    Ok(Encoded { body: out, plan, ledger, restored })
}

/// A conversation without messages is refused by every vendor, unless it goes on from state of the
/// provider's. To a Chat client a system prompt is a message.
fn has_messages(request: &Request<'_>) -> Result<(), Error> {
    let state = &request.state;
    let stateful = state.previous.is_some() || state.conversation.is_some() || state.prompt.is_some();
    let says_something =
        !request.items.is_empty() || (request.from.profile().request.has_system_messages && !request.system.is_empty());
    if says_something || stateful {
        return Ok(());
    }
    Err(reader::invalid(&request.from.profile().request.conversation, "must hold at least one message"))
}

/// Returns the canonical request behind a body.
pub fn decode<'a>(from: Format, body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    match from {
        Format::Chat => chat::request::decode(body, ledger),
        Format::Messages => messages::request::decode(body, ledger),
        Format::Responses => responses::request::decode(body, ledger),
    }
}
