//! The conversation for a provider: items, one by one, in the order of the paired list.
//!
//! The format takes items as they come, so nothing is merged. Three things stand elsewhere than the
//! client put them: images that the assistant showed, and images in results for models that take
//! none there, go into a user message behind the results of their turn; a system prompt with cache
//! breakpoints is the first item, since `instructions` has no place for them.

use std::collections::HashSet;

use crate::canonical::loss::{Loss, Repair};
use crate::canonical::request::{
    ERROR_MARKER, Foreign, Item, ItemKind, Message, Part, ReasoningItem, ReasoningKind, Role, ToolCall, ToolResult,
};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::form::Form;
use crate::formats::responses::request::parts::{Parts, TextAuthor, write_text};
use crate::json::write;
use crate::reasoning::envelope::Seal;
use crate::reasoning::history;
use crate::reasoning::history::Disposition;
use crate::request::reader;
use crate::request::tools;
use crate::request::turns;
use crate::request::turns::Prefill;
use crate::target::quirks::Quirk;

/// Writes `input`.
pub(super) struct Conversation<'c, 'b, 'a> {
    parts: &'c mut Parts<'b, 'a>,
    out: &'c mut Vec<u8>,
    empty: bool,
    /// Reasoning items that wait for the assistant's next message or call, each followed by a
    /// comma. OpenAI refuses reasoning "without its required following item".
    held: Vec<u8>,
    /// The item before was the user's.
    users_turn: bool,
    /// Images and files with the path of what showed them, for the user's next turn.
    shown: Vec<(String, Part<'a>)>,
    /// Ids of calls that were written as calls of custom tools; their results must be of the same
    /// kind.
    customs: HashSet<Vec<u8>>,
}

impl<'c, 'b, 'a> Conversation<'c, 'b, 'a> {
    /// Begins the list of items in `out`.
    pub(super) fn new(parts: &'c mut Parts<'b, 'a>, out: &'c mut Vec<u8>) -> Conversation<'c, 'b, 'a> {
        let (held, shown, customs) = Default::default();
        Conversation { parts, out, empty: true, held, users_turn: false, shown, customs }
    }

    /// Writes the array. `items` are paired. `system`: the system prompt goes here, with the words
    /// that ask for a form.
    pub(super) fn write(mut self, system: Option<&Form>, items: &[Item<'a>], prefill: Prefill) -> Result<(), Error> {
        self.out.push(b'[');
        if let Some(form) = system {
            self.system(form)?;
        }
        let (items, last) = match (prefill, items.split_last()) {
            (Prefill::Keep | Prefill::Hint, Some((last, items))) => (items, Some(last)),
            _ => (items, None),
        };
        items.iter().try_for_each(|item| self.item(item))?;
        self.leave_held();
        self.flush_shown()?;
        if let Some(Item { kind: ItemKind::Message(message), .. }) = last {
            self.hint(message);
        }
        self.out.push(b']');
        Ok(())
    }

    /// Makes room for an item.
    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.append(&mut self.held);
        self.out
    }

    /// Leaves out the reasoning that nothing of the assistant's follows: its answer was cut there.
    fn leave_held(&mut self) {
        if !self.held.is_empty() {
            self.held.clear();
            self.parts.ledger.repair(Repair::Reasoning);
        }
    }

    fn item(&mut self, item: &Item<'a>) -> Result<(), Error> {
        let path = self.parts.request.path(item);
        let user = history::is_user_side(item);
        // At the first of the user's words, and at the latest before the assistant speaks again.
        let words = user && !matches!(item.kind, ItemKind::Result(_));
        if user || matches!(&item.kind, ItemKind::Message(message) if message.role != Role::Assistant) {
            self.leave_held();
        }
        if words || (self.users_turn && !user) {
            self.flush_shown()?;
        }
        self.users_turn = user;
        match &item.kind {
            ItemKind::Message(message) => self.message(message, &path),
            ItemKind::Reasoning(reasoning) => {
                self.reasoning(reasoning);
                Ok(())
            }
            ItemKind::Call(call) => {
                self.call(call);
                Ok(())
            }
            ItemKind::Result(result) => self.result(result, &path),
            ItemKind::Foreign(foreign) => self.foreign(foreign),
        }
    }

    /// The system prompt as an item.
    fn system(&mut self, form: &Form) -> Result<(), Error> {
        let mut parts = self.parts.request.system.clone();
        if let Form::Words(words) = form {
            parts.push(Part::text(words.clone()));
        }
        self.write_message("developer", None, &parts, TextAuthor::Input, "system")
    }

    fn message(&mut self, message: &Message<'a>, path: &str) -> Result<(), Error> {
        if message.name.is_some() {
            self.parts.ledger.drop(Loss::MessageName)?;
        }
        let own = self.parts.request.from == Format::Responses;
        let phase = message.phase.filter(|_| own).map(Text::from);
        let role = match message.role {
            // An empty turn of the user's is a turn.
            Role::User if message.parts.is_empty() => {
                let empty = [Part::text(Text::EMPTY)];
                return self.write_message("user", phase.as_ref(), &empty, TextAuthor::Input, path);
            }
            Role::User => "user",
            Role::Assistant => return self.assistant(message, phase.as_ref(), path),
            Role::System if own => "system",
            Role::System | Role::Developer if self.parts.cx.target.quirks.has(Quirk::NoDeveloper) => "system",
            Role::System | Role::Developer => "developer",
        };
        self.write_message(role, phase.as_ref(), &message.parts, TextAuthor::Input, path)
    }

    /// The assistant can say text alone here.
    fn assistant(&mut self, message: &Message<'a>, phase: Option<&Text<'_>>, path: &str) -> Result<(), Error> {
        let is_shown = |part: &&Part<'_>| matches!(part, Part::Image(_) | Part::File(_));
        if !message.parts.iter().any(|part| is_shown(&part)) {
            return self.write_message("assistant", phase, &message.parts, TextAuthor::Assistant, path);
        }
        self.parts.ledger.moved(Loss::AssistantImage)?;
        let (shown, texts): (Vec<_>, Vec<_>) = message.parts.iter().cloned().partition(|part| is_shown(&part));
        self.shown.extend(shown.into_iter().map(|part| (path.to_owned(), part)));
        self.write_message("assistant", phase, &texts, TextAuthor::Assistant, path)
    }

    /// A message, unless there is nothing in it.
    fn write_message(
        &mut self,
        role: &str,
        phase: Option<&Text<'_>>,
        parts: &[Part<'_>],
        author: TextAuthor,
        path: &str,
    ) -> Result<(), Error> {
        let parts = &*self.parts.fit(parts)?;
        if parts.is_empty() {
            return Ok(());
        }
        let plain = self.parts.cx.target.quirks.has(Quirk::PlainContent);
        self.next();
        let mut result = Ok(());
        write::object(self.out, |o| {
            o.str("type", "message");
            o.str("role", role);
            if let Some(phase) = phase {
                o.raw_str("phase", phase.raw());
            }
            match parts {
                [Part::Text(only)] if plain => o.raw_str("content", only.text.raw()),
                _ => result = self.parts.list(parts, author, path, o.key("content")),
            }
        });
        result
    }

    /// What was shown elsewhere, as the user's.
    fn flush_shown(&mut self) -> Result<(), Error> {
        for (path, part) in std::mem::take(&mut self.shown) {
            self.write_message("user", None, &[part], TextAuthor::Input, &path)?;
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &ReasoningItem<'_>) {
        let parts = &mut *self.parts;
        match history::disposition(item, &parts.cx.target, &parts.cx.policy, parts.ledger) {
            Disposition::Native => {
                let states = item.opaque.iter().filter(|opaque| opaque.seal == Seal::Encrypted);
                for (n, opaque) in states.enumerate() {
                    write::object(&mut self.held, |o| {
                        o.str("type", "reasoning");
                        // The text belongs to the first state.
                        let shown = if n == 0 { item } else { &ReasoningItem::default() };
                        reasoning_texts(o, shown);
                        o.raw_str("encrypted_content", opaque.bytes.raw());
                    });
                    self.held.push(b',');
                }
            }
            Disposition::AsText => {
                let texts: Vec<Text<'_>> = item.parts.iter().map(|part| part.text.clone()).collect();
                let wrapped = [Text::plain("<thinking>"), Text::join(&texts, "\n\n"), Text::plain("</thinking>")];
                self.words("assistant", TextAuthor::Assistant, &Text::join(&wrapped, ""));
            }
            Disposition::Plain | Disposition::Drop => {}
        }
    }

    fn words(&mut self, role: &str, author: TextAuthor, text: &Text<'_>) {
        write::object(self.next(), |o| {
            o.str("type", "message");
            o.str("role", role);
            o.array("content", |a| write_text(text.raw(), author, a));
        });
    }

    fn call(&mut self, call: &ToolCall<'_>) {
        let parts = &mut *self.parts;
        let id = turns::sent_id(parts.cx.target.caps.tool_ids, &call.call_id, parts.ledger);
        let name = tools::sent_name(parts.cx, call.namespace.as_ref(), &call.name);
        let custom = tools::keeps_custom(parts.cx, call.kind);
        if custom {
            self.customs.insert(call.call_id.as_bytes().to_vec());
        }
        write::object(self.next(), |o| {
            o.str("type", if custom { "custom_tool_call" } else { "function_call" });
            o.raw_str("call_id", id.raw());
            o.str("name", &name);
            let out = o.key(if custom { "input" } else { "arguments" });
            out.push(b'"');
            let from = out.len();
            if custom {
                call.input.write_free(out);
            } else {
                call.input.write_quoted(out);
                if out.len() == from {
                    out.extend_from_slice(b"{}");
                }
            }
            out.push(b'"');
        });
    }

    fn result(&mut self, result: &ToolResult<'a>, path: &str) -> Result<(), Error> {
        let id = turns::sent_id(self.parts.cx.target.caps.tool_ids, &result.call_id, self.parts.ledger);
        let custom = self.customs.contains(result.call_id.as_bytes());
        let mut parts = self.parts.fit(&result.parts)?.into_owned();
        if !self.parts.cx.target.caps.images_in_tool_result {
            self.relocate(&mut parts, &result.call_id, path)?;
        }
        if result.is_error {
            mark(&mut parts);
        }
        let plain = self.parts.cx.target.quirks.has(Quirk::PlainContent);
        let texts = parts.iter().all(|part| matches!(part, Part::Text(_) | Part::Refusal(_)));
        self.next();
        let mut outcome = Ok(());
        write::object(self.out, |o| {
            o.str("type", if custom { "custom_tool_call_output" } else { "function_call_output" });
            o.raw_str("call_id", id.raw());
            match parts.as_slice() {
                [] => o.str("output", ""),
                [Part::Text(only)] => o.raw_str("output", only.text.raw()),
                _ if plain && texts => {
                    let joined = ToolResult { parts: parts.clone(), ..result.clone() };
                    o.raw_str("output", turns::result_text(&joined).raw());
                }
                parts => outcome = self.parts.list(parts, TextAuthor::Result, path, o.key("output")),
            }
        });
        outcome
    }

    /// Images and files move behind the results; a line of text states where they went.
    fn relocate(&mut self, parts: &mut [Part<'a>], id: &Text<'_>, path: &str) -> Result<(), Error> {
        let mut n = 0;
        for part in parts.iter_mut().filter(|part| matches!(part, Part::Image(_) | Part::File(_))) {
            self.parts.ledger.moved(Loss::ResultImage)?;
            n += 1;
            let words = [Text::plain(&format!("[image {n} of ")), id.clone(), Text::plain(" attached below]")];
            let note = Part::text(Text::join(&words, "").into_owned());
            self.shown.push((path.to_owned(), std::mem::replace(part, note)));
        }
        Ok(())
    }

    fn foreign(&mut self, foreign: &Foreign<'_>) -> Result<(), Error> {
        if foreign.format == Format::Responses {
            self.next().extend_from_slice(foreign.raw.bytes());
            return Ok(());
        }
        if let Some(loss) = history::droppable(foreign) {
            return self.parts.ledger.drop(loss);
        }
        Err(reader::unsupported_foreign(foreign, "a block"))
    }

    /// Words of the assistant that the model should go on from, as an instruction.
    fn hint(&mut self, message: &Message<'_>) {
        if let Some(hint) = turns::hint(message) {
            self.words("user", TextAuthor::Input, &hint);
        }
    }
}

fn reasoning_texts(o: &mut write::Object<'_>, item: &ReasoningItem<'_>) {
    let of = |kind| item.parts.iter().filter(move |part| part.kind == kind);
    let write = |a: &mut write::Array<'_>, kind, name| {
        for part in of(kind) {
            a.object(|o| {
                o.str("type", name);
                o.raw_str("text", part.text.raw());
            });
        }
    };
    o.array("summary", |a| write(a, ReasoningKind::Summary, "summary_text"));
    if of(ReasoningKind::Full).next().is_some() {
        o.array("content", |a| write(a, ReasoningKind::Full, "reasoning_text"));
    }
}

/// Marks a failed result: the format has no flag.
fn mark(parts: &mut Vec<Part<'_>>) {
    let marker = Text::plain(ERROR_MARKER);
    match parts.first_mut() {
        Some(Part::Text(first)) => first.text = Text::join(&[marker, first.text.clone()], ""),
        _ => parts.insert(0, Part::text(marker)),
    }
}
