//! Continues a stream that passed unchanged and broke off with the stream of another provider.
//!
//! [`StreamedText`] keeps the text of the first stream, as long as text is all that it has: a call of
//! a tool or a thought can't be taken up by another model. [`request`] makes the request for the rest,
//! and [`Continuation`] fits the events of a second stream of the Chat or the Messages format to what
//! the client has. Those of another format, and of Responses, whose last events repeat the text, are
//! translated ([`Translator::behind`](crate::translate::Translator::behind)).

use std::ops::Range;

use crate::format::Format;
use crate::json::{RawKind, RawValue, walk};
use crate::passthrough::observation::{FrameKind, is_filled};
use crate::passthrough::splice::Splice;
use crate::sse::Frame;

/// The longest text that is kept, in bytes of its JSON form.
pub(crate) const MAX_TEXT: usize = 256 << 10;

/// How the rest is requested from the next provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationMethod {
    /// The text so far as a message of the assistant, and a message of the user that asks for what
    /// follows. Every model takes that.
    Prompt,
    /// The text so far as the last message, which the model goes on with. Newer models refuse it.
    Prefill,
}

/// The text that a stream has brought so far.
#[derive(Debug)]
pub struct StreamedText {
    format: Format,
    /// The text as it stands in JSON strings, without their quotes.
    text: Vec<u8>,
    /// Whether the stream has something that can't be continued, or has come to its end.
    is_unfit: bool,
    /// The id of the response, quotes included.
    id: Vec<u8>,
    /// Seconds since 1970 when it began, where the format says that.
    created: Option<u64>,
    /// Blocks that were begun, of Messages; messages of Responses.
    blocks: u64,
    /// Whether the last of them was not ended.
    is_open: bool,
    /// The id of the message in a response of Responses, quotes included.
    item: Vec<u8>,
    /// The `sequence_number` of the next event.
    number: u64,
}

impl StreamedText {
    /// Begins with nothing.
    pub fn new(format: Format) -> StreamedText {
        let (text, id, item) = Default::default();
        let (is_unfit, created, blocks, is_open, number) = Default::default();
        StreamedText { format, text, is_unfit, id, created, blocks, is_open, item, number }
    }

    /// Takes an event in.
    pub fn frame(&mut self, frame: &Frame<'_>) {
        let data = frame.data.trim_ascii();
        if self.is_unfit {
            return;
        }
        match self.format {
            Format::Chat if data == b"[DONE]" => self.is_unfit = true,
            Format::Chat => self.chunk(data),
            Format::Messages => self.event(data),
            Format::Responses => self.response_event(data),
        }
        self.is_unfit |= self.text.len() > MAX_TEXT;
    }

    /// Returns whether another provider can go on from here.
    pub fn can_be_continued(&self) -> bool {
        !self.is_unfit && !self.text.is_empty()
    }

    /// Takes what is needed to go on.
    pub fn continuation(&self) -> Option<Continuation> {
        let StreamedText { format, created, blocks, number, .. } = *self;
        let (text, id, item) = (self.text.clone(), self.id.clone(), self.item.clone());
        let open = self.is_open.then(|| blocks.saturating_sub(1));
        let continuation = || Continuation { format, text, id, created, item, number, blocks, open, base: None };
        self.can_be_continued().then(continuation)
    }

    fn chunk(&mut self, data: &[u8]) {
        for (key, value, _) in walk::members(data) {
            match key.as_bytes() {
                b"id" if self.id.is_empty() => self.id = value.bytes().to_vec(),
                b"created" if self.created.is_none() => self.created = value.as_u64(),
                b"choices" => value.elements().for_each(|(choice, _)| self.choice(choice)),
                _ => {}
            }
        }
    }

    fn choice(&mut self, choice: RawValue<'_>) {
        for (key, value, _) in choice.members() {
            match key.as_bytes() {
                b"index" => self.is_unfit |= value.as_u64() != Some(0),
                b"finish_reason" => self.is_unfit |= is_filled(value),
                b"delta" => self.delta(value),
                _ => {}
            }
        }
    }

    fn delta(&mut self, delta: RawValue<'_>) {
        for (key, value, _) in delta.members() {
            match key.as_bytes() {
                b"content" => match value.as_str() {
                    Some(text) => self.text.extend_from_slice(text.as_bytes()),
                    None => self.is_unfit |= is_filled(value),
                },
                b"tool_calls" | b"function_call" | b"refusal" | b"audio" => self.is_unfit |= is_filled(value),
                _ => {}
            }
        }
    }

    fn event(&mut self, data: &[u8]) {
        let event = RawValue::new(data);
        let Some(kind) = event.find("type").and_then(RawValue::as_str) else { return };
        match kind.as_bytes() {
            b"message_start" => {
                let id = event.path(&["message", "id"]).map(|id| id.bytes().to_vec());
                self.id = id.unwrap_or_default();
            }
            b"content_block_start" => {
                let block = event.find("content_block");
                self.is_unfit |= !block.is_some_and(|block| block.find("type").is_some_and(|kind| kind.eq_str("text")));
                self.push(block.and_then(|block| block.find("text")));
                self.blocks += 1;
                self.is_open = true;
            }
            b"content_block_delta" => self.push(event.path(&["delta", "text"])),
            b"content_block_stop" => self.is_open = false,
            b"message_delta" => self.is_unfit |= event.path(&["delta", "stop_reason"]).is_some_and(is_filled),
            b"message_stop" => self.is_unfit = true,
            _ => {}
        }
    }

    /// One message with one text is all that can be continued.
    fn response_event(&mut self, data: &[u8]) {
        let event = RawValue::new(data);
        let Some(kind) = event.find("type").and_then(RawValue::as_str) else { return };
        if let Some(number) = event.find("sequence_number").and_then(RawValue::as_u64) {
            self.number = number.saturating_add(1);
        }
        let is = |path: &[&str], word: &str| event.path(path).is_some_and(|value| value.eq_str(word));
        let is_first = |name: &str| event.find(name).and_then(RawValue::as_u64) == Some(0);
        match kind.as_bytes() {
            b"response.created" | b"response.queued" | b"response.in_progress" => {
                let id = event.path(&["response", "id"]).map(|id| id.bytes().to_vec());
                self.id = id.unwrap_or_default();
                self.created = event.path(&["response", "created_at"]).and_then(RawValue::as_u64);
            }
            b"response.output_item.added" => {
                self.is_unfit |= !is(&["item", "type"], "message") || !is_first("output_index");
                self.item = event.path(&["item", "id"]).map(|id| id.bytes().to_vec()).unwrap_or_default();
                self.blocks += 1;
            }
            b"response.content_part.added" => {
                self.is_unfit |= !is(&["part", "type"], "output_text") || !is_first("content_index");
            }
            b"response.output_text.delta" => self.push(event.find("delta")),
            b"keepalive" => {}
            _ => self.is_unfit = true,
        }
    }

    fn push(&mut self, text: Option<RawValue<'_>>) {
        if let Some(text) = text.and_then(RawValue::as_str) {
            self.text.extend_from_slice(text.as_bytes());
        }
    }
}

/// Returns the text of a JSON string. `None` if there is none.
fn plain(quoted: &[u8]) -> Option<String> {
    let value = (!quoted.is_empty()).then(|| RawValue::new(quoted))?;
    Some(value.as_str()?.unescape().into_owned())
}

/// Asks for the rest.
const PROMPT: &str = "The connection broke in the middle of your last message. Continue it exactly where it ends: \
                      write only what follows, repeat nothing, and add no introduction.";

/// Returns the body of the request for the rest: `body`, of `format`, and behind its conversation the
/// escaped `text` so far. `None` if `body` has no conversation, or asks for JSON, which a model would
/// begin anew.
pub fn request(format: Format, body: &[u8], text: &[u8], method: ContinuationMethod) -> Option<Vec<u8>> {
    let (member, may_be_text) = match format {
        Format::Chat | Format::Messages => ("messages", false),
        Format::Responses => ("input", true),
    };
    if asks_for_json(format, body) {
        return None;
    }
    let (_, conversation, at) = walk::members(body).find(|(key, ..)| key.eq_str(member))?;
    let mut splice = Splice::new();
    match conversation.kind() {
        RawKind::Array if conversation.elements().next().is_some() => {}
        // A text is the message of the user.
        RawKind::String if may_be_text => {
            splice.replace(at.start..at.start, b"[{\"role\":\"user\",\"content\":".to_vec());
        }
        _ => return None,
    }
    let mut more = if conversation.kind() == RawKind::String { b"}".to_vec() } else { Vec::new() };
    more.extend_from_slice(b",{\"role\":\"assistant\",\"content\":\"");
    more.extend_from_slice(text);
    more.extend_from_slice(b"\"}");
    if method == ContinuationMethod::Prompt {
        more.extend_from_slice(b",{\"role\":\"user\",\"content\":\"");
        more.extend_from_slice(PROMPT.as_bytes());
        more.extend_from_slice(b"\"}");
    }
    let end = match conversation.kind() {
        RawKind::String => {
            more.push(b']');
            at.end
        }
        _ => at.end - 1,
    };
    splice.replace(end..end, more);
    let mut continued = Vec::with_capacity(splice.len_after(body.len()));
    splice.apply(body, &mut continued);
    Some(continued)
}

/// Returns whether a request asks for an answer in a form that is not text.
fn asks_for_json(format: Format, body: &[u8]) -> bool {
    let paths: &[&[&str]] = match format {
        Format::Chat => &[&["response_format"]],
        Format::Messages => &[&["output_format"], &["output_config", "format"]],
        Format::Responses => &[&["text", "format"]],
    };
    let form = |path: &&[&str]| RawValue::new(body).path(path).filter(|form| form.kind() == RawKind::Object);
    paths.iter().filter_map(form).any(|form| !form.find("type").is_some_and(|kind| kind.eq_str("text")))
}

/// How an event of the second stream reaches the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does not.
    Drop,
    /// As it is.
    Keep,
    /// Its data with these parts replaced.
    Edit(Vec<(Range<usize>, Vec<u8>)>),
}

/// Fits the events of the second stream to what the client has of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    format: Format,
    text: Vec<u8>,
    id: Vec<u8>,
    pub(crate) created: Option<u64>,
    item: Vec<u8>,
    pub(crate) number: u64,
    pub(crate) blocks: u64,
    /// The block that the client takes for unfinished.
    open: Option<u64>,
    /// What is added to the places of blocks, once the first has come.
    base: Option<u64>,
}

impl Continuation {
    /// Returns the text that the client has, escaped.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Returns whether [`Continuation::fit`] can fit the events of a second stream of the same format.
    pub fn fits_events(&self) -> bool {
        match self.format {
            Format::Chat | Format::Messages => true,
            Format::Responses => false,
        }
    }

    /// Returns whether the text that came last is open for more.
    pub(crate) fn is_open(&self) -> bool {
        match self.format {
            Format::Messages => self.open.is_some(),
            Format::Chat | Format::Responses => true,
        }
    }

    /// Returns the id of the response, if it has one.
    pub(crate) fn own_id(&self) -> Option<String> {
        plain(&self.id)
    }

    /// Returns the id of the message in the response, if it has one.
    pub(crate) fn item_id(&self) -> Option<String> {
        plain(&self.item)
    }

    /// Returns what becomes of an event. `before` gets events that must go before it.
    pub fn fit(&mut self, frame: &Frame<'_>, kind: FrameKind, before: &mut Vec<u8>) -> Fit {
        match self.format {
            Format::Chat if kind == FrameKind::Preamble => Fit::Drop,
            Format::Chat => self.fit_chunk(frame.data),
            _ => self.fit_event(frame.data, before),
        }
    }

    /// All chunks of a stream have one id.
    fn fit_chunk(&self, data: &[u8]) -> Fit {
        let id = walk::members(data).find(|(key, ..)| key.eq_str("id"));
        match id {
            Some((_, id, at)) if !self.id.is_empty() && id.bytes() != self.id => Fit::Edit(vec![(at, self.id.clone())]),
            _ => Fit::Keep,
        }
    }

    /// The blocks of the second message follow those of the first, and its first text goes on with
    /// a text that is open.
    fn fit_event(&mut self, data: &[u8], before: &mut Vec<u8>) -> Fit {
        let event = RawValue::new(data);
        let kind = event.find("type").and_then(RawValue::as_str);
        let index = event.members().find(|(key, ..)| key.eq_str("index")).map(|(_, index, at)| (index, at));
        let is_first = self.base.is_none();
        match kind.map_or(&b""[..], |kind| kind.as_bytes()) {
            b"message_start" => Fit::Drop,
            b"content_block_start" if is_first && self.open.is_some() => {
                let is_text = event.path(&["content_block", "type"]).is_some_and(|kind| kind.eq_str("text"));
                let open = self.open.take().unwrap_or_default();
                if is_text {
                    self.base = Some(open);
                    return Fit::Drop;
                }
                self.base = Some(open + 1);
                let stop = format!("{{\"type\":\"content_block_stop\",\"index\":{open}}}");
                crate::sse::write::event(before, Some("content_block_stop"), stop.as_bytes());
                self.fit_index(index)
            }
            b"content_block_start" | b"content_block_delta" | b"content_block_stop" => {
                self.base.get_or_insert(self.blocks);
                self.fit_index(index)
            }
            _ => Fit::Keep,
        }
    }

    fn fit_index(&self, index: Option<(RawValue<'_>, Range<usize>)>) -> Fit {
        match (index.and_then(|(index, at)| Some((index.as_u64()?, at))), self.base) {
            (Some((index, at)), Some(base)) if base > 0 => {
                Fit::Edit(vec![(at, index.saturating_add(base).to_string().into_bytes())])
            }
            _ => Fit::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passthrough::tap::AnyTap;
    use crate::sse::Framer;

    fn frames(stream: &str, mut take: impl FnMut(&Frame<'_>)) {
        let (mut framer, mut rest) = (Framer::default(), stream.as_bytes());
        while let Some(block) = framer.next(&mut rest).unwrap() {
            if let Some(frame) = &block.frame {
                take(frame);
            }
        }
    }

    fn streamed(format: Format, stream: &str) -> StreamedText {
        let mut streamed = StreamedText::new(format);
        frames(stream, |frame| streamed.frame(frame));
        streamed
    }

    /// What the client has of both streams.
    fn joined(format: Format, first: &str, second: &str) -> String {
        let mut continuation = streamed(format, first).continuation().unwrap();
        let (mut tap, mut out) = (AnyTap::new(format), first.as_bytes().to_vec());
        frames(second, |frame| {
            let kind = tap.frame(frame);
            let name = frame.event.map(|name| std::str::from_utf8(name).unwrap());
            match continuation.fit(frame, kind, &mut out) {
                Fit::Drop => {}
                Fit::Keep => crate::sse::write::event(&mut out, name, frame.data),
                Fit::Edit(parts) => {
                    let (mut splice, mut data) = (Splice::new(), Vec::new());
                    parts.into_iter().for_each(|(at, with)| splice.replace(at, with));
                    splice.apply(frame.data, &mut data);
                    crate::sse::write::event(&mut out, name, &data);
                }
            }
        });
        String::from_utf8(out).unwrap()
    }

    fn chunk(id: &str, delta: &str) -> String {
        format!(
            "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]}}\n\n"
        )
    }

    #[test]
    fn a_chat_stream_goes_on_under_its_id() {
        let first = [chunk("a", "\"role\":\"assistant\",\"content\":\"\""), chunk("a", "\"content\":\"Hel\"")].concat();
        let second = [
            chunk("b", "\"role\":\"assistant\",\"content\":\"\""),
            chunk("b", "\"content\":\"lo\""),
            "data: {\"id\":\"b\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
            "data: [DONE]\n\n".to_owned(),
        ];
        let expected = [first.clone(), second[1..].concat().replace("\"b\"", "\"a\"")].concat();
        assert_eq!(joined(Format::Chat, &first, &second.concat()), expected);
    }

    fn message(event: &str, data: &str) -> String {
        format!("event: {event}\ndata: {{\"type\":\"{event}\",{data}}}\n\n")
    }

    fn start(index: u64, kind: &str) -> String {
        message(
            "content_block_start",
            &format!("\"index\":{index},\"content_block\":{{\"type\":\"{kind}\",\"text\":\"\"}}"),
        )
    }

    fn text(index: u64, text: &str) -> String {
        let delta = format!("\"index\":{index},\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}");
        message("content_block_delta", &delta)
    }

    fn stop(index: u64) -> String {
        message("content_block_stop", &format!("\"index\":{index}"))
    }

    #[test]
    fn the_blocks_of_a_message_are_put_behind_the_others() {
        let begin = message("message_start", "\"message\":{\"id\":\"m1\"}");
        let end = message("message_stop", "\"x\":0");
        // An open text is gone on with, and a second block follows it.
        let first = [begin.clone(), start(0, "text"), stop(0), start(1, "text"), text(1, "Hel")].concat();
        let second =
            [begin.clone(), start(0, "text"), text(0, "lo"), stop(0), start(1, "tool_use"), stop(1), end.clone()];
        let expected = [text(1, "lo"), stop(1), start(2, "tool_use"), stop(2), end.clone()].concat();
        assert_eq!(joined(Format::Messages, &first, &second.concat()), [first.clone(), expected].concat());
        // Something else than text ends it.
        let second = [begin.clone(), start(0, "tool_use"), stop(0), end.clone()].concat();
        let ended = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n".to_owned();
        let expected = [ended, start(2, "tool_use"), stop(2), end.clone()].concat();
        assert_eq!(joined(Format::Messages, &first, &second), [first, expected].concat());
        // Behind a text that has ended comes a new one.
        let first = [begin.clone(), start(0, "text"), text(0, "Hel"), stop(0)].concat();
        let second = [begin, start(0, "text"), text(0, "lo"), stop(0), end.clone()].concat();
        let expected = [start(1, "text"), text(1, "lo"), stop(1), end].concat();
        assert_eq!(joined(Format::Messages, &first, &second), [first, expected].concat());
    }

    #[test]
    fn what_is_no_text_is_not_continued() {
        let rows = [
            (Format::Chat, chunk("a", "\"content\":\"x\""), true),
            (Format::Chat, chunk("a", "\"reasoning_content\":\"x\""), false),
            (Format::Chat, chunk("a", "\"content\":\"x\",\"tool_calls\":[{\"index\":0}]"), false),
            (Format::Chat, chunk("a", "\"content\":\"x\",\"tool_calls\":[]"), true),
            (Format::Chat, chunk("a", "\"refusal\":\"x\""), false),
            (Format::Chat, chunk("a", "\"content\":\"x\"").replace("null", "\"stop\""), false),
            (Format::Chat, chunk("a", "\"content\":\"x\"").replace("\"index\":0", "\"index\":1"), false),
            (Format::Messages, [start(0, "text"), text(0, "x")].concat(), true),
            (Format::Messages, [start(0, "thinking"), text(0, "x")].concat(), false),
            (Format::Messages, [start(0, "text"), text(0, "x"), stop(0), start(1, "tool_use")].concat(), false),
        ];
        for (format, stream, expected) in rows {
            assert_eq!(streamed(format, &stream).can_be_continued(), expected, "{stream}");
        }
        let long = text(0, &"x".repeat(MAX_TEXT + 1));
        assert!(!streamed(Format::Messages, &[start(0, "text"), long].concat()).can_be_continued());
    }

    #[test]
    fn the_request_for_the_rest() {
        let continuation = streamed(Format::Chat, &chunk("a", "\"content\":\"Hel\\n\\u00e9\"")).continuation().unwrap();
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"} ],"stream":true}"#;
        let request = |body, method| request(Format::Chat, body, continuation.text(), method);
        let prefill = request(body, ContinuationMethod::Prefill).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&prefill).unwrap();
        let said = serde_json::json!({ "role": "assistant", "content": "Hel\n\u{e9}" });
        assert_eq!((&parsed["messages"][1], parsed["messages"].as_array().unwrap().len()), (&said, 2));
        let prompt = request(body, ContinuationMethod::Prompt).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&prompt).unwrap();
        assert_eq!((&parsed["messages"][1], &parsed["messages"][2]["role"]), (&said, &serde_json::json!("user")));
        for body in [&br#"{"messages":[]}"#[..], br#"{"messages":"x"}"#, br#"{"prompt":"x"}"#] {
            assert_eq!(request(body, ContinuationMethod::Prompt), None);
        }
    }

    #[test]
    fn an_answer_in_json_is_not_continued() {
        let hi = r#"[{"role":"user","content":"hi"}]"#;
        let rows = [
            (Format::Chat, "messages", r#""response_format":{"type":"json_object"}"#, false),
            (Format::Chat, "messages", r#""response_format":{"json_schema":{},"type":"json_schema"}"#, false),
            (Format::Chat, "messages", r#""response_format":{"type":"text"}"#, true),
            (Format::Chat, "messages", r#""response_format":null"#, true),
            (Format::Messages, "messages", r#""output_format":{"type":"json_schema","schema":{}}"#, false),
            (Format::Messages, "messages", r#""output_config":{"format":{"type":"json_schema"}}"#, false),
            (Format::Messages, "messages", r#""output_config":{"effort":"low"}"#, true),
            (Format::Responses, "input", r#""text":{"format":{"type":"json_schema"}}"#, false),
            (Format::Responses, "input", r#""text":{"format":{"type":"text"},"verbosity":"low"}"#, true),
        ];
        for (format, member, form, expected) in rows {
            let body = format!(r#"{{"{member}":{hi},{form}}}"#);
            let rest = request(format, body.as_bytes(), b"Hel", ContinuationMethod::Prompt);
            assert_eq!(rest.is_some(), expected, "{body}");
        }
    }

    #[test]
    fn the_request_for_the_rest_of_a_response() {
        let said = serde_json::json!({ "role": "assistant", "content": "Hel" });
        let hi = serde_json::json!({ "role": "user", "content": "h\u{e9}" });
        for input in [r#""h\u00e9""#, r#"[{"role":"user","content":"h\u00e9"}]"#] {
            let body = format!(r#"{{"model":"m","input": {input},"stream":true}}"#);
            let rest = request(Format::Responses, body.as_bytes(), b"Hel", ContinuationMethod::Prefill).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&rest).unwrap();
            assert_eq!((&parsed["input"], &parsed["stream"]), (&serde_json::json!([hi, said]), &true.into()));
        }
        assert_eq!(request(Format::Responses, br#"{"input":7}"#, b"x", ContinuationMethod::Prompt), None);
    }
}
