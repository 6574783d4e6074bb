//! The envelope in which one vendor's opaque reasoning state visits a client of another format
//! (`docs/internals/translation/reasoning.md`, "Envelopes").
//!
//! `llmp1.<family>.<scope>.<base64url(JSON)>`, where the JSON is `{"id"?, "t", "s", "k"}`: the
//! provider's item id, the visible text (clients trim what they show, and Messages checks text and
//! signature as a pair), the sealed state, and its kind. It is neither secret nor trusted: it is
//! read like any other client input, and the provider's own check of the signature is the
//! authority. [`Scope`] binds it to the provider account and model family that made it; state of
//! another scope is never sent.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::canonical::text::Text;
use crate::format::Format;
use crate::json::{RawStr, RawValue, write};
use crate::target::quirks::Host;

/// The first bytes of every envelope. A body without them holds none.
pub const PREFIX: &str = "llmp1.";

/// Longest envelope, in bytes; a longer one counts as none.
pub const MAX: usize = 1 << 20;

/// Whose state it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Anthropic's signed or redacted thinking.
    Anthropic,
    /// OpenAI's encrypted reasoning, which compatible hosts may return as well.
    OpenAi,
    /// Google's thought signatures.
    Google,
    /// Reasoning details of OpenRouter.
    OpenRouter,
    /// Signed thinking of Amazon Bedrock.
    Bedrock,
}

impl Family {
    /// Whose state an endpoint reads and writes.
    pub fn of(format: Format, host: Host) -> Family {
        match (format, host) {
            (Format::Messages, Host::Bedrock) => Family::Bedrock,
            (Format::Messages, _) => Family::Anthropic,
            (_, Host::GeminiCompat) => Family::Google,
            (_, Host::OpenRouter) => Family::OpenRouter,
            _ => Family::OpenAi,
        }
    }

    /// All families.
    pub const ALL: [Family; 5] =
        [Family::Anthropic, Family::OpenAi, Family::Google, Family::OpenRouter, Family::Bedrock];

    /// Returns the two letters that name the family inside an envelope.
    pub fn label(self) -> &'static str {
        match self {
            Family::Anthropic => "an",
            Family::OpenAi => "oa",
            Family::Google => "ge",
            Family::OpenRouter => "or",
            Family::Bedrock => "br",
        }
    }
}

/// Provider account and model family, as 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope([u8; 8]);

impl Scope {
    /// `account` is the id of the provider row (or of the account behind it), `model_family` what
    /// [`model_family`] returns.
    pub fn new(account: &str, model_family: &str) -> Scope {
        let mut hash = Sha256::new();
        hash.update(account.as_bytes());
        hash.update([0]);
        hash.update(model_family.as_bytes());
        let mut out = [0; 8];
        let digest: [u8; 32] = hash.finalize().into();
        let hex = hex::encode(&digest[..4]);
        out.copy_from_slice(hex.as_bytes());
        Scope(out)
    }

    fn parse(hex: &[u8]) -> Option<Scope> {
        let digits: [u8; 8] = hex.try_into().ok()?;
        digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(Scope(digits))
    }

    /// Returns the eight hexadecimal digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of a model's name that decides who can read its state: Claude models read one another's
/// blocks or drop them without an error, so they are one family; elsewhere it is the name up to the
/// version (`gpt-5.2-codex` is `gpt`, `o3` is `o`).
pub fn model_family(model: &str) -> &str {
    let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
    if let Some(at) = name.find("claude") {
        return &name[at..at + "claude".len()];
    }
    let end = name.find(|c: char| c == '-' || c.is_ascii_digit()).unwrap_or(name.len());
    &name[..end]
}

/// What the sealed bytes are, and so where they go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seal {
    /// The signature of an M thinking block.
    Thinking,
    /// The data of an M redacted block.
    Redacted,
    /// The `encrypted_content` of an R reasoning item.
    Encrypted,
    /// A signature on a tool call or text (Google).
    Signature,
}

impl Seal {
    fn label(self) -> &'static str {
        match self {
            Seal::Thinking => "thinking",
            Seal::Redacted => "redacted",
            Seal::Encrypted => "rs",
            Seal::Signature => "sig",
        }
    }

    fn named(label: RawStr<'_>) -> Option<Seal> {
        let all = [Seal::Thinking, Seal::Redacted, Seal::Encrypted, Seal::Signature];
        all.into_iter().find(|seal| label.eq_str(seal.label()))
    }
}

/// An opened envelope. All text is escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The vendor that can read the state.
    pub family: Family,
    /// The account of that vendor to which the state belongs.
    pub scope: Scope,
    /// What kind of state it is.
    pub seal: Seal,
    /// Empty if the provider gave none.
    pub id: Text<'a>,
    /// The visible reasoning, exactly as the provider gave it. Of several summary parts, joined by
    /// a blank line.
    pub text: Text<'a>,
    /// Signature, encrypted content or data.
    pub sealed: Text<'a>,
}

impl Envelope<'_> {
    /// Appends the envelope: plain ASCII without quotes or backslashes, so it may stand inside any
    /// JSON string.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(self.text.as_bytes().len() + self.sealed.as_bytes().len() + 48);
        write::object(&mut payload, |o| {
            if !self.id.is_empty() {
                o.raw_str("id", self.id.raw());
            }
            o.raw_str("t", self.text.raw());
            o.raw_str("s", self.sealed.raw());
            o.str("k", self.seal.label());
        });
        let (family, scope) = (self.family.label(), self.scope.as_str());
        for word in [PREFIX, family, ".", scope, "."] {
            out.extend_from_slice(word.as_bytes());
        }
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(&payload).as_bytes());
    }
}

/// Returns whether an opaque string of a client's history is an envelope at all, whole or broken.
/// What is not is a vendor's own.
pub fn looks_like(opaque: RawStr<'_>) -> bool {
    opaque.as_bytes().starts_with(PREFIX.as_bytes())
}

/// Whose state an envelope holds, by its first words alone.
pub fn owner(opaque: RawStr<'_>) -> Option<(Family, Scope)> {
    let mut words = opaque.as_bytes().strip_prefix(PREFIX.as_bytes())?.splitn(3, |b| *b == b'.');
    let family = words.next()?;
    let family = Family::ALL.into_iter().find(|f| f.label().as_bytes() == family)?;
    Some((family, Scope::parse(words.next()?)?))
}

/// Opens an envelope that fills the string. `None` for anything that is not exactly one: it must
/// then not be sent anywhere.
pub fn parse(opaque: RawStr<'_>) -> Option<Envelope<'static>> {
    let bytes = opaque.as_bytes();
    if bytes.len() > MAX {
        return None;
    }
    let (family, scope) = owner(opaque)?;
    let payload = bytes[PREFIX.len()..].splitn(3, |b| *b == b'.').nth(2)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let payload = RawValue::parse(&payload).ok().filter(|value| value.is_object())?;
    let text = |key| payload.find(key).and_then(RawValue::as_str);
    Some(Envelope {
        family,
        scope,
        seal: Seal::named(text("k")?)?,
        id: Text::from(text("id").unwrap_or_default()).into_owned(),
        text: Text::from(text("t")?).into_owned(),
        sealed: Text::from(text("s").filter(|s| !s.is_empty())?).into_owned(),
    })
}

/// Returns the byte ranges of the strings in `body` that begin with an envelope, quotes excluded,
/// in order. One search over the body: for nearly all requests that is the whole cost of the guard
/// on bypass routes.
pub fn find(body: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    /// Building a searcher costs as much as a search.
    static FINDER: LazyLock<memchr::memmem::Finder<'static>> = LazyLock::new(|| memchr::memmem::Finder::new(PREFIX));
    FINDER.find_iter(body).filter_map(|at| {
        if at == 0 || body[at - 1] != b'"' {
            return None;
        }
        let len = memchr::memchr(b'"', &body[at..])?;
        RawStr::parse(&body[at..at + len]).is_ok().then_some(at..at + len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &'static str) -> Envelope<'static> {
        Envelope {
            family: Family::Anthropic,
            scope: Scope::new("provider-7", "claude"),
            seal: Seal::Thinking,
            id: Text::EMPTY,
            text: RawStr::new(text.as_bytes()).into(),
            sealed: Text::plain("EqQB+/=="),
        }
    }

    fn written(envelope: &Envelope<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        envelope.write(&mut out);
        out
    }

    #[test]
    fn what_is_made_can_be_opened() {
        for text in ["", "two calls", r#"a \"b\" \ud83d half ünïcode\n"#] {
            let envelope = sample(text);
            let bytes = written(&envelope);
            assert_eq!(parse(RawStr::new(&bytes)), Some(envelope.clone()));
            assert!(bytes.iter().all(|b| b.is_ascii_graphic() && *b != b'"' && *b != b'\\'));
            let with_id =
                Envelope { id: Text::plain("rs_1"), family: Family::OpenAi, seal: Seal::Encrypted, ..envelope };
            assert_eq!(parse(RawStr::new(&written(&with_id))), Some(with_id));
        }
    }

    /// What is cut, changed or too large is no envelope.
    #[test]
    fn damaged_envelopes_are_refused() {
        let bytes = written(&sample("text"));
        for end in 0..bytes.len() {
            assert_eq!(parse(RawStr::new(&bytes[..end])), None, "cut at {end}");
        }
        let text = String::from_utf8(bytes).unwrap();
        let of = |payload: &str| format!("llmp1.an.0123abcd.{}", URL_SAFE_NO_PAD.encode(payload));
        let rows = [
            text.replace(".an.", ".xx."),
            text.replace("llmp1", "llmp2"),
            format!("{text}\""),
            of(r#"{"t":"a","s":"","k":"thinking"}"#),
            of(r#"{"t":"a","s":"b","k":"other"}"#),
            of(r#"{"t":1,"s":"b","k":"thinking"}"#),
            of(r#"["t"]"#),
            "llmp1.an.0123ABCD.e30".to_owned(),
            format!("llmp1.an.0123abcd.{}", "A".repeat(MAX)),
        ];
        for row in rows {
            assert_eq!(parse(RawStr::new(row.as_bytes())), None, "{}", &row[..row.len().min(80)]);
            assert_eq!(looks_like(RawStr::new(row.as_bytes())), !row.starts_with("llmp2"));
        }
    }

    #[test]
    fn envelopes_are_found_in_a_body() {
        let text = String::from_utf8(written(&sample("x"))).unwrap();
        let body = format!(r#"{{"a":"{text}","b":"says llmp1.an. in prose","c":["{text}"]}}"#);
        let found: Vec<_> = find(body.as_bytes()).map(|range| &body[range]).collect();
        assert_eq!(found, [&text, &text]);
        assert_eq!(find(b"{}").count(), 0);
    }

    #[test]
    fn scopes() {
        assert_eq!(Scope::new("a", "claude"), Scope::new("a", "claude"));
        assert_ne!(Scope::new("a", "claude"), Scope::new("b", "claude"));
        assert_ne!(Scope::new("ab", "c"), Scope::new("a", "bc"));
        let rows = [
            ("us.anthropic.claude-opus-5", "claude"),
            ("claude-sonnet-4-5", "claude"),
            ("gpt-5.2-codex", "gpt"),
            ("openai/gpt-6", "gpt"),
            ("o3-mini", "o"),
            ("qwen3-32b", "qwen"),
        ];
        for (model, family) in rows {
            assert_eq!(model_family(model), family, "{model}");
        }
    }
}
