//! Server-sent events: bytes in, frames out (`frame`), and back ([`mod@write`]); `property`
//! holds the properties of framing.

pub(crate) mod frame;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod property;
pub mod write;

pub use frame::{Block, Frame, Framer, TooLong};
