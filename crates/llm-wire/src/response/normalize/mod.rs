//! Between decoder and encoder: from the provider's answer to the client's, whatever the two
//! formats are.
//!
//! Everything that both sides would otherwise have to know is here once: tool names and ids,
//! custom tools behind a shim, the tool that stands for structured output, stop sequences,
//! envelopes around opaque reasoning, the finish override, and the order of events. Decoders push
//! the provider's values; encoders write what they get. Here are the phases of an answer; its
//! items are in [`items`].
//!
//! | phase | events taken | goes to |
//! |---|---|---|
//! | `Before` | `Start` | `Live`; anything else starts the answer too |
//! | `Live` | items and deltas | `Finished` at `Finish`, or at a stop sequence `Over` |
//! | `Finished` | `Usage`, `Tier` | `Over` at `End` |
//! | `Over` | nothing | |

mod items;
mod state;
#[cfg(test)]
mod tests;

use crate::canonical::event::{Event, Finish, Note, Reason, Status};
use crate::canonical::text::Text;
use crate::canonical::usage::Usage;
use crate::json::{RawStr, RawValue};
use crate::target::echo::one_line;
use crate::target::plan::Reply;
use state::{Item, Phase};
pub(crate) use state::{Normalizer, Out};

/// The tiers of OpenAI and Anthropic. Hosts have others (Groq: `on_demand`), on which typed clients
/// fail.
const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority", "fast", "standard", "batch"];

impl Normalizer {
    /// The finish reason has been passed on, and the end has not.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// The gateway itself ended the answer: cancel the upstream call.
    pub(crate) fn stopped_early(&self) -> bool {
        self.stopped
    }

    /// Returns the last usage that came, or the estimate that took its place.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Forgets the usage that has come: another provider goes on with the answer.
    pub(crate) fn forget_usage(&mut self) {
        self.usage = None;
    }

    /// Returns why the answer ended, once it has.
    pub(crate) fn ended_by(&self) -> Option<Reason> {
        self.reason
    }

    /// Ends an answer that is known, of which no event came.
    pub(crate) fn end_known(&mut self, usage: Usage, reason: Option<Reason>) {
        (self.phase, self.usage, self.reason) = (Phase::Over, Some(usage), reason);
    }

    /// Returns how many items have begun.
    pub(crate) fn items(&self) -> u32 {
        self.items.len() as u32
    }

    /// Returns the indices of the items that have not ended.
    pub(crate) fn open_items(&self) -> Vec<u32> {
        let open = self.items.iter().enumerate().filter(|(_, item)| !matches!(item, Item::Closed));
        open.map(|(ix, _)| ix as u32).collect()
    }

    /// Returns whether the last item is a text that has not ended.
    pub(crate) fn ends_with_open_text(&self) -> bool {
        matches!(self.items.last(), Some(Item::Text(_)))
    }

    /// Returns whether no tool was called, and nothing but a text at the end is open.
    pub(crate) fn has_text_alone(&self) -> bool {
        let mut items = self.items.iter().rev().skip(usize::from(self.ends_with_open_text()));
        self.phase == Phase::Live && self.ids.is_empty() && items.all(|item| matches!(item, Item::Closed))
    }

    /// Counts a delta of text that [`Normalizer::event`] would pass on as it is, and do nothing
    /// else. Returns whether it is one.
    pub(crate) fn count_plain_text(&mut self, ix: u32, raw: RawStr<'_>, reply: &Reply) -> bool {
        let is_open = matches!(self.items.get(ix as usize), Some(Item::Text(_)));
        let is_plain = is_open && self.phase == Phase::Live && !raw.is_empty() && reply.plan.stops.is_empty();
        if is_plain {
            self.sent += raw.len() as u64;
        }
        is_plain
    }

    /// Takes one event of a decoder and passes on zero to many.
    pub(crate) fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match (self.phase, event) {
            (Phase::Over, _) => {}
            (_, Event::Note(note)) => reply.note(note),
            (_, Event::Fail(error)) => {
                self.phase = Phase::Over;
                out(Event::Fail(error), reply);
            }
            (_, Event::Usage(usage)) => {
                if usage.repaired {
                    reply.note(Note::OddUsage);
                }
                self.usage = Some(usage);
                out(Event::Usage(usage), reply);
            }
            (_, Event::Tier(tier)) if TIERS.iter().any(|known| tier.eq_str(known)) => out(Event::Tier(tier), reply),
            (_, Event::Tier(_)) => {}
            (Phase::Before, Event::Start { id, model }) => {
                self.phase = Phase::Live;
                out(Event::Start { id, model }, reply);
            }
            (_, Event::Start { .. }) => reply.note(Note::Disorder),
            (Phase::Before, event) => {
                self.phase = Phase::Live;
                out(Event::Start { id: RawStr::default(), model: RawStr::default() }, reply);
                self.live(event, reply, out);
            }
            (Phase::Live, event) => self.live(event, reply, out),
            (Phase::Finished, Event::End) => self.end(reply, out),
            (Phase::Finished, _) => reply.note(Note::Disorder),
        }
    }

    fn live(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match event {
            Event::Open { ix, block } => self.open(ix, block, reply, out),
            Event::Text { ix, raw } => self.text(ix, raw, reply, out),
            Event::Args { ix, raw } => self.args(ix, raw, reply, out),
            Event::Reason { ix, raw, .. } if !raw.is_empty() => self.reason(ix, event, reply, out),
            Event::Opaque { ix, seal, raw } if !raw.is_empty() => self.seal(ix, seal, raw, reply, out),
            Event::Refusal { raw, .. } if !raw.is_empty() => {
                self.sent += raw.len() as u64;
                self.pass(event, reply, out);
            }
            Event::Cite { .. } => self.pass(event, reply, out),
            Event::Logprobs { ix, raw } => {
                let line = one_line(raw.bytes());
                self.pass(Event::Logprobs { ix, raw: RawValue::new(&line) }, reply, out);
            }
            Event::Close { ix, status } => self.close(ix, status, reply, out),
            Event::Finish(finish) => self.finish(finish, reply, out),
            // An end without a finish: a whole answer that did not say why it ended.
            Event::End => {
                reply.note(Note::MissingFinish);
                self.finish(Finish::of(Reason::End), reply, out);
                self.end(reply, out);
            }
            // What is left: empty deltas.
            _ => {}
        }
    }

    /// A stop sequence came: the answer ends here, whatever the provider goes on to say.
    fn stop(&mut self, ix: u32, stop: usize, reply: &mut Reply, out: Out<'_>) {
        self.items[ix as usize] = Item::Closed;
        out(Event::Close { ix, status: Status::Complete }, reply);
        self.close_all(Status::Complete, reply, out);
        let stop = Text::plain(&reply.plan.stops[stop]);
        let finish = Finish { stop: Some(stop.raw()), ..Finish::of(Reason::StopSequence) };
        out(Event::Finish(finish), reply);
        self.stopped = true;
        self.end(reply, out);
    }

    fn close_all(&mut self, status: Status, reply: &mut Reply, out: Out<'_>) {
        for ix in 0..self.items.len() {
            if !matches!(self.items[ix], Item::Closed) {
                self.close(ix as u32, status, reply, out);
            }
        }
    }

    fn finish(&mut self, finish: Finish<'_>, reply: &mut Reply, out: Out<'_>) {
        let cut = matches!(finish.reason, Reason::Length | Reason::ContextWindow | Reason::Refusal);
        self.close_all(if cut { Status::Incomplete } else { Status::Complete }, reply, out);
        // Hosts say `stop` beside calls, and `tool_calls` beside none.
        let reason = match (finish.reason, !self.ids.is_empty()) {
            (Reason::End, true) => Reason::ToolCalls,
            (Reason::ToolCalls, false) => Reason::End,
            (reason, _) => reason,
        };
        self.phase = Phase::Finished;
        self.reason = Some(reason);
        out(Event::Finish(Finish { reason, ..finish }), reply);
    }

    fn end(&mut self, reply: &mut Reply, out: Out<'_>) {
        // An answer with text has an input and an output: a zero is of a host that does not count it.
        let is_counted = |tokens: u64| self.usage.is_some() && (tokens > 0 || self.sent == 0);
        let mut usage = self.usage.unwrap_or_default();
        let (has_input, has_output) = (is_counted(usage.input_total), is_counted(usage.output_total));
        if !has_input || !has_output || self.stopped {
            if !has_input {
                usage.input_total = reply.input_estimate();
            }
            // Four bytes a token: the first guess of every estimator for text of this kind.
            usage.output_total = match has_output && !self.stopped {
                true => usage.output_total,
                false => usage.output_total.max(self.sent.div_ceil(4)),
            };
            reply.note(Note::EstimatedUsage);
            self.usage = Some(usage);
            out(Event::Usage(usage), reply);
        }
        self.phase = Phase::Over;
        out(Event::End, reply);
    }
}
