//! A stream that is taken up by another provider after it broke off (`RESCUE_STREAMS`): what the
//! first relay keeps for that, and how the second fits its events to what the client has. A
//! translator does both by itself, and the relay of a translation only asks it for that.

use super::super::endpoint::Operation;
use super::super::request_context::RequestContext;
use super::super::stream_rest::StreamRest;
use crate::config::rescue::Rescue as Setting;
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::continuation::{Continuation, Fit, StreamedText};
use llm_wire::passthrough::splice::Splice;
use llm_wire::passthrough::tap::FrameKind;
use llm_wire::sse::{self, Frame};
use llm_wire::target::plan::Reply;
use llm_wire::translate::Translator;

/// What one relay does for a stream that another provider may continue.
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
        if let Some(continuation) = req.rest.as_ref().and_then(StreamRest::fitting) {
            return Rescue::Continuing(continuation.clone().into());
        }
        match may_begin(req) {
            true => Rescue::Recording(StreamedText::new(req.route.format).into()),
            false => Rescue::Off,
        }
    }

    /// Writes a comment that says where the second provider begins, and who it is.
    pub(super) fn announce(&self, req: &RequestContext<'_>, out: &mut Vec<u8>, provider: &str) {
        if let Rescue::Continuing(_) = self {
            announce(req, out, provider);
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
    pub(super) fn rest(&self) -> Option<StreamRest> {
        match self {
            Rescue::Recording(streamed) => streamed.continuation().map(|of| StreamRest::Passed(of.into())),
            Rescue::Off | Rescue::Continuing(_) => None,
        }
    }

    /// Takes an event in. Returns how it must be edited; `None` if it is not for the client. Events
    /// that go before it are appended to `out`.
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

/// Returns whether the stream of a request may be continued if it breaks off.
fn may_begin(req: &RequestContext<'_>) -> bool {
    let is_conversation = matches!(req.route.upstream, "/chat/completions" | "/messages" | "/responses");
    req.rescue != Setting::Off && is_conversation && req.route.operation == Operation::Generate
}

/// Says where the second provider begins, and who it is.
fn announce(req: &RequestContext<'_>, out: &mut Vec<u8>, provider: &str) {
    let by = match req.core.boot().show_provider_headers {
        true => format!(" by provider {provider}"),
        false => String::new(),
    };
    sse::write::comment(out, &format!("llm-proxy: the stream broke off and is continued{by}"));
}

/// Makes the translator of a response, which goes on with what the client has if that broke off.
/// Then `out` gets a comment that says so.
pub(super) fn translator(
    req: &mut RequestContext<'_>,
    reply: Reply,
    out: Option<&mut Vec<u8>>,
    provider: &str,
) -> Result<Translator, Error> {
    let Some((rest, out)) = req.rest.take().zip(out) else {
        let mut translator = Translator::new(reply);
        if may_begin(req) {
            translator.allow_rescue();
        }
        return Ok(translator);
    };
    let plan = reply.plan.clone();
    let translator = match rest {
        StreamRest::Translated(translator) => Some(*translator),
        StreamRest::Passed(passed) => Translator::continuing(reply, &passed),
    };
    let note = "what the client has of the stream can't be continued in a translation";
    let mut translator = translator.ok_or_else(|| Error::gateway(Kind::UpstreamTruncated, note))?;
    announce(req, out, provider);
    translator.resume(plan, out);
    Ok(translator)
}

/// Writes an event with its data edited.
pub(super) fn write_edited(out: &mut Vec<u8>, frame: &Frame<'_>, splice: &Splice) {
    let mut data = Vec::with_capacity(splice.len_after(frame.data.len()));
    splice.apply(frame.data, &mut data);
    let event = frame.event.and_then(|event| std::str::from_utf8(event).ok());
    sse::write::event(out, event, &data);
}
