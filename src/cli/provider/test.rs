//! `llm-proxy provider test`: whether a provider answers, asked from here, or with --url by the
//! gateway there.

use serde_json::{Value, json};

use super::check::{compiled, would_serve};
use super::listing::Listing;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, prober};
use crate::config::models::Mapping;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name or id of the provider
    #[arg(value_name = "NAME|ID")]
    provider: String,
    /// Also ask this model for a short answer, which costs a few tokens; may be repeated
    #[arg(long, value_name = "MODEL")]
    model: Vec<String>,
}

impl Args {
    pub(super) fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let Some(place) = store.open_to_read()? else {
            return Err(Failure::failed(format!("there is no provider with the name or id `{}`", self.provider)));
        };
        let (id, name) = Listing::read(&place)?.pick(&self.provider)?;
        match &place {
            StoreLocation::Local(store, environment) => {
                let row = store.load()?.providers.into_iter().find(|row| row.id == id).unwrap_or_default();
                let refuse = |why: String| Failure::failed(format!("provider {name}: {why}"));
                let provider = compiled(&row, environment).map_err(refuse)?;
                let prober = prober(environment).map_err(refuse)?;
                let listed = prober.models(&provider);
                match (&listed, self.model.is_empty()) {
                    (Ok(listed), _) => {
                        let (models, _) = Mapping::parse(&row.model_mapping);
                        print::line(&format!("{name}: {}", would_serve(&models, listed)))?;
                    }
                    (Err(why), true) => return Err(refuse(why.clone())),
                    // Some hosts have no list, and answer all the same.
                    (Err(why), false) => print::note("warning", &format!("provider {name}: {why}")),
                }
                for model in &self.model {
                    prober.send_probe(&provider, model).map_err(|why| refuse(format!("{model}: {why}")))?;
                    print::line(&format!("{name}: {model} answers"))?;
                }
                Ok(())
            }
            StoreLocation::Remote(remote) => {
                let body = if self.model.is_empty() { json!({}) } else { json!({ "models": self.model }) };
                let health: Value = call(remote, "POST", &format!("/providers/{id}/health"), Some(body.to_string()))?;
                report(&name, &health)
            }
        }
    }
}

/// Prints the health that the gateway reports.
fn report(name: &str, health: &Value) -> Result<(), Failure> {
    let mut failed = health["error"].as_str().map(str::to_owned);
    for probe in health["models"].as_array().into_iter().flatten() {
        let model = probe["model"].as_str().unwrap_or_default();
        match probe["error"].as_str() {
            None => print::line(&format!("{name}: {model} answers"))?,
            Some(why) => {
                failed = Some(format!("{model}: {why}"));
                print::note("warning", &format!("provider {name}: {model}: {why}"));
            }
        }
    }
    let status = health["status"].as_str().unwrap_or_default();
    match failed {
        Some(why) if status != "healthy" => Err(Failure::failed(format!("provider {name} is {status}: {why}"))),
        _ if status == "disabled" => Err(Failure::failed(format!("provider {name} is disabled"))),
        _ => print::line(&format!("{name}: {status}")),
    }
}
