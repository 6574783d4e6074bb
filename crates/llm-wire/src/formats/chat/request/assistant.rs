//! The assistant's output of one turn, as messages for a provider.
//!
//! Things said one after the other stay messages of their own. Calls stand in the last, and so does
//! the text after them: their results must follow at once.

use crate::Format;
use crate::canonical::args::ArgText;
use crate::canonical::loss::{Loss, Repair};
use crate::canonical::request::{Foreign, Item, ItemKind, Message, ReasoningItem, ToolCall};
use crate::canonical::text::Text;
use crate::error::Error;
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
    pub(super) fn assistant(&mut self, items: &'r [Item<'a>]) -> Result<(), Error> {
        self.flush_users();
        let mut said = Said::default();
        let mut called = false;
        for item in items {
            let apart = matches!(item.kind, ItemKind::Message(_) | ItemKind::Reasoning(_)) && item.at != said.at;
            if apart && said.has_words() && said.calls.is_empty() && !self.has(Quirk::AlternateRoles) {
                self.write_said(std::mem::take(&mut said));
            }
            match &item.kind {
                ItemKind::Message(message) => self.words(item, message, &mut said)?,
                ItemKind::Reasoning(reasoning) => self.reasoning(reasoning, &mut said),
                ItemKind::Call(call) => {
                    self.call(call, !called, &mut said);
                    called = true;
                }
                ItemKind::Foreign(foreign) if foreign.format == Format::Chat => said.raw_calls.push(foreign.raw),
                ItemKind::Foreign(foreign) => self.foreign(foreign)?,
                ItemKind::Result(_) => {}
            }
            said.at = item.at;
        }
        self.write_said(said);
        Ok(())
    }

    fn foreign(&mut self, foreign: &Foreign<'_>) -> Result<(), Error> {
        if let Some(loss) = history::droppable(foreign) {
            return self.ledger.drop(loss);
        }
        Err(reader::unsupported_foreign(foreign, "an item"))
    }

    fn words(&mut self, item: &Item<'a>, message: &Message<'a>, said: &mut Said<'r, 'a>) -> Result<(), Error> {
        let path = format!("{}.content", self.request.path(item));
        for piece in self.fit(&message.parts, &path)? {
            match &piece.kind {
                PieceKind::Text(_) | PieceKind::Raw(_) => said.pieces.push(piece),
                PieceKind::Refusal(text) if self.cx.target.host.is_native() => said.refusals.push(text.clone()),
                PieceKind::Refusal(text) => said.pieces.push(Piece::text(text.clone())),
                _ => {
                    self.ledger.approx(Loss::AssistantImage)?;
                    self.attached.push(piece);
                }
            }
        }
        said.name = self.name(message)?;
        Ok(())
    }

    fn reasoning(&mut self, item: &'r ReasoningItem<'a>, said: &mut Said<'r, 'a>) {
        let target = &self.cx.target;
        match history::fate(item, target, &self.cx.policy, self.ledger) {
            Disposition::Native => self.native_reasoning(item, said),
            // Hosts that give reasoning take it back; these give none and refuse fields they do not
            // know.
            Disposition::Plain
                if target.host.is_native() || matches!(target.host, Host::Mistral | Host::GeminiCompat) =>
            {
                self.ledger.repair(Repair::Reasoning);
            }
            Disposition::Plain if self.has(Quirk::EchoReasoningDetails) => said.details.push(item),
            Disposition::Plain => said.reasoning.push(reasoning::shown(item)),
            Disposition::AsText => {
                let text = [Text::plain("<thinking>"), reasoning::shown(item), Text::plain("</thinking>")];
                said.pieces.push(Piece::text(Text::join(&text, "")));
            }
            Disposition::Drop => {}
        }
    }

    /// State that this target made: a signature for the next call, or entries of
    /// `reasoning_details`. Responses clients hold state of OpenAI's that no Chat endpoint reads.
    fn native_reasoning(&mut self, item: &'r ReasoningItem<'a>, said: &mut Said<'r, 'a>) {
        let signature = item.opaque.iter().find(|opaque| opaque.seal == Seal::Signature);
        let ours = self.request.from == Format::Chat || item.opaque.iter().all(|opaque| opaque.scope.is_some());
        match signature {
            Some(signature) => said.signature = Some(signature.bytes.clone()),
            None if ours => said.details.push(item),
            None => self.ledger.repair(Repair::Reasoning),
        }
    }

    fn call(&mut self, call: &'r ToolCall<'a>, first: bool, said: &mut Said<'r, 'a>) {
        let target = &self.cx.target;
        let signs = self.has(Quirk::GoogleSignature) || self.has(Quirk::VertexSignature);
        let own = call
            .opaque
            .as_ref()
            .filter(|opaque| opaque.family == target.family && opaque.scope.is_none_or(|scope| scope == target.scope));
        let carried = said.signature.take();
        let signature = own.map(|opaque| opaque.bytes.clone()).or(carried).or_else(|| {
            // Older models have no signatures to miss.
            let demands = first && !target.model.contains("gemini-2") && !target.model.contains("gemini-1");
            demands.then(|| Text::plain(NO_SIGNATURE))
        });
        said.calls.push(Call {
            call,
            id: turns::sent_id(target.caps.tool_ids, &call.call_id, self.ledger).into_owned(),
            name: tools::sent_name(self.cx, call.namespace.as_ref(), &call.name),
            custom: tools::keeps_custom(self.cx, call.kind),
            signature: signature.filter(|_| signs),
        });
    }

    fn write_said(&mut self, said: Said<'r, 'a>) {
        if !said.has_words() && said.calls.is_empty() && said.raw_calls.is_empty() {
            return;
        }
        let target = self.cx.target;
        let empty_reasoning = said.reasoning.is_empty()
            && !said.calls.is_empty()
            && self.may_think
            && self.has(Quirk::EchoEmptyReasoning);
        let field = if self.has(Quirk::ReasoningField) { "reasoning" } else { "reasoning_content" };
        self.message("assistant", |o| {
            match said.pieces.as_slice() {
                [] => o.null("content"),
                pieces => pieces::write(pieces, &target, o.key("content")),
            }
            if !said.refusals.is_empty() {
                o.raw_str("refusal", Text::join(&said.refusals, "").raw());
            }
            if let Some(name) = &said.name {
                o.raw_str("name", name.raw());
            }
            if !said.reasoning.is_empty() || empty_reasoning {
                o.raw_str(field, Text::join(&said.reasoning, "\n\n").raw());
            }
            if !said.details.is_empty() {
                o.array("reasoning_details", |list| {
                    said.details.iter().for_each(|item| reasoning::write_entries(item, list));
                });
            }
            if !said.calls.is_empty() || !said.raw_calls.is_empty() {
                o.array("tool_calls", |list| {
                    said.calls.iter().for_each(|call| list.object(|o| call.write(target.quirks, o)));
                    said.raw_calls.iter().for_each(|raw| list.value(*raw));
                });
            }
        });
    }
}

/// One message of the assistant, as it gathers.
#[derive(Default)]
struct Said<'r, 'a> {
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

impl Said<'_, '_> {
    fn has_words(&self) -> bool {
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
