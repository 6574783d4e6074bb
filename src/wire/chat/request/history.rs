//! The conversation as messages for a provider.
//!
//! | turn | becomes |
//! |---|---|
//! | system | one message at the head |
//! | assistant | one message for each thing said; calls stand in the last, and what follows them too, since results must follow at once |
//! | user: results | one `tool` message for each, in call order |
//! | user: images of results | one `user` message behind them |
//! | user: the rest | as it came |
//!
//! What a message becomes depends on it and on what precedes it alone: prompt caches live from that.

use super::pieces::{self, Fitter, Piece, PieceKind, Points};
use crate::error::Error;
use crate::json::{RawStr, write};
use crate::wire::Format;
use crate::wire::args::ArgText;
use crate::wire::carry::{self, Fate};
use crate::wire::chat::reasoning;
use crate::wire::envelope::Seal;
use crate::wire::item::{
    ERROR_MARKER, Item, ItemKind, Message, Part, ReasoningItem, Request, Role, ToolCall, ToolResult,
};
use crate::wire::loss::{Ledger, Loss, Repair};
use crate::wire::offer;
use crate::wire::plan::Context;
use crate::wire::quirks::{Host, Quirk};
use crate::wire::read;
use crate::wire::text::Text;
use crate::wire::turns::{self, Prefill, Side};

/// What the assistant says where a host refuses a user message directly after a tool message.
const BETWEEN: &str = "(tool results received)";

/// What stands for Google's signature on a call that has none (Gemini API, "Thought signatures", 2026).
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes the list. `thinks` tells whether the model will reason; `instruction` is added to the system prompt.
pub(super) fn write(
    request: &Request<'_>,
    cx: &Context<'_>,
    thinks: bool,
    instruction: Option<Text<'_>>,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<Prefill, Error> {
    let mut items = turns::pair(request, &cx.policy, ledger)?;
    let prefill = turns::prefill(&items, cx, ledger)?;
    let hint = match prefill {
        Prefill::Hint => items.pop(),
        Prefill::Keep | Prefill::None => None,
    };
    let total = count_points(request);
    let takes = cx.target.caps.cache_points && cx.target.host.is_native();
    if takes && total > Points::MAX {
        ledger.drop(Loss::CacheControl)?;
    }
    let points = Points::new(takes, total);
    let mut writer = Writer {
        request,
        cx,
        thinks,
        ledger,
        points,
        out,
        last: Last::Nothing,
        pending: Vec::new(),
        attached: Vec::new(),
    };
    writer.out.push(b'[');
    writer.system(instruction)?;
    writer.first(&items)?;
    for turn in turns::turns(&items) {
        match turn.side {
            Side::Assistant => writer.assistant(turn.items)?,
            Side::User => {
                let (results, rest) = turn.split_results();
                writer.results(results)?;
                writer.users(rest)?;
            }
        }
    }
    if let Some(hint) = &hint {
        writer.hint(hint);
    }
    writer.flush_users();
    writer.out.push(b']');
    Ok(prefill)
}

fn count_points(request: &Request<'_>) -> usize {
    let count = |parts: &[Part<'_>]| parts.iter().filter(|part| part.cache().is_some()).count();
    let in_items = request.items.iter().map(|item| match &item.kind {
        ItemKind::Message(message) => count(&message.parts),
        ItemKind::Result(result) => count(&result.parts) + usize::from(result.cache.is_some()),
        _ => 0,
    });
    count(&request.system) + in_items.sum::<usize>()
}

/// Whose message was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Tool,
    Other,
}

struct Writer<'w, 'r, 'a> {
    request: &'r Request<'a>,
    cx: &'w Context<'w>,
    thinks: bool,
    ledger: &'w mut Ledger,
    points: Points,
    out: &'w mut Vec<u8>,
    last: Last,
    /// User content that waits for its neighbours, where roles must take turns.
    pending: Vec<Piece<'a>>,
    /// Images of the assistant, for the next user turn.
    attached: Vec<Piece<'a>>,
}

impl<'r, 'a: 'r> Writer<'_, 'r, 'a> {
    fn has(&self, quirk: Quirk) -> bool {
        self.cx.target.quirks.has(quirk)
    }

    fn fit(&mut self, parts: &[Part<'a>], path: &str) -> Result<Vec<Piece<'a>>, Error> {
        let target = &self.cx.target;
        Fitter { target, ledger: self.ledger, points: &mut self.points }.parts(parts, path)
    }

    /// Begins a message; its members follow from `fill`.
    fn message(&mut self, role: &str, fill: impl FnOnce(&mut write::Object<'_>)) {
        if self.last != Last::Nothing {
            self.out.push(b',');
        }
        self.last = if role == "tool" { Last::Tool } else { Last::Other };
        write::object(self.out, |o| {
            o.str("role", role);
            fill(o);
        });
    }

    fn system_role(&self) -> &'static str {
        if self.cx.target.caps.developer && !self.has(Quirk::NoDeveloper) { "developer" } else { "system" }
    }

    fn system(&mut self, instruction: Option<Text<'a>>) -> Result<(), Error> {
        let mut pieces = self.fit(&self.request.system, "messages.0.content")?;
        pieces.extend(instruction.map(Piece::text));
        if pieces.is_empty() {
            return Ok(());
        }
        if self.has(Quirk::JoinSystem) {
            let texts: Vec<Text<'a>> = pieces.iter().filter_map(Piece::as_text).cloned().collect();
            pieces = vec![Piece::text(Text::join(&texts, "\n\n"))];
        }
        let (role, target) = (self.system_role(), &self.cx.target);
        self.message(role, |o| pieces::write(&pieces, target, o.key("content")));
        Ok(())
    }

    /// Templates that want roles in turn want the user first.
    fn first(&mut self, items: &[Item<'a>]) -> Result<(), Error> {
        if self.has(Quirk::AlternateRoles) && items.first().is_some_and(|item| !carry::is_user_side(item)) {
            self.ledger.repair(Repair::FirstTurn);
            self.user(None, vec![Piece::text(Text::plain(turns::FIRST_TURN))]);
        }
        Ok(())
    }

    /// The `tool` messages of a turn, and behind them what a tool message cannot hold.
    fn results(&mut self, results: &[Item<'a>]) -> Result<(), Error> {
        for item in results {
            let ItemKind::Result(result) = &item.kind else { continue };
            self.flush_users();
            self.result(result, &self.request.path(item))?;
        }
        let attached = std::mem::take(&mut self.attached);
        if !attached.is_empty() {
            self.user(None, attached);
        }
        Ok(())
    }

    fn result(&mut self, result: &ToolResult<'a>, path: &str) -> Result<(), Error> {
        let fitted = self.fit(&result.parts, path)?;
        let id = turns::sent_id(self.cx.target.caps.tool_ids, &result.call_id, self.ledger);
        let mut pieces = Vec::with_capacity(fitted.len());
        if result.is_error {
            pieces.push(Piece::text(Text::plain(ERROR_MARKER)));
        }
        let mut n = 0;
        for piece in fitted {
            match &piece.kind {
                PieceKind::Text(text) | PieceKind::Refusal(text) => {
                    let marked = result.is_error && pieces.len() == 1;
                    let text = match pieces.first().and_then(Piece::as_text).filter(|_| marked) {
                        Some(marker) => Text::join(&[marker.clone(), text.clone()], ""),
                        None => text.clone(),
                    };
                    pieces.truncate(if marked { 0 } else { pieces.len() });
                    pieces.push(Piece { kind: PieceKind::Text(text), cache: piece.cache });
                }
                _ if self.has(Quirk::NoUserAfterTool) => pieces.push(piece),
                kind => {
                    n += 1;
                    let what = if matches!(kind, PieceKind::Image { .. }) { "image" } else { "file" };
                    let note = format!("[{what} {n} of {} attached below]", id.unescape());
                    self.ledger.moved(Loss::ResultImage)?;
                    pieces.push(Piece::text(Text::plain(&note)));
                    self.attached.push(Piece { cache: false, ..piece });
                }
            }
        }
        if self.points.take(result.cache)
            && let Some(last) = pieces.last_mut()
        {
            last.cache = true;
        }
        self.write_result(id, pieces);
        Ok(())
    }

    fn write_result(&mut self, id: Text<'_>, mut pieces: Vec<Piece<'a>>) {
        let only_text = pieces.iter().all(|piece| piece.as_text().is_some() && !piece.cache);
        if only_text && !self.cx.target.host.is_native() {
            let texts: Vec<Text<'a>> = pieces.iter().filter_map(Piece::as_text).cloned().collect();
            pieces = vec![Piece::text(Text::join(&texts, "\n"))];
        }
        let target = &self.cx.target;
        self.message("tool", |o| {
            o.raw_str("tool_call_id", id.raw());
            pieces::write(&pieces, target, o.key("content"));
        });
    }

    /// The messages of a user's turn.
    fn users(&mut self, items: &[Item<'a>]) -> Result<(), Error> {
        for item in items {
            let path = self.request.path(item);
            let ItemKind::Message(message) = &item.kind else { continue };
            let pieces = self.fit(&message.parts, &format!("{path}.content"))?;
            match message.role {
                Role::System | Role::Developer => self.mid_system(message, pieces)?,
                Role::User | Role::Assistant => {
                    let name = self.name(message)?;
                    self.user(name, pieces);
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, message: &Message<'a>) -> Result<Option<Text<'a>>, Error> {
        let merges = self.has(Quirk::AlternateRoles);
        if message.name.is_some() && (self.has(Quirk::NoMessageName) || merges) {
            self.ledger.drop(Loss::MessageName)?;
            return Ok(None);
        }
        Ok(message.name.clone())
    }

    fn mid_system(&mut self, message: &Message<'a>, pieces: Vec<Piece<'a>>) -> Result<(), Error> {
        // A message that only carried settings.
        if pieces.is_empty() {
            return Ok(());
        }
        if self.has(Quirk::SystemFirst) || !self.cx.target.caps.mid_system {
            self.ledger.moved(Loss::System)?;
            let texts: Vec<Text<'a>> = pieces.iter().filter_map(Piece::as_text).cloned().collect();
            let text = [Text::plain("<system>"), Text::join(&texts, "\n\n"), Text::plain("</system>")];
            self.user(None, vec![Piece::text(Text::join(&text, ""))]);
            return Ok(());
        }
        self.flush_users();
        let name = self.name(message)?;
        let (role, target) = (self.system_role(), &self.cx.target);
        self.message(role, |o| {
            pieces::write(&pieces, target, o.key("content"));
            if let Some(name) = &name {
                o.raw_str("name", name.raw());
            }
        });
        Ok(())
    }

    fn user(&mut self, name: Option<Text<'a>>, mut pieces: Vec<Piece<'a>>) {
        for piece in &mut pieces {
            // Refusals are the assistant's.
            if let PieceKind::Refusal(text) = &piece.kind {
                piece.kind = PieceKind::Text(text.clone());
            }
        }
        if self.has(Quirk::AlternateRoles) {
            self.pending.append(&mut pieces);
            return;
        }
        self.write_user(name, &pieces);
    }

    fn flush_users(&mut self) {
        let pieces = std::mem::take(&mut self.pending);
        if !pieces.is_empty() {
            self.write_user(None, &pieces);
        }
    }

    fn write_user(&mut self, name: Option<Text<'a>>, pieces: &[Piece<'a>]) {
        if self.last == Last::Tool && self.has(Quirk::NoUserAfterTool) {
            self.message("assistant", |o| o.str("content", BETWEEN));
        }
        let target = &self.cx.target;
        self.message("user", |o| {
            pieces::write(pieces, target, o.key("content"));
            if let Some(name) = &name {
                o.raw_str("name", name.raw());
            }
        });
    }

    /// The last words of the assistant, as an instruction.
    fn hint(&mut self, item: &Item<'a>) {
        let ItemKind::Message(message) = &item.kind else { return };
        let texts = message.parts.iter().filter_map(|part| match part {
            Part::Text(part) => Some(part.text.clone()),
            _ => None,
        });
        let head = Text::plain("Begin your answer with exactly this text and go on from there: ");
        let text: Vec<Text<'a>> = std::iter::once(head).chain(texts).collect();
        self.user(None, vec![Piece::text(Text::join(&text, ""))]);
    }

    fn assistant(&mut self, items: &'r [Item<'a>]) -> Result<(), Error>
    where
        'a: 'r,
    {
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
                ItemKind::Foreign(foreign) => {
                    let what = format!("an item of type `{}`", foreign.kind.unescape());
                    return Err(read::unsupported_content(&foreign.path, &what));
                }
                ItemKind::Result(_) => {}
            }
            said.at = item.at;
        }
        self.write_said(said);
        Ok(())
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
        match carry::fate(item, target, &self.cx.policy, self.ledger) {
            Fate::Native => self.native_reasoning(item, said),
            // Hosts that give reasoning take it back; these give none and refuse fields they do not know.
            Fate::Plain if target.host.is_native() || matches!(target.host, Host::Mistral | Host::GeminiCompat) => {
                self.ledger.repair(Repair::Reasoning);
            }
            Fate::Plain if self.has(Quirk::EchoReasoningDetails) => said.details.push(item),
            Fate::Plain => said.reasoning.push(reasoning::shown(item)),
            Fate::AsText => {
                let text = [Text::plain("<thinking>"), reasoning::shown(item), Text::plain("</thinking>")];
                said.pieces.push(Piece::text(Text::join(&text, "")));
            }
            Fate::Drop => {}
        }
    }

    /// State that this target made: a signature for the next call, or entries of `reasoning_details`. Responses clients hold state
    /// of OpenAI's that no Chat endpoint reads.
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
            name: offer::sent_name(self.cx, call.namespace.as_ref(), &call.name),
            custom: offer::keeps_custom(self.cx, call.kind),
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
            && (self.thinks || target.caps.thinks_by_default)
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
                    said.calls.iter().for_each(|call| list.object(|o| call.write(&target.quirks, o)));
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
    raw_calls: Vec<crate::json::RawValue<'a>>,
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
    fn write(&self, quirks: &crate::wire::quirks::Quirks, o: &mut write::Object<'_>) {
        o.raw_str("id", self.id.raw());
        let kind = if self.custom { "custom" } else { "function" };
        o.str("type", kind);
        o.object(kind, |o| {
            o.str("name", &self.name);
            let out = o.key(if self.custom { "input" } else { "arguments" });
            out.push(b'"');
            match (&self.call.input, self.custom) {
                (input, true) => input.write_free(out),
                // Templates parse what stands here, and nothing is no JSON.
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
