//! The `llm-proxy` binary. Everything is in the library; here stand only what a process has one of.

#![warn(unreachable_pub)]

mod allocator;
mod memory;
mod static_libc;

use std::process::ExitCode;

/// Taken for even memory use over long runs with many buffer sizes, not for speed: on the request
/// path hardly anything is allocated. Without its huge pages (`no_thp`), which made an idle
/// connection a third and an idle process 11 MiB larger.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    static_libc::restrict_name_services();
    llm_proxy::shared::unused_memory::set_release(memory::release);
    llm_proxy::cli::main()
}
