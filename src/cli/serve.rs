//! `llm-proxy serve`: settings, then the server.

use crate::config::boot::{Boot, Environment, Flag, Warning, table};

use super::Failure;

#[derive(Debug, Default, clap::Args)]
#[command(after_help = table::help())]
pub struct Args {
    /// Address to listen on [HOST]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on [PORT]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Worker threads; 0 is one per available core [WORKERS]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Directory of the embedded store [DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// auto, io_uring or epoll [RUNTIME_DRIVER]
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
}

/// What a server starts from.
#[derive(Debug)]
pub struct Start {
    pub boot: Boot,
    /// Where `api_key` values of the form `env:NAME` are looked up.
    pub environment: Environment,
    /// For the log, once there is one.
    pub warnings: Vec<Warning>,
}

/// Reads flags, environment and `.env`.
pub fn settings(args: &Args) -> Result<Start, Failure> {
    let (environment, mut warnings) = Environment::of_process();
    let (boot, more) = Boot::from(&args.flags(), &environment)?;
    warnings.extend(more);
    Ok(Start { boot, environment, warnings })
}

pub fn run(_start: Start) -> Result<(), Failure> {
    Err(Failure::failed("serve is not built yet"))
}

impl Args {
    fn flags(&self) -> Vec<Flag> {
        let flags = [
            ("--host", "HOST", &self.host),
            ("--port", "PORT", &self.port),
            ("--workers", "WORKERS", &self.workers),
            ("--data-dir", "DATA_DIR", &self.data_dir),
            ("--driver", "RUNTIME_DRIVER", &self.driver),
        ];
        let given =
            |(flag, variable, value): (_, _, &Option<String>)| Some(Flag { flag, variable, value: value.clone()? });
        flags.into_iter().filter_map(given).collect()
    }
}
