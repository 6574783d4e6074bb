//! The decoder and the encoder of any format: one `match` for each method, which the compiler keeps
//! complete.

use crate::canonical::codec::{Decode, Encode, Sink};
use crate::canonical::event::Event;
use crate::error::Error;
use crate::format::Format;
use crate::formats::{chat, messages, responses};
use crate::json::RawStr;
use crate::sse::Frame;
use crate::target::plan::Reply;
use crate::target::quirks::Quirks;

/// The decoder of a provider's stream.
pub enum AnyDecoder {
    /// The decoder of Chat streams.
    Chat(chat::stream::Decoder),
    /// The decoder of Messages streams.
    Messages(messages::stream::Decoder),
    /// The decoder of Responses streams.
    Responses(responses::stream::Decoder),
}

impl AnyDecoder {
    /// Makes the decoder of one attempt. `quirks` are those of the provider.
    pub fn new(format: Format, quirks: Quirks) -> AnyDecoder {
        match format {
            Format::Chat => AnyDecoder::Chat(chat::stream::Decoder::new(quirks)),
            Format::Messages => AnyDecoder::Messages(messages::stream::Decoder::new(quirks)),
            Format::Responses => AnyDecoder::Responses(responses::stream::Decoder::new(quirks)),
        }
    }
}

impl Decode for AnyDecoder {
    fn frame(&mut self, frame: Frame<'_>, sink: Sink<'_>) -> Result<(), Error> {
        match self {
            AnyDecoder::Chat(decoder) => decoder.frame(frame, sink),
            AnyDecoder::Messages(decoder) => decoder.frame(frame, sink),
            AnyDecoder::Responses(decoder) => decoder.frame(frame, sink),
        }
    }

    fn holds_finish(&self) -> bool {
        match self {
            AnyDecoder::Chat(decoder) => decoder.holds_finish(),
            AnyDecoder::Messages(decoder) => decoder.holds_finish(),
            AnyDecoder::Responses(decoder) => decoder.holds_finish(),
        }
    }

    fn flush_finish(&mut self, sink: Sink<'_>) {
        match self {
            AnyDecoder::Chat(decoder) => decoder.flush_finish(sink),
            AnyDecoder::Messages(decoder) => decoder.flush_finish(sink),
            AnyDecoder::Responses(decoder) => decoder.flush_finish(sink),
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        match self {
            AnyDecoder::Chat(decoder) => decoder.end(sink),
            AnyDecoder::Messages(decoder) => decoder.end(sink),
            AnyDecoder::Responses(decoder) => decoder.end(sink),
        }
    }
}

/// The encoder of a client's stream.
pub(crate) enum AnyEncoder {
    Chat(chat::stream::Encoder),
    Messages(messages::stream::Encoder),
    Responses(responses::stream::Encoder),
}

impl AnyEncoder {
    /// Goes on with what another has written: `number` is that of the next event, and `item` the id
    /// of the message in it, where the format has them.
    pub(crate) fn follow(&mut self, number: u64, item: Option<String>) {
        if let AnyEncoder::Responses(encoder) = self {
            encoder.follow(number, item);
        }
    }

    /// Makes an encoder for a client of this format.
    pub(crate) fn new(format: Format) -> AnyEncoder {
        match format {
            Format::Chat => AnyEncoder::Chat(chat::stream::Encoder::default()),
            Format::Messages => AnyEncoder::Messages(messages::stream::Encoder::default()),
            Format::Responses => AnyEncoder::Responses(responses::stream::Encoder::default()),
        }
    }

    /// Writes a delta of text that is ASCII without escapes: what [`Encode::event`] does with it.
    /// Returns a failure that this is.
    #[inline]
    pub(crate) fn plain_text(
        &mut self,
        ix: u32,
        raw: RawStr<'_>,
        reply: &mut Reply,
        out: &mut Vec<u8>,
    ) -> Option<Error> {
        match self {
            AnyEncoder::Chat(encoder) => {
                encoder.plain_text(raw, reply, out);
                return None;
            }
            AnyEncoder::Messages(encoder) => encoder.event(Event::Text { ix, raw }, reply, out),
            AnyEncoder::Responses(encoder) => encoder.event(Event::Text { ix, raw }, reply, out),
        }
        self.take_failure()
    }
}

impl Encode for AnyEncoder {
    fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        match self {
            AnyEncoder::Chat(encoder) => encoder.event(event, reply, out),
            AnyEncoder::Messages(encoder) => encoder.event(event, reply, out),
            AnyEncoder::Responses(encoder) => encoder.event(event, reply, out),
        }
    }

    fn wait(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        match self {
            AnyEncoder::Chat(encoder) => encoder.wait(reply, out),
            AnyEncoder::Messages(encoder) => encoder.wait(reply, out),
            AnyEncoder::Responses(encoder) => encoder.wait(reply, out),
        }
    }

    fn take_failure(&mut self) -> Option<Error> {
        match self {
            AnyEncoder::Chat(encoder) => encoder.take_failure(),
            AnyEncoder::Messages(encoder) => encoder.take_failure(),
            AnyEncoder::Responses(encoder) => encoder.take_failure(),
        }
    }
}
