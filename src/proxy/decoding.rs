//! Undoes the coding of bodies, of requests and of responses, without keeping a worker from its
//! other connections and within the memory for bodies.

use std::time::Duration;

use super::core::Core;
use crate::net::{self, runtime};
use crate::shared::body_memory::{HeldMemory, MemoryExhausted};
use llm_http::coding::{CodingError, Decoder, Progress};

/// Bytes that are decoded before others have their turn: well below a millisecond.
const SLICE: usize = 64 << 10;
/// Bodies that a worker decodes at a time.
const MAX_DECODING: usize = 4;
/// How often one that waits for its turn looks again.
const POLL: Duration = Duration::from_millis(2);

/// Why a body was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeError {
    Coding(CodingError),
    /// There is no room for the decoded body.
    Memory,
}

impl From<CodingError> for DecodeError {
    fn from(error: CodingError) -> DecodeError {
        DecodeError::Coding(error)
    }
}

impl From<MemoryExhausted> for DecodeError {
    fn from(_: MemoryExhausted) -> DecodeError {
        DecodeError::Memory
    }
}

/// Decodes `body` to at most `limit` bytes. Returns them with the memory that they take.
///
/// It is done in slices, between which other connections of this worker have their turn, and by a
/// few requests of a worker at a time.
pub(super) async fn decode(
    core: &Core,
    codings: &str,
    body: &[u8],
    limit: usize,
) -> Result<(Vec<u8>, Vec<HeldMemory>), DecodeError> {
    let mut decoder = Decoder::new(codings, body, limit)?;
    let _turn = Turn::wait(core).await;
    let mut out = Vec::new();
    let mut held = vec![core.shared.body_memory.hold()];
    let mut slice = 0;
    loop {
        if let Some(memory) = held.last_mut() {
            let more = Decoder::STEP.min(limit - out.len().min(limit));
            memory.reserve(&mut out, more, limit)?;
        }
        match decoder.step(&mut out)? {
            Progress::Finished => return Ok((out, held)),
            Progress::CodingUndone => held.push(core.shared.body_memory.hold()),
            Progress::Unfinished => {}
        }
        slice += Decoder::STEP;
        if slice >= SLICE {
            slice = 0;
            runtime::yield_now().await;
        }
    }
}

/// One of the [`MAX_DECODING`] turns of a worker.
struct Turn<'c>(&'c Core);

impl<'c> Turn<'c> {
    async fn wait(core: &'c Core) -> Turn<'c> {
        while core.decoding.get() >= MAX_DECODING {
            net::sleep(POLL).await;
        }
        core.decoding.set(core.decoding.get() + 1);
        Turn(core)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.decoding.set(self.0.decoding.get() - 1);
    }
}
