//! Explains a choice of candidates without making it: who is asked for a model, in which order,
//! with which weight and state, and who is not asked and why.
//!
//! The candidates and their order come from [`Selector`], as those of a request do.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::circuit::TICK;
use crate::breaker::policy::{Policy, WHOLE};
use crate::config::boot::CatchAllRouting;
use crate::config::hedging::Hedging;
use crate::config::models::Mapping;
use crate::config::rows::Rows;
use crate::config::snapshot::{Credential, Provider, Snapshot};
use crate::config::virtual_models::VirtualModel;
use crate::route::affinity::ConversationKey;
use crate::route::pick::{Candidate, Candidates, Ranked};
use crate::route::rank::Rank;
use crate::route::selector::Selector;
use crate::shared::catalog::Lists;
use llm_wire::Format;

/// What a choice depends on.
pub struct Situation<'a> {
    pub rows: &'a Rows,
    pub snapshot: &'a Snapshot,
    pub lists: Arc<Lists>,
    pub routing: CatchAllRouting,
    pub policy: &'a Policy,
    /// In ticks of the circuits.
    pub now: u32,
}

/// The request whose candidates are explained.
#[derive(Debug)]
pub struct Question<'a> {
    /// Without the prefix of `MODEL_PREFIX`.
    pub model: &'a str,
    pub format: Format,
    /// Whether a provider of another format may serve it.
    pub translates: bool,
    pub credential: Option<&'a Credential>,
    pub conversation: Option<ConversationKey>,
}

/// Who would be asked for a model, and who would not
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    pub model: String,
    pub format: String,
    /// The credential that asks; null is nobody in particular, who may use every model
    pub credential: Option<String>,
    /// Whether the model is a virtual one
    pub is_virtual: bool,
    /// Why nobody is asked; null if somebody is
    pub refusal: Option<String>,
    /// The provider that the conversation of the request belongs to, which is asked first; null
    /// without a header that names a session
    pub conversation_at: Option<String>,
    /// When a stream or a whole answer gets a second attempt beside the first, in words; null if
    /// never
    #[serde(default)]
    pub hedge: Option<String>,
    /// In the order in which they are tried. Candidates of one tier and rank take turns by their
    /// weights: this is the order of one turn
    pub candidates: Vec<Explained>,
    pub left_out: Vec<LeftOut>,
}

/// A candidate
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    pub provider: String,
    /// The provider's name of the model
    pub upstream_model: String,
    /// The format that the provider is asked in; another than the client's means a translation
    pub format: String,
    /// 0 is the first
    pub tier: u32,
    /// How certain it is that the provider has the model: `exact`, `pattern`, `listed`, `vendor` or
    /// `unknown`
    pub rank: String,
    /// 0 is a standby
    pub weight: u32,
    /// The part of the requests of its tier and rank that it gets now, from 0 to 1
    pub share: f64,
    /// Tokens that fit into the model
    pub context_window: u64,
    /// `closed`, `open` or `half_open`
    pub state: String,
    /// Whether it is out of service, and asked only when nobody else is left
    pub is_benched: bool,
    /// Milliseconds until it may be asked again
    pub wait_ms: u64,
    /// Why it stands here, in words
    pub why: String,
}

/// A provider, or a member of a virtual model, that is not asked
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The provider; null is all of them
    pub provider: Option<String>,
    /// The member of the virtual model; null where it is the model itself
    pub member: Option<String>,
    pub why: String,
}

/// Finds the credential that a name or an id means.
pub fn credential<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Credential, String> {
    let id = name.parse::<i64>().ok();
    let is_it = |credential: &&Arc<Credential>| *credential.name == *name || Some(credential.id) == id;
    let mut found = snapshot.credentials_by_id.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("there is no credential in use with the name or id `{name}`")),
        (Some(_), Some(_)) => Err(format!("several credentials have the name or id `{name}`; give the id of one")),
    }
}

/// Describes the second attempts of a request, if it may have any.
fn hedge(snapshot: &Snapshot, model: &str, credential: Option<&Credential>) -> Option<String> {
    let of_model = snapshot.virtual_models.get(model).and_then(|model| model.options.hedge);
    let Hedging { share, after, whole_after } = of_model.or_else(|| credential?.hedging)?;
    let time = |fixed: Option<Duration>, learned: &str| match fixed {
        Some(after) => format!("{} ms", after.as_millis()),
        None => format!("the time that 95 of 100 {learned} take"),
    };
    let (after, whole_after) = (time(after, "first contents"), time(whole_after, "whole answers"));
    let percent = f64::from(share) / 100.0;
    Some(format!(
        "a stream without content after {after} is sent to the next candidate too, and so is a request for a whole \
         answer after {whole_after}, {percent} % at most"
    ))
}

/// Explains the candidates of a request.
pub fn explain(situation: &Situation<'_>, question: &Question<'_>) -> Explanation {
    let Situation { snapshot, policy, now, .. } = *situation;
    let Question { model, format, translates, credential, .. } = *question;
    let mut explanation = Explanation {
        model: model.to_owned(),
        format: format.to_string(),
        credential: credential.map(|credential| credential.name.to_string()),
        is_virtual: snapshot.virtual_models.contains_key(model),
        refusal: None,
        conversation_at: None,
        hedge: hedge(snapshot, model, credential),
        candidates: Vec::new(),
        left_out: left_out(situation, question),
    };
    if credential.is_some_and(|credential| !credential.allows(model)) {
        explanation.refusal = Some(format!("the credential may not use model `{model}`"));
        return explanation;
    }
    let selector = Selector::new(0, situation.routing, situation.lists.clone());
    let candidates = selector.candidates(snapshot, format, translates, model, credential);
    let key = question.conversation.filter(|_| candidates.list.len() > 1);
    let pinned = key.and_then(|key| candidates.of_conversation(key, &snapshot.providers, policy, now));
    let pinned = pinned.map(|(candidate, _)| candidate);
    explanation.conversation_at = pinned.map(|pinned| snapshot.providers[pinned.provider].key.to_string());
    let is_other = |ranked: &Ranked<'_>| pinned.is_none_or(|pinned| !std::ptr::eq(pinned, ranked.candidate));
    let order = candidates.order(&snapshot.providers, policy, || now).filter(is_other);
    let first = pinned.map(|candidate| Ranked { candidate, is_benched: false });
    let explained = first.into_iter().chain(order).map(|ranked| explained(situation, &candidates, &ranked));
    explanation.candidates = explained.collect();
    if explanation.candidates.is_empty() {
        let why = match candidates.other_formats {
            0 => format!("no provider serves model `{model}`"),
            _ => format!("model `{model}` is served in other formats alone, and this path is never translated"),
        };
        explanation.refusal = Some(why);
    }
    explanation
}

fn explained(situation: &Situation<'_>, candidates: &Candidates, ranked: &Ranked<'_>) -> Explained {
    let Ranked { candidate, is_benched } = *ranked;
    let provider = &situation.snapshot.providers[candidate.provider];
    let (memory, now) = (&provider.memory, situation.now);
    let model = memory.model(candidate.slot);
    let worse = [Some(&memory.account), model].into_iter().flatten().max_by_key(|cell| cell.circuit().wait(now));
    let circuit = worse.unwrap_or(&memory.account).circuit();
    let weight = |candidate: &Candidate| {
        let memory = &situation.snapshot.providers[candidate.provider].memory;
        let is_out = situation.policy.enabled && memory.wait(candidate.slot, now) > 0;
        let part = if situation.policy.enabled { memory.share(candidate.slot, now, situation.policy) } else { WHOLE };
        f64::from(candidate.weight) * if is_out { 0.0 } else { f64::from(part) / f64::from(WHOLE) }
    };
    let is_ranked = situation.routing == CatchAllRouting::Ranked && candidates.virtual_model.is_none();
    let is_peer =
        |other: &&Candidate| other.priority == candidate.priority && (!is_ranked || other.rank == candidate.rank);
    let total: f64 = candidates.list.iter().filter(is_peer).map(weight).sum();
    let wait_ms = u64::from(memory.wait(candidate.slot, now)) * TICK;
    Explained {
        provider: provider.key.to_string(),
        upstream_model: candidate.upstream_model.to_string(),
        format: candidate.target.format.to_string(),
        tier: candidate.priority,
        rank: candidate.rank.name().to_owned(),
        weight: candidate.weight,
        share: if total > 0.0 { (weight(candidate) / total * 10_000.0).round() / 10_000.0 } else { 0.0 },
        context_window: candidate.context_window,
        state: circuit.state(now).to_owned(),
        is_benched,
        wait_ms,
        why: why(candidate, is_benched, wait_ms, circuit.reason.label()),
    }
}

fn why(candidate: &Candidate, is_benched: bool, wait_ms: u64, reason: &str) -> String {
    let has_it = match candidate.rank {
        Rank::Exact => "its mapping has this name",
        Rank::Pattern => "a pattern of its mapping matches",
        Rank::Listed => "it serves every model, and its own list has this one",
        Rank::Vendor => "it serves every model, and its vendor gives its models such names",
        Rank::Unknown => "it serves every model, and it is unknown whether it has this one",
    };
    let place = match (is_benched, candidate.weight) {
        (true, _) => format!("; it is out of service ({reason}) for {wait_ms} ms more, and comes last"),
        (false, 0) => "; its weight is 0: it is asked when nobody else of its tier is left".to_owned(),
        (false, _) => String::new(),
    };
    format!("{has_it}{place}")
}

fn left_out(situation: &Situation<'_>, question: &Question<'_>) -> Vec<LeftOut> {
    let mut found = Vec::new();
    let Some(virtual_model) = situation.snapshot.virtual_models.get(question.model) else {
        providers_left_out(situation, question.model, None, None, &mut found);
        return found;
    };
    let credential = question.credential;
    for member in virtual_model.members_for(credential.map(|credential| &*credential.name)) {
        let model = &*member.model;
        if credential.is_some_and(|credential| !credential.allows(model)) {
            let why = "the credential may not use it by its own name".to_owned();
            found.push(LeftOut { provider: None, member: Some(model.to_owned()), why });
            continue;
        }
        providers_left_out(situation, model, Some(virtual_model), member.provider.as_deref(), &mut found);
    }
    found
}

/// Adds the providers that are not asked for a model. Those that serve other models alone are not
/// worth a line each.
fn providers_left_out(
    situation: &Situation<'_>,
    model: &str,
    virtual_model: Option<&Arc<VirtualModel>>,
    only: Option<&str>,
    found: &mut Vec<LeftOut>,
) {
    let before = found.len();
    let mut is_served = false;
    for row in &situation.rows.providers {
        let provider: Option<&Arc<Provider>> = situation.snapshot.provider(row.id);
        let (mapping, _) = Mapping::parse(&row.model_mapping);
        if mapping.named(model).is_none() {
            continue;
        }
        let why = match provider {
            _ if !row.is_enabled => "it is disabled".to_owned(),
            None => "its row cannot be used; check-config says why".to_owned(),
            Some(provider) if only.is_some_and(|only| *only != *provider.key) => {
                "the member names another provider".to_owned()
            }
            Some(_) => {
                is_served = true;
                continue;
            }
        };
        let member = virtual_model.map(|_| model.to_owned());
        found.push(LeftOut { provider: Some(row.provider_key.clone()), member, why });
    }
    if virtual_model.is_some() && !is_served && found.len() == before {
        let why = "no provider serves it".to_owned();
        found.push(LeftOut { provider: None, member: Some(model.to_owned()), why });
    }
}
