//! Content codings of request bodies: some clients compress long prompts.
//!
//! Every decoder stops at an output limit, since a few kilobytes of any of these codings can stand
//! for gigabytes. The windows are bounded too: brotli without its large-window extension (16 MiB),
//! zstandard at the 8 MiB of RFC 9659.

use std::borrow::Cow;
use std::fmt;
use std::io::{Cursor, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Codings on top of each other. Two is one more than anyone sends.
const MAX_CODINGS: usize = 2;
const ZSTD_WINDOW: u64 = 8 * 1024 * 1024;
/// The most bytes that one step decodes.
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
            CodingError::Corrupt => "the body does not match its content-encoding, or is cut short",
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
    let mut decoder = Decoder::new(encoding, body, limit)?;
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(limit));
    while decoder.step(&mut out)? != Progress::Finished {}
    Ok(out)
}

/// What a step of a [`Decoder`] has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    Unfinished,
    /// One of two codings is undone. The output is empty again, and the decoder holds what it was.
    CodingUndone,
    /// The body has ended and is whole.
    Finished,
}

/// Decodes a body in slices, so that its caller can do other things in between: 64 KB of gzip may
/// stand for 64 MB, which take a tenth of a second.
pub struct Decoder<'b> {
    stage: Stage<'b>,
    /// Codings that were applied before this one.
    earlier: Vec<Coding>,
    limit: usize,
}

impl<'b> Decoder<'b> {
    /// The most bytes that one step appends.
    pub const STEP: usize = PIECE;

    /// Prepares to undo `encoding`, by the rules of [`decode`].
    pub fn new(encoding: &str, body: &'b [u8], limit: usize) -> Result<Decoder<'b>, CodingError> {
        let mut earlier = Vec::with_capacity(MAX_CODINGS);
        for name in encoding.split(',').map(str::trim) {
            let Some(coding) = coding(name)? else { continue };
            if earlier.len() == MAX_CODINGS {
                return Err(CodingError::Unknown);
            }
            earlier.push(coding);
        }
        let stage = Stage::new(earlier.pop(), Cursor::new(Cow::Borrowed(body)));
        Ok(Decoder { stage, earlier, limit })
    }

    /// Decodes at most [`Decoder::STEP`] bytes to the end of `out`, which holds what earlier steps
    /// have decoded.
    pub fn step(&mut self, out: &mut Vec<u8>) -> Result<Progress, CodingError> {
        let mut piece = [0; PIECE];
        match self.stage.read(&mut piece)? {
            Piece::Bytes(bytes) if bytes > self.limit - out.len().min(self.limit) => Err(CodingError::TooLarge),
            Piece::Bytes(bytes) => {
                out.extend_from_slice(&piece[..bytes]);
                Ok(Progress::Unfinished)
            }
            Piece::Misread(stage) => {
                out.clear();
                self.stage = stage;
                Ok(Progress::Unfinished)
            }
            Piece::End => match self.earlier.pop() {
                None => Ok(Progress::Finished),
                earlier => {
                    self.stage = Stage::new(earlier, Cursor::new(Cow::Owned(std::mem::take(out))));
                    Ok(Progress::CodingUndone)
                }
            },
        }
    }
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

type Source<'b> = Cursor<Cow<'b, [u8]>>;

/// The decoder of one coding.
enum Stage<'b> {
    Identity(Source<'b>),
    Gzip(Box<MultiGzDecoder<Source<'b>>>),
    /// `deflate` is the zlib format (RFC 9110 8.4.1.2), but some clients send the bare stream that
    /// the name suggests. A zlib header is two bytes with a check of five bits, so a bare stream
    /// may look like one by chance: then it is tried again as what it is.
    Zlib(Box<ZlibDecoder<Source<'b>>>),
    BareDeflate(Box<DeflateDecoder<Source<'b>>>),
    Brotli(Box<Brotli<'b>>),
    Zstd(Box<Zstd<'b>>),
}

/// What one read of a stage gave.
enum Piece<'b> {
    /// More than 0.
    Bytes(usize),
    End,
    /// The body is of another format than it seemed: all output so far is void.
    Misread(Stage<'b>),
}

impl<'b> Stage<'b> {
    fn new(coding: Option<Coding>, source: Source<'b>) -> Stage<'b> {
        match coding {
            None => Stage::Identity(source),
            Some(Coding::Gzip) => Stage::Gzip(Box::new(MultiGzDecoder::new(source))),
            Some(Coding::Deflate) if has_zlib_header(source.get_ref()) => {
                Stage::Zlib(Box::new(ZlibDecoder::new(source)))
            }
            Some(Coding::Deflate) => Stage::BareDeflate(Box::new(DeflateDecoder::new(source))),
            Some(Coding::Brotli) => Stage::Brotli(Box::new(Brotli::new(source))),
            Some(Coding::Zstd) => Stage::Zstd(Box::new(Zstd::new(source))),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<Piece<'b>, CodingError> {
        let read = match self {
            Stage::Identity(source) => source.read(piece).map_err(|_| CodingError::Corrupt)?,
            Stage::Gzip(decoder) => decoder.read(piece).map_err(|_| CodingError::Corrupt)?,
            Stage::BareDeflate(decoder) => match decoder.read(piece) {
                Ok(0) if !is_used_up(decoder.get_ref()) => return Err(CodingError::Corrupt),
                read => read.map_err(|_| CodingError::Corrupt)?,
            },
            Stage::Zlib(decoder) => match decoder.read(piece) {
                Ok(read) if read > 0 || is_used_up(decoder.get_ref()) => read,
                _ => {
                    let mut source = std::mem::take(decoder.get_mut());
                    source.set_position(0);
                    return Ok(Piece::Misread(Stage::BareDeflate(Box::new(DeflateDecoder::new(source)))));
                }
            },
            Stage::Brotli(brotli) => brotli.read(piece)?,
            Stage::Zstd(zstd) => zstd.read(piece)?,
        };
        Ok(if read == 0 { Piece::End } else { Piece::Bytes(read) })
    }
}

fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [cmf, flg, ..] if cmf & 0x0f == 8 && u16::from_be_bytes([*cmf, *flg]).is_multiple_of(31))
}

fn is_used_up(source: &Source<'_>) -> bool {
    source.position() >= source.get_ref().len() as u64
}

struct Brotli<'b> {
    source: Source<'b>,
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    unread: usize,
    read: usize,
    total: usize,
    ended: bool,
}

impl<'b> Brotli<'b> {
    fn new(source: Source<'b>) -> Brotli<'b> {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Brotli { unread: source.get_ref().len(), source, state, read: 0, total: 0, ended: false }
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize, CodingError> {
        let mut written = 0;
        while written == 0 && !self.ended {
            let mut room = piece.len();
            let result = BrotliDecompressStream(
                &mut self.unread,
                &mut self.read,
                self.source.get_ref(),
                &mut room,
                &mut written,
                piece,
                &mut self.total,
                &mut self.state,
            );
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultSuccess if self.unread == 0 => self.ended = true,
                _ => return Err(CodingError::Corrupt),
            }
        }
        Ok(written)
    }
}

/// One or more frames, skippable ones among them.
struct Zstd<'b> {
    source: Source<'b>,
    decoder: FrameDecoder,
    /// A frame has begun and its end was not seen.
    in_frame: bool,
    frames: usize,
}

impl<'b> Zstd<'b> {
    fn new(source: Source<'b>) -> Zstd<'b> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Zstd { source, decoder, in_frame: false, frames: 0 }
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize, CodingError> {
        loop {
            while self.in_frame {
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(piece).map_err(|_| CodingError::Corrupt);
                }
                if self.decoder.is_finished() {
                    self.end_frame()?;
                } else {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.decoder.decode_blocks(&mut self.source, one).map_err(|_| CodingError::Corrupt)?;
                }
            }
            if is_used_up(&self.source) && self.frames > 0 {
                return Ok(0);
            }
            self.begin_frame()?;
        }
    }

    fn begin_frame(&mut self) -> Result<(), CodingError> {
        self.frames += 1;
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let end = self.source.position() + u64::from(length);
                if end > self.source.get_ref().len() as u64 {
                    return Err(CodingError::Corrupt);
                }
                self.source.set_position(end);
            }
            Err(_) => return Err(CodingError::Corrupt),
        }
        Ok(())
    }

    fn end_frame(&mut self) -> Result<(), CodingError> {
        self.in_frame = false;
        let promised = self.decoder.get_checksum_from_data();
        match promised.is_some() && promised != self.decoder.get_calculated_checksum() {
            true => Err(CodingError::Corrupt),
            false => Ok(()),
        }
    }
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
