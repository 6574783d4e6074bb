//! `llm-proxy init`: from nothing to a configuration that works, and the first request to copy.
//!
//! What is not given by flags is asked for. Nothing is written before the provider has answered,
//! unless --no-check is given.

mod file_text;
mod files;
mod listener;
mod target;

use listener::Listener;
use target::Target;

use super::failure::Failure;
use super::provider::{check, given_key, listed, would_serve};
use super::{key, print, serve, store, terminal};
use crate::config::base_url::BaseUrl;
use crate::config::boot::Environment;
use crate::config::compile::compile;
use crate::config::models::Mapping;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};
use crate::config::vendors::{self, Vendor};
use crate::route::rank::overlap;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Who serves the models; asked for if it is not given
    #[arg(long, value_name = "VENDOR", value_parser = vendors::find)]
    vendor: Option<&'static Vendor>,
    /// The provider's base address, if it is not the vendor's own
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// openai, azure, anthropic (or claude) or responses, if it is not the vendor's own
    #[arg(long = "type", value_name = "TYPE")]
    provider_type: Option<String>,
    /// The provider's key; `env:NAME` to read it from the server's environment, `-` to read it from
    /// stdin now
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Where the configuration goes: `embedded` (a store in DATA_DIR), a file such as gateway.yaml,
    /// or postgresql://USER@HOST/DATABASE; what is there stays, and is added to
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Name of the provider [default: the vendor's]
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: Option<String>,
    /// Name of a new key for clients [default: me; without this flag, none where there are keys]
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    key_name: Option<String>,
    /// Write it without asking the provider for its models
    #[arg(long)]
    no_check: bool,
}

const EXAMPLES: &str = "\
Examples:
  llm-proxy init
  llm-proxy init --vendor openai --api-key env:OPENAI_API_KEY --store embedded
  llm-proxy init --vendor anthropic --store embedded        # a second vendor
  llm-proxy init --vendor ollama --store gateway.yaml";

/// The name of the first key of a store.
const FIRST_KEY: &str = "me";

/// Runs `llm-proxy init`.
pub fn run(args: Args) -> Result<(), Failure> {
    let (environment, _) = Environment::of_process();
    let (key_name, no_check, target) = (args.key_name.clone(), args.no_check, args.store.clone());
    let is_named = args.name.is_some();
    let (vendor, mut row) = args.provider(&environment)?;
    let target = Target::choose(target.as_deref(), &environment)?;
    let there = target.rows(&environment)?;
    if let Some(other) = there.providers.iter().find(|other| other.provider_key == row.provider_key) {
        if is_named || base(other) == base(&row) {
            return Err(exists(&row.provider_key, &target, &target.place(&environment)?));
        }
        // Everything has been asked for by now; at another address it is another provider.
        row.provider_key = free_name(&row.provider_key, &there);
        print::note(
            "note",
            &format!("another provider is named `{}`; this one is `{}`", vendor.name, row.provider_key),
        );
    }
    let key_name = new_key_name(key_name, &there)?;
    check(&row, &environment, "set up")?;
    let mut model = vendor.model.to_owned();
    if !no_check {
        let listed = listed(&row, &environment).map_err(|why| {
            Failure::failed(format!("nothing was written: {why}; --no-check writes it without asking the provider"))
        })?;
        print::note("note", &would_serve(&Mapping::default(), &listed));
        if !listed.contains(&model)
            && let Some(first) = listed.first()
        {
            model.clone_from(first);
        }
    }
    let listener = Listener::choose(&target, &environment)?;
    let (client_key, credential) = match key_name {
        None => {
            print::note("note", "the keys of clients stay as they are; --key-name NAME makes another");
            (None, None)
        }
        Some(name) => {
            let client_key = key::generate()?;
            let credential = CredentialRow {
                credential_key: key::hash(&client_key),
                name,
                allowed_models: "[]".into(),
                metadata: "{}".into(),
                is_enabled: true,
                ..CredentialRow::default()
            };
            (Some(client_key), Some(credential))
        }
    };
    let is_restart_needed = matches!(target, Target::File(_)) && files::is_secret(&row);
    let variable = row.api_key.trim().strip_prefix("env:").map(str::to_owned);
    let mut rows = there;
    rows.providers.push(row.clone());
    target.write(row, credential, listener.settings.clone(), &environment)?;
    if let Some(overlap) = overlap(&compile(&rows, None, &|_| Some("k".to_owned())).0) {
        print::note("warning", &overlap);
    }
    let model = if model.is_empty() { "MODEL" } else { &model };
    introduce(client_key.as_deref(), model, &listener, is_restart_needed, variable.as_deref(), &environment)
}

/// Returns the base of a provider without the slashes that mean nothing.
fn base(row: &ProviderRow) -> &str {
    row.api_base.trim().trim_end_matches('/')
}

/// Returns `name` with the first number behind it that no provider has.
fn free_name(name: &str, there: &Rows) -> String {
    let taken = |name: &str| there.providers.iter().any(|other| other.provider_key == name);
    (2..).map(|count| format!("{name}-{count}")).find(|name| !taken(name)).unwrap_or_default()
}

fn exists(name: &str, target: &Target, place: &str) -> Failure {
    let change = match target {
        Target::File(_) => "change it there".to_owned(),
        Target::Embedded | Target::Database(_) => format!("change it with `llm-proxy provider set {name}`"),
    };
    Failure::failed(format!("a provider named `{name}` exists in {place}; choose another --name, or {change}"))
}

/// Returns the name of the key to make. A store that has keys needs none for another provider.
fn new_key_name(given: Option<String>, there: &Rows) -> Result<Option<String>, Failure> {
    let Some(name) = given else {
        return Ok(there.credentials.is_empty().then(|| FIRST_KEY.to_owned()));
    };
    match there.credentials.iter().find(|other| other.name == name) {
        Some(other) => Err(Failure::failed(format!(
            "a key named `{name}` exists (id {}); give this one another name with --key-name",
            other.id
        ))),
        None => Ok(Some(name)),
    }
}

impl Args {
    /// Returns the provider that the flags and answers describe.
    fn provider(self, environment: &Environment) -> Result<(&'static Vendor, ProviderRow), Failure> {
        let vendor = match (self.vendor, &self.base) {
            (Some(vendor), _) => vendor,
            (None, Some(_)) => vendors::find("other").map_err(Failure::failed)?,
            (None, None) => {
                let set = serve::vendor_variables().find(|name| environment.get(name).is_some());
                let default = vendors::VENDORS.iter().find(|vendor| Some(vendor.variable) == set);
                let default = default.map_or("openai", |vendor| vendor.name);
                let question = format!("Vendor ({})", vendors::names());
                terminal::prompt_until(&question, Some(default), "--vendor", |answer| {
                    vendors::find(answer).map_err(|why| Failure::Usage(vec![why]))
                })?
            }
        };
        let base = match (self.base, vendor.base) {
            (Some(base), _) => base,
            (None, "") => terminal::prompt_until("Base address, such as https://host/v1", None, "--base", |answer| {
                let checked = BaseUrl::parse(answer).map_err(|why| Failure::Usage(vec![format!("the address {why}")]));
                checked.map(|_| answer.to_owned())
            })?,
            (None, base) => base.to_owned(),
        };
        let api_key = match self.api_key {
            Some(text) if text.trim().is_empty() && !vendor.variable.is_empty() => {
                return Err(Failure::failed(format!(
                    "--api-key is empty, and {} needs a key; if a variable was meant, it is not set in this shell",
                    vendor.name
                )));
            }
            Some(text) => given_key(text)?,
            None => prompt_for_key(vendor, environment)?,
        };
        let row = ProviderRow {
            provider_key: self.name.unwrap_or_else(|| vendor.name.to_owned()),
            provider_type: self.provider_type.unwrap_or_else(|| vendor.kind.to_owned()),
            api_base: base,
            api_key: api_key.into(),
            model_mapping: "{}".into(),
            weight: 1,
            provider_params: "{}".into(),
            is_enabled: true,
            ..ProviderRow::default()
        };
        Ok((vendor, row))
    }
}

/// Asks for the key. A local server needs none; a key whose variable is set is taken from there.
fn prompt_for_key(vendor: &Vendor, environment: &Environment) -> Result<String, Failure> {
    match vendor.variable {
        "" if vendor.name != "other" => Ok(String::new()),
        "" => terminal::prompt_hidden("API key of the provider (empty if it needs none; input is hidden)", "--api-key"),
        name if environment.get(name).is_some() => {
            print::note("note", &format!("{name} is set, and the provider's key is read from it"));
            Ok(format!("env:{name}"))
        }
        name => {
            let key =
                terminal::prompt_hidden(&format!("API key of {} ({name}; input is hidden)", vendor.name), "--api-key")?;
            if key.is_empty() { Err(needs_key(vendor)) } else { Ok(key) }
        }
    }
}

fn needs_key(vendor: &Vendor) -> Failure {
    Failure::failed(format!("{} needs a key; set {}, or give --api-key", vendor.name, vendor.variable))
}

/// Prints the key on a line that scripts read, then what to do next.
fn introduce(
    key: Option<&str>,
    model: &str,
    listener: &Listener,
    is_restart_needed: bool,
    variable: Option<&str>,
    environment: &Environment,
) -> Result<(), Failure> {
    let (url, start) = (&listener.url, listener.command(environment));
    let then = "and ask it something:";
    let begin = match (listener.is_served, is_restart_needed, variable) {
        (true, false, None) => format!("The gateway at {url} serves it from now on. Ask it something:"),
        (true, false, Some(name)) => {
            format!("The gateway at {url} serves it from now on, if {name} is set where it runs. Ask it something:")
        }
        (true, true, _) => format!("Start the gateway at {url} again, for it to read .env:\n\n{start}\n\n{then}"),
        (false, ..) => format!("Start the gateway:\n\n{start}\n\n{then}"),
    };
    let lead = key.map(|key| format!("key: {key}\n\nThe key is shown this once. ")).unwrap_or_default();
    let key = key.unwrap_or("YOUR_KEY");
    print::line(&format!(
        "\
{lead}{begin}

curl -s {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
  -H 'content-type: application/json' \\
  -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

`llm-proxy connect` prints the settings of SDKs and agents."
    ))
}
