//! `llm-proxy model set|enable|disable`.

use serde_json::{Map, Value, json};

use super::check::check;
use super::listing::{Listing, Named};
use super::member::{Member, Reason, for_key, hedge, member, members_json, overrides_json, reasons};
use crate::cli::failure::Failure;
use crate::cli::store::{self, StoreArgs, StoreLocation, call};
use crate::config::rows::ModelRow;
use crate::control_plane::admin::view::{ModelView, audit_text};
use crate::control_plane::store::Change;
use crate::control_plane::store::blocking::Blocking;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    changes: Changes,
}

const EXAMPLES: &str = "\
Examples:
  llm-proxy model set smart --member gpt-5 --member claude-opus-4,weight=2
  llm-proxy model set fast --for team-a=gpt-5-mini --fallback-on none";

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: Option<String>,
    /// A model that requests for the name go to, replacing those that are set; may be repeated
    #[arg(long, value_name = "MODEL[,OPTION=VALUE]", value_parser = member)]
    member: Vec<Member>,
    /// A member for the key of this name, replacing all members for single keys; may be repeated
    #[arg(long = "for", value_name = "KEY=MODEL[,OPTION=VALUE]", value_parser = for_key, conflicts_with = "for_nobody")]
    for_key: Vec<(String, Member)>,
    /// Remove all members for single keys
    #[arg(long)]
    for_nobody: bool,
    /// A failure of the request itself that leads to another member, replacing those that are set;
    /// may be repeated
    #[arg(long, value_name = "REASON", value_enum)]
    fallback_on: Vec<Reason>,
    /// Send a request whose stream is slow to begin, or whose whole answer is slow to come, to the
    /// next candidate too; at most this many of 100 requests; 0 for none
    #[arg(long, value_name = "PERCENT")]
    hedge: Option<f64>,
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        let (id, name) = listing.pick(&self.named.model)?;
        let options = listing.models.iter().find(|row| row.id == id).map(|row| row.options.get().to_owned());
        let body = self.changes.body(&options.unwrap_or_default());
        match &place {
            StoreLocation::Local(store, _) => {
                let old = row(store, id, &name)?;
                let new = apply(&body, &old);
                check(&store.load()?, &new, "changed")?;
                update(store, "model.update", &old, new)?;
            }
            StoreLocation::Remote(remote) => {
                let _: Value = call(remote, "PATCH", &format!("/models/{id}"), Some(Value::from(body).to_string()))?;
            }
        }
        place.report_written(&format!("changed virtual model {name} with id {id}"))?;
        Ok(())
    }
}

impl Changes {
    /// Returns what is changed, as the admin interface takes it. `options` are those that are set.
    fn body(&self, options: &str) -> Map<String, Value> {
        let json = |text: String| serde_json::from_str(&text).unwrap_or_default();
        let mut body = Map::new();
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), json!(name));
        }
        if !self.member.is_empty() {
            body.insert("members".to_owned(), json(members_json(&self.member)));
        }
        if self.for_nobody || !self.for_key.is_empty() {
            body.insert("overrides".to_owned(), json(overrides_json(&self.for_key)));
        }
        if !self.fallback_on.is_empty() || self.hedge.is_some() {
            let mut options: Value = serde_json::from_str(options).unwrap_or_else(|_| json!({}));
            if !self.fallback_on.is_empty() {
                options["fallback_on"] = reasons(&self.fallback_on);
            }
            if let Some(percent) = self.hedge {
                options["hedge"] = hedge(percent);
            }
            body.insert("options".to_owned(), options);
        }
        body
    }
}

fn apply(body: &Map<String, Value>, old: &ModelRow) -> ModelRow {
    let json = |name: &str, old: &String| body.get(name).map_or_else(|| old.clone(), ToString::to_string);
    ModelRow {
        name: body.get("name").and_then(Value::as_str).unwrap_or(&old.name).to_owned(),
        members: json("members", &old.members),
        overrides: json("overrides", &old.overrides),
        options: json("options", &old.options),
        ..old.clone()
    }
}

fn row(store: &Blocking, id: i64, name: &str) -> Result<ModelRow, Failure> {
    let found = store.load()?.models.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| Failure::failed(format!("the virtual model {name} was removed meanwhile")))
}

fn update(store: &Blocking, action: &str, old: &ModelRow, new: ModelRow) -> Result<(), Failure> {
    let before_and_after = [audit_text(&ModelView::of(old)), audit_text(&ModelView::of(&new))];
    store.change(action, &old.name, before_and_after, Change::UpdateModel(new))?;
    Ok(())
}

/// Enables or disables a virtual model.
pub(super) fn enable(named: &Named, is_enabled: bool, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let (id, name) = Listing::read(&place)?.pick(&named.model)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = row(store, id, &name)?;
            let new = ModelRow { is_enabled, ..old.clone() };
            update(store, "model.status", &old, new)?;
        }
        StoreLocation::Remote(remote) => {
            let body = json!({ "is_enabled": is_enabled }).to_string();
            let _: Value = call(remote, "PUT", &format!("/models/{id}/status"), Some(body))?;
        }
    }
    let done = if is_enabled { "enabled" } else { "disabled" };
    place.report_written(&format!("{done} virtual model {name} with id {id}"))?;
    Ok(())
}
