//! `llm-proxy demo`: a server with a mock provider and a key, nothing kept.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::failure::Failure;
use super::gateway::Gateway;
use super::signals::Signals;
use super::{demo_data, key, logging, print, store};
use crate::config::boot::{Boot, Environment};
use crate::config::rows::{CredentialRow, ProviderRow};
use crate::control_plane::store::blocking::Blocking;
use llm_mock::{Knobs, MockOptions};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port to listen on; 0 takes any free port [env: PORT] [default: 18000]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Number of worker threads; 0 is one for each available core
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
}

/// Requests per second that the demo's key may make: enough to play, and the headers show it.
const RATE: i64 = 100;

/// Runs `llm-proxy demo` until the process gets a signal.
pub fn run(args: &Args) -> Result<(), Failure> {
    let port = match args.port {
        Some(port) => port,
        None => store::port(&Environment::of_process().0)?,
    };
    let temporary = Temporary::new()?;
    let (key, admin_key) = (key::generate()?, key::generate()?);
    let boot = Boot {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port,
        workers: args.workers,
        data_dir: temporary.0.clone(),
        admin_key: Some(admin_key.clone().into()),
        is_demo: true,
        log_level: tracing_subscriber::filter::LevelFilter::WARN,
        ..Boot::default()
    };
    logging::start(&boot);
    let upstream = llm_mock::start(MockOptions {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 1,
        defaults: Knobs::default(),
    })
    .map_err(|error| Failure::failed(format!("the mock provider can't start: {error}")))?;
    let store = Blocking::embedded(&boot.data_dir)?;
    store.add_provider(&provider(format!("{}/v1", upstream.url())))?;
    store.create_credential(&credential(&key))?;
    demo_data::fill(&store, now())?;
    let gateway = Gateway::start(boot, store.store(), Environment::default())?;
    let mut signals = Signals::watch()?;
    introduce(&gateway.url(), &key, &admin_key)?;
    signals.wait_for_stop();
    signals.end_at_the_next();
    gateway.stop();
    Ok(())
}

/// Returns seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// The mock speaks every format, so that nothing of the demo is translated.
fn provider(base: String) -> ProviderRow {
    ProviderRow {
        provider_key: "mock".into(),
        provider_type: "openai".into(),
        api_base: base,
        api_key: "sk-mock".to_owned().into(),
        model_mapping: "{}".into(),
        weight: 1,
        provider_params: r#"{"formats":["chat","messages","responses"]}"#.into(),
        is_enabled: true,
        ..ProviderRow::default()
    }
}

fn credential(key: &str) -> CredentialRow {
    CredentialRow {
        credential_key: key::hash(key),
        name: "demo".into(),
        allowed_models: "[]".into(),
        rate_limit: Some(RATE),
        is_enabled: true,
        ..CredentialRow::default()
    }
}

/// Prints lines that scripts read (`key:`, `admin key:`, `listening:`), then commands for people.
fn introduce(url: &str, key: &str, admin_key: &str) -> Result<(), Failure> {
    print::line(&format!(
        "\
key: {key}
admin key: {admin_key}
listening: {url}

A mock provider stands behind this gateway; nothing is kept when it ends. Try:

# OpenAI Chat Completions
curl -s {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
  -d '{{\"model\":\"demo\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

# Anthropic Messages
curl -s {url}/v1/messages -H 'x-api-key: {key}' -H 'anthropic-version: 2023-06-01' \\
  -d '{{\"model\":\"demo\",\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

# OpenAI Responses
curl -s {url}/v1/responses -H 'Authorization: Bearer {key}' \\
  -d '{{\"model\":\"demo\",\"input\":\"Hello\"}}'

# a stream, an event each 50 ms
curl -sN {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
  -d '{{\"model\":\"demo-mock-interval-50\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

# the page of the gateway, with three days of made-up requests to look at
{url}/ui/sign-in#{admin_key}

Press Ctrl-C to end."
    ))
}

/// A directory that this run alone uses and removes at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Temporary, Failure> {
        let name = format!("llm-proxy-demo-{}-{}", std::process::id(), &key::generate()?[3..11]);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| {
            Failure::failed(format!(
                "the directory {} can't be made: {error}; let TMPDIR be a directory that this user may write to",
                path.display()
            ))
        })?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
