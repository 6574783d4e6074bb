//! Appending server-sent events to a `Vec<u8>`. Lines end with LF alone.

/// Writes one event, with its blank line. `data` on several lines becomes several `data:` lines,
/// which readers join again.
pub fn event(out: &mut Vec<u8>, name: Option<&str>, data: &[u8]) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else { break };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\n\n");
}

/// Writes one comment line and a blank line. Readers ignore it; it keeps a connection alive. `text`
/// is one line.
pub fn comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b": ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let rows: &[(Option<&str>, &[u8], &[u8])] = &[
            (None, b"[DONE]", b"data: [DONE]\n\n"),
            (Some("ping"), b"{}", b"event: ping\ndata: {}\n\n"),
            (None, b"", b"data: \n\n"),
            (None, b"a\nb\r\nc\rd", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ];
        for (name, data, expected) in rows {
            let mut out = Vec::new();
            event(&mut out, *name, data);
            assert_eq!(out, *expected);
        }
        let mut out = Vec::new();
        comment(&mut out, "keep-alive");
        assert_eq!(out, b": keep-alive\n\n");
    }
}
