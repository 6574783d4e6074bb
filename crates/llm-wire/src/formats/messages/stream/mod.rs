//! Streams of the Messages format: decode a provider's, encode one for a client. Contracts:
//! [`Decode`](crate::canonical::codec::Decode) and [`Encode`](crate::canonical::codec::Encode).

mod blocks;
mod decode;
mod encode;
mod head;
mod write;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;

pub(super) use write::caller as write_caller;

#[cfg(test)]
mod tests;
