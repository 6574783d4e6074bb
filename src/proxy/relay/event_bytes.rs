//! What a relay of a stream does with the bytes of one event.

use std::ops::Range;

use llm_wire::Format;
use llm_wire::error::{Error, Kind, classify, foreign};
use llm_wire::formats::errors;
use llm_wire::json::{RawValue, scan};
use llm_wire::passthrough::splice;
use llm_wire::passthrough::splice::Splice;
use llm_wire::sse;

/// Returns whether the data of an event without its blank line is complete.
pub(super) fn is_complete(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || scan::validate(data).is_ok()
}

/// Writes an event with the client's name of the model. `range` is the name's place in its data.
pub(super) fn write_renamed(
    out: &mut Vec<u8>,
    block: &sse::Block<'_>,
    frame: &sse::Frame<'_>,
    range: Range<usize>,
    model: &str,
) {
    let mut splice = Splice::new();
    // Data on one line lies in the event's own bytes, and all of those stay as they are.
    let offset = (frame.data.as_ptr() as usize).wrapping_sub(block.raw.as_ptr() as usize);
    if offset < block.raw.len() {
        splice.replace(range.start + offset..range.end + offset, splice::quoted(model));
        return splice.apply(block.raw, out);
    }
    let mut data = Vec::with_capacity(frame.data.len() + model.len());
    splice.replace(range, splice::quoted(model));
    splice.apply(frame.data, &mut data);
    let event = frame.event.and_then(|event| std::str::from_utf8(event).ok());
    sse::write::event(out, event, &data);
}

/// Returns the error that an error event of a provider reports.
pub(super) fn error_of_event(format: Format, data: &[u8]) -> Error {
    match RawValue::parse(data) {
        Ok(event) => match errors::recognize(format, event).or_else(|| foreign::any_shape(event)) {
            Some(reported) => classify::error(None, &reported),
            None => Error::upstream(Kind::UpstreamFault, "the provider sent an error event"),
        },
        Err(_) => classify::plain(data),
    }
}
