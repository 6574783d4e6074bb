//! The observer of a messages stream.

use std::ops::Range;

use crate::canonical::usage::Usage;
use crate::error::foreign;
use crate::formats::messages::error;
use crate::json::RawValue;
use crate::json::template::is_padding;
use crate::json::{scan, walk};
use crate::passthrough::finish;
use crate::passthrough::observation::{Effect, FrameKind, Observed, Stage, is_filled, model_under, offset_in};
use crate::sse::Frame;

/// See [`crate::passthrough::tap`].
#[derive(Debug, Default)]
pub struct Tap {
    pub(crate) stage: Stage,
    pub(crate) seen: Observed,
    unread: bool,
    /// See [`AnyTap::effect`](crate::passthrough::tap::AnyTap::effect).
    pub(crate) effect: Option<Effect>,
    /// See [`AnyTap::usage_at`](crate::passthrough::tap::AnyTap::usage_at).
    pub(crate) usage_at: Option<Range<usize>>,
    counts: Counts,
}

/// The events of the format that a tap distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
}

impl Kind {
    fn named(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"content_block_delta" => Kind::BlockDelta,
            b"content_block_start" => Kind::BlockStart,
            b"content_block_stop" => Kind::BlockStop,
            b"message_start" => Kind::MessageStart,
            b"message_delta" => Kind::MessageDelta,
            b"message_stop" => Kind::MessageStop,
            b"ping" => Kind::Ping,
            b"error" => Kind::Error,
            _ => return None,
        })
    }

    /// From the name, which the vendor's SDKs go by and which costs nothing to read; else from the
    /// data's `type`.
    fn of(frame: &Frame<'_>) -> Option<Kind> {
        frame.event.and_then(Kind::named).or_else(|| {
            let (_, value, _) = walk::members(frame.data).find(|(key, ..)| key.as_bytes() == b"type")?;
            Kind::named(value.as_str()?.as_bytes())
        })
    }
}

impl Tap {
    /// Returns what was observed so far.
    pub fn seen(&self) -> &Observed {
        &self.seen
    }

    /// See [`AnyTap::passed_unread`](crate::passthrough::tap::AnyTap::passed_unread).
    pub fn passed_unread(&self) -> bool {
        self.unread
    }

    /// Observes a frame, and returns what it is.
    pub fn frame(&mut self, frame: &Frame<'_>) -> FrameKind {
        let kind = Kind::of(frame);
        self.usage_at = None;
        self.unread = self.stage == Stage::Flowing && matches!(kind, Some(Kind::BlockStart | Kind::BlockDelta));
        let moment = match kind {
            Some(Kind::BlockStart | Kind::BlockDelta) if self.unread => FrameKind::Content,
            Some(Kind::BlockStart) => self.block(frame.data, "content_block"),
            Some(Kind::BlockDelta) => self.block(frame.data, "delta"),
            Some(Kind::MessageStart) => self.message_start(frame.data),
            Some(Kind::MessageDelta) => self.message_delta(frame.data),
            Some(Kind::MessageStop) => self.seen.end(),
            Some(Kind::BlockStop) => FrameKind::Other,
            Some(Kind::Ping) => FrameKind::Preamble,
            Some(Kind::Error) => self.seen.error(),
            None => self.unknown(frame.data),
        };
        let has_usage = self.usage_at.is_some();
        self.effect = match (kind, moment) {
            _ if self.unread => None,
            (Some(Kind::MessageStart), FrameKind::Content | FrameKind::Preamble) if has_usage => {
                Some(Effect::of(moment))
            }
            // Of a word that is not known nothing is kept, which is no effect that can be repeated.
            (Some(Kind::MessageDelta), FrameKind::Finish) if has_usage && self.seen.reason.is_some() => {
                Some(Effect { kind: moment, reason: self.seen.reason })
            }
            (Some(Kind::MessageDelta), FrameKind::Other) if has_usage => Some(Effect::of(moment)),
            (Some(Kind::BlockStart | Kind::BlockDelta), FrameKind::Content | FrameKind::Preamble)
            | (Some(Kind::BlockStop | Kind::Ping | Kind::MessageStop), _) => Some(Effect::of(moment)),
            _ => None,
        };
        if moment == FrameKind::Content {
            self.stage = Stage::Flowing;
        }
        moment
    }

    fn message_start(&mut self, data: &[u8]) -> FrameKind {
        let Some(message) = walk::find(data, "message") else { return self.seen.misread() };
        let mut moment = FrameKind::Preamble;
        for (key, value, _) in message.members() {
            match key.as_bytes() {
                b"usage" => self.count_in(value, data),
                b"content" if is_filled(value) => moment = FrameKind::Content,
                _ => {}
            }
        }
        moment
    }

    fn message_delta(&mut self, data: &[u8]) -> FrameKind {
        let Ok(event) = RawValue::parse(data) else { return self.seen.misread() };
        if let Some(usage) = event.find("usage") {
            self.count_in(usage, data);
        }
        match event.path(&["delta", "stop_reason"]) {
            Some(reason) if is_filled(reason) => {
                self.seen.reason = reason.as_str().and_then(finish::of_stop_reason);
                self.seen.finish()
            }
            _ => FrameKind::Other,
        }
    }

    /// Returns what the start of a block, or a delta, is: empty, or the first content.
    fn block(&mut self, data: &[u8], key: &str) -> FrameKind {
        match walk::find(data, key) {
            Some(block) if block_has_content(block) => FrameKind::Content,
            Some(_) => FrameKind::Preamble,
            None => self.seen.misread(),
        }
    }

    fn unknown(&mut self, data: &[u8]) -> FrameKind {
        if RawValue::parse(data)
            .is_ok_and(|event| foreign::recognize(error::of(event), error::is_answer, event).is_some())
        {
            return self.seen.error();
        }
        // Hosts behind translators send `[DONE]`, which is nothing here.
        match scan::validate(data) {
            Err(_) if data.trim_ascii() != b"[DONE]" && !data.is_empty() => self.seen.misread(),
            _ => FrameKind::Other,
        }
    }

    /// Takes the usage of an event with `data`. Of several, none can be repeated by itself.
    fn count_in(&mut self, usage: RawValue<'_>, data: &[u8]) {
        if usage.is_object() {
            self.usage_at = if self.usage_at.is_none() { offset_in(usage.bytes(), data) } else { None };
            self.count(usage);
        }
    }

    /// Takes the usage of an event.
    pub(crate) fn count(&mut self, usage: RawValue<'_>) {
        if usage.is_object() {
            self.counts.merge(usage);
            self.seen.usage = Some(self.counts.usage());
        }
    }
}

/// Returns whether a block has content: text and thinking begin empty. Any other block counts as
/// content by its type: a tool call has a name.
fn block_has_content(block: RawValue<'_>) -> bool {
    const BEGIN_EMPTY: [&str; 5] = ["text", "thinking", "text_delta", "thinking_delta", "input_json_delta"];
    block.members().any(|(key, value, _)| match key.as_bytes() {
        b"type" => !BEGIN_EMPTY.iter().any(|name| value.eq_str(name)),
        key if is_padding(key) => false,
        _ => is_filled(value),
    })
}

/// The numbers of a `usage` object as last reported. A stream reports them again and again: later
/// ones replace earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    input: u64,
    cache_read: u64,
    cache_creation: u64,
    creation_5m: u64,
    creation_1h: u64,
    output: u64,
    thinking: u64,
    server_tools: u64,
    /// Of compaction runs, which the other numbers leave out.
    compaction: Compaction,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Compaction {
    input: u64,
    cache_read: u64,
    cache_creation: u64,
    output: u64,
}

impl Counts {
    /// Takes the numbers that are present; null, negative and absurd ones are not. A prompt that was
    /// counted does not become none: some hosts end with zeros for it.
    pub(super) fn merge(&mut self, usage: RawValue<'_>) {
        let prompt = (self.input, self.cache_read, self.cache_creation);
        for (key, value, _) in usage.members() {
            let set = |field: &mut u64| *field = value.as_u64().unwrap_or(*field);
            match key.as_bytes() {
                b"input_tokens" => set(&mut self.input),
                b"cache_read_input_tokens" => set(&mut self.cache_read),
                b"cache_creation_input_tokens" => set(&mut self.cache_creation),
                b"output_tokens" => set(&mut self.output),
                b"cache_creation" => {
                    let part = |name| value.find(name).and_then(RawValue::as_u64);
                    self.creation_5m = part("ephemeral_5m_input_tokens").unwrap_or(self.creation_5m);
                    self.creation_1h = part("ephemeral_1h_input_tokens").unwrap_or(self.creation_1h);
                }
                b"output_tokens_details" => {
                    self.thinking = value.find("thinking_tokens").and_then(RawValue::as_u64).unwrap_or(self.thinking);
                }
                b"server_tool_use" if value.is_object() => {
                    self.server_tools = value.members().filter_map(|(_, n, _)| n.as_u64()).fold(0, u64::saturating_add);
                }
                b"iterations" => self.compaction = Compaction::of(value),
                _ => {}
            }
        }
        if self.input | self.cache_read | self.cache_creation == 0 {
            (self.input, self.cache_read, self.cache_creation) = prompt;
        }
    }

    /// Returns the counts in canonical form.
    pub(super) fn usage(&self) -> Usage {
        // The breakdown by lifetime may be missing, or say less than the sum; the rest has the
        // default lifetime.
        let written = self.cache_creation.max(self.creation_5m.saturating_add(self.creation_1h));
        let more = &self.compaction;
        Usage {
            input_total: self.input.saturating_add(more.input),
            cache_read: self.cache_read.saturating_add(more.cache_read),
            cache_write_5m: written.saturating_sub(self.creation_1h).saturating_add(more.cache_creation),
            cache_write_1h: self.creation_1h,
            output_total: self.output.saturating_add(more.output),
            reasoning: self.thinking,
            server_tools: self.server_tools,
            ..Usage::default()
        }
        .with_cache_outside()
    }
}

impl Compaction {
    /// Sums the compaction runs of `usage.iterations`. An answer that a fallback model gave is
    /// counted by the top level alone, and advisor runs are billed apart.
    fn of(iterations: RawValue<'_>) -> Compaction {
        let mut sum = Compaction::default();
        for (run, _) in iterations.elements() {
            let Some(kind) = run.find("type") else { continue };
            if kind.eq_str("fallback_message") {
                return Compaction::default();
            }
            if kind.eq_str("compaction") {
                let add = |field: &mut u64, name| {
                    *field = field.saturating_add(run.find(name).and_then(RawValue::as_u64).unwrap_or(0));
                };
                add(&mut sum.input, "input_tokens");
                add(&mut sum.cache_read, "cache_read_input_tokens");
                add(&mut sum.cache_creation, "cache_creation_input_tokens");
                add(&mut sum.output, "output_tokens");
            }
        }
        sum
    }
}

/// Reads the `usage` object of a whole answer.
pub(crate) fn usage(raw: RawValue<'_>) -> Usage {
    let mut counts = Counts::default();
    counts.merge(raw);
    counts.usage()
}

/// Where an event names the model: in the message of `message_start`.
pub(crate) fn model_range(data: &[u8]) -> Option<Range<usize>> {
    model_under(data, "message")
}

#[cfg(test)]
mod tests {
    use super::FrameKind::*;
    use super::*;
    use crate::format::Format;
    use crate::passthrough::tap::tests::show;

    /// Each row with its name, and without: the type in the data does as well.
    fn check(events: &[(&str, &str, FrameKind)]) -> Observed {
        let mut both = [true, false].map(|named| {
            let mut stream = String::new();
            for (name, data, _) in events {
                let line = if named { format!("event: {name}\n") } else { String::new() };
                stream += &format!("{line}data: {{\"type\":\"{name}\"{data}}}\n\n");
            }
            let (moments, seen) = show(Format::Messages, &stream);
            for ((name, data, expected), moment) in events.iter().zip(moments) {
                assert_eq!(moment, *expected, "{name} {data}");
            }
            seen
        });
        assert_eq!(both[0], both[1]);
        std::mem::take(&mut both[0])
    }

    #[test]
    fn anthropic() {
        let seen = check(&[
            (
                "message_start",
                r#","message":{"id":"msg_1","model":"c","content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":80,"cache_creation_input_tokens":null,"output_tokens":1}}"#,
                Preamble,
            ),
            (
                "content_block_start",
                r#","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#,
                Preamble,
            ),
            ("ping", "", Preamble),
            ("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":""}"#, Preamble),
            ("content_block_delta", r#","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}"#, Content),
            ("content_block_stop", r#","index":0"#, Other),
            ("message_delta", r#","delta":{"stop_reason":null},"usage":{"output_tokens":5}"#, Other),
            (
                "message_delta",
                r#","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":12,"cache_read_input_tokens":null,"output_tokens":9,"output_tokens_details":{"thinking_tokens":4},"server_tool_use":{"web_search_requests":2}}"#,
                Finish,
            ),
            ("message_stop", "", End),
        ]);
        assert!(seen.finished && seen.ended && !seen.failed && seen.parse_errors == 0);
        let usage = seen.usage.unwrap();
        assert_eq!((usage.input_total, usage.input_fresh(), usage.cache_read), (92, 12, 80));
        assert_eq!((usage.output_total, usage.reasoning, usage.server_tools), (9, 4, 2));
    }

    #[test]
    fn what_begins_an_answer() {
        for (block, moment) in [
            (r#"{"type":"text","text":"","citations":null}"#, Preamble),
            (r#"{"type":"text","text":"Hi"}"#, Content),
            (r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#, Content),
            (r#"{"type":"redacted_thinking","data":"x"}"#, Content),
            (r#"{"type":"new_thing"}"#, Content),
        ] {
            check(&[("content_block_start", &format!(r#","content_block":{block}"#), moment)]);
        }
        for (delta, moment) in [
            (r#"{"type":"text_delta","text":""}"#, Preamble),
            (r#"{"type":"input_json_delta","partial_json":""}"#, Preamble),
            (r#"{"type":"signature_delta","signature":"s"}"#, Content),
            (r#"{"type":"new_delta"}"#, Content),
        ] {
            check(&[("content_block_delta", &format!(r#","delta":{delta}"#), moment)]);
        }
    }

    #[test]
    fn errors_and_unknown_events() {
        assert!(check(&[("error", r#","error":{"type":"overloaded_error","message":"m"}"#, Error)]).failed);
        let (moments, seen) = show(
            Format::Messages,
            "data: {\"error\":{\"message\":\"m\"}}\n\ndata: [DONE]\n\nevent: new\ndata: {\"type\":\"new\"}\n\n",
        );
        assert!(moments == [Error, Other, Other] && seen.failed && !seen.ended && seen.parse_errors == 0);
    }

    #[test]
    fn usage_of_whole_answers() {
        let read = |raw: &str| usage(RawValue::parse(raw.as_bytes()).unwrap());
        let lifetimes = read(
            r#"{"input_tokens":1,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":2}"#,
        );
        assert_eq!((lifetimes.input_total, lifetimes.cache_write_5m, lifetimes.cache_write_1h), (31, 10, 20));
        let parts_only = read(
            r#"{"input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#,
        );
        assert_eq!((parts_only.input_total, parts_only.cache_write()), (31, 30));
        let less = read(
            r#"{"input_tokens":1,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_1h_input_tokens":20}}"#,
        );
        assert_eq!((less.cache_write_5m, less.cache_write_1h), (10, 20));

        let runs = r#"{"input_tokens":5,"output_tokens":6,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":10},{"type":"message","input_tokens":5,"output_tokens":6},{"type":"advisor_message","input_tokens":7}]}"#;
        let runs_usage = read(runs);
        assert_eq!((runs_usage.input_total, runs_usage.output_total), (105, 16));
        assert_eq!(read(&runs.replace("advisor_message", "fallback_message")).input_total, 5);
    }

    #[test]
    fn a_prompt_that_was_counted_does_not_become_none() {
        let prompt = |end: &str| {
            let mut counts = Counts::default();
            counts.merge(RawValue::new(br#"{"input_tokens":5,"cache_read_input_tokens":80,"output_tokens":1}"#));
            counts.merge(RawValue::new(end.as_bytes()));
            let usage = counts.usage();
            (usage.input_total, usage.cache_read, usage.output_total)
        };
        assert_eq!(prompt(r#"{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}"#), (85, 80, 9));
        assert_eq!(prompt(r#"{"input_tokens":0,"cache_read_input_tokens":85,"output_tokens":9}"#), (85, 85, 9));
        assert_eq!(prompt(r#"{"input_tokens":7,"cache_read_input_tokens":0,"output_tokens":0}"#), (7, 0, 0));
        assert_eq!(prompt(r#"{"input_tokens":null}"#), (85, 80, 1));
    }

    #[test]
    fn the_model_of_a_stream() {
        let start = br#"{"type":"message_start","message":{"id":"m","model":"claude-up","content":[]}}"#;
        assert_eq!(&start[model_range(start).unwrap()], br#""claude-up""#);
        assert_eq!(model_range(br#"{"type":"content_block_delta","delta":{"model":"x"}}"#), None);
    }
}
