//! The client's side of a stream: bytes gather here between two writes, in one open chunk.

use super::super::client::ClientDisconnected;
use super::super::request_context::RequestContext;
use super::head::{self, BodyFraming};
use llm_http::write;

pub struct Outlet {
    /// The head until it is sent, then what was written since the last flush.
    pub buf: Vec<u8>,
    framing: BodyFraming,
    chunk: Option<write::OpenChunk>,
}

impl Outlet {
    /// `head` is complete save its framing.
    pub fn new(mut head: Vec<u8>, framing: BodyFraming) -> Outlet {
        head::end(&mut head, framing);
        let mut outlet = Outlet { buf: head, framing, chunk: None };
        outlet.open_chunk();
        outlet
    }

    fn open_chunk(&mut self) {
        if self.framing == BodyFraming::Chunked && self.chunk.is_none() {
            self.chunk = Some(write::chunk_begin(&mut self.buf));
        }
    }

    fn close_chunk(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            write::chunk_finish(&mut self.buf, chunk);
        }
    }

    /// Sends what was written.
    pub async fn flush(&mut self, req: &mut RequestContext<'_>) -> Result<(), ClientDisconnected> {
        self.close_chunk();
        if !self.buf.is_empty() {
            let out = std::mem::take(&mut self.buf);
            req.recorder.set_complete(200);
            self.buf = req.send(out).await?;
        }
        self.open_chunk();
        Ok(())
    }

    /// Returns the last bytes of a stream that ends well.
    pub fn finish(&mut self) -> Vec<u8> {
        self.close_chunk();
        if self.framing == BodyFraming::Chunked {
            write::last_chunk(&mut self.buf);
        }
        std::mem::take(&mut self.buf)
    }
}
