//! The command line: what each sub-command takes, and what it starts. One file for each, thin.
//!
//! Exit codes: 0 done, 1 failed, 2 not understood (arguments or settings). Results go to stdout,
//! messages about them to stderr.

pub mod admin_client;
pub mod bench;
mod budget;
pub mod check_config;
pub mod connect;
mod convert;
pub mod demo;
mod demo_data;
mod explain;
mod failure;
pub mod gateway;
mod group;
mod handover;
pub mod health;
pub mod init;
pub mod key;
mod launcher;
mod local_key;
mod logging;
pub mod manual;
pub mod migrate;
pub mod mock;
pub mod model;
mod notify;
mod port_owner;
mod preview;
pub mod prices;
mod print;
mod probe;
pub mod provider;
pub mod reprice;
mod sandbox;
pub mod serve;
mod signals;
mod store;
mod store_lock;
mod terminal;
pub mod transfer;
pub mod translate;
pub mod upgrade;
mod welcome;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

pub use failure::Failure;

/// A gateway between applications and LLM providers: any client format to any provider format.
#[derive(Debug, Parser)]
#[command(name = "llm-proxy", version, args_conflicts_with_subcommands = true, after_help = START)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a sub-command, it serves.
    #[command(flatten)]
    serve: serve::Args,
}

const START: &str = "\
Without a command it serves. To begin:
  llm-proxy demo       with a mock provider, to try it
  llm-proxy init       with a provider of yours

`llm-proxy serve --help` lists all settings.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients; this is the default without a command
    Serve(serve::Args),
    /// Serve with a mock provider and a key, to try the gateway
    Demo(demo::Args),
    /// Set up a provider and a key: asks, checks, writes, and prints the first request
    Init(init::Args),
    /// Run a mock provider, which answers without a model
    Mock(mock::MockArgs),
    /// Add, change, test, list and remove providers
    Provider(provider::Args),
    /// Add, change, list and remove virtual models: names for one or several models
    Model(model::Args),
    /// Print which providers a request would go to, in which order and why, without sending it
    Explain(explain::Args),
    /// Create, list, rotate and revoke the keys of clients
    Key(key::Args),
    /// Create, change, list and remove groups of keys
    Group(group::Args),
    /// Create, change, list, reset and remove budgets
    Budget(budget::Args),
    /// Print the settings of a client, such as an SDK or an agent, for this gateway
    Connect(connect::Args),
    /// Translate a request or a response between formats, without a server
    Translate(translate::Args),
    /// Update the tables of the store, or take updates back
    Migrate(migrate::Args),
    /// Write the store as a configuration file
    Export(transfer::ExportArgs),
    /// Write the providers and credentials of a configuration file into the store
    Import(transfer::ImportArgs),
    /// Print or import the configuration of LiteLLM, and the keys of its database
    ImportLitellm(convert::LiteLlmArgs),
    /// Print or import the configuration of Bifrost
    ImportBifrost(convert::BifrostArgs),
    /// Write a published list of prices into the store
    ImportPrices(prices::Args),
    /// Show what the sums of spend would cost at the prices of now, or write that
    Reprice(reprice::Args),
    /// Have a running gateway replaced by a new process, without a gap
    Upgrade(upgrade::Args),
    /// Measure gateways side by side: rates, latencies, the delay of events
    Bench(bench::Args),
    /// Check whether a gateway is ready, as the health check of a container
    Health(health::Args),
    /// Print what a configuration file, the store or a gateway serves, and every problem of it
    CheckConfig(check_config::Args),
    /// Print a script that completes commands and options in a shell
    Completions(manual::CompletionsArgs),
    /// Write man pages and completions into a directory
    #[command(hide = true)]
    Manual(manual::ManualArgs),
    /// Start the successors of a gateway that may start no program itself
    #[command(hide = true)]
    Launcher(launcher::Args),
    /// Print the version
    Version(migrate::NoArgs),
}

/// Returns the commands and their arguments, for the reference of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the arguments of this process and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version arrive here too. A closed pipe is no error.
            let _ = error.print();
            if let Some(hint) = option_before_command(&error).or_else(|| other_word(&error)) {
                print::note("tip", &hint);
            }
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => report(&failure),
    }
}

/// Says where an option belongs that stands before a command. Those of `serve` are accepted without
/// a command, so `llm-proxy --data-dir DIR key list` reads as an option of `serve` and a command.
fn option_before_command(error: &clap::Error) -> Option<String> {
    let command = error.get(ContextKind::InvalidSubcommand)?;
    error.get(ContextKind::PriorArg).map(|_| format!("options follow the command: `llm-proxy {command} ... OPTION`"))
}

/// Returns the command that other programs have under the name that was typed. The parser itself
/// suggests those that are spelled alike.
fn other_word(error: &clap::Error) -> Option<String> {
    let ContextValue::String(typed) = error.get(ContextKind::InvalidSubcommand)? else { return None };
    let (command, what) = match typed.as_str() {
        "start" | "run" | "up" | "launch" | "proxy" | "gateway" => ("serve", "starts the gateway"),
        "setup" | "configure" | "config" | "new" => ("init", "sets up a provider and a key"),
        "status" | "ping" => ("health", "reports whether a gateway is ready"),
        "try" | "test" => ("demo", "serves with a mock provider"),
        _ => return None,
    };
    Some(format!("`llm-proxy {command}` {what}"))
}

/// Prints why a command failed, and returns its exit code.
fn report(failure: &Failure) -> ExitCode {
    let (code, lines) = match failure {
        Failure::Usage(lines) => (2, lines.as_slice()),
        Failure::Failed(line) => (1, std::slice::from_ref(line)),
    };
    for line in lines {
        print::note("error", line);
    }
    ExitCode::from(code)
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if cli.command.is_none() && !cli.serve.has_flags() && welcome::show()? {
        return Ok(ExitCode::SUCCESS);
    }
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => {
            let start = serve::settings(&args)?;
            serve::run(start)
        }
        Command::Demo(args) => demo::run(&args),
        Command::Init(args) => init::run(args),
        Command::Mock(args) => mock::run(args),
        Command::Provider(args) => provider::run(args),
        Command::Model(args) => model::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Key(args) => key::run(args),
        Command::Group(args) => group::run(args),
        Command::Budget(args) => budget::run(args),
        Command::Translate(args) => return translate::run(args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Export(args) => transfer::export(&args),
        Command::Import(args) => transfer::import(&args),
        Command::ImportLitellm(args) => convert::litellm(&args),
        Command::ImportBifrost(args) => convert::bifrost(&args),
        Command::Connect(args) => connect::run(&args),
        Command::ImportPrices(args) => prices::run(&args),
        Command::Reprice(args) => reprice::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Health(args) => health::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Manual(args) => manual::run(&args, &Cli::command()),
        Command::Launcher(args) => launcher::run(&args),
        Command::Version(migrate::NoArgs {}) => print::line(&format!("llm-proxy {}", env!("CARGO_PKG_VERSION"))),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_alone_serve() {
        for line in [&["llm-proxy"][..], &["llm-proxy", "--port", "1"], &["llm-proxy", "serve", "--port", "1"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(matches!(cli.command.unwrap_or(Command::Serve(cli.serve)), Command::Serve(_)), "{line:?}");
        }
        assert!(Cli::try_parse_from(["llm-proxy", "--port", "1", "version"]).is_err());
    }

    #[test]
    fn an_option_before_a_command_is_explained() {
        let hint = |line: &[&str]| option_before_command(&Cli::try_parse_from(line).unwrap_err());
        let expected = "options follow the command: `llm-proxy key ... OPTION`";
        assert_eq!(hint(&["llm-proxy", "--data-dir", "x", "key", "list"]).as_deref(), Some(expected));
        assert_eq!(hint(&["llm-proxy", "kez", "list"]), None);
        assert_eq!(hint(&["llm-proxy", "key", "list", "--nonsense"]), None);
    }

    #[test]
    fn words_of_other_programs_are_known() {
        let hint = |line: &[&str]| other_word(&Cli::try_parse_from(line).unwrap_err());
        assert_eq!(hint(&["llm-proxy", "start"]).as_deref(), Some("`llm-proxy serve` starts the gateway"));
        assert_eq!(hint(&["llm-proxy", "nonsense"]), None);
    }
}
