//! The end of a stream that is forwarded: as the provider meant it, or broken off.

use std::time::Duration;

use super::super::defect;
use super::super::event_bytes::is_complete;
use super::super::pace::Pace;
use super::super::source::{Cut, UpstreamBody, truncated};
use super::Relay;
use crate::proxy::interrupt::{Failure, Interrupt};
use crate::proxy::recorder::RequestRecorder;
use crate::proxy::request_context::{Next, RequestContext};
use crate::telemetry::capture::Piece;
use llm_http::Framing;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;

/// How long the end of the body is awaited behind the end mark, so that its connection can be used
/// again.
const DRAIN: Duration = Duration::from_millis(250);

/// What stood behind the last blank line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing, or an event that is complete save its blank line.
    Complete,
    /// Half an event, which is never forwarded.
    Partial,
}

impl Relay<'_> {
    /// Ends the response when nothing more comes: the body has ended, or was cut.
    ///
    /// If the response had come to its own end, a connection that ends badly takes nothing from it.
    /// If not, a body that was ended as HTTP demands is what the provider meant to send: it passes
    /// as it is, and only the record calls it truncated. The close of a connection is no such end,
    /// and a stream without content is no response.
    pub(super) async fn on_end(
        &mut self,
        req: &mut RequestContext<'_>,
        body: UpstreamBody,
        cut: Option<Cut>,
    ) -> Result<Next, Interrupt> {
        let is_proper = cut.is_none() && (body.head().framing != Framing::Close || !self.generates);
        let tail = match self.forward_tail(&mut req.recorder, is_proper) {
            Ok(tail) => tail,
            Err(error) => return self.on_failure(req, error).await,
        };
        let is_intended = is_proper && tail == Tail::Complete && self.pace == Pace::Flowing;
        let is_over = self.is_over();
        if !is_over && !is_intended {
            let error = match cut {
                Some(cut) => cut.error(req, self.provider),
                None if req.core.stopping() => Error::stopping(),
                None if self.generates && self.pace != Pace::Flowing => defect::of_early_end(self.form, self.provider),
                None => truncated(self.provider, "ended its stream"),
            };
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(200);
        if self.tap.seen().failed {
            req.recorder.set_cut(Kind::UpstreamFault);
        } else if self.generates && !is_over {
            req.recorder.set_cut(Kind::UpstreamTruncated);
        }
        req.recorder.record_mut().stream_defect = defect::of_stream(self.tap.seen(), self.generates);
        body.release(req);
        Ok(req.finish(self.stream_writer.finish()).await?)
    }

    /// Ends a response that has its end mark. The provider may keep the connection open for long.
    pub(super) async fn on_end_mark(
        &mut self,
        req: &mut RequestContext<'_>,
        body: UpstreamBody,
    ) -> Result<Next, Interrupt> {
        if self.pace == Pace::Held {
            let error = truncated(self.provider, "ended its stream");
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(200);
        if self.tap.seen().failed {
            req.recorder.set_cut(Kind::UpstreamFault);
        }
        req.recorder.record_mut().stream_defect = defect::of_stream(self.tap.seen(), self.generates);
        req.send(self.stream_writer.finish()).await?;
        body.discard_rest(req, DRAIN).await;
        Ok(req.next())
    }

    /// Returns whether the format's last event has come, and no part of another.
    pub(super) fn has_end_mark(&self) -> bool {
        self.generates && self.tap.seen().ended && self.framer.is_between_events()
    }

    /// Forwards what stands behind the last blank line, which many hosts forget. `is_proper` says
    /// whether the body was ended as HTTP demands.
    fn forward_tail(&mut self, recorder: &mut RequestRecorder, is_proper: bool) -> Result<Tail, Error> {
        let mut framer = std::mem::take(&mut self.framer);
        let Some(block) = framer.finish() else { return Ok(Tail::Complete) };
        let is_whole = match &block.frame {
            Some(frame) => is_complete(frame.data),
            // A comment or a field without meaning, or the first letters of `data`.
            None => self.is_over(),
        };
        if self.generates && !is_whole {
            return Ok(Tail::Partial);
        }
        self.forward_block(recorder, &block)?;
        if self.generates && !self.is_over() && !is_proper {
            // An error event will follow, and must not become a part of this one.
            self.stream_writer.buf.extend_from_slice(b"\n\n");
        }
        Ok(Tail::Complete)
    }

    /// Ends a stream that broke. Before anything was sent the attempt fails; after that the client
    /// gets the error as an event of its own format.
    pub(super) async fn on_failure(&mut self, req: &mut RequestContext<'_>, error: Error) -> Result<Next, Interrupt> {
        if self.pace == Pace::Held {
            return Err(error.into());
        }
        if let Some(rest) = self.rescue.rest().filter(|_| !req.core.stopping()) {
            self.stream_writer.flush(req).await?;
            req.head_sent = true;
            return Err(Failure { rest: Some(rest), ..Failure::from(error) }.into());
        }
        tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
        // Only complete events were forwarded, so the stream stands between two.
        let from = self.stream_writer.buf.len();
        errors::event(req.route.format, &mut self.stream_writer.buf, &error, req.recorder.request_id());
        req.recorder.capture.client_got(Piece::Event(&self.stream_writer.buf[from..]));
        self.stream_writer.flush(req).await?;
        req.set_truncated(&error);
        // No last chunk: a client that does not read error events sees a broken response.
        Ok(Next::Close)
    }
}
