//! What is kept of a stream in case it breaks off.

use super::Continuation;
use crate::format::Format;
use crate::json::{RawValue, walk};
use crate::passthrough::observation::is_filled;
use crate::sse::Frame;

/// The longest text that is kept, in bytes of its JSON form.
pub(crate) const MAX_TEXT: usize = 256 << 10;

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
