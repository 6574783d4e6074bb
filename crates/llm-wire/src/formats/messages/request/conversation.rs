//! Turns of a conversation for a provider.
//!
//! Messages of one speaker are merged, part by part. A message is opened with its first block, so
//! that a turn of which nothing remains leaves no trace, and the conversation is one pass over the
//! items:
//!
//! | open | next block of | written before it |
//! |---|---|---|
//! | nothing | user | the head of a user message |
//! | nothing | assistant, system | a first user message, then the head |
//! | a speaker's message | the same | a comma |
//! | a speaker's message | another | the end of the message, the head of the next |
//! | none any more | any | the head of the next message |

use crate::canonical::loss::{Loss, Repair};
use crate::canonical::request::{Foreign, Item, ItemKind, Message, Part, ReasoningItem, Role, ToolCall, ToolResult};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::messages::request::parts;
use crate::formats::messages::request::parts::{Blocks, write_text};
use crate::json::write;
use crate::reasoning::envelope::Seal;
use crate::reasoning::history;
use crate::reasoning::history::Disposition;
use crate::request::reader;
use crate::request::tools;
use crate::request::turns;
use crate::request::turns::{Prefill, Side, Turn};

const TURN_CONFIG: &str = "per-turn-control-2026-07-01";

/// Whether an item is a system message.
pub(super) fn is_system(item: &Item<'_>) -> bool {
    system_parts(item).is_some()
}

/// Returns the parts of a system message.
pub(super) fn system_parts<'i, 'a>(item: &'i Item<'a>) -> Option<&'i [Part<'a>]> {
    match &item.kind {
        ItemKind::Message(message) if matches!(message.role, Role::System | Role::Developer) => Some(&message.parts),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Message(TurnRole),
    /// The last message was closed by hand.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnRole {
    User,
    Assistant,
    System,
}

impl TurnRole {
    fn role(self) -> &'static str {
        match self {
            TurnRole::User => "user",
            TurnRole::Assistant => "assistant",
            TurnRole::System => "system",
        }
    }
}

/// Writes `messages`.
pub(super) struct Conversation<'c, 'b, 'a> {
    blocks: &'c mut Blocks<'b, 'a>,
    out: &'c mut Vec<u8>,
    open: Open,
    /// Images and files of the assistant, which the format lets the user alone show.
    shown: Vec<(String, Part<'a>)>,
}

impl<'c, 'b, 'a> Conversation<'c, 'b, 'a> {
    /// Begins the list of messages in `out`.
    pub(super) fn new(blocks: &'c mut Blocks<'b, 'a>, out: &'c mut Vec<u8>) -> Conversation<'c, 'b, 'a> {
        Conversation { blocks, out, open: Open::Nothing, shown: Vec::new() }
    }

    /// Writes the array. `items` are paired; system messages before the first turn stand elsewhere.
    pub(super) fn write(mut self, items: &[Item<'a>], prefill: Prefill) -> Result<(), Error> {
        self.out.push(b'[');
        let (items, last) = match (prefill, items.split_last()) {
            (Prefill::Keep | Prefill::Hint, Some((last, items))) => (items, Some(last)),
            _ => (items, None),
        };
        for turn in turns::turns(items) {
            match turn.side {
                Side::User => self.user_turn(turn)?,
                Side::Assistant => turn.items.iter().try_for_each(|item| self.assistant(item))?,
            }
        }
        if let Some(Item { kind: ItemKind::Message(message), .. }) = last {
            self.prefill(message, prefill)?;
        }
        if !self.shown.is_empty() {
            self.blocks.ledger.drop(Loss::AssistantImage)?;
        }
        match self.open {
            Open::Message(_) => self.out.extend_from_slice(b"]}"),
            Open::Nothing => self.first_turn(),
            Open::Closed => {}
        }
        self.out.push(b']');
        Ok(())
    }

    /// Makes room for a block of `speaker`, opening a message if need be.
    fn block(&mut self, speaker: TurnRole) -> &mut Vec<u8> {
        match self.open {
            Open::Message(open) if open == speaker => {
                self.out.push(b',');
                return self.out;
            }
            Open::Message(_) => self.out.extend_from_slice(b"]},"),
            Open::Closed => self.out.push(b','),
            Open::Nothing if speaker != TurnRole::User => {
                self.first_turn();
                self.out.push(b',');
            }
            Open::Nothing => {}
        }
        self.open = Open::Message(speaker);
        self.out.extend_from_slice(b"{\"role\":\"");
        self.out.extend_from_slice(speaker.role().as_bytes());
        self.out.extend_from_slice(b"\",\"content\":[");
        self.out
    }

    /// The provider requires a user message first.
    fn first_turn(&mut self) {
        self.blocks.ledger.repair(Repair::FirstTurn);
        write::object(self.out, |o| {
            o.str("role", "user");
            o.str("content", turns::FIRST_TURN);
        });
    }

    fn text(&mut self, speaker: TurnRole, text: &Text<'_>) {
        if !text.is_blank() {
            write_text(text.raw(), self.block(speaker));
        }
    }

    fn part(&mut self, speaker: TurnRole, part: &Part<'_>, path: &str) -> Result<(), Error> {
        if self.blocks.skips(part) {
            return Ok(());
        }
        self.block(speaker);
        self.blocks.part(part, path, self.out)
    }

    /// Results first, in the order of their calls, then what the assistant showed, then the rest.
    fn user_turn(&mut self, turn: Turn<'_, 'a>) -> Result<(), Error> {
        let (results, rest) = turn.split_results();
        for item in results {
            if let ItemKind::Result(result) = &item.kind {
                self.result(item, result)?;
            }
        }
        for (path, part) in std::mem::take(&mut self.shown) {
            self.part(TurnRole::User, &part, &path)?;
        }
        let has_message = rest.iter().any(|item| !is_system(item) && matches!(item.kind, ItemKind::Message(_)));
        let tail = rest.len() - rest.iter().rev().take_while(|item| is_system(item)).count();
        for (n, item) in rest.iter().enumerate() {
            let ItemKind::Message(message) = &item.kind else { continue };
            let path = self.blocks.request.path(item);
            self.name(message)?;
            if !is_system(item) {
                // Blank text that is not empty is counted where it is left out.
                if message.parts.iter().all(|part| parts::text_of(part).is_some_and(|text| text.is_empty())) {
                    self.blocks.ledger.repair(Repair::BlankText);
                }
                message.parts.iter().try_for_each(|part| self.part(TurnRole::User, part, &path))?;
            } else if n >= tail && self.takes_system() {
                self.system(message, &path)?;
            } else {
                self.wrapped_system(message)?;
            }
        }
        // The turn must not vanish: what precedes it would become the end of the conversation, or
        // one with the next turn of the assistant.
        if has_message && self.open == Open::Message(TurnRole::Assistant) {
            self.text(TurnRole::User, &Text::plain(turns::FIRST_TURN));
        }
        Ok(())
    }

    /// Messages of this format have no name, and it is never put into the text.
    fn name(&mut self, message: &Message<'_>) -> Result<(), Error> {
        match message.name {
            Some(_) => self.blocks.ledger.drop(Loss::MessageName),
            None => Ok(()),
        }
    }

    /// Whether a system message may stand here: the model takes them, and the user spoke last.
    fn takes_system(&self) -> bool {
        let last = matches!(self.open, Open::Message(TurnRole::User | TurnRole::System) | Open::Closed);
        last && self.blocks.cx.target.caps.mid_system
    }

    /// A system message in its own right: it follows a user's turn, before the assistant's or
    /// at the end.
    fn system(&mut self, message: &Message<'_>, path: &str) -> Result<(), Error> {
        for part in &message.parts {
            self.part(TurnRole::System, part, path)?;
        }
        let Some(config) = message.config else { return Ok(()) };
        // The setting belongs to its message, so nothing may be merged with it.
        if self.open != Open::Message(TurnRole::System) {
            self.block(TurnRole::System);
        }
        self.out.extend_from_slice(b"],\"output_config\":");
        self.out.extend_from_slice(config.bytes());
        self.out.push(b'}');
        self.blocks.beta(TURN_CONFIG);
        self.open = Open::Closed;
        Ok(())
    }

    /// A system message where the model takes none: the user's text, marked.
    fn wrapped_system(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let texts: Vec<Text<'_>> = message
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(part) if !part.text.is_blank() => Some(part.text.clone()),
                _ => None,
            })
            .collect();
        if texts.is_empty() {
            return Ok(());
        }
        self.blocks.ledger.moved(Loss::System)?;
        let text = [Text::plain("<system>"), Text::join(&texts, "\n\n"), Text::plain("</system>")];
        self.text(TurnRole::User, &Text::join(&text, ""));
        Ok(())
    }

    fn result(&mut self, item: &Item<'_>, result: &ToolResult<'_>) -> Result<(), Error> {
        self.block(TurnRole::User);
        let path = self.blocks.request.path(item);
        let id = turns::sent_id(self.blocks.cx.target.caps.tool_ids, &result.call_id, self.blocks.ledger);
        let mut outcome = Ok(());
        write::object(self.out, |o| {
            o.str("type", "tool_result");
            o.raw_str("tool_use_id", id.raw());
            match result.parts.as_slice() {
                parts if parts.iter().all(parts::is_blank) => parts.iter().for_each(|part| {
                    self.blocks.skips(part);
                }),
                [Part::Text(only)] if only.cache.is_none() && only.citations.is_none() => {
                    o.raw_str("content", only.text.raw());
                }
                parts => outcome = self.blocks.list(parts, &path, o.key("content")),
            }
            if result.is_error {
                o.bool("is_error", true);
            }
            self.blocks.cache.write(result.cache, o);
        });
        outcome
    }

    fn assistant(&mut self, item: &Item<'a>) -> Result<(), Error> {
        match &item.kind {
            ItemKind::Message(message) => {
                self.name(message)?;
                for part in &message.parts {
                    if matches!(part, Part::Image(_) | Part::File(_)) {
                        self.blocks.ledger.moved(Loss::AssistantImage)?;
                        self.shown.push((self.blocks.request.path(item), part.clone()));
                    } else {
                        self.part(TurnRole::Assistant, part, &self.blocks.request.path(item))?;
                    }
                }
                Ok(())
            }
            ItemKind::Reasoning(reasoning) => {
                self.reasoning(reasoning);
                Ok(())
            }
            ItemKind::Call(call) => {
                self.call(call);
                Ok(())
            }
            ItemKind::Foreign(foreign) => self.foreign(foreign),
            // Stands in user turns alone.
            ItemKind::Result(_) => Ok(()),
        }
    }

    fn reasoning(&mut self, item: &ReasoningItem<'_>) {
        let blocks = &mut *self.blocks;
        let disposition = history::disposition(item, &blocks.cx.target, &blocks.cx.policy, blocks.ledger);
        let texts: Vec<Text<'_>> = item.parts.iter().map(|part| part.text.clone()).collect();
        let text = Text::join(&texts, "\n\n");
        match disposition {
            Disposition::Native => {
                for opaque in &item.opaque {
                    match opaque.seal {
                        Seal::Redacted => write::object(self.block(TurnRole::Assistant), |o| {
                            o.str("type", "redacted_thinking");
                            o.raw_str("data", opaque.bytes.raw());
                        }),
                        Seal::Thinking => write::object(self.block(TurnRole::Assistant), |o| {
                            o.str("type", "thinking");
                            o.raw_str("thinking", text.raw());
                            o.raw_str("signature", opaque.bytes.raw());
                        }),
                        // No state of this format, whatever is in the envelope.
                        Seal::Encrypted | Seal::Signature => {}
                    }
                }
            }
            Disposition::AsText => {
                let wrapped = [Text::plain("<thinking>"), text, Text::plain("</thinking>")];
                self.text(TurnRole::Assistant, &Text::join(&wrapped, ""));
            }
            Disposition::Plain | Disposition::Drop => {}
        }
    }

    fn call(&mut self, call: &ToolCall<'_>) {
        self.block(TurnRole::Assistant);
        let blocks = &mut *self.blocks;
        let id = turns::sent_id(blocks.cx.target.caps.tool_ids, &call.call_id, blocks.ledger);
        let name = tools::sent_name(blocks.cx, call.namespace.as_ref(), &call.name);
        write::object(self.out, |o| {
            o.str("type", "tool_use");
            o.raw_str("id", id.raw());
            o.str("name", &name);
            if call.input.write_object(o.key("input")) {
                blocks.ledger.repair(Repair::ToolArguments);
            }
            blocks.cache.write(call.cache, o);
        });
    }

    fn foreign(&mut self, foreign: &Foreign<'_>) -> Result<(), Error> {
        if foreign.format == Format::Messages {
            self.block(TurnRole::Assistant).extend_from_slice(foreign.raw.bytes());
            return Ok(());
        }
        if let Some(loss) = history::droppable(foreign) {
            return self.blocks.ledger.drop(loss);
        }
        Err(reader::unsupported_foreign(foreign, "an item"))
    }

    /// The words that the model is to go on from. White space at their end is refused.
    fn prefill(&mut self, message: &Message<'_>, prefill: Prefill) -> Result<(), Error> {
        if prefill == Prefill::Hint {
            if let Some(hint) = turns::hint(message) {
                self.text(TurnRole::User, &hint);
            }
            return Ok(());
        }
        let texts = turns::message_texts(message);
        let Some(last) = texts.iter().rposition(|text| !text.is_blank()) else { return Ok(()) };
        texts[..last].iter().for_each(|text| self.text(TurnRole::Assistant, text));
        self.text(TurnRole::Assistant, &texts[last].clone().trim_end());
        Ok(())
    }
}
