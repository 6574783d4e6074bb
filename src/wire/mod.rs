//! LLM wire formats: pure code over bytes. No I/O, no clock, no randomness, no configuration, no log.
//!
//! [`Format`] is the only list of formats. Each format is one folder with the same files; a vendor that speaks a known format is
//! a row in the store, not code.

pub mod args;
pub mod caps;
pub mod data_url;
pub mod effort;
pub mod envelope;
pub mod loss;
pub mod models;
pub mod names;
pub mod quirks;
pub mod schema;
pub mod shim;
pub mod stop;
pub mod text;

use std::fmt;
use std::str::FromStr;

pub mod chat;
pub mod error;
pub mod messages;
pub mod peek;
pub mod responses;
pub mod splice;
pub mod usage;

/// An LLM wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// OpenAI Chat Completions and what travels beside it on the same hosts: legacy completions, embeddings, moderations.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::Chat, Format::Messages, Format::Responses];

    /// The word for this format on the command line, in configuration and in our own metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Format::Chat => "chat",
            Format::Messages => "messages",
            Format::Responses => "responses",
        }
    }

    /// The word that dashboards and logs of the original service know (`client_protocol`, `provider_protocol`).
    pub fn protocol(self) -> &'static str {
        match self {
            Format::Chat => "openai",
            Format::Messages => "anthropic",
            Format::Responses => "response_api",
        }
    }
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
