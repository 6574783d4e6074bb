//! What listens at a port of this machine, looked at before a command writes for the gateway there,
//! or after a gateway could not have the port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::admin_client::{self, Health};

/// How long a connection within this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Who has a port.
#[derive(Debug)]
pub(super) enum PortOwner {
    Nobody,
    Gateway(Health),
    /// Another program, or a gateway that speaks TLS there.
    Other,
}

impl PortOwner {
    /// Looks at a port of 127.0.0.1.
    pub(super) fn of(port: u16) -> PortOwner {
        if TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT_TIMEOUT).is_err() {
            return PortOwner::Nobody;
        }
        admin_client::health(&url(port)).map_or(PortOwner::Other, PortOwner::Gateway)
    }

    /// Returns whom an error names, and how that one is stopped.
    pub(super) fn describe(&self) -> (&'static str, &'static str) {
        match self {
            PortOwner::Gateway(health) if health.is_demo => {
                ("`llm-proxy demo`", "stop the demo with Ctrl-C in its terminal")
            }
            PortOwner::Gateway(_) => ("another gateway", "stop that one"),
            PortOwner::Nobody | PortOwner::Other => ("another process", "stop that one"),
        }
    }
}

/// Returns the address of a gateway at a port of this machine.
pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns the first port behind `port`, of the next hundred, that a gateway can listen at. Nobody
/// is connected to: what listens there may be any program.
pub(super) fn free_behind(host: IpAddr, port: u16) -> Option<u16> {
    (1..=100).map_while(|more| port.checked_add(more)).find(|port| TcpListener::bind((host, *port)).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_search_for_a_free_port_connects_to_nobody() {
        let host = IpAddr::from(Ipv4Addr::LOCALHOST);
        let other = TcpListener::bind((host, 0)).unwrap();
        other.set_nonblocking(true).unwrap();
        let taken = other.local_addr().unwrap().port();
        assert!(free_behind(host, taken - 1).is_none_or(|free| free > taken));
        assert_eq!(other.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
