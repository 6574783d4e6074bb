//! `llm-proxy bench`: a load generator that measures targets side by side.
//!
//! | file | duty |
//! |---|---|
//! | `target` | targets and their requests |
//! | `arrivals` | when requests begin |
//! | `connection`, `events` | one request, and what its response says |
//! | `load` | one measurement: a target in one round |
//! | `process` | CPU time and memory of targets |
//! | `histogram`, `report`, `plot` | what was found |

mod arrivals;
mod connection;
mod events;
mod histogram;
mod load;
mod plot;
mod process;
mod report;
mod target;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use self::connection::{Endpoint, Failure as RequestFailure};
use self::load::{Length, Load};
use self::process::TargetProcess;
use self::report::Series;
use self::target::{Content, Format, Header, Target};
use super::failure::Failure;
use super::{admin_client, print};
use crate::tls::{Trust, client_config};

/// Connections of a closed loop.
const CLOSED_CONNECTIONS: usize = 64;
/// The most connections at a constant rate.
const OPEN_CONNECTIONS: usize = 1024;

/// Measure gateways side by side.
///
/// Each round loads the targets one after the other, in an order that turns, so that what else
/// happens on the machine meets all of them. Ratios are those of the same round, their median over
/// the rounds.
///
/// With --rate requests come at a constant rate, whatever the target does, and a latency counts
/// from when the request was due: what waits behind a slow response counts its wait. Without it
/// each connection sends the next request when it has the response of the last one, which measures
/// the highest rate.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Targets; ratios are to the first. MODEL is requested of this target instead of --model
    #[arg(required = true, value_name = "[NAME=]URL[#MODEL]")]
    targets: Vec<Target>,
    /// Format of the requests
    #[arg(long, value_enum, default_value_t = Format::Chat)]
    format: Format,
    /// Request streams
    #[arg(long)]
    stream: bool,
    /// Model to request
    #[arg(long, default_value = "mock")]
    model: String,
    /// Key for all targets
    #[arg(long, env = "BENCH_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Header for all targets, `Name: value`; may be repeated
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<Header>,
    /// Size of the prompt in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 800, conflicts_with = "body",
          value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    prompt_bytes: u32,
    /// File with a body to send instead
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Put a number into each prompt, and count a response as failed that does not repeat it or
    /// repeats another one; for models that repeat their prompt, such as mock-echo
    #[arg(long, conflicts_with = "body")]
    verify: bool,
    /// Requests a second, at a constant rate
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Number of connections, with --rate the most; 64, with --rate 1024
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65535))]
    connections: Option<u32>,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// Number of requests of each measurement, instead of its duration
    #[arg(long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    requests: Option<u64>,
    /// Seconds of load before each measurement
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// How often each target is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds for a response
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// Accept any certificate of targets with https
    #[arg(long)]
    insecure: bool,
    /// Process of a target, whose CPU time and memory, with those of its descendants, are reported;
    /// may be repeated
    #[arg(long = "process", value_name = "NAME=PID")]
    processes: Vec<TargetProcess>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// SVG file to draw the distributions into
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number from 0.01 to 1000000".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a time is a number of seconds from 0 to 3600".to_owned()),
    }
}

/// Runs `llm-proxy bench`.
pub fn run(args: &Args) -> Result<(), Failure> {
    check_names(args)?;
    let endpoints = endpoints(args)?;
    let load = args.load();
    let runtime = admin_client::runtime().map_err(Failure::Failed)?;
    for (target, endpoint) in args.targets.iter().zip(&endpoints) {
        let checked = runtime.block_on(load::check(endpoint, args.timeout));
        checked.map_err(|failure| Failure::failed(unusable(target, &failure)))?;
    }
    let count = endpoints.len();
    let mut all: Vec<Series> =
        args.targets.iter().map(|target| Series { name: target.name.clone(), rounds: Vec::new() }).collect();
    for round in 0..args.rounds as usize {
        // A target that always came behind the same other one would have its after-effects.
        for at in (0..count).map(|at| (at + round) % count) {
            let pid = args.processes.iter().find(|process| process.target == all[at].name).map(|process| process.pid);
            let measured = runtime.block_on(load::measure(&endpoints[at], load, pid));
            let failed = |error| Failure::failed(format!("the generator can't run: {error}"));
            all[at].rounds.push(measured.map_err(failed)?);
        }
    }
    if let Some(path) = &args.plot {
        let written = std::fs::write(path, plot::svg(&args.title(), &all));
        written.map_err(|error| Failure::failed(format!("{}: can't be written: {error}", path.display())))?;
    }
    if args.json {
        print::line(&format!("{:#}", report::json(&all, args.setup())))?;
    } else {
        print::line(&format!("{}\n", args.title()))?;
        report::print(&all)?;
    }
    match all.iter().find(|series| series.total().latency.count() == 0) {
        Some(none) => Err(Failure::failed(format!("{} answered no request", none.name))),
        None => Ok(()),
    }
}

/// Checks that names are unique and that processes belong to targets.
fn check_names(args: &Args) -> Result<(), Failure> {
    let names: Vec<&str> = args.targets.iter().map(|target| target.name.as_str()).collect();
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(Failure::Usage(vec![format!("two targets have the name `{}`; write NAME=URL", twice.1)]));
    }
    match args.processes.iter().find(|process| !names.contains(&process.target.as_str())) {
        Some(process) => Err(Failure::Usage(vec![format!("--process: no target has the name `{}`", process.target)])),
        None => Ok(()),
    }
}

fn endpoints(args: &Args) -> Result<Vec<Rc<Endpoint>>, Failure> {
    let body = args.body.as_ref().map(std::fs::read).transpose();
    let body = body.map_err(|error| Failure::failed(format!("--body can't be read: {error}")))?;
    let tls = match args.targets.iter().any(|target| target.url.tls) {
        true => {
            let extra_roots = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
            let trust = Trust { insecure: args.insecure, extra_roots: extra_roots.as_deref() };
            let (config, warnings) = client_config(&trust).map_err(Failure::Failed)?;
            warnings.iter().for_each(|warning| print::note("warning", warning));
            Some(config)
        }
        false => None,
    };
    let endpoint = |target: &Target| {
        let content = Content {
            format: args.format,
            stream: args.stream,
            model: target.model.as_deref().unwrap_or(&args.model),
            prompt_bytes: args.prompt_bytes as usize,
            verify: args.verify,
            body: body.as_deref(),
            key: args.key.as_deref(),
            headers: &args.headers,
        };
        Ok(Rc::new(Endpoint {
            addr: target.url.resolve()?,
            tls: server_name(target, tls.as_ref())?,
            request: target::request(&target.url, &content),
            verify: args.verify,
            end_mark: args.stream.then(|| args.format.end_mark()),
        }))
    };
    args.targets.iter().map(endpoint).collect::<Result<_, String>>().map_err(Failure::Failed)
}

fn server_name(
    target: &Target,
    config: Option<&Arc<ClientConfig>>,
) -> Result<Option<(ServerName<'static>, Arc<ClientConfig>)>, String> {
    let Some(config) = config.filter(|_| target.url.tls) else { return Ok(None) };
    let host = &target.url.host;
    let name = ServerName::try_from(host.clone()).map_err(|_| format!("`{host}` is no name of a host"))?;
    Ok(Some((name, config.clone())))
}

fn unusable(target: &Target, failure: &RequestFailure) -> String {
    let hint = match failure {
        RequestFailure::Status(401 | 403) => "; is --key right?",
        RequestFailure::Status(404 | 405) => "; is its URL right?",
        RequestFailure::Status(400 | 422) => "; does it serve the model, and is --body right?",
        _ => "",
    };
    format!("nothing was measured, since {} gave no good response: {failure}{hint}", target.name)
}

impl Args {
    fn load(&self) -> Load {
        let connections = if self.rate.is_some() { OPEN_CONNECTIONS } else { CLOSED_CONNECTIONS };
        Load {
            rate: self.rate,
            connections: self.connections.map_or(connections, |n| n as usize),
            warm_up: self.warm_up,
            length: self.requests.map_or(Length::Time(self.duration), Length::Requests),
            timeout: self.timeout,
        }
    }

    /// Returns what is measured, in a line.
    fn title(&self) -> String {
        let load = self.load();
        let what = if self.stream { "streams" } else { "requests" };
        let how = match load.rate {
            Some(rate) => format!("{rate} {what} a second"),
            None => format!("{what} in a closed loop of {} connections", load.connections),
        };
        let rounds = if self.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", self.rounds) };
        match load.length {
            Length::Time(time) => format!("{how}, {rounds} of {} s", time.as_secs_f64()),
            Length::Requests(count) => format!("{how}, {rounds} of {count}"),
        }
    }

    fn setup(&self) -> Value {
        let load = self.load();
        json!({
            "format": format!("{:?}", self.format).to_lowercase(),
            "stream": self.stream,
            "model": self.model,
            "rate": load.rate,
            "connections": load.connections,
            "rounds": self.rounds,
            "seconds": matches!(load.length, Length::Time(_)).then_some(self.duration.as_secs_f64()),
            "requests": self.requests,
            "warm_up_seconds": self.warm_up.as_secs_f64(),
        })
    }
}
