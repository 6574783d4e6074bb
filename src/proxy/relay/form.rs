//! What a body is by its first bytes, whatever its content type says: hosts label streams as JSON,
//! JSON as streams, and error pages as either.

use llm_wire::json::preamble;

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events.
    Events,
    /// A JSON object or array.
    Document,
    /// A page of markup.
    Markup,
    /// None of these.
    Text,
}

/// The names with which a line of an event stream begins (WHATWG HTML, 9.2.5). A colon begins a
/// comment.
const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];

impl Form {
    /// Returns the form of a body that begins with `bytes`. `None` if they are white space alone.
    pub(super) fn of(bytes: &[u8]) -> Option<Form> {
        // Comments may precede a document, too, where a host keeps the connection open by them.
        if let [b'{' | b'[', ..] = preamble::strip(bytes) {
            return Some(Form::Document);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        Some(match bytes.first()? {
            b'{' | b'[' => Form::Document,
            b'<' => Form::Markup,
            _ if FIELDS.iter().any(|name| bytes.starts_with(name) || name.starts_with(bytes)) => Form::Events,
            _ => Form::Text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        let rows: &[(&[u8], Option<Form>)] = &[
            (b"", None),
            (b" \r\n\t", None),
            (b"data: {}", Some(Form::Events)),
            (b"\n\nevent:x", Some(Form::Events)),
            (b": keep-alive", Some(Form::Events)),
            (b"dat", Some(Form::Events)),
            (b"\xef\xbb\xbfdata:", Some(Form::Events)),
            (b"  {\"id\":1}", Some(Form::Document)),
            (b"[1]", Some(Form::Document)),
            (b": PROCESSING\n\n\xef\xbb\xbf{", Some(Form::Document)),
            (b": PROCESSING\n\n", Some(Form::Events)),
            (b"<!doctype html>", Some(Form::Markup)),
            (b"Internal Server Error", Some(Form::Text)),
        ];
        for (bytes, form) in rows {
            assert_eq!(Form::of(bytes), *form, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
