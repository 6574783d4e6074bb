//! Requests as tables: bodies and what they mean, what they mean and the bytes for each kind of
//! host, and properties over both.

mod client;
mod provider;

use crate::canonical::args::ArgText;
use crate::canonical::effort::{Effort, Mode, Reasoning, Show};
use crate::canonical::loss::Ledger;
use crate::canonical::request::{
    CachePoint, CallKind, FilePart, Foreign, ImagePart, Item, ItemKind, Message, Opaque, OutputFormat, Part,
    ReasoningItem, ReasoningKind, ReasoningPart, Request, Role, Src, TextPart, ToolCall, ToolResult,
};
use crate::canonical::text::Text;
use crate::canonical::tools::{FunctionTool, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::{decode, encode};
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::{Envelope, Family, Scope, Seal};
use crate::request::fields::{FIELDS, Rule};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Policy, Target};
use crate::target::quirks::Host;

fn parsed(body: &str) -> Result<Request<'_>, Error> {
    decode(RawValue::parse(body.as_bytes()).unwrap(), &mut Ledger::new(false))
}

/// A body with these messages.
fn with(messages: &str) -> String {
    format!(r#"{{"model":"m1","messages":[{messages}]}}"#)
}

struct Sent {
    body: String,
    plan: Plan,
    dropped: String,
    repaired: String,
}

impl Sent {
    fn get(&self, key: &str) -> String {
        let value = RawValue::new(self.body.as_bytes()).find(key);
        value.map_or("-".to_owned(), |value| String::from_utf8_lossy(value.bytes()).into_owned())
    }
}

fn context(host: Host, model: &'static str) -> Context<'static> {
    Context::new(Target::new(Format::Chat, host, model, "p", &Overrides::default()), "asked")
}

fn sent_with(request: &Request<'_>, cx: &Context<'_>) -> Result<Sent, Error> {
    let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
    (plan.stream, plan.upstream_stream) = (request.stream, request.stream);
    let (mut ledger, mut out, mut again) = (Ledger::new(cx.policy.strict), Vec::new(), Vec::new());
    encode(request, cx, &mut plan, &mut ledger, &mut out)?;
    // Encoding is deterministic.
    let mut other = Plan::new(request.from, RawValue::new(b"{}"), cx);
    (other.stream, other.upstream_stream) = (request.stream, request.stream);
    encode(request, cx, &mut other, &mut Ledger::new(false), &mut again)?;
    assert_eq!(out, again, "must be deterministic");
    RawValue::parse(&out).unwrap();
    let (dropped, repaired) =
        (ledger.dropped_header().unwrap_or_default(), ledger.repaired_header().unwrap_or_default());
    Ok(Sent { body: String::from_utf8(out).unwrap(), plan, dropped, repaired })
}

fn sent(body: &str, host: Host, model: &'static str) -> Sent {
    sent_with(&parsed(body).unwrap(), &context(host, model)).unwrap()
}
