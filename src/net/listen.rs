//! Listening sockets: one per worker on the same port, so that the kernel distributes the
//! connections and the workers share no lock.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel queues for a busy worker.
pub const BACKLOG: i32 = 1024;

/// Opens `count` listeners on `addr`. Port 0 stands for a free port, the same for all.
///
/// `SO_REUSEPORT` lets any process of the same user share a port silently. So the port is first
/// bound without it: if another process listens there, the start fails with `AddrInUse`.
pub fn bind(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let probe = socket(addr, false)?;
    probe.bind(&addr.into())?;
    probe.listen(1)?;
    let bound = probe.local_addr()?.as_socket().unwrap_or(addr);
    drop(probe);
    (0..count.max(1)).map(|_| listener(bound)).collect()
}

/// Descriptors that the process needs for its store, logs, listeners and rings, and each worker.
const OWN: usize = 64;
const OF_A_WORKER: usize = 16;

/// Returns how many connections of clients a worker may have by the limit of open files: half of
/// what is left is for connections to providers.
pub fn descriptors_for_clients(workers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    let workers = workers.max(1);
    let left = limit.unwrap_or(usize::MAX).saturating_sub(OWN + workers * OF_A_WORKER);
    (left / 2 / workers).max(8)
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // `::` is every address of both families; another one is itself alone in any case.
        socket.set_only_v6(false)?;
    }
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
