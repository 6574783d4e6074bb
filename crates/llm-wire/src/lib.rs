//! Wire formats of LLM providers as pure code over bytes: OpenAI Chat Completions, Anthropic
//! Messages and OpenAI Responses, and the translation between them.
//!
//! There is no I/O in this crate, no clock, no randomness, no configuration and no log. What comes
//! from outside is handed in by [`target::plan`].
//!
//! [`Format`] is the only list of formats. Each format is one folder of [`formats`] with the same
//! files. A vendor that speaks a known format is a row of configuration, not code.
//!
//! Where client and provider speak the same format, bytes pass through and [`passthrough`] observes
//! them. Where they differ, [`translate`] decodes into the [`canonical`] model and encodes from it.
//!
//! | step | modules |
//! |---|---|
//! | bytes | [`json`], [`sse`] |
//! | what a request or an answer contains, whatever its format | [`canonical`] |
//! | what the provider can take | [`target`] |
//! | how a request is fitted to the provider | [`request`], [`reasoning`] |
//! | how an answer is fitted to the client | `response` |
//! | how each format is read and written | [`formats`] |
//! | errors: kinds, shapes of each format, classification of what providers send | [`error`] |

#![warn(missing_docs, unreachable_pub)]

pub mod canonical;
pub mod error;
mod format;
pub mod formats;
pub mod json;
pub mod passthrough;
pub mod reasoning;
pub mod request;
pub(crate) mod response;
pub mod sse;
pub mod target;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod testing;
pub mod translate;

pub use format::Format;

/// The examples of the README, which are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
