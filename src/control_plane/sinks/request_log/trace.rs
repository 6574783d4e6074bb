//! Where the time of a request went, what each attempt came to, and what the translation left out:
//! the column `trace` of `request_logs`.

use serde::Serialize;

use crate::control_plane::records::drain::Directory;
use crate::control_plane::sinks::request_log::shorten;
use crate::telemetry::capture::{Attempt, Detail};
use crate::telemetry::record::{Record, StreamDefect};
use crate::telemetry::stages::Stage;

/// Characters of an attempt's message.
const MESSAGE: usize = 500;

/// Times are in milliseconds since the head of the request, with three decimals.
#[derive(Serialize)]
struct Trace<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptTrace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_defect: Option<&'static str>,
    request_bytes: u64,
    response_bytes: u64,
}

#[derive(Serialize)]
struct StageTime {
    stage: &'static str,
    ms: f64,
}

#[derive(Serialize)]
struct AttemptTrace<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    model: &'a str,
    format: &'static str,
    began_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    ended_ms: f64,
    /// Missing without a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Returns the JSON of the column.
pub(super) fn trace(record: &Record, directory: &Directory) -> Option<String> {
    let detail = record.detail.as_deref();
    let stages = Stage::ALL.into_iter().map(|stage| (stage, record.stages.get(stage))).filter(|(_, ns)| *ns > 0);
    let attempts = detail.map(|detail| detail.attempts.as_slice()).unwrap_or_default();
    let text = |pick: fn(&Detail) -> Option<&str>| detail.and_then(pick);
    let trace = Trace {
        stages: stages.map(|(stage, ns)| StageTime { stage: stage.label(), ms: milliseconds(ns / 1000) }).collect(),
        attempts: attempts.iter().map(|attempt| attempt_trace(record, attempt, directory)).collect(),
        dropped: text(|detail| detail.dropped.as_deref()),
        repaired: text(|detail| detail.repaired.as_deref()),
        finish_reason: record.finish,
        stream_defect: record.stream_defect.map(StreamDefect::label),
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
    };
    serde_json::to_string(&trace).ok()
}

fn attempt_trace<'a>(record: &Record, attempt: &'a Attempt, directory: &'a Directory) -> AttemptTrace<'a> {
    let message = attempt.failure.as_ref().map(|(_, text)| text).or(attempt.provider_message.as_ref());
    // One that was cut off with its request ended with it.
    let ended = if attempt.ended_us > 0 { attempt.ended_us } else { record.total_us };
    AttemptTrace {
        provider: directory.provider(attempt.provider).map(|provider| &*provider.key),
        model: attempt.model.as_str(),
        format: attempt.format.protocol(),
        began_ms: milliseconds(attempt.began_us),
        first_byte_ms: (attempt.first_byte_us > 0).then(|| milliseconds(attempt.first_byte_us)),
        ended_ms: milliseconds(ended),
        status: (attempt.status > 0).then_some(attempt.status),
        error: message.map(|text| shorten::plain(text).chars().take(MESSAGE).collect()),
    }
}

fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}
