//! Memory that the allocator keeps although it is free. It belongs to the process, like the
//! allocator itself, so that it is no part of [`super::ProcessState`].

use std::sync::OnceLock;

static RELEASE: OnceLock<fn()> = OnceLock::new();

/// Sets how unused memory is given back to the system. The first function counts.
pub fn set_release(release: fn()) {
    let _ = RELEASE.set(release);
}

/// Gives back what the calling thread has freed, where the program knows how. It takes
/// milliseconds, so workers don't call it.
pub fn release() {
    if let Some(release) = RELEASE.get() {
        release();
    }
}
