//! Fields that concern one connection and are never passed on.

use super::field::list;
use super::head::Version;

/// Whether a field of this name ends at this hop (RFC 9110 7.6.1). `proxy-` as a whole: such a
/// field speaks to a proxy, and no provider is meant by it. `content-length` is not here: it is
/// rewritten by whoever frames the message anew.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] =
        [b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"];
    let proxy = name.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"proxy-"));
    proxy || NAMES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

/// The options named by the `Connection` fields among `fields`; a field whose name is one of them
/// is hop-by-hop too.
pub fn connection_options<'b>(fields: impl Iterator<Item = (&'b [u8], &'b [u8])>) -> impl Iterator<Item = &'b [u8]> {
    let values = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    values.flat_map(|(_, value)| list(value)).filter(|option| !option.is_empty())
}

/// What the `Connection` fields of one head ask of this connection, gathered field by field.
#[derive(Debug, Default)]
pub(super) struct Connection {
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
}

impl Connection {
    pub(super) fn note(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// RFC 9112 9.3: `close` wins; HTTP/1.1 persists by default, HTTP/1.0 on request.
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_names() {
        let hops = ["Connection", "keep-alive", "Proxy-Connection", "proxy-authorization", "TE", "Trailer", "Upgrade"];
        for name in hops {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["host", "content-length", "authorization", "x-proxy-id", "proxy", "", "te2"] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn fields_named_by_connection_end_here() {
        let fields: [(&[u8], &[u8]); 5] = [
            (b"Accept", b"a"),
            (b"Connection", b"close, X-Mine ,"),
            (b"x-mine", b"b"),
            (b"connection", b"foo"),
            (b"Foo", b"c"),
        ];
        assert_eq!(connection_options(fields.into_iter()).collect::<Vec<_>>(), [&b"close"[..], b"X-Mine", b"foo"]);
    }

    #[test]
    fn persistence() {
        use Version::{Http10, Http11};
        let rows = [
            (Http11, "", true),
            (Http11, "keep-alive", true),
            (Http11, "close", false),
            (Http11, "keep-alive, Close", false),
            (Http11, "closed", true),
            (Http10, "", false),
            (Http10, "Keep-Alive", true),
            (Http10, "keep-alive, close", false),
        ];
        for (version, value, expected) in rows {
            let mut connection = Connection::default();
            connection.note(value.as_bytes());
            assert_eq!(connection.persists(version), expected, "{version:?} {value:?}");
        }
    }
}
