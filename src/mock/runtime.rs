//! One monoio runtime for one thread: io_uring where the kernel lets us, epoll elsewhere.

use std::io;

use monoio::time::TimeDriver;
use monoio::{FusionDriver, FusionRuntime, IoUringDriver, LegacyDriver, RuntimeBuilder};

pub type Runtime = FusionRuntime<TimeDriver<IoUringDriver>, TimeDriver<LegacyDriver>>;

/// monoio's least. Rings are charged to the locked memory of an unprivileged user, and there is one for each worker.
const ENTRIES: u32 = 256;

/// Tries the ring without interrupts for completions (kernel 5.19; it makes io_uring as cheap as epoll), then the plain one, then epoll.
///
/// monoio's own detection does not suffice: it tries a ring of two entries, and a larger one may still be refused.
pub fn build() -> io::Result<Runtime> {
    let mut cooperative = io_uring::IoUring::builder();
    cooperative.setup_coop_taskrun();
    let builder = || RuntimeBuilder::<FusionDriver>::new().with_entries(ENTRIES);
    builder()
        .uring_builder(cooperative)
        .enable_timer()
        .build()
        .or_else(|_| builder().enable_timer().build())
        .or_else(|_| RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().map(Into::into))
}
