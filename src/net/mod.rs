//! Sockets of a worker: monoio streams, plain or TLS, HTTP/1.1, connection pools and deadlines.
//! Nothing here knows what a model is.

pub mod listen;
pub mod pool;
pub mod resolve;
pub mod runtime;
pub mod stream;
pub mod timer;
