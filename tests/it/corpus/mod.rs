//! What real providers answered and real clients sent, through the gateway.
//!
//! `LLM_PROXY_CORPUS` names a directory with `dev.jsonl`, recorded exchanges, and `clients.jsonl`,
//! recorded requests. They are not part of this repository; without the variable these tests say so
//! and pass.

mod case;
mod clients;
mod cross;
mod dice;
mod replay;
mod row;
mod rules;
mod tokens;
mod upstream;

use std::path::PathBuf;
use std::sync::Once;

use llm_proxy::config::rows::ProviderRow;
use llm_wire::Format;

use super::support::{Gateway, Setup, provider, say};

/// A gateway whose provider speaks this format alone: any provider would serve any client, and here
/// what matters is what passes unchanged. Nor does it ask for usage, which is put in and hidden
/// again; that has tests of its own.
fn gateway(url: &dyn Fn(&str) -> String, format: Format, mapping: &str) -> Gateway {
    let (name, path) = match format {
        Format::Chat => ("openai", "/v1"),
        Format::Messages => ("anthropic", ""),
        Format::Responses => ("responses", "/v1"),
    };
    let row = ProviderRow {
        model_mapping: mapping.into(),
        provider_params: r#"{"quirks":["no_stream_usage"]}"#.into(),
        ..provider(name, name, &url(path))
    };
    Setup::new().provider(row).env("LOG_LEVEL", "info").start()
}

/// The directory of the corpus. Says once if there is none.
fn corpus() -> Option<PathBuf> {
    static SKIPPED: Once = Once::new();
    let dir = std::env::var_os("LLM_PROXY_CORPUS").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        SKIPPED.call_once(|| say("corpus: skipped, LLM_PROXY_CORPUS is not set"));
    }
    dir.map(PathBuf::from)
}
