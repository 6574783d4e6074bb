//! Sockets of a worker: monoio streams, plain or TLS, connection pools and deadlines. Nothing here
//! knows what a model is.

mod acked;
mod dial;
pub mod listen;
pub mod pool;
pub mod proxy_protocol;
pub mod resolve;
pub mod runtime;
pub mod stream;
pub mod timer;

/// The runtime's own items that others need. Only `net` names monoio, so that another runtime
/// could take its place here.
pub(crate) use monoio::io::Canceller;
pub(crate) use monoio::net::{TcpListener, TcpStream};
pub(crate) use monoio::spawn;
pub(crate) use monoio::time::sleep;
pub(crate) use monoio::utils::{bind_to_cpu_set, is_legacy};
