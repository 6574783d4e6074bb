//! The order of decisions for a provider's request, and its top level.

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{OutputFormat, Part, Request};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::conversation::Conversation;
use crate::formats::responses::request::encode_tools;
use crate::formats::responses::request::form::Form;
use crate::formats::responses::request::parts::{CachePoints, Parts};
use crate::json::{RawValue, write};
use crate::request::fields;
use crate::request::pairing;
use crate::request::params;
use crate::request::params::TargetParams;
use crate::request::reader;
use crate::request::schema;
use crate::request::thinking;
use crate::request::thinking::ForOpenAi;
use crate::request::tools;
use crate::request::turns;
use crate::target::caps::Structured;
use crate::target::plan::{Context, Plan};
use crate::target::quirks::Quirk;

const ENCRYPTED: &str = "reasoning.encrypted_content";
const LOGPROBS: &str = "message.output_text.logprobs";

/// The name of a schema that has none: the format demands one.
const SCHEMA_NAME: &str = "response";

/// Writes the request for a provider of this format.
///
/// In this order, each decided in one shared place: tools by [`tools::offer`], reasoning by
/// [`thinking`], the rest by [`params::settle`], the conversation by [`pairing::pair`], a trailing
/// assistant message by [`turns::prefill`], reasoning items by
/// [`history::disposition`](crate::reasoning::history::disposition), tool names in history by
/// [`tools::sent_name`], call ids by [`turns::sent_id`]. Losses of content are entered in `ledger`;
/// its `Err` (strict mode) is passed on with `?`.
///
/// - Deterministic and append-only: the same request gives the same bytes, and what was written for
///   a turn does not depend on later ones (`docs/internals/translation.md`, "Append-only
///   encoding"). `input` is the last member.
/// - Writes `model` from `cx.target.model`, `stream` from `plan.upstream_stream`, never `null` for
///   an absent field. Items carry no ids: with `store: false` the provider does not know them.
/// - Changes in `plan`: `stops` and `tools`, through the shared functions.
/// - `out` is empty when it begins and may hold anything after an `Err`.
pub(crate) fn encode(
    request: &Request<'_>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let offer = tools::offer(request, cx, plan, ledger)?;
    encode_tools::losses(&offer, ledger)?;
    let think = thinking::for_openai(thinking::requested(request, ledger)?, &cx.target.caps, ledger)?;
    let settled = params::settle(request, cx, think.thinks, plan, ledger)?;
    let max_tokens = params::openai_max_tokens(request, cx, ledger)?;
    let form = form(request, cx, ledger)?;
    let items = pairing::pair(request, &cx.policy, ledger)?;
    let prefill = turns::prefill(request, &items, cx, ledger)?;

    let native = cx.target.host.is_native();
    let cache = CachePoints::new(request, cx, ledger)?;
    let mut parts = Parts { request, cx, ledger, cache };
    let mut result = Ok(());
    write::object(out, |o| {
        o.str("model", cx.target.model);
        if plan.upstream_stream {
            o.bool("stream", true);
            if native {
                // Padding against eavesdroppers on the provider's line, which nobody behind the
                // gateway sees.
                o.object("stream_options", |o| o.bool("include_obfuscation", false));
            }
        }
        state(o, request);
        include(o, request, cx, &settled);
        let system = system(request, &form);
        let cached = parts.cache.takes() && request.system.iter().any(|part| part.cache().is_some());
        // `input` must not be empty, unless the provider's own state takes its place.
        // `instructions` has text alone.
        let has_media = request.system.iter().any(|part| !matches!(part, Part::Text(_)));
        let as_item = cached || has_media || (items.is_empty() && request.from != Format::Responses);
        if !system.is_empty() && !as_item {
            o.raw_str("instructions", system.raw());
        }
        reasoning(o, request, &think, cx);
        text(o, &form, &settled);
        encode_tools::tools(o, &offer, &parts, plan);
        if let Some(n) = max_tokens {
            o.u64("max_output_tokens", n);
        }
        settle_into(o, &settled, request);
        if request.from == Format::Responses {
            fields::write_ext(request, "", native, o);
        }
        result = Conversation::new(&mut parts, o.key("input")).write(as_item.then_some(&form), &items, prefill);
    });
    result
}

fn form(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<Form, Error> {
    let structured = cx.target.caps.structured;
    let mut out = Vec::new();
    match &request.format {
        OutputFormat::Text => return Ok(Form::Free),
        OutputFormat::JsonObject if structured != Structured::None => {
            write::object(&mut out, |o| o.str("type", "json_object"));
        }
        OutputFormat::JsonObject => {
            ledger.approx(Loss::JsonObject)?;
            return Ok(Form::Words(Text::plain("Answer with a single JSON object.")));
        }
        OutputFormat::JsonSchema { schema: raw, .. } if structured != Structured::JsonSchema => {
            ledger.approx(Loss::JsonSchema)?;
            let schema = String::from_utf8_lossy(raw.bytes());
            let words = format!("Answer with a single JSON object that matches this JSON schema: {schema}");
            return Ok(Form::Words(Text::plain(&words)));
        }
        OutputFormat::JsonSchema { name, description, schema: raw, strict } => {
            // Clients of Messages cannot choose: their vendor holds every answer to the schema, in
            // a wider part of the language.
            let fits = request.from != Format::Messages || schema::is_openai_strict(*raw);
            write::object(&mut out, |o| {
                o.str("type", "json_schema");
                match name {
                    Some(name) => o.raw_str("name", name.raw()),
                    None => o.str("name", SCHEMA_NAME),
                }
                if let Some(description) = description {
                    o.raw_str("description", description.raw());
                }
                o.bool("strict", strict.unwrap_or(false) && fits);
                let filled = schema::with_items(*raw);
                o.value("schema", filled.as_deref().map_or(*raw, RawValue::new));
            });
        }
        OutputFormat::Grammar(raw) if cx.target.host.is_native() => out.extend_from_slice(raw.bytes()),
        OutputFormat::Grammar(raw) => {
            let path = if request.from == Format::Responses { "text.format" } else { "response_format" };
            return Err(reader::unsupported_form(&path, *raw));
        }
    }
    Ok(Form::Format(out))
}

/// Returns the system prompt as one string, with the words that ask for a form.
fn system<'a>(request: &Request<'a>, form: &Form) -> Text<'a> {
    let own = request.system.iter().filter_map(|part| match part {
        Part::Text(part) => Some(part.text.clone()),
        _ => None,
    });
    let words = match form {
        Form::Words(words) => Some(words.clone()),
        _ => None,
    };
    let texts: Vec<Text<'a>> = own.chain(words).collect();
    Text::join(&texts, "\n\n")
}

/// Clients of other formats have no state at the provider. Those of this one keep what they asked
/// for.
fn state(o: &mut write::Object<'_>, request: &Request<'_>) {
    let state = &request.state;
    if request.from != Format::Responses {
        return o.bool("store", false);
    }
    if let Some(store) = state.store {
        o.bool("store", store);
    }
    let raw =
        [("previous_response_id", state.previous), ("conversation", state.conversation), ("prompt", state.prompt)];
    for (name, value) in raw {
        if let Some(value) = value {
            o.value(name, value);
        }
    }
    if state.background {
        o.bool("background", true);
    }
    if let Some(truncation) = state.truncation {
        o.raw_str("truncation", truncation);
    }
    if let Some(n) = request.max_tool_calls {
        o.u64("max_tool_calls", n);
    }
}

/// What the answer must hold for the reasoning to come back with the next request, and what the
/// client asked for.
fn include(o: &mut write::Object<'_>, request: &Request<'_>, cx: &Context<'_>, settled: &TargetParams<'_>) {
    let target = &cx.target;
    let encrypted = target.caps.encrypted_reasoning && !target.quirks.has(Quirk::NoEncryptedReasoning);
    let logprobs = settled.logprobs || settled.top_logprobs.is_some_and(|n| n > 0);
    let own = [(ENCRYPTED, encrypted), (LOGPROBS, logprobs)];
    let others = request.state.include.iter().filter(|name| !own.iter().any(|(known, _)| name.eq_str(known)));
    let others: Vec<_> = others.filter(|_| request.from == Format::Responses).collect();
    if !encrypted && !logprobs && others.is_empty() {
        return;
    }
    o.array("include", |a| {
        own.iter().filter(|(_, asked)| *asked).for_each(|(name, _)| a.str(name));
        others.into_iter().for_each(|name| a.raw_str(*name));
    });
}

fn reasoning(o: &mut write::Object<'_>, request: &Request<'_>, think: &ForOpenAi, cx: &Context<'_>) {
    let summary = think.summary && cx.policy.summaries;
    let more = fields::has_ext(request, "reasoning", Format::Responses);
    if think.effort.is_none() && !summary && !more {
        return;
    }
    o.object("reasoning", |o| {
        if more {
            fields::write_ext(request, "reasoning", true, o);
        }
        if let Some(effort) = think.effort {
            o.str("effort", effort.name());
        }
        if summary {
            o.str("summary", "auto");
        }
    });
}

fn text(o: &mut write::Object<'_>, form: &Form, settled: &TargetParams<'_>) {
    let format = match form {
        Form::Format(format) => Some(RawValue::new(format)),
        _ => None,
    };
    if format.is_none() && settled.verbosity.is_none() {
        return;
    }
    o.object("text", |o| {
        if let Some(format) = format {
            o.value("format", format);
        }
        if let Some(verbosity) = settled.verbosity {
            o.raw_str("verbosity", verbosity);
        }
    });
}

fn settle_into(o: &mut write::Object<'_>, settled: &TargetParams<'_>, request: &Request<'_>) {
    if let Some(temperature) = &settled.temperature {
        o.value("temperature", RawValue::new(temperature));
    }
    if let Some(top_p) = settled.top_p {
        o.value("top_p", top_p.0);
    }
    if let Some(n) = settled.top_logprobs.filter(|n| *n > 0 || request.from == Format::Responses) {
        o.u64("top_logprobs", n);
    }
    if let Some(tier) = &settled.tier {
        o.str("service_tier", tier);
    }
    let texts =
        [("user", &settled.user), ("safety_identifier", &settled.safety), ("prompt_cache_key", &settled.cache_key)];
    for (name, text) in texts {
        if let Some(text) = text {
            o.raw_str(name, text.raw());
        }
    }
    let raw = [
        ("prompt_cache_options", settled.cache_options),
        ("prompt_cache_retention", settled.cache_retention),
        ("metadata", settled.metadata),
        ("moderation", settled.moderation),
    ];
    for (name, value) in raw {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            o.value(name, value);
        }
    }
}
