//! Streams of the Responses format: decode a provider's, encode one for a client. Contracts:
//! [`Decode`](crate::canonical::codec::Decode) and [`Encode`](crate::canonical::codec::Encode).

mod decode;
mod deltas;
mod encode;
mod encode_reasoning;
mod encode_text;
mod fields;
mod items;
mod slot;
mod terminal;
mod whole;
mod words;
mod write;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;

#[cfg(test)]
mod tests;
