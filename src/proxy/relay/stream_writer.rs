//! The client's side of a stream: bytes gather here between two writes, in one open chunk.

use super::super::client::ClientDisconnected;
use super::super::request_context::RequestContext;
use super::super::upstream::UpstreamResponse;
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use crate::net::buffers;
use llm_http::write;
use llm_wire::sse;

pub(super) struct StreamWriter {
    /// The head until it is sent, then what was written since the last flush.
    pub buf: Vec<u8>,
    framing: BodyFraming,
    chunk: Option<write::OpenChunk>,
    /// Bytes of the head at the start of `buf`.
    head_len: usize,
    /// Where the events begin in `buf`, behind the head and the size line of the open chunk.
    events_at: usize,
}

impl StreamWriter {
    /// `head` is complete save its framing. It is not used if an earlier attempt has sent a head.
    pub(super) fn new(req: &RequestContext<'_>, mut head: Vec<u8>, framing: BodyFraming) -> StreamWriter {
        match req.head_sent {
            true => head.clear(),
            false => head::end(&mut head, framing),
        }
        let head_len = head.len();
        let mut stream_writer = StreamWriter { buf: head, framing, chunk: None, head_len, events_at: 0 };
        stream_writer.open_chunk();
        stream_writer
    }

    /// Begins with the head of a provider's stream that is forwarded. `is_labelled` says whether
    /// its own content type is right.
    pub(super) fn begin(req: &mut RequestContext<'_>, response: &UpstreamResponse, is_labelled: bool) -> StreamWriter {
        let framing = BodyFraming::of_unknown_length(req.meta.version);
        let parts = HeadParts {
            status: response.head.status,
            framing,
            upstream: &response.head,
            upstream_bytes: &response.bytes,
            transfer: if is_labelled { HeadTransfer::Passthrough } else { HeadTransfer::Corrected },
        };
        let mut out = buffers::take(response.bytes.len() + 1024);
        head::begin(&mut out, req, &parts);
        if !is_labelled {
            write::static_header(&mut out, "content-type", "text/event-stream; charset=utf-8");
        }
        write::static_header(&mut out, "cache-control", "no-cache");
        write::static_header(&mut out, "x-accel-buffering", "no");
        StreamWriter::new(req, out, framing)
    }

    /// Returns how many bytes wait to be sent, the head included.
    pub(super) fn held(&self) -> usize {
        self.buf.len()
    }

    fn open_chunk(&mut self) {
        if self.framing == BodyFraming::Chunked && self.chunk.is_none() {
            self.chunk = Some(write::chunk_begin(&mut self.buf));
        }
        self.events_at = self.buf.len();
    }

    fn close_chunk(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            write::chunk_finish(&mut self.buf, chunk);
        }
    }

    /// Sends what was written: content of the provider's response.
    pub(super) async fn flush(&mut self, req: &mut RequestContext<'_>) -> Result<(), ClientDisconnected> {
        if self.head_len > 0 {
            req.provider_succeeded();
        }
        // The race is over: the other attempt is given up now.
        req.client.beside = None;
        self.send(req).await
    }

    async fn send(&mut self, req: &mut RequestContext<'_>) -> Result<(), ClientDisconnected> {
        self.close_chunk();
        if !self.buf.is_empty() {
            let out = std::mem::take(&mut self.buf);
            let sent = out.len();
            req.recorder.set_complete(200);
            self.buf = fitting(req.send(out).await?, sent);
        }
        self.head_len = 0;
        self.open_chunk();
        Ok(())
    }

    /// Sends the head, if that was not done, and a comment. The events stay here: the provider that
    /// sent them may still be replaced by another.
    pub(super) async fn send_keep_alive(&mut self, req: &mut RequestContext<'_>) -> Result<(), ClientDisconnected> {
        let events = self.buf.split_off(self.events_at);
        self.buf.truncate(self.head_len);
        self.chunk = None;
        self.open_chunk();
        sse::write::comment(&mut self.buf, "keep-alive");
        req.head_sent = true;
        self.send(req).await?;
        self.buf.extend_from_slice(&events);
        Ok(())
    }

    /// Returns the last bytes of a stream that ends well.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.close_chunk();
        if self.framing == BodyFraming::Chunked {
            write::last_chunk(&mut self.buf);
        }
        std::mem::take(&mut self.buf)
    }
}

/// Returns the buffer for what comes next: `buf`, or a small one behind `sent` bytes that would
/// have fitted it. Most of its life a stream waits.
fn fitting(buf: Vec<u8>, sent: usize) -> Vec<u8> {
    if sent > buffers::SMALL || buf.capacity() <= buffers::SMALL {
        return buf;
    }
    buffers::give(buf);
    buffers::take(buffers::SMALL)
}
