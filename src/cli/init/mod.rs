//! `llm-proxy init`: from nothing to a configuration that works, and the first request to copy.
//!
//! What is not given by flags is asked for. Nothing is written before the provider has answered,
//! unless --no-check is given.

mod files;

use std::path::PathBuf;

use super::failure::Failure;
use super::provider::{check, given_key, listed, would_serve};
use super::{key, print, serve, store, terminal};
use crate::config::boot::{Boot, Environment};
use crate::config::models::Mapping;
use crate::config::rows::{CredentialRow, ProviderRow};
use crate::config::vault;
use crate::config::vendors::{self, Vendor};
use crate::control_plane::store as stores;
use crate::control_plane::store::blocking::Blocking;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Who serves the models; asked for if it is not given
    #[arg(long, value_name = "VENDOR", value_parser = vendors::find)]
    vendor: Option<&'static Vendor>,
    /// The provider's base address, if it is not the vendor's own
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// openai, azure, anthropic or responses, if it is not the vendor's own
    #[arg(long = "type", value_name = "TYPE")]
    provider_type: Option<String>,
    /// The provider's key; `env:NAME` to read it from the server's environment, `-` to read it from
    /// stdin now
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Where the configuration goes: `embedded` (a store in DATA_DIR), a file such as gateway.yaml,
    /// or postgresql://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Name of the provider [default: the vendor's]
    #[arg(long, value_name = "NAME", value_parser = store::name)]
    name: Option<String>,
    /// Name of the first client's key
    #[arg(long, value_name = "NAME", value_parser = store::name, default_value = "me")]
    key_name: String,
    /// Write it without asking the provider for its models
    #[arg(long)]
    no_check: bool,
}

const EXAMPLES: &str = "\
Examples:
  llm-proxy init
  llm-proxy init --vendor openai --api-key env:OPENAI_API_KEY --store embedded
  llm-proxy init --vendor ollama --store gateway.yaml";

/// Where the configuration goes.
#[derive(Debug)]
enum Target {
    Embedded,
    File(PathBuf),
    Database(String),
}

impl Target {
    fn parse(text: &str) -> Result<Target, Failure> {
        let text = text.trim();
        let is_file = [".yaml", ".yml"].iter().any(|end| text.ends_with(end));
        match text {
            "embedded" => Ok(Target::Embedded),
            "file" => Ok(Target::File("gateway.yaml".into())),
            _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
                Ok(Target::Database(text.to_owned()))
            }
            _ if is_file => Ok(Target::File(text.into())),
            _ => Err(Failure::Usage(vec![format!(
                "`{text}` is no store; give embedded, a file that ends in .yaml, or postgresql://USER@HOST/DATABASE"
            )])),
        }
    }
}

/// Runs `llm-proxy init`.
pub fn run(args: Args) -> Result<(), Failure> {
    let (environment, _) = Environment::of_process();
    let key_name = args.key_name.clone();
    let (no_check, target) = (args.no_check, args.store.clone());
    let (vendor, row) = args.provider(&environment)?;
    let target = match target {
        Some(target) => target,
        None => {
            terminal::prompt("Store: embedded, a .yaml file or a postgresql:// address", Some("embedded"), "--store")?
        }
    };
    let target = Target::parse(&target)?;
    target.refuse_what_is_there(&row, &key_name, &environment)?;
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
    let client_key = key::generate()?;
    let credential = CredentialRow {
        credential_key: key::hash(&client_key),
        name: key_name,
        allowed_models: "[]".into(),
        metadata: "{}".into(),
        is_enabled: true,
        ..CredentialRow::default()
    };
    target.write(row, credential, &environment)?;
    introduce(&client_key, if model.is_empty() { "MODEL" } else { &model }, &environment)
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
                let answer = terminal::prompt(&question, Some(default), "--vendor")?;
                vendors::find(&answer).map_err(|why| Failure::Usage(vec![why]))?
            }
        };
        let base = match (self.base, vendor.base) {
            (Some(base), _) => base,
            (None, "") => terminal::prompt("Base address, such as https://host/v1", None, "--base")?,
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

impl Target {
    /// Fails if something would have to be overwritten.
    fn refuse_what_is_there(
        &self,
        row: &ProviderRow,
        key_name: &str,
        environment: &Environment,
    ) -> Result<(), Failure> {
        match self {
            Target::File(path) if path.exists() => Err(Failure::failed(format!(
                "{} exists and is not overwritten; name another file with --store",
                path.display()
            ))),
            Target::File(_) => files::refuse_another(&[("CONFIG_FILE", "")], environment),
            Target::Database(url) => files::refuse_another(&[("DB_URL", url)], environment),
            Target::Embedded => {
                let boot = embedded(environment)?;
                if store::is_missing(&boot) {
                    return Ok(());
                }
                let rows = Blocking::embedded(&boot.data_dir)?.load()?;
                if rows.providers.iter().any(|there| there.provider_key == row.provider_key) {
                    return Err(Failure::failed(format!(
                        "a provider named `{}` exists in {}; choose another --name, or change it with \
                         `llm-proxy provider set`",
                        row.provider_key,
                        boot.data_dir.join(stores::sqlite::FILE).display()
                    )));
                }
                if let Some(other) = rows.credentials.iter().find(|there| there.name == key_name) {
                    return Err(Failure::failed(format!(
                        "a key named `{key_name}` exists (id {}); give this one another name with --key-name",
                        other.id
                    )));
                }
                Ok(())
            }
        }
    }

    fn write(&self, row: ProviderRow, credential: CredentialRow, environment: &Environment) -> Result<(), Failure> {
        let store = match self {
            Target::File(path) => return files::write(path, row, credential),
            Target::Embedded => Blocking::embedded(&embedded(environment)?.data_dir)?,
            Target::Database(url) => {
                let mut environment = Environment::default();
                environment.process.insert("DB_URL".to_owned(), url.as_str().into());
                let (boot, _) = Boot::from(&[], &environment)?;
                let store = Blocking::new(stores::open(&boot, &environment)?)?;
                store.load()?;
                store
            }
        };
        let api_key = vault::seal(&row.api_key, &|name| environment.get(name).map(str::to_owned));
        store.add_provider(&ProviderRow { api_key: api_key.map_err(Failure::failed)?.into(), ..row })?;
        store.create_credential(&credential)?;
        // It is written last, so that it names no database that refuses to be written. The rows are
        // there by now, and so a failure is not one of the command.
        if let Target::Database(url) = self
            && let Err(Failure::Failed(why)) = files::add_to_dotenv(&[("DB_URL", url)])
        {
            print::note("warning", &format!("{why}; set DB_URL yourself"));
        }
        print::note("note", &format!("written to the store: {}", store.place()));
        Ok(())
    }
}

/// Returns the settings of a gateway on the embedded store.
fn embedded(environment: &Environment) -> Result<Boot, Failure> {
    let mut few = Environment::default();
    if let Some(dir) = environment.get("DATA_DIR") {
        few.process.insert("DATA_DIR".to_owned(), dir.into());
    }
    Ok(Boot::from(&[], &few)?.0)
}

/// Prints the key on a line that scripts read, then what to do next.
fn introduce(key: &str, model: &str, environment: &Environment) -> Result<(), Failure> {
    let port = environment.get("PORT").unwrap_or("18000");
    print::line(&format!(
        "\
key: {key}

The key is shown this once. Start the gateway:

llm-proxy serve

and ask it something:

curl -s http://127.0.0.1:{port}/v1/chat/completions -H 'Authorization: Bearer {key}' \\
  -H 'content-type: application/json' \\
  -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

`llm-proxy connect` prints the settings of SDKs and agents."
    ))
}
