//! `llm-proxy key set|enable|disable`: the key itself stays, and so do the tokens in its buckets
//! where their limit stays.

use serde_json::{Map, Value, json};

use super::check::check;
use super::listing::{Listing, Named};
use super::priority::Priority;
use super::time::{DAY, now};
use crate::cli::failure::Failure;
use crate::cli::store::{self, StoreArgs, StoreLocation, call};
use crate::config::rows::CredentialRow;
use crate::control_plane::admin::view::{CredentialView, audit_text};
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
Examples; `none` takes a limit away:
  llm-proxy key set team-a --rate-limit 20 --burst 40
  llm-proxy key set team-a --tokens-per-minute none --allow 'gpt-*' --allow fast";

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: Option<String>,
    /// Group that the key belongs to
    #[arg(long, value_name = "GROUP", value_parser = store::name, conflicts_with = "no_group")]
    group: Option<String>,
    /// Take the key out of its group
    #[arg(long)]
    no_group: bool,
    /// Requests per second; 0 blocks the key, `none` removes the limit and the burst
    #[arg(long, value_name = "R|none", value_parser = limit, allow_negative_numbers = true)]
    rate_limit: Option<Limit>,
    /// Requests that may arrive at one moment; `none` is the rate limit
    #[arg(long, value_name = "B|none", value_parser = limit, allow_negative_numbers = true)]
    burst: Option<Limit>,
    /// Tokens per minute, of prompts and responses together; 0 blocks the key, `none` removes the
    /// limit
    #[arg(long, value_name = "N|none", value_parser = limit, allow_negative_numbers = true)]
    tokens_per_minute: Option<Limit>,
    /// Requests in progress at one time; 0 blocks the key, `none` removes the limit
    #[arg(long, value_name = "N|none", value_parser = limit, allow_negative_numbers = true)]
    max_concurrency: Option<Limit>,
    /// Days from now until the key expires; `none` is never
    #[arg(long, value_name = "DAYS|none", value_parser = days)]
    expires_in: Option<Limit>,
    /// A model or pattern that the key may use, replacing those that are set; may be repeated
    #[arg(long, value_name = "MODEL", conflicts_with = "allow_all")]
    allow: Vec<String>,
    /// Let the key use every model
    #[arg(long)]
    allow_all: bool,
    /// Who goes first of the requests that wait for room
    #[arg(long, value_enum)]
    priority: Option<Priority>,
}

/// A limit as it was typed: a number, or `none`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(pub Option<u32>);

/// Reads a limit: a number, or `none`. The error says what is expected.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => {
            number.parse().map(|number| Limit(Some(number))).map_err(|_| "give a whole number or none".to_owned())
        }
    }
}

fn days(text: &str) -> Result<Limit, String> {
    match limit(text) {
        Ok(Limit(Some(0))) | Ok(Limit(Some(36_501..))) | Err(_) => {
            Err("give a number of days from 1 to 36500, or none".to_owned())
        }
        days => days,
    }
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        let (id, name) = listing.pick(&self.named.key)?;
        if let Some(new) = &self.changes.name
            && let Some(other) = listing.credentials.iter().find(|other| other.name == *new && other.id != id)
        {
            return Err(Failure::failed(format!("a key named `{new}` exists (id {}); choose another name", other.id)));
        }
        match &place {
            StoreLocation::Local(store, _) => {
                let old = row(store, id, &name)?;
                let mut new = old.clone();
                self.changes.apply(&mut new)?;
                check(&new, &place, "changed")?;
                update(store, "credential.update", &old, new)?;
            }
            StoreLocation::Remote(remote) => {
                let notes = listing.credentials.iter().find(|row| row.id == id).map_or("{}", |row| row.metadata.get());
                let body = Value::Object(self.changes.body(notes)?).to_string();
                let _: Value = call(remote, "PATCH", &format!("/credentials/{id}"), Some(body))?;
            }
        }
        place.report_written(&format!("changed key {name} with id {id}"))?;
        Ok(())
    }
}

impl Changes {
    fn expires_at(&self) -> Option<Option<i64>> {
        self.expires_in.map(|Limit(days)| days.map(|days| now() + i64::from(days) * DAY))
    }

    fn apply(&self, row: &mut CredentialRow) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            row.name.clone_from(name);
        }
        if self.no_group || self.group.is_some() {
            row.group_name.clone_from(&self.group);
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
        if let Some(expires_at) = self.expires_at() {
            row.expires_at = expires_at;
        }
        if self.allow_all || !self.allow.is_empty() {
            row.allowed_models = json!(self.allow).to_string();
        }
        if let Some(priority) = self.priority {
            let notes = if row.metadata.is_empty() { "{}" } else { &row.metadata };
            row.metadata = priority.written_into(notes)?.to_string();
        }
        Ok(())
    }

    /// Writes the body for the admin interface: the members that change, and no others. Metadata is
    /// replaced there as a whole, and so comes with the `notes` that are in it.
    fn body(&self, notes: &str) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("name", self.name.clone().map(Value::from));
        put("group_name", (self.no_group || self.group.is_some()).then(|| json!(self.group)));
        put("rate_limit", self.rate_limit.map(|limit| json!(limit.0)));
        put("burst", self.burst.map(|limit| json!(limit.0)));
        put("tokens_per_minute", self.tokens_per_minute.map(|limit| json!(limit.0)));
        put("max_concurrency", self.max_concurrency.map(|limit| json!(limit.0)));
        put("expires_at", self.expires_at().map(|moment| json!(moment)));
        put("allowed_models", (self.allow_all || !self.allow.is_empty()).then(|| json!(self.allow)));
        put("metadata", self.priority.map(|priority| priority.written_into(notes)).transpose()?);
        Ok(body)
    }
}

fn row(store: &Blocking, id: i64, name: &str) -> Result<CredentialRow, Failure> {
    let found = store.load()?.credentials.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| Failure::failed(format!("the key {name} was revoked meanwhile")))
}

fn update(store: &Blocking, action: &str, old: &CredentialRow, new: CredentialRow) -> Result<(), Failure> {
    let before_and_after = [audit_text(&CredentialView::of(old)), audit_text(&CredentialView::of(&new))];
    store.change(action, &old.name, before_and_after, Change::UpdateCredential(new))?;
    Ok(())
}

/// Enables or disables a key.
pub(super) fn enable(named: &Named, is_enabled: bool, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let (id, name) = Listing::read(&place)?.pick(&named.key)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = row(store, id, &name)?;
            let new = CredentialRow { is_enabled, ..old.clone() };
            update(store, "credential.status", &old, new)?;
        }
        StoreLocation::Remote(remote) => {
            let body = json!({ "is_enabled": is_enabled }).to_string();
            let _: Value = call(remote, "PUT", &format!("/credentials/{id}/status"), Some(body))?;
        }
    }
    let done = if is_enabled { "enabled" } else { "disabled" };
    place.report_written(&format!("{done} key {name} with id {id}"))?;
    Ok(())
}
