//! Streams of the Chat Completions format: decode a provider's, encode one for a client. Contracts:
//! [`Decode`](crate::canonical::codec::Decode) and [`Encode`](crate::canonical::codec::Encode).

mod calls;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod message;
#[cfg(test)]
mod tests;
mod think;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
