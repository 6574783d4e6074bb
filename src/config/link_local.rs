//! Addresses that no provider has: link-local ones, where clouds serve the credentials of the
//! machine to any process on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::env::Env;
use super::setting_value;

/// Metadata services at other addresses, by their vendors' documentation (read 2026-11).
const METADATA: &[IpAddr] = &[
    // Amazon EC2, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Compute Engine, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// The message about such an address, after its subject.
pub const REFUSAL: &str =
    "is link-local or that of a metadata service; set ALLOW_LINK_LOCAL_UPSTREAMS=true if a provider is there";

/// Returns whether `ip` is link-local or that of a metadata service, be it written as IPv6.
pub fn is_link_local(ip: IpAddr) -> bool {
    let ip = match ip {
        IpAddr::V6(v6) => embedded(v6).map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    let of_link = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    of_link || METADATA.contains(&ip)
}

/// Returns the IPv4 address in one that is mapped, compatible or of NAT64 (RFC 4291, 2.5.5; RFC
/// 6052, 2.1).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let is_embedded = [0, 0xffff, 0x64_ff9b << 64].contains(&(bits >> 32)) && bits > 1;
    is_embedded.then(|| Ipv4Addr::from_bits(bits as u32))
}

/// Returns whether such addresses are allowed. `env` has ALLOW_LINK_LOCAL_UPSTREAMS.
pub fn is_allowed(env: &Env<'_>) -> bool {
    env("ALLOW_LINK_LOCAL_UPSTREAMS").is_some_and(|value| setting_value::switch(&value) == Ok(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "100.100.100.200",
        ] {
            assert!(is_link_local(text.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.253.1.1", "100.100.100.201", "::1", "::", "fd00::1"] {
            assert!(!is_link_local(text.parse().unwrap()), "{text}");
        }
    }
}
