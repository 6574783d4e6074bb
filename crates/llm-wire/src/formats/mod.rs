//! One folder for each wire format, with the same files in each.

pub(crate) mod chat;
pub(crate) mod messages;
pub mod profile;
pub(crate) mod responses;
