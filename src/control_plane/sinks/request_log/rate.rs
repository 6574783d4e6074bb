//! Limits the rows of a second, failures first.

/// Room is reserved for failures: as many rows as there were failures in the last second, and at
/// least a tenth.
#[derive(Debug)]
pub(super) struct Rate {
    limit: usize,
    second: u64,
    taken: usize,
    failures: usize,
    kept_free: usize,
}

impl Rate {
    pub(super) fn new(limit: usize) -> Rate {
        Rate { limit, second: 0, taken: 0, failures: 0, kept_free: limit / 10 }
    }

    /// Returns whether a row may be written in this second. Seconds may count from any moment.
    pub(super) fn allows(&mut self, second: u64, failed: bool) -> bool {
        if second != self.second {
            let before = if second == self.second + 1 { self.failures } else { 0 };
            let kept_free = before.clamp(self.limit / 10, self.limit);
            *self = Rate { limit: self.limit, second, taken: 0, failures: 0, kept_free };
        }
        self.failures += usize::from(failed);
        let budget = if failed { self.limit } else { self.limit - self.kept_free };
        let fits = self.taken < budget;
        self.taken += usize::from(fits);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_find_room() {
        let mut rate = Rate::new(100);
        // 1000 requests a second, the last 20 of each failed.
        let mut second = |second| {
            let mut kept = [0, 0];
            for n in 0..1000 {
                let failed = n >= 980;
                kept[usize::from(failed)] += usize::from(rate.allows(second, failed));
            }
            kept
        };
        assert_eq!(second(0), [90, 10]);
        assert_eq!(second(1), [80, 20]);
        assert_eq!(second(9), [90, 10], "long ago");
        let mut one = Rate::new(1);
        assert!(one.allows(0, false) && !one.allows(0, true) && one.allows(1, true));
    }
}
