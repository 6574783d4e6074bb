//! Content codings of request bodies: some clients compress long prompts.
//!
//! Every decoder stops at an output limit, since a few kilobytes of any of these codings can stand
//! for gigabytes. The windows are bounded too: brotli without its large-window extension (16 MiB),
//! zstandard at the 8 MiB of RFC 9659.

use std::fmt;
use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Codings on top of each other. Two is one more than anyone sends.
const MAX_CODINGS: usize = 2;
const ZSTD_WINDOW: u64 = 8 * 1024 * 1024;
/// Bytes decoded between two looks at the limit.
const PIECE: usize = 16 * 1024;

/// Why a body was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodingError {
    /// A coding we do not have, or more than two of them: 415.
    Unknown,
    /// The decoded body exceeds the limit: 413.
    TooLarge,
    /// Not what the coding promises, cut short, or followed by something else: 400.
    Corrupt,
}

impl fmt::Display for CodingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            CodingError::Unknown => "content-encoding must be at most two of gzip, deflate, br, zstd",
            CodingError::TooLarge => "the body is too large once decompressed",
            CodingError::Corrupt => "the body is not what its content-encoding says, or is cut short",
        })
    }
}

impl std::error::Error for CodingError {}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Undoes `encoding`, the value of `Content-Encoding`: a list in the order in which the codings
/// were applied. The result is at most `limit` bytes, and so is everything in between.
pub fn decode(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, CodingError> {
    let mut codings = Vec::with_capacity(MAX_CODINGS);
    for name in encoding.split(',').map(str::trim) {
        let Some(coding) = coding(name)? else { continue };
        if codings.len() == MAX_CODINGS {
            return Err(CodingError::Unknown);
        }
        codings.push(coding);
    }
    let Some(last) = codings.pop() else {
        return if body.len() > limit { Err(CodingError::TooLarge) } else { Ok(body.to_vec()) };
    };
    let mut decoded = decode_one(last, body, limit)?;
    while let Some(coding) = codings.pop() {
        decoded = decode_one(coding, &decoded, limit)?;
    }
    Ok(decoded)
}

/// `None` is no coding at all.
fn coding(name: &str) -> Result<Option<Coding>, CodingError> {
    let known = [
        ("", None),
        ("identity", None),
        ("gzip", Some(Coding::Gzip)),
        ("x-gzip", Some(Coding::Gzip)),
        ("deflate", Some(Coding::Deflate)),
        ("br", Some(Coding::Brotli)),
        ("zstd", Some(Coding::Zstd)),
    ];
    let found = known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
    found.map(|(_, coding)| coding).ok_or(CodingError::Unknown)
}

fn decode_one(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, CodingError> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    match coding {
        Coding::Gzip => drain(MultiGzDecoder::new(body), limit, &mut out)?,
        Coding::Deflate => deflate(body, limit, &mut out)?,
        Coding::Brotli => brotli(body, limit, &mut out)?,
        Coding::Zstd => zstd(body, limit, &mut out)?,
    }
    Ok(out)
}

fn drain(mut from: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let mut piece = [0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => append(&piece[..read], limit, out)?,
            Err(_) => return Err(CodingError::Corrupt),
        }
    }
}

fn append(piece: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodingError> {
    if piece.len() > limit - out.len().min(limit) {
        return Err(CodingError::TooLarge);
    }
    out.extend_from_slice(piece);
    Ok(())
}

/// `deflate` is the zlib format (RFC 9110 8.4.1.2), but some clients send the bare stream that the
/// name suggests. A zlib header is two bytes with a check of five bits, so a bare stream may look
/// like one by chance: then it is tried again as what it is.
fn deflate(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let zlib = matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && u16::from_be_bytes([*cmf, *flg]).is_multiple_of(31));
    if zlib {
        let mut decoder = ZlibDecoder::new(body);
        match drain(&mut decoder, limit, out) {
            Ok(()) if decoder.into_inner().is_empty() => return Ok(()),
            Err(CodingError::TooLarge) => return Err(CodingError::TooLarge),
            _ => out.clear(),
        }
    }
    let mut decoder = DeflateDecoder::new(body);
    drain(&mut decoder, limit, out)?;
    if decoder.into_inner().is_empty() { Ok(()) } else { Err(CodingError::Corrupt) }
}

fn brotli(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut piece = [0; PIECE];
    let (mut unread, mut read, mut total) = (body.len(), 0, 0);
    loop {
        let (mut room, mut written) = (PIECE, 0);
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            body,
            &mut room,
            &mut written,
            &mut piece,
            &mut total,
            &mut state,
        );
        append(&piece[..written], limit, out)?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if unread == 0 => return Ok(()),
            _ => return Err(CodingError::Corrupt),
        }
    }
}

/// One or more frames, skippable ones among them.
fn zstd(mut body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodingError> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW);
    let mut frames = 0;
    while !body.is_empty() || frames == 0 {
        frames += 1;
        match StreamingDecoder::new_with_decoder(&mut body, &mut decoder) {
            Ok(frame) => drain(frame, limit, out)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                body = body.get(length as usize..).ok_or(CodingError::Corrupt)?;
                continue;
            }
            Err(_) => return Err(CodingError::Corrupt),
        }
        let promised = decoder.get_checksum_from_data();
        if promised.is_some() && promised != decoder.get_calculated_checksum() {
            return Err(CodingError::Corrupt);
        }
    }
    Ok(())
}

/// The property of the fuzz target `http_coding`: any bytes under any coding neither panic nor pass
/// the limit.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    const LIMIT: usize = 1 << 16;
    for encoding in ["gzip", "deflate", "br", "zstd", "br, gzip"] {
        if let Ok(decoded) = decode(encoding, bytes, LIMIT) {
            assert!(decoded.len() <= LIMIT);
        }
    }
}
