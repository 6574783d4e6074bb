//! The observer of a bypass stream, whatever the format.
//!
//! A tap is shown each frame of a stream that passes unchanged. It returns what moment of the
//! answer the frame is ([`FrameKind`]) and keeps what the gateway must know at the end
//! ([`Observed`]). It never alters, delays or refuses anything: a frame that it cannot read is
//! counted and passes.

use std::borrow::Cow;
use std::ops::Range;

use crate::canonical::usage::{NumberNames, Usage};
use crate::format::Format;
use crate::formats::{chat, messages, responses};
use crate::json::{RawStr, RawValue, walk};
use crate::passthrough::observation::Stage;
pub use crate::passthrough::observation::{Effect, FrameKind, Observed};
use crate::sse::Frame;

/// A tap of any format.
#[derive(Debug)]
pub enum AnyTap {
    /// The tap of the Chat format.
    Chat(Box<chat::tap::Tap>),
    /// The tap of the Messages format.
    Messages(messages::tap::Tap),
    /// The tap of the Responses format.
    Responses(responses::tap::Tap),
}

impl AnyTap {
    /// Makes the tap of one stream.
    pub fn new(format: Format) -> AnyTap {
        match format {
            Format::Chat => AnyTap::Chat(Box::default()),
            Format::Messages => AnyTap::Messages(messages::tap::Tap::default()),
            Format::Responses => AnyTap::Responses(responses::tap::Tap::default()),
        }
    }

    /// Reads one frame and returns what it means for the relay. It never fails: a frame that cannot
    /// be read leaves the observation as it was.
    pub fn frame(&mut self, frame: &Frame<'_>) -> FrameKind {
        match self {
            AnyTap::Chat(tap) => tap.frame(frame),
            AnyTap::Messages(tap) => tap.frame(frame),
            AnyTap::Responses(tap) => tap.frame(frame),
        }
    }

    /// Whether the last frame was called content by its structure alone, as content was flowing
    /// already. Nothing that the tap keeps came from it, and a frame of the same structure is the
    /// same to the tap.
    pub fn passed_unread(&self) -> bool {
        match self {
            AnyTap::Chat(tap) => tap.passed_unread(),
            AnyTap::Messages(tap) => tap.passed_unread(),
            AnyTap::Responses(tap) => tap.passed_unread(),
        }
    }

    /// Returns what the last frame did, if its structure alone decided that.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            AnyTap::Chat(tap) => tap.effect,
            AnyTap::Messages(tap) => tap.effect,
            AnyTap::Responses(tap) => tap.effect,
        }
    }

    /// Returns where the data of the last frame holds the usage that was read. `None` if it had
    /// none, and where it can't be read by itself.
    pub fn usage_at(&self) -> Option<Range<usize>> {
        match self {
            AnyTap::Chat(tap) => tap.usage_at.clone(),
            AnyTap::Messages(tap) => tap.usage_at.clone(),
            AnyTap::Responses(tap) => tap.usage_at.clone(),
        }
    }

    /// Does what a frame of that effect does, which has this usage.
    pub fn repeat(&mut self, effect: Effect, usage: Option<RawValue<'_>>) {
        match (&mut *self, usage) {
            (_, None) => {}
            (AnyTap::Chat(tap), Some(usage)) => tap.count(usage),
            (AnyTap::Messages(tap), Some(usage)) => tap.count(usage),
            (AnyTap::Responses(tap), Some(usage)) => tap.count(usage),
        }
        let (stage, seen) = match self {
            AnyTap::Chat(tap) => (&mut tap.stage, &mut tap.seen),
            AnyTap::Messages(tap) => (&mut tap.stage, &mut tap.seen),
            AnyTap::Responses(tap) => (&mut tap.stage, &mut tap.seen),
        };
        match effect.kind {
            FrameKind::Content => *stage = Stage::Flowing,
            FrameKind::Finish => {
                seen.reason = effect.reason.or(seen.reason);
                seen.finish();
            }
            FrameKind::End => {
                // One event of the Responses format is both: the reason and the end mark.
                seen.reason = effect.reason.or(seen.reason);
                seen.finished |= effect.reason.is_some();
                seen.end();
            }
            _ => {}
        }
    }

    /// Returns what was observed so far.
    pub fn seen(&self) -> &Observed {
        match self {
            AnyTap::Chat(tap) => tap.seen(),
            AnyTap::Messages(tap) => tap.seen(),
            AnyTap::Responses(tap) => tap.seen(),
        }
    }
}

/// Reads the `usage` object of an answer in `format`.
pub fn usage(format: Format, raw: RawValue<'_>) -> Usage {
    match format {
        Format::Chat => chat::tap::usage(raw),
        Format::Messages => messages::tap::usage(raw),
        Format::Responses => responses::tap::usage(raw),
    }
}

/// Returns the names in a usage object whose numbers alone make the usage, of formats where that is
/// so.
pub(crate) fn number_names(format: Format, raw: RawValue<'_>) -> Option<NumberNames> {
    match format {
        Format::Chat | Format::Responses => NumberNames::of(raw),
        Format::Messages => None,
    }
}

/// Where the data of an event names the model, quotes included. `None` in events that do not, which
/// are most.
pub fn model_range(format: Format, data: &[u8]) -> Option<Range<usize>> {
    match format {
        Format::Chat => chat::tap::model_range(data),
        Format::Messages => messages::tap::model_range(data),
        Format::Responses => responses::tap::model_range(data),
    }
}

/// The model that the data of an event names.
pub fn model(format: Format, data: &[u8]) -> Option<Cow<'_, str>> {
    let quoted = data.get(model_range(format, data)?)?;
    Some(RawStr::new(quoted.get(1..quoted.len() - 1)?).unescape())
}

/// The id of the response that an event of the Responses format is about. `None` in events that do
/// not have the response in them.
pub fn response_id(data: &[u8]) -> Option<RawStr<'_>> {
    let (_, response, _) = walk::members(data).find(|(key, ..)| key.eq_str("response"))?;
    response.find("id")?.as_str()
}

/// The id of a whole response of the Responses format.
pub fn body_response_id(body: &[u8]) -> Option<RawStr<'_>> {
    let (_, id, _) = walk::members(body).find(|(key, ..)| key.eq_str("id"))?;
    id.as_str()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sse::Framer;

    /// Shows a whole stream to a fresh tap.
    pub(crate) fn show(format: Format, stream: &str) -> (Vec<FrameKind>, Observed) {
        let (mut framer, mut tap, mut rest) = (Framer::default(), AnyTap::new(format), stream.as_bytes());
        let mut moments = Vec::new();
        while let Some(block) = framer.next(&mut rest).unwrap() {
            moments.extend(block.frame.map(|frame| tap.frame(&frame)));
        }
        moments.extend(framer.finish().and_then(|block| block.frame).map(|frame| tap.frame(&frame)));
        (moments, tap.seen().clone())
    }

    #[test]
    fn noise_is_counted_and_passes() {
        for format in Format::ALL {
            for data in ["", "{", "nonsense", "[DONE", "{\"type\":7}", "\u{fffd}", "[]", "[[[", "{\"choices\":{}}"] {
                let (moments, seen) = show(format, &format!("event: message\ndata: {data}\n\n"));
                assert!(
                    moments == [FrameKind::Other] || data.starts_with("{\"choices"),
                    "{format} {data}: {moments:?}"
                );
                assert!(seen.parse_errors <= 1 && !seen.finished && !seen.ended && !seen.failed, "{format} {data}");
            }
        }
    }
}
