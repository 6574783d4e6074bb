//! What is wrong with a stream of events: of one that went to the client as it came, for the
//! record, and of one that never was a stream.

use super::form::Form;
use super::source::{empty, malformed, truncated};
use crate::telemetry::record::StreamDefect;
use llm_wire::error::Error;
use llm_wire::passthrough::tap::Observed;

/// Returns what was wrong with a stream that came to its end. Only of a model's response is it
/// known what belongs into it.
pub(super) fn of_stream(seen: &Observed, generates: bool) -> Option<StreamDefect> {
    match seen.parse_errors {
        _ if !generates => None,
        0 if seen.finished && !seen.ended => Some(StreamDefect::NoEndMark),
        0 => None,
        _ => Some(StreamDefect::MalformedEvent),
    }
}

/// Returns the error of a body that ended before it had any content. `form` is what its first bytes
/// showed: a body without any event is no stream that broke off, but none at all.
pub(super) fn of_early_end(form: Option<Form>, provider: &str) -> Error {
    match form {
        None => empty(provider),
        Some(Form::Text) => malformed(provider, "the body is plain text and not a stream of events"),
        Some(Form::Events | Form::Document | Form::Markup) => truncated(provider, "ended its stream"),
    }
}
