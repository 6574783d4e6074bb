//! Reasoning for clients that do not send it back (`docs/internals/translation/reasoning.md`,
//! "Reasoning cache").
//!
//! Most Chat clients drop `reasoning_details`. What a provider sealed before it called a tool is
//! then missing when the result of the tool comes, and some models refuse to go on without. So the
//! gateway may remember it, by the id of the call: [`Captured`] is what an answer leaves to be
//! remembered, `restore` puts it back into a later request. Where it is kept is the caller's
//! choice.

use crate::canonical::event::{Block, Event};
use crate::canonical::request::{Item, ItemKind, Request};
use crate::format::Format;
use crate::json::RawStr;
use crate::reasoning::envelope;
use crate::reasoning::history::{is_user_side, restored};
pub use crate::reasoning::memory::{Envelopes, Memory};
use crate::target::plan::Plan;

/// What an answer leaves to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The ids of the tool calls in the response, as the client got them.
    pub calls: Vec<Box<str>>,
    /// The envelopes of the reasoning before these calls, in order.
    pub envelopes: Vec<Box<[u8]>>,
}

impl Captured {
    /// Returns whether answers of this plan are remembered: the other formats have a place of their
    /// own for sealed state.
    pub fn is_wanted(plan: &Plan) -> bool {
        let has_place = |format: Format| format.profile().response.has_opaque_reasoning;
        !has_place(plan.client) && has_place(plan.provider)
    }

    /// Looks at an event on its way to the client.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Opaque { raw, .. } if !raw.is_empty() => self.envelopes.push(raw.as_bytes().into()),
            Event::Open { block: Block::Tool { id, .. }, .. } => self.calls.push(id.unescape().into()),
            _ => {}
        }
    }

    /// Something was sealed, and there is a call to find it by.
    pub fn is_useful(&self) -> bool {
        !self.calls.is_empty() && !self.envelopes.is_empty()
    }
}

/// Puts remembered reasoning in front of each assistant turn that calls tools and has none. Returns
/// how many turns got it.
pub(crate) fn restore(request: &mut Request<'_>, memory: &dyn Memory) -> usize {
    let mut found = Vec::new();
    let mut start = 0;
    while start < request.items.len() {
        let turn = &request.items[start..];
        let len = turn.iter().take_while(|item| !is_user_side(item)).count();
        let turn = &turn[..len];
        let call = turn.iter().find_map(|item| match &item.kind {
            ItemKind::Call(call) => Some(&call.call_id),
            _ => None,
        });
        let has_reasoning = turn.iter().any(|item| matches!(item.kind, ItemKind::Reasoning(_)));
        if let Some(id) = call.filter(|_| !has_reasoning)
            && let Some(envelopes) = memory.find(&id.raw().unescape())
        {
            found.push((start, envelopes));
        }
        start += len.max(1);
    }
    let turns = found.len();
    if turns == 0 {
        return 0;
    }
    let items = std::mem::take(&mut request.items);
    let mut found = found.into_iter().peekable();
    for (at, item) in items.into_iter().enumerate() {
        if let Some((_, envelopes)) = found.next_if(|(start, _)| *start == at) {
            let opened = envelopes.iter().filter_map(|envelope| envelope::parse(RawStr::new(envelope)));
            request.items.extend(opened.map(|envelope| Item::made(restored(envelope))));
        }
        request.items.push(item);
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::canonical::loss::Ledger;
    use crate::canonical::text::Text;
    use crate::json::RawValue;
    use crate::reasoning::envelope::{Envelope, Family, Scope, Seal};
    use crate::translate::decode;

    struct Table(HashMap<&'static str, Arc<Envelopes>>);

    impl Memory for Table {
        fn find(&self, call_id: &str) -> Option<Arc<Envelopes>> {
            self.0.get(call_id).cloned()
        }
    }

    fn sealed(text: &'static str) -> Box<[u8]> {
        let envelope = Envelope {
            family: Family::Anthropic,
            scope: Scope::new("1", "claude"),
            seal: Seal::Thinking,
            id: Text::EMPTY,
            text: Text::plain(text),
            sealed: Text::plain("sig"),
        };
        let mut out = Vec::new();
        envelope.write(&mut out);
        out.into()
    }

    #[test]
    fn each_turn_that_lacks_its_reasoning_gets_it_in_front() {
        let body = br#"{"model":"m","messages":[
            {"role":"user","content":"a"},
            {"role":"assistant","content":"so","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"c2","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"1"},{"role":"tool","tool_call_id":"c2","content":"2"},
            {"role":"assistant","tool_calls":[{"id":"c3","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c3","content":"3"},
            {"role":"assistant","tool_calls":[{"id":"unknown","type":"function","function":{"name":"f","arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"unknown","content":"4"}]}"#;
        let table = Table(HashMap::from([
            ("c1", Arc::from([sealed("one"), sealed("two")])),
            ("c2", Arc::from([sealed("not asked for")])),
            ("c3", Arc::from([sealed("three"), Box::from(&b"llmp1.damaged"[..])])),
        ]));
        let mut request = decode(Format::Chat, RawValue::new(body), &mut Ledger::new(false)).unwrap();
        let before = request.items.len();
        assert_eq!(restore(&mut request, &table), 2);
        let shown: Vec<String> = request
            .items
            .iter()
            .map(|item| match &item.kind {
                ItemKind::Reasoning(item) => item.parts.iter().map(|part| part.text.raw().unescape()).collect(),
                ItemKind::Message(_) => "message".to_owned(),
                ItemKind::Call(call) => call.call_id.raw().unescape().into_owned(),
                ItemKind::Result(_) => "result".to_owned(),
                ItemKind::Foreign(_) => "foreign".to_owned(),
            })
            .collect();
        let expected = "message one two message c1 c2 result result three c3 result unknown result";
        assert_eq!(shown.join(" "), expected);
        assert_eq!(request.items.len(), before + 3);
        // What is there is not doubled.
        assert_eq!(restore(&mut request, &table), 0);
    }
}
