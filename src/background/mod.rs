//! The one thread that may wait: the store, and all that is not on the path of a request.

pub mod store;
