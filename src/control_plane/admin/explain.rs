//! `POST /explain`: which candidates a request would have, without sending anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::boot::Affinity;
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::route::affinity::ConversationKey;
use crate::route::explain::{self, Question, Situation};
use llm_wire::Format;

/// The format of a client.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientFormat {
    #[default]
    Chat,
    Messages,
    Responses,
}

impl From<ClientFormat> for Format {
    fn from(format: ClientFormat) -> Format {
        match format {
            ClientFormat::Chat => Format::Chat,
            ClientFormat::Messages => Format::Messages,
            ClientFormat::Responses => Format::Responses,
        }
    }
}

body! {
    /// A request to explain.
    Explain {
        required model: String = "the model that is asked for";
        optional credential: String = "name or id of the credential that asks; without it, nobody in particular";
        optional format: ClientFormat = "format of the client, chat by default";
        optional headers: BTreeMap<String, String> = "headers of the request, of which those count that name a session";
        optional translates: bool = "whether a provider of another format may serve it, true by default; false for embeddings and the like";
    }
}

pub(super) async fn explain(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Explain = req.body()?;
    let freshness = context.refresh_if_possible().await;
    let (shared, rows) = (&context.shared, context.current.read().rows.clone());
    let snapshot = shared.publisher.load();
    let situation = Situation {
        rows: &rows,
        snapshot: &snapshot,
        lists: shared.catalog.load(),
        routing: shared.boot.catch_all_routing,
        policy: &shared.boot.adaptive,
        now: shared.ticks(),
    };
    let credential = body.credential.as_deref().map(|name| explain::credential(&snapshot, name)).transpose();
    let credential = credential.map_err(|why| Refusal::invalid(why, Some("credential".to_owned())))?;
    let model = without_prefix(shared.boot.model_prefix.as_deref(), &body.model);
    let format = body.format.unwrap_or_default().into();
    let headers = body.headers.unwrap_or_default();
    let fields = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let conversation = ConversationKey::of_session(fields).filter(|_| shared.boot.affinity != Affinity::Off);
    let question = Question { model, format, translates: body.translates.unwrap_or(true), credential, conversation };
    Ok(freshness.mark(json(200, &explain::explain(&situation, &question))?))
}

/// Returns the name without the prefix of `MODEL_PREFIX`, which routing does not know.
fn without_prefix<'m>(prefix: Option<&str>, model: &'m str) -> &'m str {
    match model.split_once('/') {
        Some((first, rest)) if Some(first) == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}
