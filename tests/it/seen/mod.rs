//! What is seen of requests from outside: metrics, logs, traces.

mod metrics;
mod story;
