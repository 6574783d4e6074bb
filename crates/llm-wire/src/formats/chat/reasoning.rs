//! `reasoning_details`: the list in which hosts and this gateway carry reasoning with its opaque
//! state (`docs/internals/translation/reasoning.md`, "Envelopes").
//!
//! The form is OpenRouter's ("Reasoning tokens", 2026): entries `reasoning.text {text, signature}`,
//! `reasoning.summary {summary}` and `reasoning.encrypted {data}`, each with `id`, `format` and
//! `index`. Towards clients the gateway writes the same form with an envelope in the place of
//! signature or data. A host requires its own entries back unmodified, so what is sealed for the
//! journey through a client of another format is the host's whole entry, less its visible text.
//!
//! Other gateways (LiteLLM, Envoy) carry Anthropic's blocks as they are in `thinking_blocks`
//! (`{type, thinking, signature}`, `{type, data}`) or in the content, or give `reasoning_content`
//! as an object, which may be Bedrock's (`{reasoningText: {text, signature}}`,
//! `{redactedContent}`): they are entries too.

use crate::canonical::request::{ReasoningItem, ReasoningKind, ReasoningPart};
use crate::canonical::text::Text;
use crate::json::{RawStr, RawValue, write};
use crate::reasoning::envelope;
use crate::reasoning::envelope::{Family, Seal};
use crate::reasoning::history;

/// One entry of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub kind: ReasoningKind,
    /// `text` or `summary`; empty if there is none.
    pub text: RawStr<'a>,
    /// `signature` or `data`, never empty, and which of both.
    pub opaque: Option<(Seal, RawStr<'a>)>,
    id: Option<RawStr<'a>>,
    index: Option<RawValue<'a>>,
    raw: RawValue<'a>,
}

impl<'a> Entry<'a> {
    /// Reads an entry by its fields, since some hosts leave the type out. An entry without content
    /// is empty.
    pub(super) fn read(raw: RawValue<'a>) -> Entry<'a> {
        let kind = ReasoningKind::Full;
        let mut entry = Entry { kind, text: RawStr::default(), opaque: None, id: None, index: None, raw };
        for (key, value, _) in raw.members() {
            let text = value.as_str().filter(|text| !text.is_empty());
            match (key.as_bytes(), text) {
                // Bedrock's shape, which Envoy passes on as an object.
                (b"reasoningText" | b"reasoningContent", None) if value.is_object() => {
                    let inner = Entry::read(value);
                    (entry.text, entry.opaque) = (inner.text, inner.opaque.or(entry.opaque));
                }
                (b"redactedContent", Some(text)) => entry.opaque = Some((Seal::Encrypted, text)),
                (b"text" | b"thinking" | b"content" | b"reasoning", Some(text)) => entry.text = text,
                (b"summary", Some(text)) => (entry.kind, entry.text) = (ReasoningKind::Summary, text),
                (b"signature", Some(text)) => entry.opaque = Some((Seal::Thinking, text)),
                (b"data", Some(text)) => entry.opaque = Some((Seal::Encrypted, text)),
                (b"id", id) => entry.id = id,
                (b"index", _) => entry.index = Some(value),
                _ => {}
            }
        }
        entry
    }

    /// Returns the entries of a list, or the one entry that an object is.
    pub(super) fn list(details: RawValue<'a>) -> impl Iterator<Item = Entry<'a>> {
        let one = details.is_object().then(|| Entry::read(details));
        details.elements().map(|(entry, _)| Entry::read(entry)).chain(one)
    }

    /// Returns the entry without its visible text, as an escaped string body: the state to be
    /// sealed.
    pub(super) fn sealed(&self) -> Vec<u8> {
        let mut object = Vec::with_capacity(self.raw.bytes().len());
        write::object(&mut object, |o| {
            for (key, value, _) in self.raw.members().filter(|(key, ..)| !is_visible(*key)) {
                o.value(&key.unescape(), value);
            }
        });
        let mut out = Vec::with_capacity(object.len() + 16);
        write::escaped(&mut out, &String::from_utf8_lossy(&object));
        out
    }
}

fn is_visible(key: RawStr<'_>) -> bool {
    matches!(key.as_bytes(), b"text" | b"summary" | b"thinking" | b"content" | b"reasoning")
}

/// Returns the reasoning in a client's assistant message: of the list if there is one, else of the
/// plain text.
pub(super) fn read<'a>(details: Option<RawValue<'a>>, text: Option<RawStr<'a>>) -> Vec<ReasoningItem<'a>> {
    let entries: Vec<Entry<'a>> = details.map(|list| Entry::list(list).collect()).unwrap_or_default();
    items_of(&entries, details, text)
}

/// Returns the reasoning in entries, which `details` are as the client wrote them.
pub(super) fn items_of<'a>(
    entries: &[Entry<'a>],
    details: Option<RawValue<'a>>,
    text: Option<RawStr<'a>>,
) -> Vec<ReasoningItem<'a>> {
    let ours = entries.iter().any(|e| e.opaque.is_some_and(|(_, raw)| envelope::looks_like(raw)));
    if ours {
        return enveloped(entries);
    }
    let mut item = ReasoningItem::default();
    for entry in entries {
        show(&mut item.parts, entry, true);
        if let Some((seal, bytes)) = entry.opaque {
            let native = (Family::OpenRouter, seal);
            item.opaque.extend(history::opaque_of(bytes, Vec::new(), None, native).opaque);
        }
    }
    if !item.parts.is_empty() || !item.opaque.is_empty() {
        item.details = details;
        return vec![item];
    }
    let parts =
        text.filter(|text| !text.is_empty()).map(|text| ReasoningPart { kind: ReasoningKind::Full, text: text.into() });
    parts.map(|part| ReasoningItem { parts: vec![part], ..ReasoningItem::default() }).into_iter().collect()
}

/// Returns a list that holds envelopes: each ends one item, with the text before it that has its
/// index.
fn enveloped<'a>(entries: &[Entry<'a>]) -> Vec<ReasoningItem<'a>> {
    let mut items = Vec::new();
    let mut shown: Vec<ReasoningPart<'a>> = Vec::new();
    let mut index = None;
    for entry in entries {
        if entry.index != index && !shown.is_empty() {
            items.push(ReasoningItem { parts: std::mem::take(&mut shown), ..ReasoningItem::default() });
        }
        show(&mut shown, entry, entry.index == index);
        index = entry.index;
        if let Some((seal, opaque)) = entry.opaque {
            let native = (Family::OpenRouter, seal);
            items.push(history::opaque_of(opaque, std::mem::take(&mut shown), entry.id.map(Text::from), native));
        }
    }
    items.push(ReasoningItem { parts: shown, ..ReasoningItem::default() });
    items.retain(|item| !item.parts.is_empty() || !item.opaque.is_empty());
    items
}

/// Adds an entry's text: to the last part if it goes on with it, as clients that collect a stream
/// keep each delta as an entry.
fn show<'a>(parts: &mut Vec<ReasoningPart<'a>>, entry: &Entry<'a>, goes_on: bool) {
    if entry.text.is_empty() {
        return;
    }
    match parts.last_mut().filter(|last| goes_on && last.kind == entry.kind) {
        Some(last) => last.text = Text::join(&[last.text.clone(), entry.text.into()], ""),
        None => parts.push(ReasoningPart { kind: entry.kind, text: entry.text.into() }),
    }
}

/// Returns the visible text of an item.
pub(super) fn shown<'a>(item: &ReasoningItem<'a>) -> Text<'a> {
    let texts: Vec<Text<'a>> = item.parts.iter().filter(|p| !p.text.is_empty()).map(|part| part.text.clone()).collect();
    Text::join(&texts, "\n\n")
}

/// Writes an item as entries for the host that made it: the client's own list, or what was sealed
/// with the text put back.
pub(super) fn write_entries(item: &ReasoningItem<'_>, list: &mut write::Array<'_>) {
    if let Some(details) = item.details {
        return details.elements().for_each(|(entry, _)| list.value(entry));
    }
    let text = shown(item);
    let plain = match item.opaque.first() {
        Some(opaque) => opaque.bytes.unescape(),
        None => return write_text(item, &text, list),
    };
    let sealed = RawValue::parse(plain.as_bytes()).ok().filter(|value| value.is_object());
    let carries_text = sealed.map_or(item.opaque[0].seal == Seal::Thinking, |entry| entry.find("signature").is_some());
    if !carries_text && !text.is_empty() {
        write_text(item, &text, list);
    }
    list.object(|o| {
        match sealed {
            Some(entry) => entry.members().for_each(|(key, value, _)| o.value(&key.unescape(), value)),
            None if carries_text => {
                o.str("type", "reasoning.text");
                o.raw_str("signature", item.opaque[0].bytes.raw());
            }
            None => {
                o.str("type", "reasoning.encrypted");
                o.raw_str("data", item.opaque[0].bytes.raw());
            }
        }
        if carries_text {
            o.raw_str("text", text.raw());
        }
    });
}

fn write_text(item: &ReasoningItem<'_>, text: &Text<'_>, list: &mut write::Array<'_>) {
    let summary = item.parts.first().is_some_and(|part| part.kind == ReasoningKind::Summary);
    list.object(|o| {
        o.str("type", if summary { "reasoning.summary" } else { "reasoning.text" });
        o.raw_str(if summary { "summary" } else { "text" }, text.raw());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reasoning::envelope::{Envelope, Scope};

    fn envelope(seal: Seal, text: &str, sealed: &str) -> String {
        let envelope = Envelope {
            family: Family::OpenRouter,
            scope: Scope::new("p", "m"),
            seal,
            id: Text::EMPTY,
            text: Text::plain(text),
            sealed: Text::plain(sealed),
        };
        let mut out = Vec::new();
        envelope.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn items(details: &str, text: &str) -> Vec<String> {
        let details = (!details.is_empty()).then(|| RawValue::parse(details.as_bytes()).unwrap());
        let items = read(details, Some(RawStr::new(text.as_bytes())));
        let show = |item: &ReasoningItem<'_>| {
            let opaque: Vec<_> = item.opaque.iter().map(|o| format!("{:?}", o.seal)).collect();
            format!("{}|{}|{}", shown(item).unescape(), opaque.join(","), item.details.is_some())
        };
        items.iter().map(show).collect()
    }

    #[test]
    fn what_clients_send_back() {
        let env = envelope(Seal::Thinking, "all of it", "sig");
        let redacted = envelope(Seal::Redacted, "", "data");
        assert_eq!(items("", "plain"), ["plain||false"]);
        assert!(items("", "").is_empty() && items("[]", "").is_empty() && items("[{},1,null]", "").is_empty());
        let native = r#"[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","text":"b","signature":"S","index":0},{"type":"reasoning.encrypted","data":"D"}]"#;
        assert_eq!(items(native, "ab"), ["ab|Thinking,Encrypted|true"]);
        // An envelope knows the text better than the client; an item that has none stays apart.
        let ours = format!(
            r#"[{{"type":"reasoning.text","text":"unsigned","index":0}},{{"type":"reasoning.text","text":"all of","index":1}},{{"signature":"{env}","index":1}},{{"type":"reasoning.encrypted","data":"{redacted}","index":2}}]"#
        );
        assert_eq!(items(&ours, "x"), ["unsigned||false", "all of it|Thinking|false", "|Redacted|false"]);
        let broken = format!(r#"[{{"type":"reasoning.text","text":"t","signature":"{}"}}]"#, &env[..env.len() - 4]);
        assert!(items(&broken, "t").is_empty(), "text of a broken envelope is not trusted");
    }

    /// What a host gave comes back to it unmodified, through a client of another format.
    #[test]
    fn entries_make_the_round_trip() {
        let rows = [
            r#"{"type":"reasoning.text","signature":"S","format":"anthropic-claude-v1","index":0,"text":"thou\nght"}"#,
            r#"{"type":"reasoning.encrypted","data":"D\/D","id":"rs_1","format":"openai-responses-v1","index":1}"#,
        ];
        for row in rows {
            let entry = Entry::read(RawValue::new(row.as_bytes()));
            let sealed = entry.sealed();
            let (seal, _) = entry.opaque.unwrap();
            let mut item = history::opaque_of(
                RawStr::new(b"native"),
                vec![ReasoningPart { kind: ReasoningKind::Summary, text: entry.text.into() }],
                None,
                (Family::OpenRouter, seal),
            );
            item.opaque[0].bytes = Text::escaped(sealed);
            let mut out = Vec::new();
            write::array(&mut out, |list| write_entries(&item, list));
            assert_eq!(String::from_utf8_lossy(&out), format!("[{row}]"));
        }
    }
}
