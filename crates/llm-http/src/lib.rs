//! HTTP/1.1 on the wire, without I/O: bytes in, offsets and verdicts out.
//!
//! One codec serves both sides: requests of clients ([`parse_request`]) and responses of upstreams
//! ([`next_final_response`]). A caller owns a read buffer and a write buffer; a parsed head holds
//! offsets into the read buffer, never borrows, so nothing of it hinders the next read.
//!
//! ```text
//! read buffer --> parse_request / next_final_response --> RequestHead / ResponseHead { framing, keep_alive, .. }
//!             --> BodyDecoder::new(head.framing)      --> Step::Data(range) .. Step::End
//! write::*    --> write buffer
//! ```
//!
//! What is refused is decided by one question: could another HTTP implementation on the way read
//! these bytes as another message? So bare LF, folded lines, several or odd framing fields and
//! whitespace in odd places are errors, where RFC 9112 merely allows an error.
//! `tests/it/http_codec/` lists every such difference from hyper with its reason.
//!
//! Absent on purpose: HTTP/2, trailers (dropped), transfer codings other than `chunked` (refused),
//! `CONNECT` (refused), dates.

#![warn(missing_docs, unreachable_pub)]

pub mod body;
pub mod coding;
mod connection;
pub mod field;
pub mod framing;
pub mod head;
pub mod head_cache;
pub mod request;
pub mod response;
pub mod response_cache;
#[doc(hidden)]
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod transcript;
pub mod write;

pub use body::{BodyDecoder, BodyError, Step};
pub use field::{Field, Fields, Span};
pub use framing::{Framing, forbids_body};
pub use head::{HeadScan, Limits, Method, Refusal, Version};
pub use head_cache::{HeadCache, KeptHead};
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, next_final_response, parse_response};
pub use response_cache::ResponseHeadCache;

/// The examples of the README, which are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
