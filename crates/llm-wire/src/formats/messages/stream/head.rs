//! One block at a time, out of items that may grow side by side.
//!
//! A block of this format cannot be re-opened, while calls of Chat and items of Responses
//! interleave. So one item is the head and flows straight through; the others wait in their
//! buffers. Items become head in the order of their `ix`.
//!
//! | item | what comes | goes to |
//! |---|---|---|
//! | `Waiting` | bytes go to its buffer; its turn comes | `Silent`, or `Flowing` with its buffer first |
//! | `Silent` (head, no block yet) | text that is not blank, or reasoning | `Flowing` |
//! | `Flowing` (head, block open) | its `Close`; or, for a call whose input is complete, bytes of another item | `Ended` |
//! | `Ended` | white space is dropped, anything else is a fault of the provider | |
//!
//! Blank text never becomes a block: the provider's own API gives none, and would refuse it in the
//! next request.

use crate::canonical::args::ObjectScan;
use crate::canonical::event::Block;
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::text;
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::formats::messages::stream::write;
use crate::formats::messages::stream::write::Delta;
use crate::json::{RawStr, write as json};

/// Most bytes that wait, all items together.
const HELD_MAX: usize = 8 << 20;

/// The blocks of an answer, which in Messages follow one another.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    items: Vec<Item>,
    /// The first item that has not ended.
    head: usize,
    /// The number of the next block, or of the one that flows.
    index: u32,
    /// Bytes in all buffers.
    held: usize,
    /// Whether the client requested reasoning without its text: state is then an empty thinking
    /// block.
    pub omitted: bool,
}

#[derive(Debug)]
struct Item {
    what: BlockKind,
    state: State,
    /// Escaped. Of a text that flows not yet: white space.
    buffer: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
enum BlockKind {
    Text,
    Thinking {
        /// The part that came last.
        part: Option<(u32, ReasoningKind)>,
        /// Signatures or data, in envelopes; as a rule one. They come last.
        states: Vec<Vec<u8>>,
    },
    Tool {
        id: Text<'static>,
        name: Text<'static>,
        input: Input,
    },
}

/// How the input of a call is written.
#[derive(Debug)]
enum Input {
    Object(ObjectScan),
    /// Free text, wrapped as the shim would: `{"input": …}`.
    Free,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Silent,
    Flowing,
    Ended,
}

impl Blocks {
    /// Begins a block.
    pub(super) fn open(&mut self, block: &Block<'_>, out: &mut Vec<u8>) {
        let what = match block {
            Block::Text | Block::Refusal => BlockKind::Text,
            Block::Reasoning { .. } => BlockKind::Thinking { part: None, states: Vec::new() },
            Block::Tool { kind, id, name, .. } => BlockKind::Tool {
                id: Text::from(*id).into_owned(),
                name: Text::from(*name).into_owned(),
                input: match kind {
                    CallKind::Function => Input::Object(ObjectScan::default()),
                    CallKind::Custom => Input::Free,
                },
            },
        };
        self.items.push(Item { what, state: State::Waiting, buffer: Vec::new(), closed: false });
        self.advance(out);
    }

    /// Text, or input of a call.
    pub(super) fn bytes(&mut self, ix: u32, raw: RawStr<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let at = ix as usize;
        let Some(item) = self.items.get_mut(at) else { return Ok(()) };
        match item.state {
            State::Flowing => {
                item.pass(self.index, raw, out);
                self.advance(out);
            }
            State::Silent if item.buffer.is_empty() && !item.is_blank(raw) => {
                item.begin(self.index, out);
                item.pass(self.index, raw, out);
            }
            State::Ended if text::is_blank(raw) => {}
            State::Ended => {
                let note = "the upstream went on with a tool call after its input was complete and another had begun";
                return Err(Error::upstream(Kind::UpstreamFault, note));
            }
            State::Silent | State::Waiting => {
                item.buffer.extend_from_slice(raw.as_bytes());
                self.hold(raw.len())?;
                self.advance(out);
            }
        }
        Ok(())
    }

    /// Writes reasoning text. Its parts are separated by a blank line.
    pub(super) fn reasoning(
        &mut self,
        ix: u32,
        part: (u32, ReasoningKind),
        raw: RawStr<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(Item { what: BlockKind::Thinking { part: last, .. }, .. }) = self.items.get_mut(ix as usize) else {
            return Ok(());
        };
        if last.replace(part).is_some_and(|last| last != part) {
            self.bytes(ix, RawStr::new(br"\n\n"), out)?;
        }
        self.bytes(ix, raw, out)
    }

    /// Writes opaque reasoning state, which arrives whole.
    pub(super) fn state(&mut self, ix: u32, raw: RawStr<'_>) -> Result<(), Error> {
        if let Some(Item { what: BlockKind::Thinking { states, .. }, .. }) = self.items.get_mut(ix as usize) {
            states.push(raw.as_bytes().to_vec());
            self.hold(raw.len())?;
        }
        Ok(())
    }

    /// Ends the block of item `ix`.
    pub(super) fn close(&mut self, ix: u32, out: &mut Vec<u8>) {
        if let Some(item) = self.items.get_mut(ix as usize) {
            item.closed = true;
            self.advance(out);
        }
    }

    /// Ends every block.
    pub(super) fn close_all(&mut self, out: &mut Vec<u8>) {
        self.items.iter_mut().for_each(|item| item.closed = true);
        self.advance(out);
    }

    fn hold(&mut self, more: usize) -> Result<(), Error> {
        self.held += more;
        if self.held > HELD_MAX {
            let note = format!("the upstream's answer is interleaved, and more than {HELD_MAX} bytes of it wait");
            return Err(Error::upstream(Kind::UpstreamFault, note));
        }
        Ok(())
    }

    /// Gives the head its turn, and moves on for as long as heads have ended.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while let Some(item) = self.items.get_mut(self.head) {
            if matches!(item.state, State::Waiting | State::Silent) {
                self.held -= item.buffer.len().min(self.held);
                item.flush(self.index, out);
                // What is still there is white space that waits for text.
                self.held += item.buffer.len();
            }
            let pressed = self.held > 0 && item.is_complete();
            if !item.closed && !pressed {
                return;
            }
            self.held -= item.held().min(self.held);
            self.index += item.end(self.index, self.omitted, out);
            self.head += 1;
        }
    }
}

impl Item {
    fn is_blank(&self, raw: RawStr<'_>) -> bool {
        matches!(self.what, BlockKind::Text) && text::is_blank(raw)
    }

    /// A call whose input can only be followed by white space.
    fn is_complete(&self) -> bool {
        matches!(&self.what, BlockKind::Tool { input: Input::Object(scan), .. } if scan.is_complete())
    }

    fn held(&self) -> usize {
        let states = match &self.what {
            BlockKind::Thinking { states, .. } => states.iter().map(Vec::len).sum(),
            _ => 0,
        };
        self.buffer.len() + states
    }

    /// As the head: begins the block of a call; of the others as soon as there is something to
    /// show.
    fn flush(&mut self, index: u32, out: &mut Vec<u8>) {
        self.state = State::Silent;
        let buffer = std::mem::take(&mut self.buffer);
        let raw = RawStr::new(&buffer);
        let is_tool = matches!(self.what, BlockKind::Tool { .. });
        if !is_tool && (raw.is_empty() || self.is_blank(raw)) {
            self.buffer = buffer;
            return;
        }
        self.begin(index, out);
        if !raw.is_empty() {
            self.pass(index, raw, out);
        }
    }

    fn begin(&mut self, index: u32, out: &mut Vec<u8>) {
        self.state = State::Flowing;
        match &self.what {
            BlockKind::Text => write::start_text(out, index),
            BlockKind::Thinking { .. } => write::start_thinking(out, index),
            BlockKind::Tool { id, name, input } => {
                write::start_tool(out, index, id.raw(), name.raw());
                if let Input::Free = input {
                    write::delta(out, index, Delta::Input, RawStr::new(br#"{\"input\":\""#));
                }
            }
        }
    }

    /// A delta of the block that flows.
    fn pass(&mut self, index: u32, raw: RawStr<'_>, out: &mut Vec<u8>) {
        match &mut self.what {
            BlockKind::Text => write::delta(out, index, Delta::Text, raw),
            BlockKind::Thinking { .. } => write::delta(out, index, Delta::Thinking, raw),
            BlockKind::Tool { input: Input::Object(scan), .. } => {
                scan.feed(raw);
                write::delta(out, index, Delta::Input, raw);
            }
            BlockKind::Tool { input: Input::Free, .. } => {
                // A string in a JSON text that is itself a string: escaped twice.
                let mut twice = Vec::with_capacity(raw.len() + 16);
                json::escaped(&mut twice, &String::from_utf8_lossy(raw.as_bytes()));
                write::delta(out, index, Delta::Input, RawStr::new(&twice));
            }
        }
    }

    /// Ends the item and returns how many blocks it took.
    fn end(&mut self, index: u32, omitted: bool, out: &mut Vec<u8>) -> u32 {
        let flows = self.state == State::Flowing;
        self.state = State::Ended;
        self.buffer = Vec::new();
        match &mut self.what {
            BlockKind::Thinking { states, .. } => {
                let states = std::mem::take(states);
                end_thinking(&states, flows, index, omitted, out)
            }
            BlockKind::Tool { input: Input::Free, .. } if flows => {
                write::delta(out, index, Delta::Input, RawStr::new(br#"\"}"#));
                write::stop(out, index);
                1
            }
            _ if flows => {
                write::stop(out, index);
                1
            }
            _ => 0,
        }
    }
}

/// The first state is the signature of the block, exactly one; others, and one without a text, are
/// redacted blocks.
fn end_thinking(states: &[Vec<u8>], flows: bool, mut index: u32, omitted: bool, out: &mut Vec<u8>) -> u32 {
    let first = index;
    let mut states = states.iter().map(|state| RawStr::new(state)).peekable();
    let empty = !flows && omitted && states.peek().is_some();
    if empty {
        write::start_thinking(out, index);
    }
    if flows || empty {
        if let Some(signature) = states.next() {
            write::delta(out, index, Delta::Signature, signature);
        }
        write::stop(out, index);
        index += 1;
    }
    for data in states {
        write::start_redacted(out, index, data);
        write::stop(out, index);
        index += 1;
    }
    index - first
}
