//! Messages to the service manager (sd_notify(3)): where `NOTIFY_SOCKET` names its socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

pub(super) const READY: &str = "READY=1";
pub(super) const RELOADING: &str = "RELOADING=1";
pub(super) const STOPPING: &str = "STOPPING=1";

/// Sends a message if `NOTIFY_SOCKET` is set. A failure is logged: the service goes on.
pub(super) fn send(message: &str) {
    let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!("the service manager can't be told `{message}`: {error}");
    }
}
