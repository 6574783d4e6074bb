//! The log of a server: lines for people on a terminal, JSON otherwise, both to stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::boot::Boot;

/// Starts the log. `RUST_LOG` decides what is logged if it is set, else `LOG_LEVEL`.
pub(super) fn start(boot: &Boot) {
    let default = boot.log_level.into();
    let mut filter = EnvFilter::builder().with_default_directive(default).from_env_lossy();
    // The client of PostgreSQL may log parameters at `debug`, and those are keys.
    if let Ok(quiet) = "tokio_postgres=info".parse() {
        filter = filter.add_directive(quiet);
    }
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.with_target(false).init();
    } else {
        log.json().flatten_event(true).init();
    }
}
