//! Whole answers of the Responses format: decode a provider's, encode one for a client.

use crate::canonical::codec::Sink;
use crate::error::{Error, Kind};
use crate::formats::responses::object;
use crate::formats::responses::object::{Facts, Stage};
use crate::formats::responses::output;
use crate::formats::responses::stream::Decoder;
use crate::json::{RawKind, RawValue, write};
use crate::response::whole::{Answer, AnswerItem};
use crate::target::plan::Reply;
use crate::target::quirks::Quirks;

/// Reads a provider's whole answer as the events that a stream of the same answer would have given.
///
/// `body` is valid JSON, and no error body. Anything but an answer of this format is an `Err` of
/// kind `UpstreamFault`. An answer without a status ends with
/// [`Note::MissingFinish`](crate::canonical::event::Note::MissingFinish) and the neutral reason.
pub(crate) fn decode(body: RawValue<'_>, quirks: Quirks, sink: Sink<'_>) -> Result<(), Error> {
    if body.find("output").is_none_or(|output| output.kind() != RawKind::Array) {
        let note = "the upstream's answer is not one of the Responses format: it has no `output`";
        return Err(Error::upstream(Kind::UpstreamFault, note));
    }
    Decoder::new(quirks).response(body, sink);
    Ok(())
}

/// Writes a whole answer for a client of this format.
///
/// Invariant: what it writes equals the `response` of the terminal event that
/// [`Encoder`](crate::formats::responses::stream::Encoder) writes for the same events, but for ids
/// and times. Names, ids, finish and usage are final in `answer`; opaque state is an envelope
/// already. The id is `reply.answer_id()`, the model `reply.plan.model`, the time `reply.created`.
/// Never `Err`.
pub(crate) fn encode(answer: &Answer, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Error> {
    let ended = answer.ended();
    let explained = output::explanation(answer, &ended);
    let items = answer.items.iter().chain(&explained);
    let mut shown: Vec<(Vec<&AnswerItem>, usize, String)> = Vec::new();
    for (item, nth) in items.flat_map(|item| (0..output::count(item)).map(move |nth| (item, nth))) {
        match shown.last_mut() {
            Some((parts, ..)) if parts.last().is_some_and(|last| output::go_together(last, item)) => parts.push(item),
            _ => shown.push((vec![item], nth, output::id(&item.kind, reply))),
        }
    }
    let tier = answer.tier.as_ref().map(|tier| tier.unescape());
    let facts =
        Facts { stage: Stage::Ended(&ended), usage: Some(answer.usage.unwrap_or_default()), tier: tier.as_deref() };
    write::object(out, |o| {
        object::write(o, &facts, reply, |a| {
            for (parts, nth, id) in &shown {
                a.object(|o| output::done(o, &|n| parts.get(n).copied(), *nth, id));
            }
        });
    });
    Ok(())
}
