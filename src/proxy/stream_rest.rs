//! What the rest of a stream needs that broke off behind its first content, and that another
//! provider may go on with.

use llm_wire::passthrough::continuation::Continuation;
use llm_wire::translate::Translator;

/// How the client got the first part of the stream, and so how the rest follows it.
pub enum StreamRest {
    /// It passed as its provider sent it.
    Passed(Box<Continuation>),
    /// It was translated. The translator goes on with another provider.
    Translated(Box<Translator>),
}

impl StreamRest {
    /// Returns the text that the client has, as it stands in JSON strings.
    pub fn text(&self) -> &[u8] {
        match self {
            StreamRest::Passed(continuation) => continuation.text(),
            StreamRest::Translated(translator) => translator.text(),
        }
    }

    /// Returns what fits the events of a stream of the client's own format, where that is possible
    /// without a translation.
    pub fn fitting(&self) -> Option<&Continuation> {
        match self {
            StreamRest::Passed(continuation) if continuation.can_fit_events() => Some(continuation),
            StreamRest::Passed(_) | StreamRest::Translated(_) => None,
        }
    }
}
