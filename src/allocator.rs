//! The allocator of the process.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

use mimalloc::MiMalloc;

/// Every block that mimalloc returns is aligned to a word, in bytes.
const WORD: usize = 8;

#[allow(unsafe_code)]
unsafe extern "C" {
    // From `mimalloc.h`.
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_zalloc(size: usize) -> *mut c_void;
    fn mi_realloc(block: *mut c_void, size: usize) -> *mut c_void;
}

/// mimalloc, without the functions for alignments where none is asked for beyond a word's: those
/// take twice to four times the instructions, and nearly every type is content with a word.
pub(crate) struct Allocator;

// SAFETY: the three functions have the contract of `malloc`, `calloc` and `realloc`: a block of at
// least that size, aligned to a word, or null. What they return is a block of mimalloc's, as that
// of `MiMalloc` is, so that either may free or resize what the other has made.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match layout.align() <= WORD {
            // SAFETY: see above.
            true => unsafe { mi_malloc(layout.size()).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match layout.align() <= WORD {
            // SAFETY: see above.
            true => unsafe { mi_zalloc(layout.size()).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this function.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match layout.align() <= WORD {
            // SAFETY: see above.
            true => unsafe { mi_realloc(block.cast(), size).cast() },
            // SAFETY: the caller keeps the contract of this function.
            false => unsafe { MiMalloc.realloc(block, layout, size) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests of this crate run on it too, so its own blocks are enough.
    #[test]
    fn blocks_have_their_size_and_alignment() {
        for align in [1, 2, 4, 8, 16, 64, 4096] {
            for size in [1, 7, 8, 24, 40, 100, 4097] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not 0, the block is written within its size and freed once
                // with the layout that it has then.
                #[allow(unsafe_code)]
                unsafe {
                    let block = Allocator.alloc_zeroed(layout);
                    assert!(block.addr().is_multiple_of(align) && (0..size).all(|at| block.add(at).read() == 0));
                    block.write_bytes(7, size);
                    let block = Allocator.realloc(block, layout, 3 * size);
                    assert!(block.addr().is_multiple_of(align) && (0..size).all(|at| block.add(at).read() == 7));
                    Allocator.dealloc(block, Layout::from_size_align(3 * size, align).unwrap());
                    let block = Allocator.alloc(layout);
                    assert!(block.addr().is_multiple_of(align));
                    block.write_bytes(7, size);
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }
}
