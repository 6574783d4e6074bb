//! A stream as one run of bytes, with a mark behind every event.
//!
//! The marks tell where time may pass and where an answer may be cut; the events themselves know
//! nothing of either.

use super::templates::Repeated;

/// The end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Offset behind the event.
    pub end: usize,
    /// The event carries content, so the interval is waited before it.
    pub content: bool,
}

/// The events of a stream, with the places at which each may be cut or delayed.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub bytes: Vec<u8>,
    pub marks: Vec<Mark>,
}

/// Room for the usual answer in any format.
const USUAL_BYTES: usize = 8 * 1024;

impl Script {
    /// Makes an empty script.
    pub(crate) fn new() -> Script {
        Script { bytes: Vec::with_capacity(USUAL_BYTES), marks: Vec::with_capacity(32) }
    }

    /// Ends an event that opens, closes or counts something.
    pub(crate) fn event(&mut self) {
        self.mark(false);
    }

    /// Ends an event that carries content.
    pub(crate) fn content(&mut self) {
        self.mark(true);
    }

    /// One event with content for each piece.
    pub(crate) fn contents<'a>(&mut self, event: &Repeated, pieces: impl Iterator<Item = &'a str>) {
        for piece in pieces {
            event.write(piece, &mut self.bytes);
            self.content();
        }
    }

    fn mark(&mut self, content: bool) {
        self.marks.push(Mark { end: self.bytes.len(), content });
    }

    /// Returns how many events come before the first with content; all, if none has any, but the
    /// last one, which ends the stream.
    pub(crate) fn opening(&self) -> usize {
        let ends = self.marks.len().saturating_sub(1);
        self.marks.iter().position(|mark| mark.content).unwrap_or(ends)
    }

    /// Returns how many events come before the second half of the content; at least the opening.
    pub(crate) fn half(&self) -> usize {
        let half = self.marks.iter().filter(|mark| mark.content).count().div_ceil(2);
        let mut seen = 0;
        let at = self.marks.iter().position(|mark| {
            seen += usize::from(mark.content);
            mark.content && seen == half
        });
        at.map_or(self.opening(), |at| at + 1)
    }

    /// Returns the offset behind the first `events` events.
    pub(crate) fn end_of(&self, events: usize) -> usize {
        match events.checked_sub(1) {
            Some(last) => self.marks.get(last).map_or(self.bytes.len(), |mark| mark.end),
            None => 0,
        }
    }

    /// Drops what comes behind the first `events` events.
    pub(crate) fn cut(&mut self, events: usize) {
        self.bytes.truncate(self.end_of(events));
        self.marks.truncate(events);
    }

    /// Replaces the event `at` by `event`.
    pub(crate) fn replace(&mut self, at: usize, event: &[u8]) {
        let (start, end) = (self.end_of(at), self.end_of(at + 1));
        self.bytes.splice(start..end, event.iter().copied());
        for mark in &mut self.marks[at..] {
            mark.end = mark.end + event.len() - (end - start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upper case letters are events with content.
    fn script(letters: &str) -> Script {
        let mut script = Script::default();
        for letter in letters.bytes() {
            script.bytes.extend_from_slice(&[letter, b'.']);
            if letter.is_ascii_uppercase() { script.content() } else { script.event() }
        }
        script
    }

    #[test]
    fn places() {
        let check = |letters: &str, opening: usize, half: usize| {
            let script = script(letters);
            assert_eq!((script.opening(), script.half()), (opening, half), "{letters}");
        };
        check("abCDEFgh", 2, 4);
        check("aBCDe", 1, 3);
        check("aBc", 1, 2);
        check("abc", 2, 2);
        check("A", 0, 1);
        check("", 0, 0);
    }

    #[test]
    fn edits() {
        let mut s = script("abCDe");
        s.replace(2, b"longer.");
        assert_eq!(s.bytes, b"a.b.longer.D.e.");
        assert_eq!((s.end_of(3), s.end_of(4)), (11, 13));
        s.cut(4);
        assert_eq!((s.bytes.as_slice(), s.marks.len()), (b"a.b.longer.D.".as_slice(), 4));
        s.cut(0);
        assert!(s.bytes.is_empty());
    }
}
