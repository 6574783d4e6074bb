//! The two traits of a format's code for streams: [`Decode`] reads a provider's stream as events,
//! [`Encode`] writes a client's from them.

use crate::canonical::event::Event;
use crate::error::Error;
use crate::sse::Frame;
use crate::target::plan::Reply;

/// Where a decoder pushes its events.
pub type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// Reads the stream of one provider. Made for each attempt; owns its state.
pub trait Decode {
    /// Takes one frame and pushes zero to many events.
    ///
    /// An error event of the provider is pushed as [`Event::Fail`]: `<format>::error::read`
    /// recognises it, [`classify::error`](crate::error::classify::error) classifies it. `Err` is
    /// for frames that are no valid JSON of the format: the caller treats it as `Fail`. After
    /// `Fail` or `End` the decoder is not called again. `[DONE]` ends Chat and is ignored by the
    /// others. Data is checked for UTF-8 and JSON here, once (`Tape::read`).
    fn frame(&mut self, frame: Frame<'_>, sink: Sink<'_>) -> Result<(), Error>;

    /// Returns whether the provider has sent its finish reason, and the reason is held back because
    /// content may still follow: some hosts end each tool call, or each chunk, with a reason.
    fn holds_finish(&self) -> bool {
        false
    }

    /// Nothing has come for some time behind the reason that is held: pushes it, with the `Close`
    /// of what is open. Content behind it is a fault of the provider from now on. The clock is the
    /// caller's.
    fn flush_finish(&mut self, _sink: Sink<'_>) {}

    /// The bytes have ended. Pushes what is still owed (`Close`, `Finish`, `End`) if this is a
    /// clean end of the format, and `Fail` of kind `UpstreamTruncated` if it is not.
    fn end(&mut self, sink: Sink<'_>);
}

/// Writes the stream of one client. Total: whatever events come, in the order promised above and
/// cut off anywhere, the output is a valid stream of the format.
pub trait Encode {
    /// Takes one event and appends what it makes of it.
    ///
    /// Nothing is written for `Start`, `Tier` and `Usage`: until the first event for which
    /// [`Event::is_content`] holds, the answer can still become an error with a status of its own.
    /// The head of the stream is written with that event, or by `wait`. After `Fail` or `End` the
    /// encoder is not called again.
    fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>);

    /// The client has waited for long. Appends what keeps the connection alive: the first time, if
    /// nothing was written yet, what the format allows before content
    /// (`docs/internals/translation/streams.md`, "Keep-alive"); later a ping or a comment.
    fn wait(&mut self, reply: &mut Reply, out: &mut Vec<u8>);

    /// Returns, once, why the encoder itself ended the answer: the provider's events cannot
    /// be expressed in this format, or there are too many of them. The stream has its error by
    /// then.
    fn take_failure(&mut self) -> Option<Error> {
        None
    }
}
