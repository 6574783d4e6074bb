//! Heads of requests.

use std::mem::MaybeUninit;

use super::connection::Connection;
use super::field::{Fields, Span, list};
use super::framing::{Declared, Framing};
use super::head::{HeadScan, Limits, MAX_FIELDS, Method, Refusal, Version, is_token};

/// The head of one request. Offsets refer to the buffer given to [`parse_request`], so take what is
/// needed before that buffer moves on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The version that the client speaks.
    pub version: Version,
    /// All header fields, in their order.
    pub fields: Fields,
    /// Bytes of the buffer up to the body, leading empty lines included.
    pub len: usize,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the client wishes another request on this connection. An HTTP/1.0 client that does
    /// must receive `connection: keep-alive` in the response, else it waits for the close.
    pub keep_alive: bool,
    /// The client holds its body back until it receives `100 Continue` (or a final status). Never
    /// set for HTTP/1.0 or without a body.
    pub expect_continue: bool,
    /// The client asks to speak WebSocket on this connection.
    pub upgrade_websocket: bool,
    /// Whether there is a field `content-encoding`.
    pub has_content_encoding: bool,
    method_text: Span,
    path: Span,
    query: Option<Span>,
}

impl RequestHead {
    /// Returns the method as sent.
    pub fn method_text<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.method_text.of(buf)
    }

    /// The path, still percent-encoded; begins with `/`, or is `*` for `OPTIONS *`. An absolute
    /// target is reduced to its path.
    pub fn path<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        // `http://host` names the root without a byte that shows it.
        match self.path.of(buf) {
            b"" => b"/",
            path => path,
        }
    }

    /// What follows the first `?` of the target.
    pub fn query<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.query.map(|query| query.of(buf))
    }

    /// Returns the value of the first field of this name, without regard to case.
    pub fn get<'b>(&'b self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.fields.get(buf, name)
    }

    /// Names and values of all fields, in the order sent.
    pub fn fields<'b>(&'b self, buf: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + Clone {
        self.fields.iter(buf)
    }
}

/// The head at the start of `buf`; `None` if more bytes are needed. `scan` is the caller's, see
/// [`HeadScan`].
///
/// The same bytes give the same result whether they arrive at once or one by one.
///
/// ```
/// use llm_http::{Framing, HeadScan, Limits, parse_request};
///
/// let (limits, mut scan) = (Limits::default(), HeadScan::default());
/// let request = b"GET /v1/models?limit=2 HTTP/1.1\r\nhost: a\r\n\r\n";
/// assert_eq!(parse_request(&request[..20], &mut scan, &limits)?, None);
/// let head = parse_request(request, &mut scan, &limits)?.expect("the head is complete");
/// assert_eq!(head.path(request), b"/v1/models");
/// assert_eq!(head.query(request), Some(&b"limit=2"[..]));
/// assert_eq!((head.framing, head.len), (Framing::None, request.len()));
/// # Ok::<(), llm_http::Refusal>(())
/// ```
pub fn parse_request(buf: &[u8], scan: &mut HeadScan, limits: &Limits) -> Result<Option<RequestHead>, Refusal> {
    scan.skip_empty_lines(buf);
    check_first_byte(buf.get(scan.start..).unwrap_or_default())?;
    let Some(end) = scan.end(buf, limits)? else { return Ok(None) };
    let start = std::mem::take(scan).start;
    parse_whole(buf, start, end).map(Some)
}

/// Tells a TLS handshake or noise from a request before it would be waited for: an https client at
/// a plain port gets its error at once.
fn check_first_byte(head: &[u8]) -> Result<(), Refusal> {
    match head.first() {
        Some(&0x16) => Err(Refusal::bad_request("this port speaks plain HTTP and was sent a TLS handshake")),
        Some(&byte) if !is_token(byte) && byte != b'\r' && byte != b'\n' => {
            Err(Refusal::bad_request("a request must begin with a method"))
        }
        _ => Ok(()),
    }
}

fn parse_whole(buf: &[u8], start: usize, end: usize) -> Result<RequestHead, Refusal> {
    let head = &buf[start..end];
    let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(head, &mut slots);
    if status.map_err(|error| refusal(error, head))? != httparse::Status::Complete(head.len()) {
        return Err(Refusal::bad_request("the head ends before its last field"));
    }
    let (Some(method), Some(target), version) = (parsed.method, parsed.path, Version::of(parsed.version)) else {
        return Err(Refusal::bad_request("the request line is incomplete"));
    };
    let facts = Facts::gather(parsed.headers);
    facts.check_host(version)?;
    let (path, query) = split_target(Method::of(method.as_bytes()), method, target.as_bytes())?;
    let framing = facts.framing.request(version)?;
    let modern = version == Version::Http11;
    Ok(RequestHead {
        method: Method::of(method.as_bytes()),
        version,
        fields: Fields::locate(parsed.headers, buf),
        len: end,
        framing,
        keep_alive: facts.connection.persists(version),
        expect_continue: facts.expect_continue && modern && framing.has_body(),
        upgrade_websocket: facts.websocket && facts.connection.upgrade && modern && method == "GET",
        has_content_encoding: facts.has_content_encoding,
        method_text: Span::locate(method.as_bytes(), buf),
        path: Span::locate(path, buf),
        query: query.map(|query| Span::locate(query, buf)),
    })
}

/// What the fields say that this codec acts on.
#[derive(Default)]
struct Facts<'b> {
    hosts: usize,
    host: &'b [u8],
    framing: Declared,
    connection: Connection,
    expect_continue: bool,
    websocket: bool,
    has_content_encoding: bool,
}

impl<'b> Facts<'b> {
    fn gather(headers: &[httparse::Header<'b>]) -> Facts<'b> {
        let mut facts = Facts::default();
        for header in headers {
            let (name, value) = (header.name, header.value);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            // By length first: most names are of no interest and none of them is compared.
            match name.len() {
                4 if is("host") => {
                    facts.hosts += 1;
                    facts.host = value;
                }
                6 if is("expect") => {
                    facts.expect_continue |= list(value).any(|one| one.eq_ignore_ascii_case(b"100-continue"))
                }
                7 if is("upgrade") => facts.websocket |= list(value).any(|one| one.eq_ignore_ascii_case(b"websocket")),
                10 if is("connection") => facts.connection.note(value),
                14 if is("content-length") => facts.framing.length(value),
                16 => facts.has_content_encoding |= is("content-encoding"),
                17 if is("transfer-encoding") => facts.framing.coding(value),
                _ => {}
            }
        }
        facts
    }

    /// RFC 9112 3.2: exactly one in HTTP/1.1, never two, and only what a host may hold. An empty
    /// one is allowed.
    fn check_host(&self, version: Version) -> Result<(), Refusal> {
        let fault = match self.hosts {
            0 if version == Version::Http11 => "an HTTP/1.1 request must have a host field",
            0 => return Ok(()),
            1 if is_authority(self.host) => return Ok(()),
            1 => "the host field is not `host` or `host:port`",
            _ => "more than one host field is given",
        };
        Err(Refusal::bad_request(fault))
    }
}

/// Returns whether a text is `host [ ":" port ]` with a DNS name, an IPv4 address or a bracketed
/// IPv6 address. RFC 3986 3.2.2 would allow more in a name (`%`, `,`, `$` ..), which no resolver
/// knows; above all there is no `/`, `@`, `?` or `#`, which make two readers see two hosts.
fn is_authority(text: &[u8]) -> bool {
    let port = text.iter().rposition(|byte| !byte.is_ascii_digit()).filter(|&colon| text[colon] == b':');
    match &text[..port.unwrap_or(text.len())] {
        [b'[', address @ .., b']'] => {
            address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        name => name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    }
}

/// Returns the path and the query of a request target (RFC 9112 3.2).
fn split_target<'t>(
    method: Method,
    method_text: &str,
    target: &'t [u8],
) -> Result<(&'t [u8], Option<&'t [u8]>), Refusal> {
    if method_text == "CONNECT" {
        return Err(Refusal::new(501, "this server opens no tunnels; CONNECT is not implemented"));
    }
    if !target.iter().all(|&byte| is_target(byte)) {
        return Err(Refusal::bad_request("the target holds a byte that must be percent-encoded"));
    }
    let origin = match target {
        b"*" if method == Method::Options => return Ok((target, None)),
        [b'/', ..] => target,
        _ => after_authority(target)?,
    };
    match memchr::memchr(b'?', origin) {
        Some(mark) => Ok((&origin[..mark], Some(&origin[mark + 1..]))),
        None => Ok((origin, None)),
    }
}

/// Returns whether a byte may stand in a target. RFC 3986 excludes `\`, `^`, `{`, `|` and `}` too,
/// but browsers send them in queries as they are.
fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>`".contains(&byte)
}

/// Reduces `http://host/path?query` to `/path?query`, of which the path may be absent. A client
/// behind a forward proxy sends this form, and a server must take it.
fn after_authority(target: &[u8]) -> Result<&[u8], Refusal> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        let prefix = target.get(..scheme.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else {
        return Err(Refusal::bad_request("the target must begin with `/` or be an http URL"));
    };
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at(end);
    if authority.is_empty() || authority[0] == b':' || !is_authority(authority) {
        return Err(Refusal::bad_request("the target is a URL without a proper host"));
    }
    Ok(origin)
}

fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::new(431, "the head has more than 100 fields"),
        httparse::Error::Version if names_a_version(head) => {
            Refusal::new(505, "this port speaks HTTP/1.1 and HTTP/1.0")
        }
        httparse::Error::Version => Refusal::bad_request("the request line does not end in an HTTP version"),
        httparse::Error::Token => Refusal::bad_request("the request line is not `METHOD target HTTP/1.1`"),
        httparse::Error::HeaderName => Refusal::bad_request(
            "a field name is empty, folded, followed by whitespace, or holds a character that names may not",
        ),
        httparse::Error::HeaderValue => Refusal::bad_request("a field value holds a control character"),
        httparse::Error::NewLine | httparse::Error::Status => {
            Refusal::bad_request("a line of the head does not end in CRLF")
        }
    }
}

/// Whether the first line is `method target HTTP/d.d` of another version than ours.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let (Some(version), None) = (words.next(), words.next()) else { return false };
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests;
