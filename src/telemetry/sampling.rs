//! Which requests are told in detail, where not all need be.

use std::cell::Cell;

/// Counts what one core has told in the second that runs.
#[derive(Debug, Default)]
pub struct Sample {
    second: Cell<u64>,
    told: Cell<usize>,
}

impl Sample {
    /// Whether a request of this second, counted from any moment, is among the first `most`.
    pub fn takes(&self, second: u64, most: usize) -> bool {
        if self.second.replace(second) != second {
            self.told.set(0);
        }
        let fits = self.told.get() < most;
        self.told.set(self.told.get() + usize::from(fits));
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_second() {
        let sample = Sample::default();
        let taken = |second| (0..5).filter(|_| sample.takes(second, 2)).count();
        assert_eq!([taken(7), taken(7), taken(8), taken(20)], [2, 0, 2, 2]);
        assert!(!sample.takes(30, 0));
    }
}
