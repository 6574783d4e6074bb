//! Content codings: what comes back, what is refused, and bombs.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use llm_http::coding::{CodingError, decode};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

const LIMIT: usize = 1 << 20;
const TEXT: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hello hello hello hello"}]}"#;
/// `TEXT` by the reference encoder.
const TEXT_BR: &str = "1b4d00709c07760c99065a58c0e9de6a913db6add526d73a2c5d7d53a4ec0d1c7222706c4902cd630c36e030f2c665e1496a90e165f9436511e1c14d7c07";
/// The same with the large-window extension, which is no part of `br`.
const TEXT_BR_LARGE_WINDOW: &str = "115c3401c0711ed831641a686101a77bab45f6d8b6569b5cebb074f54d91b23770c889c0b12509348f31d880c3c81b978527a9418697e50f9545840737f11d";
/// `hello` by the reference encoder, with its checksum.
const HELLO_ZSTD: &str = "28b52ffd045829000068656c6c6fa36d9f88";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    compress_to_vec(body, CompressionLevel::Fastest)
}

/// Brotli in stored blocks (RFC 7932 9.2): there is no encoder among our dependencies.
fn brotli_stored(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // 1 bit of window size 16, then for each block: not last, 4 nibbles of length - 1, stored; each
    // block padded to a byte.
    let mut bits: u32 = 0;
    let mut count = 1;
    for block in body.chunks(1 << 16) {
        bits |= ((block.len() as u32 - 1) << 3 | 1 << 19) << count;
        count += 20;
        out.extend_from_slice(&bits.to_le_bytes()[..(count as usize).div_ceil(8)]);
        out.extend_from_slice(block);
        (bits, count) = (0, 0);
    }
    // Last, and empty.
    out.push((bits | 3 << count) as u8);
    out
}

type Encoder = fn(&[u8]) -> Vec<u8>;

fn encoders() -> [(&'static str, Encoder); 6] {
    [
        ("gzip", gzip),
        ("x-gzip", gzip),
        ("deflate", zlib),
        ("deflate", raw_deflate),
        ("br", brotli_stored),
        ("zstd", zstd),
    ]
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn what_was_encoded_comes_back() {
    let long = TEXT.repeat(2000);
    for (name, encode) in encoders() {
        for body in [&b""[..], b"x", TEXT, &long] {
            assert_eq!(decode(name, &encode(body), LIMIT).as_deref(), Ok(body), "{name}");
        }
    }
    assert_eq!(decode("br", &unhex(TEXT_BR), LIMIT).as_deref(), Ok(TEXT));
    assert_eq!(decode("zstd", &unhex(HELLO_ZSTD), LIMIT).as_deref(), Ok(&b"hello"[..]));
}

/// A stored block whose padding and length happen to be the two bytes that every zlib stream begins
/// with.
#[test]
fn a_bare_deflate_stream_may_look_like_zlib() {
    let stored = b"\x78\x01\x00\xfe\xffx\x01\0\0\xff\xff";
    assert_eq!(decode("deflate", stored, LIMIT).as_deref(), Ok(&b"x"[..]));
}

#[test]
fn lists_are_undone_from_the_last() {
    let unknown = Err(CodingError::Unknown);
    let rows = [
        ("", TEXT.to_vec(), Ok(TEXT)),
        ("identity", TEXT.to_vec(), Ok(TEXT)),
        ("GZip", gzip(TEXT), Ok(TEXT)),
        ("identity, gzip", gzip(TEXT), Ok(TEXT)),
        (" zstd ,gzip ", gzip(&zstd(TEXT)), Ok(TEXT)),
        ("deflate, br", brotli_stored(&zlib(TEXT)), Ok(TEXT)),
        ("gzip, zstd", gzip(&zstd(TEXT)), Err(CodingError::Corrupt)),
        ("gzip, gzip, gzip", gzip(&gzip(&gzip(TEXT))), unknown),
        ("compress", TEXT.to_vec(), unknown),
        ("gzip;q=1", gzip(TEXT), unknown),
        ("gzip zstd", gzip(TEXT), unknown),
    ];
    for (encoding, body, expected) in rows {
        assert_eq!(decode(encoding, &body, LIMIT).as_deref(), expected.as_ref().map(|text| *text), "{encoding:?}");
    }
}

#[test]
fn cut_bodies_and_bodies_with_something_behind_are_corrupt() {
    for (name, encode) in encoders() {
        let encoded = encode(TEXT);
        for len in 0..encoded.len() {
            assert_eq!(decode(name, &encoded[..len], LIMIT), Err(CodingError::Corrupt), "{name} cut at {len}");
        }
        for rest in [&b"\0"[..], b"x", b"trailing garbage that is longer than any header"] {
            let longer = [encoded.as_slice(), rest].concat();
            assert_eq!(decode(name, &longer, LIMIT), Err(CodingError::Corrupt), "{name} with {rest:?} behind");
        }
    }
    let encoded = unhex(TEXT_BR);
    for len in 0..encoded.len() {
        assert_eq!(decode("br", &encoded[..len], LIMIT), Err(CodingError::Corrupt), "br cut at {len}");
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    assert_eq!(decode("gzip", &[gzip(b"a"), gzip(b"b")].concat(), LIMIT).as_deref(), Ok(&b"ab"[..]));
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let frames = [zstd(b"a"), skippable.clone(), zstd(b"b")].concat();
    assert_eq!(decode("zstd", &frames, LIMIT).as_deref(), Ok(&b"ab"[..]));
    assert_eq!(decode("zstd", &skippable[..10], LIMIT), Err(CodingError::Corrupt));
}

#[test]
fn checksums_are_checked() {
    let mut encoded = unhex(HELLO_ZSTD);
    encoded[10] ^= 1;
    assert_eq!(decode("zstd", &encoded, LIMIT), Err(CodingError::Corrupt));
    let mut encoded = gzip(TEXT);
    let crc = encoded.len() - 8;
    encoded[crc] ^= 1;
    assert_eq!(decode("gzip", &encoded, LIMIT), Err(CodingError::Corrupt));
    let mut encoded = zlib(TEXT);
    let adler = encoded.len() - 1;
    encoded[adler] ^= 1;
    assert_eq!(decode("deflate", &encoded, LIMIT), Err(CodingError::Corrupt));
}

#[test]
fn the_limit_is_exact_for_every_coding() {
    let body = TEXT.repeat(1000);
    for (name, encode) in encoders() {
        let encoded = encode(&body);
        assert_eq!(decode(name, &encoded, body.len()).as_deref(), Ok(body.as_slice()), "{name}");
        assert_eq!(decode(name, &encoded, body.len() - 1), Err(CodingError::TooLarge), "{name}");
    }
    assert_eq!(decode("identity", b"abc", 2), Err(CodingError::TooLarge));
}

#[test]
fn bombs_end_at_the_limit() {
    let zeros = vec![0; 16 << 20];
    let gzipped = gzip(&zeros);
    let bombs = [
        ("gzip", gzipped.clone()),
        ("deflate", zlib(&zeros)),
        ("deflate", raw_deflate(&zeros)),
        ("br", brotli_bomb()),
        ("zstd", zstd_bomb()),
        // The outer layer is small enough; the inner is not.
        ("gzip, gzip", gzip(&gzipped)),
    ];
    for (name, bomb) in bombs {
        assert!(bomb.len() < 100_000, "{name}");
        assert_eq!(decode(name, &bomb, LIMIT), Err(CodingError::TooLarge), "{name}");
    }
}

/// 64 MiB of one byte in 106 bytes, by the reference encoder.
fn brotli_bomb() -> Vec<u8> {
    unhex(
        "cbffff3ff825c2e2b14020f7fe8fffff7ff04b00c4611180eefd1fffffffe0970088c30200ddfb3ffeffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8defff1ffff0f7e0980382c00d0bdffcbffff3ffc1200715800a07bff07",
    )
}

/// 128 KiB for every 4 bytes: blocks of one repeated byte (RFC 8878 3.1.1.2).
fn zstd_bomb() -> Vec<u8> {
    let block = |last: u32| [&((128u32 << 10) << 3 | 1 << 1 | last).to_le_bytes()[..3], b"a"].concat();
    [zstd_head(0x48), block(0).repeat(1000), block(1)].concat()
}

/// A frame header without content size or checksum, with this window descriptor.
fn zstd_head(window: u8) -> Vec<u8> {
    [&b"\x28\xb5\x2f\xfd\0"[..], &[window]].concat()
}

/// A decoder must hold the whole window, so a few bytes can ask for gigabytes.
#[test]
fn windows_are_bounded() {
    let empty_frame = |window_log: u8| [zstd_head((window_log - 10) << 3), b"\x01\0\0".to_vec()].concat();
    assert_eq!(decode("zstd", &empty_frame(23), LIMIT), Ok(Vec::new()));
    assert_eq!(decode("zstd", &empty_frame(24), LIMIT), Err(CodingError::Corrupt));
    assert_eq!(decode("zstd", &empty_frame(41), LIMIT), Err(CodingError::Corrupt));
    assert_eq!(decode("br", &unhex(TEXT_BR_LARGE_WINDOW), LIMIT), Err(CodingError::Corrupt));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_comes_back(body in prop::collection::vec(any::<u8>(), 0..2000), repeat in 1..40usize) {
        let body = body.repeat(repeat);
        for (name, encode) in encoders() {
            prop_assert_eq!(&decode(name, &encode(&body), LIMIT).unwrap(), &body);
        }
    }

    /// Damaged input neither panics nor passes the limit. A decoder that panics would take a core
    /// down with it.
    #[test]
    fn damage_is_survived(
        body in prop::collection::vec(0..4u8, 0..600), at in any::<prop::sample::Index>(), with in any::<[u8; 3]>(), noise in any::<Vec<u8>>()
    ) {
        let mut encoded: Vec<_> = encoders().into_iter().map(|(name, encode)| (name, encode(&body))).collect();
        encoded.push(("br", unhex(TEXT_BR)));
        for (name, mut bytes) in encoded {
            for (offset, byte) in with.into_iter().enumerate() {
                let target = (at.index(bytes.len()) + offset * 7) % bytes.len();
                bytes[target] = byte;
            }
            for input in [bytes, noise.clone()] {
                prop_assert!(decode(name, &input, 1000).map_or(0, |decoded| decoded.len()) <= 1000);
            }
        }
    }
}
