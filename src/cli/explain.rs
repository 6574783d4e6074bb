//! `llm-proxy explain`: which candidates a request would have, in which order and why, without
//! sending anything.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::json;

use super::failure::Failure;
use super::preview::Preview;
use super::print;
use super::store::{StoreArgs, StoreLocation, call};
use crate::breaker::policy::Policy;
use crate::config::boot::{CatchAllRouting, Environment};
use crate::config::rows::Rows;
use crate::route::affinity::ConversationKey;
use crate::route::explain::{self, Explained, Explanation, Question, Situation};
use crate::route::rank::Rank;
use crate::shared::catalog::Lists;
use llm_wire::Format;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    model: AskedModel,
    /// Name or id of the key that asks [default: nobody in particular, who may use every model]
    #[arg(long, value_name = "NAME|ID")]
    key: Option<String>,
    /// Format of the client
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "chat")]
    format: ClientFormat,
    /// A header of the request, of which those count that name a session; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// For a path that is never translated, such as embeddings
    #[arg(long)]
    untranslated: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The model that is asked for: `MODEL`, or `--model MODEL`.
#[derive(Debug, clap::Args)]
#[group(id = "asked_model", required = true, multiple = false)]
struct AskedModel {
    /// The model that is asked for; `--model MODEL` does the same
    #[arg(id = "given_model", value_name = "MODEL")]
    positional: Option<String>,
    /// The model that is asked for
    #[arg(id = "model", long = "model", value_name = "MODEL")]
    flag: Option<String>,
}

impl AskedModel {
    fn get(&self) -> &str {
        self.positional.as_deref().or(self.flag.as_deref()).unwrap_or_default()
    }
}

const EXAMPLES: &str = "\
Without --url the store is read, and nothing is known of failures, nor of the models
that providers list. Through --url a gateway answers, which knows both:
  llm-proxy explain --model smart --key team-a
  llm-proxy explain --model gpt-5 --format messages --url http://127.0.0.1:18000";

/// Reads `NAME: VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        _ => Err("write it as NAME: VALUE".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ClientFormat {
    Chat,
    Messages,
    Responses,
}

impl ClientFormat {
    fn format(self) -> Format {
        match self {
            ClientFormat::Chat => Format::Chat,
            ClientFormat::Messages => Format::Messages,
            ClientFormat::Responses => Format::Responses,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Some(place) = args.store.open_to_read()? else { return Ok(()) };
    let explanation = match &place {
        StoreLocation::Remote(remote) => {
            let body = json!({
                "model": args.model.get(),
                "credential": args.key,
                "format": args.format.format().to_string(),
                "headers": args.header.iter().cloned().collect::<BTreeMap<_, _>>(),
                "translates": !args.untranslated,
            });
            call(remote, "POST", "/explain", Some(body.to_string()))?
        }
        StoreLocation::Local(store, environment) => {
            let explanation = args.explain_here(&store.load()?, environment)?;
            if explanation.candidates.iter().any(|candidate| candidate.rank == Rank::Unknown.name()) {
                print::note("note", "a gateway alone knows which models its providers list; --url asks one");
            }
            explanation
        }
    };
    if args.json {
        let text = serde_json::to_string_pretty(&explanation);
        let text = text.map_err(|error| Failure::failed(format!("it cannot be written as JSON: {error}")))?;
        return print::line(&text);
    }
    print_explanation(&explanation)
}

impl Args {
    fn explain_here(&self, rows: &Rows, environment: &Environment) -> Result<Explanation, Failure> {
        let compiled = Preview::compile(rows, environment);
        compiled.note_unset_variables();
        let snapshot = compiled.snapshot;
        let credential = self.key.as_deref().map(|name| explain::credential(&snapshot, name)).transpose();
        let routing = match environment.get("CATCH_ALL_ROUTING") {
            Some("equal") => CatchAllRouting::Equal,
            _ => CatchAllRouting::Ranked,
        };
        let policy = &Policy::default();
        let situation =
            Situation { rows, snapshot: &snapshot, lists: Lists::default().into(), routing, policy, now: 0 };
        let (format, translates) = (self.format.format(), !self.untranslated);
        let credential = credential.map_err(Failure::failed)?;
        let fields = self.header.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let conversation = ConversationKey::of_session(fields);
        let question = Question { model: self.model.get(), format, translates, credential, conversation };
        Ok(explain::explain(&situation, &question))
    }
}

fn print_explanation(explanation: &Explanation) -> Result<(), Failure> {
    let who = explanation.credential.as_deref().unwrap_or("nobody in particular");
    let kind = if explanation.is_virtual { "virtual model" } else { "model" };
    print::line(&format!("{kind} {}, asked for by {who} in format {}", explanation.model, explanation.format))?;
    if let Some(refusal) = &explanation.refusal {
        print::line(&format!("refused: {refusal}"))?;
    }
    if let Some(provider) = &explanation.conversation_at {
        print::line(&format!("the conversation belongs to provider {provider}"))?;
    }
    if let Some(hedge) = &explanation.hedge {
        print::line(&format!("hedged: {hedge}"))?;
    }
    let lines: Vec<_> = (1..).zip(&explanation.candidates).map(|(n, candidate)| cells(n, candidate)).collect();
    if !lines.is_empty() {
        print::table(
            ["#", "PROVIDER", "UPSTREAM MODEL", "FORMAT", "TIER", "RANK", "WEIGHT", "SHARE", "STATE", "WHY"],
            &lines,
        )?;
    }
    for left_out in &explanation.left_out {
        let provider = left_out.provider.as_deref().map(|name| format!("provider {name}"));
        let member = left_out.member.as_deref().map(|name| format!("member {name}"));
        let what = member.into_iter().chain(provider).collect::<Vec<_>>().join(", ");
        print::line(&format!("not asked: {what}: {}", left_out.why))?;
    }
    Ok(())
}

fn cells(n: usize, candidate: &Explained) -> [String; 10] {
    [
        n.to_string(),
        candidate.provider.clone(),
        candidate.upstream_model.clone(),
        candidate.format.clone(),
        candidate.tier.to_string(),
        candidate.rank.clone(),
        candidate.weight.to_string(),
        format!("{:.0}%", candidate.share * 100.0),
        if candidate.is_benched { "out of service".to_owned() } else { candidate.state.clone() },
        candidate.why.clone(),
    ]
}
