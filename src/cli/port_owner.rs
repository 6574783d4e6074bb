//! What listens at a port of this machine, looked at before a command writes for the gateway there,
//! or after a gateway could not have the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::admin_client::{self, Health};
use crate::config::boot::Boot;

/// How long a connection within this machine may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Who has a port.
#[derive(Debug)]
pub(super) enum PortOwner {
    Nobody,
    Gateway(Health),
    /// Another program, or a gateway that speaks TLS where these settings have no certificate.
    Other,
}

impl PortOwner {
    /// Looks at the address where a gateway with these settings listens, or would, from this
    /// machine.
    pub(super) fn of(boot: &Boot) -> PortOwner {
        PortOwner::at((boot.host, boot.port).into(), boot.tls_cert.is_some())
    }

    /// Looks at an address, where a gateway may speak TLS.
    pub(super) fn at(listener: SocketAddr, may_be_tls: bool) -> PortOwner {
        let addr = reachable(listener);
        if TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT).is_err() {
            return PortOwner::Nobody;
        }
        let found = admin_client::health(&format!("http://{addr}"));
        let with_tls = || if may_be_tls { admin_client::health(&format!("https://{addr}")) } else { None };
        found.or_else(with_tls).map_or(PortOwner::Other, PortOwner::Gateway)
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

/// Returns the address at which this machine reaches what listens at `listener`, which may be all
/// addresses.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let host = match listener.ip() {
        host if !host.is_unspecified() => host,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(host, listener.port())
}

/// Returns the URL at which this machine reaches a gateway with these settings.
pub(super) fn url(boot: &Boot) -> String {
    let scheme = if boot.tls_cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(SocketAddr::new(boot.host, boot.port)))
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
    fn urls_lead_to_the_listener() {
        for (host, expected) in [
            ("0.0.0.0", "http://127.0.0.1:7"),
            ("127.0.0.2", "http://127.0.0.2:7"),
            ("::", "http://[::1]:7"),
            ("fd00::1", "http://[fd00::1]:7"),
        ] {
            let boot = Boot { host: host.parse().unwrap(), port: 7, ..Boot::default() };
            assert_eq!(url(&boot), expected);
        }
        let tls = Boot { tls_cert: Some("cert.pem".into()), ..Boot::default() };
        assert_eq!(url(&tls), "https://127.0.0.1:18000");
    }

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
