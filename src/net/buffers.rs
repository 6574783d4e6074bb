//! Buffers of one worker that were used and will be used again: to pop one from a list costs a
//! tenth of an allocation of that size.
//!
//! A buffer is taken for a read or a message and given back by whoever drops it. To forget that is
//! no leak: the buffer is freed. Buffers of other sizes are allocated and freed as usual.

use std::cell::RefCell;

/// Bytes of the read of a stream that waits for one event at a time.
pub const TINY: usize = 512;
/// Bytes of a small read. It holds most request heads with their body.
pub const SMALL: usize = 1536;
/// Bytes of a large read.
pub const LARGE: usize = 16 << 10;

/// The capacities of the buffers that are kept, in bytes. The one before the last is for messages
/// that are put together.
const SIZES: [usize; 4] = [TINY, SMALL, 4 << 10, LARGE];

/// Buffers of each size that a worker keeps: some 700 KB in all.
const MAX_KEPT: usize = 32;

thread_local! {
    static KEPT: RefCell<[Vec<Vec<u8>>; SIZES.len()]> = const { RefCell::new([const { Vec::new() }; SIZES.len()]) };
}

/// Returns an empty buffer with room for `bytes` bytes.
pub fn take(bytes: usize) -> Vec<u8> {
    let Some(size) = SIZES.iter().position(|size| bytes <= *size) else { return Vec::with_capacity(bytes) };
    // There are none while the thread ends.
    let kept = KEPT.try_with(|kept| kept.borrow_mut()[size].pop());
    kept.ok().flatten().unwrap_or_else(|| Vec::with_capacity(SIZES[size]))
}

/// Keeps a buffer that [`take`] has made, and frees others.
pub fn give(mut buf: Vec<u8>) {
    let Some(size) = SIZES.iter().position(|size| buf.capacity() == *size) else { return };
    buf.clear();
    let _ = KEPT.try_with(|kept| {
        let kept = &mut kept.borrow_mut()[size];
        if kept.len() < MAX_KEPT {
            kept.push(buf);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_taken_again() {
        let mut buf = take(3000);
        assert_eq!(buf.capacity(), SIZES[2]);
        buf.extend_from_slice(b"of another request");
        let place = buf.as_ptr();
        give(buf);
        let again = take(4096);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn only_known_sizes_are_kept_and_not_many() {
        give(Vec::with_capacity(5000));
        give(Vec::new());
        assert_eq!(take(LARGE + 1).capacity(), LARGE + 1);
        (0..2 * MAX_KEPT).map(|_| take(1)).collect::<Vec<_>>().into_iter().for_each(give);
        KEPT.with(|kept| assert_eq!(kept.borrow().each_ref().map(Vec::len), [MAX_KEPT, 0, 0, 0]));
    }
}
