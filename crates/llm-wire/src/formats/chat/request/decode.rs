//! From a client's Chat Completions body to the canonical request: the top level.

use crate::canonical::effort::{Effort, Mode, Reasoning, Show};
use crate::canonical::loss::Ledger;
use crate::canonical::request::{OutputFormat, Request};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::decode_tools;
use crate::formats::chat::request::messages;
use crate::json::{RawKind, RawStr, RawValue};
use crate::request::reader;
use crate::request::reader::{Path, some};

/// Members that are decoded only when the whole body has been seen, since the last of duplicate
/// keys counts.
#[derive(Default)]
struct Deferred<'a> {
    messages: Option<RawValue<'a>>,
    tools: Option<RawValue<'a>>,
    functions: Option<RawValue<'a>>,
    web_search: Option<RawValue<'a>>,
    tool_choice: Option<RawValue<'a>>,
    function_call: Option<RawValue<'a>>,
    max_tokens: Option<u64>,
    controls: Controls,
}

/// See [`super::decode`].
pub(super) fn decode<'a>(body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    let mut request = Request::new(Format::Chat);
    let mut deferred = Deferred::default();
    for (key, value, _) in body.members() {
        let name = key.unescape();
        let Some(value) = some(value) else { continue };
        let path = Path::root(&name);
        let known = parameter(&name, value, &path, &mut request, &mut deferred)?
            || sampling(&name, value, &path, &mut request)?
            || control(&name, value, &path, &mut deferred.controls)?;
        if !known {
            request.ext.push(key, value);
        }
    }
    if request.model.is_empty() {
        let model = reader::some(body.find("model").unwrap_or(RawValue::new(b"null")));
        return Err(match model {
            Some(_) => reader::invalid(&"model", "must not be empty"),
            None => reader::invalid(&"model", "is required"),
        });
    }
    request.max_tokens = request.max_tokens.or(deferred.max_tokens);
    request.reasoning = deferred.controls.resolve();
    let Some(list) = deferred.messages else {
        let others = [("input", "/v1/responses"), ("prompt", "/v1/completions")];
        return Err(reader::missing("messages", |other| body.find(other).is_some(), &others));
    };
    messages::read(list, &mut request, ledger)?;
    if let Some(tools) = deferred.tools {
        decode_tools::tools(tools, &mut request, ledger)?;
    }
    if let Some(functions) = deferred.functions {
        // In the answer there is room for one call.
        request.parallel = request.parallel.or(request.tools.is_empty().then_some(false));
        decode_tools::functions(functions, &mut request, ledger)?;
    }
    if let Some(options) = deferred.web_search {
        decode_tools::web_search(options, &mut request, ledger)?;
    }
    request.tool_choice = match (deferred.tool_choice, deferred.function_call) {
        (Some(choice), _) => Some(decode_tools::choice(choice)?),
        (None, Some(choice)) => Some(decode_tools::function_choice(choice)?),
        (None, None) => None,
    };
    Ok(request)
}

/// Everything that is neither sampling nor reasoning. `false` for a name without a home.
fn parameter<'a>(
    name: &str,
    value: RawValue<'a>,
    path: &Path<'_>,
    request: &mut Request<'a>,
    deferred: &mut Deferred<'a>,
) -> Result<bool, Error> {
    let text = |value| reader::string(value, path).map(|raw: RawStr<'a>| Some(Text::from(raw)));
    match name {
        "model" => request.model = reader::string(value, path)?.into(),
        "messages" => deferred.messages = Some(value),
        "tools" => deferred.tools = Some(value),
        "functions" => deferred.functions = Some(value),
        "web_search_options" => deferred.web_search = Some(value),
        "tool_choice" => deferred.tool_choice = Some(value),
        "function_call" => deferred.function_call = Some(value),
        "parallel_tool_calls" => request.parallel = Some(reader::boolean(value, path)?),
        "max_completion_tokens" => request.max_tokens = Some(reader::count(value, path)?),
        "max_tokens" => deferred.max_tokens = Some(reader::count(value, path)?),
        "response_format" => request.format = output_format(value, path)?,
        "verbosity" => request.verbosity = Some(reader::string(value, path)?),
        "prompt_cache_key" => request.cache.key = text(value)?,
        "prompt_cache_options" => request.cache.options = Some(value),
        "prompt_cache_retention" => request.cache.retention = Some(value),
        "user" => request.identity.user = text(value)?,
        "safety_identifier" => request.identity.safety = text(value)?,
        "metadata" => request.identity.metadata = Some(reader::object(value, path)?),
        "service_tier" => request.tier = Some(reader::string(value, path)?),
        "stream" => request.stream = reader::boolean(value, path)?,
        "stream_options" => {
            let include_usage = reader::object(value, path)?.find("include_usage").and_then(some);
            request.include_usage =
                include_usage.map(|v| reader::boolean(v, &path.key("include_usage"))).transpose()?.unwrap_or(false);
        }
        "store" => request.state.store = Some(reader::boolean(value, path)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn sampling<'a>(name: &str, value: RawValue<'a>, path: &Path<'_>, request: &mut Request<'a>) -> Result<bool, Error> {
    let sampling = &mut request.sampling;
    match name {
        "temperature" => sampling.temperature = Some(reader::number(value, path)?),
        "top_p" => sampling.top_p = Some(reader::number(value, path)?),
        "top_k" => sampling.top_k = Some(reader::number(value, path)?),
        "frequency_penalty" => sampling.frequency_penalty = Some(reader::number(value, path)?),
        "presence_penalty" => sampling.presence_penalty = Some(reader::number(value, path)?),
        "seed" => sampling.seed = Some(reader::number(value, path)?),
        "logit_bias" => sampling.logit_bias = Some(reader::object(value, path)?),
        "logprobs" => sampling.logprobs = reader::boolean(value, path)?,
        "top_logprobs" => sampling.top_logprobs = Some(reader::count(value, path)?),
        "n" => sampling.n = Some(reader::count(value, path)?),
        "stop" => sampling.stop = stop(value, path)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads a string or a list of strings.
fn stop<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<Vec<Text<'a>>, Error> {
    let mut out: Vec<Text<'a>> = Vec::new();
    match value.kind() {
        RawKind::Array => {
            for (n, element) in reader::array(value, path)?.enumerate() {
                out.push(reader::string(element, &path.index(n))?.into());
            }
        }
        _ => out.push(reader::string(value, path)?.into()),
    }
    out.retain(|stop| !stop.is_empty());
    Ok(out)
}

fn output_format<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<OutputFormat<'a>, Error> {
    let kind = reader::required(reader::object(value, path)?, "type", path)?;
    let kind = reader::string(kind, &path.key("type"))?;
    if kind.eq_str("text") {
        return Ok(OutputFormat::Text);
    }
    if kind.eq_str("json_object") {
        return Ok(OutputFormat::JsonObject);
    }
    if !kind.eq_str("json_schema") {
        return Ok(OutputFormat::Grammar(value));
    }
    let inner_path = path.key("json_schema");
    let inner = reader::object(reader::required(value, "json_schema", path)?, &inner_path)?;
    let find = |key| inner.find(key).and_then(some);
    let text = |key| find(key).map(|v| reader::string(v, &inner_path.key(key)).map(Text::from)).transpose();
    let schema = find("schema").unwrap_or(RawValue::new(b"{}"));
    Ok(OutputFormat::JsonSchema {
        name: text("name")?,
        description: text("description")?,
        schema: reader::object(schema, &inner_path.key("schema"))?,
        strict: find("strict").map(|v| reader::boolean(v, &inner_path.key("strict"))).transpose()?,
    })
}

/// The reasoning controls of OpenAI and of the hosts that imitate it, which may come together.
#[derive(Debug, Clone, Copy, Default)]
struct Controls {
    effort: Option<Effort>,
    /// `Some(false)`: a switch turns thinking off.
    on: Option<bool>,
    budget: Option<u64>,
    show: Option<Show>,
}

impl Controls {
    fn resolve(self) -> Reasoning {
        if self.on == Some(false) {
            return Reasoning { show: self.show, ..Reasoning::from_effort(Some(Effort::None)) };
        }
        let plain = Reasoning { show: self.show, ..Reasoning::from_effort(self.effort) };
        match (plain.mode, self.budget, self.on) {
            (Mode::Off, ..) => plain,
            (_, Some(budget), _) => Reasoning { mode: Mode::Manual { budget }, ..plain },
            (Mode::Unset, None, Some(true)) => Reasoning { mode: Mode::Adaptive, ..plain },
            _ => plain,
        }
    }
}

/// `false` for a name that is no control, and for values of hosts that cannot be used.
fn control(name: &str, value: RawValue<'_>, path: &Path<'_>, controls: &mut Controls) -> Result<bool, Error> {
    let find = |key| value.find(key).and_then(some);
    match name {
        "reasoning_effort" => controls.effort = Some(effort(value, path)?),
        // OpenRouter.
        "reasoning" if value.is_object() => {
            if let Some(level) = find("effort") {
                controls.effort = Some(effort(level, &path.key("effort"))?);
            }
            controls.budget = find("max_tokens").and_then(RawValue::as_u64).or(controls.budget);
            controls.on = find("enabled").and_then(RawValue::as_bool).or(controls.on);
            if find("exclude").and_then(RawValue::as_bool) == Some(true) {
                controls.show = Some(Show::Omitted);
            }
        }
        // DeepSeek, GLM; with a budget in Anthropic's spelling.
        "thinking" if value.is_object() => {
            let is = |word| find("type").is_some_and(|kind| kind.eq_str(word));
            controls.on = if is("disabled") { Some(false) } else { Some(true) };
            controls.budget = find("budget_tokens").and_then(RawValue::as_u64).or(controls.budget);
        }
        // Qwen.
        "enable_thinking" => controls.on = Some(reader::boolean(value, path)?),
        "thinking_budget" => controls.budget = Some(reader::count(value, path)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn effort(value: RawValue<'_>, path: &Path<'_>) -> Result<Effort, Error> {
    let word = reader::string(value, path)?;
    Effort::parse(&word.unescape())
        .ok_or_else(|| reader::invalid(path, "must be one of none, minimal, low, medium, high, xhigh and max"))
}
