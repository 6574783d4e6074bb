//! Continues a stream that passed unchanged and broke off with the stream of another provider.
//!
//! [`StreamedText`] keeps the text of the first stream, as long as text is all that it has: a call
//! of a tool or a thought can't be taken up by another model. [`request()`] makes the request for
//! the rest, and [`Continuation`] fits the events of a second stream of the Chat or the Messages
//! format to what the client has. Those of another format, and of Responses, whose last events
//! repeat the text, are translated
//! ([`Translator::continuing`](crate::translate::Translator::continuing)).

mod request;

use std::ops::Range;

use crate::format::Format;
use crate::json::{RawValue, walk};
use crate::passthrough::observation::{FrameKind, is_filled};
use crate::sse::Frame;
pub use request::{ContinuationMethod, request};

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

    /// Returns whether [`Continuation::fit`] can fit the events of a second stream of the same
    /// format.
    pub fn can_fit_events(&self) -> bool {
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

/// Returns the text of a JSON string. `None` if there is none.
fn plain(quoted: &[u8]) -> Option<String> {
    let value = (!quoted.is_empty()).then(|| RawValue::new(quoted))?;
    Some(value.as_str()?.unescape().into_owned())
}

#[cfg(test)]
mod tests;
