//! `llm-proxy migrate up|down|version|status`.

use clap::Subcommand;

use super::failure::Failure;
use super::print;
use super::store::StoreArgs;
use crate::control_plane::store::schema::{Schema, Status};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply the migrations that are missing; a database of llm-proxy v1 is taken over
    Up(Up),
    /// Revert migrations, the newest first
    Down(Down),
    /// Print the number of the newest migration that was applied
    Version(NoArgs),
    /// List the migrations
    Status(NoArgs),
}

/// A command that takes no arguments.
#[derive(Debug, clap::Args)]
pub(super) struct NoArgs {}

#[derive(Debug, clap::Args)]
struct Up {
    /// Number of the last migration to apply [default: all]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
}

#[derive(Debug, clap::Args)]
struct Down {
    /// Number of the migration that is the newest afterwards; 0 reverts all [default: revert one]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Confirm that the data in the tables and columns of these migrations is lost
    #[arg(long)]
    yes: bool,
}

/// Runs `llm-proxy migrate`.
pub fn run(args: &Args) -> Result<(), Failure> {
    // A running gateway has applied its migrations already, or waits for another process that may.
    args.store.require_local("migrate")?;
    let environment = args.store.environment();
    let schema = Schema::of(&args.store.boot(&environment)?)?;
    match &args.command {
        Command::Up(up) => taken("applied", &schema.up(up.to)?, &schema),
        Command::Down(down) => down.run(&schema),
        Command::Version(NoArgs {}) => print::line(&schema.status()?.version().to_string()),
        Command::Status(NoArgs {}) => status(&schema.status()?),
    }
}

impl Down {
    fn run(&self, schema: &Schema) -> Result<(), Failure> {
        let version = schema.status()?.version();
        let to = self.to.unwrap_or((version - 1).max(0));
        if version > to && !self.yes {
            let message = format!(
                "taking back what came after step {to} loses the data in it; make a backup, then run it again with --yes"
            );
            return Err(Failure::Usage(vec![message]));
        }
        taken("taken back", &schema.down(to)?, schema)
    }
}

fn taken(what: &str, steps: &[i64], schema: &Schema) -> Result<(), Failure> {
    let version = schema.status()?.version();
    let steps = steps.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    match steps.as_str() {
        "" => print::line(&format!("nothing to do, the schema is at version {version}")),
        steps => print::line(&format!("{what}: {steps}; the schema is at version {version}")),
    }
}

fn status(status: &Status) -> Result<(), Failure> {
    let state = |applied| if applied { "applied" } else { "pending" };
    let lines: Vec<_> = status
        .steps
        .iter()
        .map(|step| [step.version.to_string(), step.name.to_owned(), state(step.applied).to_owned()])
        .collect();
    print::table(["VERSION", "NAME", "STATUS"], &lines)?;
    if let Some(note) = &status.note {
        print::note("note", note);
    }
    Ok(())
}
