//! A stream that is taken up by another provider after it broke off (`RESCUE_STREAMS`): what the first
//! relay keeps for that, and how the second fits its events to what the client has.

use super::super::endpoint::Operation;
use super::super::request_context::RequestContext;
use crate::config::rescue::Rescue as Setting;
use llm_wire::passthrough::continuation::{Continuation, Fit, StreamedText};
use llm_wire::passthrough::splice::Splice;
use llm_wire::passthrough::tap::FrameKind;
use llm_wire::sse::{self, Frame};

/// The part of one relay in it.
pub(super) enum Rescue {
    /// It is switched off, the stream can't be continued, or was continued before.
    Off,
    /// The stream may break off yet.
    Recording(Box<StreamedText>),
    /// The stream goes on where another one broke off.
    Continuing(Box<Continuation>),
}

impl Rescue {
    /// Begins with a stream of the client's own format.
    pub(super) fn begin(req: &mut RequestContext<'_>) -> Rescue {
        if let Some(continuation) = &req.continuation {
            return Rescue::Continuing(continuation.clone());
        }
        let is_chat = matches!(req.route.upstream, "/chat/completions" | "/messages");
        match req.rescue {
            Setting::Off => Rescue::Off,
            Setting::By(_) if !is_chat || req.route.operation != Operation::Generate => Rescue::Off,
            Setting::By(_) => {
                StreamedText::new(req.route.format).map_or(Rescue::Off, |streamed| Rescue::Recording(streamed.into()))
            }
        }
    }

    /// Writes a comment that says where the second provider begins, and who it is.
    pub(super) fn announce(&self, out: &mut Vec<u8>, provider: Option<&str>) {
        if let Rescue::Continuing(_) = self {
            let by = provider.map_or_else(String::new, |provider| format!(" by provider {provider}"));
            sse::write::comment(out, &format!("llm-proxy: the stream broke off and is continued{by}"));
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Rescue::Off)
    }

    /// Returns whether another provider could go on if the stream broke off now.
    pub(super) fn can_go_on(&self) -> bool {
        matches!(self, Rescue::Recording(streamed) if streamed.can_be_continued())
    }

    /// Returns what another provider needs to go on.
    pub(super) fn continuation(&self) -> Option<Box<Continuation>> {
        match self {
            Rescue::Recording(streamed) => streamed.continuation().map(Box::new),
            Rescue::Off | Rescue::Continuing(_) => None,
        }
    }

    /// Takes an event in. Returns how it must be edited; `None` if it is not for the client. Events that
    /// go before it are appended to `out`.
    pub(super) fn note(&mut self, frame: &Frame<'_>, kind: FrameKind, out: &mut Vec<u8>) -> Option<Option<Splice>> {
        match self {
            Rescue::Off => Some(None),
            Rescue::Recording(streamed) => {
                streamed.frame(frame);
                Some(None)
            }
            Rescue::Continuing(continuation) => match continuation.fit(frame, kind, out) {
                Fit::Drop => None,
                Fit::Keep => Some(None),
                Fit::Edit(parts) => {
                    let mut splice = Splice::new();
                    parts.into_iter().for_each(|(at, with)| splice.replace(at, with));
                    Some(Some(splice))
                }
            },
        }
    }
}

/// Writes an event with its data edited.
pub(super) fn write_edited(out: &mut Vec<u8>, frame: &Frame<'_>, splice: &Splice) {
    let mut data = Vec::with_capacity(splice.len_after(frame.data.len()));
    splice.apply(frame.data, &mut data);
    let event = frame.event.and_then(|event| std::str::from_utf8(event).ok());
    sse::write::event(out, event, &data);
}
