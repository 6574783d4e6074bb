//! From paired items to turns (`docs/internals/translation/requests.md`, "Turns"), prefills, and
//! the text of messages and results.

use std::borrow::Cow;

use crate::canonical::loss::{Ledger, Loss, Repair};
use crate::canonical::request::{Item, ItemKind, Message, Part, Request, Role, Src, ToolResult};
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::reasoning::history::is_user_side;
use crate::target::plan::{Context, PrefillPolicy};
use crate::target::quirks::{Host, Quirk};

/// What Messages gets when a conversation begins with the assistant.
pub(crate) const FIRST_TURN: &str = "(conversation continues)";

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    User,
    Assistant,
}

/// Neighbouring items of one side. System messages stand in user turns, in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'t, 'a> {
    pub side: Side,
    pub items: &'t [Item<'a>],
}

impl<'t, 'a> Turn<'t, 'a> {
    /// Returns the results at the head of a user turn, and the rest. After [`pair`] there are no
    /// others.
    pub(crate) fn split_results(self) -> (&'t [Item<'a>], &'t [Item<'a>]) {
        let end = self.items.iter().position(|item| !matches!(item.kind, ItemKind::Result(_)));
        self.items.split_at(end.unwrap_or(self.items.len()))
    }
}

/// Cuts a paired list into turns.
pub(crate) fn turns<'t, 'a>(items: &'t [Item<'a>]) -> Vec<Turn<'t, 'a>> {
    let side = |item: &Item<'_>| if is_user_side(item) { Side::User } else { Side::Assistant };
    items.chunk_by(|a, b| side(a) == side(b)).map(|items| Turn { side: side(&items[0]), items }).collect()
}

/// What to do with words of the assistant at the end of a conversation, for the model to go on
/// from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefill {
    /// There are none, or they are sent like any other message.
    None,
    /// The target goes on from them.
    Keep,
    /// The message goes, and its text becomes an instruction to begin with it, in a user message at
    /// the end.
    Hint,
}

/// Decides about a prefill, or refuses the request.
pub(crate) fn prefill(
    request: &Request<'_>,
    items: &[Item<'_>],
    cx: &Context<'_>,
    ledger: &mut Ledger,
) -> Result<Prefill, Error> {
    match items.last().map(|item| &item.kind) {
        Some(ItemKind::Message(message)) if message.role == Role::Assistant => {}
        _ => return Ok(Prefill::None),
    }
    let target = &cx.target;
    let (takes, refuses) = match target.format {
        // Mistral requires a message of the user or a tool at the end (Mistral API, "Chat
        // completion", 2026).
        Format::Chat => (target.quirks.has(Quirk::ContinueFinal), target.host == Host::Mistral),
        Format::Messages => (target.caps.prefill, true),
        Format::Responses => (false, false),
    };
    if takes {
        return Ok(Prefill::Keep);
    }
    match cx.policy.prefill {
        PrefillPolicy::Pass if !refuses => return Ok(Prefill::None),
        PrefillPolicy::Hint => {
            ledger.approx(Loss::Prefill)?;
            return Ok(Prefill::Hint);
        }
        PrefillPolicy::Pass | PrefillPolicy::Reject => {}
    }
    let note = format!(
        "the conversation ends with a message of the assistant, and the model `{}` cannot continue it; end with a \
         user message, or set the provider's `translation.prefill` to `hint`",
        target.model
    );
    let path = items.last().map(|item| request.path(item)).unwrap_or_default();
    Err(Error::client(Kind::Unsupported, note).param(path).code("prefill_unsupported"))
}

/// Returns the instruction that stands for a prefill ([`Prefill::Hint`]). `None` for words that say
/// nothing.
pub(crate) fn hint<'a>(message: &Message<'a>) -> Option<Text<'a>> {
    let text = Text::join(&message_texts(message), "").trim_end();
    let order = Text::plain("Begin your answer with exactly this text, and go on from it: ");
    (!text.is_blank()).then(|| Text::join(&[order, text], ""))
}

/// Returns the texts of a message, refusals among them.
pub(crate) fn message_texts<'a>(message: &Message<'a>) -> Vec<Text<'a>> {
    let text = |part: &Part<'a>| match part {
        Part::Text(part) => Some(part.text.clone()),
        Part::Refusal(text) => Some(text.clone()),
        _ => None,
    };
    message.parts.iter().filter_map(text).collect()
}

/// Returns the text of a result's parts, for targets that take text alone: texts joined by line
/// ends, other parts left to the caller.
pub(crate) fn result_text<'a>(result: &ToolResult<'a>) -> Text<'a> {
    let texts: Vec<Text<'a>> = result.parts.iter().filter_map(part_text).collect();
    Text::join(&texts, "\n")
}

fn part_text<'a>(part: &Part<'a>) -> Option<Text<'a>> {
    match part {
        Part::Text(part) => Some(part.text.clone()),
        Part::Refusal(text) => Some(text.clone()),
        Part::SearchResult { .. } => Some(search_text(part)),
        Part::File(file) => match &file.src {
            Src::Text(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns `[source] title`, a line end, and the text of a search result. Empty for other parts.
pub(crate) fn search_text<'a>(part: &Part<'a>) -> Text<'a> {
    let Part::SearchResult { source, title, text, .. } = part else { return Text::EMPTY };
    let head = [Text::plain("["), source.clone(), Text::plain("] "), title.clone(), Text::plain("\n"), text.clone()];
    Text::join(&head, "")
}

/// Returns an id as it is sent to a target with this rule; counts a replacement.
pub(crate) fn sent_id<'t>(rule: crate::target::tool_names::IdRule, id: &'t Text<'_>, ledger: &mut Ledger) -> Text<'t> {
    let plain = id.unescape();
    match crate::target::tool_names::call_id(rule, &plain) {
        Cow::Borrowed(_) => Text::from(id.raw()),
        Cow::Owned(new) => {
            ledger.repair(Repair::CallId);
            Text::plain(&new)
        }
    }
}
