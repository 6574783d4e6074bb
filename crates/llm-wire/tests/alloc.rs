//! A delta costs no allocation: counted, in all six directions.
//!
//! Its own binary, since the allocator counts. What may grow is what the answer itself holds: the
//! Responses encoder keeps the text for its `done` events, and reasoning is kept for its envelope.
//! Such a buffer doubles now and then; nothing is paid per delta.

// An allocator is `unsafe` by its trait.
#![allow(unsafe_code, clippy::unwrap_used)]

#[path = "../benches/samples/mod.rs"]
mod samples;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use llm_wire::sse::Framer;
use llm_wire::translate::Translator;
use samples::{Deltas, Stream};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count() {
        // No counter any more: the thread is at its end.
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
    }
}

// SAFETY: every call goes to `System` as it came; the counter is a plain cell of this thread and
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations while a translator takes `stream` in reads of 16 KiB.
fn allocations(translator: &mut Translator, framer: &mut Framer, stream: &[u8], out: &mut Vec<u8>) -> u64 {
    let before = ALLOCATIONS.get();
    for mut read in stream.chunks(16 << 10) {
        out.clear();
        while let Some(block) = framer.next(&mut read).unwrap() {
            if let Some(frame) = block.frame {
                translator.frame(frame, out).unwrap();
            }
        }
    }
    ALLOCATIONS.get() - before
}

#[test]
fn a_delta_costs_no_allocation() {
    const WARM: usize = 200;
    const COUNTED: usize = 2000;
    // From 200 deltas to 2200 a buffer doubles four times at most; no direction has more than two
    // that grow.
    const DOUBLINGS: u64 = 8;
    let mut report = Vec::new();
    for deltas in Deltas::ALL {
        for (provider, client) in samples::directions() {
            let stream = Stream::of(provider, deltas);
            let (mut translator, mut framer) = (samples::translator(provider, client), Framer::default());
            let mut out = Vec::with_capacity(1 << 20);
            let begun = [stream.head.as_str(), &stream.delta.repeat(WARM)].concat();
            allocations(&mut translator, &mut framer, begun.as_bytes(), &mut out);
            let many = stream.delta.repeat(COUNTED).into_bytes();
            let counted = allocations(&mut translator, &mut framer, &many, &mut out);
            report.push(format!("{provider} to {client}, {}: {counted} in {COUNTED} deltas", deltas.name()));
            if counted > DOUBLINGS {
                report.push("  too many".to_owned());
            }
            allocations(&mut translator, &mut framer, stream.tail.as_bytes(), &mut out);
            translator.end(&mut out).unwrap();
            assert!(translator.failure().is_none() && !out.is_empty());
        }
    }
    assert!(!report.iter().any(|line| line == "  too many"), "{}", report.join("\n"));
    println!("{}", report.join("\n"));
}
