//! The end of a response that is translated: the last bytes of a stream, or the whole response.

use std::time::Duration;

use super::super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::super::server_timing;
use super::super::source::UpstreamBody;
use super::super::translated_output::Output;
use super::Relay;
use crate::metrics::names::Counter;
use crate::proxy::interrupt::Interrupt;
use crate::proxy::request_context::{Next, RequestContext};
use crate::telemetry::capture::Piece;
use llm_http::{ResponseHead, write};

/// How long the last bytes of an upstream's body are awaited, so that its connection can be used
/// again, when the client has all of its response.
const DRAIN: Duration = Duration::from_millis(250);

impl Relay<'_> {
    /// Sends the rest of the response, which is over, well or not.
    pub(super) async fn finish(&mut self, req: &mut RequestContext<'_>, body: UpstreamBody) -> Result<Next, Interrupt> {
        if let Some(error) = self.translator.take_broken() {
            self.is_broken = true;
            self.flush(req).await?;
            req.head_sent = true;
            return Err(error.into());
        }
        if self.translator.stopped_early() {
            req.core.metrics.inc(Counter::EarlyStops);
        }
        if self.translator.failure().is_some() {
            return self.finish_truncated(req).await;
        }
        if let Some(captured) = self.translator.captured() {
            req.core.reasoning_cache.put(req.recorder.credential(), captured);
        }
        req.recorder.set_complete(200);
        let out = match &mut self.output {
            Output::Stream(stream_writer) => {
                req.recorder.first_content();
                stream_writer.finish()
            }
            Output::Whole(content) => {
                let content = std::mem::take(content);
                // The race is over: the other attempt is given up now.
                req.client.beside = None;
                self.whole_response(req, body.head(), &content)
            }
        };
        // Before the response is sent, so that bytes that come behind it are noticed.
        if body.is_ended() {
            body.release(req);
            return Ok(req.finish(out).await?);
        }
        req.send(out).await?;
        let next = req.next();
        // A response that the gateway ended itself is cancelled.
        if !self.translator.stopped_early() {
            body.discard_rest(req, DRAIN).await;
        }
        Ok(next)
    }

    /// Sends the error event of a stream that broke. No last chunk follows: a client that does not
    /// read error events sees a broken response.
    async fn finish_truncated(&mut self, req: &mut RequestContext<'_>) -> Result<Next, Interrupt> {
        self.flush(req).await?;
        if let Some(error) = self.translator.failure() {
            tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
            req.set_truncated(error);
        }
        Ok(Next::Close)
    }

    /// The response's head names what the response lost. A stream's head is sent before that is known.
    fn whole_response(&mut self, req: &mut RequestContext<'_>, upstream: &ResponseHead, content: &[u8]) -> Vec<u8> {
        let framing = BodyFraming::Length(content.len() as u64);
        for (note, _) in self.translator.notes() {
            let _ = note.loss().map(|loss| self.ledger.record_response_loss(loss));
        }
        let parts = HeadParts {
            status: 200,
            framing,
            upstream,
            upstream_bytes: &self.upstream_bytes,
            transfer: HeadTransfer::Translated(Some(&self.ledger)),
        };
        let mut out = Vec::with_capacity(content.len() + 1024);
        head::begin(&mut out, req, &parts);
        write::static_header(&mut out, "content-type", "application/json");
        server_timing::write(&mut out, req);
        head::end(&mut out, framing);
        out.extend_from_slice(content);
        req.recorder.capture.client_got(Piece::Part(content));
        out
    }
}
