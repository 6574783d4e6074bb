//! `llm-proxy translate request|response|stream|batch`: translation by itself, for people who look
//! for a mistake in it.
//!
//! Nothing is sent anywhere. What the gateway would tell in headers and counters goes to stderr,
//! one line each.

mod batch;
mod job;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use self::job::{Job, JobKind, JobResult};
use super::failure::Failure;
use super::print;
use llm_wire::Format;
use llm_wire::target::quirks::Host;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Translate a client's request from standard input into the provider's format
    Request {
        #[command(flatten)]
        pair: Pair,
        /// Fail when the provider's format cannot express a field
        #[arg(long)]
        strict: bool,
    },
    /// Translate a provider's whole response from standard input into the client's format
    Response {
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        answer: Answer,
        /// Status of the response
        #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u16).range(100..=599))]
        status: u16,
    },
    /// Translate a provider's server-sent events from standard input into the client's format
    Stream {
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        answer: Answer,
    },
    /// Translate many bodies: a JSON object on each line of standard input, and one for each on
    /// standard output
    #[command(after_help = batch::HELP)]
    Batch,
}

#[derive(Debug, clap::Args)]
struct Pair {
    /// Format of the input: chat, messages or responses
    #[arg(long, value_name = "FORMAT")]
    from: Format,
    /// Format of the output: chat, messages or responses
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// The provider's name of the model [default: the model of the client's request]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Who runs the provider, such as openai, deepseek or vllm, which decides its capabilities and
    /// quirks [default: openai or anthropic, by format]
    #[arg(long, value_name = "HOST", value_parser = job::host)]
    host: Option<Host>,
}

#[derive(Debug, clap::Args)]
struct Answer {
    /// File with the client's request in the format of `--to`; a response repeats parts of it and
    /// refers to its tools
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Form of the output [default: the form of the input]
    #[arg(long, value_name = "whole|stream")]
    out: Option<job::OutputForm>,
}

/// Runs a translation. The exit code is 1 as well where the response is an error, which is on
/// stdout as the client would get it.
pub fn run(args: Args) -> Result<ExitCode, Failure> {
    let (what, pair, answer, strict) = match args.command {
        Command::Request { pair, strict } => (JobKind::Request, pair, None, strict),
        Command::Response { pair, answer, status } => (JobKind::Response { status }, pair, Some(answer), false),
        Command::Stream { pair, answer } => (JobKind::Stream, pair, Some(answer), false),
        Command::Batch => return batch::run(),
    };
    let request = match answer.as_ref().and_then(|answer| answer.request.as_ref()) {
        Some(path) => {
            let read = std::fs::read(path);
            Some(read.map_err(|error| Failure::failed(format!("{} cannot be read: {error}", path.display())))?)
        }
        None => None,
    };
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body).map_err(|error| Failure::failed(format!("stdin cannot be read: {error}")))?;
    let job = Job {
        what,
        from: pair.from,
        to: pair.to,
        model: pair.model.as_deref(),
        host: pair.host,
        strict,
        out: answer.and_then(|answer| answer.out),
        request: request.as_deref(),
        body: &body,
    };
    let done = job.run();
    remark(&done);
    write(&done.body)?;
    Ok(if done.error.is_some() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Prints to stderr what would go into headers, counters and the log.
fn remark(done: &JobResult) {
    for loss in &done.losses {
        print::note(loss.how.label(), &format!("{} ({})", loss.field, loss.why));
    }
    for (name, times, why) in &done.repairs {
        print::note("repaired", &format!("{name}={times} ({why})"));
    }
    for (name, times) in &done.notes {
        print::note("note", &format!("{name}={times}"));
    }
    for (name, value) in &done.headers {
        print::note("header", &format!("{name}: {value}"));
    }
    if let Some(error) = &done.error {
        print::note("error", &format!("{} {}", done.status, error));
    }
}

/// Writes the body as it is, and a line break if it does not end in one.
fn write(body: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end: &[u8] = if body.ends_with(b"\n") { b"" } else { b"\n" };
    match out.write_all(body).and_then(|()| out.write_all(end)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
