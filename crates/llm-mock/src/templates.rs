//! The answers as text files with holes, and how a hole is filled.
//!
//! The files under `templates/` were written by hand after recorded answers of the vendors, and no
//! codec of this project has a part in them: a fault in `wire` must show as a difference, not
//! cancel itself out.
//!
//! A file has sections, each under a line `#: name`; notes stand before the first one and under `#:
//! -- ...`. A hole is `$name$`. What fills a hole of a JSON string must be escaped already; it is
//! not looked at again.

/// The section `name` of `file`: the text between its line and the next section's line.
///
/// Runs at compile time, and a missing section is a compile error.
pub(crate) const fn section(file: &'static str, name: &str) -> &'static str {
    let bytes = file.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if is_title(bytes, at, name.as_bytes()) {
            let start = end_of_line(bytes, at);
            return cut(file, start, next_title(bytes, start));
        }
        at = end_of_line(bytes, at);
    }
    assert!(at < bytes.len(), "no section of this name");
    ""
}

/// [`section`] without the line breaks at its end.
pub(crate) const fn json(file: &'static str, name: &str) -> &'static str {
    let text = section(file, name);
    let mut end = text.len();
    while end > 0 && text.as_bytes()[end - 1] == b'\n' {
        end -= 1;
    }
    cut(text, 0, end)
}

const fn cut(text: &'static str, start: usize, end: usize) -> &'static str {
    text.split_at(end).0.split_at(start).1
}

const fn is_title(bytes: &[u8], at: usize, name: &[u8]) -> bool {
    if !is_mark(bytes, at) || at + 3 + name.len() >= bytes.len() || bytes[at + 3 + name.len()] != b'\n' {
        return false;
    }
    let mut i = 0;
    while i < name.len() {
        if bytes[at + 3 + i] != name[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn is_mark(bytes: &[u8], at: usize) -> bool {
    at + 3 <= bytes.len() && bytes[at] == b'#' && bytes[at + 1] == b':' && bytes[at + 2] == b' '
}

const fn end_of_line(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'\n' {
        at += 1;
    }
    if at < bytes.len() { at + 1 } else { at }
}

const fn next_title(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !is_mark(bytes, at) {
        at = end_of_line(bytes, at);
    }
    at
}

/// What can fill a hole.
pub(crate) trait Splice {
    fn splice(&self, out: &mut Vec<u8>);
}

impl Splice for &str {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Splice for String {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Splice for Vec<u8> {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl Splice for u64 {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

/// What fills which hole.
pub(crate) type Holes<'a> = [(&'a str, &'a dyn Splice)];

/// Appends `template` with its holes filled. `fill!` is the short way to write it.
pub(crate) fn fill_holes(out: &mut Vec<u8>, template: &str, holes: &Holes) {
    let mut rest = template;
    while let Some(open) = memchr::memchr(b'$', rest.as_bytes()) {
        let (before, after) = (&rest[..open], &rest[open + 1..]);
        let Some(close) = memchr::memchr(b'$', after.as_bytes()) else { break };
        let name = &after[..close];
        out.extend_from_slice(before.as_bytes());
        match holes.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => value.splice(out),
            None => debug_assert!(false, "the template has a hole `{name}` that nothing fills"),
        }
        rest = &after[close + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
}

/// An event that comes many times with another `$text$`: its other holes are filled once.
#[derive(Debug)]
pub(crate) struct Repeated {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Repeated {
    /// Splits the template at `$text$`, and fills in its other holes.
    pub(crate) fn new(template: &str, holes: &Holes) -> Repeated {
        let (before, after) = template.split_once("$text$").unwrap_or((template, ""));
        let mut repeated = Repeated { before: Vec::new(), after: Vec::new() };
        fill_holes(&mut repeated.before, before, holes);
        fill_holes(&mut repeated.after, after, holes);
        repeated
    }

    /// Writes the template with `text` in its place, which must be escaped.
    pub(crate) fn write(&self, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(&self.after);
    }
}

/// `fill!(out, TEMPLATE, model = ask.model, index = 0u64)`.
macro_rules! fill {
    ($out:expr, $template:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::templates::fill_holes($out, $template, &[$((stringify!($name), &$value as &dyn $crate::templates::Splice)),*])
    };
}
pub(crate) use fill;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "a comment\n#: one\nfirst\n\n#: -- note\n#: two\n{\"x\":$x$}\n\n#: three\n#: four\nlast\n";

    #[test]
    fn sections() {
        const ONE: &str = section(FILE, "one");
        assert_eq!(ONE, "first\n\n");
        assert_eq!(section(FILE, "two"), "{\"x\":$x$}\n\n");
        assert_eq!(json(FILE, "two"), "{\"x\":$x$}");
        assert_eq!(section(FILE, "three"), "");
        assert_eq!(section(FILE, "four"), "last\n");
    }

    #[test]
    fn holes() {
        let check = |template: &str, expected: &str| {
            let mut out = Vec::new();
            fill!(&mut out, template, x = 42u64, name = "a$b", more = String::from("c"));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check("", "");
        check("plain", "plain");
        check("$x$", "42");
        check("<$name$|$x$$more$>", "<a$b|42c>");
        check("a price of 3$", "a price of 3$");

        let repeated = Repeated::new("<$x$|$text$|$x$>", &[("x", &42u64)]);
        let mut out = Vec::new();
        repeated.write("a", &mut out);
        repeated.write("$x$", &mut out);
        assert_eq!(out, b"<42|a|42><42|$x$|42>");
    }
}
