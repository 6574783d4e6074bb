//! Names and ids of tools: what each target takes, and a replacement for what it does not
//! (`docs/internals/translation/requests.md`, "Tool names").
//!
//! Both functions are pure: the same name always becomes the same replacement, in declarations, in
//! history and in `tool_choice`, whatever else the request holds. Encoded conversations therefore
//! stay a prefix of their continuation, and call and result need no table to find one another. Only
//! the way back needs one, [`ToolTable`], and the client repeats its tools with each request.
//!
//! Ids are never cut: ids with a common prefix would collide.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest, Sha256};

use crate::canonical::text::Text;
use crate::json::RawStr;

/// Which tool names a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// `[A-Za-z0-9_-]{1,64}`
    OpenAi,
    /// `[A-Za-z0-9_-]{1,128}`
    Messages,
}

impl NameRule {
    /// Returns the rule of this name in the facts. `None` for any other word.
    pub fn named(word: &str) -> Option<NameRule> {
        match word {
            "openai" => Some(NameRule::OpenAi),
            "messages" => Some(NameRule::Messages),
            _ => None,
        }
    }

    fn max(self) -> usize {
        match self {
            NameRule::OpenAi => 64,
            NameRule::Messages => 128,
        }
    }
}

/// Which call ids a target takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdRule {
    /// 1 to 64 visible ASCII characters.
    OpenAi,
    /// `[A-Za-z0-9_-]{1,64}`
    Messages,
    /// Exactly nine of `[A-Za-z0-9]`.
    Mistral,
}

impl IdRule {
    /// Returns the rule of this name in the facts. `None` for any other word.
    pub fn named(word: &str) -> Option<IdRule> {
        match word {
            "openai" => Some(IdRule::OpenAi),
            "messages" => Some(IdRule::Messages),
            "mistral" => Some(IdRule::Mistral),
            _ => None,
        }
    }

    fn takes(self, id: &str) -> bool {
        match self {
            // Kimi and others give ids such as `functions.weather:0` and want them back, so signs
            // may stay.
            IdRule::OpenAi => (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()),
            IdRule::Messages => (1..=64).contains(&id.len()) && id.bytes().all(is_word),
            IdRule::Mistral => id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        }
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

/// The separator between a namespace and a tool.
const NAMESPACE: &str = "__";

/// Returns the name to send for `name` (plain text, unescaped), flattened with its namespace.
/// Borrowed when it may stay.
pub(crate) fn tool_name<'n>(rule: NameRule, namespace: Option<&str>, name: &'n str) -> Cow<'n, str> {
    let full = match namespace {
        Some(namespace) => Cow::Owned(format!("{namespace}{NAMESPACE}{name}")),
        None => Cow::Borrowed(name),
    };
    if (1..=rule.max()).contains(&full.len()) && full.bytes().all(is_word) {
        return full;
    }
    const HASH: usize = 8;
    let clean = full.chars().map(|c| if c.is_ascii() && is_word(c as u8) { c } else { '_' });
    let mut out: String = clean.take(rule.max() - HASH - 1).collect();
    out.push('_');
    let digest = Sha256::digest(full.as_bytes());
    out.push_str(&digits(&digest, b"abcdefghijklmnopqrstuvwxyz234567", HASH));
    Cow::Owned(out)
}

/// Returns the call id to send for `id` (plain text, unescaped). Borrowed when it may stay.
pub(crate) fn call_id(rule: IdRule, id: &str) -> Cow<'_, str> {
    if rule.takes(id) {
        return Cow::Borrowed(id);
    }
    let digest = Sha256::digest(id.as_bytes());
    Cow::Owned(match rule {
        IdRule::Mistral => digits(&digest, BASE62, 9),
        IdRule::OpenAi | IdRule::Messages => format!("call_{}", digits(&digest, BASE62, 43)),
    })
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The first `count` digits of the number that `bytes` are, least significant first, in the base of
/// the alphabet.
fn digits(bytes: &[u8], alphabet: &[u8], count: usize) -> String {
    let mut number = bytes.to_vec();
    let base = alphabet.len() as u32;
    let mut out = String::with_capacity(count);
    for _ in 0..count {
        let mut rest = 0u32;
        for byte in number.iter_mut() {
            let value = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((value / base) as u8, value % base);
        }
        out.push(char::from(alphabet[rest as usize]));
    }
    out
}

/// Returns a user id or cache key within `max` bytes: itself, else `prefix` and a hash. Stable,
/// never random.
pub(crate) fn bounded<'i>(id: &'i str, max: usize, prefix: &str) -> Cow<'i, str> {
    if id.len() <= max {
        return Cow::Borrowed(id);
    }
    let hash = hex::encode(Sha256::digest(id.as_bytes()));
    let room = max.saturating_sub(prefix.len()).min(hash.len());
    Cow::Owned(format!("{prefix}{}", &hash[..room]))
}

/// How a tool that the target lacks was offered, which decides how a call of it is reported to the
/// client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// A function, as the client declared it.
    #[default]
    Function,
    /// A custom tool that the target knows as one.
    Custom,
    /// A custom tool, offered as a function with one string `input`; its arguments go through
    /// [`ShimInput`](crate::response::custom_tools::ShimInput).
    ShimmedCustom,
    /// The tool that stands for structured output: its input is the answer's text.
    Answer,
}

/// One tool as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolEntry {
    /// The name that was sent to the provider, plain text.
    pub sent: String,
    /// As the client wrote it.
    pub name: Text<'static>,
    pub namespace: Option<Text<'static>>,
    pub shape: Shape,
}

/// From the names that a provider was given back to the client's. Made with the request, used on
/// the response. Lookups are by hash: a request may declare any number of tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolTable {
    entries: Vec<ToolEntry>,
    /// From [`ToolEntry::sent`] to the place in `entries`.
    by_name: HashMap<String, usize>,
}

impl ToolTable {
    /// Adds a tool. `false` if a tool of that sent name is already there: the request must be
    /// refused.
    #[must_use]
    pub fn add(&mut self, entry: ToolEntry) -> bool {
        let slot = self.by_name.entry(entry.sent.clone());
        let fresh = matches!(slot, Entry::Vacant(_));
        if fresh {
            slot.or_insert(self.entries.len());
            self.entries.push(entry);
        }
        fresh
    }

    /// Returns the tool that the provider calls `sent`. `None` for a name the model made up: it
    /// goes to the client as it is.
    pub fn find(&self, sent: &str) -> Option<&ToolEntry> {
        self.entries.get(*self.by_name.get(sent)?)
    }

    /// [`ToolTable::find`] for a name that is still escaped.
    pub fn find_raw(&self, sent: RawStr<'_>) -> Option<&ToolEntry> {
        self.find(&sent.unescape())
    }

    /// Returns the tools in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &ToolEntry> {
        self.entries.iter()
    }

    /// Returns whether no tool was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names become valid for the target.
    #[test]
    fn names() {
        let long = "x".repeat(100);
        let rows = [
            (NameRule::OpenAi, None, "get_weather-2", true),
            (NameRule::OpenAi, None, "mcp.server.tool", false),
            (NameRule::OpenAi, None, "", false),
            (NameRule::OpenAi, None, "wetter_für_zürich", false),
            (NameRule::OpenAi, None, long.as_str(), false),
            (NameRule::Messages, None, long.as_str(), true),
        ];
        for (rule, namespace, name, stays) in rows {
            let sent = tool_name(rule, namespace, name);
            assert_eq!(sent == name, stays, "{name} {sent}");
            assert!((1..=rule.max()).contains(&sent.len()) && sent.bytes().all(is_word), "{sent}");
            assert_eq!(tool_name(rule, namespace, name), sent, "must be stable");
        }
        assert_ne!(tool_name(NameRule::OpenAi, None, "a.b"), tool_name(NameRule::OpenAi, None, "a:b"));
        assert_eq!(tool_name(NameRule::OpenAi, Some("fs"), "read"), "fs__read");
    }

    /// Call ids are valid for the target and stay paired.
    #[test]
    fn call_ids() {
        let (id64, id65, id116) = ("a".repeat(64), "a".repeat(65), "a".repeat(116));
        for id in ["x", "call_1", &id64, &id65, &id116, "toolu:1", "a|b", "ü", "", "functions.get_weather:0"] {
            for rule in [IdRule::OpenAi, IdRule::Messages, IdRule::Mistral] {
                let sent = call_id(rule, id);
                assert!(rule.takes(&sent), "{rule:?} {id} {sent}");
                assert_eq!(call_id(rule, id), sent, "call and result must agree");
                assert_eq!(call_id(rule, &sent), sent, "a replaced id stays");
            }
        }
        assert_eq!(call_id(IdRule::OpenAi, "call_1"), "call_1");
        assert_eq!(call_id(IdRule::Mistral, "D681PevKs"), "D681PevKs");
        let prefix = "p".repeat(70);
        for rule in [IdRule::Messages, IdRule::Mistral] {
            let ids: std::collections::HashSet<_> =
                (0..100_000).map(|n| call_id(rule, &format!("{prefix}{n}")).into_owned()).collect();
            assert_eq!(ids.len(), 100_000, "{rule:?}");
        }
    }

    #[test]
    fn long_keys_are_hashed() {
        assert_eq!(bounded("short", 64, ""), "short");
        let key = bounded(&"k".repeat(65), 64, "pck_").into_owned();
        assert!(key.len() == 64 && key.starts_with("pck_"));
        assert_eq!(bounded(&"k".repeat(65), 64, "").len(), 64);
    }

    #[test]
    fn the_table_restores_and_refuses_duplicates() {
        let entry = |sent: &str, name: &str| ToolEntry {
            sent: sent.into(),
            name: Text::plain(name),
            namespace: None,
            shape: Shape::Function,
        };
        let mut table = ToolTable::default();
        assert!(table.add(entry("a_b_hash", "a.b")));
        assert!(!table.add(entry("a_b_hash", "other")));
        assert!(table.find_raw(RawStr::new(b"a_b_hash")).is_some_and(|e| e.name.eq_str("a.b")));
        assert!(table.find("made_up").is_none());
    }
}
