//! Walking JSON where it lies: a request with a long history, one of many small values, and an
//! answer in pieces.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_wire::json::stream::Document;
use llm_wire::json::{RawStr, scan, write};
use llm_wire::passthrough::peek::peek;

/// A chat request of about `size` bytes whose messages hold `text`.
fn request(size: usize, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.str("model", "gpt-x");
        o.bool("stream", true);
        o.array("messages", |a| {
            for _ in 0..(size / (text.len() + 30)).max(1) {
                a.object(|o| {
                    o.str("role", "user");
                    o.str("content", text);
                });
            }
        });
    });
    out
}

fn scanning(c: &mut Criterion) {
    let prose = "Long strings are what bodies are made of; now and then \"a quotation\".\n".repeat(30);
    let cases = [
        ("image_1m", request(1 << 20, &"QUJDREVGR0hJSktM".repeat(1 << 16))),
        ("prose_100k", request(100 << 10, &prose)),
        ("short_10k", request(10 << 10, "hi there")),
    ];
    for (name, body) in &cases {
        let mut group = c.benchmark_group(format!("json/{name}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("validate", |b| b.iter(|| scan::validate(black_box(body))));
        group.bench_function("peek", |b| b.iter(|| peek(black_box(body)).map(|seen| seen.stream)));
        group.bench_function("serde_json_ignored", |b| {
            b.iter(|| serde_json::from_slice::<serde::de::IgnoredAny>(black_box(body)).is_ok())
        });
        group.bench_function("document_in_16k", |b| {
            let mut out = Vec::with_capacity(body.len() + 100);
            b.iter(|| {
                out.clear();
                let mut doc = Document::new(&["usage"], 16 << 10).replace_model("other");
                for piece in black_box(body).chunks(16 << 10) {
                    doc.feed(piece, &mut out);
                }
                doc.finish(&mut out);
                out.len()
            })
        });
        group.finish();
    }
}

fn strings(c: &mut Criterion) {
    let prose = "Long strings are what bodies are made of; now and then \"a quotation\".\n".repeat(100);
    let mut escaped = Vec::new();
    write::escaped(&mut escaped, &prose);
    let mut group = c.benchmark_group("json/string");
    group.throughput(Throughput::Bytes(prose.len() as u64));
    let mut out = Vec::with_capacity(2 * prose.len());
    group.bench_function("escape", |b| {
        b.iter(|| {
            out.clear();
            write::string(&mut out, black_box(&prose));
            out.len()
        })
    });
    group.bench_function("unescape", |b| {
        b.iter(|| {
            out.clear();
            RawStr::new(black_box(&escaped)).unescape_into(&mut out);
            out.len()
        })
    });
    group.finish();
}

criterion_group!(benches, scanning, strings);
criterion_main!(benches);
