//! The canonical request as a Chat Completions body: everything but the messages.

mod offer;

use crate::canonical::effort::{Effort, Mode, Reasoning};
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{OutputFormat, Request};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::history;
use crate::json::{RawValue, write};
use crate::request::fields;
use crate::request::params;
use crate::request::params::TargetParams;
use crate::request::reader;
use crate::request::schema;
use crate::request::thinking;
use crate::request::thinking::{ForOpenAi, Switch};
use crate::request::tools;
use crate::request::tools::{Offer, Offered};
use crate::request::turns::Prefill;
use crate::target::caps::Structured;
use crate::target::plan::{Context, Plan};
use crate::target::quirks::{Host, Quirk};
use offer::write_offer;

/// See [`super::encode`].
pub(super) fn encode(
    request: &Request<'_>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let quirks = cx.target.quirks;
    let offer = tools::offer(request, cx, plan, ledger)?;
    let reasoning_request = thinking::requested(request, ledger)?;
    let (reasoning, switch) = steer(reasoning_request, &offer, cx, ledger)?;
    let settled = params::settle(request, cx, reasoning.thinks, plan, ledger)?;
    let max_tokens = params::openai_max_tokens(request, cx, ledger)?;
    plan.upstream_stream |= quirks.has(Quirk::StreamThinking) && reasoning.thinks;
    let (form, instruction) = form(request, cx, ledger)?;

    let mut written = Ok(Prefill::None);
    write::object(out, |o| {
        o.str("model", cx.target.model);
        let may_think = reasoning.thinks || reasoning_request.mode == Mode::Unset;
        written = history::write(request, cx, may_think, instruction, ledger, o.key("messages"));
        if matches!(written, Ok(Prefill::Keep)) {
            o.bool("continue_final_message", true);
            o.bool("add_generation_prompt", false);
        }
        write_offer(&offer, plan, cx, o);
        write_form(&form, request, cx, o);
        write_reasoning(reasoning_request, reasoning, switch, cx, o);
        if let Some(max_tokens) = max_tokens {
            let name = if cx.target.caps.max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
            o.u64(name, max_tokens);
        }
        write_sampling(request, &settled, cx, o);
        write_identity(request, &settled, cx, o);
        write_stream(plan, cx, o);
        if request.from == Format::Chat {
            fields::write_ext(request, "", cx.target.host.is_native(), o);
        }
    });
    written.map(|_| ())
}

/// Reasoning controls for this model, this host and these tools.
fn steer(
    mut reasoning_request: Reasoning,
    offer: &Offer<'_, '_>,
    cx: &Context<'_>,
    ledger: &mut Ledger,
) -> Result<(ForOpenAi, Switch), Error> {
    let (caps, quirks) = (&cx.target.caps, cx.target.quirks);
    let would_think = match reasoning_request.mode {
        Mode::Unset => caps.thinks_by_default,
        Mode::Off => false,
        Mode::Manual { .. } | Mode::Adaptive => true,
    };
    if offer.forced && would_think && quirks.has(Quirk::NoForcedToolThinking) {
        ledger.drop(Loss::Thinking)?;
        reasoning_request = Reasoning::from_effort(Some(Effort::None));
    }
    let (mut sent, switch) = thinking::for_chat(reasoning_request, caps, quirks, ledger)?;
    let has_functions = offer.tools.iter().any(|t| matches!(t, Offered::Function { .. } | Offered::Custom { .. }));
    if has_functions && sent.thinks && !caps.tools_with_effort_on_chat {
        // An effort that the client did not name may go.
        if sent.effort.is_some()
            && (reasoning_request.effort.is_some() || matches!(reasoning_request.mode, Mode::Manual { .. }))
        {
            let what = "tools together with a reasoning effort";
            let why = "its Chat Completions refuse one beside the other; set the effort to `none`, or use a provider of \
                       the format Responses";
            return Err(reader::unsupported_parameter(&"reasoning_effort", what, why));
        }
        // The model thinks by default, and the vendor refuses even that beside tools.
        ledger.approx(Loss::ReasoningEffort)?;
        sent = ForOpenAi { effort: caps.levels.has(Effort::None).then_some(Effort::None), thinks: false, ..sent };
    }
    Ok((sent, switch))
}

/// What goes into `response_format`.
enum Form<'r> {
    Absent,
    JsonObject,
    Schema,
    /// A type that only this format's hosts know.
    Native(RawValue<'r>),
}

/// Returns the form of the answer, and the instruction that stands for what the host does not take.
fn form<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    ledger: &mut Ledger,
) -> Result<(Form<'a>, Option<Text<'a>>), Error> {
    let structured = match cx.target.caps.structured {
        Structured::JsonSchema if cx.target.quirks.has(Quirk::NoJsonSchema) => Structured::JsonObject,
        structured => structured,
    };
    Ok(match (&request.format, structured) {
        (OutputFormat::Text, _) => (Form::Absent, None),
        (OutputFormat::JsonObject, Structured::None) => {
            ledger.approx(Loss::JsonObject)?;
            (Form::Absent, Some(Text::plain("Answer with a single JSON object.")))
        }
        (OutputFormat::JsonObject, _) => (Form::JsonObject, None),
        (OutputFormat::JsonSchema { .. }, Structured::JsonSchema) => (Form::Schema, None),
        (OutputFormat::JsonSchema { schema, .. }, structured) => {
            ledger.approx(Loss::JsonSchema)?;
            let schema = String::from_utf8_lossy(schema.bytes());
            let text = format!("Answer with a single JSON object that fits this JSON schema: {schema}");
            let form = if structured == Structured::None { Form::Absent } else { Form::JsonObject };
            (form, Some(Text::plain(&text)))
        }
        (OutputFormat::Grammar(raw), _) if request.from == Format::Chat => (Form::Native(*raw), None),
        (OutputFormat::Grammar(raw), _) => return Err(reader::unsupported_form(&"text.format", *raw)),
    })
}

fn write_form(form: &Form<'_>, request: &Request<'_>, cx: &Context<'_>, o: &mut write::Object<'_>) {
    match (form, &request.format) {
        (Form::JsonObject, _) => o.object("response_format", |o| o.str("type", "json_object")),
        (Form::Native(raw), _) => o.value("response_format", *raw),
        (Form::Schema, OutputFormat::JsonSchema { name, description, schema, strict }) => {
            // Messages holds answers to its schemas always; what can be held so here is.
            let strict = match request.from {
                Format::Messages => Some(schema::is_openai_strict(*schema)),
                Format::Chat | Format::Responses => *strict,
            };
            o.object("response_format", |o| {
                o.str("type", "json_schema");
                o.object("json_schema", |o| {
                    match name {
                        Some(name) => o.raw_str("name", name.raw()),
                        None => o.str("name", "response"),
                    }
                    if let Some(description) = description {
                        o.raw_str("description", description.raw());
                    }
                    let filled = schema::with_items(*schema);
                    o.value("schema", filled.as_deref().map_or(*schema, RawValue::new));
                    if let Some(strict) = strict.filter(|_| !cx.target.quirks.has(Quirk::MinimalFields)) {
                        o.bool("strict", strict);
                    }
                });
            });
        }
        _ => {}
    }
}

fn write_reasoning(
    reasoning_request: Reasoning,
    sent: ForOpenAi,
    switch: Switch,
    cx: &Context<'_>,
    o: &mut write::Object<'_>,
) {
    if let Some(effort) = sent.effort {
        o.str("reasoning_effort", effort.name());
    }
    match switch {
        Switch::None => {}
        Switch::ThinkingType(on) => {
            o.object("thinking", |o| o.str("type", if on { "enabled" } else { "disabled" }));
        }
        Switch::EnableThinking(on, budget) => {
            o.bool("enable_thinking", on);
            if let Some(budget) = budget.filter(|_| on) {
                o.u64("thinking_budget", budget);
            }
        }
        Switch::Template(on) => o.object("chat_template_kwargs", |o| o.bool("enable_thinking", on)),
        Switch::Object { effort, max_tokens, exclude } => o.object("reasoning", |o| {
            match (effort.and_then(|effort| cx.target.caps.levels.snap(effort)), max_tokens) {
                (Some(effort), _) => o.str("effort", effort.name()),
                (None, Some(budget)) => o.u64("max_tokens", budget),
                (None, None) => o.bool("enabled", true),
            }
            if exclude {
                o.bool("exclude", true);
            }
        }),
    }
    // Only models that reason take it, and `gpt-oss` does not.
    let is_requested = matches!(reasoning_request.mode, Mode::Manual { .. } | Mode::Adaptive);
    if is_requested && cx.target.quirks.has(Quirk::ReasoningFormat) && !cx.target.model.contains("gpt-oss") {
        o.str("reasoning_format", "parsed");
    }
}

fn write_sampling(request: &Request<'_>, settled: &TargetParams<'_>, cx: &Context<'_>, o: &mut write::Object<'_>) {
    if let Some(temperature) = &settled.temperature {
        o.value("temperature", RawValue::new(temperature));
    }
    let numbers = [
        ("top_p", settled.top_p),
        ("top_k", settled.top_k),
        ("frequency_penalty", settled.frequency_penalty),
        ("presence_penalty", settled.presence_penalty),
        ("seed", settled.seed),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            o.value(name, number.0);
        }
    }
    if let Some(bias) = settled.logit_bias {
        o.value("logit_bias", bias);
    }
    if settled.logprobs {
        o.bool("logprobs", true);
    }
    if let Some(n) = settled.top_logprobs {
        // Refused without the switch, which Responses does not have.
        if !settled.logprobs {
            o.bool("logprobs", true);
        }
        o.u64("top_logprobs", n);
    }
    match settled.stop.as_slice() {
        [] => {}
        stops => o.array("stop", |list| stops.iter().for_each(|stop| list.raw_str(stop.raw()))),
    }
    if let Some(n) = request.sampling.n.filter(|n| *n > 1 && cx.target.caps.n) {
        o.u64("n", n);
    }
}

fn write_identity(request: &Request<'_>, settled: &TargetParams<'_>, cx: &Context<'_>, o: &mut write::Object<'_>) {
    let texts =
        [("user", &settled.user), ("safety_identifier", &settled.safety), ("prompt_cache_key", &settled.cache_key)];
    for (name, text) in texts {
        if let Some(text) = text {
            o.raw_str(name, text.raw());
        }
    }
    let values = [
        ("metadata", settled.metadata),
        ("prompt_cache_options", settled.cache_options),
        ("prompt_cache_retention", settled.cache_retention),
        ("moderation", settled.moderation),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            o.value(name, value);
        }
    }
    if let Some(verbosity) = settled.verbosity {
        o.raw_str("verbosity", verbosity);
    }
    if let Some(tier) = &settled.tier {
        o.str("service_tier", tier);
    }
    if let Some(store) = request.state.store.filter(|_| request.from == Format::Chat && cx.target.host.is_native()) {
        o.bool("store", store);
    }
}

fn write_stream(plan: &Plan, cx: &Context<'_>, o: &mut write::Object<'_>) {
    o.bool("stream", plan.upstream_stream);
    if !plan.upstream_stream || !cx.target.caps.stream_usage || cx.target.quirks.has(Quirk::NoStreamUsage) {
        return;
    }
    o.object("stream_options", |o| {
        o.bool("include_usage", true);
        // Padding against observers of the line between here and there, which the gateway would
        // throw away.
        if cx.target.host == Host::OpenAi {
            o.bool("include_obfuscation", false);
        }
    });
}
