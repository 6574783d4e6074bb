//! The order of decisions for a provider's request, and its top level.

use std::borrow::Cow;

use crate::canonical::effort::Show;
use crate::canonical::loss::{Ledger, Loss, Repair};
use crate::canonical::request::{Item, ItemKind, OutputFormat, Part, Request};
use crate::error::Error;
use crate::format::Format;
use crate::formats::messages::request::conversation;
use crate::formats::messages::request::conversation::Conversation;
use crate::formats::messages::request::encode_tools;
use crate::formats::messages::request::parts::{Blocks, CacheBudget};
use crate::json::{RawValue, write};
use crate::reasoning::history;
use crate::request::fields;
use crate::request::pairing;
use crate::request::params;
use crate::request::params::{FOLD_ABOVE, TargetParams};
use crate::request::reader;
use crate::request::schema;
use crate::request::thinking;
use crate::request::thinking::{Circumstances, ForMessages, ThinkingField};
use crate::request::tools;
use crate::request::tools::Offer;
use crate::request::turns;
use crate::target::caps::Structured;
use crate::target::plan::{Context, Plan};
use crate::target::quirks::{Host, Quirk};
use crate::target::tool_names;

/// Longest `metadata.user_id` that Anthropic takes, in characters (Messages reference, 2026).
const USER_ID_MAX: usize = 256;

const INTERLEAVED: &str = "interleaved-thinking-2025-05-14";
const THINKING_BINDING: &str = "thinking-binding-controls-2026-08-01";

/// Writes the request for a provider of this format.
///
/// In this order, each decided in one shared place: tools by [`tools::offer`], reasoning by
/// [`thinking`], the rest by [`params::settle`], the conversation by [`pairing::pair`] and
/// [`turns::turns`], a trailing assistant message by [`turns::prefill`], reasoning items by
/// [`history::disposition`], tool names in history by [`tools::sent_name`], call ids by
/// [`turns::sent_id`]. Losses of content are entered in `ledger`; its `Err` (strict mode) is passed
/// on with `?`.
///
/// - Deterministic and append-only: the same request gives the same bytes, and what was written for
///   a turn does not depend on later ones (`docs/internals/translation.md`, "Append-only
///   encoding"). `messages` is the last member.
/// - Writes `model` from `cx.target.model`, `stream` from `plan.upstream_stream`, never `null` for
///   an absent field.
/// - Changes in `plan`: `upstream_stream`, `betas`; `stops` and `tools` through the shared
///   functions.
/// - `out` is empty when it begins and may hold anything after an `Err`.
pub(crate) fn encode(
    request: &Request<'_>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let offer = tools::offer(request, cx, plan, ledger)?;
    let think = think(request, cx, offer.forced, ledger)?;
    let settled = params::settle(request, cx, think.thinks, plan, ledger)?;
    if cx.target.host != Host::Anthropic && settled.tier.as_deref() == Some("standard_only") {
        ledger.drop(Loss::ServiceTier)?;
    }
    let format = form(request, cx, &offer, ledger)?;
    let mut items = pairing::pair(request, &cx.policy, ledger)?;
    // Thinking without what was thought: the provider refuses a turn that ends so.
    while items.pop_if(|item| matches!(item.kind, ItemKind::Reasoning(_))).is_some() {
        ledger.repair(Repair::Reasoning);
    }
    let prefill = turns::prefill(request, &items, cx, ledger)?;
    if think.max_tokens > FOLD_ABOVE {
        plan.upstream_stream = true;
    }
    let leading = items.iter().take_while(|item| conversation::is_system(item)).count();
    let (leading, items) = items.split_at(leading);

    let cache = CacheBudget::new(request, cx, ledger)?;
    let mut blocks = Blocks { request, cx, ledger, betas: Vec::new(), cache };
    let mut result = Ok(());
    write::object(out, |o| {
        o.str("model", cx.target.model);
        o.u64("max_tokens", think.max_tokens);
        if plan.upstream_stream {
            o.bool("stream", true);
        }
        if let Some(hour) = blocks.cache.whole() {
            crate::formats::messages::request::parts::write_cache(o, hour);
        }
        result = system(o, &mut blocks, leading, &format);
        write_thinking(o, &think, cx, &mut blocks.betas);
        output_config(o, request, &think, &format);
        settle_into(o, &settled, cx);
        if request.from == Format::Messages {
            fields::write_ext(request, "", cx.target.host.is_native(), o);
        }
        encode_tools::tools(o, &offer, &mut blocks);
        if result.is_ok() {
            result = Conversation::new(&mut blocks, o.key("messages")).write(items, prefill);
        }
    });
    result?;
    if matches!(think.thinking, ThinkingField::Enabled { .. })
        && cx.target.caps.interleaved_beta
        && !offer.tools.is_empty()
    {
        blocks.beta(INTERLEAVED);
    }
    plan.betas.append(&mut blocks.betas);
    Ok(())
}

fn think(
    request: &Request<'_>,
    cx: &Context<'_>,
    forced_tool: bool,
    ledger: &mut Ledger,
) -> Result<ForMessages, Error> {
    let caps = &cx.target.caps;
    // Models that take system messages in mid conversation take their settings too.
    let ask = if caps.mid_system { request.reasoning } else { thinking::requested(request, ledger)? };
    let now = Circumstances {
        max_tokens: request.max_tokens.unwrap_or_else(|| params::default_max_tokens(cx)),
        forced_tool,
        thinking_lost: history::loses_thinking(request, &cx.target, &cx.policy),
    };
    thinking::for_messages(ask, caps, now, ledger)
}

/// How the form of the answer is asked for.
enum Form {
    Free,
    /// `output_config.format`.
    Schema(Vec<u8>),
    /// A line at the end of the system prompt.
    Words(Cow<'static, str>),
}

fn form(request: &Request<'_>, cx: &Context<'_>, offer: &Offer<'_, '_>, ledger: &mut Ledger) -> Result<Form, Error> {
    let target = &cx.target;
    match &request.format {
        OutputFormat::Text => Ok(Form::Free),
        OutputFormat::JsonObject => {
            ledger.approx(Loss::JsonObject)?;
            Ok(Form::Words("Answer with a single JSON object.".into()))
        }
        OutputFormat::JsonSchema { .. } if offer.answer_tool => Ok(Form::Free),
        OutputFormat::JsonSchema { name, schema: raw, .. } => {
            let native = target.caps.structured == Structured::JsonSchema;
            if !native || target.quirks.has(Quirk::NoMessagesStrict) {
                ledger.approx(Loss::JsonSchema)?;
                let schema = String::from_utf8_lossy(raw.bytes());
                let words = format!("Answer with a single JSON object that matches this JSON schema: {schema}");
                return Ok(Form::Words(words.into()));
            }
            let mut out = Vec::with_capacity(raw.bytes().len() + 64);
            if schema::for_messages(*raw, &mut out) {
                ledger.approx(Loss::JsonSchema)?;
            }
            // The name has no other place.
            if let Some(name) = name.as_ref().filter(|_| raw.is_object() && raw.find("title").is_none()) {
                let mut title = b"{\"title\":".to_vec();
                write::raw_string(&mut title, name.raw());
                if out.len() > 2 {
                    title.push(b',');
                }
                out.splice(..1, title);
            }
            Ok(Form::Schema(out))
        }
        OutputFormat::Grammar(raw) => {
            let path = if request.from == Format::Responses { "text.format" } else { "response_format" };
            Err(reader::unsupported_form(&path, *raw))
        }
    }
}

/// Writes `system`: the client's own, system messages before the first turn, and the words that ask
/// for a form.
fn system(
    o: &mut write::Object<'_>,
    blocks: &mut Blocks<'_, '_>,
    leading: &[Item<'_>],
    form: &Form,
) -> Result<(), Error> {
    let words = match form {
        Form::Words(words) => Some(Part::text(crate::canonical::text::Text::plain(words))),
        _ => None,
    };
    let messages = leading.iter().filter_map(conversation::system_parts).flatten();
    let parts: Vec<&Part<'_>> =
        blocks.request.system.iter().chain(messages).chain(&words).filter(|part| !blocks.skips(part)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let mut result = Ok(());
    o.array("system", |a| {
        for part in parts {
            if result.is_ok() {
                result = is_text(part).and_then(|()| blocks.part(part, "system", a.element()));
            }
        }
    });
    result
}

/// Refuses what `system` does not take: it has text alone.
fn is_text(part: &Part<'_>) -> Result<(), Error> {
    let (path, what) = match part {
        Part::Image(image) => (&image.path, "an image in a system prompt"),
        Part::File(file) => (&file.path, "a file in a system prompt"),
        _ => return Ok(()),
    };
    Err(reader::unsupported_content(path, what, "put it into a user message"))
}

fn write_thinking(o: &mut write::Object<'_>, think: &ForMessages, cx: &Context<'_>, betas: &mut Vec<&'static str>) {
    let binds = cx.target.caps.thinking_binding;
    let fill = |o: &mut write::Object<'_>| {
        if let Some(show) = think.show {
            o.str("display", if show == Show::Omitted { "omitted" } else { "summarized" });
        }
        if binds {
            // A client that edits its history should lose the thinking, not the request.
            o.object("block_binding", |o| o.str("prefix_mismatch_behavior", "drop_block"));
        }
    };
    match think.thinking {
        ThinkingField::Absent => return,
        ThinkingField::Disabled => return o.object("thinking", |o| o.str("type", "disabled")),
        ThinkingField::Enabled { budget } => o.object("thinking", |o| {
            o.str("type", "enabled");
            o.u64("budget_tokens", budget);
            fill(o);
        }),
        ThinkingField::Adaptive => o.object("thinking", |o| {
            o.str("type", "adaptive");
            fill(o);
        }),
    }
    if binds {
        betas.push(THINKING_BINDING);
    }
}

fn output_config(o: &mut write::Object<'_>, request: &Request<'_>, think: &ForMessages, form: &Form) {
    let schema = match form {
        Form::Schema(schema) => Some(schema),
        _ => None,
    };
    let more = fields::has_ext(request, "output_config", Format::Messages);
    if think.effort.is_none() && schema.is_none() && !more {
        return;
    }
    o.object("output_config", |o| {
        if more {
            fields::write_ext(request, "output_config", true, o);
        }
        if let Some(effort) = think.effort {
            o.str("effort", effort.name());
        }
        if let Some(schema) = schema {
            o.object("format", |o| {
                o.str("type", "json_schema");
                o.value("schema", RawValue::new(schema));
            });
        }
    });
}

fn settle_into(o: &mut write::Object<'_>, settled: &TargetParams<'_>, cx: &Context<'_>) {
    if let Some(temperature) = &settled.temperature {
        o.value("temperature", RawValue::new(temperature));
    }
    if let Some(top_p) = settled.top_p {
        o.value("top_p", top_p.0);
    }
    if let Some(top_k) = settled.top_k {
        o.value("top_k", top_k.0);
    }
    if !settled.stop.is_empty() {
        o.array("stop_sequences", |a| settled.stop.iter().for_each(|stop| a.raw_str(stop.raw())));
    }
    // The tiers are those of Anthropic's own API.
    if let Some(tier) = settled.tier.as_ref().filter(|_| cx.target.host == Host::Anthropic) {
        o.str("service_tier", tier);
    }
    if let Some(user) = &settled.safety {
        let user = user.unescape();
        o.object("metadata", |o| o.str("user_id", &tool_names::bounded(&user, USER_ID_MAX, "")));
    }
}
