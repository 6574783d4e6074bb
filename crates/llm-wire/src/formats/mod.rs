//! One folder for each wire format, with the same files in each.

pub mod chat;
pub mod messages;
pub mod responses;
