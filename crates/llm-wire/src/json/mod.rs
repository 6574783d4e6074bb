//! JSON as bytes; no tree on the request path.
//!
//! A body is walked where it lies: [`scan`] finds where values begin and end, [`walk`] goes over
//! members and elements, `raw` names what was found without decoding it, `tape` notes in one pass
//! what is where, for whoever reads more than a few members, [`mod@write`] appends to a `Vec<u8>`,
//! and [`stream`] follows one document that arrives in pieces. Strings stay escaped ([`RawStr`]) on
//! their way from one format to another, so a text delta is one copy, and half a surrogate pair
//! survives. `property` holds the properties of all this, for tests and fuzz targets.
//!
//! Nothing here recurses: nesting is a bit in a word, and 128 levels are its limit.

mod blocks;
mod capture;
mod fault;
mod nest;
mod node;
pub mod preamble;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod property;
pub(crate) mod raw;
#[cfg(test)]
mod sample;
pub mod scan;
pub mod stream;
pub(crate) mod tape;
pub(crate) mod template;
pub mod vectors;
pub mod walk;
pub mod write;

pub use fault::{Fault, ScanError};
pub use raw::{RawKind, RawStr, RawValue};
pub use tape::Tape;
