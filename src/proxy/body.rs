//! The body of a request: read whole, since the model stands in it and another attempt may need it
//! again. Bounded in bytes and in silence.

use std::ops::Range;
use std::rc::Rc;

use super::client::{Client, Waited};
use super::core::Core;
use llm_http::{BodyDecoder, Framing, RequestHead, Step, coding, write};
use llm_wire::error::{Error, Kind};

/// Read at a time while a large body comes in.
const READ: usize = 64 << 10;
/// Reserved at once for a body of declared length; the rest as it arrives, so that a declared
/// gigabyte costs nothing.
const RESERVE: usize = 256 << 10;

/// A request whose body has not been read.
pub struct Pending {
    pub head: RequestHead,
    /// The head, and what came with it.
    pub bytes: Vec<u8>,
}

impl Pending {
    /// Leaves the body out. True if that is possible without reading more: what follows it on the
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

    /// The body to share with a write. A large one is never inline, so nothing of note is copied.
    pub fn shared_body(&self) -> Rc<Vec<u8>> {
        match &self.body {
            Place::Inline(range) => Rc::new(self.bytes[range.clone()].to_vec()),
            Place::Own(body) => body.clone(),
        }
    }
}

/// Why a body was not read.
pub enum Stopped {
    /// The client closed.
    Gone,
    /// The request gets this answer; the rest of its body stays unread.
    Refused(Error, Box<Pending>),
}

/// Reads and decodes the body. Answers `Expect: 100-continue` first.
pub async fn read(core: &Core, client: &mut Client, pending: Pending) -> Result<(RequestHead, Received), Stopped> {
    read_up_to(core, client, pending, core.boot().max_body_bytes).await
}

/// The same, of at most `limit` bytes.
pub async fn read_up_to(
    core: &Core,
    client: &mut Client,
    pending: Pending,
    limit: usize,
) -> Result<(RequestHead, Received), Stopped> {
    if let Framing::Length(length) = pending.head.framing
        && length > limit as u64
    {
        return Err(Stopped::Refused(too_large(limit), Box::new(pending)));
    }
    let Pending { head, mut bytes } = pending;
    let place = match whole_inline(&head, &mut bytes, client) {
        Some(range) => Place::Inline(range),
        None => match gather(core, client, &head, &mut bytes, limit).await {
            Ok(body) => Place::Own(Rc::new(body)),
            Err(Some(error)) => return Err(Stopped::Refused(error, Box::new(Pending { head, bytes }))),
            Err(None) => return Err(Stopped::Gone),
        },
    };
    let mut received = Received { bytes, body: place };
    let decoded = match head.get(&received.bytes, "content-encoding") {
        None => None,
        Some(codings) => match decode(codings, received.body(), limit) {
            Ok(decoded) => decoded,
            // The body was read: the connection can go on.
            Err(error) => {
                let (mut head, mut bytes) = (head, received.bytes);
                bytes.truncate(head.len);
                head.framing = Framing::None;
                return Err(Stopped::Refused(error, Box::new(Pending { head, bytes })));
            }
        },
    };
    if let Some(decoded) = decoded {
        received.body = Place::Own(Rc::new(decoded));
    }
    Ok((head, received))
}

/// The body's place if all of it came with the head; what follows it goes back to the client's
/// buffer.
fn whole_inline(head: &RequestHead, bytes: &mut Vec<u8>, client: &mut Client) -> Option<Range<usize>> {
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

/// Reads until the body is whole. `Err(None)` when the client has gone.
async fn gather(
    core: &Core,
    client: &mut Client,
    head: &RequestHead,
    bytes: &mut Vec<u8>,
    limit: usize,
) -> Result<Vec<u8>, Option<Error>> {
    if head.expect_continue && bytes.len() == head.len && client.send(write::CONTINUE.to_vec()).await.is_err() {
        return Err(None);
    }
    let mut body = Vec::new();
    if let Framing::Length(length) = head.framing {
        body.reserve((length as usize).min(RESERVE));
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut input = bytes.split_off(head.len);
    client.reader.read_size(READ);
    loop {
        let mut pos = 0;
        loop {
            match decoder.next(&input, &mut pos) {
                Ok(Step::Data(range)) if body.len() + range.len() > limit => return Err(Some(too_large(limit))),
                Ok(Step::Data(range)) => body.extend_from_slice(&input[range]),
                Ok(Step::More) => break,
                Ok(Step::End) => {
                    client.buf = input.split_off(pos);
                    return Ok(body);
                }
                Err(error) => return Err(Some(Error::client(Kind::InvalidRequest, error.to_string()))),
            }
        }
        input.clear();
        client.deadline.set(core.boot().body_read_timeout);
        match client.read_into(&mut input).await {
            Waited::Done(_) => {}
            Waited::Gone => return Err(None),
            Waited::Expired if core.stopping() => return Err(Some(Error::stopping())),
            Waited::Expired => {
                let note = "the request body stopped arriving for longer than BODY_READ_TIMEOUT_SECS";
                return Err(Some(Error::client(Kind::RequestTimeout, note)));
            }
        }
    }
}

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
