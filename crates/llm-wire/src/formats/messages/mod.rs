//! Anthropic Messages, also on Bedrock and Vertex behind other transports.
//!
//! - Reference: platform.claude.com, "Messages" and "Streaming messages" (read 2026-09).
//! - Paths: `POST /v1/messages`, `POST /v1/messages/count_tokens`.
//! - Model: top-level `model` in requests and answers; in a stream only in
//!   `message_start.message.model`.
//! - Stream: named events whose data repeats the name in `type`; the vendor's SDKs dispatch on the
//!   name. `message_start`, for each block `content_block_start`, `content_block_delta`*,
//!   `content_block_stop`, then one `message_delta` (stop reason and cumulative usage) and
//!   `message_stop`. `ping` may come anywhere, also first.
//! - Error: `{"type":"error","error":{"type","message"},"request_id"}`; in a stream as event
//!   `error` under status 200.
//!
//! Oddities that code in this folder must tolerate: hosts that leave out the event name; a stray
//! `[DONE]`; `message_start` with `input_tokens` 0 and the true number in `message_delta`; usage
//! fields that are null; content in a block's start event; ends without `message_stop`;
//! `amazon-bedrock-invocationMetrics` on Bedrock's last event.

pub(crate) mod error;
mod profile;
mod reason;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod usage;

pub(crate) use profile::PROFILE;
