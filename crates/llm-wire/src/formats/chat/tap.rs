//! The observer of a chat stream, or of a legacy completions stream.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::canonical::event::Reason;
use crate::canonical::usage::Usage;
use crate::error::foreign;
use crate::formats::chat::error;
use crate::json::scan::skip_space;
use crate::json::template::is_padding;
use crate::json::walk;
use crate::json::{RawValue, Tape};
use crate::passthrough::finish;
use crate::passthrough::observation::{Effect, FrameKind, Observed, Stage, is_filled, model_in, offset_in};
use crate::sse::Frame;

/// Returns whether a chunk may hold this member beside its choices without saying anything.
fn is_envelope(name: &[u8]) -> bool {
    matches!(
        name,
        b"id"
            | b"object"
            | b"type"
            | b"created"
            | b"model"
            | b"usage"
            | b"x_groq"
            | b"service_tier"
            | b"system_fingerprint"
            | b"obfuscation"
            | b"provider"
            | b"prompt_filter_results"
            // What llama.cpp and Cerebras tell of their speed, beside the usage.
            | b"timings"
            | b"time_info"
    )
}

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
    /// Room for what one chunk holds.
    tape: Tape,
}

/// Keys whose value matters even when content flows. Built once: building costs as much as a
/// search.
static KEYS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [r#""usage""#, r#""finish_reason""#, r#""error""#].map(Finder::new));

/// Stands in every chunk; what has none may be an error in a shape of its own.
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""choices""#));

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
        let data = frame.data.trim_ascii();
        if data == b"[DONE]" {
            self.effect = Some(Effect::of(FrameKind::End));
            return self.seen.end();
        }
        let is_error = frame.event == Some(b"error");
        let flows = self.stage == Stage::Flowing && !is_error && CHOICES.find(data).is_some();
        if flows && !KEYS.iter().any(|key| has_value(key, data)) {
            self.unread = true;
            return FrameKind::Content;
        }
        let moment = self.chunk(data, frame);
        if is_error {
            self.effect = None;
            return self.seen.error();
        }
        if moment == FrameKind::Content {
            self.stage = Stage::Flowing;
        }
        moment
    }

    /// Takes the usage of a chunk.
    pub(crate) fn count(&mut self, usage: RawValue<'_>) {
        self.seen.usage = Some(crate::formats::chat::tap::usage(usage));
    }

    fn chunk(&mut self, data: &[u8], frame: &Frame<'_>) -> FrameKind {
        let mut choices = None;
        let mut usage = None;
        let (mut foreign, mut has_error) = (false, false);
        // What is broken is read as far as it goes.
        let mut walk = self.tape.read(data).map_or_else(|_| walk::members(data), RawValue::members);
        for (key, value, _) in walk.by_ref() {
            match key.as_bytes() {
                b"choices" => choices = Some(Choices::read(value)),
                b"usage" if value.is_object() => usage = Some(value),
                b"x_groq" if usage.is_none() => usage = value.find("usage").filter(|usage| usage.is_object()),
                b"error" if foreign::is_error(value) => return self.seen.error(),
                b"error" => {
                    has_error |= !value.is_null();
                    foreign |= is_filled(value);
                }
                b"object" if value.eq_str("error") => return self.seen.error(),
                name => foreign |= !is_envelope(name) && is_filled(value),
            }
        }
        if walk.fault().is_some() {
            // An array is an error of Gemini's, or nothing.
            return if error::read(data).is_some() { self.seen.error() } else { self.seen.misread() };
        }
        if let Some(usage) = usage {
            self.usage_at = offset_in(usage.bytes(), frame.data);
            self.seen.usage = Some(crate::formats::chat::tap::usage(usage));
        }
        match choices {
            None if foreign && foreign::any_shape(RawValue::new(data)).is_some() => self.seen.error(),
            // A shape of a host's own: its text must not be held back.
            None if foreign => FrameKind::Content,
            // Some hosts leave the empty list out.
            None if usage.is_some() => FrameKind::Usage,
            None => FrameKind::Other,
            Some(choices) => {
                let is_plain = !has_error && (usage.is_none() || self.usage_at.is_some());
                let effect = match choices {
                    Choices { finish: true, reason, .. } => Effect { kind: self.seen.finish(), reason },
                    Choices { content: true, .. } => Effect::of(FrameKind::Content),
                    Choices { count: 0, .. } if usage.is_some() => Effect::of(FrameKind::Usage),
                    _ => Effect::of(FrameKind::Preamble),
                };
                self.seen.reason = effect.reason.or(self.seen.reason);
                self.effect = is_plain.then_some(effect);
                effect.kind
            }
        }
    }
}

/// What the choices of a chunk hold, of all of them together.
#[derive(Debug, Default)]
struct Choices {
    count: usize,
    finish: bool,
    /// Of the first choice that tells one.
    reason: Option<Reason>,
    content: bool,
}

impl Choices {
    fn read(choices: RawValue<'_>) -> Choices {
        let mut read = Choices::default();
        for (choice, _) in choices.elements() {
            read.count += 1;
            let mut reason = None;
            for (key, value, _) in choice.members() {
                match key.as_bytes() {
                    b"finish_reason" => {
                        read.finish |= is_filled(value);
                        reason = value.as_str().and_then(finish::of_finish_reason);
                    }
                    b"delta" | b"message" => read.content |= has_content(value),
                    b"text" => read.content |= is_filled(value),
                    _ => {}
                }
            }
            read.reason = read.reason.or(reason);
        }
        read
    }
}

/// Anything in a delta but the role and padding is content, so that what hosts add tomorrow is not
/// held back.
fn has_content(delta: RawValue<'_>) -> bool {
    let is_silent = |key: &[u8]| key == b"role" || is_padding(key);
    delta.members().any(|(key, value, _)| !is_silent(key.as_bytes()) && is_filled(value))
}

/// Whether `key` stands anywhere in `data` with a value other than null. Keys cannot be found
/// inside strings, where their quotes are escaped; a string that is the word itself is taken for a
/// key and sorted out by reading the chunk.
fn has_value(key: &Finder<'_>, data: &[u8]) -> bool {
    let mut from = 0;
    while let Some(n) = key.find(&data[from..]) {
        from += n + key.needle().len();
        let colon = skip_space(data, from);
        if data.get(colon) != Some(&b':') || !data[skip_space(data, colon + 1)..].starts_with(b"null") {
            return true;
        }
    }
    false
}

/// Reads a `usage` object; quirks in [`Usage::from_openai`].
pub(crate) fn usage(raw: RawValue<'_>) -> Usage {
    Usage::from_openai(raw)
}

/// Where a chunk names the model: at the top.
pub(crate) fn model_range(data: &[u8]) -> Option<Range<usize>> {
    model_in(RawValue::new(data), 0)
}

#[cfg(test)]
mod tests {
    use super::FrameKind::*;
    use super::*;
    use crate::format::Format;
    use crate::passthrough::tap::tests::show;

    fn check(chunks: &[(&str, FrameKind)]) -> Observed {
        let stream: String = chunks.iter().map(|(data, _)| format!("data: {data}\n\n")).collect();
        let (moments, seen) = show(Format::Chat, &stream);
        for ((data, expected), moment) in chunks.iter().zip(moments) {
            assert_eq!(moment, *expected, "{data}");
        }
        seen
    }

    #[test]
    fn openai() {
        let seen = check(&[
            (
                r#"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
                Preamble,
            ),
            (
                r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}"#,
                Content,
            ),
            (
                r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"\"usage\":{}"},"finish_reason" : null}]}"#,
                Content,
            ),
            (r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"error"},"finish_reason":null}]}"#, Content),
            (r#"{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#, Finish),
            (r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#, Usage),
            ("[DONE]", End),
        ]);
        assert!(seen.finished && seen.ended && !seen.failed && seen.parse_errors == 0);
        assert_eq!(seen.usage.map(|u| (u.input_total, u.output_total)), Some((3, 2)));
    }

    #[test]
    fn what_begins_an_answer() {
        for (delta, moment) in [
            (r#"{}"#, Preamble),
            (r#"null"#, Preamble),
            (r#"{"role":"assistant","content":null,"tool_calls":[ ],"x":{ }}"#, Preamble),
            (r#"{"reasoning_content":"a"}"#, Content),
            (r#"{"tool_calls":[{"index":0,"id":"t","function":{"name":"f","arguments":""}}]}"#, Content),
            (r#"{"content":[{"type":"thinking"}]}"#, Content),
            (r#"{"refusal":"no"}"#, Content),
            (r#"{"content":"","obfuscation":"x"}"#, Preamble),
            (r#"{"function_call":{"name":"f"}}"#, Content),
        ] {
            check(&[(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#), moment)]);
        }
    }

    #[test]
    fn oddities_of_hosts() {
        let azure = r#"{"id":"","model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#;
        check(&[(azure, Preamble), (r#"{"id":"c2","choices":[{"index":0,"finish_reason":null}]}"#, Preamble)]);

        let groq =
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":3}}}"#;
        let seen =
            check(&[(r#"{"choices":[{"delta":{"content":"a"}}],"x_groq":{"id":"r"}}"#, Content), (groq, Finish)]);
        assert_eq!(seen.usage.map(|u| u.input_total), Some(3));

        let xai = r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":N}}"#;
        let seen = check(&[(&xai.replace('N', "1"), Content), (&xai.replace('N', "2"), Content)]);
        assert_eq!(seen.usage.map(|u| u.output_total), Some(2));

        let legacy = check(&[
            (r#"{"object":"text_completion","choices":[{"text":"","index":0,"finish_reason":null}]}"#, Preamble),
            (r#"{"object":"text_completion","choices":[{"text":"a","index":0,"finish_reason":null}]}"#, Content),
            (r#"{"object":"text_completion","choices":[{"text":"","index":0,"finish_reason":"length"}]}"#, Finish),
            (" [DONE] ", End),
        ]);
        assert!(legacy.finished && legacy.ended);

        // No finish at all: Snowflake, and some models behind OpenRouter. The end mark alone ends
        // such an answer.
        let seen = check(&[(r#"{"choices":[{"delta":{"content":"4"}}]}"#, Content), ("[DONE]", End)]);
        assert!(seen.ended && !seen.finished);

        // Writer's legacy completions, and whatever comes next. What OpenAI sends while it makes
        // audio says nothing.
        check(&[(r#"{"value":"text in another shape"}"#, Content), (r#"{"usage":{"prompt_tokens":3}}"#, Usage)]);
        let waiting = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":"f","usage":null,"obfuscation":"x"}"#;
        check(&[(waiting, Other), (r#"{"new":"","newer":[ ]}"#, Other)]);

        let whole = r#"{"choices":[{"delta":{"content":"all"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
        assert!(check(&[(whole, Finish)]).usage.is_some());
    }

    #[test]
    fn errors_at_any_point() {
        for error in [
            r#"{"error":{"message":"m"}}"#,
            r#"{"error":"m"}"#,
            r#"[{"error":{"code":400}}]"#,
            r#"{"object":"error","message":"m"}"#,
            r#"{"detail":"m"}"#,
            r#"{"message":"m","code":500}"#,
            r#"{"errors":[{"message":"m"}]}"#,
            r#"{"id":"x","choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502}}"#,
        ] {
            assert!(check(&[(error, Error)]).failed);
            let text = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
            assert!(check(&[(text, Content), (error, Error)]).failed);
        }
        let (moments, seen) = show(Format::Chat, "event: error\ndata: oops\n\n");
        assert!(moments == [Error] && seen.failed);
    }

    #[test]
    fn the_model_of_a_chunk() {
        let chunk = br#"{"id":"x","model":"gpt-up","choices":[{"delta":{"content":"\"model\":\"no\""}}]}"#;
        assert_eq!(&chunk[model_range(chunk).unwrap()], br#""gpt-up""#);
        assert_eq!(model_range(b"[DONE]"), None);
        assert_eq!(model_range(br#"{"choices":[{"model":"x"}]}"#), None);
    }
}
