//! Chooses the requests that are captured, where not all need be.

use std::cell::Cell;

/// Counts the requests that one worker has captured in the current second.
#[derive(Debug, Default)]
pub struct Sampler {
    second: Cell<u64>,
    admitted: Cell<usize>,
}

impl Sampler {
    /// Returns whether a request of this second is among the first `max`. Seconds may count from
    /// any moment.
    pub fn admit(&self, second: u64, max: usize) -> bool {
        if self.second.replace(second) != second {
            self.admitted.set(0);
        }
        let fits = self.admitted.get() < max;
        self.admitted.set(self.admitted.get() + usize::from(fits));
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_second() {
        let sampler = Sampler::default();
        let taken = |second| (0..5).filter(|_| sampler.admit(second, 2)).count();
        assert_eq!([taken(7), taken(7), taken(8), taken(20)], [2, 0, 2, 2]);
        assert!(!sampler.admit(30, 0));
    }
}
