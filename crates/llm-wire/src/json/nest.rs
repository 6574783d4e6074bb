//! The arrays and objects that are open around a position.

use super::fault::Fault;

/// Arrays and objects may stand this deep inside one another.
pub(super) const MAX_DEPTH: u32 = u128::BITS;

/// What is open around a position: one bit for each level, set for an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Nest {
    objects: u128,
    depth: u32,
}

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Array,
    Object,
}

impl Nest {
    /// Opens one more. The error says that there are [`MAX_DEPTH`] already.
    pub(super) fn push(&mut self, open: Open) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(open == Open::Object);
        Ok(())
    }

    /// Closes the innermost.
    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
    }

    /// Returns whether the innermost is an object. Not so where nothing is open.
    #[inline]
    pub(super) fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Returns the innermost. `None` where nothing is open.
    pub(super) fn top(&self) -> Option<Open> {
        match self.depth {
            0 => None,
            _ if self.objects & 1 == 1 => Some(Open::Object),
            _ => Some(Open::Array),
        }
    }

    /// Returns how many are open.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }
}
