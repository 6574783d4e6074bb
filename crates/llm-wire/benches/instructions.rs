//! What `tests/run perf` counts the instructions of: each case a number of times, in one thread,
//! with nothing beside it.
//!
//! `instructions` alone prints the names of the cases; `instructions CASE TIMES` runs one. The
//! difference between two numbers of times is what one run costs: the start of the process and the
//! input cancel out.

#![allow(clippy::expect_used)]

mod samples;

use std::hint::black_box;

use llm_wire::Format;
use llm_wire::passthrough::event_template::EventTemplate;
use llm_wire::passthrough::peek::peek;
use llm_wire::passthrough::tap::AnyTap;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate;
use samples::{Deltas, Stream};

/// Events with text in a stream, as in a short answer.
const DELTAS: usize = 64;
/// Bytes that a connection gives at once.
const READ: usize = 16 << 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    match &args[..] {
        [case, times] => {
            let times: u32 = times.parse().expect("a number of times");
            let mut run = runner(case).expect("a case that `instructions` prints");
            (0..times).for_each(|_| run());
        }
        _ => cases().iter().for_each(|case| println!("{case}")),
    }
}

fn cases() -> Vec<String> {
    let mut cases = Vec::new();
    for format in Format::ALL {
        cases.push(format!("peek/{format}"));
        cases.push(format!("passthrough/{format}"));
    }
    for from in Format::ALL {
        for to in Format::ALL.into_iter().filter(|to| *to != from) {
            cases.push(format!("request/{from}/{to}"));
            cases.push(format!("stream/{from}/{to}"));
        }
    }
    cases
}

fn runner(case: &str) -> Option<Box<dyn FnMut()>> {
    let mut words = case.split('/');
    let kind = words.next()?;
    let from: Format = words.next()?.parse().ok()?;
    let to: Option<Format> = words.next().and_then(|word| word.parse().ok());
    match (kind, to) {
        ("peek", None) => {
            let body = samples::conversation(from);
            Some(Box::new(move || {
                black_box(peek(black_box(&body)).expect("a good request"));
            }))
        }
        ("passthrough", None) => {
            let stream = Stream::of(from, Deltas::Text).with(DELTAS);
            let mut out = Vec::with_capacity(2 * READ);
            Some(Box::new(move || forward(from, black_box(&stream), &mut out)))
        }
        ("request", Some(to)) => {
            let body = samples::conversation(from);
            let (host, model) = match to {
                Format::Messages => (Host::Anthropic, "claude-opus-5"),
                Format::Chat | Format::Responses => (Host::OpenAi, "gpt-5.2"),
            };
            let target = Target::new(to, host, model, "p", &Overrides::default());
            Some(Box::new(move || {
                let cx = Context::new(target, "asked");
                black_box(translate::request(from, black_box(&body), &cx).expect("a good request").body.len());
            }))
        }
        ("stream", Some(to)) => {
            let stream = Stream::of(from, Deltas::Text).with(DELTAS);
            let mut out = Vec::with_capacity(2 * READ);
            Some(Box::new(move || translate(from, to, black_box(&stream), &mut out)))
        }
        _ => None,
    }
}

/// What a relay does with a stream of the client's own format.
fn forward(format: Format, stream: &[u8], out: &mut Vec<u8>) {
    let (mut framer, mut tap, mut template) = (Framer::default(), AnyTap::new(format), EventTemplate::default());
    for mut read in stream.chunks(READ) {
        out.clear();
        loop {
            if framer.pending() == 0 {
                let (known, rest) = read.split_at(template.match_events(read));
                out.extend_from_slice(known);
                read = rest;
            }
            let Some(block) = framer.next(&mut read).expect("short events") else { break };
            if let Some(frame) = &block.frame {
                tap.frame(frame);
                if tap.passed_unread() {
                    template.learn(block.raw);
                }
            }
            out.extend_from_slice(block.raw);
        }
        black_box(&out);
    }
    black_box(tap.seen());
}

fn translate(provider: Format, client: Format, stream: &[u8], out: &mut Vec<u8>) {
    let (mut translator, mut framer) = (samples::translator(provider, client), Framer::default());
    for mut read in stream.chunks(READ) {
        out.clear();
        while let Ok(Some(block)) = framer.next(&mut read) {
            if let Some(frame) = block.frame {
                translator.frame(frame, out).expect("a good stream");
            }
        }
        black_box(&out);
    }
}
