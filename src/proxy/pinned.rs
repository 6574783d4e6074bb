//! Futures that are made in their place on the heap.

use std::pin::Pin;

/// Makes a future in a box. `Box::pin` makes it first and asks for its place then; since that may
/// fail, all of its bytes are moved, of which the future of a request has thousands.
#[inline]
pub(super) fn pinned<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
