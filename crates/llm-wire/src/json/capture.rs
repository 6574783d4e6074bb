//! The value of one key of a document that comes in pieces.

/// A string of more escaped bytes inside a captured value is captured as an empty one: it is
/// content, and the words that describe an answer are shorter.
pub(super) const MAX_TEXT: usize = 256;

/// What is captured of one key.
pub(super) struct Capture {
    pub(super) key: &'static str,
    /// `None` until the key was seen, and again if its value outgrew the limit.
    pub(super) value: Option<Vec<u8>>,
    pub(super) inside: Inside,
}

/// Where in a captured value the next bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    Structure,
    /// In a string within the value, whose captured bytes begin here.
    Text(usize),
    /// In one that turned out to be long.
    LongText,
}

impl Capture {
    /// Makes a capture of a key that was not seen yet.
    pub(super) fn new(key: &'static str) -> Capture {
        Capture { key, value: None, inside: Inside::Structure }
    }

    /// Appends bytes of the value. It holds no more than `limit` and [`MAX_TEXT`], and a piece.
    pub(super) fn take(&mut self, bytes: &[u8], limit: usize) {
        let Some(value) = &mut self.value else { return };
        match self.inside {
            Inside::Structure if value.len() + bytes.len() > limit => self.value = None,
            Inside::Structure => value.extend_from_slice(bytes),
            Inside::Text(from) => {
                value.extend_from_slice(bytes);
                if value.len() - from > MAX_TEXT {
                    value.truncate(from);
                    self.inside = Inside::LongText;
                }
            }
            Inside::LongText => {}
        }
    }

    /// Notes that a string within the value begins with the next bytes.
    pub(super) fn begin_text(&mut self) {
        self.inside = Inside::Text(self.value.as_ref().map_or(0, Vec::len));
    }
}
