//! Reads the body of a request. It is read whole, since it names the model and another attempt may
//! need it again. Bounded in bytes and in silence.

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::{Client, WaitError};
use super::core::Core;
use super::decoding::{self, DecodeError};
use super::interrupt::Interrupt;
use crate::metrics::names::Counter;
use crate::net::buffers;
use crate::shared::body_memory::{HeldMemory, MemoryExhausted};
use llm_http::coding::CodingError;
use llm_http::{BodyDecoder, Framing, RequestHead, Step, write};
use llm_wire::error::{Error, Kind};

/// Bytes of one read while a large body arrives.
const READ: usize = 64 << 10;
/// Bytes that are reserved at once for a body of declared length. The rest is reserved as it
/// arrives, so that a declared gigabyte costs nothing.
const RESERVE: usize = 256 << 10;

/// A request whose body has not been read.
pub struct Pending {
    pub head: RequestHead,
    /// The head, and what came with it.
    pub bytes: Vec<u8>,
}

impl Pending {
    /// Skips the body. Returns true if that is possible without reading more. What follows it on
    /// the connection is kept for the next request.
    pub fn skip_body(mut self, client: &mut Client) -> bool {
        let length = match self.head.framing {
            Framing::None => 0,
            Framing::Length(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Framing::Chunked | Framing::Close => return false,
        };
        let end = self.head.len.saturating_add(length);
        if self.bytes.len() < end {
            return false;
        }
        let following = self.bytes.split_off(end);
        if !following.is_empty() {
            client.buf = following;
        }
        true
    }
}

/// The bytes of a request.
pub struct Received {
    bytes: Rc<Vec<u8>>,
    body: BodyStorage,
    /// What the body takes of the memory for bodies; none while it is inline.
    _held: Vec<HeldMemory>,
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(bytes) = Rc::get_mut(&mut self.bytes) {
            buffers::give(std::mem::take(bytes));
        }
    }
}

/// A body that another owner may keep.
pub struct SharedBody {
    bytes: Rc<Vec<u8>>,
    range: Range<usize>,
}

impl SharedBody {
    /// Returns the bytes of the body.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

enum BodyStorage {
    /// Behind the head, in the same buffer.
    Inline(Range<usize>),
    Separate(Rc<Vec<u8>>),
}

impl Received {
    /// Returns the head of the request, with the body if that follows it in the buffer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes of the body.
    pub fn body(&self) -> &[u8] {
        match &self.body {
            BodyStorage::Inline(range) => &self.bytes[range.clone()],
            BodyStorage::Separate(body) => body,
        }
    }

    /// Gives back the room of the buffer that was not needed, for a request that goes on for long.
    pub fn shrink(&mut self) {
        if let Some(bytes) = Rc::get_mut(&mut self.bytes) {
            bytes.shrink_to_fit();
        }
    }

    /// Puts another body in the place of the client's. `held` is what it takes of the memory for
    /// bodies.
    pub fn replace_body(&mut self, body: Vec<u8>, held: HeldMemory) {
        self.body = BodyStorage::Separate(Rc::new(body));
        self._held.push(held);
    }

    /// Removes a byte-order mark before the body, which editors and shells of Windows write into
    /// files. RFC 8259 (section 8.1) lets readers ignore it, and not every provider does.
    fn skip_byte_order_mark(&mut self) {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if !self.body().starts_with(MARK) {
            return;
        }
        match &mut self.body {
            BodyStorage::Inline(range) => range.start += MARK.len(),
            BodyStorage::Separate(body) => drop(Rc::make_mut(body).drain(..MARK.len())),
        }
    }

    /// Returns whether the body came with the head, as it is: nothing was waited for.
    pub fn is_inline(&self) -> bool {
        matches!(self.body, BodyStorage::Inline(_))
    }

    /// Returns the body without copying it.
    pub fn share(&self) -> SharedBody {
        match &self.body {
            BodyStorage::Inline(range) => SharedBody { bytes: self.bytes.clone(), range: range.clone() },
            BodyStorage::Separate(body) => SharedBody { bytes: body.clone(), range: 0..body.len() },
        }
    }

    /// Returns the body to share with a write. A large one is never inline, so little is copied.
    pub fn shared_body(&self) -> Rc<Vec<u8>> {
        match &self.body {
            BodyStorage::Inline(range) => Rc::new(self.bytes[range.clone()].to_vec()),
            BodyStorage::Separate(body) => body.clone(),
        }
    }
}

/// Reads and decodes the body, and responds to `Expect: 100-continue` first. Takes the bytes of the
/// head out of `pending`.
///
/// After a failure `pending` is a request that can be refused. If its body could be left out, the
/// connection can carry the next request.
pub async fn read(core: &Core, client: &mut Client, pending: &mut Pending) -> Result<Received, Interrupt> {
    read_up_to(core, client, pending, core.boot().max_body_bytes).await
}

/// Does the same, without a wait, for a body that came whole with its head and has no coding.
/// `None` for any other, of which nothing was taken.
pub fn take_arrived(core: &Core, client: &mut Client, pending: &mut Pending) -> Option<Received> {
    let is_within = |length| length <= core.boot().max_body_bytes as u64;
    if pending.head.has_content_encoding || !matches!(pending.head.framing, Framing::Length(n) if is_within(n)) {
        return None;
    }
    let range = find_arrived(pending, client)?;
    let bytes = Rc::new(std::mem::take(&mut pending.bytes));
    let mut received = Received { bytes, body: BodyStorage::Inline(range), _held: Vec::new() };
    received.skip_byte_order_mark();
    Some(received)
}

/// Does the same as [`read`] for a body of at most `limit` bytes.
pub async fn read_up_to(
    core: &Core,
    client: &mut Client,
    pending: &mut Pending,
    limit: usize,
) -> Result<Received, Interrupt> {
    if let Framing::Length(length) = pending.head.framing
        && length > limit as u64
    {
        return Err(too_large(limit).into());
    }
    let (body, held) = match find_arrived(pending, client) {
        Some(range) => (BodyStorage::Inline(range), Vec::new()),
        None => {
            let (body, held) = gather(core, client, pending, limit).await?;
            (BodyStorage::Separate(Rc::new(body)), vec![held])
        }
    };
    let mut received = Received { bytes: Rc::new(std::mem::take(&mut pending.bytes)), body, _held: held };
    let codings = match pending.head.has_content_encoding {
        true => pending.head.get(&received.bytes, "content-encoding"),
        false => None,
    };
    let decoded = match codings {
        None => None,
        Some(codings) => match Box::pin(decode(core, codings, received.body(), limit)).await {
            Ok(decoded) => decoded,
            Err(error) => {
                // The body was read: the connection can carry the next request.
                pending.bytes = received.bytes[..pending.head.len].to_vec();
                pending.head.framing = Framing::None;
                return Err(error.into());
            }
        },
    };
    if let Some((decoded, held)) = decoded {
        received.body = BodyStorage::Separate(Rc::new(decoded));
        received._held = held;
    }
    received.skip_byte_order_mark();
    Ok(received)
}

/// Returns the place of a body that arrived whole with its head. What follows it goes back to the
/// client's buffer.
fn find_arrived(pending: &mut Pending, client: &mut Client) -> Option<Range<usize>> {
    let Pending { head, bytes } = pending;
    let length = match head.framing {
        Framing::None => 0,
        Framing::Length(n) => usize::try_from(n).ok()?,
        Framing::Chunked | Framing::Close => return None,
    };
    let end = head.len.checked_add(length)?;
    if bytes.len() < end {
        return None;
    }
    if bytes.len() > end {
        client.buf = bytes.split_off(end);
    }
    Some(head.len..end)
}

/// Reads until the body is complete.
async fn gather(
    core: &Core,
    client: &mut Client,
    pending: &mut Pending,
    limit: usize,
) -> Result<(Vec<u8>, HeldMemory), Interrupt> {
    let declared = match pending.head.framing {
        Framing::Length(length) => usize::try_from(length).unwrap_or(limit).min(limit),
        Framing::None | Framing::Chunked | Framing::Close => limit,
    };
    let (mut body, mut held) = (Vec::new(), core.shared.body_memory.hold());
    if let Framing::Length(_) = pending.head.framing {
        held.reserve(&mut body, declared.min(RESERVE), declared).map_err(|error| exhausted(core, error))?;
    }
    let take = |piece: &[u8]| {
        if body.len() + piece.len() > limit {
            return Err(too_large(limit));
        }
        held.reserve(&mut body, piece.len(), declared).map_err(|error| exhausted(core, error))?;
        body.extend_from_slice(piece);
        Ok(())
    };
    read_pieces(core, client, pending, take).await?;
    Ok((body, held))
}

/// Reads a body of at most `limit` bytes and throws it away as it arrives, without undoing its
/// coding: what callers without a key send costs no memory. Where the client waits to be told to go
/// on, nothing is read, and the connection ends with the response.
pub async fn discard(core: &Core, client: &mut Client, pending: &mut Pending, limit: usize) -> Result<(), Interrupt> {
    if let Framing::Length(length) = pending.head.framing
        && length > limit as u64
    {
        return Err(larger_than(limit).into());
    }
    if find_arrived(pending, client).is_some() {
        pending.bytes.truncate(pending.head.len);
    } else if !pending.head.expect_continue {
        let mut left = limit;
        let take = |piece: &[u8]| {
            left = left.checked_sub(piece.len()).ok_or_else(|| larger_than(limit))?;
            Ok(())
        };
        read_pieces(core, client, pending, take).await?;
    } else {
        return Ok(());
    }
    pending.head.framing = Framing::None;
    Ok(())
}

/// Reads the body and gives it away piece by piece. What follows it goes back to the client's
/// buffer.
async fn read_pieces(
    core: &Core,
    client: &mut Client,
    pending: &mut Pending,
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Interrupt> {
    let Pending { head, bytes } = pending;
    if head.expect_continue && bytes.len() == head.len {
        client.send(write::CONTINUE.to_vec()).await?;
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut input = bytes.split_off(head.len);
    let mut pace = Pace::new();
    client.reader.read_size(READ);
    loop {
        let mut position = 0;
        loop {
            match decoder.next(&input, &mut position) {
                Ok(Step::Data(range)) => take(&input[range])?,
                Ok(Step::More) => break,
                Ok(Step::End) => {
                    client.buf = input.split_off(position);
                    return Ok(());
                }
                Err(error) => return Err(Error::client(Kind::InvalidRequest, error.to_string()).into()),
            }
        }
        input.clear();
        let wait = pace.wait(core);
        client.deadline.set(wait);
        match client.read_into(&mut input).await {
            Ok(bytes) => pace.received += bytes as u64,
            Err(WaitError::ClientDisconnected) => return Err(Interrupt::ClientDisconnected),
            Err(WaitError::DeadlineExpired) if core.stopping() => return Err(Error::stopping().into()),
            Err(WaitError::DeadlineExpired) => {
                let note = match wait < core.boot().body_read_timeout {
                    true => "the request body arrived more slowly than MIN_BODY_RATE",
                    false => "the request body stopped arriving for longer than BODY_READ_TIMEOUT_SECS",
                };
                return Err(Error::client(Kind::RequestTimeout, note).into());
            }
        }
    }
}

/// How fast a body arrives. Without a least rate a client could hold its memory and connection for
/// ever with a byte before each timeout.
struct Pace {
    began: Instant,
    received: u64,
}

impl Pace {
    /// A body may take this long at any rate, unless BODY_READ_TIMEOUT_SECS is longer.
    const START: Duration = Duration::from_secs(5);

    fn new() -> Pace {
        Pace { began: Instant::now(), received: 0 }
    }

    /// Returns how long the next piece may take.
    fn wait(&self, core: &Core) -> Duration {
        let (pause, rate) = (core.boot().body_read_timeout, core.boot().min_body_rate as u64);
        let Some(earned_ms) = (self.received * 1000).checked_div(rate) else { return pause };
        let allowed = pause.max(Pace::START) + Duration::from_millis(earned_ms);
        pause.min(allowed.saturating_sub(self.began.elapsed()))
    }
}

/// Decodes a body. `None` if it is not encoded.
async fn decode(
    core: &Core,
    codings: &[u8],
    body: &[u8],
    limit: usize,
) -> Result<Option<(Vec<u8>, Vec<HeldMemory>)>, Error> {
    let codings = String::from_utf8_lossy(codings);
    if codings.trim().eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    let shown: String = codings.chars().take(100).collect();
    let explain = |error| match error {
        DecodeError::Memory => exhausted(core, MemoryExhausted),
        DecodeError::Coding(CodingError::Unknown) => {
            let note = format!("content-encoding `{shown}` is not known; use gzip, deflate, br, zstd or identity");
            Error::client(Kind::UnsupportedEncoding, note)
        }
        DecodeError::Coding(CodingError::TooLarge) => too_large(limit),
        DecodeError::Coding(CodingError::Corrupt) => {
            Error::client(Kind::InvalidRequest, format!("the request body is not valid {shown}"))
        }
    };
    decoding::decode(core, &codings, body, limit).await.map(Some).map_err(explain)
}

/// Returns the error of a request whose body finds no room in the memory for bodies.
pub fn exhausted(core: &Core, _: MemoryExhausted) -> Error {
    core.metrics.inc(Counter::BodyMemoryExhausted);
    let note = "the memory for bodies (MAX_BUFFERED_BYTES) is used up; try again";
    Error::gateway(Kind::Overloaded, note).retry_after(1)
}

/// Returns the error of a body that is not read and larger than `limit` bytes.
fn larger_than(limit: usize) -> Error {
    Error::client(Kind::TooLarge, format!("the request body is larger than {limit} bytes, the most that is taken here"))
}

fn too_large(limit: usize) -> Error {
    let note = format!("the request body is larger than {limit} bytes, this gateway's MAX_BODY_BYTES");
    Error::client(Kind::TooLarge, note)
}
