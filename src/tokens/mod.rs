//! How many tokens a request may need, guessed from its bytes: for limits, and for numbers that a
//! protocol demands before the provider has reported its own. Pure, and cheap enough for a worker.
//! The modules below count exactly, which takes too long for one: only the thread of
//! `control_plane::records::token_counter` calls them.
//!
//! [`EXACT_BYTES`] bytes are read letter by letter; what follows is counted by its bytes, at the
//! density of the first part. Pictures and documents in base64, wherever they stand, count as what
//! they are rather than as text.
//!
//! Against the usage that providers reported for some hundred recorded requests of plain text the
//! guess was right on the median, and half of the time within a third. What the provider adds by
//! itself (files by id, results of its searches, a kept conversation) can't be seen here.

pub mod answer;
pub mod pdf;
pub mod picture;
pub mod request;
mod tally;
pub mod text;
mod tools;
pub mod vocabulary;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{Finder, find};

use crate::limit::Need;
use picture::{DefaultPicture, Detail};
use vocabulary::Pictures;

/// Bytes that are looked at one by one.
pub const EXACT_BYTES: usize = 8 << 10;

/// What is reserved for an answer whose request sets no limit. Most answers are shorter; what one
/// uses beyond it is charged at its end.
pub const ASSUMED_OUTPUT: u64 = 1024;

/// A picture whose size is not seen. Vendors count 85 to 1600, by its size; a document of unknown
/// length counts at least as much.
const PICTURE: u64 = 1000;

/// A page of a document: 1500 to 3000 at Anthropic (docs.claude.com, "PDF support", 2026-11), of
/// which recorded pages with little text take 1600. OpenAI shows pages as pictures too.
const PAGE: u64 = 2000;

/// The rule for a picture whose size is seen, as Anthropic publishes it (docs.claude.com, "Vision",
/// 2026-11): the longest side is 1568 pixels, and 750 of them are a token. OpenAI's rules come to
/// about as much.
const BY_SIZE: Pictures = Pictures::Area { longest: 1568, most: 1600 };

/// Characters of base64 in which the size is looked for.
const PICTURE_HEAD: usize = 8 << 10;

/// What providers say to a model that has tools, beside their descriptions: some 50 to 350.
const TOOLS: u64 = 200;

/// Shorter strings are text, whatever they look like.
const SHORTEST_DATA: usize = 256;

/// Bytes per token of a whole answer that reported no usage: JSON around prose.
const BYTES_PER_TOKEN: u64 = 4;
/// The longest body that counts as short.
const SHORT_BODY: usize = 16 << 10;

/// Bytes per token of a stream that reported no usage: mostly one event for each token, of some
/// hundred bytes.
const STREAMED_BYTES_PER_TOKEN: u64 = 100;

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// As the client sent it, decoded: JSON of any format.
    pub body: &'a [u8],
    /// The most tokens of one answer, if the request limits them.
    pub max_output: Option<u64>,
    /// How many answers are written.
    pub answers: u64,
    /// Whether a model writes an answer. Embeddings and the like use what they are given.
    pub generates: bool,
}

/// The tokens of the prompt, about, and the most that the answer may have.
pub fn estimate(request: &Request<'_>) -> Need {
    let output = match request.generates {
        false => 0,
        true => request.max_output.unwrap_or(ASSUMED_OUTPUT).saturating_mul(request.answers),
    };
    Need { prompt: prompt(request.body), output }
}

/// Returns the tokens of an answer that reported none, by the bytes that the client was sent.
pub fn of_answer(bytes: u64, stream: bool) -> u64 {
    bytes / if stream { STREAMED_BYTES_PER_TOKEN } else { BYTES_PER_TOKEN }
}

/// Returns more tokens than the prompt of a short body is estimated to have, even with a margin of
/// a half, without reading it. `None` for a body that is not short.
#[inline]
pub fn most_of_short_prompt(body: &[u8]) -> Option<u64> {
    // No text is estimated at more than half a token a byte. Few bytes are searched at once.
    let may_have_tools = || body.len() > 256 || has_tools(body);
    let tools = || if may_have_tools() { TOOLS * 3 / 2 } else { 0 };
    (body.len() <= SHORT_BODY).then(|| body.len() as u64 * 3 / 4 + tools() + 1)
}

/// Never inlined: a search takes registers from what calls it, and most bodies are not searched.
#[inline(never)]
fn has_tools(body: &[u8]) -> bool {
    find(body, b"\"tools\"").is_some()
}

/// Returns the tokens of the prompt of a short body by its bytes alone.
#[inline]
pub fn of_short_prompt(body: &[u8]) -> Option<u64> {
    (body.len() <= SHORT_BODY).then_some(body.len() as u64 / BYTES_PER_TOKEN)
}

/// Returns the tokens of the prompt, about.
pub fn prompt(body: &[u8]) -> u64 {
    let mut parts = Parts::new(body);
    // Tokens are counted in quarters.
    let (mut looked_at, mut quarters, mut unseen) = (0, 0, 0);
    while let Some(text) = parts.next_text() {
        let (near, far) = text.split_at(text.len().min(EXACT_BYTES - looked_at));
        looked_at += near.len();
        quarters += count(near);
        unseen += far.len() as u64;
    }
    let seen = (looked_at as u64).max(1);
    // From prose without spaces to digits: what lies beyond is something else.
    let density = quarters.clamp(seen * 4 / 8, seen * 4 / 2);
    let far = u128::from(unseen) * u128::from(density) / u128::from(seen);
    let tools = if has_tools(body) { TOOLS } else { 0 };
    (quarters + far as u64).div_ceil(4) + parts.data + tools
}

/// Splits a body into text and data.
struct Parts<'a> {
    rest: &'a [u8],
    /// Tokens of the data that was passed over.
    data: u64,
    url: Finder<'static>,
    member: Finder<'static>,
    /// Where in `rest` each of them is next found; the length of `rest` if nowhere.
    next_url: usize,
    next_member: usize,
}

/// The end of `data:image/png;base64,`, and the member that holds data in Anthropic's format and
/// OpenAI's of audio.
const URL: &[u8] = b";base64,";
const MEMBER: &[u8] = b"\"data\":";

/// Building one costs as much as a search.
static FINDERS: LazyLock<(Finder<'static>, Finder<'static>)> =
    LazyLock::new(|| (Finder::new(URL), Finder::new(MEMBER)));

impl<'a> Parts<'a> {
    fn new(body: &'a [u8]) -> Parts<'a> {
        let (url, member) = (FINDERS.0.clone(), FINDERS.1.clone());
        let find_in = |finder: &Finder<'_>| finder.find(body).unwrap_or(body.len());
        let (next_url, next_member) = (find_in(&url), find_in(&member));
        Parts { rest: body, data: 0, next_url, next_member, url, member }
    }

    /// Returns the text up to the next data, which is passed over.
    fn next_text(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mark = self.next_url.min(self.next_member);
        let Some(behind) = self.rest.get(mark..).filter(|behind| !behind.is_empty()) else {
            return Some(std::mem::take(&mut self.rest));
        };
        let start = match self.next_url < self.next_member {
            true => URL.len(),
            false => MEMBER.len() + behind[MEMBER.len()..].iter().take_while(|b| b" \n\r\t\"".contains(b)).count(),
        };
        let length = memchr(b'"', &behind[start..]).unwrap_or(behind.len() - start);
        let (data, is_data) = (&behind[start..start + length], is_data(&behind[start..start + length]));
        let text = &self.rest[..mark + start];
        if is_data {
            self.data += tokens_of(data);
            self.skip(mark + start + length);
        } else {
            self.skip(mark + start);
        }
        Some(text)
    }

    fn skip(&mut self, n: usize) {
        self.rest = &self.rest[n..];
        let rest = self.rest;
        let again = |next: usize, finder: &Finder<'_>| match next.checked_sub(n) {
            Some(next) => next,
            None => finder.find(rest).unwrap_or(rest.len()),
        };
        self.next_url = again(self.next_url, &self.url);
        self.next_member = again(self.next_member, &self.member);
    }
}

fn is_data(text: &[u8]) -> bool {
    let start = &text[..text.len().min(64)];
    text.len() >= SHORTEST_DATA
        && start.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_'))
}

fn tokens_of(base64: &[u8]) -> u64 {
    let bytes = base64.len() as u64 / 4 * 3;
    // `%PDF-`.
    if base64.starts_with(b"JVBERi") {
        return match pdf::pages(base64, pdf::Effort::Ends) {
            Some(pages) => pages.max(1) * PAGE,
            None => (bytes / 1000).clamp(PICTURE, 200_000),
        };
    }
    match picture::size(&base64[..base64.len().min(PICTURE_HEAD)]) {
        Some(size) => picture::tokens(BY_SIZE, Some(size), Detail::High, &DefaultPicture::default()),
        None => PICTURE,
    }
}

/// What a byte is to a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Space,
    Mark,
    /// A character of two bytes: most alphabets.
    Two,
    /// Of three: most of the writing of East Asia.
    Three,
    /// Of four: mostly emoji.
    Four,
    /// Inside such a character.
    Inner,
    /// Begins an escape.
    Backslash,
}

/// The class of each byte.
const CLASSES: [Class; 256] = {
    let mut table = [Class::Mark; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class(byte as u8);
        byte += 1;
    }
    table
};

const fn class(byte: u8) -> Class {
    match byte {
        b'\\' => Class::Backslash,
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b' ' | b'\t' | b'\n' | b'\r' => Class::Space,
        0x80..=0xbf => Class::Inner,
        0xc0..=0xdf => Class::Two,
        0xe0..=0xef => Class::Three,
        0xf0.. => Class::Four,
        _ => Class::Mark,
    }
}

/// Quarters of tokens in JSON text.
fn count(text: &[u8]) -> u64 {
    let (mut quarters, mut at) = (0, 0);
    while let Some(&first) = text.get(at) {
        let class = CLASSES[usize::from(first)];
        if class == Class::Backslash {
            // An escaped character outside of ASCII is mostly one token, a line break or a quote
            // half of one.
            let (length, cost) = if text.get(at + 1) == Some(&b'u') { (6, 4) } else { (2, 2) };
            quarters += cost;
            at += length;
            continue;
        }
        let start = at;
        while text.get(at).is_some_and(|byte| CLASSES[usize::from(*byte)] == class) {
            at += 1;
        }
        quarters += run(class, (at - start) as u64);
    }
    quarters
}

/// Returns a run of `n` bytes of one class, in quarters of tokens.
fn run(class: Class, n: u64) -> u64 {
    match class {
        // Common words are one token with the space before them.
        Class::Letter => 4 + 4 * (n.saturating_sub(1) / 6),
        Class::Digit => 4 * n.div_ceil(3),
        Class::Space => 4 * u64::from(n > 1),
        // `":"`, `},{` and the like are one token mostly; half of them are not in the prompt at
        // all.
        Class::Mark => 2 * n.div_ceil(2),
        Class::Two => 2 * n,
        Class::Three => 3 * n,
        Class::Four => 8 * n,
        Class::Inner | Class::Backslash => 0,
    }
}
