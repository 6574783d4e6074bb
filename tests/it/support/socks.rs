//! A SOCKS5 proxy (RFC 1928, RFC 1929) that opens tunnels to one server, whatever is asked for.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Socks {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    /// Demands this user name and password, as `user:password`, and opens tunnels to `to`, unless
    /// the one that is asked for is in `refused`: then its reply is that the host cannot be
    /// reached.
    pub fn start(to: SocketAddr, login: Option<&'static str>, refused: &'static [&'static str]) -> Socks {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socks = Socks { addr: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = socks.asked.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let asked = asked.clone();
                thread::spawn(move || serve(client, to, login, refused, &asked));
            }
        });
        socks
    }

    /// What it was asked for: hosts and ports, as they came.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn bytes<const N: usize>(client: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn text(client: &mut TcpStream) -> Option<String> {
    let [length] = bytes(client)?;
    let mut text = vec![0; length.into()];
    client.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Returns whether the client may go on.
fn greeted(client: &mut TcpStream, login: Option<&str>) -> Option<bool> {
    let [version, count] = bytes(client)?;
    assert_eq!(version, 5);
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods).ok()?;
    let Some(login) = login else {
        client.write_all(&[5, 0]).ok()?;
        return Some(true);
    };
    if !methods.contains(&2) {
        client.write_all(&[5, 0xff]).ok()?;
        return Some(false);
    }
    client.write_all(&[5, 2]).ok()?;
    assert_eq!(bytes::<1>(client)?, [1]);
    let is_right = format!("{}:{}", text(client)?, text(client)?) == login;
    client.write_all(&[1, u8::from(!is_right)]).ok()?;
    Some(is_right)
}

fn target(client: &mut TcpStream) -> Option<(String, u16)> {
    let [version, command, _, family] = bytes(client)?;
    assert_eq!((version, command), (5, 1));
    let host = match family {
        1 => IpAddr::V4(Ipv4Addr::from(bytes(client)?)).to_string(),
        4 => IpAddr::V6(Ipv6Addr::from(bytes(client)?)).to_string(),
        _ => text(client)?,
    };
    Some((host, u16::from_be_bytes(bytes(client)?)))
}

fn serve(
    mut client: TcpStream,
    to: SocketAddr,
    login: Option<&str>,
    refused: &[&str],
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    if !greeted(&mut client, login)? {
        return None;
    }
    let (host, port) = target(&mut client)?;
    asked.lock().unwrap().push(format!("{host}:{port}"));
    let code = if refused.contains(&&*host) { 4 } else { 0 };
    client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    if code != 0 {
        return None;
    }
    join(client, TcpStream::connect(to).ok()?);
    Some(())
}

/// Moves bytes both ways until both have ended.
pub fn join(client: TcpStream, server: TcpStream) {
    let pair = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let copy = |(mut from, mut into): (TcpStream, TcpStream)| {
        let _ = std::io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
    };
    thread::spawn(move || copy((pair.1, pair.0)));
    copy((client, server));
}
