//! Streams and requests from one format to another, in all six directions, beside a copy of the
//! same bytes.
//!
//! `cargo bench --bench translate` prints the figures in `docs/internals/performance.md`. A read is
//! 16 KiB, as on a connection, and what was written is taken away after each. `copy` finds the end
//! of each event with memchr and appends the event to a buffer: the least that anything does which
//! looks at events.

#![allow(clippy::expect_used)]

mod samples;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_wire::Format;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate;
use samples::{Deltas, Stream};

const READ: usize = 16 << 10;

fn streams(c: &mut Criterion) {
    for deltas in [Deltas::Text, Deltas::Args] {
        for provider in Format::ALL {
            let stream = Stream::of(provider, deltas).with(4000);
            let mut group = c.benchmark_group(format!("{}/{provider}", deltas.name()));
            group.throughput(Throughput::Bytes(stream.len() as u64));
            group.bench_function("copy", |b| {
                let mut out = Vec::with_capacity(4 * READ);
                b.iter(|| black_box(&stream).chunks(READ).map(|read| copy(read, &mut out)).sum::<usize>());
            });
            for client in Format::ALL.into_iter().filter(|client| *client != provider) {
                group.bench_function(format!("to_{client}"), |b| {
                    let mut out = Vec::with_capacity(4 * READ);
                    b.iter(|| translated(provider, client, black_box(&stream), &mut out));
                });
            }
            group.finish();
        }
    }
}

fn copy(read: &[u8], out: &mut Vec<u8>) -> usize {
    out.clear();
    let mut from = 0;
    for end in memchr::memchr_iter(b'\n', read).filter(|at| read[..*at].ends_with(b"\n")) {
        out.extend_from_slice(&read[from..=end]);
        from = end + 1;
    }
    out.extend_from_slice(&read[from..]);
    black_box(out.len())
}

fn translated(provider: Format, client: Format, stream: &[u8], out: &mut Vec<u8>) -> usize {
    let (mut translator, mut framer, mut written) = (samples::translator(provider, client), Framer::default(), 0);
    for mut read in stream.chunks(READ) {
        out.clear();
        while let Ok(Some(block)) = framer.next(&mut read) {
            if let Some(frame) = block.frame {
                translator.frame(frame, out).expect("a good stream");
            }
        }
        written += black_box(out.len());
    }
    written
}

fn requests(c: &mut Criterion) {
    for client in Format::ALL {
        let body = samples::conversation(client);
        let mut group = c.benchmark_group(format!("request/{client}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("copy", |b| {
            let mut out = Vec::with_capacity(2 * body.len());
            b.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(&body));
                out.len()
            });
        });
        for provider in Format::ALL.into_iter().filter(|provider| *provider != client) {
            let (host, model) = match provider {
                Format::Chat | Format::Responses => (Host::OpenAi, "gpt-5.2"),
                Format::Messages => (Host::Anthropic, "claude-opus-5"),
            };
            let target = Target::new(provider, host, model, "p", &Overrides::default());
            group.bench_function(format!("to_{provider}"), |b| {
                let cx = Context::new(target, "asked");
                b.iter(|| translate::request(client, black_box(&body), &cx).expect("a good request").body.len());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, streams, requests);
criterion_main!(benches);
