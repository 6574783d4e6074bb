//! llm-proxy: a gateway between applications and LLM providers.
//!
//! The modules, in layer order; a module imports only from layers above its own line, which
//! `tests/it/layering.rs` checks. What needs no I/O stands in crates of its own: `llm_wire`
//! (formats and their translation), `llm_http` (the HTTP/1.1 codec).
//!
//! | layer | modules |
//! |---|---|
//! | 0 | [`breaker`] (what is remembered of providers); [`limit`]; [`rfc3339`] (times as text); [`telemetry`]; [`tls`] (settings for connections of both sides) |
//! | 1 | [`config`], [`metrics`]; [`tokens`] (an estimate, and exact counts); [`shared`] (what threads share) |
//! | 2 | [`route`] (which provider) |
//! | 3 | [`net`] (sockets, TLS, connection pools) |
//! | 4 | [`proxy`] (one request, stage by stage) |
//! | 5 | [`worker`] (a core), [`control_plane`] (the one thread that may wait) |
//! | 6 | [`cli`] |

#![warn(unreachable_pub)]

// Nothing below asks for the system again.
#[cfg(not(target_os = "linux"))]
compile_error!("llm-proxy runs on Linux alone: it uses that kernel's system calls");

pub mod breaker;
pub mod cli;
pub mod config;
pub mod control_plane;
pub mod limit;
pub mod metrics;
pub mod net;
pub mod proxy;
pub mod rfc3339;
pub mod route;
pub mod shared;
pub mod telemetry;
pub mod tls;
pub mod tokens;
pub mod worker;
