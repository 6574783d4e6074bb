//! What a record tells of its ends: what the client got, and what went wrong.

use crate::telemetry::capture::{Attempt, Body, CappedBytes, SharedOrOwned};
use crate::telemetry::record::{Outcome, Record};
use llm_wire::Format;
use llm_wire::error::shape;

/// What the client got. `None` if nothing was kept of it.
pub(crate) fn response(record: &Record) -> Option<&Body> {
    let detail = record.detail.as_ref()?;
    match &detail.response {
        SharedOrOwned::Own(body) => Some(body),
        SharedOrOwned::Same => detail.attempts.last()?.response.as_ref(),
        SharedOrOwned::Absent => None,
    }
}

/// What a provider was sent.
pub(crate) fn request<'a>(record: &'a Record, attempt: &'a Attempt) -> Option<&'a CappedBytes> {
    match &attempt.request {
        SharedOrOwned::Own(cut) => Some(cut),
        SharedOrOwned::Same => record.detail.as_ref()?.body.as_ref(),
        SharedOrOwned::Absent => None,
    }
}

/// What went wrong for the client.
pub(crate) fn failure(record: &Record) -> Option<String> {
    let said = record.detail.as_ref().and_then(|detail| detail.error.as_deref());
    match (record.outcome, said) {
        (Outcome::ClientDisconnected, _) => Some("the client left before the end".to_owned()),
        (_, Some(said)) => Some(said.to_owned()),
        (Outcome::Failed(kind) | Outcome::Truncated(kind), None) => Some(kind.row().label.to_owned()),
        (Outcome::Complete, None) => {
            let format = record.client_format.unwrap_or(Format::Chat);
            refusal(record.status, format, response(record))
        }
    }
}

/// What went wrong at a provider.
pub(crate) fn attempt_failure(attempt: &Attempt) -> Option<String> {
    match &attempt.failure {
        Some((_, said)) => Some(said.to_string()),
        None => refusal(attempt.status, attempt.format, attempt.response.as_ref()),
    }
}

/// The words of an answer with an error's status.
fn refusal(status: u16, format: Format, body: Option<&Body>) -> Option<String> {
    if status < 400 {
        return None;
    }
    let said = body.and_then(|body| shape::read_refusal(format, &body.cut.bytes));
    Some(said.map_or_else(|| format!("status {status}"), |said| said.message.unescape().into_owned()))
}
