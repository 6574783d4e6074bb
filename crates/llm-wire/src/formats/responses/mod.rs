//! OpenAI Responses.
//!
//! - Reference: platform.openai.com, "Responses" and its "Streaming events"; types as in the
//!   vendor's SDKs of 2026-08.
//! - Paths: `POST /v1/responses`; others (`GET`, `/cancel`, `/input_items`) need state that only
//!   the provider has.
//! - Model: top-level `model` in requests and answers; `response.model` in the lifecycle events of
//!   a stream.
//! - Stream: named events whose data repeats the name in `type`, each with a `sequence_number`.
//!   `response.created`, `response.in_progress`, for each item `response.output_item.added` ..
//!   deltas .. `response.output_item.done`, then exactly one of `response.completed`,
//!   `response.incomplete`, `response.failed`, which holds the whole response and its usage. There
//!   is no `[DONE]`.
//! - Error: `{"error":{..}}` as a body; in a stream an `error` event, flat or nested.
//!
//! Oddities that code in this folder must tolerate: hosts that leave out the event name;
//! `keepalive` events, which strict readers cannot parse; terminal events with an empty `output`;
//! `obfuscation` fields in deltas; a stray `[DONE]`.

pub(crate) mod error;
mod object;
mod output;
mod profile;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod tap;

pub(crate) use profile::PROFILE;
