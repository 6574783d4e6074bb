//! What a client gets of a translated response: a stream, or a body that is sent when it is
//! complete.

use super::super::request_context::RequestContext;
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::source::UpstreamBody;
use super::stream_writer::StreamWriter;
use crate::net::buffers;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use llm_http::write;
use llm_wire::canonical::loss::Ledger;

/// What the client gets.
pub(super) enum Output {
    Stream(StreamWriter),
    /// The body, which is sent when it is complete.
    Whole(Vec<u8>),
}

impl Output {
    pub(super) fn buf(&mut self) -> &mut Vec<u8> {
        match self {
            Output::Stream(stream_writer) => stream_writer.buf(),
            Output::Whole(body) => body,
        }
    }
}

/// Captures what was written for the client since `from`, if it goes out as a stream. A whole
/// response is captured when it is complete.
pub(super) fn capture_output(recorder: &mut RequestRecorder, output: &mut Output, from: usize) {
    if let Output::Stream(stream_writer) = output {
        recorder.capture.client_got(Piece::Event(&stream_writer.buf()[from..]));
    }
}

/// Begins a stream with its head.
pub(super) fn open_stream(req: &mut RequestContext<'_>, body: &UpstreamBody, ledger: &Ledger) -> StreamWriter {
    let response = body.response();
    let framing = BodyFraming::of_unknown_length(req.meta.version);
    let parts = HeadParts {
        status: 200,
        framing,
        upstream: &response.head,
        upstream_bytes: &response.bytes,
        transfer: HeadTransfer::Translated(Some(ledger)),
    };
    // What has arrived becomes about as much again: to grow in steps would copy it each time.
    let mut head = buffers::take(2 * response.bytes.len() + 1024);
    head::begin(&mut head, req, &parts);
    write::static_header(&mut head, "content-type", "text/event-stream; charset=utf-8");
    write::static_header(&mut head, "cache-control", "no-cache");
    write::static_header(&mut head, "x-accel-buffering", "no");
    StreamWriter::new(req, head, 200, framing)
}
