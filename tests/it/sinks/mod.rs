//! Sinks of the real binary: files of lines and Langfuse, each also with its destination out of
//! order.

mod cost;
mod crash;
mod disk;
mod jsonl;
pub mod langfuse;
mod outages;
mod rotation;
mod schema;

use std::path::{Path, PathBuf};

use llm_wire::json::RawValue;
use serde_json::Value;

use super::support::sample::Sample;
use super::support::*;

pub const FORMATS: [&Sample; 3] = [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES];

/// A provider that answers each request as its format does, as a stream if asked for one.
fn speaker(sample: &'static Sample) -> Fake {
    Fake::answering(move |request| {
        let streams = request.json()["stream"] == true;
        if streams { answer::sse(&sample.events()) } else { answer::json(200, sample.answer) }
    })
}

/// One line of a file.
#[derive(Debug, Clone)]
pub struct Line {
    /// Names of the fields, in their order.
    names: Vec<String>,
    pub is: Value,
}

impl Line {
    fn read(text: &str) -> Line {
        let raw = RawValue::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        let names = raw.members().map(|(name, ..)| name.unescape().into_owned()).collect();
        Line { names, is: serde_json::from_str(text).unwrap() }
    }

    pub fn kind(&self) -> &str {
        self.is["type"].as_str().unwrap()
    }

    /// The texts of a stream in one.
    fn chunks(&self) -> String {
        let chunks = self.is["chunk_sequence"].as_array().unwrap_or_else(|| panic!("no stream: {self:?}"));
        chunks.iter().map(|chunk| chunk.as_str().unwrap()).collect()
    }
}

/// The file of a gateway with nothing but `JSONL_LOG_ENABLED`.
pub fn log_of(gateway: &Gateway) -> PathBuf {
    gateway.data_dir().join("logs/requests.jsonl")
}

/// The lines of the file so far; each must be whole.
fn lines(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // One may be being written.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole].lines().map(Line::read).collect()
}

/// The lines of one request, when its last one is there.
pub fn story(path: &Path, id: &str) -> Vec<Line> {
    let mut found = Vec::new();
    eventually("the line `response` is written", || {
        found = lines(path);
        found.retain(|line| line.is["request_id"] == id);
        found.last().is_some_and(|line| line.kind() == "response")
    });
    found
}

fn kinds(story: &[Line]) -> Vec<&str> {
    story.iter().map(Line::kind).collect()
}

/// Records that a sink has passed on, or lost for a reason.
fn passed(gateway: &Gateway, sink: &str) -> f64 {
    gateway.metric(&format!("llm_proxy_sink_records_total{{sink=\"{sink}\"}}")).unwrap_or_default()
}

fn lost(gateway: &Gateway, sink: &str, reason: &str) -> f64 {
    let series = format!("llm_proxy_sink_records_dropped_total{{sink=\"{sink}\",reason=\"{reason}\"}}");
    gateway.metric(&series).unwrap_or_default()
}
