//! LLM wire formats: pure code over bytes. No I/O, no clock, no randomness, no configuration, no log.
//!
//! [`Format`] is the only list of formats. Each format is one folder with the same files; a vendor that speaks a known format is
//! a row in the store, not code.
//!
//! Same format on both sides: bytes pass ([`peek`], [`splice`], taps). Different formats meet in a canonical middle, told in
//! [`translate`]:
//!
//! | step | modules |
//! |---|---|
//! | what a request says | [`item`], [`tools`], [`text`], [`args`], [`fields`] (every field's home), [`read`] (errors with paths) |
//! | what the target can take | [`caps`] and [`models`], [`quirks`], [`plan`] (what comes from outside, what is left behind) |
//! | what becomes of it | [`offer`] and [`choice`] (tools), [`effort`] and [`thinking`] (reasoning), [`settle`] (the rest), [`turns`] (pairing), [`carry`] and [`envelope`] (reasoning state), [`names`], [`schema`], [`data_url`]; losses in [`loss`] |
//! | what an answer says | [`event`], [`usage`], [`fault`]; in a bypass taps and [`finish`] |
//! | what becomes of it | [`shape`] with [`shim`] and [`stop`]; [`answer`] (the fold) |

pub mod answer;
pub mod args;
pub mod caps;
pub mod carry;
pub mod chat;
pub mod choice;
pub mod data_url;
pub mod effort;
pub mod envelope;
pub mod error;
pub mod event;
pub mod fault;
pub mod fields;
pub mod finish;
pub mod guard;
pub mod item;
pub mod loss;
pub mod mend;
pub mod messages;
pub mod models;
pub mod names;
pub mod offer;
pub mod peek;
pub mod plan;
pub mod property;
pub mod quirks;
pub mod read;
pub mod replay;
pub mod responses;
pub mod schema;
pub mod settle;
pub mod shape;
pub mod shim;
pub mod splice;
pub mod stop;
pub mod tap;
pub mod text;
pub mod thinking;
pub mod tools;
pub mod translate;
pub mod turns;
pub mod usage;

use std::fmt;
use std::str::FromStr;

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
