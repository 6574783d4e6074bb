//! Where JSON values begin and end.
//!
//! The grammar is RFC 8259, strictly: no comments, no trailing commas, no control characters in
//! strings, no `NaN`, no `01`. What it accepts beyond other readers: half a surrogate pair
//! (`"\ud83d"`), since streams cut pairs in two; duplicate keys, of which
//! [`find`](super::walk::find) takes the last; numbers of any size, since nothing here computes
//! with them.
//!
//! Only [`validate`] looks at UTF-8; the others work on bytes that were checked, or whose reader
//! will check. The walks over members and elements stand in `walk.rs`.

use super::blocks::plain_start;
use super::fault::fault;
pub use super::fault::{Fault, ScanError};
use super::nest::{Nest, Open};
use super::vectors::{self, Lanes, is_special};

/// Receives every value that the scanner goes over, in document order. A key is
/// where it begins and ends, quotes included; both are 0 for what has none.
pub(super) trait Visit {
    /// A string, number or word from `at` to `end`.
    fn scalar(&mut self, key: (usize, usize), at: usize, end: usize);
    /// An array or object begins.
    fn open(&mut self, key: (usize, usize), at: usize);
    /// The one that began last and has not ended, ends.
    fn close(&mut self, end: usize);
    /// The key of the next value has an escape.
    fn escaped_key(&mut self) {}
}

/// A visitor that ignores everything.
impl Visit for () {
    fn scalar(&mut self, _: (usize, usize), _: usize, _: usize) {}
    fn open(&mut self, _: (usize, usize), _: usize) {}
    fn close(&mut self, _: usize) {}
}

/// Skips the value that begins at or after `pos` (white space may precede it) and returns the
/// position behind it.
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(super) fn skip_value(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    skip_value_within(Nest::default(), buf, pos)
}

/// [`skip_value`] where `nest` is open around the value.
pub(super) fn skip_value_within(nest: Nest, buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    visit_value(nest, buf, pos, &mut ())
}

/// Skips a string or a number: what begins at `pos` is no array, object or word.
pub(super) fn skip_flat(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    if byte(buf, pos)? == b'"' { skip_string(buf, pos) } else { skip_scalar(buf, pos) }
}

fn visit_value<V: Visit>(mut nest: Nest, buf: &[u8], pos: usize, visit: &mut V) -> Result<usize, ScanError> {
    let outside = nest.depth();
    let mut key = (0, 0);
    let mut pos = skip_space(buf, pos);
    loop {
        // Here a value must begin.
        let at = pos;
        let mut ended = true;
        match byte(buf, at)? {
            b'"' => {
                pos = skip_string(buf, at)?;
                visit.scalar(key, at, pos);
            }
            left @ (b'{' | b'[') => {
                let (open, right) = if left == b'{' { (Open::Object, b'}') } else { (Open::Array, b']') };
                nest.push(open).or_else(|what| fault(at, what))?;
                visit.open(key, at);
                pos = skip_space(buf, at + 1);
                ended = byte(buf, pos)? == right;
                if ended {
                    nest.pop();
                    pos += 1;
                    visit.close(pos);
                }
            }
            _ => {
                pos = skip_scalar(buf, at)?;
                visit.scalar(key, at, pos);
            }
        }
        // Where one has ended: close what ends with it, or go on to the next.
        while ended {
            if nest.depth() == outside {
                return Ok(pos);
            }
            pos = skip_space(buf, pos);
            match (byte(buf, pos)?, nest.is_object()) {
                (b',', _) => {
                    pos = skip_space(buf, pos + 1);
                    ended = false;
                }
                (b'}', true) | (b']', false) => {
                    nest.pop();
                    pos += 1;
                    visit.close(pos);
                }
                _ => return fault(pos, Fault::Comma),
            }
        }
        key = (0, 0);
        if nest.is_object() {
            let (end, value) = skip_key(buf, pos, || visit.escaped_key())?;
            key = (pos, end);
            pos = value;
        }
    }
}

/// Checks a whole document: UTF-8, one value, nothing but white space around it.
pub fn validate(buf: &[u8]) -> Result<(), ScanError> {
    validate_noting(buf, &mut ())
}

/// [`validate`], telling what is there.
pub(super) fn validate_noting<V: Visit>(buf: &[u8], visit: &mut V) -> Result<(), ScanError> {
    if !is_ascii(buf)
        && let Err(e) = std::str::from_utf8(buf)
    {
        return fault(e.valid_up_to(), Fault::Utf8);
    }
    let end = skip_space(buf, visit_value(Nest::default(), buf, 0, visit)?);
    if end < buf.len() { fault(end, Fault::Trailing) } else { Ok(()) }
}

/// Checks that `body` could stand between the quotes of a string.
pub(super) fn check_string_body(body: &[u8]) -> Result<(), ScanError> {
    let mut pos = 0;
    loop {
        pos = plain_run(body, pos);
        match body.get(pos) {
            None => return Ok(()),
            Some(b'\\') => pos = skip_escape(body, pos)?,
            Some(b'"') => return fault(pos, Fault::Trailing),
            Some(_) => return fault(pos, Fault::Control),
        }
    }
}

/// Returns whether all bytes are ASCII, a word at a time.
#[inline]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let any = words.iter().fold(0, |any, word| any | u64::from_le_bytes(*word));
    let last = rest.iter().fold(0, |any, byte| any | byte);
    any & 0x8080_8080_8080_8080 == 0 && last < 0x80
}

/// Returns whether all bytes are ASCII and none is a backslash: each is a character of its own
/// then. Asks about 16 bytes at once, in a form that compilers turn into vector instructions; the
/// last 16 may be asked about twice.
#[inline]
pub(crate) fn is_ascii_without_escapes(bytes: &[u8]) -> bool {
    let is_other = |byte: u8| byte >= 0x80 || byte == b'\\';
    let is_clean = |block: &[u8; 16]| !block.iter().fold(false, |any, &byte| any | is_other(byte));
    match bytes.last_chunk::<16>() {
        Some(last) => bytes.as_chunks::<16>().0.iter().all(is_clean) && is_clean(last),
        None => !bytes.iter().any(|&byte| is_other(byte)),
    }
}

/// Returns whether the first `len` bytes of `rest` are ASCII, and a string's body as it is: each
/// byte is a character, and none must be escaped.
#[inline]
pub(crate) fn is_plain_ascii(rest: &[u8], len: usize) -> bool {
    if len < 16
        && let Some(block) = rest.first_chunk::<16>()
    {
        let marks = vectors::marks(block);
        return (marks.special | marks.high) & ((1 << len) - 1) == 0;
    }
    // Bytes from 0x80 on are negative, as control characters are small.
    let is_other = |byte: u8| byte.cast_signed() < 0x20 || byte == b'"' || byte == b'\\';
    let Some(text) = rest.get(..len) else { return false };
    let Some(last) = text.last_chunk::<16>() else { return !text.iter().any(|&byte| is_other(byte)) };
    // Marks are gathered in a block of their own, without a question for each: vector instructions.
    let mut marks = [0u8; 16];
    let blocks = text.as_chunks::<16>().0.iter();
    blocks.chain([last]).for_each(|block| {
        for (mark, &byte) in marks.iter_mut().zip(block) {
            *mark |= if is_other(byte) { 0xff } else { 0 };
        }
    });
    u128::from_ne_bytes(marks) == 0
}

/// Returns whether the first `len` bytes of `rest`, behind which a quote stands, are a string's
/// body.
#[inline(always)]
pub(crate) fn is_string_body(lanes: impl Lanes, rest: &[u8], len: usize) -> bool {
    is_unescaped(lanes, rest, len) || string_end(rest, 0) == Some(len)
}

/// Returns whether the first `len` bytes of `rest` have nothing that must be escaped.
#[inline(always)]
fn is_unescaped(lanes: impl Lanes, rest: &[u8], len: usize) -> bool {
    if len <= 16
        && let Some(block) = rest.first_chunk::<16>()
    {
        return vectors::marks(block).special & ((1 << len) - 1) == 0;
    }
    let Some(text) = rest.get(..len) else { return false };
    match (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        (Some(first), Some(last)) if len <= 32 => (vectors::marks(first).special | vectors::marks(last).special) == 0,
        (Some(_), _) => lanes.is_plain(text),
        (None, _) => !text.iter().any(|&byte| is_special(byte)),
    }
}

/// Returns whether a text is a string's body as it is: it has nothing that must be escaped.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let marks = |word: &[u8; 8]| special_marks(u64::from_le_bytes(*word));
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) if text.len() <= 16 => marks(first) | marks(last) == 0,
        (Some(_), _) => plain_run(text, 0) == text.len(),
        (None, _) => !text.iter().any(|&byte| is_special(byte)),
    }
}

/// Where the string ends whose inside begins at `pos`: the position of its closing quote. `None` if
/// it is malformed, or if its end has not come yet.
pub(crate) fn string_end(buf: &[u8], pos: usize) -> Option<usize> {
    string_end_gathering(buf, pos, &mut 0)
}

/// Does the same, and adds those of the string to `high_bits` as [`short_run_gathering`] does.
pub(crate) fn string_end_gathering(buf: &[u8], mut pos: usize, high_bits: &mut u64) -> Option<usize> {
    loop {
        pos = plain_run_gathering(buf, pos, high_bits);
        match buf.get(pos)? {
            b'"' => return Some(pos),
            b'\\' => pos = skip_escape(buf, pos).ok()?,
            _ => return None,
        }
    }
}

/// Returns the byte at `pos`. The error says that the document ends there.
#[inline]
pub(super) fn byte(buf: &[u8], pos: usize) -> Result<u8, ScanError> {
    buf.get(pos).copied().ok_or(ScanError { at: buf.len(), what: Fault::Eof })
}

/// Most white space has no length at all: one comparison decides.
#[inline]
pub fn skip_space(buf: &[u8], pos: usize) -> usize {
    match buf.get(pos) {
        Some(b) if *b > b' ' => pos,
        _ => skip_spaces(buf, pos),
    }
}

fn skip_spaces(buf: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = buf.get(pos) {
        pos += 1;
    }
    pos
}

/// Skips a key, its colon and the space after it. Returns where the key ends, quote included, and
/// where the value begins. Calls `on_escape` for a key that has an escape.
#[inline(always)]
pub(super) fn skip_key(buf: &[u8], pos: usize, on_escape: impl FnOnce()) -> Result<(usize, usize), ScanError> {
    if byte(buf, pos)? != b'"' {
        return fault(pos, Fault::Key);
    }
    let end = plain_run(buf, pos + 1);
    let end = if buf.get(end) == Some(&b'"') {
        end + 1
    } else {
        on_escape();
        skip_rest_of_string(buf, end)?
    };
    let colon = skip_space(buf, end);
    if byte(buf, colon)? != b':' {
        return fault(colon, Fault::Colon);
    }
    Ok((end, skip_space(buf, colon + 1)))
}

/// Skips the string whose opening quote is at `pos`.
#[inline(always)]
fn skip_string(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let end = plain_run(buf, pos + 1);
    if buf.get(end) == Some(&b'"') { Ok(end + 1) } else { skip_rest_of_string(buf, end) }
}

/// Skips what is left of a string from `pos` on, which is where its first escape is, or its
/// fault.
#[inline(never)]
fn skip_rest_of_string(buf: &[u8], mut pos: usize) -> Result<usize, ScanError> {
    loop {
        pos = plain_run(buf, pos);
        match byte(buf, pos)? {
            b'"' => return Ok(pos + 1),
            b'\\' => pos = skip_escape(buf, pos)?,
            _ => return fault(pos, Fault::Control),
        }
    }
}

/// Skips the escape whose backslash is at `pos`.
fn skip_escape(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    match byte(buf, pos + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(pos + 2),
        b'u' => match buf.get(pos + 2..pos + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(pos + 6),
            Some(_) => fault(pos, Fault::Escape),
            None => fault(buf.len(), Fault::Eof),
        },
        _ => fault(pos, Fault::Escape),
    }
}

fn skip_scalar(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let literal = |word: &[u8]| match buf[pos..].starts_with(word) {
        true => Ok(pos + word.len()),
        false => fault(pos, Fault::Value),
    };
    match byte(buf, pos)? {
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        b'n' => literal(b"null"),
        b'-' | b'0'..=b'9' => skip_number(buf, pos),
        _ => fault(pos, Fault::Value),
    }
}

fn skip_number(buf: &[u8], start: usize) -> Result<usize, ScanError> {
    let digits = |from: usize| {
        let end = buf[from..].iter().position(|b| !b.is_ascii_digit()).map_or(buf.len(), |n| from + n);
        if end == from { fault(start, Fault::Number) } else { Ok(end) }
    };
    let mut pos = start + usize::from(buf[start] == b'-');
    pos = match buf.get(pos) {
        Some(b'0') => pos + 1,
        _ => digits(pos)?,
    };
    if buf.get(pos) == Some(&b'.') {
        pos = digits(pos + 1)?;
    }
    if let Some(b'e' | b'E') = buf.get(pos) {
        let sign = matches!(buf.get(pos + 1), Some(b'+' | b'-'));
        pos = digits(pos + 1 + usize::from(sign))?;
    }
    // `01` and `1x` are caught by whoever looks for a comma behind the number.
    Ok(pos)
}

/// Returns the position of the first quote, backslash or control character at or after `pos`, or
/// the length of `buf`.
///
/// Most bytes of a body stand inside strings, so this is the speed of everything above. Most
/// strings are short, keys above all, and runs between escapes are too: the first 8 bytes are
/// looked at as a word, with arithmetic that finds the position. Longer runs: [`long_run`].
#[inline]
pub(crate) fn plain_run(buf: &[u8], pos: usize) -> usize {
    plain_run_gathering(buf, pos, &mut 0)
}

/// Does the same, and adds those of the run to `high_bits` as [`short_run_gathering`] does.
#[inline]
fn plain_run_gathering(buf: &[u8], pos: usize, high_bits: &mut u64) -> usize {
    let Some(rest) = buf.get(pos..) else { return buf.len() };
    let Some(word) = rest.first_chunk::<8>() else { return pos + run_by_words(rest, high_bits) };
    let word = u64::from_le_bytes(*word);
    match special_marks(word) {
        0 => {
            *high_bits |= word & TOP_BITS;
            long_run(buf, pos + 8, high_bits)
        }
        marks => {
            *high_bits |= before(word, marks) & TOP_BITS;
            pos + marks.trailing_zeros() as usize / 8
        }
    }
}

/// The top bit of each byte of a word.
pub(crate) const TOP_BITS: u64 = 0x8080_8080_8080_8080;

/// Returns the length of the run at `pos` as [`plain_run`] finds its end, for texts that are a word
/// or two, and adds to `high_bits` some of the [`TOP_BITS`], if not all bytes of it are ASCII.
#[inline(always)]
pub(crate) fn short_run_gathering<L: Lanes>(lanes: L, buf: &[u8], pos: usize, high_bits: &mut u64) -> usize {
    let Some(rest) = buf.get(pos..) else { return 0 };
    let marks = match (rest.first_chunk::<16>(), buf.last_chunk::<16>()) {
        (Some(block), _) => vectors::marks(block),
        // Near the end of the text: what stands before `pos` is shifted out.
        (None, Some(block)) => {
            let vectors::Marks { special, high } = vectors::marks(block);
            let before = 16 - rest.len();
            vectors::Marks { special: (special >> before) | 1 << rest.len(), high: high >> before }
        }
        (None, None) => return run_by_words(rest, high_bits),
    };
    if marks.special == 0 {
        *high_bits |= if marks.high == 0 { 0 } else { TOP_BITS };
        if !L::IS_WIDE {
            return long_run(rest, 16, high_bits);
        }
        let plain = lanes.plain_start(&rest[16..]);
        *high_bits |= if plain.is_ascii { 0 } else { TOP_BITS };
        return 16 + plain.len;
    }
    run_before(marks, high_bits)
}

/// Returns the bytes of a word before the lowest of its marks, and of that one all but its mark.
#[inline]
fn before(word: u64, marks: u64) -> u64 {
    word & ((marks & marks.wrapping_neg()) - 1)
}

/// Not inlined: it would make the short way longer everywhere. One small block more, since keys end
/// there, and then all blocks.
#[inline(never)]
fn long_run(buf: &[u8], pos: usize, high_bits: &mut u64) -> usize {
    let rest = &buf[pos..];
    let Some(block) = rest.first_chunk::<16>() else { return pos + run_by_words(rest, high_bits) };
    let marks = vectors::marks(block);
    if marks.special != 0 {
        return pos + run_before(marks, high_bits);
    }
    *high_bits |= if marks.high == 0 { 0 } else { TOP_BITS };
    let plain = plain_start(&rest[16..]);
    *high_bits |= if plain.is_ascii { 0 } else { TOP_BITS };
    pos + 16 + plain.len
}

/// Returns how many bytes of a block stand before the first special one, of which there is one, and
/// adds to `high_bits` if not all of them are ASCII.
#[inline(always)]
fn run_before(marks: vectors::Marks, high_bits: &mut u64) -> usize {
    let run = marks.special.trailing_zeros();
    *high_bits |= if marks.high & ((1 << run) - 1) == 0 { 0 } else { TOP_BITS };
    run as usize
}

/// Finds the end of a run word by word: for texts that are shorter than two words, and behind the
/// last whole block of a run.
#[inline]
fn run_by_words(rest: &[u8], high_bits: &mut u64) -> usize {
    let (words, tail) = rest.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        match special_marks(word) {
            0 => *high_bits |= word & TOP_BITS,
            marks => {
                *high_bits |= before(word, marks) & TOP_BITS;
                return 8 * n + marks.trailing_zeros() as usize / 8;
            }
        }
    }
    let run = tail.iter().position(|&b| is_special(b)).unwrap_or(tail.len());
    *high_bits |= tail[..run].iter().fold(0, |bits, byte| bits | u64::from(byte & 0x80));
    8 * words.len() + run
}

/// Returns the top bit of each byte of `word` that [`is_special`]. Exact up to the lowest one: what
/// a subtraction borrows makes false marks in higher bytes alone (Mycroft's test for a zero byte).
#[inline]
fn special_marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let flipped = word ^ (ONES * 2);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes_and_controls = flipped.wrapping_sub(ONES * 0x21) & !flipped;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    (quotes_and_controls | backslashes) & (ONES << 7)
}

#[cfg(test)]
mod tests;
