//! One binary for all tests that need more than one module, or a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod background;
mod cli;
mod corpus;
mod faults;
mod flow;
mod hostile;
mod http_codec;
mod layering;
mod mock;
mod readme;
mod relay;
mod resources;
mod shutdown;
mod store;
mod support;
