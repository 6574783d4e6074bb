//! Forwards a stream of server-sent events in the client's own format.
//!
//! | pace | until | a failure meanwhile |
//! |---|---|---|
//! | `Held` | content, then `Flowing`; too much held, then `Committed` | the next candidate may be tried |
//! | `Committed` | content, then `Flowing` | an error event, never a clean end |
//! | `Flowing` | the end of the response | an error event, never a clean end |
//!
//! While the stream is held, the head and the first events wait in the outlet. They carry no text,
//! so the client loses nothing, and a provider that fails before its first content can still be
//! replaced. After COMMIT_AFTER_SECS the client gets the head and comments, while the events go on
//! waiting. Events pass as they came, byte for byte. The only things ever added are comment lines
//! in a long silence, and the error event that ends a stream which broke off.

use std::time::Duration;

use super::super::interrupt::{self, Failure, Interrupt};
use super::super::prepare::Bypass;
use super::super::request_context::{Next, RequestContext};
use super::defect;
use super::form::{Form, FormReader};
use super::pace::{self, Pace};
use super::relayed::Relayed;
use super::source::{BodyEvent, Cut, UpstreamBody, truncated};
use super::stream_events::{StreamEvents, Tail};
use super::stream_writer::StreamWriter;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::telemetry::capture::Piece;
use crate::telemetry::record::Tokens;
use llm_http::Framing;
use llm_wire::canonical::event::Reason;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
use llm_wire::sse;

/// Bytes that are held back for the first content at most.
const MAX_HELD: usize = 256 << 10;

struct Relay<'p> {
    events: StreamEvents<'p>,
    /// Whether the content type says that this is a stream.
    is_labelled: bool,
    /// What the body is, once its first bytes have come.
    form: Option<Form>,
    form_reader: FormReader,
    stream_writer: StreamWriter,
    provider: &'p Provider,
}

/// Forwards a stream. Most of its life it waits, and there may be tens of thousands of them. So its
/// future is small: this and [`Relay::forward`] are functions that return a block, since an
/// `async fn` keeps its arguments beside the variables that they are moved to.
#[allow(clippy::manual_async_fn, reason = "see above")]
pub(super) fn run(
    req: &mut RequestContext<'_>,
    body: UpstreamBody,
    bypass: Bypass,
    provider: &Provider,
) -> impl Future<Output = Result<Relayed, Interrupt>> {
    async move {
        let mut relay = Relay::new(req, &body, bypass, provider);
        let result = relay.forward(req, body).await;
        relay.record_summary(req);
        result
    }
}

/// How long usage and the end mark are awaited behind the finish reason. Some hosts send neither,
/// and keep the connection open.
const TAIL: Duration = Duration::from_secs(5);
/// How long the end of the body is awaited behind the end mark, so that its connection can be used
/// again.
const DRAIN: Duration = Duration::from_millis(250);

impl<'p> Relay<'p> {
    fn new(req: &mut RequestContext<'_>, body: &UpstreamBody, bypass: Bypass, provider: &'p Provider) -> Relay<'p> {
        let response = body.response();
        let is_labelled = response.is_event_stream && !response.is_encoded;
        if !bypass.edits() {
            req.recorder.capture.mark_passthrough();
        }
        let mut stream_writer = StreamWriter::begin(req, response, is_labelled);
        let events = StreamEvents::begin(req, bypass, provider);
        events.rescue.announce(req, stream_writer.buf(), &provider.key);
        let form_reader = FormReader::default();
        Relay { events, is_labelled, form: None, form_reader, stream_writer, provider }
    }

    #[allow(clippy::manual_async_fn, reason = "see `run`")]
    fn forward(
        &mut self,
        req: &mut RequestContext<'_>,
        mut body: UpstreamBody,
    ) -> impl Future<Output = Result<Relayed, Interrupt>> {
        async move {
            loop {
                if self.form.is_none() && self.events.generates {
                    self.form = body.peek().and_then(|piece| self.form_reader.read(piece));
                    if let Some(form) = self.form.filter(|form| !self.takes(*form)) {
                        return Ok(Relayed::Other(Box::new(body), form));
                    }
                }
                let core = req.core;
                let is_known_form = self.form.is_some() || !self.events.generates;
                if is_known_form
                    && body.has_arrived()
                    && let Err(error) =
                        self.events.forward_arrived(core, &mut req.recorder, &mut body, self.stream_writer.buf())
                {
                    return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
                }
                match body.next(req, self.events.pace).await? {
                    BodyEvent::Arrived => {}
                    BodyEvent::Data(data) => {
                        if let Err(error) = self.events.on_data(core, &mut req.recorder, data, self.stream_writer.buf())
                        {
                            return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
                        }
                    }
                    BodyEvent::Drained if self.events.has_end_mark() => {
                        return Box::pin(self.on_end_mark(req, body)).await.map(Relayed::Done);
                    }
                    BodyEvent::Drained => {
                        if self.events.is_over() {
                            body.limit_rest(req, TAIL);
                        }
                        self.on_drained(req).await?;
                    }
                    BodyEvent::Idle => self.on_idle(req).await?,
                    BodyEvent::End => return Box::pin(self.on_end(req, body, None)).await.map(Relayed::Done),
                    BodyEvent::Cut(cut @ Cut::Malformed(_)) => {
                        let error = cut.error(req, &self.provider.key);
                        return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
                    }
                    BodyEvent::Cut(cut) => {
                        return Box::pin(self.on_end(req, body, Some(cut))).await.map(Relayed::Done);
                    }
                }
            }
        }
    }

    /// Returns whether a body of this form is forwarded as a stream. What is labelled as one is,
    /// unless it is plainly something else.
    fn takes(&self, form: Form) -> bool {
        form == Form::Events || (form == Form::Text && self.is_labelled)
    }

    async fn on_drained(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        if self.events.pace == Pace::Held && self.stream_writer.held() > MAX_HELD {
            req.core.metrics.inc(Counter::HeldOverflow);
            self.events.pace = Pace::Committed;
        }
        if self.events.pace != Pace::Held {
            self.stream_writer.flush(req).await?;
        }
        Ok(())
    }

    /// Shows the client that its request is being served. The stream stands between two events:
    /// partial ones are never forwarded.
    async fn on_idle(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        match self.events.pace {
            Pace::Held if !pace::is_keep_alive_due(req) => return Ok(()),
            Pace::Held => return Ok(self.stream_writer.send_keep_alive(req).await?),
            Pace::Committed | Pace::Flowing | Pace::Whole => {
                sse::write::comment(self.stream_writer.buf(), "keep-alive");
            }
        }
        Ok(self.stream_writer.flush(req).await?)
    }

    /// Ends the response when nothing more comes: the body has ended, or was cut.
    ///
    /// If the response had come to its own end, a connection that ends badly takes nothing from it.
    /// If not, a body that was ended as HTTP demands is what the provider meant to send: it passes
    /// as it is, and only the record calls it truncated. The close of a connection is no such end,
    /// and a stream without content is no response.
    async fn on_end(
        &mut self,
        req: &mut RequestContext<'_>,
        body: UpstreamBody,
        cut: Option<Cut>,
    ) -> Result<Next, Interrupt> {
        let is_proper = cut.is_none() && (body.head().framing != Framing::Close || !self.events.generates);
        let tail = match self.events.forward_tail(&mut req.recorder, is_proper, self.stream_writer.buf()) {
            Ok(tail) => tail,
            Err(error) => return self.on_failure(req, error).await,
        };
        let is_intended = is_proper && tail == Tail::Complete && self.events.pace == Pace::Flowing;
        // An end mark alone is no response.
        let is_over = self.events.is_over() && self.events.pace != Pace::Held;
        if !is_over && !is_intended {
            let error = match cut {
                Some(cut) => cut.error(req, &self.provider.key),
                None if req.core.stopping() => Error::stopping(),
                None if self.events.generates && self.events.pace != Pace::Flowing => {
                    defect::of_early_end(self.form, &self.provider.key)
                }
                None => truncated(&self.provider.key, "ended its stream"),
            };
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(self.stream_writer.status());
        if !self.record_reported(req) && self.events.generates && !is_over {
            req.recorder.set_cut(Kind::UpstreamTruncated);
        }
        req.recorder.record_mut().stream_defect = defect::of_stream(self.events.seen(), self.events.generates);
        body.release(req);
        Ok(req.finish(self.stream_writer.finish()).await?)
    }

    /// Ends a response that has its end mark. The provider may keep the connection open for long.
    async fn on_end_mark(&mut self, req: &mut RequestContext<'_>, body: UpstreamBody) -> Result<Next, Interrupt> {
        if self.events.pace == Pace::Held {
            let error = truncated(&self.provider.key, "ended its stream");
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(self.stream_writer.status());
        self.record_reported(req);
        req.recorder.record_mut().stream_defect = defect::of_stream(self.events.seen(), self.events.generates);
        req.send(self.stream_writer.finish()).await?;
        body.discard_rest(req, DRAIN).await;
        Ok(req.next())
    }

    /// Ends a stream that broke. Before anything was sent the attempt fails; after that the client
    /// gets the error as an event of its own format.
    async fn on_failure(&mut self, req: &mut RequestContext<'_>, mut error: Error) -> Result<Next, Interrupt> {
        if self.events.pace == Pace::Held {
            return Err(error.into());
        }
        if let Some(rest) = self.events.rescue.rest().filter(|_| !req.core.stopping()) {
            self.stream_writer.flush(req).await?;
            req.head_sent = true;
            return Err(Failure { rest: Some(rest), ..Failure::from(error) }.into());
        }
        interrupt::hide_keys(&mut error, self.provider);
        tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
        // Only complete events were forwarded, so the stream stands between two.
        let out = self.stream_writer.buf();
        let from = out.len();
        errors::event(req.route.format, out, &error, req.recorder.request_id());
        req.recorder.capture.client_got(Piece::Event(&out[from..]));
        self.stream_writer.flush(req).await?;
        req.set_truncated(&error);
        // No last chunk: a client that does not read error events sees a broken response.
        Ok(Next::Close)
    }

    /// Records the error that the provider reported in an event, and the client got with the rest.
    /// Returns whether there is one.
    fn record_reported(&self, req: &mut RequestContext<'_>) -> bool {
        if let Some(error) = &self.events.failure {
            req.set_truncated(error);
        }
        self.events.failure.is_some()
    }

    /// Records usage and finish reason, as far as the stream had them.
    fn record_summary(&self, req: &mut RequestContext<'_>) {
        let seen = self.events.seen();
        if let Some(usage) = &seen.usage {
            req.recorder.record_mut().tokens = Some(Tokens::reported(usage));
        }
        req.recorder.record_mut().finish = seen.reason.map(Reason::label);
        req.core.metrics.add(Counter::TapErrors, u64::from(seen.parse_errors));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a 64-bit machine, and in the allocator's class of 1,792 bytes.
    #[test]
    fn the_future_of_a_stream_is_small() {
        fn of<A, B, C, D, R>(_: impl Fn(A, B, C, D) -> R) -> usize {
            size_of::<R>()
        }
        assert!(of(run) <= 1792, "{}", of(run));
    }
}
