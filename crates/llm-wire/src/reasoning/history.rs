//! Reasoning in a client's history: what of it may go to the target, and in what form
//! (`docs/internals/translation/reasoning.md`, "What of a client's reasoning goes to the
//! provider").
//!
//! Decoders open envelopes with [`opaque_of`]; encoders call [`disposition`] and follow its result.
//! A signature is never forged, a block never edited: it goes back exactly as its maker gave it, or
//! not at all.

use crate::canonical::effort::Mode;
use crate::canonical::loss::{Ledger, Loss, Repair};
use crate::canonical::request::{
    Foreign, Item, ItemKind, Opaque, ReasoningItem, ReasoningKind, ReasoningPart, Request, Role,
};
use crate::canonical::text::Text;
use crate::format::Format;
use crate::json::RawStr;
use crate::reasoning::envelope;
use crate::reasoning::envelope::{Envelope, Family, Seal};
use crate::target::plan::{Policy, Target};
use crate::target::quirks::Quirk;

/// Returns the reasoning item behind an opaque string of a client (M `signature` or `data`, R
/// `encrypted_content`, C `reasoning_details[].signature|data`).
///
/// An envelope restores the provider's item: its id, its exact text, its sealed bytes. Another
/// string is the state of the vendor whose format the client speaks (`native`), with the text that
/// the client shows. An empty or broken one leaves text alone.
pub(crate) fn opaque_of<'a>(
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
    // Damaged: neither state nor text can be trusted to belong together.
    envelope::parse(opaque).map(restored).unwrap_or_default()
}

/// Returns the provider's own item.
pub(crate) fn restored(envelope: Envelope<'_>) -> ReasoningItem<'_> {
    let Envelope { family, scope, seal, id, text, sealed } = envelope;
    let parts = match text.is_empty() {
        true => Vec::new(),
        false => vec![ReasoningPart { kind: ReasoningKind::Summary, text }],
    };
    ReasoningItem {
        id: (!id.is_empty()).then_some(id),
        parts,
        opaque: vec![Opaque { family, scope: Some(scope), seal, bytes: sealed }],
        details: None,
    }
}

/// What an encoder does with a reasoning item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Restore the native block: text and sealed bytes as they are.
    Native,
    /// Send the text as `reasoning_content` (hosts that imitate Chat).
    Plain,
    /// Send the text as ordinary text in `<thinking>` tags, by policy.
    AsText,
    /// Leave it out.
    Drop,
}

/// Decides what becomes of one item. An item that is left out is counted as a repair.
pub(crate) fn disposition(
    item: &ReasoningItem<'_>,
    target: &Target<'_>,
    policy: &Policy,
    ledger: &mut Ledger,
) -> Disposition {
    let profile = &target.format.profile().request;
    let has_text = item.parts.iter().any(|part| !part.text.is_empty());
    let own = |opaque: &Opaque<'_>| {
        opaque.family == target.family
            && match opaque.scope {
                Some(scope) => scope == target.scope,
                // A vendor's own string in a client of that vendor's format.
                None => profile.seals.contains(&opaque.seal),
            }
    };
    let refuses = profile.has_encrypted_reasoning && target.quirks.has(Quirk::NoEncryptedReasoning);
    if !item.opaque.is_empty() && item.opaque.iter().all(own) && !refuses {
        return Disposition::Native;
    }
    if profile.has_plain_reasoning && has_text && item.opaque.is_empty() {
        return Disposition::Plain;
    }
    if item.opaque.is_empty() && !has_text {
        return Disposition::Drop;
    }
    ledger.repair(Repair::Reasoning);
    if policy.foreign_reasoning_as_text && has_text { Disposition::AsText } else { Disposition::Drop }
}

/// Returns whether the tool loop that the request continues lost its thinking: the assistant turn
/// before the last results holds calls but no reasoning that the target can read. Manual thinking
/// would be refused then (`thinking_lost` of
/// [`Circumstances`](crate::canonical::effort::Circumstances)); a request that asks for none has
/// lost nothing.
pub(crate) fn loses_thinking(request: &Request<'_>, target: &Target<'_>, policy: &Policy) -> bool {
    if matches!(request.reasoning.mode, Mode::Unset | Mode::Off) || !ends_in_tool_loop(&request.items) {
        return false;
    }
    let mut scratch = Ledger::default();
    let mut turn = request.items.iter().rev().skip_while(|item| !matches!(item.kind, ItemKind::Call(_)));
    let readable = turn.by_ref().take_while(|item| !is_user_side(item)).any(|item| match &item.kind {
        ItemKind::Reasoning(reasoning) => disposition(reasoning, target, policy, &mut scratch) == Disposition::Native,
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

/// Returns what a block or item of another format is entered as when it is left out; `None` for one
/// whose loss would change the meaning, which must be refused.
///
/// What a tool did at its vendor may go, since the answer that used it is in the text. So may
/// the news that a deferred tool can be used from here on: tools are loaded from the start where
/// nobody can search. (The specification has no row for `tool_addition`; recorded requests of 2026
/// have it.)
pub(crate) fn droppable(foreign: &Foreign<'_>) -> Option<Loss> {
    const OF_MESSAGES: &[&str] = &["server_tool_use", "mcp_tool_use"];
    const OF_RESPONSES: &[&str] = &[
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
        // The results of a search are in `tools`.
        "tool_search_call",
        "tool_search_output",
    ];
    let kind = foreign.kind.unescape();
    let trace = match foreign.format {
        Format::Chat => false,
        Format::Messages if kind == "tool_addition" => {
            let known = foreign.raw.path(&["tool", "type"]).is_some_and(|kind| kind.eq_str("tool_reference"));
            return known.then_some(Loss::ToolReference);
        }
        Format::Messages => OF_MESSAGES.contains(&kind.as_ref()) || kind.ends_with("_tool_result"),
        Format::Responses => OF_RESPONSES.contains(&kind.as_ref()),
    };
    trace.then_some(Loss::ServerTrace)
}

/// Items that belong to the user's turn: everything that is not the assistant's.
pub(crate) fn is_user_side(item: &Item<'_>) -> bool {
    match &item.kind {
        ItemKind::Message(message) => message.role != Role::Assistant,
        ItemKind::Result(_) => true,
        ItemKind::Reasoning(_) | ItemKind::Call(_) | ItemKind::Foreign(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::effort::Reasoning;
    use crate::canonical::request::Message;
    use crate::reasoning::envelope::Scope;
    use crate::target::overrides::Overrides;
    use crate::target::quirks::Host;

    fn target(format: Format, host: Host, account: &str) -> Target<'static> {
        let model = if format.profile().vendor == Host::Anthropic { "claude-sonnet-4-5" } else { "gpt-5" };
        Target::new(format, host, model, account, &Overrides::default())
    }

    fn sealed(family: Family, seal: Seal, scope: Scope) -> Vec<u8> {
        let mut out = Vec::new();
        let text = Text::plain("thought");
        Envelope { family, scope, seal, id: Text::EMPTY, text, sealed: Text::plain("sig") }.write(&mut out);
        out
    }

    fn shown() -> Vec<ReasoningPart<'static>> {
        vec![ReasoningPart { kind: ReasoningKind::Summary, text: Text::plain("tho…") }]
    }

    const THINKING: (Family, Seal) = (Family::Anthropic, Seal::Thinking);
    const ENCRYPTED: (Family, Seal) = (Family::OpenAi, Seal::Encrypted);

    /// What belongs to another vendor, account or format never goes upstream as state.
    #[test]
    fn dispositions() {
        let messages = target(Format::Messages, Host::Anthropic, "a");
        let other = target(Format::Messages, Host::Anthropic, "b");
        let responses = target(Format::Responses, Host::OpenAi, "a");
        let vllm = target(Format::Responses, Host::Vllm, "a");
        let compat = target(Format::Chat, Host::DeepSeek, "a");
        let own = sealed(Family::Anthropic, Seal::Thinking, messages.scope);
        let openai = sealed(Family::OpenAi, Seal::Encrypted, responses.scope);
        let cut = &own[..own.len() - 3];
        type Row<'r> = (&'r [u8], (Family, Seal), &'r Target<'r>, Disposition);
        let rows: &[Row<'_>] = &[
            (&own, ENCRYPTED, &messages, Disposition::Native),
            (&own, ENCRYPTED, &other, Disposition::Drop),
            (&own, ENCRYPTED, &responses, Disposition::Drop),
            (&own, ENCRYPTED, &compat, Disposition::Drop),
            (cut, ENCRYPTED, &messages, Disposition::Drop),
            (&openai, THINKING, &responses, Disposition::Native),
            (&openai, THINKING, &messages, Disposition::Drop),
            (b"EqQBnative", THINKING, &messages, Disposition::Native),
            (b"EqQBnative", THINKING, &responses, Disposition::Drop),
            (b"gAAAnative", ENCRYPTED, &responses, Disposition::Native),
            (b"gAAAnative", ENCRYPTED, &vllm, Disposition::Drop),
            (b"gAAAnative", ENCRYPTED, &messages, Disposition::Drop),
            (b"", THINKING, &compat, Disposition::Plain),
            (b"", THINKING, &messages, Disposition::Drop),
            (b"", THINKING, &responses, Disposition::Drop),
        ];
        for (opaque, native, target, expected) in rows {
            let item = opaque_of(RawStr::new(opaque), shown(), None, *native);
            let got = disposition(&item, target, &Policy::default(), &mut Ledger::new(true));
            assert_eq!(got, *expected, "{} to {:?} {:?}", String::from_utf8_lossy(opaque), target.format, target.host);
        }
        let policy = Policy { foreign_reasoning_as_text: true, ..Policy::default() };
        let item = opaque_of(RawStr::new(&own), shown(), None, ENCRYPTED);
        assert_eq!(disposition(&item, &responses, &policy, &mut Ledger::new(true)), Disposition::AsText);
    }

    #[test]
    fn an_envelope_restores_what_the_client_trimmed() {
        let scope = Scope::new("a", "claude");
        let bytes = sealed(Family::Anthropic, Seal::Thinking, scope);
        let item = opaque_of(RawStr::new(&bytes), shown(), Some(Text::plain("rs_1")), ENCRYPTED);
        assert!(item.parts[0].text.eq_str("thought") && item.id.is_none());
        assert_eq!(item.opaque[0].scope, Some(scope));
        assert!(item.opaque[0].bytes.eq_str("sig"));
    }

    #[test]
    fn a_loop_that_lost_its_thinking_is_noticed() {
        use crate::canonical::args::ArgText;
        use crate::canonical::request::{CallKind, ToolCall, ToolResult};
        let messages = target(Format::Messages, Host::Anthropic, "a");
        let (call_id, name) = (Text::plain("c1"), Text::plain("f"));
        let call = ToolCall {
            kind: CallKind::Function,
            item_id: None,
            call_id: call_id.clone(),
            namespace: None,
            name,
            input: ArgText::Quoted(Text::EMPTY),
            opaque: None,
            cache: None,
        };
        let result = ToolResult { call_id, kind: CallKind::Function, parts: vec![], is_error: false, cache: None };
        let mut request = Request::new(Format::Chat);
        request.reasoning = Reasoning { mode: Mode::Adaptive, ..Reasoning::default() };
        let user = || Item::new(0, Message::new(Role::User, vec![]));
        request.items = vec![user(), Item::new(1, call), Item::new(2, result)];
        let policy = Policy::default();
        assert!(loses_thinking(&request, &messages, &policy));
        let signed = opaque_of(RawStr::new(b"native"), shown(), None, THINKING);
        request.items.insert(1, Item::new(1, signed));
        assert!(!loses_thinking(&request, &messages, &policy));
        request.items.push(user());
        assert!(!loses_thinking(&request, &messages, &policy), "a new question begins a new loop");
    }
}
