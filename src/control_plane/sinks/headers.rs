//! The captured head of a client's request, which is incomplete if it was very long.

use std::borrow::Cow;

/// A head as its bytes came.
pub(crate) struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    /// Takes the bytes of a head, which may be cut.
    pub(crate) fn new(bytes: &'a [u8]) -> Head<'a> {
        Head(bytes)
    }

    /// Returns the path as the client wrote it, without the query, in which some clients send a
    /// key.
    pub(crate) fn path(&self) -> Option<Cow<'a, str>> {
        let target = self.lines().next()?.split(|byte| *byte == b' ').nth(1)?;
        let path = target.split(|byte| *byte == b'?').next()?;
        Some(String::from_utf8_lossy(path))
    }

    /// Returns the first header of this name, which is in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.lines().skip(1).find_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let found = line[..colon].eq_ignore_ascii_case(name.as_bytes());
            let value = line[colon + 1..].trim_ascii();
            (found && !value.is_empty()).then(|| String::from_utf8_lossy(value))
        })
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_head() {
        let head = Head::new(b"POST /v2/messages?key=secret HTTP/1.1\r\nX-Session-Id:  a b \r\nempty:\r\ncut-he");
        assert_eq!(head.path().as_deref(), Some("/v2/messages"));
        assert_eq!(head.get("x-session-id").as_deref(), Some("a b"));
        assert_eq!((head.get("empty"), head.get("cut-he"), head.get("post")), (None, None, None));
        assert_eq!(Head::new(b"").path(), None);
    }
}
