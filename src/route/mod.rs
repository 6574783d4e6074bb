//! Which provider serves a request. Pure decisions over the snapshot: no sockets, no bytes of a
//! body.

pub mod affinity;
pub mod explain;
pub mod pick;
pub mod rank;
pub mod selector;
pub mod target_format;
mod virtual_model;
