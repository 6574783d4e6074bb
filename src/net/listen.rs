//! Listening sockets: one per worker on the same port, so that the kernel distributes the connections
//! and the workers share no lock.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel queues for a busy worker.
pub const BACKLOG: i32 = 1024;

/// Opens `count` listeners on `addr`. Port 0 stands for a free port, the same for all.
///
/// `SO_REUSEPORT` lets any process of the same user share a port silently. So the port is first bound
/// without it: if another process listens there, the start fails with `AddrInUse`.
pub fn bind(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let probe = socket(addr, false)?;
    probe.bind(&addr.into())?;
    probe.listen(1)?;
    let bound = probe.local_addr()?.as_socket().unwrap_or(addr);
    drop(probe);
    (0..count.max(1)).map(|_| listener(bound)).collect()
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_even_if_its_owner_shares_it() {
        let held = bind(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let addr = held[0].local_addr().unwrap();
        assert_eq!(held[1].local_addr().unwrap(), addr);
        let error = bind(addr, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(held);
        bind(addr, 1).unwrap();
    }
}
