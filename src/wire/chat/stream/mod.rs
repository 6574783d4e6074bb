//! Streams of the Chat Completions format: decode a provider's, encode one for a client. Contracts:
//! [`Decode`](crate::wire::event::Decode) and [`Encode`](crate::wire::event::Encode).

mod calls;
pub(super) mod decode;
pub(super) mod encode;
pub(super) mod message;
#[cfg(test)]
mod tests;
mod think;

pub use decode::Decoder;
pub use encode::Encoder;
