//! One binary for all tests that need more than one module, or a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Tables of rows that hold functions read better than the names their types would need.
#![allow(clippy::type_complexity)]

mod admin;
mod background;
mod cli;
mod corpus;
mod dashboards;
mod deploy;
mod docs;
mod event_flow;
mod examples;
mod failover;
mod faults;
mod file_source;
mod fixtures;
mod hostile;
mod http_codec;
mod internals;
mod layering;
mod limits;
mod logs;
mod malformed_input;
mod matrix;
mod mock;
mod observability;
mod outbound;
mod postgres;
mod properties;
mod regressions;
mod relay;
mod resources;
mod restarts;
mod routing;
mod seeds;
mod shutdown;
mod sinks;
mod spread;
mod store;
mod support;
mod tables;
mod tls;
mod traces;
mod translate;
mod webhook;
