//! One request, told in order. Start at [`request::serve`].

pub mod admin;
pub mod attempt;
pub mod auth;
pub mod body;
pub mod client;
pub mod conn;
pub mod core;
pub mod endpoint;
pub mod fault;
pub mod guard;
pub mod headers;
pub mod listing;
pub mod local;
pub mod prepare;
pub mod relay;
pub mod reply;
pub mod request;
pub mod ticket;
