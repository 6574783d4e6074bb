//! `llm-proxy provider add|list|remove`.

use std::io::{self, Read};

use clap::Subcommand;
use serde::Serialize;
use serde_json::value::RawValue;

use super::store::{StoreArgs, pick};
use super::{Failure, print, store};
use crate::config::boot::Environment;
use crate::config::compile::{Type, compile};
use crate::config::rows::{ProviderRow, Rows};
use crate::config::snapshot::{Provider, Snapshot};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a provider; a running server takes it up at once
    Add(Add),
    /// List the providers
    List(List),
    /// Remove a provider
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
struct Add {
    /// Unique name
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    key: String,
    /// openai, azure, anthropic or responses; other types are spoken to as openai
    #[arg(long = "type", value_name = "TYPE", default_value = "openai")]
    provider_type: String,
    /// Base address, such as https://api.openai.com/v1
    #[arg(long, value_name = "URL")]
    base: String,
    /// The provider's key; `env:NAME` to read it from the server's environment, `-` to read it from stdin now
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    api_key: String,
    /// Share of the requests; 0 is standby, used when no other provider is left
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    weight: u32,
    /// Serve MODEL, under the name UPSTREAM_MODEL; may be repeated. Without it, every model is served under its own name
    #[arg(long, value_name = "MODEL=UPSTREAM_MODEL", value_parser = pair)]
    map: Vec<(String, String)>,
}

const ADD_EXAMPLES: &str = "\
Examples; models may be patterns, and what a `*` stands for can be used again:
  llm-proxy provider add --key openai --base https://api.openai.com/v1 \\
      --api-key env:OPENAI_API_KEY
  llm-proxy provider add --key claude --type anthropic \\
      --base https://api.anthropic.com --api-key - < key.txt
  llm-proxy provider add --key router --base https://openrouter.ai/api/v1 \\
      --api-key env:ROUTER_KEY --map 'gpt-*=openai/gpt-*'";

#[derive(Debug, clap::Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    #[arg(value_name = "NAME|ID")]
    provider: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((model, upstream)) if !model.is_empty() && !upstream.is_empty() => {
            Ok((model.to_owned(), upstream.to_owned()))
        }
        _ => Err("write it as MODEL=UPSTREAM_MODEL".to_owned()),
    }
}

pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Add(add) => add.run(&args.store),
        Command::List(list) => list.run(&args.store),
        Command::Remove(remove) => remove.run(&args.store),
    }
}

impl Add {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let row = self.row()?;
        let (store, environment) = store.open()?;
        let provider = check(&row, &environment)?;
        let id = store.add_provider(&row)?;
        if Type::of(&row.provider_type) == Type::Unknown {
            let message = format!("type `{}` is not a known one; it is spoken to as openai", row.provider_type);
            print::note("warning", &message);
        }
        print::line(&format!("added provider {} with id {id}; it serves {}", row.provider_key, models(&provider)))?;
        if store.load()?.credentials.is_empty() {
            print::note("note", "no client has a key yet; create one with `llm-proxy key create --name NAME`");
        }
        Ok(())
    }

    fn row(self) -> Result<ProviderRow, Failure> {
        let api_key = if self.api_key == "-" { from_stdin()? } else { self.api_key };
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let pairs: Vec<_> = self.map.iter().map(|(model, upstream)| json(model) + ":" + &json(upstream)).collect();
        Ok(ProviderRow {
            provider_key: self.key,
            provider_type: self.provider_type,
            api_base: self.base,
            api_key: api_key.into(),
            model_mapping: format!("{{{}}}", pairs.join(",")),
            weight: i64::from(self.weight),
            provider_params: "{}".to_owned(),
            is_enabled: true,
            ..ProviderRow::default()
        })
    }
}

/// A key of a page is no key.
const MAX_KEY: u64 = 64 << 10;

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    match io::stdin().take(MAX_KEY).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Failure::failed("there is no key on stdin")),
        Err(error) => Err(Failure::failed(format!("the key cannot be read from stdin: {error}"))),
    }
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem refuses it.
fn check(row: &ProviderRow, environment: &Environment) -> Result<Provider, Failure> {
    // A variable that is missing here may be there where the server runs.
    let env = |name: &str| {
        let value = environment.get(name);
        if value.is_none() {
            print::note("warning", &format!("the environment variable {name} is not set here; the server needs it"));
        }
        Some(value.unwrap_or("unset").to_owned())
    };
    let rows = Rows { version: 0, providers: vec![row.clone()], credentials: Vec::new() };
    let (snapshot, problems) = compile(&rows, None, &env);
    let provider = snapshot.providers.into_iter().next().and_then(std::sync::Arc::into_inner);
    match provider {
        Some(provider) if problems.is_empty() => Ok(provider),
        _ => {
            let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
            Err(Failure::failed(format!(
                "provider {} is not added, for it would have a problem: {}",
                row.provider_key,
                messages.join("; also, ")
            )))
        }
    }
}

fn models(provider: &Provider) -> String {
    if provider.models.serves_all() {
        return "every model".to_owned();
    }
    print::list(provider.models.entries().iter().map(|entry| entry.key()))
}

impl Remove {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let (store, _) = store.open()?;
        let rows = store.load()?;
        let (id, name) =
            pick("provider", &self.provider, rows.providers.iter().map(|row| (row.id, row.provider_key.as_str())))?;
        store.remove_provider(id)?;
        print::line(&format!("removed provider {name} with id {id}"))
    }
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let (store, environment) = store.open()?;
        let rows = store.load()?;
        if self.json {
            return print::line(&json(&rows)?);
        }
        if rows.providers.is_empty() {
            let message = format!(
                "no provider in the store ({}); `llm-proxy provider add --help` tells how to add one",
                store.place()
            );
            print::note("note", &message);
            return Ok(());
        }
        let (snapshot, problems) = compile(&rows, None, &|name| environment.get(name).map(str::to_owned));
        let lines: Vec<_> = rows.providers.iter().map(|row| cells(row, &snapshot)).collect();
        print::table(["ID", "NAME", "TYPE", "BASE", "WEIGHT", "MODELS", "STATUS"], &lines)?;
        for problem in problems.iter().filter(|problem| problem.object.starts_with("provider ")) {
            print::note("warning", &format!("{}: {}", problem.object, problem.message));
        }
        Ok(())
    }
}

fn cells(row: &ProviderRow, snapshot: &Snapshot) -> [String; 7] {
    let served = snapshot.providers.iter().find(|provider| provider.id == row.id);
    let status = match served {
        Some(provider) if provider.weight == 0 => "standby",
        Some(_) => "served",
        None if row.is_enabled => "not served",
        None => "disabled",
    };
    [
        row.id.to_string(),
        row.provider_key.clone(),
        row.provider_type.clone(),
        row.api_base.clone(),
        row.weight.to_string(),
        served.map_or_else(|| "-".to_owned(), |provider| models(provider)),
        status.to_owned(),
    ]
}

/// As the admin interface shows a provider: without its key, and without the values of its headers, which may hold keys as well.
#[derive(Serialize)]
struct View<'a> {
    id: i64,
    provider_key: &'a str,
    provider_type: &'a str,
    api_base: &'a str,
    /// As stored, since order matters in it; broken JSON is shown as text.
    model_mapping: Box<RawValue>,
    weight: i64,
    provider_params: serde_json::Value,
    is_enabled: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: i64,
    providers: Vec<View<'a>>,
}

fn json(rows: &Rows) -> Result<String, Failure> {
    let unwritable = |error: serde_json::Error| Failure::failed(format!("the list cannot be written as JSON: {error}"));
    let mut providers = Vec::new();
    for row in &rows.providers {
        let mapping = RawValue::from_string(row.model_mapping.clone());
        let mapping = mapping.or_else(|_| serde_json::value::to_raw_value(&row.model_mapping)).map_err(unwritable)?;
        providers.push(View {
            id: row.id,
            provider_key: &row.provider_key,
            provider_type: &row.provider_type,
            api_base: &row.api_base,
            model_mapping: mapping,
            weight: row.weight,
            provider_params: masked(&row.provider_params),
            is_enabled: row.is_enabled,
        });
    }
    serde_json::to_string_pretty(&Listing { version: rows.version, providers }).map_err(unwritable)
}

fn masked(params: &str) -> serde_json::Value {
    let mut params: serde_json::Value = serde_json::from_str(params).unwrap_or_default();
    if let Some(headers) = params.get_mut("custom_headers").and_then(|headers| headers.as_object_mut()) {
        headers.values_mut().for_each(|value| *value = "***".into());
    }
    params
}
