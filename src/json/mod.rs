//! JSON as bytes; no tree on the request path.
//!
//! A body is walked where it lies: [`scan`] finds where values begin and end, [`raw`] names what was found without decoding it,
//! [`write`] appends to a `Vec<u8>`, and [`stream`] follows one document that arrives in pieces. Strings stay escaped
//! ([`RawStr`]) on their way from one format to another, so a text delta is one copy, and half a surrogate pair survives.
//!
//! Nothing here recurses: nesting is a bit in a word, and [`scan::MAX_DEPTH`] is its limit.

pub mod raw;
pub mod scan;
pub mod stream;
pub mod write;

pub use raw::{RawKind, RawStr, RawValue};
pub use scan::{Fault, ScanError};
