//! One request, stage by stage. Start at [`request::serve`].

pub mod admin;
pub mod affinity;
pub mod attempt;
pub mod auth;
pub mod body;
pub mod client;
mod clock;
pub mod conn;
pub mod core;
pub mod count;
pub mod endpoint;
pub mod headers;
pub mod ids;
pub mod interrupt;
pub mod listing;
pub mod local;
pub mod prepare;
mod reasoning_cache;
pub mod recorder;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod request;
pub mod request_context;
pub mod request_metrics;
pub mod throttle;
pub mod upstream;
