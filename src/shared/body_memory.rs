//! The memory for bodies: what all workers together may hold of them (`MAX_BUFFERED_BYTES`).
//!
//! It is one atomic word. Only bodies that need a buffer of their own count: one that arrives with
//! its head, as most do, is bounded by the size of a read and by the number of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound, and how much of it is used.
#[derive(Debug)]
pub struct BodyMemory {
    used: AtomicUsize,
    limit: usize,
}

impl BodyMemory {
    /// Makes a bound of `limit` bytes for all bodies that are held at one time.
    pub fn new(limit: usize) -> Arc<BodyMemory> {
        Arc::new(BodyMemory { used: AtomicUsize::new(0), limit })
    }

    /// Returns the bytes that are in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the bound in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Begins to hold a body, of which nothing is held yet.
    pub fn hold(self: &Arc<BodyMemory>) -> HeldMemory {
        HeldMemory { memory: self.clone(), bytes: 0 }
    }
}

/// What one body takes of the memory. It is returned when this is dropped.
#[derive(Debug)]
pub struct HeldMemory {
    memory: Arc<BodyMemory>,
    bytes: usize,
}

/// The memory for bodies is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryExhausted;

impl HeldMemory {
    /// Takes more, until `bytes` are held. Nothing changes if there is no room for them.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), MemoryExhausted> {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= self.memory.limit);
        // The word guards no other data, so its order among other accesses does not matter.
        let taken = self.memory.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| MemoryExhausted)?;
        self.bytes += more;
        Ok(())
    }

    /// Makes room in `buf` for `more` bytes and takes the memory for it first. The buffer doubles
    /// as it fills, so that it is copied a few times only, but never beyond `most`.
    pub fn reserve(&mut self, buf: &mut Vec<u8>, more: usize, most: usize) -> Result<(), MemoryExhausted> {
        let needed = buf.len().saturating_add(more);
        if needed <= buf.capacity() {
            return Ok(());
        }
        let capacity = needed.max(buf.capacity().saturating_mul(2).min(most));
        self.grow_to(capacity)?;
        buf.reserve_exact(capacity - buf.len());
        Ok(())
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_returned() {
        let memory = BodyMemory::new(100);
        let (mut one, mut two) = (memory.hold(), memory.hold());
        assert_eq!(one.grow_to(60), Ok(()));
        assert_eq!(one.grow_to(50), Ok(()), "it holds that much already");
        assert_eq!(two.grow_to(41), Err(MemoryExhausted));
        assert_eq!((two.grow_to(40), memory.used()), (Ok(()), 100));
        drop(one);
        assert_eq!((memory.used(), two.grow_to(100)), (40, Ok(())));
        drop(two);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn buffers_double_up_to_their_bound() {
        let memory = BodyMemory::new(100);
        let (mut held, mut buf) = (memory.hold(), Vec::new());
        for (len, expected) in [(10, 10), (11, 20), (21, 40), (41, 50), (50, 50)] {
            let more = len - buf.len();
            held.reserve(&mut buf, more, 50).unwrap();
            buf.resize(len, 0);
            assert_eq!((buf.capacity(), memory.used()), (expected, expected), "{len}");
        }
        assert_eq!(held.reserve(&mut buf, 51, 200), Err(MemoryExhausted));
    }
}
