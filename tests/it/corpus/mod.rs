//! What real providers answered and real clients sent, through the gateway.
//!
//! `LLM_PROXY_CORPUS` names a directory with `dev.jsonl`, recorded exchanges, and `clients.jsonl`, recorded requests. They are not part of
//! this repository; without the variable these tests say so and pass.

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

use super::support::say;

/// The directory of the corpus. Says once if there is none.
fn corpus() -> Option<PathBuf> {
    static SKIPPED: Once = Once::new();
    let dir = std::env::var_os("LLM_PROXY_CORPUS").filter(|dir| !dir.is_empty());
    if dir.is_none() {
        SKIPPED.call_once(|| say("corpus: skipped, LLM_PROXY_CORPUS is not set"));
    }
    dir.map(PathBuf::from)
}
