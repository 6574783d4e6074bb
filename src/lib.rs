//! llm-proxy: a gateway between applications and LLM providers.
//!
//! The modules, in layer order; a module imports only from layers above its own line. `tests/it/layering.rs` keeps it so.
//!
//! | layer | modules |
//! |---|---|
//! | 0 | [`error`], [`json`], [`limit`] |
//! | 1 | [`sse`]; [`tls`] (settings for connections of both sides) |
//! | 2 | [`wire`] (formats, pure); [`config`], [`metrics`], [`record`]; [`tokens`] (a guess, and exact counts); [`control`] (what threads share) |
//! | 3 | [`route`] (which provider) |
//! | 4 | [`net`] (sockets, TLS, HTTP/1.1) |
//! | 5 | [`proxy`] (one request, told in order) |
//! | 6 | [`worker`] (a core), [`mock`] (an upstream to try things on), [`background`] (the one thread that may wait) |
//! | 7 | [`cli`] |

pub mod background;
pub mod cli;
pub mod config;
pub mod control;
pub mod error;
pub mod json;
pub mod limit;
pub mod metrics;
pub mod mock;
pub mod net;
pub mod proxy;
pub mod record;
pub mod route;
pub mod sse;
pub mod tls;
pub mod tokens;
pub mod wire;
pub mod worker;
