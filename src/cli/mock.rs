//! `llm-proxy mock`: runs the built-in upstream until it is interrupted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::failure::Failure;
use super::print;
use super::signals::Signals;
use llm_mock::knobs::{MAX_TOKENS, status};
use llm_mock::{Knobs, MockOptions, Selector};

/// Run a mock provider. It answers the OpenAI and Anthropic formats with a fixed text, and fails on
/// request.
///
/// A request changes its own response by instructions in the model name (`mock-429`,
/// `mock-delay-500`, `mock-stall`) or by headers (`x-mock-status: 429`). `GET /__count` returns the
/// numbers of requests so far, `GET /__last` the last request.
#[derive(Debug, Clone, clap::Args)]
pub struct MockArgs {
    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,
    /// Number of threads
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Milliseconds before each response
    #[arg(long, default_value_t = 0)]
    pub delay_ms: u32,
    /// Number of tokens of a text response
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_TOKENS)))]
    pub tokens: Option<u32>,
    /// Milliseconds between the events of a stream
    #[arg(long, default_value_t = 0)]
    pub interval_ms: u32,
    /// Error status that every request is answered with
    #[arg(long, value_parser = status)]
    pub status: Option<u16>,
    /// Fault of every response, by its name (such as `silent`, `half-head`, `flapping`) or as a
    /// status; `NAME:N` is that of the first N. A name that is unknown is answered with all of them
    #[arg(long)]
    pub fault: Option<Selector>,
}

/// Runs until a signal ends it. A shell starts what runs in its background with SIGINT ignored:
/// the signal is handled here all the same.
pub fn run(args: MockArgs) -> Result<(), Failure> {
    let addr = SocketAddr::new(args.host, args.port);
    let mut defaults = Knobs {
        delay_ms: args.delay_ms,
        tokens: args.tokens,
        interval_ms: args.interval_ms,
        status: args.status,
        ..Knobs::default()
    };
    if let Some(selector) = args.fault {
        defaults.select(selector);
    }
    let options = MockOptions { addr, workers: args.workers, defaults };
    let started = llm_mock::start(options);
    let mock = started
        .map_err(|error| Failure::failed(format!("the mock can't listen on {addr}: {error}; choose another --port")))?;
    let mut signals = Signals::watch()?;
    // Standard output is written by lines even into a pipe: scripts wait for this one to get the
    // port.
    print::line(&format!("listening: {}", mock.url()))?;
    print::note(
        "note",
        &format!(
            "it answers in every format and takes any key and any path: `llm-proxy init --vendor openai --base {url}/v1 \
             --api-key any --store embedded` puts it behind a gateway, and with `--vendor anthropic --base {url}` as a \
             provider of Messages",
            url = mock.url()
        ),
    );
    signals.wait_for_stop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MockArgs,
    }

    #[test]
    fn flags() {
        let parse =
            |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.args).map_err(|error| error.to_string());
        let args =
            parse("mock --port 81 --host ::1 --workers 2 --delay-ms 3 --tokens 4 --status 429 --fault stall").unwrap();
        assert_eq!((args.port, args.workers, args.tokens, args.status), (81, 2, Some(4), Some(429)));
        assert_eq!((args.host.to_string().as_str(), args.fault), ("::1", Some("stall".parse().unwrap())));
        assert!(parse("mock --fault fire").unwrap_err().contains("the faults are refused, black-hole"));
        assert!(parse("mock --fault 503:2").is_ok() && parse("mock --fault 503:x").is_err());
        assert!(parse("mock --status 302").is_err() && parse("mock --tokens 1000000").is_err());
    }
}
