//! Who may ask for what, and which provider answers.

mod access;
mod affinity;
mod attempts;
mod choice;
mod explain;
mod files;
mod hedging;
mod hedging_whole;
mod live;
mod memory;
mod ranks;
mod stored;
mod virtual_models;

use llm_proxy::config::rows::{CredentialRow, ProviderRow};

use super::support::*;

const PATH: &str = sample::CHAT.path;

fn ask(model: &str) -> String {
    serde_json::json!({ "model": model, "messages": [] }).to_string()
}

/// A provider that answers with its own name and the model that it was asked for.
fn named(name: &'static str) -> Fake {
    Fake::answering(move |request| {
        answer::json(200, serde_json::json!({ "by": name, "asked": request.json()["model"] }).to_string())
    })
}

/// The name of the provider that answers a request for `model`.
fn answered_by(client: &mut Client, model: &str) -> String {
    let response = client.call(PATH, ask(model));
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["by"].as_str().unwrap().to_owned()
}
