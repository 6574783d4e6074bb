//! Data URLs and media types, without a copy of what they carry
//! (`docs/internals/translation/requests.md`, "Content parts").
//!
//! A data URL of an image is megabytes long and is inside a JSON string; it is looked at in its
//! escaped form, and the payload is a slice of it. Some clients escape the slash (`\/`), which
//! base64 uses: the slice stays valid inside any other JSON string.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::GeneralPurposeConfig;

use crate::canonical::request::Src;
use crate::canonical::text::Text;
use crate::json::{RawStr, write};

/// A parsed `data:` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataUrl<'a> {
    /// Lower case, without parameters; as sniffed if none was declared. `application/octet-stream`
    /// if nothing is known.
    pub media: Cow<'static, str>,
    pub payload: Payload<'a>,
}

/// The content of a data URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// An escaped body that holds base64.
    Base64(RawStr<'a>),
    /// Text that was percent-encoded.
    Text(Text<'a>),
}

const UNKNOWN: &str = "application/octet-stream";

/// Media types that need no allocation.
const KNOWN: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "application/pdf",
    "text/plain",
    "audio/wav",
    "audio/mpeg",
    UNKNOWN,
];

/// Parses a data URL in an escaped body. `None` if it is another URL or has no comma.
pub(crate) fn parse(url: RawStr<'_>) -> Option<DataUrl<'_>> {
    let bytes = url.as_bytes();
    let scheme = bytes.get(..5)?;
    if !scheme.eq_ignore_ascii_case(b"data:") {
        return None;
    }
    let comma = 5 + memchr::memchr(b',', &bytes[5..])?;
    let head = RawStr::new(&bytes[5..comma]).unescape();
    let body = RawStr::new(&bytes[comma + 1..]);
    let mut words = head.split(';').map(str::trim);
    let declared = words.next().unwrap_or_default();
    let is_base64 = words.any(|word| word.eq_ignore_ascii_case("base64"));
    if !is_base64 {
        let media = if declared.is_empty() { Cow::Borrowed("text/plain") } else { normal(declared) };
        return Some(DataUrl { media, payload: Payload::Text(percent_decoded(body)) });
    }
    Some(DataUrl { media: media_of(declared, body), payload: Payload::Base64(body) })
}

/// Returns the media type of a base64 payload: as declared, or recognized by its first bytes if the
/// declaration is not specific, or is that of an image and wrong.
pub(crate) fn media_of(declared: &str, payload: RawStr<'_>) -> Cow<'static, str> {
    let declared = normal(declared);
    let is_specific = !declared.is_empty() && declared != UNKNOWN;
    // OpenAI does not look at the type. Messages refuses a PNG that is called a JPEG.
    if is_specific && !declared.starts_with("image/") {
        return declared;
    }
    match sniff(payload) {
        Some(found) => Cow::Borrowed(found),
        None if is_specific => declared,
        None => Cow::Borrowed(UNKNOWN),
    }
}

/// Returns the media type that the suffix of a file name means. `None` if it means none that a
/// provider takes.
pub(crate) fn media_by_name(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "txt" | "md" | "csv" | "log" | "json" | "xml" | "html" | "yaml" | "yml" => "text/plain",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        _ => return None,
    })
}

/// Returns a file's source with the type that its name implies, where it has none itself.
pub(crate) fn named<'a>(src: Src<'a>, name: Option<&Text<'_>>) -> Src<'a> {
    let by_name = name.and_then(|name| media_by_name(&name.unescape()));
    match (src, by_name) {
        (Src::Base64 { media, data }, Some(by_name)) if media == UNKNOWN => {
            Src::Base64 { media: Cow::Borrowed(by_name), data }
        }
        (src, _) => src,
    }
}

/// Returns whether a source in the place of an image is a document: a PDF, by its type or by the
/// end of its URL's path, or text.
pub(crate) fn is_document(src: &Src<'_>) -> bool {
    match src {
        Src::Base64 { media, .. } => media == "application/pdf" || media.starts_with("text/"),
        Src::Url(url) => is_pdf_url(url.raw()),
        Src::FileId { .. } | Src::Text(_) | Src::Content(_) => false,
    }
}

fn is_pdf_url(url: RawStr<'_>) -> bool {
    let url = url.unescape();
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.get(path.len().saturating_sub(4)..).is_some_and(|end| end.eq_ignore_ascii_case(".pdf"))
}

/// Other spellings of types. Stores and downloads call a file that they do not know `binary`
/// (Amazon S3 among them) or something that is to be saved.
const SPELLINGS: &[(&str, &str)] = &[
    ("image/jpg", "image/jpeg"),
    ("application/x-pdf", "application/pdf"),
    ("application/acrobat", "application/pdf"),
    ("text/pdf", "application/pdf"),
    ("binary/octet-stream", UNKNOWN),
    ("application/binary", UNKNOWN),
    ("application/unknown", UNKNOWN),
    ("application/download", UNKNOWN),
    ("application/x-download", UNKNOWN),
    ("application/force-download", UNKNOWN),
    ("unknown/unknown", UNKNOWN),
    ("*/*", UNKNOWN),
];

/// Lower case, without parameters, spelled as registered.
fn normal(media: &str) -> Cow<'static, str> {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if let Some((_, registered)) = SPELLINGS.iter().find(|(other, _)| *other == media) {
        return Cow::Borrowed(registered);
    }
    match KNOWN.iter().find(|known| **known == media) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(media),
    }
}

/// Returns the media type that the first bytes of a base64 payload tell.
pub(crate) fn sniff(payload: RawStr<'_>) -> Option<&'static str> {
    // 24 characters give 18 bytes, more than any signature below needs.
    let start = RawStr::new(&payload.as_bytes()[..payload.len().min(160)]).unescape();
    let prefix: Vec<u8> = start.bytes().filter(|byte| !byte.is_ascii_whitespace()).take(24).collect();
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let bytes = engine.decode(prefix).ok()?;
    match bytes.as_slice() {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some("audio/wav"),
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        _ => None,
    }
}

/// Returns whether Messages takes images of this type.
pub(crate) fn is_messages_image(media: &str) -> bool {
    matches!(media, "image/jpeg" | "image/png" | "image/gif" | "image/webp")
}

/// Writes a data URL as a JSON string, quotes included.
pub(crate) fn write(media: &str, payload: RawStr<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"data:");
    write::escaped(out, media);
    out.extend_from_slice(b";base64,");
    write_payload(payload, out);
    out.push(b'"');
}

/// Writes base64 without the white space in it: tools wrap it at 64 or 76 characters, and neither
/// Anthropic nor readers with strict types take that. What has none is copied as it is, escaped
/// slashes included.
pub(crate) fn write_payload(payload: RawStr<'_>, out: &mut Vec<u8>) {
    let bytes = payload.as_bytes();
    // Up to where it is written, and up to where it is read: within an escape nothing begins.
    let (mut from, mut read) = (0, 0);
    for at in memchr::memchr2_iter(b' ', b'\\', bytes) {
        if at < read {
            continue;
        }
        let (is_space, len) = match &bytes[at..] {
            [b' ', ..] => (true, 1),
            [_, b'n' | b'r' | b't' | b'f', ..] => (true, 2),
            [_, b'u', b'0', b'0', high, low, ..] => {
                let is_space =
                    matches!((high, low), (b'2', b'0') | (b'0', b'9' | b'a' | b'A' | b'c' | b'C' | b'd' | b'D'));
                (is_space, 6)
            }
            _ => (false, 2),
        };
        read = at + len;
        if is_space {
            out.extend_from_slice(&bytes[from..at]);
            from = read;
        }
    }
    out.extend_from_slice(&bytes[from..]);
}

fn percent_decoded(body: RawStr<'_>) -> Text<'_> {
    if !body.as_bytes().contains(&b'%') {
        return body.into();
    }
    let plain = body.unescape();
    let mut out = Vec::with_capacity(plain.len());
    let mut rest = plain.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |n: usize| tail.get(n).and_then(|d| char::from(*d).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Text::plain(&String::from_utf8_lossy(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters, upper case, no base64, nothing declared.
    #[test]
    fn data_urls() {
        let base64 = |data: &'static str| Payload::Base64(RawStr::new(data.as_bytes()));
        let text = |data: &str| Payload::Text(Text::plain(data));
        let rows = [
            ("data:image/png;base64,iVBORw0KGgo=", "image/png", base64("iVBORw0KGgo=")),
            ("DATA:IMAGE/PNG;charset=utf-8;BASE64,AAAA", "image/png", base64("AAAA")),
            (r"data:image\/jpg;base64,\/9j\/4AAQ", "image/jpeg", base64(r"\/9j\/4AAQ")),
            ("data:;base64,iVBORw0KGgoAAAANSUhEUg==", "image/png", base64("iVBORw0KGgoAAAANSUhEUg==")),
            (
                r"data:application/octet-stream;base64,\/9j\/4AAQSkZJRgABAQ==",
                "image/jpeg",
                base64(r"\/9j\/4AAQSkZJRgABAQ=="),
            ),
            ("data:;base64,AAAA", UNKNOWN, base64("AAAA")),
            ("data:application/pdf;name=a.pdf;base64,JVBERi0=", "application/pdf", base64("JVBERi0=")),
            ("data:image/png;base64,JVBERi0=", "application/pdf", base64("JVBERi0=")),
            ("data:image/jpeg;base64,iVBORw0KGgo=", "image/png", base64("iVBORw0KGgo=")),
            ("data:image/svg+xml;base64,PHN2Zy8+", "image/svg+xml", base64("PHN2Zy8+")),
            ("data:binary/octet-stream;base64,JVBERi0=", "application/pdf", base64("JVBERi0=")),
            ("data:application/x-pdf;base64,AAAA", "application/pdf", base64("AAAA")),
            ("data:text/plain;charset=utf-8,a%20b%0Ac%zz", "text/plain", text("a b\nc%zz")),
            ("data:,hello", "text/plain", text("hello")),
        ];
        for (url, media, payload) in rows {
            let got = parse(RawStr::new(url.as_bytes())).unwrap();
            assert_eq!((got.media.as_ref(), got.payload), (media, payload), "{url}");
        }
        for url in ["https://example.com/a.png", "data:image/png", "dat", ""] {
            assert_eq!(parse(RawStr::new(url.as_bytes())), None, "{url}");
        }
    }

    #[test]
    fn white_space_within_a_payload_goes() {
        let rows = [
            ("iVBORw0KGgo=", "iVBORw0KGgo="),
            (r"\/9j\/4AAQ", r"\/9j\/4AAQ"),
            (r" iVBO\nRw0K\r\nGgo=\n", "iVBORw0KGgo="),
            (r"\u0020iV\u000aBO\u000DRw0\tK\u002f\u0029", r"iVBORw0K\u002f\u0029"),
            (r"a\\n\\\nb\", r"a\\n\\b\"),
            ("", ""),
            (" ", ""),
        ];
        for (payload, expected) in rows {
            let mut out = Vec::new();
            write_payload(RawStr::new(payload.as_bytes()), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{payload}");
        }
        for wrapped in
            [" iVBORw0KGgoAAAANSUhEUg==", r"\niVBORw0K\r\nGgoAAAANSUhEUg==", r"iVBORw0K\u000aGgoAAAANSUhEUg=="]
        {
            assert_eq!(sniff(RawStr::new(wrapped.as_bytes())), Some("image/png"), "{wrapped}");
        }
    }

    /// A large payload is a slice of the body.
    #[test]
    fn a_large_payload_is_not_copied() {
        let url = format!("data:image/png;base64,{}", "A".repeat(50 << 20));
        let raw = RawStr::new(url.as_bytes());
        let Some(DataUrl { payload: Payload::Base64(data), .. }) = parse(raw) else { panic!("not base64") };
        assert_eq!(data.as_bytes().as_ptr(), url.as_bytes()[url.len() - data.len()..].as_ptr());
        let mut out = Vec::new();
        write("image/png", RawStr::new(b"AAAA"), &mut out);
        assert_eq!(out, b"\"data:image/png;base64,AAAA\"");
    }
}
