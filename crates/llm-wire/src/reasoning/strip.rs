//! Keeps envelopes out of a bypass (`docs/internals/translation/reasoning.md`, "Envelopes in a
//! passthrough").
//!
//! A conversation that another vendor served for a while comes back with that vendor's sealed
//! reasoning in envelopes of ours. The vendor of this request would refuse it as a broken
//! signature, so the block, item or entry that carries one is cut out. Nothing else of the body is
//! touched.
//!
//! No envelope in a bypass is the target's own: to clients of its own format a vendor's state goes
//! as it is.

use std::ops::Range;

use crate::format::Format;
use crate::json::{RawKind, RawValue};
use crate::passthrough::splice::Splice;
use crate::reasoning::envelope;

/// Adds the cuts to `splice`; `false` if there is nothing to cut. One search over the body is
/// nearly always all it costs.
pub fn cut(format: Format, body: &[u8], splice: &mut Splice) -> bool {
    if envelope::find(body).next().is_none() {
        return false;
    }
    let before = splice.clone();
    let root = RawValue::new(body.trim_ascii());
    match format {
        Format::Chat => chat(body, root, splice),
        Format::Messages => messages(body, root, splice),
        Format::Responses => responses(body, root, splice),
    }
    *splice != before
}

/// Returns the position of `part`, a piece of `body`, in it.
fn at(body: &[u8], part: RawValue<'_>) -> Range<usize> {
    let start = part.bytes().as_ptr() as usize - body.as_ptr() as usize;
    start..start + part.bytes().len()
}

fn elements<'a>(value: Option<RawValue<'a>>) -> Vec<RawValue<'a>> {
    value
        .filter(|value| value.kind() == RawKind::Array)
        .map(|list| list.elements().map(|(element, _)| element).collect())
        .unwrap_or_default()
}

fn is_sealed(value: RawValue<'_>, keys: &[&str]) -> bool {
    keys.iter().any(|key| value.find(key).and_then(RawValue::as_str).is_some_and(envelope::looks_like))
}

/// Removes elements of a list, each with one of its commas. `gone` selects them.
fn remove(body: &[u8], list: &[RawValue<'_>], gone: &[bool], splice: &mut Splice) {
    let mut kept_before = None;
    for (i, element) in list.iter().enumerate() {
        let here = at(body, *element);
        if !gone[i] {
            kept_before = Some(here.end);
            continue;
        }
        let range = match (kept_before.as_mut(), list.get(i + 1)) {
            (Some(end), _) => std::mem::replace(end, here.end)..here.end,
            (None, Some(next)) => here.start..at(body, *next).start,
            (None, None) => here,
        };
        splice.replace(range, Vec::new());
    }
}

/// Entries of `reasoning_details`.
fn chat(body: &[u8], root: RawValue<'_>, splice: &mut Splice) {
    for message in elements(root.find("messages")) {
        let entries = elements(message.find("reasoning_details"));
        let gone: Vec<bool> = entries.iter().map(|entry| is_sealed(*entry, &["signature", "data"])).collect();
        remove(body, &entries, &gone, splice);
    }
}

/// Reasoning items.
fn responses(body: &[u8], root: RawValue<'_>, splice: &mut Splice) {
    let items = elements(root.find("input"));
    let gone: Vec<bool> = items.iter().map(|item| is_sealed(*item, &["encrypted_content"])).collect();
    remove(body, &items, &gone, splice);
}

/// Thinking blocks, up to the last that carries an envelope: blocks may be missing from the front
/// of a conversation, never from its middle. A message that held nothing else goes as a whole,
/// since empty content is refused.
fn messages(body: &[u8], root: RawValue<'_>, splice: &mut Splice) {
    let turns = elements(root.find("messages"));
    let blocks: Vec<Vec<RawValue<'_>>> = turns.iter().map(|turn| elements(turn.find("content"))).collect();
    let last = |(turn, blocks): (usize, &Vec<RawValue<'_>>)| {
        let block = blocks.iter().rposition(|block| is_sealed(*block, &["signature", "data"]))?;
        Some((turn, block))
    };
    let Some(last) = blocks.iter().enumerate().rev().find_map(last) else { return };
    let is_thinking = |block: RawValue<'_>| {
        let kind = block.find("type").and_then(RawValue::as_str);
        kind.is_some_and(|kind| kind.eq_str("thinking") || kind.eq_str("redacted_thinking"))
    };
    let mut empty = vec![false; turns.len()];
    for (turn, blocks) in blocks.iter().enumerate() {
        let gone: Vec<bool> =
            blocks.iter().enumerate().map(|(i, block)| (turn, i) <= last && is_thinking(*block)).collect();
        empty[turn] = !gone.is_empty() && gone.iter().all(|gone| *gone);
        if !empty[turn] {
            remove(body, blocks, &gone, splice);
        }
    }
    remove(body, &turns, &empty, splice);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan;

    const SEALED: &str = "llmp1.oa.0123abcd.e30";

    fn check(format: Format, body: &str, expected: Option<&str>) {
        let body = body.replace('§', SEALED);
        let mut splice = Splice::new();
        let found = cut(format, body.as_bytes(), &mut splice);
        assert_eq!(found, expected.is_some(), "{body}");
        let mut out = Vec::new();
        splice.apply(body.as_bytes(), &mut out);
        scan::validate(&out).unwrap_or_else(|fault| panic!("{fault:?}: {}", String::from_utf8_lossy(&out)));
        assert_eq!(String::from_utf8_lossy(&out), expected.map_or(body, |text| text.replace('§', SEALED)));
    }

    #[test]
    fn blocks_of_messages() {
        let check = |body, expected| check(Format::Messages, body, expected);
        check(r#"{"messages":[{"role":"user","content":"§"}]}"#, None);
        check(
            r#"{"messages":[{"content":[ {"type":"thinking","thinking":"a","signature":"§"} , {"type":"text","text":"b"}]}]}"#,
            Some(r#"{"messages":[{"content":[ {"type":"text","text":"b"}]}]}"#),
        );
        // The front rule: the native block before the envelope goes too, the one behind it stays.
        check(
            r#"{"messages":[{"content":[{"type":"thinking","signature":"own"},{"type":"text"}]},{"content":[{"type":"text"},{"type":"redacted_thinking","data":"§"},{"type":"x"}]},{"content":[{"type":"thinking","signature":"own"},{"type":"text"}]}]}"#,
            Some(
                r#"{"messages":[{"content":[{"type":"text"}]},{"content":[{"type":"text"},{"type":"x"}]},{"content":[{"type":"thinking","signature":"own"},{"type":"text"}]}]}"#,
            ),
        );
        check(
            r#"{"messages":[{"content":"a"},{"content":[{"type":"thinking","signature":"§"}]},{"content":"b"}]}"#,
            Some(r#"{"messages":[{"content":"a"},{"content":"b"}]}"#),
        );
    }

    #[test]
    fn items_of_responses_and_entries_of_chat() {
        check(
            Format::Responses,
            r#"{"input":[{"type":"reasoning","summary":[],"encrypted_content":"§"}, {"type":"reasoning","encrypted_content":"own"}]}"#,
            Some(r#"{"input":[{"type":"reasoning","encrypted_content":"own"}]}"#),
        );
        check(
            Format::Chat,
            r#"{"messages":[{"role":"assistant","reasoning_details":[{"data":"§"},{"text":"a"},{"signature":"§"},{"data":"§"}]},{"role":"user","content":"x"}]}"#,
            Some(
                r#"{"messages":[{"role":"assistant","reasoning_details":[{"text":"a"}]},{"role":"user","content":"x"}]}"#,
            ),
        );
        check(
            Format::Chat,
            r#"{"messages":[{"reasoning_details":[{"data":"§"}]}]}"#,
            Some(r#"{"messages":[{"reasoning_details":[]}]}"#),
        );
        check(Format::Chat, r#"{"messages":[{"content":"§"}]}"#, None);
    }
}
