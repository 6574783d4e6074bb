//! Server-sent events: bytes in, frames out ([`frame`]), and back ([`write`]).

pub mod frame;
pub mod write;

pub use frame::{Block, Frame, Framer, TooLong};
