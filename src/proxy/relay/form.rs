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

/// The names with which a line of an event stream begins (WHATWG HTML, 9.2.5).
const FIELDS: [&[u8]; 4] = [b"data", b"event", b"id", b"retry"];

/// Bytes of comments after which a body is a stream.
const COMMENTS_MAX: usize = 16 << 10;

/// Reads the form of a body piece by piece, until one shows it.
#[derive(Debug, Default)]
pub(super) struct FormReader {
    /// The pieces so far, which were comments and white space.
    comments: Vec<u8>,
}

impl FormReader {
    /// Takes the next piece. `None` if it does not show the form.
    pub(super) fn read(&mut self, piece: &[u8]) -> Option<Form> {
        if self.comments.is_empty()
            && let Some(form) = Form::of(piece)
        {
            return Some(form);
        }
        let room = COMMENTS_MAX - self.comments.len();
        self.comments.extend_from_slice(&piece[..piece.len().min(room)]);
        let is_full = self.comments.len() == COMMENTS_MAX;
        Form::of(&self.comments).or(is_full.then_some(Form::Events))
    }

    /// What came before the piece of `len` bytes that showed the form.
    pub(super) fn take_comments(&mut self, len: usize) -> Vec<u8> {
        let mut comments = std::mem::take(&mut self.comments);
        comments.truncate(comments.len().saturating_sub(len));
        comments
    }
}

impl Form {
    /// Returns the form of a body that begins with `bytes`. `None` if they are white space and
    /// comments alone: those may precede a document, too, where a host keeps the connection open by
    /// them.
    fn of(bytes: &[u8]) -> Option<Form> {
        let bytes = preamble::strip(bytes);
        Some(match bytes.first()? {
            b'{' | b'[' => Form::Document,
            b'<' => Form::Markup,
            // A comment whose end has not come.
            b':' => return None,
            b'/' if matches!(bytes, [_] | [_, b'/' | b'*', ..]) => return None,
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
            (b": keep-alive", None),
            (b": keep-alive\n\ndata: {}", Some(Form::Events)),
            (b"/* thinking", None),
            (b"/models", Some(Form::Text)),
            (b"dat", Some(Form::Events)),
            (b"\xef\xbb\xbfdata:", Some(Form::Events)),
            (b"  {\"id\":1}", Some(Form::Document)),
            (b"[1]", Some(Form::Document)),
            (b": PROCESSING\n\n\xef\xbb\xbf{", Some(Form::Document)),
            (b": PROCESSING\n\n", None),
            (b"<!doctype html>", Some(Form::Markup)),
            (b"Internal Server Error", Some(Form::Text)),
        ];
        for (bytes, form) in rows {
            assert_eq!(Form::of(bytes), *form, "{}", String::from_utf8_lossy(bytes));
        }
    }

    /// Wherever the pieces are cut.
    #[test]
    fn comments_in_pieces_of_their_own() {
        let rows =
            [(": PROCESSING\n\n// a\n/* b\n*/ {\"id\":1}", Form::Document), (": a\n\n: b\n\ndata: {}", Form::Events)];
        for (body, expected) in rows {
            for size in 1..body.len() {
                let mut reader = FormReader::default();
                let mut before = 0;
                let found = body.as_bytes().chunks(size).find_map(|piece| {
                    let form = reader.read(piece);
                    if form.is_some() {
                        assert_eq!(reader.take_comments(piece.len()), &body.as_bytes()[..before], "{size}");
                    }
                    before += piece.len();
                    form
                });
                assert_eq!(found, Some(expected), "{size} {body}");
            }
        }
        let mut reader = FormReader::default();
        let comment = [b": ".as_slice(), &[b'x'; 1000], b"\n"].concat();
        let found = (0..100).find_map(|_| reader.read(&comment));
        assert_eq!(found, Some(Form::Events), "comments without end are a stream");
    }
}
