//! Requests through the whole of this folder: a client's bytes in, a provider's bytes out.

mod client;
mod conversation;
mod foreign;

use crate::canonical::loss::Ledger;
use crate::canonical::request::Request;
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::formats::messages::request::{decode, encode};
use crate::json::RawValue;
use crate::reasoning::envelope::{Envelope, Family, Scope, Seal};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Policy, Target};
use crate::target::quirks::Host;

fn target(model: &'static str) -> Target<'static> {
    Target::new(Format::Messages, Host::Anthropic, model, "p", &Overrides::default())
}

fn context(model: &'static str) -> Context<'static> {
    let policy = Policy { auto_cache: false, ..Policy::default() };
    Context { policy, ..Context::new(target(model), "asked") }
}

#[derive(Debug)]
struct Sent {
    body: String,
    plan: Plan,
    ledger: Ledger,
}

impl Sent {
    /// A member of the body, or nothing.
    fn get(&self, name: &str) -> &str {
        let value = RawValue::parse(self.body.as_bytes()).unwrap().find(name);
        value.map_or("", |value| std::str::from_utf8(value.bytes()).unwrap())
    }

    fn headers(&self) -> String {
        let headers = [self.ledger.dropped_header(), self.ledger.repaired_header()];
        headers.into_iter().flatten().collect::<Vec<_>>().join(" | ")
    }
}

fn send(request: &Request<'_>, cx: &Context<'_>, mut ledger: Ledger) -> Result<Sent, Error> {
    let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
    (plan.stream, plan.upstream_stream) = (request.stream, request.stream);
    let mut out = Vec::new();
    encode(request, cx, &mut plan, &mut ledger, &mut out)?;
    let body = String::from_utf8(out).unwrap();
    RawValue::parse(body.as_bytes()).unwrap();
    Ok(Sent { body, plan, ledger })
}

/// A body of a Messages client, sent to a Messages provider.
fn through(body: &str, cx: &Context<'_>) -> Result<Sent, Error> {
    let mut ledger = Ledger::new(cx.policy.strict);
    let request = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut ledger)?;
    send(&request, cx, ledger)
}

fn conversation(messages: &str, cx: &Context<'_>) -> Result<Sent, Error> {
    through(&format!(r#"{{"model":"m","max_tokens":100,"messages":{messages}}}"#), cx)
}
