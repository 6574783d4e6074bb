//! One request, told in order. Start at [`request::serve`].

pub mod admin;
pub mod attempt;
pub mod auth;
pub mod body;
pub mod client;
mod clock;
pub mod conn;
pub mod core;
pub mod count;
pub mod endpoint;
pub mod guard;
pub mod headers;
pub mod listing;
pub mod local;
pub mod pin;
pub mod prepare;
pub mod relay;
mod replay;
pub mod reply;
pub mod request;
pub mod stamps;
pub mod tally;
pub mod ticket;
