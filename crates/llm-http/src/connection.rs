//! Reads the fields of a head that concern its connection alone (RFC 9110, section 7.6.1).

use super::field::list;
use super::head::Version;

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
