//! Streams as tables: chunks and the events they give, events and the bytes they become, and
//! properties over any of them.

mod decoder;
mod encoder;
mod properties;

use proptest::prelude::*;

use crate::canonical::codec::{Decode, Encode};
use crate::canonical::event::{Block, Event, Finish, Reason, Status};
use crate::canonical::request::CallKind;
use crate::canonical::usage::Usage;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::formats::chat::response;
use crate::formats::chat::stream::{Decoder, Encoder};
use crate::json::{RawStr, RawValue};
use crate::response::normalize::Normalizer;
use crate::response::whole::Answer;
use crate::sse::{Frame, Framer};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use crate::target::quirks::{Host, Quirk, Quirks};

/// One word for each event: the number of the item, a sign, the text.
fn word(event: &Event<'_>) -> String {
    let plain = |raw: &RawStr<'_>| raw.unescape().into_owned();
    match event {
        Event::Start { id, model } => format!("start({},{})", plain(id), plain(model)),
        Event::Tier(tier) => format!("tier({})", plain(tier)),
        Event::Open { ix, block } => match block {
            Block::Text => format!("{ix}:text"),
            Block::Refusal => format!("{ix}:refusal"),
            Block::Reasoning { .. } => format!("{ix}:reasoning"),
            Block::Tool { kind: CallKind::Function, id, name, .. } => {
                format!("{ix}:call({},{})", plain(id), plain(name))
            }
            Block::Tool { id, name, .. } => format!("{ix}:custom({},{})", plain(id), plain(name)),
        },
        Event::Text { ix, raw } | Event::Refusal { ix, raw } | Event::Args { ix, raw } => {
            format!("{ix}={}", plain(raw))
        }
        Event::Reason { ix, kind, raw, .. } => format!("{ix}~{kind:?}={}", plain(raw)),
        Event::Opaque { ix, seal, raw } => format!("{ix}!{seal:?}={}", plain(raw)),
        Event::Cite { ix, cite } => format!("{ix}@{}{:?}", plain(&cite.url), cite.range),
        Event::Logprobs { ix, raw } => format!("{ix}%{}", String::from_utf8_lossy(raw.bytes())),
        Event::Close { ix, status: Status::Complete } => format!("{ix}."),
        Event::Close { ix, status: Status::Incomplete } => format!("{ix}?"),
        Event::Usage(usage) => format!("usage({},{},{})", usage.input_total, usage.cache_read, usage.output_total),
        Event::Finish(finish) => match finish.stop {
            Some(stop) => format!("{:?}({})", finish.reason, plain(&stop)),
            None => format!("{:?}", finish.reason),
        },
        Event::Fail(error) => format!("fail({})", error.kind.row().label),
        Event::End => "end".to_owned(),
        Event::Note(note) => format!("<{}>", note.label()),
    }
}

/// The events of a stream's data, and of its end.
fn run_with(quirks: Quirks, data: &[&str]) -> String {
    let mut decoder = Decoder::new(quirks);
    let mut words = Vec::new();
    let mut sink = |event: Event<'_>| words.push(word(&event));
    for data in data {
        let frame = Frame { event: None, data: data.as_bytes() };
        if let Err(error) = decoder.frame(frame, &mut sink) {
            sink(Event::Fail(error));
            return words.join(" ");
        }
    }
    decoder.end(&mut sink);
    words.join(" ")
}

/// [`run_with`] for deltas of one choice: each is wrapped into a chunk; `finish:…` and whole chunks
/// stand for themselves.
fn run(deltas: &[&str]) -> String {
    let chunks: Vec<String> = deltas.iter().map(|delta| chunk(delta)).collect();
    let data: Vec<&str> = chunks.iter().map(String::as_str).collect();
    run_with(Quirks::NONE, &data).replacen("start(c,m) ", "", 1)
}

fn chunk(delta: &str) -> String {
    match delta.strip_prefix("finish:") {
        Some(reason) => {
            format!(r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
        }
        None if delta.is_empty() || delta.starts_with('[') => delta.to_owned(),
        None if delta.contains("\"choices\"") || delta.contains("\"error\"") => delta.to_owned(),
        None => format!(r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#),
    }
}

const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":80}}}"#;

fn reply(include_usage: bool) -> Reply {
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
    let mut plan = Plan::new(Format::Chat, RawValue::new(b"{}"), &Context::new(target, "asked"));
    (plan.include_usage, plan.stream) = (include_usage, true);
    Reply::new(plan, Box::new(SequentialIds::default()), "req_1")
}
