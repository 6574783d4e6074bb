//! What a picture costs, by the published rules of its vendor, and its size, from the first bytes
//! of its base64.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};

use super::vocabulary::Pictures;

/// What is taken for a picture of unknown size, such as one behind a URL, which is never fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultPicture {
    /// For a vendor without a published rule.
    pub tokens: u32,
    /// For the others, in pixels.
    pub width: u32,
    pub height: u32,
}

impl Default for DefaultPicture {
    fn default() -> DefaultPicture {
        DefaultPicture { tokens: 250, width: 300, height: 300 }
    }
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

/// How closely the model is to look: OpenAI's `detail`. `auto` is high, as recorded answers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    Low,
    High,
}

/// Characters of base64 that are decoded: the header of a JPEG comes after its other data, which
/// are 64 KiB at most in one piece.
const SIZE_BYTES: usize = 96 << 10;
/// Larger sides are some mistake.
const LONGEST_SIDE: u32 = 1 << 16;

/// Returns the tokens of one picture.
pub fn tokens(rule: Pictures, size: Option<Size>, detail: Detail, default_picture: &DefaultPicture) -> u64 {
    let size = size.unwrap_or(Size { width: default_picture.width, height: default_picture.height });
    let (width, height) = (f64::from(size.width.max(1)), f64::from(size.height.max(1)));
    let tiles = |width: f64, height: f64, side: f64| ((width / side).ceil() * (height / side).ceil()) as u64;
    match rule {
        Pictures::Flat => u64::from(default_picture.tokens),
        Pictures::Tiles { base, .. } if detail == Detail::Low => u64::from(base),
        Pictures::Tiles { base, tile } => {
            let fit = (2048.0 / width.max(height)).min(1.0);
            let fit = fit * (768.0 / (width * fit).min(height * fit)).min(1.0);
            u64::from(base) + u64::from(tile) * tiles(rounded(width * fit), rounded(height * fit), 512.0)
        }
        Pictures::Patches { most, hundredths } => {
            // Low detail is a picture of 512 by 512.
            let fit = if detail == Detail::Low { (512.0 / width.max(height)).min(1.0) } else { 1.0 };
            let patches = patches(width * fit, height * fit, f64::from(most));
            (patches * u64::from(hundredths)).div_ceil(100)
        }
        Pictures::Area { longest, most } => {
            let fit = (f64::from(longest) / width.max(height)).min(1.0);
            let area = (width * fit * height * fit / 750.0).ceil() as u64;
            area.clamp(1, u64::from(most))
        }
        Pictures::Squares { tile } => {
            let small = width <= 384.0 && height <= 384.0;
            u64::from(tile) * if small { 1 } else { tiles(width, height, 768.0).max(1) }
        }
    }
}

/// Pixels are whole; what is left of a division must not make a tile more.
fn rounded(side: f64) -> f64 {
    (side * 1000.0).round() / 1000.0
}

/// Patches of 32 by 32, after the picture was made to fit into `most`.
fn patches(width: f64, height: f64, most: f64) -> u64 {
    let count = |width: f64, height: f64| (rounded(width / 32.0)).ceil() * (rounded(height / 32.0)).ceil();
    if count(width, height) <= most {
        return count(width, height) as u64;
    }
    let fit = (32.0 * 32.0 * most / (width * height)).sqrt();
    let (across, down) = (width * fit / 32.0, height * fit / 32.0);
    let fit = fit * (across.floor().max(1.0) / across).min(down.floor().max(1.0) / down);
    count(width * fit, height * fit).min(most) as u64
}

/// Returns the size in a picture's header. PNG, JPEG, GIF and WebP; `None` for others and for what
/// is broken.
///
/// `base64` may be in JSON's escaped form, of the standard alphabet or the one for URLs.
pub fn size(base64: &[u8]) -> Option<Size> {
    let plain = base64.iter().filter(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte));
    let mut text: Vec<u8> = plain
        .take(SIZE_BYTES)
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    // One character more than whole bytes is none.
    if text.len() % 4 == 1 {
        text.pop();
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text).ok()?;
    let size = of_bytes(&bytes)?;
    let fits = |side: u32| (1..=LONGEST_SIDE).contains(&side);
    (fits(size.width) && fits(size.height)).then_some(size)
}

fn of_bytes(bytes: &[u8]) -> Option<Size> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => {
            Some(Size { width: number(bytes.get(16..20)?), height: number(bytes.get(20..24)?) })
        }
        [b'G', b'I', b'F', b'8', ..] => {
            Some(Size { width: little(bytes.get(6..8)?), height: little(bytes.get(8..10)?) })
        }
        [0xff, 0xd8, ..] => of_jpeg(bytes),
        [b'R', b'I', b'F', b'F', ..] if bytes.get(8..12)? == b"WEBP" => of_webp(bytes),
        _ => None,
    }
}

/// Segments follow one another, each with its length, up to the one that begins the picture.
fn of_jpeg(bytes: &[u8]) -> Option<Size> {
    let mut rest = bytes.get(2..)?;
    loop {
        match *rest {
            // Fill bytes.
            [0xff, 0xff, ..] => rest = &rest[1..],
            // Markers without a length.
            [0xff, 0x01 | 0xd0..=0xd8, ..] => rest = &rest[2..],
            [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, ..] => {
                return Some(Size { width: number(rest.get(7..9)?), height: number(rest.get(5..7)?) });
            }
            [0xff, _, high, low, ..] => rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low])).max(2)..)?,
            _ => return None,
        }
    }
}

fn of_webp(bytes: &[u8]) -> Option<Size> {
    match bytes.get(12..16)? {
        b"VP8X" => Some(Size { width: little(bytes.get(24..27)?) + 1, height: little(bytes.get(27..30)?) + 1 }),
        b"VP8L" => {
            let bits = little(bytes.get(21..25)?);
            Some(Size { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 })
        }
        b"VP8 " => {
            Some(Size { width: little(bytes.get(26..28)?) & 0x3fff, height: little(bytes.get(28..30)?) & 0x3fff })
        }
        _ => None,
    }
}

/// Returns up to four bytes, the highest first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Returns up to four bytes, the lowest first.
fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::vocabulary::of_model;
    use base64::engine::general_purpose::STANDARD;

    fn cost(model: &str, width: u32, height: u32, detail: Detail) -> u64 {
        tokens(of_model(model).pictures, Some(Size { width, height }), detail, &DefaultPicture::default())
    }

    /// Those with a price are the examples of the vendors' own pages.
    #[test]
    fn rules() {
        let rows = [
            ("gpt-4o", 1024, 1024, Detail::High, 765),
            ("gpt-4o", 2048, 4096, Detail::High, 1105),
            ("gpt-4o", 4096, 8192, Detail::Low, 85),
            ("gpt-4o", 1, 1, Detail::High, 255),
            ("gpt-4o-mini", 1, 1, Detail::High, 8500),
            ("o3", 1024, 1024, Detail::High, 675),
            ("gpt-5", 1024, 1024, Detail::High, 630),
            ("gpt-5-mini", 1024, 1024, Detail::High, 1659),
            ("gpt-4.1-nano", 1800, 2400, Detail::High, 3572),
            ("o4-mini", 1, 1, Detail::High, 2),
            ("o4-mini", 65_536, 1, Detail::High, 2642),
            ("claude-sonnet-4-5", 200, 200, Detail::High, 54),
            ("claude-sonnet-4-5", 1000, 1000, Detail::High, 1334),
            ("claude-sonnet-4-5", 9000, 9000, Detail::High, 1600),
            ("claude-opus-4-8", 9000, 9000, Detail::High, 4784),
            ("gemini-2.5-pro", 384, 384, Detail::High, 258),
            ("gemini-2.5-pro", 1000, 1000, Detail::High, 1032),
            ("mistral-large", 1000, 1000, Detail::High, 250),
        ];
        for (model, width, height, detail, expected) in rows {
            assert_eq!(cost(model, width, height, detail), expected, "{model} {width}x{height}");
        }
        let unknown = DefaultPicture { tokens: 7, width: 1024, height: 1024 };
        assert_eq!(tokens(of_model("gpt-4o").pictures, None, Detail::High, &unknown), 765);
        assert_eq!(tokens(Pictures::Flat, None, Detail::High, &unknown), 7);
    }

    #[test]
    fn sizes() {
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0, 0, 1, 2, 0, 0, 3, 4, 8]].concat();
        let gif = b"GIF89a\x02\x01\x04\x03\0".to_vec();
        let exif = [&[0xff, 0xe1, 0xff, 0xff][..], &vec![0xff; 65_533]].concat();
        let frame = [0xff, 0xff, 0xc2, 0, 17, 8, 3, 4, 1, 2, 3];
        let jpeg = [&[0xff, 0xd8, 0xff, 0xd0][..], &exif, &frame].concat();
        let webp = |kind: &[u8; 4], data: &[u8]| [b"RIFF\0\0\0\0WEBP", &kind[..], &[0; 4], data].concat();
        let expected = Size { width: 258, height: 772 };
        for bytes in [
            png,
            gif,
            jpeg,
            webp(b"VP8X", &[0, 0, 0, 0, 1, 1, 0, 3, 3, 0]),
            webp(b"VP8L", &[0x2f, 0x01, 0xc1, 0xc0, 0x00]),
            webp(b"VP8 ", &[0, 0, 0, 0x9d, 0x01, 0x2a, 2, 1, 4, 3]),
        ] {
            let text = STANDARD.encode(&bytes);
            assert_eq!(size(text.as_bytes()), Some(expected), "{:?}", &bytes[..4]);
            assert_eq!(size(text.replace('/', "\\/").replace('+', "-").as_bytes()), Some(expected));
            // Whatever is missing.
            for cut in 0..text.len().min(200) {
                let _ = size(&text.as_bytes()[..cut]);
            }
        }
        for other in ["", "A", "!!!!", "AAAA", "iVBORw0KGgo=", "/9j/"] {
            assert_eq!(size(other.as_bytes()), None, "{other}");
        }
        let nothing = STANDARD.encode(b"GIF89a\0\0\0\0\0");
        assert_eq!(size(nothing.as_bytes()), None);
    }
}
