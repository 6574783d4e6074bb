//! Continues a stream that passed unchanged and broke off with the stream of another provider.
//!
//! [`StreamedText`] keeps the text of the first stream, as long as text is all that it has: a call of
//! a tool or a thought can't be taken up by another model. [`request()`] makes the request for the rest,
//! and [`Continuation`] fits the events of a second stream of the Chat or the Messages format to what
//! the client has. Those of another format, and of Responses, whose last events repeat the text, are
//! translated ([`Translator::continuing`](crate::translate::Translator::continuing)).

mod request;
mod streamed_text;

use std::ops::Range;

use crate::format::Format;
use crate::json::{RawValue, walk};
use crate::passthrough::observation::FrameKind;
use crate::sse::Frame;
pub use request::{ContinuationMethod, request};
pub(crate) use streamed_text::MAX_TEXT;
pub use streamed_text::StreamedText;

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
