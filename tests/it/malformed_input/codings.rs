//! Compressed bodies: a few kilobytes may stand for gigabytes. All of these are read to their end,
//! so the connection is kept.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const LIMIT: usize = 65536;

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bodies_that_do_not_decode_are_refused() {
    let good = gzip(CHAT.ask.as_bytes());
    let bomb = gzip(&vec![b' '; 32 << 20]);
    assert!(bomb.len() < LIMIT, "what is sent is small");
    let onion = gzip(&gzip(&vec![b' '; 32 << 20]));
    let cut = good[..good.len() - 9].to_vec();
    let no_check = good[..good.len() - 8].to_vec();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x55;
    let followed = [&good[..], b"more"].concat();
    let corrupt = |codings: &str| expected_error(format!("the request body is not valid {codings}"));
    let unknown = |shown: &str| {
        let note = format!("content-encoding `{shown}` is not known; use gzip, deflate, br, zstd or identity");
        unsupported_encoding(&note)
    };
    let long = "x".repeat(50_000);
    let rows: Vec<(&str, Vec<u8>, ExpectedError)> = vec![
        ("gzip", bomb.clone(), too_large(LIMIT)),
        ("GZIP", bomb.clone(), too_large(LIMIT)),
        ("identity, gzip", bomb.clone(), too_large(LIMIT)),
        ("gzip, gzip", onion, too_large(LIMIT)),
        ("gzip", cut, corrupt("gzip")),
        ("gzip", no_check, corrupt("gzip")),
        ("gzip", flipped, corrupt("gzip")),
        ("gzip", followed, corrupt("gzip")),
        ("gzip", CHAT.ask.into(), corrupt("gzip")),
        ("gzip", Vec::new(), corrupt("gzip")),
        ("deflate", vec![0xff; 32], corrupt("deflate")),
        ("br", vec![0xff; 32], corrupt("br")),
        ("zstd", vec![0xff; 32], corrupt("zstd")),
        // A frame that wants a window of 2 GiB.
        ("zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00], corrupt("zstd")),
        ("compress", good.clone(), unknown("compress")),
        ("gzip;q=1", good.clone(), unknown("gzip;q=1")),
        ("gzip, gzip, gzip", good.clone(), unknown("gzip, gzip, gzip")),
        (&long, good, unknown(&long[..100])),
    ];
    let mut bench = Bench::with(Setup::new().env("MAX_BODY_BYTES", LIMIT));
    for (codings, body, expected_error) in &rows {
        for sample in FORMATS {
            let request = post(sample.path).header("content-encoding", codings).body(body).bytes();
            bench.refused(codings, &request, sample.shape(), expected_error, Then::Kept);
        }
    }
    bench.finish();
}
