//! Sockets of a worker: monoio streams, plain or TLS, connection pools and deadlines. Nothing here
//! knows what a model is.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;

mod acceptor;
mod acked;
pub mod buffers;
mod dial;
pub mod fd_channel;
pub mod handoff;
pub mod inherited;
pub mod listen;
mod monotonic;
pub mod pool;
pub mod proxy_protocol;
mod receive;
pub mod resolve;
pub mod runtime;
mod send;
pub mod stream;
pub mod timer;

pub(crate) use acceptor::Acceptor;

/// The runtime's own items that others need. Only `net` names monoio, so that another runtime
/// could take its place here.
pub(crate) use monoio::io::{CancelHandle, Canceller};
pub(crate) use monoio::net::TcpStream;
pub(crate) use monoio::spawn;
pub(crate) use monoio::time::sleep;
pub(crate) use monoio::utils::{bind_to_cpu_set, is_legacy};

/// Waits until the peer of a blocking socket closes it. What it sends is ignored.
pub(crate) async fn closed(socket: StdUnixStream) -> io::Result<()> {
    socket.set_nonblocking(is_legacy())?;
    let mut socket = UnixStream::from_std(socket)?;
    let mut buf = vec![0; 16];
    loop {
        let (read, same) = socket.read(buf).await;
        if read? == 0 {
            return Ok(());
        }
        buf = same;
    }
}
