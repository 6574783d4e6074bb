//! Cutting a stream into events, alone and with a tap, in reads of 16 KiB.

#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use llm_wire::Format;
use llm_wire::passthrough::tap::AnyTap;
use llm_wire::sse::Framer;

const READ: usize = 16 << 10;

/// A stream of `format` of 4000 text deltas, each about 200 bytes long.
fn stream(format: Format) -> String {
    let event = match format {
        Format::Chat => {
            "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1780000000,\"model\":\"gpt-x\",\
             \"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}],\"usage\":null}\n\n"
        }
        Format::Messages => {
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{\"type\":\"text_delta\",\"text\":\" token\"}}\n\n"
        }
        Format::Responses => {
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_0123456789abcdef\",\
             \"output_index\":0,\"content_index\":0,\"delta\":\" token\",\"logprobs\":[],\"sequence_number\":7}\n\n"
        }
    };
    event.repeat(4000)
}

fn framing(c: &mut Criterion) {
    for format in Format::ALL {
        let stream = stream(format);
        let mut group = c.benchmark_group(format!("sse/{format}"));
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function("frame", |b| {
            b.iter(|| {
                let mut framer = Framer::default();
                let mut bytes = 0;
                for mut read in black_box(stream.as_bytes()).chunks(READ) {
                    while let Ok(Some(block)) = framer.next(&mut read) {
                        bytes += block.frame.map_or(0, |frame| frame.data.len());
                    }
                }
                bytes
            })
        });
        group.bench_function("frame_and_tap", |b| {
            b.iter(|| {
                let (mut framer, mut tap) = (Framer::default(), AnyTap::new(format));
                for mut read in black_box(stream.as_bytes()).chunks(READ) {
                    while let Ok(Some(block)) = framer.next(&mut read) {
                        if let Some(frame) = block.frame {
                            black_box(tap.frame(&frame));
                        }
                    }
                }
                tap.seen().parse_errors
            })
        });
        group.finish();
    }
}

criterion_group!(benches, framing);
criterion_main!(benches);
