//! `llm-proxy migrate up|down|version|status`.

use clap::Subcommand;

use super::store::StoreArgs;
use super::{Failure, print};
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
    /// Take the steps that are missing; a database of the service before this one is taken over
    Up(Up),
    /// Take steps back, the newest first
    Down(Down),
    /// Print the number of the newest step that was taken
    Version(super::NoArgs),
    /// List the steps
    Status(super::NoArgs),
}

#[derive(Debug, clap::Args)]
struct Up {
    /// The last step to take [default: all]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
}

#[derive(Debug, clap::Args)]
struct Down {
    /// The step that is the newest afterwards; 0 takes all of them back [default: one step back]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Yes, with what is in the tables and columns of these steps
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    // A running gateway has taken its steps, or waits for whoever may.
    args.store.here_alone("migrate")?;
    let environment = args.store.environment();
    let schema = Schema::of(&args.store.boot(&environment)?)?;
    match &args.command {
        Command::Up(up) => taken("applied", &schema.up(up.to)?, &schema),
        Command::Down(down) => down.run(&schema),
        Command::Version(super::NoArgs {}) => print::line(&schema.status()?.version().to_string()),
        Command::Status(super::NoArgs {}) => status(&schema.status()?),
    }
}

impl Down {
    fn run(&self, schema: &Schema) -> Result<(), Failure> {
        let version = schema.status()?.version();
        let to = self.to.unwrap_or((version - 1).max(0));
        if version > to && !self.yes {
            let message = format!(
                "taking back what came after step {to} loses the data in it; make a backup, then say it again with --yes"
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
