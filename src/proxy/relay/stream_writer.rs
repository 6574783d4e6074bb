//! The client's side of a stream: bytes gather here between two writes, in one open chunk. Behind a
//! write there is no buffer until more is written, since most of its life a stream waits.

use super::super::client::ClientDisconnected;
use super::super::request_context::RequestContext;
use super::super::upstream::UpstreamResponse;
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use crate::net::buffers;
use llm_http::write;
use llm_wire::sse;

pub(super) struct StreamWriter {
    /// The head until it is sent, then what was written since the last flush. Without room behind a
    /// flush: [`StreamWriter::buf`] has it.
    buf: Vec<u8>,
    /// The status that the client sees.
    status: u16,
    framing: BodyFraming,
    chunk: Option<write::OpenChunk>,
    /// Bytes of the head at the start of `buf`.
    head_len: usize,
    /// Where the events begin in `buf`, behind the head and the size line of the open chunk.
    events_at: usize,
    /// Bytes for which the next buffer has room.
    room: usize,
}

impl StreamWriter {
    /// `head` is complete save its framing. It is not used if an earlier attempt has sent a head.
    pub(super) fn new(req: &RequestContext<'_>, mut head: Vec<u8>, status: u16, framing: BodyFraming) -> StreamWriter {
        match req.head_sent {
            true => head.clear(),
            false => head::end(&mut head, framing),
        }
        let head_len = head.len();
        let mut stream_writer =
            StreamWriter { buf: head, status, framing, chunk: None, head_len, events_at: 0, room: 0 };
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
        StreamWriter::new(req, out, response.head.status, framing)
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Returns how many bytes wait to be sent, the head included.
    pub(super) fn held(&self) -> usize {
        self.buf.len()
    }

    /// Returns the buffer, to which events are appended.
    #[inline]
    pub(super) fn buf(&mut self) -> &mut Vec<u8> {
        if self.buf.capacity() == 0 {
            self.take_buffer();
        }
        &mut self.buf
    }

    fn take_buffer(&mut self) {
        self.buf = buffers::take(self.room.max(buffers::SMALL));
        self.open_chunk();
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
        let out = std::mem::take(&mut self.buf);
        if out.is_empty() {
            buffers::give(out);
            return Ok(());
        }
        // As much may come next time.
        self.room = out.len().min(buffers::LARGE);
        req.recorder.set_complete(self.status);
        buffers::give(req.send(out).await?);
        self.head_len = 0;
        Ok(())
    }

    /// Sends the head, if that was not done, and a comment. The events stay here: the provider that
    /// sent them may still be replaced by another.
    pub(super) async fn send_keep_alive(&mut self, req: &mut RequestContext<'_>) -> Result<(), ClientDisconnected> {
        // Has a buffer, whose events begin where `events_at` says.
        self.buf();
        let events = self.buf.split_off(self.events_at);
        self.buf.truncate(self.head_len);
        self.chunk = None;
        self.open_chunk();
        sse::write::comment(&mut self.buf, "keep-alive");
        req.head_sent = true;
        self.send(req).await?;
        if !events.is_empty() {
            self.buf().extend_from_slice(&events);
        }
        Ok(())
    }

    /// Returns the last bytes of a stream that ends well.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.close_chunk();
        if self.framing == BodyFraming::Chunked {
            if self.buf.capacity() == 0 {
                self.buf = buffers::take(buffers::SMALL);
            }
            write::last_chunk(&mut self.buf);
        }
        std::mem::take(&mut self.buf)
    }
}
