//! `llm-proxy group create|set|enable|disable|list|remove`.

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::key::set::{Limit, limit};
use super::print;
use super::store::{self, NewName, StoreArgs, StoreLocation, call, number, pick, remove_each};
use crate::config::compile::compile;
use crate::config::models::Allowed;
use crate::config::rows::{GroupRow, Rows};
use crate::control_plane::admin::groups::in_use;
use crate::control_plane::admin::view::{GroupView, audit_text};
use crate::control_plane::store::Change;
use crate::control_plane::store::blocking::Blocking;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a group of keys, which share its limits
    #[command(alias = "add")]
    Create(Create),
    /// Change the models and limits of a group: what is not named stays as it is
    #[command(alias = "update")]
    Set(Set),
    /// Accept the keys of a disabled group again
    Enable(Named),
    /// Refuse the keys of a group without removing it
    Disable(Named),
    /// List the groups
    #[command(alias = "ls")]
    List(List),
    /// Remove groups that nothing belongs to
    #[command(aliases = ["delete", "rm"])]
    Remove(Several),
}

/// The group that a command names.
#[derive(Debug, clap::Args)]
struct Named {
    /// Name or id of the group
    #[arg(value_name = "NAME|ID")]
    group: String,
}

/// The groups that a command names.
#[derive(Debug, clap::Args)]
struct Several {
    /// Names or ids of the groups
    #[arg(value_name = "NAME|ID", required = true)]
    groups: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    name: NewName,
    /// Group that it belongs to [default: none]
    #[arg(long, value_name = "GROUP", value_parser = store::name)]
    parent: Option<String>,
    /// Requests per second of all of its keys; 0 blocks them [default: no limit]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate_limit: Option<u32>,
    /// Requests that may arrive at one moment [default: the rate limit]
    #[arg(long, value_name = "B", requires = "rate_limit", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Tokens per minute of all of its keys; 0 blocks them [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    tokens_per_minute: Option<u32>,
    /// Requests of its keys in progress at one time; 0 blocks them [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_concurrency: Option<u32>,
    /// A model or a pattern that its keys may use; may be repeated [default: every model]
    #[arg(long, value_name = "MODEL")]
    allow: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Group that it belongs to
    #[arg(long, value_name = "GROUP", value_parser = store::name, conflicts_with = "no_parent")]
    parent: Option<String>,
    /// Take the group out of the one that it belongs to
    #[arg(long)]
    no_parent: bool,
    /// Requests per second of all of its keys; 0 blocks them, `none` removes the limit and the
    /// burst
    #[arg(long, value_name = "R|none", value_parser = limit, allow_negative_numbers = true)]
    rate_limit: Option<Limit>,
    /// Requests that may arrive at one moment; `none` is the rate limit
    #[arg(long, value_name = "B|none", value_parser = limit, allow_negative_numbers = true)]
    burst: Option<Limit>,
    /// Tokens per minute of all of its keys; 0 blocks them, `none` removes the limit
    #[arg(long, value_name = "N|none", value_parser = limit, allow_negative_numbers = true)]
    tokens_per_minute: Option<Limit>,
    /// Requests of its keys in progress at one time; 0 blocks them, `none` removes the limit
    #[arg(long, value_name = "N|none", value_parser = limit, allow_negative_numbers = true)]
    max_concurrency: Option<Limit>,
    /// A model or a pattern that its keys may use, replacing those that are set; may be repeated
    #[arg(long, value_name = "MODEL", conflicts_with = "allow_all")]
    allow: Vec<String>,
    /// Let its keys use every model
    #[arg(long)]
    allow_all: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs `llm-proxy group`.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Create(create) => create.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => enable(&named, true, store),
        Command::Disable(named) => enable(&named, false, store),
        Command::List(list) => list.run(store),
        Command::Remove(several) => remove(&several, store),
    }
}

/// The groups, as the admin interface shows them.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    groups: Vec<GroupView>,
}

impl Listing {
    fn read(place: &StoreLocation) -> Result<Listing, Failure> {
        match place {
            StoreLocation::Remote(remote) => call(remote, "GET", "/groups", None),
            StoreLocation::Local(store, _) => {
                let rows = store.load()?;
                Ok(Listing { version: rows.version, groups: rows.groups.iter().map(GroupView::of).collect() })
            }
        }
    }

    fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.groups.iter().map(|row| (row.id, row.name.as_str()));
        pick("group", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }
}

impl Create {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let row = GroupRow {
            name: self.name.get().to_owned(),
            parent: self.parent.clone(),
            allowed_models: json!(self.allow).to_string(),
            rate_limit: self.rate_limit.map(i64::from),
            burst: self.burst.map(i64::from),
            tokens_per_minute: self.tokens_per_minute.map(i64::from),
            max_concurrency: self.max_concurrency.map(i64::from),
            metadata: "{}".to_owned(),
            is_enabled: true,
            ..GroupRow::default()
        };
        let place = store.open()?;
        let id = match &place {
            StoreLocation::Local(store, _) => {
                check(store, &row, "created")?;
                let before_and_after = [None, audit_text(&GroupView::of(&row))];
                store.change("group.create", &row.name, before_and_after, Change::AddGroup(row.clone()))?
            }
            StoreLocation::Remote(remote) => {
                let body = json!({
                    "name": row.name,
                    "parent": row.parent,
                    "allowed_models": self.allow,
                    "rate_limit": row.rate_limit,
                    "burst": row.burst,
                    "tokens_per_minute": row.tokens_per_minute,
                    "max_concurrency": row.max_concurrency,
                });
                let made: Value = call(remote, "POST", "/groups", Some(body.to_string()))?;
                number(&made, "/group/id")
            }
        };
        place.report_written(&format!("created group {} with id {id}", row.name))
    }
}

impl Set {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let (id, name) = Listing::read(&place)?.pick(&self.named.group)?;
        match &place {
            StoreLocation::Local(store, _) => {
                let old = row(store, id, &name)?;
                let mut new = old.clone();
                self.changes.apply(&mut new);
                check(store, &new, "changed")?;
                update(store, "group.update", &old, new)?;
            }
            StoreLocation::Remote(remote) => {
                let body = Value::Object(self.changes.body()).to_string();
                let _: Value = call(remote, "PATCH", &format!("/groups/{id}"), Some(body))?;
            }
        }
        place.report_written(&format!("changed group {name} with id {id}"))
    }
}

impl Changes {
    fn apply(&self, row: &mut GroupRow) {
        if self.no_parent || self.parent.is_some() {
            row.parent.clone_from(&self.parent);
        }
        let set = |column: &mut Option<i64>, limit: Option<Limit>| {
            if let Some(Limit(value)) = limit {
                *column = value.map(i64::from);
            }
        };
        set(&mut row.rate_limit, self.rate_limit);
        set(&mut row.burst, self.burst);
        set(&mut row.tokens_per_minute, self.tokens_per_minute);
        set(&mut row.max_concurrency, self.max_concurrency);
        // A burst without a limit means nothing.
        if row.rate_limit.is_none() && self.burst.is_none() {
            row.burst = None;
        }
        if self.allow_all || !self.allow.is_empty() {
            row.allowed_models = json!(self.allow).to_string();
        }
    }

    /// Writes the body for the admin interface: the members that change, and no others.
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("parent", (self.no_parent || self.parent.is_some()).then(|| json!(self.parent)));
        put("rate_limit", self.rate_limit.map(|limit| json!(limit.0)));
        put("burst", self.burst.map(|limit| json!(limit.0)));
        put("tokens_per_minute", self.tokens_per_minute.map(|limit| json!(limit.0)));
        put("max_concurrency", self.max_concurrency.map(|limit| json!(limit.0)));
        put("allowed_models", (self.allow_all || !self.allow.is_empty()).then(|| json!(self.allow)));
        body
    }
}

fn enable(named: &Named, is_enabled: bool, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let (id, name) = Listing::read(&place)?.pick(&named.group)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = row(store, id, &name)?;
            let new = GroupRow { is_enabled, ..old.clone() };
            update(store, "group.status", &old, new)?;
        }
        StoreLocation::Remote(remote) => {
            let body = json!({ "is_enabled": is_enabled }).to_string();
            let _: Value = call(remote, "PUT", &format!("/groups/{id}/status"), Some(body))?;
        }
    }
    let what = if is_enabled { "enabled" } else { "disabled" };
    place.report_written(&format!("{what} group {name} with id {id}"))
}

fn remove(several: &Several, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let listing = Listing::read(&place)?;
    remove_each(
        &several.groups,
        |wanted| listing.pick(wanted),
        |id, name| {
            match &place {
                StoreLocation::Local(store, _) => {
                    let rows = store.load()?;
                    if let Some(message) = in_use(&rows, name) {
                        return Err(Failure::failed(message));
                    }
                    let old =
                        rows.groups.iter().find(|row| row.id == id).and_then(|row| audit_text(&GroupView::of(row)));
                    store.change("group.delete", name, [old, None], Change::RemoveGroup { id, row_version: None })?;
                }
                StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/groups/{id}"), None)?,
            }
            print::line(&format!("removed group {name} with id {id}"))
        },
    )?;
    place.note_written();
    Ok(())
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open_to_read()?;
        let listing = match &place {
            Some(place) => Listing::read(place)?,
            None => Listing { version: 0, groups: Vec::new() },
        };
        if self.json {
            let text = serde_json::to_string_pretty(&listing);
            let failed = |error| Failure::failed(format!("the list cannot be written as JSON: {error}"));
            return print::line(&text.map_err(failed)?);
        }
        if listing.groups.is_empty() {
            print::note("note", "no group in the store; create one with `llm-proxy group create --name NAME`");
            return Ok(());
        }
        let lines: Vec<_> = listing.groups.iter().map(cells).collect();
        let headings = ["ID", "NAME", "PARENT", "RATE/S", "BURST", "TOKENS/MIN", "AT ONCE", "MODELS", "STATUS"];
        print::table(headings, &lines)
    }
}

fn cells(row: &GroupView) -> [String; 9] {
    let (allowed, _) = Allowed::parse(row.allowed_models.get());
    let models = match (allowed.allows_all(), allowed.entries().len()) {
        (true, _) => "all".to_owned(),
        (false, 0) => "none".to_owned(),
        (false, _) => print::list(allowed.entries()),
    };
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    [
        row.id.to_string(),
        row.name.clone(),
        row.parent.clone().unwrap_or_else(|| "-".to_owned()),
        number(row.rate_limit),
        number(row.burst.or(row.rate_limit)),
        number(row.tokens_per_minute),
        number(row.max_concurrency),
        models,
        if row.is_enabled { "enabled" } else { "disabled" }.to_owned(),
    ]
}

/// Compiles the store with this row in it. Every new problem of groups refuses it.
fn check(store: &Blocking, row: &GroupRow, done: &str) -> Result<(), Failure> {
    let there = store.load()?.groups;
    let judged = |row: Option<GroupRow>| {
        let others = there.iter().filter(|other| row.as_ref().is_none_or(|row| other.name != row.name)).cloned();
        let groups = others.chain(row.clone()).collect();
        compile(&Rows { groups, ..Rows::default() }, None, &|_| None).1
    };
    let known = judged(None);
    let new = judged(Some(GroupRow { is_enabled: true, ..row.clone() }));
    let messages: Vec<_> =
        new.into_iter().filter(|problem| !known.contains(problem)).map(|problem| problem.message).collect();
    if messages.is_empty() {
        return Ok(());
    }
    let messages = messages.join("; also, ");
    Err(Failure::failed(format!("group {} is not {done}, for it would have a problem: {messages}", row.name)))
}

fn row(store: &Blocking, id: i64, name: &str) -> Result<GroupRow, Failure> {
    let found = store.load()?.groups.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| Failure::failed(format!("the group {name} was removed meanwhile")))
}

fn update(store: &Blocking, action: &str, old: &GroupRow, new: GroupRow) -> Result<(), Failure> {
    let before_and_after = [audit_text(&GroupView::of(old)), audit_text(&GroupView::of(&new))];
    store.change(action, &old.name, before_and_after, Change::UpdateGroup(new))?;
    Ok(())
}
