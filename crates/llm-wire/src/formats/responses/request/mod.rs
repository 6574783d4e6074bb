//! Requests of the Responses format: decode a client's, encode one for a provider.
//!
//! | file | what |
//! |---|---|
//! | `decode` | top-level fields, in |
//! | `content` | items and their parts, in |
//! | `decode_tools` | tools and the choice among them, in |
//! | `encode` | the order of decisions, and top-level fields, out |
//! | `conversation` | items, out |
//! | `parts` | content parts, out |
//! | `encode_tools` | tools and the choice among them, out |

mod content;
mod conversation;
mod decode;
mod decode_tools;
mod encode;
mod encode_tools;
mod form;
mod members;
mod parts;

pub(crate) use decode::decode;
pub(crate) use encode::encode;

#[cfg(test)]
mod tests;
