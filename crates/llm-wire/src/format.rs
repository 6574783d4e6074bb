//! The list of formats.

use std::fmt;
use std::str::FromStr;

/// An LLM wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// OpenAI Chat Completions and what travels beside it on the same hosts: legacy completions,
    /// embeddings, moderations.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
}

impl Format {
    /// All formats, in the order in which documents list them.
    pub const ALL: [Format; 3] = [Format::Chat, Format::Messages, Format::Responses];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(s: &str) -> Result<Format, String> {
        Format::ALL
            .into_iter()
            .find(|f| f.name() == s)
            .ok_or_else(|| format!("`{s}` is not a format; the formats are chat, messages and responses"))
    }
}
