#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http_codec;
mod mock;
