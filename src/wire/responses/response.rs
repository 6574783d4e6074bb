//! Whole answers of the Responses format: decode a provider's, encode one for a client.

use crate::error::{Error, Kind};
use crate::json::RawValue;
use crate::wire::answer::Answer;
use crate::wire::event::Sink;
use crate::wire::plan::Reply;
use crate::wire::quirks::Quirks;

/// Reads a provider's whole answer as the events that a stream of the same answer would have given.
///
/// - `body` is valid JSON, and no error body. Anything but an answer of this format is an `Err` of kind `UpstreamFault`.
/// - Pushes `Start`, for each item `Open`, deltas (each text as one), `Close`; then `Usage`, `Finish`, `End`. No empty deltas.
/// - Tool input that stands as an object is pushed as an escaped string body ([`args::write_quoted`](crate::wire::args::write_quoted)).
/// - An answer without a finish reason: [`Note::MissingFinish`](crate::wire::event::Note::MissingFinish) and `Reason::End`.
pub fn decode(_body: RawValue<'_>, _quirks: Quirks, _sink: Sink<'_>) -> Result<(), Error> {
    Err(Error::gateway(Kind::NotImplemented, "answers of this format cannot be read yet"))
}

/// Writes a whole answer for a client of this format.
///
/// The law: what it writes equals the fold of what `stream::Encoder` writes for the same events, but for ids and times, blank
/// text, and arguments that are no JSON object. Names, ids, finish and usage are final in `answer`; opaque state is an envelope
/// already. The id is `reply.answer_id()`, the model `reply.plan.model`, the time `reply.created`. `Err` only for a broken
/// invariant.
pub fn encode(_answer: &Answer, _reply: &mut Reply, _out: &mut Vec<u8>) -> Result<(), Error> {
    Err(Error::gateway(Kind::NotImplemented, "answers of this format cannot be written yet"))
}
