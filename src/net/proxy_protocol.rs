//! The PROXY protocol, versions 1 and 2: the header by which a load balancer tells who has
//! connected to it (haproxy.org/download/3.2/doc/proxy-protocol.txt, read 2026-11).
//!
//! The header is read byte for byte to its end and no further: what follows may be a TLS handshake.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use monoio::io::AsyncReadRentExt;
use monoio::net::TcpStream;

/// The first bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const MAX_LINE: usize = 107;
/// Bytes of a header of version 2 that are read: addresses, and extensions, which are ignored.
const MAX_BLOCK: usize = 4096;

/// Reads the header in front of everything else. Returns the address of the client. `None` if the
/// header names none, as the health checks of a load balancer do.
pub async fn read_header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let start = read(stream, SIGNATURE.len()).await?;
    if start == SIGNATURE {
        let fixed = read(stream, 4).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > MAX_BLOCK {
            return Err(invalid("a PROXY header of version 2 is too long"));
        }
        let block = read(stream, length).await?;
        return parse_block(fixed[0], fixed[1], &block);
    }
    let mut line = start;
    if !line.starts_with(b"PROXY ") {
        return Err(invalid("the connection does not begin with a PROXY header"));
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(invalid("a PROXY header of version 1 is too long"));
        }
        line.extend_from_slice(&read(stream, 1).await?);
    }
    parse_line(&line)
}

async fn read(stream: &mut TcpStream, bytes: usize) -> io::Result<Vec<u8>> {
    if bytes == 0 {
        return Ok(Vec::new());
    }
    let (result, buf) = stream.read_exact(vec![0; bytes]).await;
    result.map(|_| buf)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn parse_line(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let wrong = || invalid("a PROXY header of version 1 is malformed");
    let text = std::str::from_utf8(line).map_err(|_| wrong())?.trim_end_matches("\r\n");
    let words: Vec<_> = text.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, _, port, _] => {
            let ip = source.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (*family == "TCP4"));
            let port = port.parse::<u16>().ok();
            ip.zip(port).map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// Parses what follows the signature of version 2: version and command, family and protocol, and
/// the addresses.
fn parse_block(command: u8, family: u8, block: &[u8]) -> io::Result<Option<SocketAddr>> {
    let wrong = || invalid("a PROXY header of version 2 is malformed");
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    match (command, family >> 4) {
        // Of the load balancer's own: LOCAL.
        (0x20, _) => Ok(None),
        (0x21, 1) => {
            let ip = block.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
            ip.zip(port(8)).map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or_else(wrong)
        }
        (0x21, 2) => {
            let ip = block.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
            ip.zip(port(32)).map(|(ip, port)| Some(SocketAddr::new(ip, port))).ok_or_else(wrong)
        }
        // A family without addresses of clients.
        (0x21, _) => Ok(None),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let some = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let rows = [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4000 443\r\n", Some(some("192.0.2.1:4000"))),
            ("PROXY TCP6 2001:db8::1 ::1 4000 443\r\n", Some(some("[2001:db8::1]:4000"))),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", Some(None)),
            ("PROXY TCP4 2001:db8::1 ::1 4000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 70000 443\r\n", None),
            ("PROXY TCP4 192.0.2.1\r\n", None),
            ("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", None),
        ];
        for (line, expected) in rows {
            assert_eq!(parse_line(line.as_bytes()).ok(), expected, "{line}");
        }
    }

    #[test]
    fn blocks() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x0f, 0xa0, 1, 187];
        let v6 = [[0x20; 16].as_slice(), &[0; 16], &[0x0f, 0xa0, 1, 187], b"extension"].concat();
        let address = |text: &str| Some(Some(text.parse::<SocketAddr>().unwrap()));
        assert_eq!(parse_block(0x21, 0x11, &v4).ok(), address("192.0.2.1:4000"));
        assert_eq!(parse_block(0x21, 0x21, &v6).ok(), address("[2020:2020:2020:2020:2020:2020:2020:2020]:4000"));
        assert_eq!(parse_block(0x20, 0, &[]).ok(), Some(None));
        assert_eq!(parse_block(0x21, 0x31, &[0; 216]).ok(), Some(None));
        for (command, family, block) in [(0x21, 0x11, &v4[..9]), (0x21, 0x21, &v6[..33]), (0x11, 0x11, &v4[..])] {
            assert!(parse_block(command, family, block).is_err(), "{command:x} {family:x}");
        }
    }
}
