//! `llm-proxy mock`: a provider without a model.

use super::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 18001)]
    pub port: u16,
    /// Worker threads; 0 is one per available core
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
}

pub fn run(_args: &Args) -> Result<(), Failure> {
    Err(Failure::failed("mock is not built yet"))
}
