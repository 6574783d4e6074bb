//! What some hosts send before the JSON of an answer: a byte-order mark, and comments that keep the
//! connection open while a model thinks, such as OpenRouter's `: OPENROUTER PROCESSING`.

/// Returns `body` without the marks, comments and white space that it begins with. Text that is no
/// whole comment stays. It is one pass over what is left out.
pub fn strip(body: &[u8]) -> &[u8] {
    let mut rest = body;
    loop {
        rest = match rest {
            [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] | [0xef, 0xbb, 0xbf, tail @ ..] => tail,
            [b':', ..] | [b'/', b'/', ..] => match memchr::memchr(b'\n', rest) {
                Some(end) => &rest[end + 1..],
                None => return rest,
            },
            [b'/', b'*', tail @ ..] => match memchr::memmem::find(tail, b"*/") {
                Some(end) => &tail[end + 2..],
                None => return rest,
            },
            _ => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preambles() {
        let rows: [(&[u8], &[u8]); 9] = [
            (b"{}", b"{}"),
            (b"\xef\xbb\xbf{}", b"{}"),
            (b" \r\n\t[1] ", b"[1] "),
            (b": PROCESSING\n\n: PROCESSING\n\n{\":\":1}", b"{\":\":1}"),
            (b"// a {\n/* b\n} */\xef\xbb\xbf {}", b"{}"),
            (b"/* open {}", b"/* open {}"),
            (b": no line", b": no line"),
            (b"/x{}", b"/x{}"),
            (b"", b""),
        ];
        for (body, stripped) in rows {
            assert_eq!(strip(body), stripped, "{}", String::from_utf8_lossy(body));
        }
    }
}
