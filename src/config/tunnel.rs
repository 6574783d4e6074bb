//! Proxies that open tunnels: their URLs, and the dialogue with one, without I/O. HTTP proxies open
//! them by CONNECT (RFC 9110, 9.3.6), SOCKS5 proxies as RFC 1928 says, with a user name and
//! password as RFC 1929 says.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::base_url::BaseUrl;

/// Bounds the head of an HTTP proxy's answer.
const MAX_HEAD: usize = 16 << 10;
/// Bytes of the longest name, user name and password in SOCKS5.
const MAX_FIELD: usize = 255;

/// A proxy that opens tunnels.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Host without brackets, lower case.
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
}

/// How a tunnel is asked for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http {
        /// The value of `proxy-authorization`, if there is one.
        authorization: Option<Box<str>>,
    },
    Socks5 {
        login: Option<Login>,
        /// Whether the proxy resolves names (`socks5h`); else the gateway does.
        resolves: bool,
    },
}

/// A user name and password for SOCKS5, each with at most [`MAX_FIELD`] bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    user: Box<[u8]>,
    password: Box<[u8]>,
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]`, or the same with `socks5` or `socks5h`. The
    /// error does not show the text, in which a password may be.
    pub fn parse(text: &str) -> Result<Proxy, String> {
        let wrong = || "is not the URL of a proxy, such as http://proxy.example.com:3128".to_owned();
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        // Proxies without a port listen where such proxies do.
        let usual_port = match scheme.as_str() {
            "http" => 3128,
            "socks5" | "socks5h" => 1080,
            _ if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(format!("has the scheme `{scheme}`; proxies are reached by http, socks5 or socks5h"));
            }
            _ => return Err(wrong()),
        };
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user), address));
        let base = BaseUrl::parse(&format!("http://{address}")).map_err(|_| wrong())?;
        if !base.path.is_empty() || !base.query.is_empty() {
            return Err(wrong());
        }
        let has_port = address.trim_end_matches('/').rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { base.port } else { usual_port };
        let protocol = if scheme == "http" {
            let authorization = user.map(|user| format!("Basic {}", BASE64_STANDARD.encode(decoded(user))).into());
            Protocol::Http { authorization }
        } else {
            Protocol::Socks5 { login: user.map(Login::parse).transpose()?, resolves: scheme == "socks5h" }
        };
        Ok(Proxy { host: base.host, port, protocol })
    }

    /// Returns whether the proxy resolves the names of providers. Else it is given addresses.
    pub fn resolves_names(&self) -> bool {
        !matches!(self.protocol, Protocol::Socks5 { resolves: false, .. })
    }
}

impl Login {
    fn parse(user_and_password: &str) -> Result<Login, String> {
        let (user, password) = user_and_password.split_once(':').unwrap_or((user_and_password, ""));
        let login = Login { user: decoded(user).into(), password: decoded(password).into() };
        match (1..=MAX_FIELD).contains(&login.user.len()) && login.password.len() <= MAX_FIELD {
            true => Ok(login),
            false => Err(format!("has a user name or password that SOCKS5 can't carry: 1 to {MAX_FIELD} bytes each")),
        }
    }
}

fn decoded(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Why a proxy opened no tunnel, for the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It would open none to another address either.
    OfProxy(String),
    /// It could not reach this address.
    OfAddress(String),
}

impl Refusal {
    /// Returns the reason as a sentence for an error message.
    pub fn into_text(self) -> String {
        match self {
            Refusal::OfProxy(why) | Refusal::OfAddress(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::OfProxy(why)
    }
}

/// What is done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The answer is not whole yet.
    Receive,
    Send(Vec<u8>),
    /// The tunnel is open: what is sent from now on goes to the provider.
    Open,
}

/// What a proxy is waited for to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    HttpHead,
    SocksMethod,
    SocksLogin,
    SocksReply,
}

/// The dialogue about one tunnel.
pub struct Dialogue<'a> {
    protocol: &'a Protocol,
    host: &'a str,
    port: u16,
    awaited: Awaited,
    received: Vec<u8>,
}

impl<'a> Dialogue<'a> {
    /// Begins the dialogue about a tunnel to `host`, a name or an address without brackets. Returns
    /// what is sent first.
    pub fn begin(proxy: &'a Proxy, host: &'a str, port: u16) -> Result<(Dialogue<'a>, Vec<u8>), Refusal> {
        let protocol = &proxy.protocol;
        let (awaited, first) = match protocol {
            Protocol::Http { authorization } => {
                (Awaited::HttpHead, connect_request(host, port, authorization.as_deref()))
            }
            _ if host.len() > MAX_FIELD => {
                return Err(Refusal::OfProxy("the host's name is longer than SOCKS5 can carry".to_owned()));
            }
            // Version, number of methods, methods: none, or user name and password.
            Protocol::Socks5 { login: None, .. } => (Awaited::SocksMethod, vec![5, 1, 0]),
            Protocol::Socks5 { login: Some(_), .. } => (Awaited::SocksMethod, vec![5, 2, 0, 2]),
        };
        Ok((Dialogue { protocol, host, port, awaited, received: Vec::new() }, first))
    }

    /// Takes what the proxy has sent.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        self.received.extend_from_slice(bytes);
        let (step, length) = match self.awaited {
            Awaited::HttpHead => self.http_head()?,
            Awaited::SocksMethod => self.socks_method()?,
            Awaited::SocksLogin => self.socks_login()?,
            Awaited::SocksReply => self.socks_reply()?,
        };
        // The provider speaks second, and so does the proxy.
        if step != Step::Receive && self.received.len() > length {
            return Err("the proxy sent more than its answer".to_owned().into());
        }
        if step != Step::Receive {
            self.received.clear();
        }
        Ok(step)
    }

    fn http_head(&self) -> Result<(Step, usize), Refusal> {
        if let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
            tunnel_opened(&self.received).map_err(Refusal::OfAddress)?;
            return Ok((Step::Open, end + 4));
        }
        if self.received.len() > MAX_HEAD {
            return Err("the proxy sent a head without an end".to_owned().into());
        }
        Ok((Step::Receive, 0))
    }

    fn socks_method(&mut self) -> Result<(Step, usize), Refusal> {
        let Protocol::Socks5 { login, .. } = self.protocol else { return Ok((Step::Receive, 0)) };
        match (self.received.as_slice(), login) {
            ([] | [5], _) => Ok((Step::Receive, 0)),
            ([5, 0, ..], _) => {
                self.awaited = Awaited::SocksReply;
                Ok((Step::Send(self.socks_request()), 2))
            }
            ([5, 2, ..], Some(Login { user, password })) => {
                self.awaited = Awaited::SocksLogin;
                let mut request = vec![1];
                for field in [user, password] {
                    // Neither is longer than its length can say.
                    request.push(field.len() as u8);
                    request.extend_from_slice(field);
                }
                Ok((Step::Send(request), 2))
            }
            ([5, ..], None) => Err("the proxy demands a user name and password".to_owned().into()),
            ([5, ..], Some(_)) => Err("the proxy takes no user name and password".to_owned().into()),
            _ => Err("the proxy does not speak SOCKS5".to_owned().into()),
        }
    }

    fn socks_login(&mut self) -> Result<(Step, usize), Refusal> {
        match self.received.as_slice() {
            [] | [_] => Ok((Step::Receive, 0)),
            [_, 0, ..] => {
                self.awaited = Awaited::SocksReply;
                Ok((Step::Send(self.socks_request()), 2))
            }
            _ => Err("the proxy refused the user name or the password".to_owned().into()),
        }
    }

    /// Version, command (CONNECT), reserved, then address and port.
    fn socks_request(&self) -> Vec<u8> {
        let mut request = vec![5, 1, 0];
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend_from_slice(&ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend_from_slice(&ip.octets());
            }
            Err(_) => {
                // `begin` has refused a longer one.
                request.extend_from_slice(&[3, self.host.len() as u8]);
                request.extend_from_slice(self.host.as_bytes());
            }
        }
        request.extend_from_slice(&self.port.to_be_bytes());
        request
    }

    fn socks_reply(&self) -> Result<(Step, usize), Refusal> {
        let length = match self.received.as_slice() {
            [version, ..] if *version != 5 => return Err("the proxy does not speak SOCKS5".to_owned().into()),
            [_, code, ..] if *code != 0 => return Err(refused(*code)),
            [_, _, _, 1, ..] => 4 + 4 + 2,
            [_, _, _, 3, name, ..] => 4 + 1 + usize::from(*name) + 2,
            [_, _, _, 4, ..] => 4 + 16 + 2,
            [_, _, _, 3] | [] | [_] | [_, _] | [_, _, _] => return Ok((Step::Receive, 0)),
            _ => return Err("the proxy answered with an address of an unknown type".to_owned().into()),
        };
        Ok((if self.received.len() < length { Step::Receive } else { Step::Open }, length))
    }
}

/// Returns what a SOCKS5 proxy's reply code means (RFC 1928, 6).
fn refused(code: u8) -> Refusal {
    let (means, is_of_address) = match code {
        1 => ("a general failure", true),
        2 => ("that its rules do not allow the connection", false),
        3 => ("that the network cannot be reached", true),
        4 => ("that the host cannot be reached", true),
        5 => ("that the connection was refused", true),
        6 => ("that no answer came in time", true),
        7 => ("that it opens no tunnels", false),
        8 => ("that it knows no addresses of this family", true),
        _ => ("an unknown code", false),
    };
    let why = format!("the proxy answered with {means} (SOCKS5 reply {code})");
    if is_of_address { Refusal::OfAddress(why) } else { Refusal::OfProxy(why) }
}

fn connect_request(host: &str, port: u16, authorization: Option<&str>) -> Vec<u8> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let authorization = authorization.map(|value| format!("proxy-authorization: {value}\r\n")).unwrap_or_default();
    format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{authorization}\r\n").into_bytes()
}

/// Judges the head of a proxy's answer to CONNECT. The error is for the log.
fn tunnel_opened(head: &[u8]) -> Result<(), String> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line: String = String::from_utf8_lossy(line).chars().take(100).collect();
    let status = line.split(' ').nth(1).unwrap_or_default();
    match line.starts_with("HTTP/1.") && status.len() == 3 && status.starts_with('2') {
        true => Ok(()),
        false => Err(format!("the proxy answered CONNECT with `{line}`")),
    }
}

#[cfg(test)]
mod tests;
