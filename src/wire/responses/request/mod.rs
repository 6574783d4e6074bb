//! Requests of the Responses format: decode a client's, encode one for a provider.
//!
//! | file | what |
//! |---|---|
//! | `decode` | top-level fields, in |
//! | `content` | items and their parts, in |
//! | `declared` | tools and the choice among them, in |
//! | `encode` | the order of decisions, and top-level fields, out |
//! | `conversation` | items, out |
//! | `parts` | content parts, out |
//! | `declare` | tools and the choice among them, out |

mod content;
mod conversation;
mod declare;
mod declared;
mod decode;
mod encode;
mod parts;

pub use decode::decode;
pub use encode::encode;

#[cfg(test)]
mod tests;
