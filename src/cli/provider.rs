//! `llm-proxy provider add|list|remove|reencrypt`.

use std::collections::HashSet;
use std::io::{self, Read};

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::store::{Place, StoreArgs, call, number, pick, tell_problems};
use super::{Failure, print, store};
use crate::config::boot::Environment;
use crate::config::compile::{Type, compile};
use crate::config::models::Mapping;
use crate::config::rows::{ProviderRow, Rows};
use crate::config::vault;
use crate::control_plane::admin::view;
use crate::control_plane::admin::view::ProviderView;
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
    /// Add a provider; a running server uses it at once
    Add(Add),
    /// List the providers
    List(List),
    /// Remove a provider
    Remove(Remove),
    /// Encrypt the stored API keys of providers with the current SECRET_KEY
    Reencrypt,
}

#[derive(Debug, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
struct Add {
    /// Unique name of the provider
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    key: String,
    /// openai, azure, anthropic or responses; other types are treated as openai
    #[arg(long = "type", value_name = "TYPE", default_value = "openai")]
    provider_type: String,
    /// Base URL, such as https://api.openai.com/v1
    #[arg(long, value_name = "URL")]
    base: String,
    /// API key of the provider; `env:NAME` reads it from the server's environment, `-` reads it
    /// from standard input now
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    api_key: String,
    /// Share of the requests; a provider with 0 is a standby, used when no other provider is left
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    weight: u32,
    /// Serve MODEL, a name or a pattern, as UPSTREAM_MODEL; may be repeated [default: every model
    /// under its own name]
    #[arg(long, value_name = "MODEL=UPSTREAM_MODEL", value_parser = pair)]
    map: Vec<(String, String)>,
    /// Provider parameters as a JSON object, such as {"formats":["chat","responses"],"host":"vllm"}
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    params: String,
}

const ADD_EXAMPLES: &str = "\
Examples. MODEL may be a pattern; `*` in UPSTREAM_MODEL is the text that the star
of MODEL stands for:
  llm-proxy provider add --key openai --base https://api.openai.com/v1 \\
      --api-key env:OPENAI_API_KEY --map 'gpt-*=gpt-*'
  llm-proxy provider add --key claude --type anthropic \\
      --base https://api.anthropic.com --map 'claude-*=claude-*' \\
      --api-key - < key.txt
  llm-proxy provider add --key router --base https://openrouter.ai/api/v1 \\
      --api-key env:ROUTER_KEY --map 'gpt-*=openai/gpt-*'";

#[derive(Debug, clap::Args)]
struct List {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// Name or id of the provider
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
        Command::Reencrypt => reencrypt(&args.store),
    }
}

impl Add {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let mut row = self.row()?;
        let place = store.open()?;
        if Type::of(&row.provider_type) == Type::Unknown {
            let message = format!("type `{}` is not a known one; it is spoken to as openai", row.provider_type);
            print::note("warning", &message);
        }
        let (id, keyless) = match place {
            Place::Here(store, environment) => {
                check(&row, &environment)?;
                let env = |name: &str| environment.get(name).map(str::to_owned);
                row.api_key = vault::seal(&row.api_key, &env).map_err(Failure::failed)?.into();
                (store.add_provider(&row)?, store.load()?.credentials.is_empty())
            }
            Place::There(remote) => {
                let made: serde_json::Value = call(&remote, "POST", "/providers", Some(body(&row)))?;
                let credentials: serde_json::Value = call(&remote, "GET", "/credentials?size=1", None)?;
                (number(&made, "/provider/id"), number(&credentials, "/total_count") == 0)
            }
        };
        let (models, _) = Mapping::parse(&row.model_mapping);
        print::line(&format!("added provider {} with id {id}; it serves {}", row.provider_key, shown(&models)))?;
        if keyless {
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
            provider_params: self.params,
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

/// As the admin interface wants it. The mapping stays text, since order matters in it.
fn body(row: &ProviderRow) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        r#"{{"provider_key":{},"provider_type":{},"api_base":{},"api_key":{},"weight":{},"model_mapping":{},"provider_params":{}}}"#,
        text(&row.provider_key),
        text(&row.provider_type),
        text(&row.api_base),
        text(&row.api_key),
        row.weight,
        row.model_mapping,
        row.provider_params
    )
}

/// Compiles the row as a server will. Who has just typed it can mend it, so that every problem
/// refuses it.
fn check(row: &ProviderRow, environment: &Environment) -> Result<(), Failure> {
    // A variable that is missing here may be there where the server runs.
    let env = |name: &str| {
        let value = environment.get(name);
        if value.is_none() {
            print::note("warning", &format!("the environment variable {name} is not set here; the server needs it"));
        }
        Some(value.unwrap_or("unset").to_owned())
    };
    let rows = Rows { version: 0, providers: vec![row.clone()], credentials: Vec::new() };
    let (_, problems) = compile(&rows, None, &env);
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
    Err(Failure::failed(format!(
        "provider {} is not added, for it would have a problem: {}",
        row.provider_key,
        messages.join("; also, ")
    )))
}

fn shown(models: &Mapping) -> String {
    if models.serves_all() {
        return "every model".to_owned();
    }
    print::list(models.entries().iter().map(|entry| entry.key()))
}

impl Remove {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        let named = listing.providers.iter().map(|row| (row.id, row.provider_key.as_str()));
        let (id, name) = pick("provider", &self.provider, named)?;
        match &place {
            Place::Here(store, _) => {
                let old = listing.providers.iter().find(|row| row.id == id).and_then(view::shown);
                let change = Change::RemoveProvider { id, row_version: None };
                store.change("provider.delete", name, [old, None], change)?;
            }
            Place::There(remote) => call(remote, "DELETE", &format!("/providers/{id}"), None)?,
        }
        print::line(&format!("removed provider {name} with id {id}"))
    }
}

fn reencrypt(store: &StoreArgs) -> Result<(), Failure> {
    let count = match store.open()? {
        Place::There(remote) => {
            let done: serde_json::Value = call(&remote, "POST", "/config/reencrypt", None)?;
            number(&done, "/reencrypted")
        }
        Place::Here(store, environment) => {
            let env = |name: &str| environment.get(name).map(str::to_owned);
            if env("SECRET_KEY").is_none() {
                return Err(Failure::failed("SECRET_KEY is not set, so there is nothing to encrypt with"));
            }
            let mut count = 0;
            for mut row in store.load()?.providers.into_iter().filter(|row| vault::is_due(&row.api_key, &env)) {
                let sealed = vault::open(&row.api_key, &env).and_then(|plain| vault::seal(&plain, &env));
                let refused = |why| Failure::failed(format!("api_key of provider {} {why}", row.provider_key));
                row.api_key = sealed.map_err(refused)?.into();
                let name = row.provider_key.clone();
                let told = view::shown(&ProviderView::of(&row));
                store.change("provider.reencrypt", &name, [told.clone(), told], Change::UpdateProvider(row))?;
                count += 1;
            }
            count
        }
    };
    print::line(&format!("encrypted {count} keys of providers anew"))
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open()?;
        let listing = Listing::read(&place)?;
        if self.json {
            return print::line(&listing.json()?);
        }
        if listing.providers.is_empty() {
            let place = match &place {
                Place::Here(store, _) => store.place(),
                Place::There(remote) => remote.url().to_owned(),
            };
            let message =
                format!("no provider in the store ({place}); `llm-proxy provider add --help` tells how to add one");
            print::note("note", &message);
            return Ok(());
        }
        // What is served of it is known here only where the variables are that its keys are taken
        // from.
        let served = match &place {
            Place::Here(store, environment) => {
                let env = |name: &str| environment.get(name).map(str::to_owned);
                let (snapshot, problems) = compile(&store.load()?, None, &env);
                for problem in problems.iter().filter(|problem| problem.object.starts_with("provider ")) {
                    print::note("warning", &format!("{}: {}", problem.object, problem.message));
                }
                Some(snapshot.providers.iter().map(|provider| provider.id).collect::<HashSet<_>>())
            }
            Place::There(remote) => {
                tell_problems(remote, "provider ")?;
                None
            }
        };
        let lines: Vec<_> = listing.providers.iter().map(|row| cells(row, served.as_ref())).collect();
        print::table(["ID", "NAME", "TYPE", "BASE", "WEIGHT", "MODELS", "STATUS"], &lines)
    }
}

fn cells(row: &ProviderView, served: Option<&HashSet<i64>>) -> [String; 7] {
    let is_served = row.is_enabled && served.is_none_or(|served| served.contains(&row.id));
    let status = match (row.is_enabled, is_served) {
        (false, _) => "disabled",
        (true, false) => "not served",
        (true, true) if row.weight == 0 => "standby",
        (true, true) if served.is_none() => "enabled",
        (true, true) => "served",
    };
    let models = || shown(&Mapping::parse(row.model_mapping.get()).0);
    [
        row.id.to_string(),
        row.provider_key.clone(),
        row.provider_type.clone(),
        row.api_base.clone(),
        row.weight.to_string(),
        if is_served { models() } else { "-".to_owned() },
        status.to_owned(),
    ]
}

/// As the admin interface shows providers.
#[derive(Serialize, Deserialize)]
struct Listing {
    version: i64,
    providers: Vec<ProviderView>,
}

impl Listing {
    fn read(place: &Place) -> Result<Listing, Failure> {
        match place {
            Place::There(remote) => call(remote, "GET", "/providers", None),
            Place::Here(store, _) => {
                let rows = store.load()?;
                let providers = rows.providers.iter().map(ProviderView::of).collect();
                Ok(Listing { version: rows.version, providers })
            }
        }
    }

    fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::failed(format!("the list cannot be written as JSON: {error}")))
    }
}
