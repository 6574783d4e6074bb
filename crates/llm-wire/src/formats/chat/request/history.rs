//! The conversation as messages for a provider.
//!
//! | turn | becomes |
//! |---|---|
//! | system | one message at the head; with what system messages follow it directly, where the host wants one |
//! | assistant | one message for each thing said; calls stand in the last, and what follows them too, since results must follow at once |
//! | user: results | one `tool` message for each, in call order |
//! | user: images of results | one `user` message behind them |
//! | user: the rest | as it came |
//!
//! What a message becomes depends on it and on what precedes it alone: prompt caches live from
//! that.

use crate::canonical::loss::{Ledger, Loss, Repair};
use crate::canonical::request::{ERROR_MARKER, Item, ItemKind, Message, Part, Request, Role, ToolResult};
use crate::canonical::text::Text;
use crate::canonical::tools::Tool;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::pieces;
use crate::formats::chat::request::pieces::{Fitter, Piece, PieceKind, Points};
use crate::json::write;
use crate::reasoning::history;
use crate::request::cache_points;
use crate::request::cache_points::On;
use crate::request::pairing;
use crate::request::turns;
use crate::request::turns::{Prefill, Side};
use crate::target::plan::Context;
use crate::target::quirks::Quirk;

/// The assistant's text where a host refuses a user message directly after a tool message.
const BETWEEN: &str = "(tool results received)";

/// Writes the list. `may_think` is `false` where the model must not; `instruction` is added
/// to the system prompt.
pub(super) fn write(
    request: &Request<'_>,
    cx: &Context<'_>,
    may_think: bool,
    instruction: Option<Text<'_>>,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<Prefill, Error> {
    let mut items = pairing::pair(request, &cx.policy, ledger)?;
    let prefill = turns::prefill(request, &items, cx, ledger)?;
    let hint = match prefill {
        Prefill::Hint => items.pop(),
        Prefill::Keep | Prefill::None => None,
    };
    let total = count_points(request);
    let takes = cx.target.caps.cache_points && cx.target.host.is_native();
    // Breakpoints on tools and calls have no place here.
    if takes && (total > Points::MAX || has_other_points(request)) {
        let skip = total.saturating_sub(Points::MAX);
        cache_points::name_lost(request, |on| !matches!(on, On::Tool | On::Call), skip, ledger)?;
    }
    let points = Points::new(takes, total);
    let mut writer = Writer {
        request,
        cx,
        may_think,
        ledger,
        points,
        out,
        last: Last::Nothing,
        pending: Vec::new(),
        attached: Vec::new(),
    };
    writer.out.push(b'[');
    let leading = writer.leading(&items);
    let (leading, items) = items.split_at(leading);
    writer.system(leading, instruction)?;
    writer.first(items)?;
    for turn in turns::turns(items) {
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

/// Whether there are breakpoints on tools or calls.
fn has_other_points(request: &Request<'_>) -> bool {
    let on_tool = |tool: &Tool<'_>| matches!(tool, Tool::Function(tool) if tool.cache.is_some());
    let on_call = |item: &Item<'_>| matches!(&item.kind, ItemKind::Call(call) if call.cache.is_some());
    request.tools.iter().any(on_tool) || request.items.iter().any(on_call)
}

fn system_message<'i, 'a>(item: &'i Item<'a>) -> Option<&'i Message<'a>> {
    match &item.kind {
        ItemKind::Message(message) if matches!(message.role, Role::System | Role::Developer) => Some(message),
        _ => None,
    }
}

/// Whose message was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Tool,
    Other,
}

/// Writes the conversation as Chat messages.
pub(super) struct Writer<'w, 'r, 'a> {
    pub(super) request: &'r Request<'a>,
    pub(super) cx: &'w Context<'w>,
    pub(super) may_think: bool,
    pub(super) ledger: &'w mut Ledger,
    points: Points,
    out: &'w mut Vec<u8>,
    last: Last,
    /// User content that waits for its neighbours, where roles must take turns.
    pending: Vec<Piece<'a>>,
    /// Images of the assistant, for the next user turn.
    pub(super) attached: Vec<Piece<'a>>,
}

impl<'r, 'a: 'r> Writer<'_, 'r, 'a> {
    /// Returns whether the host has this quirk.
    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.cx.target.quirks.has(quirk)
    }

    /// Returns the parts of a message as the target accepts them. `path` is the client's, for
    /// errors.
    pub(super) fn fit(&mut self, parts: &[Part<'a>], path: &str) -> Result<Vec<Piece<'a>>, Error> {
        let target = &self.cx.target;
        Fitter { target, ledger: self.ledger, points: &mut self.points }.parts(parts, path)
    }

    /// Begins a message; its members follow from `fill`.
    pub(super) fn message(&mut self, role: &str, fill: impl FnOnce(&mut write::Object<'_>)) {
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

    /// How many system messages stand before the first turn and go to the others at the head, where
    /// the host wants one system message. Clients of Responses have their prompt there.
    fn leading(&self, items: &[Item<'a>]) -> usize {
        if !self.has(Quirk::JoinSystem) && !self.has(Quirk::SystemFirst) {
            return 0;
        }
        items.iter().take_while(|item| system_message(item).is_some()).count()
    }

    fn system(&mut self, leading: &[Item<'a>], instruction: Option<Text<'a>>) -> Result<(), Error> {
        let path = match self.request.from {
            Format::Chat => "messages.0.content",
            Format::Messages => "system",
            Format::Responses => "instructions",
        };
        let mut pieces = self.fit(&self.request.system, path)?;
        for item in leading {
            let path = format!("{}.content", self.request.path(item));
            let Some(message) = system_message(item) else { continue };
            pieces.extend(self.fit(&message.parts, &path)?);
        }
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
        if self.has(Quirk::AlternateRoles) && items.first().is_some_and(|item| !history::is_user_side(item)) {
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
        let mut has_message = false;
        for item in items {
            let path = self.request.path(item);
            let ItemKind::Message(message) = &item.kind else { continue };
            let pieces = self.fit(&message.parts, &format!("{path}.content"))?;
            match message.role {
                Role::System | Role::Developer => self.mid_system(message, pieces)?,
                Role::User | Role::Assistant => {
                    has_message = true;
                    let name = self.name(message)?;
                    self.user(name, pieces);
                }
            }
        }
        // Where messages are merged, a turn without words must not vanish.
        if has_message && self.has(Quirk::AlternateRoles) && self.pending.is_empty() {
            self.pending.push(Piece::text(Text::EMPTY));
        }
        Ok(())
    }

    /// Returns the name of a message, if the target keeps names.
    pub(super) fn name(&mut self, message: &Message<'a>) -> Result<Option<Text<'a>>, Error> {
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

    /// Writes the user's content that was gathered as one message.
    pub(super) fn flush_users(&mut self) {
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
        if let Some(hint) = turns::hint(message) {
            self.user(None, vec![Piece::text(hint)]);
        }
    }
}
