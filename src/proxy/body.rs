//! Reads the body of a request. It is read whole, since it names the model and another attempt may
//! need it again. Bounded in bytes and in silence.

use std::ops::Range;
use std::rc::Rc;

use super::client::{Client, WaitError};
use super::core::Core;
use super::interrupt::Interrupt;
use llm_http::{BodyDecoder, Framing, RequestHead, Step, coding, write};
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
    /// Skips the body. Returns true if that is possible without reading more. What follows it on the
    /// connection is kept for the next request.
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
    bytes: Vec<u8>,
    body: Place,
}

enum Place {
    /// Behind the head, in the same buffer.
    Inline(Range<usize>),
    Own(Rc<Vec<u8>>),
}

impl Received {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn body(&self) -> &[u8] {
        match &self.body {
            Place::Inline(range) => &self.bytes[range.clone()],
            Place::Own(body) => body,
        }
    }

    /// Returns the body to share with a write. A large one is never inline, so little is copied.
    pub fn shared_body(&self) -> Rc<Vec<u8>> {
        match &self.body {
            Place::Inline(range) => Rc::new(self.bytes[range.clone()].to_vec()),
            Place::Own(body) => body.clone(),
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

/// Does the same for a body of at most `limit` bytes.
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
    let body = match find_arrived(pending, client) {
        Some(range) => Place::Inline(range),
        None => Place::Own(Rc::new(gather(core, client, pending, limit).await?)),
    };
    let mut received = Received { bytes: std::mem::take(&mut pending.bytes), body };
    let decoded = match pending.head.get(&received.bytes, "content-encoding") {
        None => None,
        Some(codings) => match decode(codings, received.body(), limit) {
            Ok(decoded) => decoded,
            Err(error) => {
                // The body was read: the connection can carry the next request.
                pending.bytes = received.bytes;
                pending.bytes.truncate(pending.head.len);
                pending.head.framing = Framing::None;
                return Err(error.into());
            }
        },
    };
    if let Some(decoded) = decoded {
        received.body = Place::Own(Rc::new(decoded));
    }
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
async fn gather(core: &Core, client: &mut Client, pending: &mut Pending, limit: usize) -> Result<Vec<u8>, Interrupt> {
    let Pending { head, bytes } = pending;
    if head.expect_continue && bytes.len() == head.len {
        client.send(write::CONTINUE.to_vec()).await?;
    }
    let mut body = Vec::new();
    if let Framing::Length(length) = head.framing {
        body.reserve((length as usize).min(RESERVE));
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut input = bytes.split_off(head.len);
    client.reader.read_size(READ);
    loop {
        let mut position = 0;
        loop {
            match decoder.next(&input, &mut position) {
                Ok(Step::Data(range)) if body.len() + range.len() > limit => return Err(too_large(limit).into()),
                Ok(Step::Data(range)) => body.extend_from_slice(&input[range]),
                Ok(Step::More) => break,
                Ok(Step::End) => {
                    client.buf = input.split_off(position);
                    return Ok(body);
                }
                Err(error) => return Err(Error::client(Kind::InvalidRequest, error.to_string()).into()),
            }
        }
        input.clear();
        client.deadline.set(core.boot().body_read_timeout);
        match client.read_into(&mut input).await {
            Ok(_) => {}
            Err(WaitError::ClientDisconnected) => return Err(Interrupt::ClientDisconnected),
            Err(WaitError::DeadlineExpired) if core.stopping() => return Err(Error::stopping().into()),
            Err(WaitError::DeadlineExpired) => {
                let note = "the request body stopped arriving for longer than BODY_READ_TIMEOUT_SECS";
                return Err(Error::client(Kind::RequestTimeout, note).into());
            }
        }
    }
}

/// Decodes a body. `None` if it is not encoded.
fn decode(codings: &[u8], body: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let codings = String::from_utf8_lossy(codings);
    if codings.trim().eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    let shown: String = codings.chars().take(100).collect();
    coding::decode(&codings, body, limit).map(Some).map_err(|error| match error {
        coding::CodingError::Unknown => {
            let note = format!("content-encoding `{shown}` is not known; use gzip, deflate, br, zstd or identity");
            Error::client(Kind::UnsupportedEncoding, note)
        }
        coding::CodingError::TooLarge => too_large(limit),
        coding::CodingError::Corrupt => {
            Error::client(Kind::InvalidRequest, format!("the request body is not valid {shown}"))
        }
    })
}

fn too_large(limit: usize) -> Error {
    let note = format!("the request body is larger than {limit} bytes, this gateway's MAX_BODY_BYTES");
    Error::client(Kind::TooLarge, note)
}
