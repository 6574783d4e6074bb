//! Translation from one format to another, in the order of its steps.
//!
//! [`request`] turns a client's body into a provider's; [`Translator`] turns the provider's answer,
//! stream or whole, into the client's, stream or whole. Both are generic over the formats by
//! `match`: the format folders never see one another.
//!
//! ```text
//! request:  body ─ <client>::request::decode ─ Request ─ <provider>::request::encode ─ body, Plan, Ledger
//! answer:   frame ─ <provider>::stream::Decoder ─┐                     ┌─ <client>::stream::Encoder ─ bytes
//!           body ── <provider>::response::decode ┴─ Event ─ Normalizer ─ Event ┴─ Answer ─ <client>::response::encode ─ bytes
//! ```

mod any;
pub mod known_answers;
pub mod known_requests;
mod output;
mod request;
mod rescue;

use crate::canonical::codec::{Decode, Encode, Sink};
use crate::canonical::event::{Block, Event, Note, Reason, Status};
use crate::canonical::text;
use crate::canonical::usage::Usage;
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::formats::{chat, errors, messages, responses};
use crate::json::{RawStr, RawValue, Tape, preamble};
use crate::passthrough::continuation::Continuation;
use crate::passthrough::tap;
use crate::reasoning::cache::Captured;
use crate::response::delta_template::{DeltaTemplate, Observed};
use crate::response::normalize::Normalizer;
use crate::sse::Frame;
use crate::target::plan::{Plan, Reply};
use crate::target::quirks::Quirks;
use any::AnyEncoder;
use known_answers::{End, KnownAnswers};

pub use any::AnyDecoder;
pub use output::Phase;
use output::{Output, Writing};
pub use request::{Encoded, decode, request};
use rescue::Rescue;

/// Translates one response. The provider may stream it or not, and so may the client.
///
/// Every method appends to `out` what goes to the client. `Err` means that the response failed
/// while nothing had been written: the caller may try another provider, or respond with the error's
/// status. A later failure is written into the stream and is no `Err`; [`Translator::failure`]
/// returns it.
///
/// A Chat client gets the whole response of a Messages provider:
///
/// ```
/// # use llm_wire::Format;
/// # use llm_wire::target::plan::{Context, Reply, SequentialIds, Target};
/// # use llm_wire::target::{overrides::Overrides, quirks::Host};
/// # use llm_wire::translate::{self, Translator};
/// let target = Target::new(Format::Messages, Host::Anthropic, "claude-sonnet-4-5", "p", &Overrides::default());
/// let request = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
/// let encoded = translate::request(Format::Chat, request, &Context::new(target, "m"))?;
///
/// let mut translator = Translator::new(Reply::new(encoded.plan, Box::new(SequentialIds::default()), "r1"));
/// let mut out = Vec::new();
/// let response = br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5",
///     "content":[{"type":"text","text":"Good day."}],"stop_reason":"end_turn","stop_sequence":null,
///     "usage":{"input_tokens":8,"output_tokens":4}}"#;
/// translator.body(response, &mut out)?;
/// let out = String::from_utf8(out).unwrap();
/// assert!(out.contains(r#""object":"chat.completion""#) && out.contains(r#""content":"Good day.""#));
/// # Ok::<(), llm_wire::error::Error>(())
/// ```
///
/// `examples/translate_stream.rs` translates a stream: each frame goes to [`Translator::frame`],
/// and [`Translator::end`] follows the last one.
pub struct Translator {
    decoder: AnyDecoder,
    template: DeltaTemplate,
    shape: Normalizer,
    output: Output,
    phase: Phase,
    failure: Option<Error>,
    captured: Option<Captured>,
    content: bool,
    model: Option<Box<str>>,
    /// Where another provider may go on with the stream.
    rescue: Option<Box<Rescue>>,
    /// The plan of the request and the counters of the response.
    pub reply: Reply,
}

impl Translator {
    /// Makes the translator of one attempt, for the formats that the reply's plan names.
    pub fn new(reply: Reply) -> Translator {
        let plan = &reply.plan;
        let output = match plan.stream {
            true => Output::Stream(Box::new(AnyEncoder::new(plan.client))),
            false => Output::Whole(Box::default()),
        };
        let decoder = AnyDecoder::new(plan.provider, plan.quirks);
        let template = DeltaTemplate::new(plan.provider, plan.quirks);
        let captured = Captured::is_wanted(plan).then(Captured::default);
        let (shape, phase) = (Normalizer::default(), Phase::Waiting);
        Translator {
            decoder,
            template,
            shape,
            output,
            phase,
            failure: None,
            captured,
            content: false,
            model: None,
            rescue: None,
            reply,
        }
    }

    /// Takes the events at the start of `input`, which begins one, as far as each differs from the
    /// one before in its text alone. Returns their length; what follows is for a framer.
    pub fn known_events(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Error> {
        let mut taken = 0;
        while let Some((event, len)) = self.template.read_event(&input[taken..]) {
            taken += len;
            if !self.pass_text(&event, false, out) {
                self.run(out, |_, sink| sink(event))?;
            }
        }
        Ok(taken)
    }

    /// Takes `event`, blank line included, if it differs from the one before in its text alone, and
    /// that comes to the client's stream as it is. Returns false, having done nothing, for any
    /// other event.
    #[inline]
    pub fn known_event(&mut self, event: &[u8], out: &mut Vec<u8>) -> bool {
        match self.template.read_whole_event(event) {
            Some((event, is_plain)) => self.pass_text(&event, is_plain, out),
            None => false,
        }
    }

    /// Writes a delta of text that would come to the client's stream as it is: what
    /// [`Translator::run`] would do with it. `is_plain` says that it is known to be ASCII without
    /// escapes. Returns false, having done nothing, for any other event.
    fn pass_text(&mut self, event: &Event<'_>, is_plain: bool, out: &mut Vec<u8>) -> bool {
        let (Event::Text { ix, raw }, Output::Stream(encoder)) = (event, &mut self.output) else { return false };
        if self.rescue.is_some()
            || self.phase != Phase::Committed
            || !self.shape.count_plain_text(*ix, *raw, &self.reply)
        {
            return false;
        }
        self.content = true;
        // Of a text nothing is remembered beyond the answer (`Captured`).
        let failure = match is_plain {
            true => encoder.plain_text(*ix, *raw, &mut self.reply, out),
            false => {
                encoder.event(Event::Text { ix: *ix, raw: *raw }, &mut self.reply, out);
                encoder.take_failure()
            }
        };
        if let Some(error) = failure {
            self.failure = Some(error);
            self.phase = Phase::Over;
        }
        true
    }

    /// Takes one frame of the provider's stream.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(event) = self.template.read(&frame) {
            return self.run(out, |_, sink| sink(event));
        }
        let mut observed = Observed::default();
        let result = self.run(out, |decoder, sink| {
            let decoded = decoder.frame(frame, &mut |event| {
                observed.event(&event, frame.data);
                sink(event);
            });
            if let Err(error) = decoded {
                sink(Event::Fail(error));
            }
        });
        self.template.learn(&frame, &observed);
        result
    }

    /// Takes a whole response: of a provider that was asked for one, or that sent one instead of a
    /// stream.
    pub fn body(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let (provider, quirks) = (self.reply.plan.provider, self.reply.plan.quirks);
        self.run(out, |_, sink| {
            let mut tape = Tape::default();
            let result = tape
                .read_spelled_out(preamble::strip(body))
                .map_err(|e| Error::upstream(Kind::UpstreamFault, "the upstream's answer is not JSON").detail(e))
                .and_then(|raw| match errors::recognize(provider, raw) {
                    Some(read) => {
                        // A provider that reports usage bills for it.
                        if let Some(usage) = raw.find("usage").filter(|usage| usage.is_object()) {
                            sink(Event::Usage(tap::usage(provider, usage)));
                        }
                        Err(classify::error(None, &read))
                    }
                    // What looked like something new, and is no answer, may hold an error all the
                    // same.
                    None => decode_answer(provider, raw, quirks, sink).map_err(|no_answer| {
                        foreign::any_shape(raw).map_or(no_answer, |read| classify::error(None, &read))
                    }),
                });
            if let Err(error) = result {
                sink(Event::Fail(error));
            }
        })
    }

    /// Does what [`Translator::body`] does, for an answer whose structure `known` has without
    /// reading it.
    pub fn whole_body(&mut self, known: &mut KnownAnswers, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let is_fresh = self.phase == Phase::Waiting && self.reply.own_id.is_none() && self.model.is_none();
        if !is_fresh || self.reply.plan.stream || !known_answers::is_plain(&self.reply.plan) {
            return self.body(body, out);
        }
        if let Some((usage, end)) = known.write(body, &self.reply, out) {
            self.shape.end_known(usage, end.reason);
            self.phase = Phase::Over;
            self.content = true;
            self.model = end.model.clone();
            return Ok(());
        }
        let from = out.len();
        self.body(body, out)?;
        let translate = |body: &[u8], reply: Reply| {
            let (mut translator, mut out) = (Translator::new(reply), Vec::new());
            translator.body(body, &mut out).ok()?;
            let (usage, end) = translator.plain_end()?;
            Some((out, usage, end))
        };
        known.learn((body, &out[from..]), &self.reply, || self.plain_end(), translate);
        Ok(())
    }

    /// Returns the counts of the answer and how it has ended, if that was well and without
    /// oddities.
    fn plain_end(&self) -> Option<(Usage, End)> {
        let is_odd = self.reply.notes.iter().any(|n| *n > 0) || self.failure.is_some() || self.stopped_early();
        let is_useful = self.captured.as_ref().is_some_and(Captured::is_useful);
        let usage = self.usage().filter(known_answers::is_counted)?;
        let end = End { reason: self.reason(), model: self.model.clone() };
        (self.phase == Phase::Over && self.content && !is_odd && !is_useful).then_some((usage, end))
    }

    /// The provider's bytes have ended.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.run(out, |decoder, sink| decoder.end(sink))?;
        if self.phase == Phase::Over {
            return Ok(());
        }
        self.fail(Error::upstream(Kind::UpstreamTruncated, "the upstream closed the stream before its end"), out)
    }

    /// Ends the answer where the exchange failed below the format: reset, timeout, a frame too
    /// long.
    pub fn fail(&mut self, error: Error, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut error = Some(error);
        self.run(out, |_, sink| {
            if let Some(error) = error.take() {
                sink(Event::Fail(error));
            }
        })
    }

    /// The client has waited for long. `false` if there is nothing to write to it: it asked for a
    /// whole answer.
    pub fn wait(&mut self, out: &mut Vec<u8>) -> bool {
        match (&mut self.output, self.phase) {
            (Output::Stream(encoder), Phase::Waiting | Phase::Committed) => {
                encoder.wait(&mut self.reply, out);
                self.phase = Phase::Committed;
                true
            }
            _ => false,
        }
    }

    /// The client's bytes hold more than what keeps a connection alive.
    pub fn has_content(&self) -> bool {
        self.content
    }

    /// Returns how far the response has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The provider has sent its finish reason. What may still come is usage and the end mark.
    pub fn is_finished(&self) -> bool {
        self.shape.is_finished() || self.holds_finish()
    }

    /// The provider has sent its finish reason, and content may follow all the same: see
    /// [`Translator::flush_finish`].
    pub fn holds_finish(&self) -> bool {
        self.phase != Phase::Over && !self.shape.is_finished() && self.decoder.holds_finish()
    }

    /// The provider has been silent for a while behind the reason of its end: the client gets it
    /// the reason now.
    pub fn flush_finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.run(out, |decoder, sink| decoder.flush_finish(sink))
    }

    /// The gateway ended the answer itself (a stop sequence): the upstream call should be
    /// cancelled.
    pub fn stopped_early(&self) -> bool {
        self.shape.stopped_early()
    }

    /// Returns a failure that was written into the client's stream.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Returns the same failure, so that a caller can remove secrets from its text.
    pub fn failure_mut(&mut self) -> Option<&mut Error> {
        self.failure.as_mut()
    }

    /// Returns the last usage seen, estimates included (see [`Note::EstimatedUsage`] in the reply's
    /// notes).
    pub fn usage(&self) -> Option<Usage> {
        self.shape.usage()
    }

    /// Returns why the answer ended, once it has.
    pub fn reason(&self) -> Option<Reason> {
        self.shape.ended_by()
    }

    /// The provider's own name of the model, once it is known.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns what is to be remembered of an answer that came well.
    pub fn captured(&mut self) -> Option<Captured> {
        self.captured.take().filter(Captured::is_useful)
    }

    /// Returns how often each oddity was seen.
    pub fn notes(&self) -> impl Iterator<Item = (Note, u32)> + '_ {
        Note::ALL.into_iter().zip(self.reply.notes).filter(|(_, n)| *n > 0)
    }

    fn run(&mut self, out: &mut Vec<u8>, feed: impl FnOnce(&mut AnyDecoder, Sink<'_>)) -> Result<(), Error> {
        if self.phase == Phase::Over {
            return Ok(());
        }
        let Translator { decoder, shape, output, phase, failure, captured, content, model, reply, rescue, .. } = self;
        let early = None;
        let mut writing = Writing { output, phase, failure, captured, content, early, out };
        feed(decoder, &mut |event| {
            if let Event::Start { model: responding_model, .. } = &event {
                *model = Some(responding_model.unescape().into());
            }
            let Some(rescue) = rescue.as_deref_mut() else {
                return shape.event(event, reply, &mut |event, reply| writing.event(event, reply, None));
            };
            match event {
                Event::Fail(error)
                    if *writing.phase == Phase::Committed && rescue.is_resumable(&error, shape, reply) =>
                {
                    rescue.broken = Some(error);
                    *writing.phase = Phase::Over;
                }
                event => rescue.place(event).into_iter().flatten().for_each(|event| {
                    shape.event(event, reply, &mut |event, reply| writing.event(event, reply, Some(&mut *rescue)));
                }),
            }
        });
        writing.early.map_or(Ok(()), Err)
    }
}

// A stream that another provider may go on with: see [`Rescue`].
impl Translator {
    /// Makes the translator of a stream that passed unchanged and broke off: it has written what
    /// the client has, and goes on by [`Translator::resume`]. `None` if the client may have
    /// something else.
    pub fn continuing(reply: Reply, passed: &Continuation) -> Option<Translator> {
        let blocks = u32::try_from(passed.blocks.max(1)).ok()?;
        // An encoder may hold back what is blank, and the client has it.
        if text::is_blank(RawStr::new(passed.text())) {
            return None;
        }
        let mut translator = Translator::new(Reply {
            own_id: passed.own_id(),
            created: passed.created.unwrap_or(reply.created),
            ..reply
        });
        let mut written = Vec::new();
        let is_open = |ix: u32| ix + 1 == blocks && passed.is_open();
        let result = translator.run(&mut written, |_, sink| {
            for ix in 0..blocks {
                // Of blocks before the last one the encoder needs to know no more than that they
                // were.
                let raw = if ix + 1 == blocks { RawStr::new(passed.text()) } else { RawStr::new(b".") };
                sink(Event::Open { ix, block: Block::Text });
                sink(Event::Text { ix, raw });
                if !is_open(ix) {
                    sink(Event::Close { ix, status: Status::Complete });
                }
            }
        });
        let Output::Stream(encoder) = &mut translator.output else { return None };
        encoder.follow(passed.number, passed.item_id());
        translator.rescue = Some(Box::new(Rescue::behind(passed.text())));
        (result.is_ok() && translator.phase == Phase::Committed).then_some(translator)
    }

    /// Lets another provider go on with the stream, should it break off behind its first text.
    pub fn allow_rescue(&mut self) {
        if let Output::Stream(_) = self.output {
            self.rescue = Some(Box::default());
        }
    }

    /// Returns how the stream broke off, if another provider can go on. Nothing was written for
    /// that.
    pub fn take_broken(&mut self) -> Option<Error> {
        self.rescue.as_mut()?.broken.take()
    }

    /// Returns the text that the client has of a stream that may be continued, escaped.
    pub fn text(&self) -> &[u8] {
        self.rescue.as_ref().map_or(&[], |rescue| &rescue.text)
    }

    /// Returns whether the stream goes on, and nothing of the rest has come.
    pub fn awaits_rest(&self) -> bool {
        self.rescue.as_ref().is_some_and(|rescue| rescue.awaits_rest())
    }

    /// Goes on with the stream of another provider. `plan` is that of the request for the rest.
    pub fn resume(&mut self, plan: Plan, out: &mut Vec<u8>) {
        self.phase = Phase::Committed;
        self.shape.forget_usage();
        self.decoder = AnyDecoder::new(plan.provider, plan.quirks);
        self.template = DeltaTemplate::new(plan.provider, plan.quirks);
        self.reply.plan = plan;
        let text = self.rescue.take().map(|rescue| rescue.text).unwrap_or_default();
        let (open, items) = (self.shape.open_items(), self.shape.items());
        let joins = self.shape.ends_with_open_text() && open.len() == 1;
        if !joins {
            // An attempt that brought no content may have left items behind.
            let _ = self.run(out, |_, sink| {
                open.iter().for_each(|ix| sink(Event::Close { ix: *ix, status: Status::Complete }));
            });
        }
        let base = if joins { items - 1 } else { items };
        self.rescue = Some(Box::new(Rescue::resumed(text, base, joins)));
    }
}

/// Decodes a provider's whole answer, which is no error object, and hands its events to `sink`.
///
/// # Errors
///
/// Fails if the answer can't be read as one of `provider`'s format; the provider is at fault.
pub fn decode_answer(provider: Format, answer: RawValue<'_>, quirks: Quirks, sink: Sink<'_>) -> Result<(), Error> {
    match provider {
        Format::Chat => chat::response::decode(answer, quirks, sink),
        Format::Messages => messages::response::decode(answer, quirks, sink),
        Format::Responses => responses::response::decode(answer, quirks, sink),
    }
}

#[cfg(test)]
mod tests;
