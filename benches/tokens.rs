//! Counting tokens exactly: texts of several kinds, beside tiktoken-rs given the whole text at
//! once, and a request with its answer.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_proxy::control_plane::records::token_counter::Job;
use llm_proxy::tokens::answer::Answer;
use llm_proxy::tokens::picture::DefaultPicture;
use llm_proxy::tokens::text;
use llm_proxy::tokens::vocabulary::Vocabulary;
use llm_wire::Format;
use tiktoken_rs::o200k_base_singleton;

const PROSE: &str =
    "The gateway moves bytes from here to there; it doesn't look at most of them, and that's why it's fast.\n";

fn texts(c: &mut Criterion) {
    let cases = [
        ("english", PROSE.repeat(1000)),
        ("chinese", "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。寒來暑往，秋收冬藏。".repeat(1000)),
        ("code", "    let found = text.find(&needle[..n + 1]).map_or(0, |at| at * 0x1f); // it's there\n".repeat(1000)),
        ("short", PROSE.repeat(10)),
        ("one_letter", "a".repeat(100_000)),
        ("spaces", " ".repeat(100_000)),
    ];
    for (name, sample) in &cases {
        let mut group = c.benchmark_group(format!("tokens/{name}"));
        group.throughput(Throughput::Bytes(sample.len() as u64)).sample_size(20);
        group.bench_function("count", |b| b.iter(|| text::count(Vocabulary::O200k, black_box(sample))));
        group.bench_function("whole", |b| b.iter(|| o200k_base_singleton().count_ordinary(black_box(sample))));
        group.finish();
    }
}

fn jobs(c: &mut Criterion) {
    let prose = serde_json::to_string(&PROSE.repeat(10)).unwrap_or_default();
    let message = format!(r#"{{"role":"user","content":{prose}}}"#);
    let job = Job {
        model: "gpt-4o".to_owned(),
        format: Format::Chat,
        request: format!(r#"{{"messages":[{}]}}"#, vec![message; 20].join(",")).into_bytes(),
        answer: Answer::Text(PROSE.repeat(4)),
    };
    let mut group = c.benchmark_group("tokens/job_20k");
    group.throughput(Throughput::Bytes((job.request.len() + job.answer.len()) as u64)).sample_size(20);
    group.bench_function("count", |b| b.iter(|| black_box(&job).count(&DefaultPicture::default())));
    group.finish();
}

criterion_group!(benches, texts, jobs);
criterion_main!(benches);
