//! The assistant's output of one turn, as messages for a provider.
//!
//! Messages that follow one another stay messages of their own. Tool calls go into the last one,
//! and so does the text after them, since the results must follow the calls at once.

use crate::canonical::args::ArgText;
use crate::canonical::loss::{Loss, Repair};
use crate::canonical::request::{Foreign, Item, ItemKind, Message, ReasoningItem, ToolCall};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::reasoning;
use crate::formats::chat::request::history::Writer;
use crate::formats::chat::request::pieces;
use crate::formats::chat::request::pieces::{Piece, PieceKind};
use crate::json::{RawStr, RawValue, write};
use crate::reasoning::envelope::Seal;
use crate::reasoning::history;
use crate::reasoning::history::Disposition;
use crate::request::reader;
use crate::request::tools;
use crate::request::turns;
use crate::target::quirks::{Host, Quirk, Quirks};

/// What stands for Google's signature on a call that has none (Gemini API, "Thought signatures",
/// 2026).
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

impl<'r, 'a: 'r> Writer<'_, 'r, 'a> {
    /// Writes the messages of an assistant's turn.
    pub(super) fn assistant(&mut self, items: &'r [Item<'a>]) -> Result<(), Error> {
        self.flush_users();
        let mut turn = AssistantTurn::default();
        let mut has_call = false;
        for item in items {
            let is_separate = matches!(item.kind, ItemKind::Message(_) | ItemKind::Reasoning(_)) && item.at != turn.at;
            if is_separate && turn.has_content() && turn.calls.is_empty() && !self.has(Quirk::AlternateRoles) {
                self.write_turn(std::mem::take(&mut turn));
            }
            match &item.kind {
                ItemKind::Message(message) => self.content(item, message, &mut turn)?,
                ItemKind::Reasoning(reasoning) => self.reasoning(reasoning, &mut turn),
                ItemKind::Call(call) => {
                    self.call(call, !has_call, &mut turn);
                    has_call = true;
                }
                ItemKind::Foreign(foreign) if foreign.format == Format::Chat => turn.raw_calls.push(foreign.raw),
                ItemKind::Foreign(foreign) => self.foreign(foreign)?,
                ItemKind::Result(_) => {}
            }
            turn.at = item.at;
        }
        self.write_turn(turn);
        Ok(())
    }

    fn foreign(&mut self, foreign: &Foreign<'_>) -> Result<(), Error> {
        if let Some(loss) = history::droppable(foreign) {
            return self.ledger.drop(loss);
        }
        Err(reader::unsupported_foreign(foreign, "an item"))
    }

    fn content(
        &mut self,
        item: &Item<'a>,
        message: &Message<'a>,
        turn: &mut AssistantTurn<'r, 'a>,
    ) -> Result<(), Error> {
        let path = format!("{}.content", self.request.path(item));
        for piece in self.fit(&message.parts, &path)? {
            match &piece.kind {
                PieceKind::Text(_) | PieceKind::Raw(_) => turn.pieces.push(piece),
                PieceKind::Refusal(text) if self.cx.target.host.is_native() => turn.refusals.push(text.clone()),
                PieceKind::Refusal(text) => turn.pieces.push(Piece::text(text.clone())),
                _ => {
                    self.ledger.approx(Loss::AssistantImage)?;
                    self.attached.push(piece);
                }
            }
        }
        turn.name = self.name(message)?;
        Ok(())
    }

    fn reasoning(&mut self, item: &'r ReasoningItem<'a>, turn: &mut AssistantTurn<'r, 'a>) {
        let target = &self.cx.target;
        match history::disposition(item, target, &self.cx.policy, self.ledger) {
            Disposition::Native => self.native_reasoning(item, turn),
            // Hosts that give reasoning take it back; these give none and refuse fields they do not
            // know.
            Disposition::Plain
                if target.host.is_native() || matches!(target.host, Host::Mistral | Host::GeminiCompat) =>
            {
                self.ledger.repair(Repair::Reasoning);
            }
            Disposition::Plain if self.has(Quirk::EchoReasoningDetails) => turn.details.push(item),
            Disposition::Plain => turn.reasoning.push(reasoning::shown(item)),
            Disposition::AsText => {
                let text = [Text::plain("<thinking>"), reasoning::shown(item), Text::plain("</thinking>")];
                turn.pieces.push(Piece::text(Text::join(&text, "")));
            }
            Disposition::Drop => {}
        }
    }

    /// State that this target made: a signature for the next call, or entries of
    /// `reasoning_details`. Responses clients hold state of OpenAI's that no Chat endpoint reads.
    fn native_reasoning(&mut self, item: &'r ReasoningItem<'a>, turn: &mut AssistantTurn<'r, 'a>) {
        let signature = item.opaque.iter().find(|opaque| opaque.seal == Seal::Signature);
        let is_own_state = self.request.from == Format::Chat || item.opaque.iter().all(|opaque| opaque.scope.is_some());
        match signature {
            Some(signature) => turn.signature = Some(signature.bytes.clone()),
            None if is_own_state => turn.details.push(item),
            None => self.ledger.repair(Repair::Reasoning),
        }
    }

    fn call(&mut self, call: &'r ToolCall<'a>, first: bool, turn: &mut AssistantTurn<'r, 'a>) {
        let target = &self.cx.target;
        let signs = self.has(Quirk::GoogleSignature) || self.has(Quirk::VertexSignature);
        let own = call
            .opaque
            .as_ref()
            .filter(|opaque| opaque.family == target.family && opaque.scope.is_none_or(|scope| scope == target.scope));
        let carried = turn.signature.take();
        let signature = own.map(|opaque| opaque.bytes.clone()).or(carried).or_else(|| {
            // Older models have no signatures to miss.
            let demands = first && !target.model.contains("gemini-2") && !target.model.contains("gemini-1");
            demands.then(|| Text::plain(NO_SIGNATURE))
        });
        turn.calls.push(Call {
            call,
            id: turns::sent_id(target.caps.tool_ids, &call.call_id, self.ledger).into_owned(),
            name: tools::sent_name(self.cx, call.namespace.as_ref(), &call.name),
            custom: tools::keeps_custom(self.cx, call.kind),
            signature: signature.filter(|_| signs),
        });
    }

    fn write_turn(&mut self, turn: AssistantTurn<'r, 'a>) {
        if !turn.has_content() && turn.calls.is_empty() && turn.raw_calls.is_empty() {
            return;
        }
        let target = self.cx.target;
        let empty_reasoning = turn.reasoning.is_empty()
            && !turn.calls.is_empty()
            && self.may_think
            && self.has(Quirk::EchoEmptyReasoning);
        let field = if self.has(Quirk::ReasoningField) { "reasoning" } else { "reasoning_content" };
        self.message("assistant", |o| {
            match turn.pieces.as_slice() {
                [] => o.null("content"),
                pieces => pieces::write(pieces, &target, o.key("content")),
            }
            if !turn.refusals.is_empty() {
                o.raw_str("refusal", Text::join(&turn.refusals, "").raw());
            }
            if let Some(name) = &turn.name {
                o.raw_str("name", name.raw());
            }
            if !turn.reasoning.is_empty() || empty_reasoning {
                o.raw_str(field, Text::join(&turn.reasoning, "\n\n").raw());
            }
            if !turn.details.is_empty() {
                o.array("reasoning_details", |list| {
                    turn.details.iter().for_each(|item| reasoning::write_entries(item, list));
                });
            }
            if !turn.calls.is_empty() || !turn.raw_calls.is_empty() {
                o.array("tool_calls", |list| {
                    turn.calls.iter().for_each(|call| list.object(|o| call.write(target.quirks, o)));
                    turn.raw_calls.iter().for_each(|raw| list.value(*raw));
                });
            }
        });
    }
}

/// One message of the assistant, as it gathers.
#[derive(Default)]
struct AssistantTurn<'r, 'a> {
    /// Of the last item; items of one message share it.
    at: u32,
    name: Option<Text<'a>>,
    pieces: Vec<Piece<'a>>,
    refusals: Vec<Text<'a>>,
    reasoning: Vec<Text<'a>>,
    details: Vec<&'r ReasoningItem<'a>>,
    calls: Vec<Call<'r, 'a>>,
    raw_calls: Vec<RawValue<'a>>,
    /// Google's, for the next call.
    signature: Option<Text<'a>>,
}

impl AssistantTurn<'_, '_> {
    fn has_content(&self) -> bool {
        !self.pieces.is_empty() || !self.refusals.is_empty()
    }
}

struct Call<'r, 'a> {
    call: &'r ToolCall<'a>,
    id: Text<'static>,
    name: String,
    custom: bool,
    signature: Option<Text<'a>>,
}

impl Call<'_, '_> {
    fn write(&self, quirks: Quirks, o: &mut write::Object<'_>) {
        o.raw_str("id", self.id.raw());
        let kind = if self.custom { "custom" } else { "function" };
        o.str("type", kind);
        o.object(kind, |o| {
            o.str("name", &self.name);
            let out = o.key(if self.custom { "input" } else { "arguments" });
            out.push(b'"');
            match (&self.call.input, self.custom) {
                (input, true) => input.write_free(out),
                // Templates parse this string, and nothing is no JSON.
                (ArgText::Quoted(text), false) if text.is_blank() => out.extend_from_slice(b"{}"),
                (input, false) => input.write_quoted(out),
            }
            out.push(b'"');
        });
        if let Some(signature) = &self.signature {
            let vendor = if quirks.has(Quirk::VertexSignature) { "vertex" } else { "google" };
            let signature: RawStr<'_> = signature.raw();
            o.object("extra_content", |o| o.object(vendor, |o| o.raw_str("thought_signature", signature)));
        }
    }
}
