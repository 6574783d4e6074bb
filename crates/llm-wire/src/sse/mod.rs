//! Server-sent events: bytes in, frames out ([`frame`]), and back ([`mod@write`]); [`property`]
//! holds the laws of framing.

pub mod frame;
pub mod property;
pub mod write;

pub use frame::{Block, Frame, Framer, TooLong};
