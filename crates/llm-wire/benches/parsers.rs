//! The cost of finding a request's model and stream flag: our scan against the parsers that
//! would do it instead.
//!
//! simd-json unescapes in place, so its figure holds the copy that keeps the body for forwarding.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_wire::json::write;
use llm_wire::passthrough::peek::peek;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a router reads.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default)]
    stream: bool,
    #[serde(borrow)]
    messages: &'a RawValue,
}

#[derive(Deserialize)]
struct SimdHead<'a> {
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default)]
    stream: bool,
    #[serde(rename = "messages")]
    _messages: serde::de::IgnoredAny,
}

fn request(messages: usize) -> Vec<u8> {
    let text = "Long strings are what bodies are made of; now and then \"a quotation\" or a line end.\n".repeat(9);
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.str("model", "gpt-x");
        o.array("messages", |a| {
            for _ in 0..messages {
                a.object(|o| {
                    o.str("role", "user");
                    o.str("content", &text);
                });
            }
        });
        o.bool("stream", true);
    });
    out
}

fn parsers(c: &mut Criterion) {
    for (name, messages) in [("1k", 1), ("20k", 25), ("1m", 1250)] {
        let body = request(messages);
        let mut group = c.benchmark_group(format!("parsers/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("peek", |b| b.iter(|| peek(black_box(&body)).map(|seen| seen.stream)));
        group.bench_function("serde_json_raw", |b| {
            b.iter(|| {
                let head: Head<'_> = serde_json::from_slice(black_box(&body)).expect("valid");
                (head.model.len(), head.stream, head.messages.get().len())
            });
        });
        let mut copy = Vec::with_capacity(body.len() + 64);
        group.bench_function("simd_json", |b| {
            b.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(&body));
                let head: SimdHead<'_> = simd_json::from_slice(&mut copy).expect("valid");
                (head.model.len(), head.stream)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, parsers);
criterion_main!(benches);
