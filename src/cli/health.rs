//! `llm-proxy health`: whether a gateway should be sent requests, for the health check of a
//! container.

use super::failure::Failure;
use super::{port_owner, print};
use crate::cli::admin_client;
use crate::config::boot::{Boot, Environment};
use crate::tls;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// URL of the gateway [default: a gateway on this host with the settings of this environment]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Fails, with the reason, unless `/health/ready` reports success.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (environment, _) = Environment::of_process();
    let (boot, _) = Boot::from(&[], &environment)?;
    let url = args.url.clone().unwrap_or_else(|| port_owner::url(&boot));
    // Here, what is asked is this host itself: its certificate has another name.
    let insecure = args.url.is_none() || !boot.verify_ssl;
    let trust = tls::Trust { insecure, extra_roots: boot.ssl_cert_file.as_deref() };
    let (tls, _) = tls::client_config(&trust).map_err(Failure::failed)?;
    print::line(&admin_client::ready(&url, &tls).map_err(Failure::failed)?)
}
