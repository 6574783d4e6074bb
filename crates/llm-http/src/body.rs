//! Bodies: the bytes of a message, freed of their framing.
//!
//! [`BodyDecoder::next`] is given what was read and returns which part of it is body. It copies
//! nothing and keeps nothing but its state, so the same bytes give the same body however they are
//! cut.
//!
//! | chunk state | awaits | then |
//! |---|---|---|
//! | `Size` | hex digits | `Padding`, `Extension` or `SizeLf` |
//! | `Padding` | spaces, then `;` | `Extension` |
//! | `Extension` | anything up to CR | `SizeLf` |
//! | `SizeLf` | LF | `Data`, or `TrailerStart` after size 0 |
//! | `Data` | that many bytes | `DataCr` |
//! | `DataCr`, `DataLf` | CR LF | `Size` |
//! | `TrailerStart` | CR or a field name | `EndLf` or `TrailerName` |
//! | `TrailerName`, `TrailerValue`, `TrailerLf` | one field line, dropped | `TrailerStart` |
//! | `EndLf` | LF | ended |

use std::fmt;
use std::ops::Range;

use super::framing::Framing;
use super::head::{is_token, is_value};

/// Bytes of all chunk extensions of one body. Nobody we serve sends any; without a bound they are
/// work for nothing.
const MAX_EXTENSION_BYTES: u16 = 16 * 1024;
/// Bytes of the trailer section of one body.
const MAX_TRAILER_BYTES: u16 = 8 * 1024;
/// Hex digits of a chunk size, leading zeros included: a `u64` and no more.
const MAX_SIZE_DIGITS: u8 = 16;

/// What the next bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This range of the input is body; never empty.
    Data(Range<usize>),
    /// The input is used up; read more and call again.
    More,
    /// The message has ended; the next one begins at `pos`.
    End,
}

/// Why a body cannot be read on. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Not a hexadecimal number, or one of more than 16 digits.
    ChunkSize,
    /// A chunk's size line or data does not end in CRLF.
    ChunkEnd,
    /// A chunk extension holds a byte that is not allowed there.
    Extension,
    /// The extensions of one chunk are longer than the limit.
    ExtensionTooLong,
    /// A trailer field is malformed.
    Trailer,
    /// The trailer section is longer than the limit.
    TrailerTooLong,
    /// The connection closed before the message ended.
    Truncated,
}

impl fmt::Display for BodyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            BodyError::ChunkSize => "a chunk size of the body is not a hexadecimal number of at most 16 digits",
            BodyError::ChunkEnd => "a chunk of the body does not end in CRLF",
            BodyError::Extension => "a chunk extension holds a control character",
            BodyError::ExtensionTooLong => "the chunk extensions of the body exceed 16 KiB",
            BodyError::Trailer => "a trailer field is malformed",
            BodyError::TrailerTooLong => "the trailer section exceeds 8 KiB",
            BodyError::Truncated => "the connection closed before the end of the body",
        })
    }
}

impl std::error::Error for BodyError {}

/// Finds the body in what is read from a connection.
#[derive(Debug, Clone)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of extensions, then of trailers, seen so far.
    overhead: u16,
    /// Something followed the end of the message.
    followed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This many bytes of a body of known length remain; never 0.
    Length(u64),
    Close,
    Size {
        size: u64,
        digits: u8,
    },
    Padding {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Ended,
    /// An error is final: further calls return the same one.
    Failed(BodyError),
}

/// The last chunk without extensions, and no trailer.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

const NEXT_CHUNK: State = State::Size { size: 0, digits: 0 };

impl BodyDecoder {
    /// Makes the decoder of one body.
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => NEXT_CHUNK,
            Framing::Close => State::Close,
        };
        BodyDecoder { state, overhead: 0, followed: false }
    }

    /// The next piece of body in `input[*pos..]`. `pos` moves past what was used. After
    /// [`Step::More`] all of `input` was used and may be dropped; after [`Step::End`] `pos` is
    /// right behind the message.
    pub fn next(&mut self, input: &[u8], pos: &mut usize) -> Result<Step, BodyError> {
        loop {
            match self.state {
                State::Ended => {
                    self.followed |= *pos < input.len();
                    return Ok(Step::End);
                }
                State::Failed(error) => return Err(error),
                _ if *pos >= input.len() => return Ok(Step::More),
                State::Close => return Ok(Step::Data(take(input, pos, u64::MAX))),
                State::Length(left) => {
                    let data = take(input, pos, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::Ended } else { State::Length(left) };
                    return Ok(Step::Data(data));
                }
                State::Data { left } => {
                    let data = take(input, pos, left);
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return Ok(Step::Data(data));
                }
                State::Size { digits: 0, .. } => {
                    if let Some((data, behind)) = split_chunk(&input[*pos..]) {
                        *pos = input.len() - behind.len();
                        let end = *pos - 2;
                        return Ok(Step::Data(end - data.len()..end));
                    }
                    // The end of nearly every body.
                    if input[*pos..].starts_with(LAST_CHUNK) {
                        *pos += LAST_CHUNK.len();
                        self.state = State::Ended;
                        continue;
                    }
                    // A chunk of which a part has arrived.
                    if let Some((size @ 1.., data)) = plain_size(&input[*pos..]) {
                        *pos += data;
                        self.state = State::Data { left: u64::from(size.cast_unsigned()) };
                        continue;
                    }
                    self.byte(input[*pos])?;
                }
                _ => self.byte(input[*pos])?,
            }
            *pos += 1;
        }
    }

    /// Returns whether a chunk begins next: what has arrived may be taken by
    /// [`split_chunk`](Self::split_chunk) then, as often as that finds one.
    #[inline(always)]
    pub fn is_between_chunks(&self) -> bool {
        self.state == NEXT_CHUNK
    }

    /// Returns the data of the chunk at the start of `input`, if all of it lies there, and what lies
    /// behind it. Between chunks, the data is what [`next`](Self::next) would return; a caller that
    /// takes it moves its `pos` past the chunk instead.
    #[inline(always)]
    pub fn split_chunk(input: &[u8]) -> Option<(&[u8], &[u8])> {
        split_chunk(input)
    }

    /// The connection was closed by the peer. `Ok` if that ends the body or the body had ended.
    pub fn eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Ended => Ok(()),
            State::Close => {
                self.state = State::Ended;
                Ok(())
            }
            State::Failed(error) => Err(error),
            _ => self.fail(BodyError::Truncated),
        }
    }

    /// Whether the message has ended and nothing came behind it. A server sends nothing
    /// unrequested, so a connection with more bytes is out of step, and its next bytes answer no
    /// request.
    pub fn ended_alone(&self) -> bool {
        self.is_ended() && !self.followed
    }

    /// Whether the last byte of the message has been seen. A body that ends with the connection
    /// ends at [`eof`](Self::eof).
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn fail(&mut self, error: BodyError) -> Result<(), BodyError> {
        self.state = State::Failed(error);
        Err(error)
    }

    /// One byte of chunk framing.
    fn byte(&mut self, byte: u8) -> Result<(), BodyError> {
        match self.step(byte) {
            Ok(state) => {
                self.state = state;
                Ok(())
            }
            Err(error) => self.fail(error),
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match self.state {
            State::Size { size, digits } => size_digit(size, digits, byte),
            // RFC 9112 7.1.1 allows whitespace between the size and `;`. Without the `;` it is
            // refused: readers disagree on `5 \r\n`.
            State::Padding { size } => match byte {
                b' ' | b'\t' => self.count(MAX_EXTENSION_BYTES, BodyError::ExtensionTooLong, State::Padding { size }),
                b';' => Ok(State::Extension { size }),
                _ => Err(BodyError::ChunkSize),
            },
            State::Extension { size } => match byte {
                b'\r' => Ok(State::SizeLf { size }),
                _ if is_value(byte) => {
                    self.count(MAX_EXTENSION_BYTES, BodyError::ExtensionTooLong, State::Extension { size })
                }
                _ => Err(BodyError::Extension),
            },
            State::SizeLf { size: 0 } => {
                self.overhead = 0;
                expect(byte, b'\n', State::TrailerStart, BodyError::ChunkEnd)
            }
            State::SizeLf { size } => expect(byte, b'\n', State::Data { left: size }, BodyError::ChunkEnd),
            State::DataCr => expect(byte, b'\r', State::DataLf, BodyError::ChunkEnd),
            State::DataLf => expect(byte, b'\n', NEXT_CHUNK, BodyError::ChunkEnd),
            State::TrailerStart if byte == b'\r' => Ok(State::EndLf),
            State::TrailerStart if is_token(byte) => self.trailer(State::TrailerName),
            State::TrailerName if byte == b':' => self.trailer(State::TrailerValue),
            State::TrailerName if is_token(byte) => self.trailer(State::TrailerName),
            State::TrailerValue if byte == b'\r' => self.trailer(State::TrailerLf),
            State::TrailerValue if is_value(byte) => self.trailer(State::TrailerValue),
            State::TrailerLf => expect(byte, b'\n', State::TrailerStart, BodyError::Trailer),
            State::EndLf => expect(byte, b'\n', State::Ended, BodyError::Trailer),
            State::TrailerStart | State::TrailerName | State::TrailerValue => Err(BodyError::Trailer),
            // `next` serves these itself; a byte of framing never meets them.
            state @ (State::Length(_) | State::Close | State::Data { .. } | State::Ended | State::Failed(_)) => {
                Ok(state)
            }
        }
    }

    fn trailer(&mut self, state: State) -> Result<State, BodyError> {
        self.count(MAX_TRAILER_BYTES, BodyError::TrailerTooLong, state)
    }

    fn count(&mut self, limit: u16, error: BodyError, state: State) -> Result<State, BodyError> {
        self.overhead += 1;
        if self.overhead > limit { Err(error) } else { Ok(state) }
    }
}

fn size_digit(size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
    match (byte as char).to_digit(16) {
        Some(digit) if digits < MAX_SIZE_DIGITS => {
            Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
        }
        None if digits > 0 => match byte {
            b'\r' => Ok(State::SizeLf { size }),
            b';' => Ok(State::Extension { size }),
            b' ' | b'\t' => Ok(State::Padding { size }),
            _ => Err(BodyError::ChunkSize),
        },
        _ => Err(BodyError::ChunkSize),
    }
}

fn expect(byte: u8, expected: u8, then: State, error: BodyError) -> Result<State, BodyError> {
    if byte == expected { Ok(then) } else { Err(error) }
}

fn take(input: &[u8], pos: &mut usize, left: u64) -> Range<usize> {
    let start = *pos;
    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
    *pos = input.len().min(start.saturating_add(wanted));
    start..*pos
}

/// Returns the data of a chunk that lies at the start of the input as a whole and in its plain
/// form, `size CRLF data CRLF`, and what lies behind that: the common case of a token stream, where
/// one read holds many small chunks. Anything else is left to the states.
#[inline(always)]
fn split_chunk(input: &[u8]) -> Option<(&[u8], &[u8])> {
    // Nearly all events have some hundred bytes: two or three digits.
    let (size, data) = match *input {
        [a, b, ref rest @ ..] if rest.starts_with(b"\r\n") => (digit(a) << 4 | digit(b), 4),
        [a, b, c, ref rest @ ..] if rest.starts_with(b"\r\n") => (digit(a) << 8 | digit(b) << 4 | digit(c), 5),
        _ => plain_size(input)?,
    };
    // What has a byte that is no digit is negative.
    let size = usize::try_from(size).ok().filter(|size| *size > 0)?;
    let (data, rest) = input.get(data..)?.split_at_checked(size)?;
    Some((data, rest.strip_prefix(b"\r\n")?))
}

/// Returns the size in the size line at the start of the input, and the length of that line. `None`
/// if it has not come as a whole, or is more than digits, six at most.
#[cold]
fn plain_size(input: &[u8]) -> Option<(i32, usize)> {
    let digits = input.iter().take(7).take_while(|&&byte| digit(byte) >= 0).count();
    let size = input[..digits].iter().fold(0, |size, &byte| size << 4 | digit(byte));
    let data = digits + 2;
    (digits <= 6 && input.get(digits..data) == Some(b"\r\n")).then_some((size, data))
}

#[inline(always)]
fn digit(byte: u8) -> i32 {
    i32::from(HEX[usize::from(byte)])
}

/// The value of each hexadecimal digit; negative for all other bytes.
static HEX: [i8; 256] = {
    let mut table = [-1; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as i8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as i8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests;
