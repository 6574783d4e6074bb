//! What all nodes have spent of a budget, as the store has it, and what a node asks of that.

/// What a budget has come to in one window, over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// What was used, and what nodes hold.
    pub taken: i64,
    /// What was used, as far as it was reported.
    pub spent: i64,
    /// Added to the amount for this window alone.
    pub extra: i64,
    /// Counts resets.
    pub epoch: i64,
}

/// What a node asks of the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// `None` if the node does not know it yet.
    pub epoch: Option<i64>,
    pub amount: i64,
    /// What it returns; below zero is what was used beyond all that was taken.
    pub give: i64,
    pub want: i64,
    /// What was used since the last claim.
    pub spent: i64,
}

/// The answer to a [`Claim`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    pub units: i64,
    /// What nobody has taken; below zero if the amount was exceeded or made smaller.
    pub left: i64,
    pub sums: Sums,
}

impl Sums {
    /// Does what a node asks. A claim of before a reset is void.
    pub fn apply(&mut self, claim: &Claim) -> Grant {
        if claim.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Grant { units: 0, left: self.left(claim.amount), sums: *self };
        }
        self.taken = self.taken.saturating_sub(claim.give).max(0);
        self.spent = self.spent.saturating_add(claim.spent).max(0);
        let units = claim.want.clamp(0, self.left(claim.amount).max(0));
        self.taken = self.taken.saturating_add(units);
        Grant { units, left: self.left(claim.amount), sums: *self }
    }

    /// Returns what nobody has taken of `amount`. It is negative if more was taken.
    pub fn left(&self, amount: i64) -> i64 {
        amount.saturating_add(self.extra).saturating_sub(self.taken)
    }
}
