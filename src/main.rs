//! The `llm-proxy` binary. Everything is in the library; here stand only what a process has one of.

use std::process::ExitCode;

/// Taken for even memory use over long runs with many buffer sizes, not for speed: on the request path hardly anything is allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    llm_proxy::cli::main()
}
