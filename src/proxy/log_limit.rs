//! Bounds on log lines that whoever reaches a port can cause, so that nobody fills a disk with
//! them.

use std::cell::Cell;

/// The shortest time between two lines of one kind and worker, in nanoseconds.
const INTERVAL: u64 = 10_000_000_000;

/// The kinds of such lines.
#[derive(Debug, Default)]
pub struct LogLimits {
    pub accept: LogLimit,
    pub admin_key: LogLimit,
    pub body_memory: LogLimit,
}

/// One kind of line.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// When the next line may be written, in nanoseconds of the caller's clock.
    next: Cell<u64>,
    /// Lines that were left out since the last one.
    omitted: Cell<u64>,
}

impl LogLimit {
    /// Returns how many lines were left out before this one; `None` if this one is left out too.
    pub fn permit(&self, now: u64) -> Option<u64> {
        if now < self.next.get() {
            self.omitted.set(self.omitted.get() + 1);
            return None;
        }
        self.next.set(now + INTERVAL);
        Some(self.omitted.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval() {
        let limit = LogLimit::default();
        let found: Vec<_> = [7, 8, 9, 7 + INTERVAL, 8 + INTERVAL].map(|now| limit.permit(now)).into();
        assert_eq!(found, [Some(0), None, None, Some(2), None]);
    }
}
