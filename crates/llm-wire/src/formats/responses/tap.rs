//! The observer of a responses stream.

use std::ops::Range;

use crate::canonical::event::Reason;
use crate::canonical::usage::Usage;
use crate::error::foreign;
use crate::formats::responses::error;
use crate::json::{RawStr, RawValue, Tape};
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
    /// Room for what one event holds.
    tape: Tape,
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
        self.unread = false;
        self.effect = None;
        self.usage_at = None;
        let moment = match frame.event {
            // A name of this format is believed; it costs nothing to read. `message` is what hosts
            // send that have none.
            Some(name) if name.starts_with(b"response.") => self.named(name, frame.data),
            Some(name @ (b"error" | b"keepalive")) => self.named(name, frame.data),
            _ => match type_of(frame.data) {
                Some(name) => self.named(name.as_bytes(), frame.data),
                None => self.unknown(frame.data),
            },
        };
        if moment == FrameKind::Content {
            self.stage = Stage::Flowing;
        }
        moment
    }

    fn named(&mut self, name: &[u8], data: &[u8]) -> FrameKind {
        match name.strip_prefix(b"response.").unwrap_or(name) {
            b"created" | b"in_progress" | b"queued" => {
                if self.lifecycle(data).is_some_and(|response| response.is_plain) {
                    self.effect = Some(Effect::of(FrameKind::Preamble));
                }
                FrameKind::Preamble
            }
            b"completed" | b"incomplete" => {
                let response = self.lifecycle(data);
                let is_plain = response.as_ref().is_some_and(|response| response.is_plain);
                self.seen.finished = true;
                self.seen.reason = response.and_then(|response| response.reason);
                // Of a word that is not known nothing is kept, which is no effect that can be
                // repeated.
                if is_plain && self.seen.reason.is_some() {
                    self.effect = Some(Effect { kind: FrameKind::End, reason: self.seen.reason });
                }
                self.seen.end()
            }
            b"failed" => {
                self.seen.ended = true;
                self.lifecycle(data);
                self.seen.error()
            }
            b"error" => self.seen.error(),
            b"keepalive" => FrameKind::KeepAlive,
            kind if kind.ends_with(b".delta") => self.part(data, "delta", |_| false),
            kind if kind.ends_with(b".done") => {
                self.effect = Some(Effect::of(FrameKind::Content));
                FrameKind::Content
            }
            b"output_item.added" => self.part(data, "item", item_has_content),
            b"content_part.added" | b"reasoning_summary_part.added" => self.part(data, "part", part_has_content),
            _ => FrameKind::Other,
        }
    }

    /// Reads an event that holds the response object, in one pass, and takes its usage. `None` if
    /// it has no such object. What is broken is read as far as it goes.
    fn lifecycle(&mut self, data: &[u8]) -> Option<Response> {
        let read = self.tape.read(data);
        let is_read = read.is_ok();
        let event = read.unwrap_or(RawValue::new(data));
        let Some(response) = event.find("response") else {
            self.seen.misread();
            return None;
        };
        let reason = finish::of_response(|name| response.find(name));
        let Some(counts) = response.find("usage").filter(|usage| usage.is_object()) else {
            return Some(Response { is_plain: is_read, reason });
        };
        self.usage_at = offset_in(counts.bytes(), data);
        self.seen.usage = Some(usage(counts));
        Some(Response { is_plain: is_read && self.usage_at.is_some(), reason })
    }

    /// Takes the usage of an event.
    pub(crate) fn count(&mut self, counts: RawValue<'_>) {
        self.seen.usage = Some(usage(counts));
    }

    /// An event that may hold the first content under `key`: a string if it is not empty, an object
    /// if `has_content`.
    fn part(&mut self, data: &[u8], key: &str, has_content: fn(RawValue<'_>) -> bool) -> FrameKind {
        if self.stage == Stage::Flowing {
            self.unread = true;
            return FrameKind::Content;
        }
        let moment = match walk::find(data, key) {
            Some(value) if value.is_object() && has_content(value) => FrameKind::Content,
            Some(value) if !value.is_object() && is_filled(value) => FrameKind::Content,
            Some(_) => FrameKind::Preamble,
            None => return self.seen.misread(),
        };
        self.effect = Some(Effect::of(moment));
        moment
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
}

/// What an event says of the response object in it.
struct Response {
    /// All of the event was read, and its usage, if it has one, stands in it.
    is_plain: bool,
    reason: Option<Reason>,
}

fn type_of(data: &[u8]) -> Option<RawStr<'_>> {
    let (_, value, _) = walk::members(data).find(|(key, ..)| key.as_bytes() == b"type")?;
    value.as_str()
}

/// Messages and reasoning begin empty, and their content follows in parts. Any other item says
/// something by itself.
fn item_has_content(item: RawValue<'_>) -> bool {
    let empty = |key: &str| !item.find(key).is_some_and(is_filled);
    match item.find("type") {
        Some(kind) if kind.eq_str("message") => !empty("content"),
        Some(kind) if kind.eq_str("reasoning") => !empty("summary") || !empty("content"),
        _ => true,
    }
}

fn part_has_content(part: RawValue<'_>) -> bool {
    ["text", "refusal"].iter().any(|key| part.find(key).is_some_and(is_filled))
}

/// Reads a `usage` object; quirks in [`Usage::from_openai`].
pub(crate) fn usage(raw: RawValue<'_>) -> Usage {
    Usage::from_openai(raw)
}

/// Where an event names the model: in the response of a lifecycle event.
pub(crate) fn model_range(data: &[u8]) -> Option<Range<usize>> {
    model_under(data, "response")
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
            let (moments, seen) = show(Format::Responses, &stream);
            for ((name, data, expected), moment) in events.iter().zip(moments) {
                assert_eq!(moment, *expected, "{name} {data}");
            }
            seen
        });
        assert_eq!(both[0], both[1]);
        std::mem::take(&mut both[0])
    }

    #[test]
    fn openai() {
        let response = r#","response":{"id":"resp_1","model":"up","usage":null,"output":[]},"sequence_number":0"#;
        let done = r#","response":{"id":"resp_1","output":[{"usage":{"input_tokens":9}}],"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2,"total_tokens":5}}"#;
        let seen = check(&[
            ("response.created", response, Preamble),
            ("response.in_progress", response, Preamble),
            ("response.output_item.added", r#","item":{"type":"message","content":[]}"#, Preamble),
            ("response.content_part.added", r#","part":{"type":"output_text","annotations":[],"text":""}"#, Preamble),
            ("keepalive", "", KeepAlive),
            ("response.output_text.delta", r#","delta":"""#, Preamble),
            ("response.output_text.delta", r#","delta":"Hi","obfuscation":"x""#, Content),
            ("response.output_item.added", r#","item":{"type":"message","content":[]}"#, Content),
            ("response.output_text.done", r#","text":"Hi""#, Content),
            ("response.web_search_call.searching", "", Other),
            ("response.completed", done, End),
        ]);
        assert!(seen.finished && seen.ended && !seen.failed && seen.parse_errors == 0);
        assert_eq!(seen.usage.map(|u| (u.input_total, u.cache_read, u.output_total)), Some((3, 1, 2)));
    }

    #[test]
    fn what_begins_an_answer() {
        for (name, data, moment) in [
            (
                "response.output_item.added",
                r#","item":{"type":"reasoning","summary":[],"encrypted_content":"x"}"#,
                Preamble,
            ),
            ("response.output_item.added", r#","item":{"type":"function_call","name":"f","arguments":""}"#, Content),
            ("response.output_item.added", r#","item":{"type":"message","content":[{"text":"a"}]}"#, Content),
            ("response.reasoning_summary_part.added", r#","part":{"type":"summary_text","text":""}"#, Preamble),
            ("response.content_part.added", r#","part":{"type":"refusal","refusal":"no"}"#, Content),
            ("response.reasoning_summary_text.delta", r#","delta":"a""#, Content),
            ("response.output_item.done", r#","item":{}"#, Content),
        ] {
            check(&[(name, data, moment)]);
        }
    }

    #[test]
    fn failures() {
        let failed = r#","response":{"id":"r","status":"failed","error":{"code":"server_error","message":"m"},"usage":{"input_tokens":4}}"#;
        let seen = check(&[("response.failed", failed, Error)]);
        assert!(seen.failed && seen.ended && !seen.finished && seen.usage.is_some());
        assert!(check(&[("error", r#","code":"c","message":"m""#, Error)]).failed);
        let (moments, seen) = show(Format::Responses, "data: {\"error\":{\"message\":\"m\"}}\n\ndata: [DONE]\n\n");
        assert!(moments == [Error, Other] && seen.failed && !seen.ended && seen.parse_errors == 0);
        let cut = check(&[("response.incomplete", r#","response":{"status":"incomplete"}"#, End)]);
        assert!(cut.finished && cut.ended && cut.usage.is_none());
    }

    #[test]
    fn the_model_of_a_stream() {
        let created = br#"{"type":"response.created","response":{"id":"r","tools":[{"model":"no"}],"model":"gpt-up"}}"#;
        assert_eq!(&created[model_range(created).unwrap()], br#""gpt-up""#);
        assert_eq!(model_range(br#"{"type":"response.output_text.delta","delta":"a","model":"x"}"#), None);
    }
}
