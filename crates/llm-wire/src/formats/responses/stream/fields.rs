//! The members of a Responses event.

use crate::json::{RawStr, RawValue};

/// The members that the decoder reads; absent strings are empty.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'a> {
    pub kind: Option<RawStr<'a>>,
    pub output_index: Option<u64>,
    pub item_id: RawStr<'a>,
    /// Of a call, in newer `arguments.done` events.
    pub name: RawStr<'a>,
    /// `content_index` or `summary_index`.
    pub part_index: u64,
    pub delta: RawStr<'a>,
    /// The whole text of the deltas: `text`, `refusal`, `arguments` or `input`.
    pub whole: RawStr<'a>,
    pub item: Option<RawValue<'a>>,
    pub part: Option<RawValue<'a>>,
    pub response: Option<RawValue<'a>>,
    pub annotation: Option<RawValue<'a>>,
    pub logprobs: Option<RawValue<'a>>,
}

impl<'a> Fields<'a> {
    /// Reads the members of `event`. The last of repeated members counts.
    pub(super) fn of(event: RawValue<'a>) -> Fields<'a> {
        let mut fields = Fields::default();
        for (key, value, _) in event.members() {
            let text = || value.as_str().unwrap_or_default();
            match key.as_bytes() {
                b"type" => fields.kind = value.as_str(),
                b"output_index" => fields.output_index = value.as_u64(),
                b"item_id" => fields.item_id = text(),
                b"name" => fields.name = text(),
                b"content_index" | b"summary_index" => fields.part_index = value.as_u64().unwrap_or(0),
                b"delta" => fields.delta = text(),
                b"text" | b"refusal" | b"arguments" | b"input" => fields.whole = text(),
                b"item" => fields.item = Some(value),
                b"part" => fields.part = Some(value),
                b"response" => fields.response = Some(value),
                b"annotation" => fields.annotation = Some(value),
                b"logprobs" => fields.logprobs = Some(value),
                _ => {}
            }
        }
        fields
    }
}
