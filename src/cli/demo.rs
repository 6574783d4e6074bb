//! `llm-proxy demo`: a server with a mock provider and a key, nothing kept.

use super::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 18000)]
    pub port: u16,
    /// Worker threads; 0 is one per available core
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
}

pub fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::failed("demo is not built yet"))
}
