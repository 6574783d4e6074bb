//! How many pages a PDF has, from its base64: what vendors count is pages.
//!
//! The number stands in the root of the page tree (`/Type /Pages`, `/Count`; ISO 32000-2, 7.7.3.2),
//! which a writer may put into a compressed object stream (7.5.7). Without a root the page objects
//! are counted. A file that is encrypted or broken in these places has no number here.
//!
//! Each step is linear in the bytes, and what is decoded and inflated is bounded.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use memchr::memmem;

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Its beginning and its end, where the root stands as a rule: for a worker.
    Ends,
    /// All of it, off the request path.
    Whole,
}

/// Characters of base64 that are read at either end.
const END: usize = 96 << 10;
/// Characters of base64 that are read of a whole file. Vendors take 32 MB.
const WHOLE: usize = 48 << 20;
/// Bytes that are inflated, by effort.
const INFLATED: (usize, usize) = (512 << 10, 16 << 20);
/// Object streams, and nodes of the page tree, that are looked at.
const MAX_OBJECTS: usize = 512;
/// More pages than any vendor takes in one request (Anthropic: 600, "PDF support", 2026).
const PAGES_MAX: u64 = 1000;
/// How far from its type the count of a node may stand.
const NODE: usize = 64 << 10;

/// Returns the pages of a file, at most [`PAGES_MAX`]. `base64` may be in JSON's escaped form.
/// `None` for what is no PDF, or does not show its pages.
pub fn pages(base64: &[u8], effort: Effort) -> Option<u64> {
    if !base64.starts_with(b"JVBERi") {
        return None;
    }
    let (head, tail) = match effort {
        Effort::Whole => (base64.get(..base64.len().min(WHOLE))?, &[][..]),
        Effort::Ends if base64.len() <= 2 * END => (base64, &[][..]),
        // The last group of four characters begins at a multiple of four from the end.
        Effort::Ends => (&base64[..END], &base64[base64.len() - END..]),
    };
    let is_whole = head.len() == base64.len();
    let mut seen = Seen { inflate: if effort == Effort::Ends { INFLATED.0 } else { INFLATED.1 }, ..Seen::default() };
    for part in [head, tail] {
        seen.read(&decoded(part, part.len() == tail.len() && !tail.is_empty()));
    }
    let counted = (is_whole && seen.objects > 0).then_some(seen.objects);
    seen.root.or(counted).map(|pages| pages.min(PAGES_MAX))
}

/// Returns the bytes of base64 without the escapes of JSON. `from_end`: the groups of four are
/// counted from the end.
fn decoded(base64: &[u8], from_end: bool) -> Vec<u8> {
    let plain = base64.iter().filter(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte));
    let mut text: Vec<u8> = plain
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    if from_end {
        // Padding tells how long the last group is.
        let padding = base64.iter().rev().take_while(|byte| **byte == b'=').count();
        let odd = (text.len() + padding) % 4;
        text.drain(..odd.min(text.len()));
    }
    if text.len() % 4 == 1 {
        text.pop();
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text).unwrap_or_default()
}

/// What was found.
#[derive(Default)]
struct Seen {
    /// The greatest count of a node of the page tree.
    root: Option<u64>,
    /// Page objects.
    objects: u64,
    nodes: usize,
    /// Bytes that may still be inflated.
    inflate: usize,
}

impl Seen {
    fn read(&mut self, bytes: &[u8]) {
        self.scan(bytes);
        for at in memmem::find_iter(bytes, b"/ObjStm").take(MAX_OBJECTS) {
            let rest = &bytes[at..bytes.len().min(at + 1024)];
            let Some(start) = memmem::find(rest, b"stream") else { continue };
            let data = &bytes[at + start + 6..];
            let data = data.strip_prefix(b"\r\n").or(data.strip_prefix(b"\n")).unwrap_or(data);
            let inner = self.inflated(data);
            self.scan(&inner);
        }
    }

    /// Returns the beginning of a compressed stream, as far as it may be inflated.
    fn inflated(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.inflate.min(64 << 10));
        let mut stream = flate2::Decompress::new(true);
        let mut at = 0;
        while out.len() < self.inflate {
            out.reserve((16 << 10).min(self.inflate - out.len()).max(1));
            let before = (stream.total_in(), stream.total_out());
            let Ok(status) = stream.decompress_vec(&data[at..], &mut out, flate2::FlushDecompress::None) else { break };
            at = usize::try_from(stream.total_in()).unwrap_or(data.len()).min(data.len());
            if status == flate2::Status::StreamEnd || before == (stream.total_in(), stream.total_out()) {
                break;
            }
        }
        out.truncate(self.inflate);
        self.inflate -= out.len();
        out
    }

    fn scan(&mut self, bytes: &[u8]) {
        for at in memmem::find_iter(bytes, b"/Type") {
            let name = &bytes[at + 5..];
            let name = &name[name.iter().take_while(|byte| is_space(**byte)).count()..];
            let Some(rest) = name.strip_prefix(b"/Page") else { continue };
            match rest {
                [b's', end, ..] if !is_regular(*end) => {
                    self.nodes += 1;
                    if self.nodes <= MAX_OBJECTS {
                        self.root = self.root.max(count_near(bytes, at));
                    }
                }
                [end, ..] if is_regular(*end) => {}
                _ => self.objects += 1,
            }
        }
    }
}

/// Returns the `/Count` of the node whose `/Type` stands at `at`: behind it, or before it, within
/// the same object.
fn count_near(bytes: &[u8], at: usize) -> Option<u64> {
    const KEY: &[u8] = b"/Count";
    let behind = &bytes[at + 5..bytes.len().min(at + 5 + NODE)];
    let end = [&b"endobj"[..], b"/Type"].into_iter().filter_map(|mark| memmem::find(behind, mark)).min();
    let behind = &behind[..end.unwrap_or(behind.len())];
    if let Some(found) = memmem::find(behind, KEY) {
        return number(&behind[found + KEY.len()..]);
    }
    let before = &bytes[at.saturating_sub(NODE)..at];
    let start = [&b"endobj"[..], b"/Type"].into_iter().filter_map(|mark| memmem::rfind(before, mark)).max();
    let before = &before[start.unwrap_or(0)..];
    memmem::rfind(before, KEY).and_then(|found| number(&before[found + KEY.len()..]))
}

fn number(bytes: &[u8]) -> Option<u64> {
    let bytes = &bytes[bytes.iter().take_while(|byte| is_space(**byte)).count()..];
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).take(9).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

/// White space of PDF.
fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 12 | b'\r' | b' ')
}

/// Returns whether a name goes on with this byte.
fn is_regular(byte: u8) -> bool {
    !is_space(byte) && !b"()<>[]{}/%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn both(pdf: &[u8]) -> (Option<u64>, Option<u64>) {
        let text = STANDARD.encode(pdf);
        (pages(text.as_bytes(), Effort::Ends), pages(text.as_bytes(), Effort::Whole))
    }

    fn packed(objects: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(objects).unwrap();
        out.finish().unwrap()
    }

    const HEAD: &[u8] = b"%PDF-1.7\n";

    #[test]
    fn pages_of_files() {
        let page = "<< /Type /Page /Parent 2 0 R >>";
        let objects = |list: &[String]| {
            let list: Vec<String> =
                list.iter().enumerate().map(|(n, object)| format!("{} 0 obj\n{object}\nendobj\n", n + 1)).collect();
            [HEAD, list.concat().as_bytes()].concat()
        };
        let root = |count: u64| format!("<< /Type /Pages /Kids [3 0 R] /Count {count} >>");
        let rows: Vec<(&str, Vec<u8>, Option<u64>)> = vec![
            ("one page", objects(&[root(1), page.to_owned()]), Some(1)),
            ("without spaces", objects(&["<</Count 7/Type/Pages/Kids[3 0 R]>>".into()]), Some(7)),
            ("line ends", objects(&["<<\n/Type\r\n/Pages\n/Count\n12\n>>".into()]), Some(12)),
            ("a tree of nodes", objects(&[root(9), root(4), root(5)]), Some(9)),
            ("an outline counts something else", objects(&["<</Type/Outlines/Count 40>>".into(), root(2)]), Some(2)),
            ("no root", objects(&[page.to_owned(), page.to_owned()]), Some(2)),
            ("names that begin alike", objects(&["<</Type/PageLabel>><</Type/Pagesx/Count 3>>".into()]), None),
            ("more than anyone takes", objects(&[root(999_999_999)]), Some(PAGES_MAX)),
            ("nothing", HEAD.to_vec(), None),
            (
                "an object stream",
                [
                    HEAD,
                    b"5 0 obj\n<</Type/ObjStm/N 2/First 9/Filter/FlateDecode>>\nstream\r\n",
                    &packed(b"1 0 2 40 <</Type/Pages/Count 23/Kids[2 0 R]>> <</Type/Page>>"),
                    b"\nendstream\nendobj",
                ]
                .concat(),
                Some(23),
            ),
            ("a broken object stream", [HEAD, b"<</Type/ObjStm>>stream\nxxxx"].concat(), None),
        ];
        for (name, pdf, expected) in rows {
            assert_eq!(both(&pdf), (expected, expected), "{name}");
            let escaped = STANDARD.encode(&pdf).replace('/', "\\/");
            assert_eq!(pages(escaped.as_bytes(), Effort::Whole), expected, "{name}");
        }
        assert_eq!(pages(STANDARD.encode(b"\x89PNG\r\n\x1a\n").as_bytes(), Effort::Whole), None);
    }

    /// A root at the end of a large file is seen from there; one in its middle only by who reads
    /// all of it.
    #[test]
    fn large_files() {
        for more in 0..3 {
            let filler = vec![b'x'; (600 << 10) + more];
            let root = b"1 0 obj <</Type/Pages/Count 31>> endobj\n";
            assert_eq!(both(&[HEAD, &filler, root].concat()), (Some(31), Some(31)));
            assert_eq!(both(&[HEAD, root, &filler].concat()), (Some(31), Some(31)));
            assert_eq!(both(&[HEAD, &filler, root, &filler].concat()), (None, Some(31)));
        }
    }

    /// Files that are made to be slow or large.
    #[test]
    fn hostile_files_are_bounded() {
        let many = [HEAD, b"/Type/Pages".repeat(200_000).as_slice()].concat();
        assert_eq!(both(&many), (None, None));
        let zeros = packed(&vec![0; 64 << 20]);
        let bomb = [HEAD, b"/ObjStm stream\n", &zeros].concat();
        assert_eq!(both(&bomb.repeat(3)), (None, None));
    }
}
