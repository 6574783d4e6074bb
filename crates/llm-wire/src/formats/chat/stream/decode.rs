//! A provider's stream, chunk by chunk.
//!
//! | phase | on a chunk | on `[DONE]` | at the end of the bytes |
//! |---|---|---|---|
//! | `Opening` | with an id or a choice: `Start`, then `Live` | truncated | truncated |
//! | `Live` | deltas; at a finish reason `Holding` | an end, maybe without a reason | truncated |
//! | `Holding` | content: `Live` again; usage alone: `Finished` | `Finish`, `End` | the same |
//! | `Finished` | usage alone; content is a fault | `End` | `End` |
//! | `Over` | nothing | | |
//!
//! The reason is held because hosts give one for each tool call (Together), or with each chunk
//! (Open WebUI in front of vLLM), and go on.

use crate::canonical::codec::{Decode, Sink};
use crate::canonical::event::{Event, Finish, Note, Reason, Status};
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind};
use crate::formats::chat::finish::FinishWord;
use crate::formats::chat::stream::message::{Reader, Source};
use crate::formats::chat::{error, tap};
use crate::json::{RawStr, RawValue, Tape};
use crate::response::whole::Ended;
use crate::sse::Frame;
use crate::target::quirks::Quirks;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Opening,
    Live,
    /// The reason of the end is held: content may follow.
    Holding,
    Finished,
    Over,
}

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    phase: Phase,
    reader: Reader,
    /// The reason that counts so far.
    held: Option<Ended>,
    tier_told: bool,
    /// A document came that is neither a chunk nor an error.
    unknown: bool,
    tape: Tape,
}

impl Decoder {
    /// Makes a decoder for a host with these quirks.
    pub fn new(quirks: Quirks) -> Decoder {
        Decoder { reader: Reader::new(quirks), ..Decoder::default() }
    }

    fn fail(&mut self, error: Error, sink: Sink<'_>) {
        self.phase = Phase::Over;
        sink(Event::Fail(error));
    }

    /// A frame's data, which is no end mark.
    fn data(&mut self, data: &[u8], is_error: bool, tape: &mut Tape, sink: Sink<'_>) -> Result<(), Error> {
        let document = match tape.read_spelled_out(data) {
            // The answer is whole already.
            Err(_) if matches!(self.phase, Phase::Holding | Phase::Finished) && !is_error => {
                sink(Event::Note(Note::Disorder));
                return Ok(());
            }
            Err(_) if is_error => {
                self.fail(classify::plain(data), sink);
                return Ok(());
            }
            document => document.map_err(|fault| classify::unreadable_event(fault, data))?,
        };
        let chunk = Chunk::of(document);
        if chunk.is_error || is_error {
            let read = error::of(document).or_else(|| foreign::error_event(document)).unwrap_or_default();
            self.fail(classify::error(None, &read), sink);
            return Ok(());
        }
        if !chunk.is_known() {
            if let Some(read) = foreign::any_shape(document) {
                self.fail(classify::error(None, &read), sink);
                return Ok(());
            }
            self.unknown = true;
            sink(Event::Note(Note::UnknownEvent));
        }
        self.chunk(&chunk, sink)
    }

    fn done(&mut self, sink: Sink<'_>) {
        match self.phase {
            Phase::Opening => {
                let note = "the upstream's stream holds no answer";
                return self.fail(Error::upstream(Kind::UpstreamTruncated, note), sink);
            }
            // Content came behind the last reason.
            Phase::Live if self.held.is_some() => self.release(sink),
            // What was not understood may have been an error.
            Phase::Live if self.unknown => {
                let note = "the upstream's stream holds an object that is no part of an answer, and no finish reason";
                return self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
            }
            // Some hosts never give a reason; the end mark is a promise all the same.
            Phase::Live => {
                sink(Event::Note(Note::MissingFinish));
                self.held = Some(Ended::of(Reason::End));
                self.release(sink);
            }
            Phase::Holding => self.release(sink),
            Phase::Finished => {}
            Phase::Over => return,
        }
        self.over(sink);
    }

    /// The end, unless the answer has failed.
    fn over(&mut self, sink: Sink<'_>) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            sink(Event::End);
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, sink: Sink<'_>) -> Result<(), Error> {
        if self.phase == Phase::Opening && (chunk.choice.is_some() || !chunk.id.is_empty()) {
            self.phase = Phase::Live;
            sink(Event::Start { id: chunk.id, model: chunk.model });
        }
        if let Some(tier) = chunk.tier.filter(|_| !self.tier_told) {
            self.tier_told = true;
            sink(Event::Tier(tier));
        }
        if chunk.usage.is_some() && chunk.choice.is_none() && self.phase == Phase::Holding {
            if let Some(usage) = chunk.usage.filter(|_| self.failure().is_some()) {
                // Nothing is read behind a failure, and what was used for it counts.
                sink(Event::Usage(tap::usage(usage)));
            }
            self.release(sink);
        }
        if let Some(usage) = chunk.usage.filter(|_| self.phase != Phase::Over) {
            sink(Event::Usage(tap::usage(usage)));
        }
        if chunk.other_choices {
            sink(Event::Note(Note::DroppedChoice));
        }
        match &chunk.choice {
            Some(choice) if self.phase != Phase::Over => self.choice(choice, sink),
            _ => Ok(()),
        }
    }

    fn choice(&mut self, choice: &Choice<'_>, sink: Sink<'_>) -> Result<(), Error> {
        let finished = self.phase == Phase::Finished;
        let mut any = false;
        let mut count = |event: Event<'_>| {
            any |= !matches!(event, Event::Note(_));
            if !finished {
                sink(event);
            }
        };
        match choice.message(Source::Stream) {
            Some(message) => self.reader.message(message, choice.logprobs, Source::Stream, &mut count)?,
            None => self.reader.bare_text(choice.text, &mut count),
        }
        if any && finished {
            let note = "the upstream sent content after it had ended its answer; the content was dropped";
            self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
            return Ok(());
        }
        if any && self.phase == Phase::Holding {
            self.phase = Phase::Live;
        }
        match choice.finish() {
            None => {}
            Some(Finished::Failed(error)) => self.fail(error, sink),
            Some(_) if !matches!(self.phase, Phase::Live | Phase::Holding) => {}
            // Several finish reasons may follow one another without content. The first one other
            // than `stop` is kept, since some hosts put `stop` on every chunk.
            Some(Finished::Reason { finish, .. })
                if self.phase == Phase::Holding && !Ended::says_more(self.held.as_ref(), &finish) => {}
            Some(Finished::Reason { finish, known }) => {
                if !known {
                    sink(Event::Note(Note::UnknownFinish));
                }
                self.held = Some(Ended::from(&finish));
                self.phase = Phase::Holding;
            }
        }
        Ok(())
    }

    /// Returns why the answer cannot be shown, which is known when the reason of its end is.
    fn failure(&self) -> Option<Error> {
        let held = self.held.as_ref()?;
        match () {
            () if self.reader.shows_nothing() => Some(classify::no_visible_output()),
            () if self.reader.has_nameless_call(held.reason) => Some(classify::nameless_call()),
            () => None,
        }
    }

    /// Pushes the reason that is held. What is open ends with it.
    fn release(&mut self, sink: Sink<'_>) {
        let failure = self.failure();
        let Some(held) = self.held.take() else { return };
        if let Some(error) = failure {
            return self.fail(error, sink);
        }
        self.phase = Phase::Finished;
        self.reader.close(status_of(held.reason), sink);
        sink(Event::Finish(held.as_finish()));
    }
}

impl Decode for Decoder {
    fn frame(&mut self, frame: Frame<'_>, sink: Sink<'_>) -> Result<(), Error> {
        let data = frame.data.trim_ascii();
        if data == b"[DONE]" {
            self.done(sink);
            return Ok(());
        }
        if data.is_empty() || self.phase == Phase::Over {
            return Ok(());
        }
        // Taken out, since the chunk borrows from it.
        let mut tape = std::mem::take(&mut self.tape);
        let result = self.data(data, frame.event == Some(b"error"), &mut tape, sink);
        self.tape = tape;
        result
    }

    fn holds_finish(&self) -> bool {
        self.phase == Phase::Holding
    }

    fn flush_finish(&mut self, sink: Sink<'_>) {
        if self.phase == Phase::Holding {
            self.release(sink);
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        match self.phase {
            Phase::Holding | Phase::Finished => {
                self.release(sink);
                self.over(sink);
            }
            Phase::Over => {}
            Phase::Opening | Phase::Live => {
                let note = "the upstream closed the stream before its end";
                self.fail(Error::upstream(Kind::UpstreamTruncated, note), sink);
            }
        }
    }
}

/// Returns how items end that an end finds open.
pub(crate) fn status_of(reason: Reason) -> Status {
    match reason {
        Reason::Length | Reason::ContextWindow | Reason::Refusal => Status::Incomplete,
        _ => Status::Complete,
    }
}

/// What a chunk, or a whole answer, holds at the top.
#[derive(Debug, Default)]
pub(crate) struct Chunk<'a> {
    pub id: RawStr<'a>,
    pub model: RawStr<'a>,
    pub tier: Option<RawStr<'a>>,
    pub usage: Option<RawValue<'a>>,
    pub choice: Option<Choice<'a>>,
    /// There are choices beside the first.
    pub other_choices: bool,
    has_choices: bool,
    /// `object` marks it as a chunk, or an answer.
    is_completion: bool,
    is_error: bool,
}

impl<'a> Chunk<'a> {
    /// Takes a document that was checked.
    pub(crate) fn of(document: RawValue<'a>) -> Chunk<'a> {
        let mut chunk = Chunk::default();
        let mut choices = None;
        let mut groq = None;
        for (key, value, _) in document.members() {
            match key.as_bytes() {
                b"id" => chunk.id = value.as_str().unwrap_or_default(),
                b"model" => chunk.model = value.as_str().unwrap_or_default(),
                b"service_tier" => chunk.tier = value.as_str().filter(|tier| !tier.is_empty()),
                b"usage" => chunk.usage = Some(value).filter(|usage| usage.is_object()),
                b"x_groq" => groq = value.find("usage").filter(|usage| usage.is_object()),
                b"choices" => choices = Some(value),
                b"error" => chunk.is_error |= foreign::is_error(value),
                b"object" => {
                    chunk.is_error |= value.eq_str("error");
                    chunk.is_completion = value.as_str().is_some_and(|o| o.as_bytes().starts_with(b"chat.completion"));
                }
                _ => {}
            }
        }
        // An error in a list is Gemini's, other documents say nothing.
        if !document.is_object() {
            chunk.is_error = error::of(document).is_some();
        }
        chunk.usage = chunk.usage.or(groq);
        let (mut other, mut count) = (None, 0);
        for (choice, _) in choices.into_iter().flat_map(RawValue::elements) {
            (chunk.has_choices, count) = (true, count + 1);
            match Choice::read(choice) {
                (first, true) if chunk.choice.is_none() => chunk.choice = Some(first),
                (_, true) => {}
                (next, false) => other = other.or(Some(next)),
            }
        }
        // Some hosts count the choices of whole answers from one.
        if chunk.choice.is_none() && other.as_ref().is_some_and(|other| other.message.is_some()) {
            chunk.choice = other;
        }
        chunk.other_choices = count > usize::from(chunk.choice.is_some());
        chunk.has_choices |= choices.is_some();
        chunk
    }

    /// Returns whether there is anything that belongs into a chunk.
    fn is_known(&self) -> bool {
        self.has_choices || self.usage.is_some() || self.is_completion
    }
}

/// A choice.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    /// Of a chunk. Perplexity sends both in both kinds of answers, and each means something in one
    /// of them only.
    delta: Option<RawValue<'a>>,
    /// Of a whole answer.
    message: Option<RawValue<'a>>,
    /// Of a legacy completion, which some hosts send in the place of either.
    pub text: RawStr<'a>,
    /// `logprobs.content`.
    pub logprobs: Option<RawValue<'a>>,
    finish: RawStr<'a>,
    /// vLLM: the stop sequence that matched.
    stop: Option<RawStr<'a>>,
    error: Option<RawValue<'a>>,
}

/// How a choice ended.
pub(crate) enum Finished<'a> {
    Reason {
        finish: Finish<'a>,
        /// Whether the reason is known here; else it is taken as the neutral one.
        known: bool,
    },
    Failed(Error),
}

impl<'a> Choice<'a> {
    /// Reads a choice, and whether it is the first by its number.
    fn read(raw: RawValue<'a>) -> (Choice<'a>, bool) {
        let (mut choice, mut is_first) = (Choice::default(), true);
        for (key, value, _) in raw.members() {
            match key.as_bytes() {
                b"index" => is_first = value.as_u64().is_none_or(|index| index == 0),
                b"delta" => choice.delta = Some(value).filter(|delta| delta.is_object()),
                b"message" => choice.message = Some(value).filter(|message| message.is_object()),
                b"text" => choice.text = value.as_str().unwrap_or_default(),
                b"logprobs" => choice.logprobs = value.find("content"),
                b"finish_reason" => choice.finish = value.as_str().unwrap_or_default(),
                b"stop_reason" => choice.stop = value.as_str().filter(|stop| !stop.is_empty()),
                b"error" => choice.error = Some(value).filter(|error| !error.is_null()),
                _ => {}
            }
        }
        (choice, is_first)
    }

    /// Its content.
    pub(crate) fn message(&self, source: Source) -> Option<RawValue<'a>> {
        match source {
            Source::Stream => self.delta.or(self.message),
            Source::Whole => self.message.or(self.delta),
        }
    }

    /// `None` while the choice goes on.
    pub(crate) fn finish(&self) -> Option<Finished<'a>> {
        if let Some(error) = self.error {
            let read = foreign::of_error(error).unwrap_or_default();
            return Some(Finished::Failed(classify::error(None, &read)));
        }
        let (reason, known) = match FinishWord::read(self.finish)? {
            // vLLM puts the stop sequence that matched beside `stop`. Beside another word it is
            // that word again.
            FinishWord::Reason(Reason::End)
                if self.stop.is_some() && self.finish.as_bytes().eq_ignore_ascii_case(b"stop") =>
            {
                (Reason::StopSequence, true)
            }
            FinishWord::Reason(reason) => (reason, true),
            FinishWord::Failed(kind, message) => return Some(Finished::Failed(Error::upstream(kind, message))),
            FinishWord::Unknown => (Reason::End, false),
        };
        let stop = self.stop.filter(|_| reason == Reason::StopSequence);
        Some(Finished::Reason { finish: Finish { stop, ..Finish::of(reason) }, known })
    }
}
