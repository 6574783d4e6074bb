//! HTTP calls of the control plane itself.

pub mod client;
pub mod provider;
