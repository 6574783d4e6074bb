//! Server-sent events: bytes in, frames out, and back.
