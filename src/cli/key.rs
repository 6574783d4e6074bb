//! `llm-proxy key create|list|rotate|revoke`.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::store::{Place, StoreArgs, call, number, pick, tell_problems};
use super::{Failure, print, store};
use crate::config::compile::compile;
use crate::config::models::Allowed;
use crate::config::rows::{CredentialRow, Rows};
use crate::control_plane::admin::credentials;
pub use crate::control_plane::admin::credentials::hash;
use crate::control_plane::admin::view::{CredentialView, shown};
use crate::control_plane::store::Change;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key and print it once; only its hash is stored
    Create(Create),
    /// List the keys by name, without the secrets themselves
    List(List),
    /// Replace a key by a new one and print it; the old one stays valid for a while
    Rotate(Rotate),
    /// Revoke a key permanently; a running server refuses it at once
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the key in logs and metrics
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: String,
    /// Requests per second; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate_limit: Option<u32>,
    /// Requests that may arrive at one moment [default: the rate limit]
    #[arg(long, value_name = "B", requires = "rate_limit", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Tokens per minute, of prompts and responses together; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    tokens_per_minute: Option<u32>,
    /// Requests in progress at one time; 0 blocks the key [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_concurrency: Option<u32>,
    /// Days until the key expires [default: never]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in: Option<u32>,
    /// A model or pattern that the key may use; may be repeated [default: every model]
    #[arg(long, value_name = "MODEL")]
    allow: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// Name or id of the key
    #[arg(value_name = "NAME|ID")]
    key: String,
    /// Hours for which the old key stays valid; 0 ends it at once
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
    overlap: u32,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Name or id of the key
    #[arg(value_name = "NAME|ID")]
    key: String,
}

pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Create(create) => create.run(&args.store),
        Command::List(list) => list.run(&args.store),
        Command::Rotate(rotate) => rotate.run(&args.store),
        Command::Revoke(revoke) => revoke.run(&args.store),
    }
}

impl Create {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let key = generate()?;
        let row = self.row(&key);
        check(&row)?;
        let place = store.open()?;
        // A name may stand twice in the store, but whoever revokes by name wants to hit one key.
        if let Some(other) = Listing::read(&place)?.credentials.iter().find(|other| other.name == row.name) {
            let message =
                format!("a key named `{}` exists (id {}); revoke it first, or choose another name", row.name, other.id);
            return Err(Failure::failed(message));
        }
        let id = match &place {
            Place::Here(store, _) => store.create_credential(&row)?,
            Place::There(remote) => {
                let body = json!({
                    "key": key,
                    "name": row.name,
                    "allowed_models": self.allow,
                    "rate_limit": row.rate_limit,
                    "burst": row.burst,
                    "tokens_per_minute": row.tokens_per_minute,
                    "max_concurrency": row.max_concurrency,
                    "expires_at": row.expires_at,
                });
                let made: serde_json::Value = call(remote, "POST", "/credentials", Some(body.to_string()))?;
                number(&made, "/credential/id")
            }
        };
        print::line(&key)?;
        print::note(
            "note",
            &format!("created key {} with id {id}; it is shown this once, only its hash is stored", row.name),
        );
        Ok(())
    }

    fn row(&self, key: &str) -> CredentialRow {
        let day = 86_400;
        CredentialRow {
            credential_key: hash(key),
            name: self.name.clone(),
            allowed_models: json!(self.allow).to_string(),
            rate_limit: self.rate_limit.map(i64::from),
            burst: self.burst.map(i64::from),
            tokens_per_minute: self.tokens_per_minute.map(i64::from),
            max_concurrency: self.max_concurrency.map(i64::from),
            expires_at: self.expires_in.map(|days| now() + i64::from(days) * day),
            metadata: "{}".to_owned(),
            is_enabled: true,
            ..CredentialRow::default()
        }
    }
}

/// A new key.
pub fn generate() -> Result<String, Failure> {
    credentials::generate().map_err(Failure::failed)
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem
/// refuses it.
fn check(row: &CredentialRow) -> Result<(), Failure> {
    let rows = Rows { version: 0, providers: Vec::new(), credentials: vec![row.clone()] };
    let (_, problems) = compile(&rows, None, &|_| None);
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
    Err(Failure::failed(format!(
        "key {} is not created, for it would have a problem: {}",
        row.name,
        messages.join("; also, ")
    )))
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Rotate {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let (id, name) = Listing::read(&place)?.pick(&self.key)?;
        let key = generate()?;
        let overlap = i64::from(self.overlap) * 3600;
        match &place {
            Place::Here(store, _) => {
                let rows = store.load()?.credentials;
                let Some(mut row) = rows.into_iter().find(|row| row.id == id) else {
                    return Err(Failure::failed(format!("the key {name} was revoked meanwhile")));
                };
                let old = shown(&CredentialView::of(&row));
                let old_key = std::mem::replace(&mut row.credential_key, hash(&key));
                row.previous_key = (overlap > 0).then_some(old_key);
                row.previous_key_until = (overlap > 0).then(|| now() + overlap);
                let told = [old, shown(&CredentialView::of(&row))];
                store.change("credential.rotate", &name, told, Change::UpdateCredential(row))?;
            }
            Place::There(remote) => {
                let body = json!({ "key": key, "overlap_secs": overlap }).to_string();
                let _: serde_json::Value = call(remote, "POST", &format!("/credentials/{id}/rotate"), Some(body))?;
            }
        }
        print::line(&key)?;
        let old = match self.overlap {
            0 => "the old one is refused from now on".to_owned(),
            hours => format!("the old one is good for {hours} hours more"),
        };
        print::note("note", &format!("key {name} with id {id} is a new one; {old}"));
        Ok(())
    }
}

impl Revoke {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        let (id, name) = listing.pick(&self.key)?;
        match &place {
            Place::Here(store, _) => {
                let old = listing.credentials.iter().find(|row| row.id == id).and_then(shown);
                let change = Change::RemoveCredential { id, row_version: None };
                store.change("credential.delete", &name, [old, None], change)?;
            }
            Place::There(remote) => call(remote, "DELETE", &format!("/credentials/{id}"), None)?,
        }
        print::line(&format!("revoked key {name} with id {id}"))
    }
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        if self.json {
            return print::line(&listing.json()?);
        }
        if listing.credentials.is_empty() {
            let place = match &place {
                Place::Here(store, _) => store.place(),
                Place::There(remote) => remote.url().to_owned(),
            };
            let message = format!("no key in the store ({place}); create one with `llm-proxy key create --name NAME`");
            print::note("note", &message);
            return Ok(());
        }
        let served = match &place {
            Place::Here(store, _) => {
                let (snapshot, problems) = compile(&store.load()?, None, &|_| None);
                for problem in problems.iter().filter(|problem| problem.object.starts_with("credential ")) {
                    print::note("warning", &format!("{}: {}", problem.object, problem.message));
                }
                Some(snapshot.credentials_by_id.iter().map(|credential| credential.id).collect::<HashSet<_>>())
            }
            Place::There(remote) => {
                tell_problems(remote, "credential ")?;
                None
            }
        };
        let now = now();
        let status = |row: &CredentialView| match row.expires() {
            _ if !row.is_enabled => "disabled",
            _ if served.as_ref().is_some_and(|served| !served.contains(&row.id)) => "refused",
            Some(end) if end <= now => "expired",
            _ => "valid",
        };
        let lines: Vec<_> = listing.credentials.iter().map(|row| cells(row, status(row))).collect();
        print::table(["ID", "NAME", "HASH", "RATE", "BURST", "EXPIRES", "MODELS", "STATUS"], &lines)
    }
}

fn cells(row: &CredentialView, status: &str) -> [String; 8] {
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
        row.key_preview.clone(),
        number(row.rate_limit),
        number(row.burst),
        row.expires().map_or_else(|| "never".to_owned(), print::time),
        models,
        status.to_owned(),
    ]
}

/// As the admin interface shows credentials.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    credentials: Vec<CredentialView>,
}

impl Listing {
    fn read(place: &Place) -> Result<Listing, Failure> {
        match place {
            Place::There(remote) => call(remote, "GET", "/credentials", None),
            Place::Here(store, _) => {
                let rows = store.load()?;
                let credentials = rows.credentials.iter().map(CredentialView::of).collect();
                Ok(Listing { version: rows.version, credentials })
            }
        }
    }

    fn pick(&self, wanted: &str) -> Result<(i64, String), Failure> {
        let named = self.credentials.iter().map(|row| (row.id, row.name.as_str()));
        pick("key", wanted, named).map(|(id, name)| (id, name.to_owned()))
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
