//! Translates requests that differ from an earlier one in the texts of their messages alone,
//! without reading them.
//!
//! The requests of a program mostly have one structure, and the texts of users and of the system
//! are copied as they are. So a translation is kept in pieces: bytes, and texts of the request
//! between them. What is kept was checked: the example was translated twice more with other texts,
//! and the three translations are the same but for these texts.

use std::ops::Range;

use memchr::memmem;

use crate::canonical::loss::Ledger;
use crate::canonical::text;
use crate::format::Format;
use crate::json::template::{Spot, Value};
use crate::json::{RawKind, RawStr, RawValue};
use crate::passthrough::document_templates::DocumentTemplates;
use crate::target::plan::Plan;
use crate::translate::request::Encoded;

/// The translations of some requests. `K` is what a translation depends on beside the body: two
/// requests of equal keys are translated alike.
#[derive(Debug)]
pub struct KnownRequests<K>(DocumentTemplates<Known<K>>);

impl<K> Default for KnownRequests<K> {
    fn default() -> KnownRequests<K> {
        KnownRequests(DocumentTemplates::default())
    }
}

/// The translation of requests of one structure.
#[derive(Debug)]
struct Known<K> {
    key: K,
    pieces: Vec<Piece>,
    /// Bytes of the pieces that are no texts.
    fixed: usize,
    plan: Plan,
    ledger: Ledger,
}

/// A piece of a translation.
#[derive(Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    /// A text of the request, with its quotes.
    Text(Spot),
}

impl<K> KnownRequests<K> {
    /// Returns the translation of a request that has the structure of an earlier one with the same
    /// key.
    pub fn find(&mut self, is_key: impl Fn(&K) -> bool, body: &[u8]) -> Option<Encoded> {
        let (known, places) = self.0.find_where(body, |known| is_key(&known.key))?;
        let mut out = Vec::with_capacity(known.fixed + body.len());
        for piece in &known.pieces {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Text(spot) => {
                    let Range { start, end } = spot.in_match(places);
                    let text = &body[start + 1..end - 1];
                    // Encoders leave such texts out.
                    if text::is_blank(RawStr::new(text)) {
                        return None;
                    }
                    out.extend_from_slice(text);
                }
            }
        }
        Some(Encoded { body: out, plan: known.plan.clone(), ledger: known.ledger.clone(), restored: 0 })
    }

    /// Learns from a request that was not found. `translate` does what has made `encoded` of
    /// `body`, with another body.
    pub fn learn(
        &mut self,
        key: K,
        from: Format,
        (body, encoded): (&[u8], &Encoded),
        translate: impl Fn(&[u8]) -> Option<Encoded>,
    ) {
        let may_learn = self.0.would_learn(body) && encoded.restored == 0;
        let Some(texts) = may_learn.then(|| texts(from, body)).flatten() else {
            self.0.skip();
            return;
        };
        let is_text = |value: &Value<'_>| value.is_string && texts.iter().any(|text| text.start + 1 == value.start);
        self.0.learn(body, is_text, |spot| {
            let spots = texts.iter().map(|text| spot(text.clone())).collect::<Option<Vec<_>>>()?;
            let pieces = pieces((body, encoded), &texts, &translate)?;
            let piece = |piece| match piece {
                Part::Bytes(range) => Piece::Bytes(range),
                Part::Text(number) => Piece::Text(spots[number]),
            };
            let fixed = pieces.iter().map(Part::fixed).sum();
            let pieces = pieces.into_iter().map(piece).collect();
            Some(Known { key, pieces, fixed, plan: encoded.plan.clone(), ledger: encoded.ledger.clone() })
        });
    }
}

/// A piece of a translation, with the number of a text.
#[derive(Debug)]
enum Part {
    Bytes(Box<[u8]>),
    Text(usize),
}

impl Part {
    fn fixed(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Text(_) => 0,
        }
    }
}

/// Returns where the texts of the conversation are, quotes included. `None` if it has anything but
/// texts of users and of the system. Texts that are blank are none: they are left out.
fn texts(from: Format, body: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut texts = Vec::new();
    let mut note = |value: RawValue<'_>| {
        let start = (value.bytes().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
        if !text::is_blank(value.as_str()?) {
            texts.push(start..start + value.bytes().len());
        }
        Some(())
    };
    let conversation = RawValue::new(body).find(from.profile().request.conversation)?;
    if conversation.kind() == RawKind::String {
        note(conversation)?;
        return Some(texts);
    }
    for (message, _) in conversation.elements() {
        let content = only(message, "content", |key, value| match key {
            b"role" => matches!(value, b"\"user\"" | b"\"system\"" | b"\"developer\""),
            b"type" => value == b"\"message\"",
            _ => false,
        })?;
        if content.kind() == RawKind::String {
            note(content)?;
            continue;
        }
        for (part, _) in content.elements() {
            let is_type = |key: &[u8], value: &[u8]| key == b"type" && matches!(value, b"\"text\"" | b"\"input_text\"");
            note(only(part, "text", is_type)?)?;
        }
    }
    Some(texts)
}

/// Returns the member `name` of an object, if it stands there once and each of the others
/// `may_stand`.
fn only<'a>(object: RawValue<'a>, name: &str, may_stand: impl Fn(&[u8], &[u8]) -> bool) -> Option<RawValue<'a>> {
    let mut found = None;
    for (key, value, _) in object.members() {
        if key.as_bytes() == name.as_bytes() {
            if found.replace(value).is_some() {
                return None;
            }
        } else if !may_stand(key.as_bytes(), value.bytes()) {
            return None;
        }
    }
    found
}

/// Cuts a translation into pieces, by translating the request with other texts. `None` if anything
/// but the texts differs then.
fn pieces(
    (body, encoded): (&[u8], &Encoded),
    texts: &[Range<usize>],
    translate: impl Fn(&[u8]) -> Option<Encoded>,
) -> Option<Vec<Part>> {
    let is_alike =
        |other: &Encoded| other.restored == 0 && other.plan == encoded.plan && other.ledger == encoded.ledger;
    let mark = |number: usize| format!("of text {number:04}, in its place").into_bytes();
    let marked = translate(&with_texts(body, texts, mark)).filter(is_alike)?;
    let mut places = Vec::new();
    for number in 0..texts.len() {
        let mark = mark(number);
        let mut found = memmem::find_iter(&marked.body, &mark);
        let place = found.next()?;
        if found.next().is_some() || memmem::find(body, &mark).is_some() {
            return None;
        }
        places.push((place, number, mark.len()));
    }
    places.sort_unstable();
    let (mut parts, mut from) = (Vec::new(), 0);
    for (place, number, len) in places {
        parts.push(Part::Bytes(marked.body.get(from..place)?.into()));
        parts.push(Part::Text(number));
        from = place + len;
    }
    parts.push(Part::Bytes(marked.body.get(from..)?.into()));
    // With escapes, and space at both ends.
    let odd = |number: usize| format!(" {number:04} \\u00e9\\n \u{e9} \\\" ").into_bytes();
    let odd_translation = translate(&with_texts(body, texts, odd)).filter(is_alike)?;
    let own = |number: usize| body[texts[number].start + 1..texts[number].end - 1].to_vec();
    let is_exact = join(&parts, own) == encoded.body && join(&parts, odd) == odd_translation.body;
    is_exact.then_some(parts)
}

/// Returns a body with other texts.
fn with_texts(body: &[u8], texts: &[Range<usize>], text: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let (mut out, mut from) = (Vec::new(), 0);
    for (number, place) in texts.iter().enumerate() {
        out.extend_from_slice(&body[from..place.start + 1]);
        out.extend_from_slice(&text(number));
        from = place.end - 1;
    }
    out.extend_from_slice(&body[from..]);
    out
}

fn join(parts: &[Part], text: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(bytes) => out.extend_from_slice(bytes),
            Part::Text(number) => out.extend_from_slice(&text(*number)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::overrides::Overrides;
    use crate::target::plan::{Context, Target};
    use crate::target::quirks::Host;
    use crate::translate;

    const BODIES: &[(Format, &str)] = &[
        (
            Format::Chat,
            r#"{"model":"m","messages":[{"role":"system","content":"TEXT"},{"role":"user","content":"TEXT"}],"max_tokens":7,"temperature":0.7}"#,
        ),
        (
            Format::Chat,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"TEXT"},{"text":"TEXT","type":"text"}]}],"model":"m","stream":true}"#,
        ),
        (
            Format::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"TEXT"},{"role":"system","content":"TEXT"}]}"#,
        ),
        (
            Format::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"TEXT"},{"role":"assistant","content":"TEXT"}]}"#,
        ),
        (Format::Chat, r#"{"model":"m","messages":[{"role":"user","content":"TEXT","name":"n"}],"stop":["TEXT"]}"#),
        (
            Format::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"TEXT"}],"tools":[{"type":"function","function":{"name":"f","description":"TEXT","parameters":{"type":"object","properties":{"text":{"type":"string"}}}}}]}"#,
        ),
        (
            Format::Chat,
            r#"{"model":"m","messages":[{"role":"user","content":"TEXT"}],"messages":[{"role":"user","content":"TEXT"}]}"#,
        ),
        (
            Format::Messages,
            r#"{"model":"m","max_tokens":9,"system":"TEXT","messages":[{"role":"user","content":"TEXT"}]}"#,
        ),
        (
            Format::Messages,
            r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"TEXT","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"TEXT"}]}],"metadata":{"user_id":"u"}}"#,
        ),
        (
            Format::Messages,
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"TEXT"},{"type":"text","text":"TEXT"}]}]}"#,
        ),
        (Format::Responses, r#"{"model":"m","input":"TEXT","instructions":"TEXT"}"#),
        (
            Format::Responses,
            r#"{"model":"m","input":[{"role":"developer","content":"TEXT"},{"type":"message","role":"user","content":[{"type":"input_text","text":"TEXT"}]}],"metadata":{"a":"b"}}"#,
        ),
    ];

    const TARGETS: &[(Format, Host, &str)] = &[
        (Format::Messages, Host::Unknown, "messages"),
        (Format::Messages, Host::Anthropic, "claude-opus-5"),
        (Format::Chat, Host::OpenAi, "gpt-5.2"),
        (Format::Chat, Host::Mistral, "mistral-large"),
        (Format::Responses, Host::OpenAi, "gpt-4o"),
    ];

    const TEXTS: &[&str] = &[
        "plain",
        "",
        " ",
        r"\n",
        r"\u00a0",
        "\u{a0}",
        " space around ",
        r#"\"messages\":\"x\""#,
        "é and \\u00e9\\ud83d\\ude00",
        "<think>a</think>b",
        "<system>a</system>",
        "of text 0000, in its place",
        "x-anthropic-billing-header: cc",
        "data:image/png;base64,AAAA",
        "Answer with a single JSON object.",
        "[ERROR] it failed",
        "a text that is longer than the others, as prompts are, and goes on for more than one line of them",
        "\u{3000}",
        "\n",
        "\",\"role\":\"assistant\",\"x\":\"",
    ];

    fn shown(encoded: &Encoded) -> String {
        let Encoded { body, plan, ledger, restored } = encoded;
        format!("{} {plan:?} {ledger:?} {restored}", String::from_utf8_lossy(body))
    }

    type Key = (Format, usize);

    /// Translates by `known` if it can. Returns whether it could.
    fn check(known: &mut KnownRequests<Key>, (client, body): (Format, &str), target: usize) -> bool {
        let (format, host, model) = TARGETS[target];
        let cx = Context::new(Target::new(format, host, model, "p", &Overrides::default()), "m");
        let translate = |body: &[u8]| translate::request(client, body, &cx).ok();
        let (expected, key) = (translate(body.as_bytes()), (client, target));
        let found = known.find(|known| *known == key, body.as_bytes());
        match (&found, &expected) {
            (Some(found), Some(expected)) => assert_eq!(shown(found), shown(expected), "{body}"),
            (Some(_), None) => panic!("{body} has no translation"),
            (None, Some(expected)) => known.learn(key, client, (body.as_bytes(), expected), translate),
            (None, None) => {}
        }
        found.is_some()
    }

    fn filled(body: &str, [first, second]: [&str; 2]) -> String {
        body.replacen("TEXT", first, 1).replace("TEXT", second)
    }

    #[test]
    fn requests_of_users_and_the_system_are_known_by_their_structure() {
        for (number, (client, body)) in BODIES.iter().enumerate() {
            for (target, (format, ..)) in TARGETS.iter().enumerate().filter(|(_, (format, ..))| format != client) {
                let mut known = KnownRequests::default();
                check(&mut known, (*client, &filled(body, ["a", "b"])), target);
                let is_known = check(&mut known, (*client, &filled(body, ["one", "another"])), target);
                // Those with anything but texts of users and of the system, with a name, or with a
                // text elsewhere that differs.
                let is_plain = matches!(number, 0..=2 | 11);
                assert_eq!(is_known, is_plain, "{format} {body}");
                assert!(!is_plain || check(&mut known, (*client, &filled(body, ["x", "y\\n"])), target));
            }
        }
    }

    #[test]
    fn another_key_is_another_translation() {
        let mut known = KnownRequests::default();
        let body = filled(BODIES[0].1, ["a", "b"]);
        for (target, is_known) in [(0, false), (0, true), (1, false), (1, true), (0, true)] {
            assert_eq!(check(&mut known, (Format::Chat, &body), target), is_known);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// Whatever came before, a request is translated as if nothing had.
        #[test]
        fn a_known_request_is_translated_as_a_new_one(
            bodies in prop::collection::vec((0..BODIES.len(), 0..TARGETS.len()), 1..3),
            steps in prop::collection::vec((0..3usize, 0..TEXTS.len(), 0..TEXTS.len()), 1..60),
        ) {
            let mut known = KnownRequests::default();
            for (body, first, second) in steps {
                let (body, target) = bodies[body % bodies.len()];
                let (client, body) = BODIES[body];
                check(&mut known, (client, &filled(body, [TEXTS[first], TEXTS[second]])), target);
            }
        }
    }
}
