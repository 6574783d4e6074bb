//! Reads the response of a second attempt as far as it decides the race: a stream to its first
//! content, or an answer to its end, where the client gets it whole.

use std::cell::Cell;
use std::rc::Rc;

use super::hedge_memory::Awaited;
use super::prepare::{Prepared, TransferMode};
use super::relay;
use super::upstream::UpstreamResponse;
use crate::proxy::recorder::Progress;
use crate::shared::body_memory::HeldMemory;
use llm_http::{BodyDecoder, Step};
use llm_wire::Format;
use llm_wire::error::Kind;
use llm_wire::passthrough::tap::{AnyTap, FrameKind};
use llm_wire::sse::Framer;

/// The most bytes of a stream that are read before its first content.
const MAX_BEFORE_CONTENT: usize = 256 << 10;

/// Bytes of an answer which don't count in MAX_BUFFERED_BYTES, as with those of first attempts.
const UNCOUNTED: usize = 16 << 10;
/// An answer is held as it came and without its framing.
const COPIES: usize = 2;

/// What of a response decides the race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    FirstContent,
    /// All of a stream, of which the client gets a whole answer.
    EndOfStream,
    WholeAnswer,
}

/// How the response of a second attempt is read.
pub(super) struct Reading {
    goal: Goal,
    format: Format,
    /// The most bytes that are read.
    most: usize,
    held: HeldMemory,
    progress: Rc<Cell<Progress>>,
}

/// Why a response is no answer.
pub(super) struct Unfit {
    pub(super) kind: Kind,
    /// What the provider did, as the end of a sentence about it.
    pub(super) what: &'static str,
}

impl Unfit {
    const TRUNCATED: Unfit = Unfit { kind: Kind::UpstreamTruncated, what: "closed the connection too early" };
    const MALFORMED: Unfit = Unfit::fault("sent a malformed response");

    const fn fault(what: &'static str) -> Unfit {
        Unfit { kind: Kind::UpstreamFault, what }
    }
}

impl Reading {
    /// Plans to read what a client awaits. `most` bounds a whole answer, and `progress` follows
    /// what has come.
    pub(super) fn new(
        awaited: Awaited,
        prepared: &Prepared,
        (most, held): (usize, HeldMemory),
        progress: Rc<Cell<Progress>>,
    ) -> Reading {
        let goal = match (awaited, &prepared.mode) {
            (Awaited::FirstContent, _) => Goal::FirstContent,
            (Awaited::WholeAnswer, TransferMode::Translated(of)) if of.plan.upstream_stream => Goal::EndOfStream,
            (Awaited::WholeAnswer, _) => Goal::WholeAnswer,
        };
        let most = if goal == Goal::FirstContent { MAX_BEFORE_CONTENT } else { most };
        Reading { goal, format: prepared.format, most, held, progress }
    }

    /// Reads a response under status 200. What was read stays in its buffer, behind the head.
    pub(super) async fn run(mut self, response: UpstreamResponse) -> Result<(UpstreamResponse, HeldMemory), Unfit> {
        let is_stream = self.goal != Goal::WholeAnswer;
        if response.is_encoded || response.is_event_stream != is_stream {
            return Err(Unfit::fault(if is_stream { "sent no stream of events" } else { "sent no JSON" }));
        }
        let response = match self.goal {
            Goal::FirstContent | Goal::EndOfStream => self.read_events(response).await?,
            Goal::WholeAnswer => self.read_answer(response).await?,
        };
        Ok((response, self.held))
    }

    async fn read_events(&mut self, mut response: UpstreamResponse) -> Result<UpstreamResponse, Unfit> {
        let (mut decoder, mut position) = (BodyDecoder::new(response.head.framing), response.head.len);
        let (mut framer, mut tap) = (Framer::default(), AnyTap::new(self.format));
        let counts = self.goal == Goal::EndOfStream;
        loop {
            let range = match decoder.next(&response.bytes, &mut position) {
                Ok(Step::Data(range)) => range,
                Ok(Step::More) if self.read_more(&mut response).await? => continue,
                Ok(Step::More | Step::End) if self.goal == Goal::EndOfStream && tap.seen().finished => {
                    return Ok(response);
                }
                Ok(Step::More) => return Err(Unfit::TRUNCATED),
                Ok(Step::End) => {
                    return Err(Unfit { kind: Kind::UpstreamTruncated, what: "ended its stream too early" });
                }
                Err(_) => return Err(Unfit::MALFORMED),
            };
            if counts {
                let more = range.len() as u64;
                self.progress.update(|progress| Progress {
                    answer_bytes: progress.answer_bytes + more,
                    is_stream: true,
                    ..progress
                });
            }
            let mut data = &response.bytes[range];
            while let Some(block) = framer.next(&mut data).map_err(|_| Unfit::MALFORMED)? {
                let Some(frame) = &block.frame else { continue };
                let kind = tap.frame(frame);
                if let Some(usage) = tap.seen().usage {
                    self.progress.update(|progress| Progress { reported: Some(usage), ..progress });
                }
                match (kind, self.goal) {
                    (FrameKind::Error, _) => return Err(Unfit::fault("reported an error")),
                    (FrameKind::End, _) => return Ok(response),
                    (FrameKind::Content | FrameKind::Finish, Goal::FirstContent) => return Ok(response),
                    _ => {}
                }
            }
        }
    }

    async fn read_answer(&mut self, mut response: UpstreamResponse) -> Result<UpstreamResponse, Unfit> {
        let (mut decoder, mut position) = (BodyDecoder::new(response.head.framing), response.head.len);
        let mut body = Vec::new();
        loop {
            match decoder.next(&response.bytes, &mut position) {
                Ok(Step::Data(range)) => {
                    body.extend_from_slice(&response.bytes[range]);
                    self.progress.update(|progress| Progress { answer_bytes: body.len() as u64, ..progress });
                }
                Ok(Step::More) if self.read_more(&mut response).await? => {}
                Ok(Step::More) if decoder.eof().is_ok() => break,
                Ok(Step::More) => return Err(Unfit::TRUNCATED),
                Ok(Step::End) => break,
                Err(_) => return Err(Unfit::MALFORMED),
            }
        }
        match relay::is_answer(self.format, &body) {
            true => Ok(response),
            false => Err(Unfit::fault("sent no answer of a model")),
        }
    }

    /// Reads what comes next. Returns false when the connection has ended.
    async fn read_more(&mut self, response: &mut UpstreamResponse) -> Result<bool, Unfit> {
        let len = response.bytes.len();
        if len > self.most {
            return Err(Unfit::fault(
                "sent more than a second attempt may hold (HOLD_ANSWER_BYTES, or 256 KiB before the content of a stream)",
            ));
        }
        if len > UNCOUNTED && self.held.grow_to(len.next_power_of_two() * COPIES).is_err() {
            let what = "sent an answer for which MAX_BUFFERED_BYTES has no room";
            return Err(Unfit { kind: Kind::Overloaded, what });
        }
        Ok(response.connection.reader.read(&mut response.bytes).await.is_ok_and(|n| n > 0))
    }
}
