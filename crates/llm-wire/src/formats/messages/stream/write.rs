//! The events of a stream, byte for byte. One line of data each, since escaped text holds no line
//! end.

use crate::canonical::usage::Usage;
use crate::json::{RawStr, write};
use crate::response::whole::Ended;
use crate::sse;
use crate::target::plan::Reply;

use crate::formats::messages::{reason, usage};

/// What a delta adds to its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delta {
    Text,
    Thinking,
    Signature,
    Input,
}

impl Delta {
    fn head(self) -> &'static [u8] {
        match self {
            Delta::Text => br#","delta":{"type":"text_delta","text":""#,
            Delta::Thinking => br#","delta":{"type":"thinking_delta","thinking":""#,
            Delta::Signature => br#","delta":{"type":"signature_delta","signature":""#,
            Delta::Input => br#","delta":{"type":"input_json_delta","partial_json":""#,
        }
    }
}

/// Writes a `content_block_delta`.
pub(super) fn delta(out: &mut Vec<u8>, index: u32, kind: Delta, raw: RawStr<'_>) {
    out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    write::u64(out, index.into());
    out.extend_from_slice(kind.head());
    out.extend_from_slice(raw.as_bytes());
    out.extend_from_slice(b"\"}}\n\n");
}

/// The start of a block; `fill` writes the members of the block.
fn start(out: &mut Vec<u8>, index: u32, fill: impl FnOnce(&mut write::Object<'_>)) {
    event(out, "content_block_start", |o| {
        o.u64("index", index.into());
        o.object("content_block", fill);
    });
}

/// Writes the start of a text block.
pub(super) fn start_text(out: &mut Vec<u8>, index: u32) {
    start(out, index, |o| {
        o.str("type", "text");
        o.str("text", "");
        o.null("citations");
    });
}

/// Writes the start of a thinking block.
pub(super) fn start_thinking(out: &mut Vec<u8>, index: u32) {
    start(out, index, |o| {
        o.str("type", "thinking");
        o.str("thinking", "");
        o.str("signature", "");
    });
}

/// Writes the start of a block of redacted thinking, which has all of it.
pub(super) fn start_redacted(out: &mut Vec<u8>, index: u32, data: RawStr<'_>) {
    start(out, index, |o| {
        o.str("type", "redacted_thinking");
        o.raw_str("data", data);
    });
}

/// Writes the start of a tool call.
pub(super) fn start_tool(out: &mut Vec<u8>, index: u32, id: RawStr<'_>, name: RawStr<'_>) {
    start(out, index, |o| {
        o.str("type", "tool_use");
        o.raw_str("id", id);
        o.raw_str("name", name);
        o.object("input", |_| {});
        caller(o);
    });
}

/// Who called a tool: the model, and no program of it.
pub(crate) fn caller(o: &mut write::Object<'_>) {
    o.object("caller", |o| o.str("type", "direct"));
}

/// Writes a `content_block_stop`.
pub(super) fn stop(out: &mut Vec<u8>, index: u32) {
    event(out, "content_block_stop", |o| o.u64("index", index.into()));
}

/// `seen` is what the provider has counted so far, if anything: clients show their context from it.
pub(super) fn message_start(out: &mut Vec<u8>, seen: Option<Usage>, tier: Option<&str>, reply: &Reply) {
    let mut counted = Usage { output_total: 1, reasoning: 0, server_tools: 0, ..seen.unwrap_or_default() };
    if counted.input_total == 0 {
        counted.input_total = reply.input_estimate();
    }
    event(out, "message_start", |o| {
        o.object("message", |o| {
            o.str("id", &reply.answer_id());
            o.str("type", "message");
            o.str("role", "assistant");
            o.str("model", &reply.plan.model);
            o.array("content", |_| {});
            o.null("stop_reason");
            o.null("stop_sequence");
            o.null("stop_details");
            o.null("container");
            usage::write(o, &counted, tier);
        });
    });
}

/// Writes `message_delta` with the stop reason and the usage.
pub(super) fn message_end(out: &mut Vec<u8>, ended: &Ended, refused: &[u8], total: &Usage, tier: Option<&str>) {
    event(out, "message_delta", |o| {
        o.object("delta", |o| reason::write(o, ended, refused));
        usage::write(o, total, tier);
    });
    event(out, "message_stop", |_| {});
}

/// Writes a `ping`.
pub(super) fn ping(out: &mut Vec<u8>) {
    sse::write::event(out, Some("ping"), br#"{"type":"ping"}"#);
}

fn event(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut write::Object<'_>)) {
    for word in ["event: ", name, "\ndata: "] {
        out.extend_from_slice(word.as_bytes());
    }
    write::object(out, |o| {
        o.str("type", name);
        fill(o);
    });
    out.extend_from_slice(b"\n\n");
}
