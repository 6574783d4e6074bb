//! `/circuits`: which providers are out of service, why and for how long, and the switch to take
//! one out or put it back by hand.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::cell::Cell;
use crate::breaker::circuit::{Event, Phase, Reason, TICK};
use crate::breaker::policy::WHOLE;
use crate::config::snapshot::Provider;
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};

/// The circuit of a provider, or of a model of it
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CircuitView {
    provider_id: i64,
    provider_key: String,
    /// The provider's name of the model; null is the account, which counts for every model.
    model: Option<String>,
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// `429`, `5xx`, `transport`, `key_refused`, `model_missing`, `administrator` or `none`.
    reason: &'static str,
    /// Whether it gets no requests: it is open, or rests after a 429.
    is_benched: bool,
    /// Milliseconds until it may get one; null is until somebody closes it.
    wait_ms: Option<u64>,
    /// The part of its weight that it gets, from 0 to 1.
    share: f64,
}

/// What is remembered of providers
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Circuits {
    /// Whether ADAPTIVE_ROUTING_ENABLED is on.
    is_enabled: bool,
    circuits: Vec<CircuitView>,
}

/// A state that an administrator can set.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switch {
    Open,
    Closed,
}

body! {
    /// The state that the provider is put in.
    CircuitChange {
        required state: Switch = "`open` takes the provider out of service until `closed` is set; `closed` forgets every failure";
    }
}

/// `GET /circuits`: every account, and every model of which a failure is remembered.
pub(super) async fn list(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let snapshot = context.shared.publisher.load();
    json(200, &circuits(&context, &snapshot.providers))
}

/// Serves `POST /providers/{provider_id}/circuit`.
pub(super) async fn change(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let change: CircuitChange = req.body()?;
    let snapshot = context.shared.publisher.load();
    let Some(provider) = snapshot.provider(req.id) else {
        return Err(Refusal::missing("provider", req.id));
    };
    let (now, policy) = (context.shared.ticks(), &context.shared.boot.adaptive);
    match change.state {
        Switch::Open => provider.memory.account.record(Event::OpenedByHand, now, policy),
        Switch::Closed => {
            provider.memory.circuits().for_each(|(_, cell)| cell.record(Event::ClosedByHand, now, policy));
        }
    }
    json(200, &circuits(&context, std::slice::from_ref(provider)))
}

fn circuits(context: &Context, providers: &[Arc<Provider>]) -> Circuits {
    let is_shown = |(model, cell): &(Option<&str>, &Cell)| model.is_none() || !cell.is_healthy();
    let of_provider = |provider: &Arc<Provider>| {
        let cells = provider.memory.circuits().filter(is_shown);
        cells.map(|(model, cell)| view(context, provider, model, cell)).collect::<Vec<_>>()
    };
    Circuits {
        is_enabled: context.shared.boot.adaptive.enabled,
        circuits: providers.iter().flat_map(of_provider).collect(),
    }
}

fn view(context: &Context, provider: &Provider, model: Option<&str>, cell: &Cell) -> CircuitView {
    let (now, policy, circuit) = (context.shared.ticks(), &context.shared.boot.adaptive, cell.circuit());
    let is_benched = circuit.wait(now) > 0;
    let by_hand = circuit.reason == Reason::Administrator && circuit.phase == Phase::Open;
    CircuitView {
        provider_id: provider.id,
        provider_key: provider.key.to_string(),
        model: model.map(str::to_owned),
        state: circuit.state(now),
        reason: circuit.reason.label(),
        is_benched,
        wait_ms: (!by_hand).then_some(u64::from(circuit.wait(now)) * TICK),
        share: f64::from(circuit.share(now, policy)) / f64::from(WHOLE),
    }
}
