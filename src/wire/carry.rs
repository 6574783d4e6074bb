//! Reasoning in a client's history: what of it may go to the target, and in what form (`translation.md` 1.9, back direction).
//!
//! Decoders open envelopes with [`opaque_of`]; encoders ask [`fate`] and do as they are told. A signature is never forged, a block
//! never edited: it goes back exactly as its maker gave it, or not at all.

use super::Format;
use super::effort::Mode;
use super::envelope::{self, Envelope, Family, Seal};
use super::item::{Item, ItemKind, Opaque, ReasoningItem, ReasoningKind, ReasoningPart, Request, Role};
use super::loss::{Ledger, Repair};
use super::plan::{Policy, Target};
use super::quirks::Quirk;
use super::text::Text;
use crate::json::RawStr;

/// The reasoning item behind an opaque string of a client (M `signature` or `data`, R `encrypted_content`, C
/// `reasoning_details[].signature|data`).
///
/// An envelope restores the provider's item: its id, its exact text, its sealed bytes. Another string is the state of the vendor
/// whose format the client speaks (`native`), with the text that the client shows. An empty or broken one leaves text alone.
pub fn opaque_of<'a>(
    opaque: RawStr<'a>,
    shown: Vec<ReasoningPart<'a>>,
    id: Option<Text<'a>>,
    native: (Family, Seal),
) -> ReasoningItem<'a> {
    if opaque.is_empty() || (envelope::looks_like(opaque) && opaque.len() > envelope::MAX) {
        return ReasoningItem { id, parts: shown, ..ReasoningItem::default() };
    }
    if !envelope::looks_like(opaque) {
        let opaque = Opaque { family: native.0, scope: None, seal: native.1, bytes: opaque.into() };
        return ReasoningItem { id, parts: shown, opaque: vec![opaque], details: None };
    }
    match envelope::parse(opaque) {
        Some(Envelope { family, scope, seal, id, text, sealed }) => ReasoningItem {
            id: (!id.is_empty()).then_some(id),
            parts: if text.is_empty() {
                Vec::new()
            } else {
                vec![ReasoningPart { kind: ReasoningKind::Summary, text }]
            },
            opaque: vec![Opaque { family, scope: Some(scope), seal, bytes: sealed }],
            details: None,
        },
        // Damaged: neither state nor text can be trusted to belong together.
        None => ReasoningItem::default(),
    }
}

/// What an encoder does with a reasoning item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Restore the native block: text and sealed bytes as they are.
    Native,
    /// Send the text as `reasoning_content` (hosts that imitate Chat).
    Plain,
    /// Send the text as ordinary text in `<thinking>` tags, by policy.
    AsText,
    /// Leave it out.
    Drop,
}

/// The fate of one item. Counts what is left out as a repair.
pub fn fate(item: &ReasoningItem<'_>, target: &Target<'_>, policy: &Policy, ledger: &mut Ledger) -> Fate {
    let has_text = item.parts.iter().any(|part| !part.text.is_empty());
    let own = |opaque: &Opaque<'_>| {
        opaque.family == target.family
            && match opaque.scope {
                Some(scope) => scope == target.scope,
                // A vendor's own string in a client of that vendor's format.
                None => {
                    matches!(
                        (opaque.seal, target.format),
                        (Seal::Thinking | Seal::Redacted, Format::Messages) | (Seal::Encrypted, Format::Responses)
                    ) || target.format == Format::Chat
                }
            }
    };
    let refuses = target.format == Format::Responses && target.quirks.has(Quirk::NoEncryptedReasoning);
    if !item.opaque.is_empty() && item.opaque.iter().all(own) && !refuses {
        return Fate::Native;
    }
    if target.format == Format::Chat && has_text && item.opaque.is_empty() {
        return Fate::Plain;
    }
    if item.opaque.is_empty() && !has_text {
        return Fate::Drop;
    }
    ledger.repair(Repair::Reasoning);
    if policy.foreign_reasoning_as_text && has_text { Fate::AsText } else { Fate::Drop }
}

/// Whether the tool loop that the request continues lost its thinking: the assistant turn before the last results holds calls but
/// no reasoning that the target can read. Manual thinking would be refused then (`thinking_lost` of
/// [`Circumstances`](super::effort::Circumstances)); a request that asks for none has lost nothing.
pub fn thinking_lost(request: &Request<'_>, target: &Target<'_>, policy: &Policy) -> bool {
    if matches!(request.reasoning.mode, Mode::Unset | Mode::Off) || !ends_in_tool_loop(&request.items) {
        return false;
    }
    let mut scratch = Ledger::default();
    let mut turn = request.items.iter().rev().skip_while(|item| !matches!(item.kind, ItemKind::Call(_)));
    let readable = turn.by_ref().take_while(|item| !is_user_side(item)).any(|item| match &item.kind {
        ItemKind::Reasoning(reasoning) => fate(reasoning, target, policy, &mut scratch) == Fate::Native,
        _ => false,
    });
    !readable
}

/// The last thing that happened is a tool result.
fn ends_in_tool_loop(items: &[Item<'_>]) -> bool {
    let last = items
        .iter()
        .rev()
        .find(|item| !matches!(&item.kind, ItemKind::Message(m) if m.role != Role::Assistant && m.role != Role::User));
    matches!(last.map(|item| &item.kind), Some(ItemKind::Result(_)))
}

/// Items that belong to the user's turn: everything that is not the assistant's.
pub fn is_user_side(item: &Item<'_>) -> bool {
    match &item.kind {
        ItemKind::Message(message) => message.role != Role::Assistant,
        ItemKind::Result(_) => true,
        ItemKind::Reasoning(_) | ItemKind::Call(_) | ItemKind::Foreign(_) => false,
    }
}
