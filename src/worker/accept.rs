//! New connections: accepted, given to the worker that has the fewest, refused where there are too
//! many, and served.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use crate::metrics::names::Counter;
use crate::net::handoff::{self, WakeSocket};
use crate::net::{self, Acceptor, CancelHandle, TcpStream, listen, proxy_protocol};
use crate::proxy::client::ListenerKind;
use crate::proxy::conn;
use crate::proxy::core::Core;
use crate::shared::peers::Place;
use crate::shared::placement::{Moved, Share};

/// Pause after a failed accept, usually for want of file descriptors: the listener would fail again
/// at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the process drains and `cancelled` is triggered.
pub(super) async fn accept_until_drained(
    core: &Rc<Core>,
    listener: StdListener,
    kind: ListenerKind,
    cancelled: CancelHandle,
) {
    let acceptor = match Acceptor::new(listener) {
        Ok(acceptor) => acceptor,
        Err(error) => return tracing::error!("gateway: the listener can't be used: {error}"),
    };
    let most = listen::descriptors_for_clients(core.shared.shards.len());
    loop {
        // Administrators are let in to see why.
        while kind == ListenerKind::Public && core.connections.get() >= most && !core.shared.accepts_nothing() {
            core.metrics.inc(Counter::AcceptPauses);
            if let Some(more) = core.log_limits.accept.permit(core.timers.read()) {
                tracing::warn!(more, "gateway: no connection is accepted while file descriptors are short");
            }
            net::sleep(ACCEPT_PAUSE).await;
        }
        match acceptor.accept(&cancelled).await {
            Ok((stream, peer)) => place(core, stream, canonical(peer), kind),
            Err(_) if core.shared.accepts_nothing() => break,
            Err(error) => {
                core.metrics.inc(Counter::AcceptPauses);
                if let Some(more) = core.log_limits.accept.permit(core.timers.read()) {
                    tracing::warn!(more, "gateway: accept failed: {error}");
                }
                net::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What is queued is for the other process, if there is one.
    if core.shared.is_draining() {
        accept_queued(core, &acceptor, kind);
    }
}

/// Accepts what the kernel has queued: closing the listener would reset these connections, which
/// their clients take for accepted.
fn accept_queued(core: &Rc<Core>, acceptor: &Acceptor, kind: ListenerKind) {
    for _ in 0..listen::BACKLOG {
        match acceptor.accept_queued() {
            Some(Ok((stream, peer))) => keep(core, stream, canonical(peer), kind),
            _ => return,
        }
    }
}

/// Serves an accepted connection, or gives it to the worker that has the fewest. Nothing is moved
/// at the end, when that worker may have ended already.
fn place(core: &Rc<Core>, stream: TcpStream, peer: SocketAddr, kind: ListenerKind) {
    if kind == ListenerKind::Admin || core.shared.is_draining() {
        return keep(core, stream, peer, kind);
    }
    let placement = &core.shared.placement;
    let share = placement.assign(core.index);
    if share.worker() == core.index {
        return admit(core, stream, peer, kind, Some(share));
    }
    match placement.send(Moved { stream: handoff::detach(stream), peer, share }) {
        Ok(()) => core.metrics.inc(Counter::ConnectionsMoved),
        Err(Moved { stream, .. }) => {
            core.metrics.inc(Counter::ConnectionsUnmoved);
            if let Ok(stream) = handoff::attach(stream) {
                keep(core, stream, peer, kind);
            }
        }
    }
}

/// Serves an accepted connection on this worker.
fn keep(core: &Rc<Core>, stream: TcpStream, peer: SocketAddr, kind: ListenerKind) {
    let share = (kind == ListenerKind::Public).then(|| core.shared.placement.keep(core.index));
    admit(core, stream, peer, kind, share);
}

/// Serves the connections that other workers have accepted for this one. `wake` gets a byte for
/// each.
pub(super) async fn receive(core: Rc<Core>, wake: UnixStream) {
    let mut wake = match WakeSocket::new(wake) {
        Ok(wake) => wake,
        Err(error) => return tracing::error!("gateway: a worker can't take connections from others: {error}"),
    };
    while wake.wait().await.is_ok() {
        while let Some(Moved { stream, peer, share }) = core.shared.placement.receive(core.index) {
            match handoff::attach(stream) {
                Ok(stream) => admit(&core, stream, peer, ListenerKind::Public, Some(share)),
                Err(error) => tracing::debug!(%peer, "gateway: a moved connection can't be used: {error}"),
            }
        }
    }
}

/// Returns an IPv4 address as one that came over a socket of both families.
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Serves an accepted connection, unless there are too many.
fn admit(core: &Rc<Core>, mut stream: TcpStream, peer: SocketAddr, kind: ListenerKind, share: Option<Share>) {
    if core.connections.get() >= core.boot().max_connections {
        core.metrics.inc(Counter::ConnectionsRefused);
        tracing::debug!(%peer, "gateway: MAX_CONNECTIONS reached, closing a new connection");
        return;
    }
    if kind == ListenerKind::Admin || !core.boot().proxy_protocol {
        return open(core, stream, peer, kind, share);
    }
    let core = core.clone();
    net::spawn(async move {
        let counted = conn::Open::count(&core, Place::NONE, None);
        match client_behind(&core, &mut stream, peer).await {
            Ok(client) => {
                drop(counted);
                open(&core, stream, client, kind, share);
            }
            Err(why) => {
                core.metrics.inc(Counter::ProxyHeaders);
                tracing::debug!(%peer, "gateway: closing a new connection: {why}");
            }
        }
    });
}

/// Returns who has connected to the load balancer that connected here, by its PROXY header.
async fn client_behind(core: &Core, stream: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, String> {
    let trusted = &core.boot().trusted_proxies;
    if !trusted.is_empty() && !trusted.contains(peer.ip()) {
        return Err("a PROXY header is taken from TRUSTED_PROXIES alone".to_owned());
    }
    let deadline = core.timers.deadline();
    deadline.set(core.boot().header_read_timeout);
    match deadline.limit(proxy_protocol::read_header(stream)).await {
        Some(Ok(client)) => Ok(client.unwrap_or(peer)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the PROXY header did not arrive within HEADER_READ_TIMEOUT_SECS".to_owned()),
    }
}

/// Serves a connection of `peer`, unless that has too many.
fn open(core: &Rc<Core>, stream: TcpStream, peer: SocketAddr, kind: ListenerKind, share: Option<Share>) {
    let place = match core.boot().trusted_proxies.contains(peer.ip()) {
        true => Place::NONE,
        false => match core.shared.peers.enter(peer.ip()) {
            Some(place) => place,
            None => {
                core.metrics.inc(Counter::ConnectionsOfPeer);
                return tracing::debug!(%peer, "gateway: MAX_CONNECTIONS_PER_PEER reached, closing a new connection");
            }
        },
    };
    core.metrics.inc(Counter::ConnectionsAccepted);
    net::spawn(conn::serve(core.clone(), stream, peer, conn::Open::count(core, place, share), kind));
}
