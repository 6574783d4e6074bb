//! `llm-proxy provider set|enable|disable`: a row is changed in its place, so that nothing stops
//! being served meanwhile.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::check::{check, note_meanings};
use super::input::{given_key, pair};
use super::listing::{Listing, Named, models_text};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call};
use crate::config::models::Mapping;
use crate::config::ordered;
use crate::config::rows::ProviderRow;
use crate::config::vault;
use crate::control_plane::admin::view::{self, ProviderView, unmasked};
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
  llm-proxy provider set openai --weight 3
  llm-proxy provider set router --map 'gpt-*=openai/gpt-*' --unmap fast
  llm-proxy provider set claude --api-key - < key.txt";

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// openai, azure, anthropic (or claude) or responses; other types are treated as openai
    #[arg(long = "type", value_name = "TYPE")]
    provider_type: Option<String>,
    /// Base URL
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// API key of the provider; `env:NAME` reads it from the server's environment, `-` reads it
    /// from standard input now
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Share of the requests; a provider with 0 is a standby, used when no other provider is left
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    weight: Option<u32>,
    /// Serve MODEL as UPSTREAM_MODEL, besides the mapping that is set; may be repeated
    #[arg(long, value_name = "MODEL=UPSTREAM_MODEL", value_parser = pair)]
    map: Vec<(String, String)>,
    /// Remove this model or pattern from the mapping; may be repeated
    #[arg(long, value_name = "MODEL")]
    unmap: Vec<String>,
    /// Serve every model under its own name: the mapping is emptied
    #[arg(long, conflicts_with_all = ["map", "unmap"])]
    map_all: bool,
    /// Provider parameters as a JSON object, replacing those that are set; a header whose value is
    /// `***` stays
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let api_key = self.changes.api_key.clone().map(given_key).transpose()?;
        let place = store.open()?;
        let (id, name) = Listing::read(&place)?.pick(&self.named.provider)?;
        match &place {
            StoreLocation::Local(store, environment) => {
                let env = |name: &str| environment.get(name).map(str::to_owned);
                let old = row(store, id, &name)?;
                let mut new = old.clone();
                self.changes.apply(&mut new)?;
                // The key is not checked if it stays: it may be sealed with a SECRET_KEY that is
                // not set here.
                let key = api_key.clone().unwrap_or_default();
                check(&ProviderRow { api_key: key.into(), ..new.clone() }, environment, "changed")?;
                if let Some(key) = api_key {
                    new.api_key = vault::seal(&key, &env).map_err(Failure::failed)?.into();
                }
                update(store, "provider.update", &old, new)?;
            }
            StoreLocation::Remote(remote) => {
                let old: ProviderView = call(remote, "GET", &format!("/providers/{id}"), None)?;
                let mut new = ProviderRow {
                    provider_key: old.provider_key.clone(),
                    provider_type: old.provider_type.clone(),
                    api_base: old.api_base.clone(),
                    model_mapping: old.model_mapping.get().to_owned(),
                    ..ProviderRow::default()
                };
                self.changes.apply(&mut new)?;
                if let Some(key) = &api_key {
                    new.api_key = key.as_str().into();
                }
                note_meanings(&new);
                let body = self.changes.body(&new, api_key)?;
                let _: Value = call(remote, "PATCH", &format!("/providers/{id}"), Some(body))?;
            }
        }
        let now = Listing::read(&place)?.providers.into_iter().find(|row| row.id == id);
        let models = now.map(|row| models_text(&Mapping::parse(row.model_mapping.get()).0)).unwrap_or_default();
        print::line(&format!("changed provider {name} with id {id}; it serves {models}"))?;
        place.note_written();
        Ok(())
    }
}

impl Changes {
    fn has_mapping(&self) -> bool {
        self.map_all || !self.map.is_empty() || !self.unmap.is_empty()
    }

    /// Applies all changes but that of the key.
    fn apply(&self, row: &mut ProviderRow) -> Result<(), Failure> {
        if let Some(kind) = &self.provider_type {
            row.provider_type.clone_from(kind);
        }
        if let Some(base) = &self.base {
            row.api_base.clone_from(base);
        }
        if let Some(weight) = self.weight {
            row.weight = i64::from(weight);
        }
        if let Some(params) = &self.params {
            row.provider_params = unmasked(params, &row.provider_params);
        }
        if self.has_mapping() {
            row.model_mapping = self.mapping(row)?;
        }
        Ok(())
    }

    /// Returns the mapping of `row` with the changes, in its order; new entries come last.
    fn mapping(&self, row: &ProviderRow) -> Result<String, Failure> {
        let refuse = |why: String| Failure::failed(format!("provider {} is not changed: {why}", row.provider_key));
        let old = ordered::pairs("model_mapping", &row.model_mapping)
            .map_err(|why| refuse(format!("{why}; clear it with --map-all first")))?;
        if self.map_all {
            return Ok("{}".to_owned());
        }
        let mut pairs: Vec<(String, Box<RawValue>)> =
            old.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        for name in &self.unmap {
            let before = pairs.len();
            pairs.retain(|(known, _)| known != name);
            if pairs.len() == before {
                return Err(refuse(format!("`{name}` is not in its mapping")));
            }
        }
        if pairs.is_empty() && self.map.is_empty() {
            let why = "without that its mapping would be empty, which serves every model";
            return Err(refuse(format!("{why}; disable it, or give --map-all if that is meant")));
        }
        if pairs.is_empty() && self.unmap.is_empty() {
            print::note("warning", "it served every model; from now on it serves those of --map and no others");
        }
        for (model, upstream) in &self.map {
            let value = serde_json::value::to_raw_value(upstream).map_err(|error| refuse(error.to_string()))?;
            match pairs.iter_mut().find(|(known, _)| known == model) {
                Some((_, old)) => *old = value,
                None => pairs.push((model.clone(), value)),
            }
        }
        let json = |text: &str| Value::from(text).to_string();
        let pairs: Vec<_> = pairs.iter().map(|(model, value)| json(model) + ":" + value.get()).collect();
        Ok(format!("{{{}}}", pairs.join(",")))
    }

    /// Writes the body for the admin interface: the members that change, and no others. The mapping
    /// stays text, since its order matters.
    fn body(&self, new: &ProviderRow, api_key: Option<String>) -> Result<String, Failure> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("provider_type", self.provider_type.clone().map(Value::from));
        put("api_base", self.base.clone().map(Value::from));
        put("api_key", api_key.map(Value::from));
        put("weight", self.weight.map(Value::from));
        if let Some(params) = &self.params {
            let params = serde_json::from_str(params)
                .map_err(|error| Failure::failed(format!("--params is no JSON: {error}")))?;
            put("provider_params", Some(params));
        }
        let mut text = Value::Object(body).to_string();
        if self.has_mapping() {
            text.truncate(text.len() - 1);
            let comma = if text.len() > 1 { "," } else { "" };
            text.push_str(&format!("{comma}\"model_mapping\":{}}}", new.model_mapping));
        }
        Ok(text)
    }
}

fn row(store: &Blocking, id: i64, name: &str) -> Result<ProviderRow, Failure> {
    let found = store.load()?.providers.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| Failure::failed(format!("the provider {name} was removed meanwhile")))
}

fn update(store: &Blocking, action: &str, old: &ProviderRow, new: ProviderRow) -> Result<(), Failure> {
    let before_and_after = [view::audit_text(&ProviderView::of(old)), view::audit_text(&ProviderView::of(&new))];
    store.change(action, &old.provider_key, before_and_after, Change::UpdateProvider(new))?;
    Ok(())
}

/// Enables or disables a provider.
pub(super) fn enable(named: &Named, is_enabled: bool, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let (id, name) = Listing::read(&place)?.pick(&named.provider)?;
    match &place {
        StoreLocation::Local(store, environment) => {
            let old = row(store, id, &name)?;
            let new = ProviderRow { is_enabled, ..old.clone() };
            if is_enabled {
                let key = if vault::is_sealed(&old.api_key) { "".into() } else { old.api_key.clone() };
                check(&ProviderRow { api_key: key, ..new.clone() }, environment, "enabled")?;
            }
            update(store, "provider.status", &old, new)?;
        }
        StoreLocation::Remote(remote) => {
            let body = serde_json::json!({ "is_enabled": is_enabled }).to_string();
            let _: Value = call(remote, "PUT", &format!("/providers/{id}/status"), Some(body))?;
        }
    }
    let done = if is_enabled { "enabled" } else { "disabled" };
    place.report_written(&format!("{done} provider {name} with id {id}"))?;
    Ok(())
}
