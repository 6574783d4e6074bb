//! `llm-proxy model add`.

use serde_json::{Map, Value};

use super::check::check;
use super::member::{Member, Reason, for_key, hedge, member, members_json, overrides_json, reasons};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{NewName, StoreArgs, StoreLocation, call, number};
use crate::config::rows::ModelRow;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    name: NewName,
    /// A model that requests for the name go to; may be repeated
    #[arg(long, value_name = "MODEL[,OPTION=VALUE]", value_parser = member, required = true)]
    member: Vec<Member>,
    /// A member for the key of this name, which then has no others; may be repeated
    #[arg(long = "for", value_name = "KEY=MODEL[,OPTION=VALUE]", value_parser = for_key)]
    for_key: Vec<(String, Member)>,
    /// A failure of the request itself that leads to another member; may be repeated [default:
    /// context_length]
    #[arg(long, value_name = "REASON", value_enum)]
    fallback_on: Vec<Reason>,
    /// Send a request whose stream is slow to begin, or whose whole answer is slow to come, to the
    /// next candidate too; at most this many of 100 requests
    #[arg(long, value_name = "PERCENT")]
    hedge: Option<f64>,
}

const EXAMPLES: &str = "\
Examples; options of a member are weight, priority, provider and context_window:
  llm-proxy model add --name smart --member gpt-5,weight=3 --member claude-opus-4 \\
      --member gemini-2.5-pro,priority=1
  llm-proxy model add --name gpt-4o --member gpt-4o --member gpt-4.1,priority=1
  llm-proxy model add --name fast --member gpt-5-mini --for team-a=claude-haiku-4-5";

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let row = self.row();
        let place = store.open()?;
        let id = match &place {
            StoreLocation::Local(store, _) => {
                check(&store.load()?, &row, "added")?;
                store.add_model(&row)?
            }
            StoreLocation::Remote(remote) => {
                let made: Value = call(remote, "POST", "/models", Some(body(&row)))?;
                for warning in made["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    print::note("warning", warning);
                }
                number(&made, "/model/id")
            }
        };
        place.report_written(&format!("added virtual model {} with id {id}", row.name))?;
        Ok(())
    }

    fn row(&self) -> ModelRow {
        let mut options = Map::new();
        if !self.fallback_on.is_empty() {
            options.insert("fallback_on".to_owned(), reasons(&self.fallback_on));
        }
        if let Some(percent) = self.hedge {
            options.insert("hedge".to_owned(), hedge(percent));
        }
        ModelRow {
            name: self.name.get().to_owned(),
            members: members_json(&self.member),
            overrides: overrides_json(&self.for_key),
            options: Value::from(options).to_string(),
            is_enabled: true,
            ..ModelRow::default()
        }
    }
}

/// Writes the body for the admin interface.
fn body(row: &ModelRow) -> String {
    let name = Value::from(row.name.as_str());
    format!(r#"{{"name":{name},"members":{},"overrides":{},"options":{}}}"#, row.members, row.overrides, row.options)
}
