//! `llm-proxy provider add`.

use serde_json::Value;

use super::check::{check, listed, note_meanings, would_serve};
use super::input::{given_key, mapping_json, pair};
use super::listing::{Listing, models_text};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{self, StoreArgs, StoreLocation, call, number};
use crate::config::compile::compile;
use crate::config::models::Mapping;
use crate::config::rows::ProviderRow;
use crate::config::vault;
use crate::route::rank::overlap;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Unique name of the provider; `--name NAME` does the same
    #[arg(id = "given_name", value_name = "NAME", value_parser = store::name, required_unless_present = "name", conflicts_with = "name")]
    positional: Option<String>,
    /// Unique name of the provider
    #[arg(long, visible_alias = "key", value_name = "NAME", value_parser = store::name)]
    name: Option<String>,
    /// openai, azure, anthropic (or claude) or responses; other types are treated as openai
    #[arg(long = "type", value_name = "TYPE", default_value = "openai")]
    provider_type: String,
    /// Base URL, such as https://api.openai.com/v1
    #[arg(long, value_name = "URL")]
    base: String,
    /// API key of the provider; `env:NAME` reads it from the server's environment, `-` reads it
    /// from standard input now
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
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
    /// First read the provider's list of models, and print which of them it would serve; without
    /// an answer nothing is added
    #[arg(long)]
    check: bool,
}

const EXAMPLES: &str = "\
Examples. MODEL may be a pattern; `*` in UPSTREAM_MODEL is the text that the star
of MODEL stands for:
  llm-proxy provider add --name openai --base https://api.openai.com/v1 \\
      --api-key env:OPENAI_API_KEY --map 'gpt-*=gpt-*' --check
  llm-proxy provider add --name claude --type anthropic \\
      --base https://api.anthropic.com --map 'claude-*=claude-*' \\
      --api-key - < key.txt
  llm-proxy provider add --name router --base https://openrouter.ai/api/v1 \\
      --api-key env:ROUTER_KEY --map 'gpt-*=openai/gpt-*'";

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let asks_provider = self.check;
        let mut row = self.row()?;
        let place = store.open()?;
        if Listing::read(&place)?.providers.iter().any(|there| there.provider_key == row.provider_key) {
            return Err(Failure::failed(format!(
                "a provider named `{0}` exists; change it with `llm-proxy provider set {0}`, or choose another name",
                row.provider_key
            )));
        }
        let mut unset = Vec::new();
        if let StoreLocation::Local(_, environment) = &place {
            unset = check(&row, environment, "added")?;
        } else {
            note_meanings(&row);
        }
        let (models, _) = Mapping::parse(&row.model_mapping);
        if asks_provider {
            if let Some(name) = unset.first() {
                return Err(Failure::failed(format!(
                    "provider {} is not added: --check asks the provider from here, where {name} is not set; set it, or \
                     leave --check out",
                    row.provider_key
                )));
            }
            let listed = listed(&row, &store.environment())
                .map_err(|why| Failure::failed(format!("provider {} is not added: {why}", row.provider_key)))?;
            print::note("note", &would_serve(&models, &listed));
        }
        let (id, is_keyless) = match &place {
            StoreLocation::Local(store, environment) => {
                let env = |name: &str| environment.get(name).map(str::to_owned);
                row.api_key = vault::seal(&row.api_key, &env).map_err(Failure::failed)?.into();
                let id = store.add_provider(&row)?;
                let rows = store.load()?;
                if row.model_mapping == "{}"
                    && let Some(overlap) = overlap(&compile(&rows, None, &|_| Some("k".to_owned())).0)
                {
                    print::note("warning", &overlap);
                }
                (id, rows.credentials.is_empty() && rows.providers.len() == 1)
            }
            StoreLocation::Remote(remote) => {
                let made: Value = call(remote, "POST", "/providers", Some(body(&row)))?;
                for warning in made["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    print::note("warning", warning);
                }
                let count =
                    |path: &str| call(remote, "GET", path, None).map(|list: Value| number(&list, "/total_count"));
                let (keys, providers) = (count("/credentials?size=1")?, count("/providers?size=1")?);
                (number(&made, "/provider/id"), keys == 0 && providers == 1)
            }
        };
        let serves = match unset.as_slice() {
            [] => format!("it serves {}", models_text(&models)),
            names => {
                format!("with {} set where the gateway runs, it serves {}", names.join(" and "), models_text(&models))
            }
        };
        print::line(&format!("added provider {} with id {id}; {serves}", row.provider_key))?;
        place.note_written();
        // Printed for the first provider alone, so that it is not repeated for each further one.
        if is_keyless {
            print::note("note", "no client has a key yet; create one with `llm-proxy key create --name NAME`");
        }
        Ok(())
    }

    fn row(self) -> Result<ProviderRow, Failure> {
        Ok(ProviderRow {
            provider_key: self.positional.or(self.name).unwrap_or_default(),
            provider_type: self.provider_type,
            api_base: self.base,
            api_key: self.api_key.map_or_else(|| Ok(String::new()), given_key)?.into(),
            model_mapping: mapping_json(self.map.iter().map(|(model, upstream)| (model.as_str(), upstream.as_str()))),
            weight: i64::from(self.weight),
            provider_params: self.params,
            is_enabled: true,
            ..ProviderRow::default()
        })
    }
}

/// Writes the body for the admin interface. The mapping stays text, since its order matters.
fn body(row: &ProviderRow) -> String {
    let text = |text: &str| Value::from(text).to_string();
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
