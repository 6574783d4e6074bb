//! Streams of the Responses format: decode a provider's, encode one for a client. Contracts: [`Decode`] and [`Encode`].

use crate::error::{Error, Kind};
use crate::sse::Frame;
use crate::wire::event::{Decode, Encode, Event, Sink};
use crate::wire::plan::Reply;
use crate::wire::quirks::Quirks;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    _quirks: Quirks,
}

impl Decoder {
    pub fn new(quirks: Quirks) -> Decoder {
        Decoder { _quirks: quirks }
    }
}

impl Decode for Decoder {
    fn frame(&mut self, _frame: Frame<'_>, _sink: Sink<'_>) -> Result<(), Error> {
        Err(Error::gateway(Kind::NotImplemented, "streams of this format cannot be read yet"))
    }

    fn end(&mut self, sink: Sink<'_>) {
        sink(Event::Fail(Error::gateway(Kind::NotImplemented, "streams of this format cannot be read yet")));
    }
}

/// Writes a client's stream. `Default`: its facts come with each call, in the [`Reply`].
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encode for Encoder {
    fn event(&mut self, _event: Event<'_>, _reply: &mut Reply, _out: &mut Vec<u8>) {}

    fn wait(&mut self, _reply: &mut Reply, _out: &mut Vec<u8>) {}
}
