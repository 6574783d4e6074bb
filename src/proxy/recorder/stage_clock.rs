//! The stage clock of one request: one duration for each stage, so that no time is counted twice or
//! left out. Times are nanoseconds on the worker's clock.

use crate::proxy::request_metrics::Measured;
use crate::telemetry::stages::{Stage, Stages};

/// Measures stages. With STAGE_CLOCK off it reads no clock.
pub(super) struct StageClock {
    stages: Stages,
    running: Option<Running>,
}

struct Running {
    /// When the last stage ended.
    stage_began: u64,
    /// When bytes of the upstream arrived last.
    last_read: Option<u64>,
    /// Whether the client got a part of the response.
    wrote: bool,
    measured: Measured,
}

impl StageClock {
    /// Starts at `now`. The first bytes of the head came at `head_began`.
    pub(super) fn start(is_on: bool, head_began: Option<u64>, now: u64) -> StageClock {
        let mut stages = Stages::default();
        stages.add(Stage::HeadRead, head_began.map_or(0, |began| nanoseconds(began, now)));
        let running = Running { stage_began: now, last_read: None, wrote: false, measured: Measured::default() };
        StageClock { stages, running: is_on.then_some(running) }
    }

    /// Ends a stage: the time since the last one ended was its own.
    pub(super) fn end_stage(&mut self, stage: Stage, now: u64) {
        if let Some(running) = &mut self.running {
            self.stages.add(stage, nanoseconds(running.stage_began, now));
            running.stage_began = now;
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Returns when the last stage ended.
    pub(super) fn last_stage_end(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.stage_began)
    }

    /// Notes that the head of a response has arrived.
    pub(super) fn response_began(&mut self, now: u64) {
        self.end_stage(Stage::FirstByte, now);
        if let Some(running) = &mut self.running {
            running.last_read = Some(now);
        }
    }

    /// Notes that bytes of a body have arrived. `has_content` says that the client has content of a
    /// stream: then the longest pause counts.
    pub(super) fn upstream_bytes_arrived(&mut self, has_content: bool, now: u64) {
        if let Some(running) = &mut self.running
            && (has_content || !running.wrote)
        {
            if let Some(before) = running.last_read.filter(|_| has_content) {
                running.measured.gap_ns = running.measured.gap_ns.max(nanoseconds(before, now));
            }
            running.last_read = Some(now);
        }
    }

    /// Notes that bytes go to the client. Returns the time for [`StageClock::write_waited`].
    pub(super) fn write_started(&mut self, now: u64) -> u64 {
        if let Some(running) = &mut self.running
            && !std::mem::replace(&mut running.wrote, true)
            && let Some(read) = running.last_read
        {
            running.measured.after_ns = nanoseconds(read, now);
        }
        now
    }

    /// Notes that the client has taken the bytes after a wait, or has disconnected. The time is not
    /// that of the stage that runs.
    pub(super) fn write_waited(&mut self, started: u64, now: u64) {
        if let Some(running) = &mut self.running {
            let waited = nanoseconds(started, now);
            self.stages.add(Stage::WriteStall, waited);
            running.stage_began += waited;
        }
    }

    /// Returns the stages so far. `None` with STAGE_CLOCK off.
    pub(super) fn stages(&self) -> Option<&Stages> {
        self.running.as_ref().map(|_| &self.stages)
    }

    /// Ends the last stage. Returns all stages, and what was measured beside them.
    pub(super) fn finish(&mut self, now: u64) -> (Stages, Measured) {
        self.end_stage(Stage::LastByte, now);
        (self.stages, self.running.as_ref().map_or_else(Measured::default, |running| running.measured))
    }
}

fn nanoseconds(from: u64, to: u64) -> u64 {
    to.saturating_sub(from)
}
