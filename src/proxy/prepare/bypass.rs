//! The body for a provider of the client's own format: the client's bytes, save what must differ.

use super::super::request::Exchange;
use crate::config::snapshot::Provider;
use crate::route::pick::Candidate;
use crate::route::reach::ThinkingTools;
use crate::wire::Format;
use crate::wire::guard;
use crate::wire::peek;
use crate::wire::quirks::Quirk;
use crate::wire::splice::{self, Splice};

/// What a bypass means for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bypass {
    /// The model name sent differs from the name asked for: the answer's name must be put back.
    pub renamed: bool,
    /// The client did not ask for the usage chunk that will come.
    pub hide_usage: bool,
}

impl Bypass {
    /// Whether the client gets other bytes than the provider sends.
    pub fn edits(self) -> bool {
        self.renamed || self.hide_usage
    }
}

/// The edited body; `None` if it goes as it came.
pub fn body(x: &Exchange<'_>, provider: &Provider, candidate: &Candidate, model: &str) -> (Bypass, Option<Vec<u8>>) {
    let mut splice = Splice::new();
    let renamed = model != x.model.asked;
    if renamed {
        splice.replace(x.model.value.clone(), splice::quoted(model));
    }
    let hide_usage = asks_for_usage(x, provider, candidate);
    if hide_usage {
        splice.ask_usage(x.body(), x.wants.stream_options.clone());
    }
    if candidate.reach.thinking_tools == ThinkingTools::Unthinking
        && let (true, None) = peek::tools_and_effort(x.body())
    {
        splice.put_first(x.body(), br#""reasoning_effort":"none""#);
    }
    guard::cut(x.relay.format, x.body(), &mut splice);
    let edited = (!splice.is_empty()).then(|| {
        let mut edited = Vec::new();
        splice.apply(x.body(), &mut edited);
        edited
    });
    (Bypass { renamed, hide_usage }, edited)
}

/// Chat streams tell their usage only to those who ask.
fn asks_for_usage(x: &Exchange<'_>, provider: &Provider, candidate: &Candidate) -> bool {
    x.stream
        && !x.wants.include_usage
        && x.relay.format == Format::Chat
        && x.relay.upstream == "/chat/completions"
        && candidate.reach.caps.stream_usage
        && !provider.dialect.quirks.has(Quirk::NoStreamUsage)
}
