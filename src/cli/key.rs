//! `llm-proxy key create|list|revoke`.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::store::{StoreArgs, pick};
use super::{Failure, print, store};
use crate::config::compile::compile;
use crate::config::models::Allowed;
use crate::config::rows::{CredentialRow, Rows};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key and print it, once: only its hash is stored
    Create(Create),
    /// List the keys, without the keys
    List(List),
    /// Revoke a key for good; a running server refuses it at once
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Who it is for; shown in logs and metrics
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: String,
    /// Requests per second; 0 blocks all, without it there is no limit
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    rate_limit: Option<u32>,
    /// Requests that may come at once [default: the rate limit]
    #[arg(long, value_name = "B", requires = "rate_limit", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Days until it expires; without it, never
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in: Option<u32>,
    /// A model or pattern that it may ask for; may be repeated. Without it, every model
    #[arg(long, value_name = "MODEL")]
    allow: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    #[arg(value_name = "NAME|ID")]
    key: String,
}

pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Create(create) => create.run(&args.store),
        Command::List(list) => list.run(&args.store),
        Command::Revoke(revoke) => revoke.run(&args.store),
    }
}

impl Create {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let key = generate()?;
        let row = self.row(&key);
        check(&row)?;
        let (store, _) = store.open()?;
        // A name may stand twice in the store, but whoever revokes by name wants to hit one key.
        if let Some(other) = store.load()?.credentials.iter().find(|other| other.name == row.name) {
            let message =
                format!("a key named `{}` exists (id {}); revoke it first, or choose another name", row.name, other.id);
            return Err(Failure::failed(message));
        }
        let id = store.create_credential(&row)?;
        print::line(&key)?;
        print::note(
            "note",
            &format!("created key {} with id {id}; it is shown this once, only its hash is stored", row.name),
        );
        Ok(())
    }

    fn row(self, key: &str) -> CredentialRow {
        let day = 86_400;
        CredentialRow {
            credential_key: hash(key),
            name: self.name,
            allowed_models: serde_json::Value::from(self.allow).to_string(),
            rate_limit: self.rate_limit.map(i64::from),
            burst: self.burst.map(i64::from),
            expires_at: self.expires_in.map(|days| now() + i64::from(days) * day),
            metadata: "{}".to_owned(),
            is_enabled: true,
            ..CredentialRow::default()
        }
    }
}

/// `sk-` and 48 characters of the URL-safe alphabet: 288 random bits.
pub fn generate() -> Result<String, Failure> {
    let mut random = [0; 36];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::failed(format!("the system gives no random numbers for a key: {error}")))?;
    Ok(format!("sk-{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

/// What the store keeps of a key: its SHA-256 in hex.
pub fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem refuses it.
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

impl Revoke {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let (store, _) = store.open()?;
        let rows = store.load()?;
        let (id, name) = pick("key", &self.key, rows.credentials.iter().map(|row| (row.id, row.name.as_str())))?;
        store.revoke_credential(id)?;
        print::line(&format!("revoked key {name} with id {id}"))
    }
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let (store, _) = store.open()?;
        let rows = store.load()?;
        if self.json {
            return print::line(&json(&rows)?);
        }
        if rows.credentials.is_empty() {
            let message =
                format!("no key in the store ({}); create one with `llm-proxy key create --name NAME`", store.place());
            print::note("note", &message);
            return Ok(());
        }
        let (snapshot, problems) = compile(&rows, None, &|_| None);
        let served: HashSet<i64> = snapshot.credentials_by_id.iter().map(|credential| credential.id).collect();
        let now = now();
        let status = |row: &CredentialRow| match row.expires_at {
            _ if !row.is_enabled => "disabled",
            _ if !served.contains(&row.id) => "refused",
            Some(end) if end <= now => "expired",
            _ => "valid",
        };
        let lines: Vec<_> = rows.credentials.iter().map(|row| cells(row, status(row))).collect();
        print::table(["ID", "NAME", "HASH", "RATE", "BURST", "EXPIRES", "MODELS", "STATUS"], &lines)?;
        for problem in problems.iter().filter(|problem| problem.object.starts_with("credential ")) {
            print::note("warning", &format!("{}: {}", problem.object, problem.message));
        }
        Ok(())
    }
}

fn cells(row: &CredentialRow, status: &str) -> [String; 8] {
    let (allowed, _) = Allowed::parse(&row.allowed_models);
    let models = match (allowed.allows_all(), allowed.entries().len()) {
        (true, _) => "all".to_owned(),
        (false, 0) => "none".to_owned(),
        (false, _) => print::list(allowed.entries()),
    };
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    [
        row.id.to_string(),
        row.name.clone(),
        row.preview(),
        number(row.rate_limit),
        number(row.burst),
        row.expires_at.map_or_else(|| "never".to_owned(), print::time),
        models,
        status.to_owned(),
    ]
}

/// As the admin interface shows a credential, with the two columns that it has more.
#[derive(Serialize)]
struct View<'a> {
    id: i64,
    name: &'a str,
    key_preview: String,
    allowed_models: serde_json::Value,
    rate_limit: Option<i64>,
    burst: Option<i64>,
    /// Seconds since 1970.
    expires_at: Option<i64>,
    is_enabled: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: i64,
    credentials: Vec<View<'a>>,
}

impl View<'_> {
    fn of(row: &CredentialRow) -> View<'_> {
        let allowed_models = serde_json::from_str(&row.allowed_models);
        View {
            id: row.id,
            name: &row.name,
            key_preview: row.preview(),
            allowed_models: allowed_models.unwrap_or_else(|_| row.allowed_models.as_str().into()),
            rate_limit: row.rate_limit,
            burst: row.burst,
            expires_at: row.expires_at,
            is_enabled: row.is_enabled,
        }
    }
}

fn json(rows: &Rows) -> Result<String, Failure> {
    let listing = Listing { version: rows.version, credentials: rows.credentials.iter().map(View::of).collect() };
    serde_json::to_string_pretty(&listing)
        .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
}
