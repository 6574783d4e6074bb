//! The outcome of a record: what the client got, and what failed.

use crate::telemetry::capture::{Attempt, Body, CappedBytes, SharedOrOwned};
use crate::telemetry::record::{Outcome, Record};
use llm_wire::Format;
use llm_wire::formats::errors;

/// Returns what the client got. `None` if it was not captured.
pub(crate) fn response(record: &Record) -> Option<&Body> {
    let detail = record.detail.as_ref()?;
    match &detail.response {
        SharedOrOwned::Own(body) => Some(body),
        SharedOrOwned::Same => detail.attempts.last()?.response.as_ref(),
        SharedOrOwned::Absent => None,
    }
}

/// Returns the body that a provider got.
pub(crate) fn request<'a>(record: &'a Record, attempt: &'a Attempt) -> Option<&'a CappedBytes> {
    match &attempt.request {
        SharedOrOwned::Own(cut) => Some(cut),
        SharedOrOwned::Same => record.detail.as_ref()?.body.as_ref(),
        SharedOrOwned::Absent => None,
    }
}

/// Returns the error of the client, if there was one.
pub(crate) fn failure(record: &Record) -> Option<String> {
    let text = record.detail.as_ref().and_then(|detail| detail.error.as_deref());
    match (record.outcome, text) {
        (Outcome::ClientDisconnected, _) => Some("the client left before the end".to_owned()),
        (_, Some(text)) => Some(text.to_owned()),
        (Outcome::Failed(kind) | Outcome::Truncated(kind), None) => Some(kind.row().label.to_owned()),
        (Outcome::Complete, None) => {
            let format = record.client_format.unwrap_or(Format::Chat);
            refusal(record.status, format, response(record))
        }
    }
}

/// Returns the error of an attempt, if it failed.
pub(crate) fn attempt_failure(attempt: &Attempt) -> Option<String> {
    match &attempt.failure {
        Some((_, text)) => Some(text.to_string()),
        None => match &attempt.provider_message {
            Some(message) => Some(message.to_string()),
            None => refusal(attempt.status, attempt.format, attempt.response.as_ref()),
        },
    }
}

/// Returns the message of a response with an error status.
fn refusal(status: u16, format: Format, body: Option<&Body>) -> Option<String> {
    if status < 400 {
        return None;
    }
    let text = body.and_then(|body| errors::read_refusal(format, &body.cut.bytes));
    Some(text.map_or_else(|| format!("status {status}"), |text| text.message.unescape().into_owned()))
}
