//! The top level of a client's request.

use crate::canonical::effort::{Effort, Mode, Reasoning, Show};
use crate::canonical::ext::Ext;
use crate::canonical::loss::Ledger;
use crate::canonical::request::{Identity, OutputFormat, Request, Sampling};
use crate::error::Error;
use crate::format::Format;
use crate::formats::messages::request::{content, decode_tools};
use crate::json::RawValue;
use crate::request::fields::Fields;
use crate::request::reader;
use crate::request::reader::Path;

/// Reads a client's request into canonical form.
///
/// - `body` is an object and valid JSON throughout; keep it borrowed. Of duplicate keys the last
///   one counts; `null` is absent.
/// - Every top-level field goes where [`FIELDS`](crate::request::fields::FIELDS) says: to its home
///   in [`Request`], else to `request.ext` (also unknown ones). Nothing is decided about the target
///   here, and nothing is refused that some target takes: unknown content blocks become `Foreign`
///   with their path.
/// - Unknown fields inside messages, blocks and tools are dropped with `ledger.unknown` of their
///   name.
/// - Wrong types and missing required fields fail with the helpers of [`reader`], which set
///   `param`. `max_tokens` may be missing: bodies of `count_tokens` have none, and encoders know a
///   default.
pub(crate) fn decode<'a>(body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    let mut request = Request::new(Format::Messages);
    let fields = Fields::of(Format::Messages, body, &mut request.ext);
    request.model = reader::string(fields.need("model")?, &Path::root("model"))?.into();
    if let Some(system) = fields.get("system") {
        request.system = content::system(system, ledger)?;
    }
    let messages = Path::root("messages");
    let list = fields.get("messages").ok_or_else(|| {
        let others = [("input", "/v1/responses"), ("prompt", "/v1/completions")];
        reader::missing("messages", |other| body.find(other).is_some(), &others)
    })?;
    for (n, message) in reader::array(list, &messages)?.enumerate() {
        content::message(message, n, &messages.index(n), &mut request.items, ledger)?;
    }
    request.tools = decode_tools::tools(fields.get("tools"), fields.get("mcp_servers"), ledger)?;
    if let Some(choice) = fields.get("tool_choice") {
        (request.tool_choice, request.parallel) = decode_tools::choice(choice)?;
    }
    request.max_tokens = fields.with("max_tokens", reader::count)?;
    request.stream = fields.with("stream", reader::boolean)?.unwrap_or(false);
    request.tier = fields.with("service_tier", reader::string)?;
    request.sampling = sampling(&fields)?;
    let config = fields.get("output_config");
    request.reasoning = reasoning(&fields, config, &mut request.ext)?;
    request.format = output_format(&fields, config)?;
    request.cache.whole = fields.get("cache_control").and_then(content::cache_point);
    request.identity = identity(&fields, ledger)?;
    Ok(request)
}

fn sampling<'a>(fields: &Fields<'a>) -> Result<Sampling<'a>, Error> {
    let mut sampling = Sampling {
        temperature: fields.with("temperature", reader::number)?,
        top_p: fields.with("top_p", reader::number)?,
        top_k: fields.with("top_k", reader::number)?,
        ..Sampling::default()
    };
    if let Some(stops) = fields.get("stop_sequences") {
        let path = Path::root("stop_sequences");
        for (n, stop) in reader::array(stops, &path)?.enumerate() {
            let stop = reader::string(stop, &path.index(n))?;
            if !stop.is_empty() {
                sampling.stop.push(stop.into());
            }
        }
    }
    Ok(sampling)
}

/// Reads `thinking`, and the effort of `output_config`. Settings of `thinking` that affect no
/// other vendor (`block_binding`) stay out.
fn reasoning<'a>(fields: &Fields<'a>, config: Option<RawValue<'a>>, ext: &mut Ext<'a>) -> Result<Reasoning, Error> {
    let mut out = Reasoning::default();
    if let Some(thinking) = fields.with("thinking", reader::object)? {
        let path = Path::root("thinking");
        let kind = reader::string(reader::required(thinking, "type", &path)?, &path.key("type"))?;
        out.mode = match kind.unescape().as_ref() {
            "disabled" => Mode::Off,
            "adaptive" => Mode::Adaptive,
            "enabled" => {
                let budget = reader::required(thinking, "budget_tokens", &path)?;
                Mode::Manual { budget: reader::count(budget, &path.key("budget_tokens"))? }
            }
            _ => return Err(reader::invalid(&path.key("type"), "must be `adaptive`, `enabled` or `disabled`")),
        };
        out.show = match thinking.find("display").and_then(RawValue::as_str) {
            Some(word) if word.eq_str("omitted") => Some(Show::Omitted),
            Some(word) if word.eq_str("summarized") => Some(Show::Summary),
            Some(word) if word.eq_str("full") => Some(Show::Full),
            _ => None,
        };
    }
    let Some(config) = config else { return Ok(out) };
    let path = Path::root("output_config");
    for (key, value, _) in reader::object(config, &path)?.members() {
        match key.unescape().as_ref() {
            _ if value.is_null() => {}
            "format" => {}
            "effort" => match Effort::parse(&reader::string(value, &path.key("effort"))?.unescape()) {
                Some(effort) => out.effort = Some(effort),
                // A level newer than this table.
                None => ext.push_in("output_config", key, value),
            },
            _ => ext.push_in("output_config", key, value),
        }
    }
    Ok(out)
}

/// Reads `output_config.format`, or its older name `output_format`. The vendor holds every answer
/// to the schema, which is what `strict` means elsewhere.
fn output_format<'a>(fields: &Fields<'a>, config: Option<RawValue<'a>>) -> Result<OutputFormat<'a>, Error> {
    let config_path = Path::root("output_config");
    let (format, path) = match config.and_then(|config| config.find("format")).and_then(reader::some) {
        Some(format) => (format, config_path.key("format")),
        None => match fields.get("output_format") {
            Some(format) => (format, Path::root("output_format")),
            None => return Ok(OutputFormat::Text),
        },
    };
    let format = reader::object(format, &path)?;
    let kind = reader::string(reader::required(format, "type", &path)?, &path.key("type"))?;
    match kind.unescape().as_ref() {
        "text" => Ok(OutputFormat::Text),
        "json_schema" => {
            let schema = reader::object(reader::required(format, "schema", &path)?, &path.key("schema"))?;
            let name = format.find("name").and_then(RawValue::as_str).map(Into::into);
            Ok(OutputFormat::JsonSchema { name, description: None, schema, strict: Some(true) })
        }
        _ => Err(reader::invalid(&path.key("type"), "must be `json_schema`")),
    }
}

fn identity<'a>(fields: &Fields<'a>, ledger: &mut Ledger) -> Result<Identity<'a>, Error> {
    let metadata = fields.with("metadata", reader::object)?;
    let path = Path::root("metadata");
    // The vendor knows one member, and no other format has a place for more.
    for (key, value, _) in metadata.into_iter().flat_map(RawValue::members) {
        if !key.eq_str("user_id") && !value.is_null() {
            ledger.unknown(&path.key(&key.unescape()).to_string())?;
        }
    }
    let user = metadata.and_then(|metadata| metadata.find("user_id")).and_then(reader::some);
    let safety = user.map(|user| reader::string(user, &path.key("user_id"))).transpose()?;
    Ok(Identity { user: None, safety: safety.map(Into::into), metadata })
}
