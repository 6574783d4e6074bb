//! What can be observed of requests from outside: metrics, logs, traces.

mod agreement;
mod metrics;
mod quoted_keys;
