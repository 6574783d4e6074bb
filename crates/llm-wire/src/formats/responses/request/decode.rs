//! The top level of a client's request.

use crate::canonical::effort::{Effort, Reasoning, Show};
use crate::canonical::ext::Ext;
use crate::canonical::loss::Ledger;
use crate::canonical::request::{Cache, Identity, OutputFormat, Part, Request, Sampling, State};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::{content, decode_tools};
use crate::json::{RawStr, RawValue};
use crate::request::fields::Fields;
use crate::request::reader;
use crate::request::reader::Path;

const LOGPROBS: &str = "message.output_text.logprobs";

/// Reads a client's request into canonical form.
///
/// - `body` is an object and valid JSON throughout; keep it borrowed. Of duplicate keys the last
///   one counts; `null` is absent.
/// - Every top-level field goes where [`FIELDS`](crate::request::fields::FIELDS) says: to its home
///   in [`Request`], else to `request.ext` (also unknown ones). Nothing is decided about the target
///   here, and nothing is refused that some target takes: unknown items and content parts become
///   `Foreign` with their path.
/// - Unknown fields inside items, parts and tools are dropped with `ledger.unknown` of their name.
/// - Wrong types and missing required fields fail with the helpers of [`reader`], which set
///   `param`. `input` may be missing where the provider's own state takes its place.
pub(crate) fn decode<'a>(body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    let mut request = Request::new(Format::Responses);
    let fields = Fields::of(Format::Responses, body, &mut request.ext);
    request.model = reader::string(fields.need("model")?, &Path::root("model"))?.into();
    if let Some(text) = fields.with("instructions", reader::string)?.map(Text::from).filter(|text| !text.is_blank()) {
        request.system.push(Part::text(text));
    }
    request.state = state(&fields)?;
    let stateful = request.state.previous.is_some() || request.state.conversation.is_some();
    let input = fields.get("input");
    if input.is_none() && !stateful && request.state.prompt.is_none() {
        let others = [("messages", "/v1/chat/completions"), ("prompt", "/v1/completions")];
        return Err(reader::missing("input", |other| body.find(other).is_some(), &others));
    }
    request.tools = decode_tools::tools(fields.get("tools"), &Path::root("tools"), ledger)?;
    if let Some(input) = input {
        content::input(input, &mut request, ledger)?;
    }
    request.tool_choice = fields.get("tool_choice").map(decode_tools::choice).transpose()?;
    request.parallel = fields.with("parallel_tool_calls", reader::boolean)?;
    request.max_tokens = fields.with("max_output_tokens", reader::count)?;
    request.max_tool_calls = fields.with("max_tool_calls", reader::count)?;
    request.stream = fields.with("stream", reader::boolean)?.unwrap_or(false);
    request.tier = fields.with("service_tier", reader::string)?;
    request.sampling = sampling(&fields, &request.state)?;
    request.reasoning = reasoning(&fields, &mut request.ext)?;
    let text = fields.with("text", reader::object)?;
    (request.format, request.verbosity) = text.map_or(Ok(Default::default()), |text| form(text, ledger))?;
    request.cache = Cache {
        key: fields.text("prompt_cache_key")?,
        options: fields.get("prompt_cache_options"),
        retention: fields.get("prompt_cache_retention"),
        whole: None,
        body: None,
    };
    request.identity = Identity {
        user: fields.text("user")?,
        safety: fields.text("safety_identifier")?,
        metadata: fields.with("metadata", reader::object)?,
    };
    Ok(request)
}

fn state<'a>(fields: &Fields<'a>) -> Result<State<'a>, Error> {
    let mut state = State {
        store: fields.with("store", reader::boolean)?,
        previous: fields.get("previous_response_id"),
        conversation: fields.get("conversation"),
        prompt: fields.get("prompt"),
        background: fields.with("background", reader::boolean)?.unwrap_or(false),
        include: Vec::new(),
        truncation: fields.with("truncation", reader::string)?,
    };
    if let Some(list) = fields.get("include") {
        let path = Path::root("include");
        for (n, name) in reader::array(list, &path)?.enumerate() {
            state.include.push(reader::string(name, &path.index(n))?);
        }
    }
    Ok(state)
}

fn sampling<'a>(fields: &Fields<'a>, state: &State<'_>) -> Result<Sampling<'a>, Error> {
    Ok(Sampling {
        temperature: fields.with("temperature", reader::number)?,
        top_p: fields.with("top_p", reader::number)?,
        top_logprobs: fields.with("top_logprobs", reader::count)?,
        logprobs: state.include.iter().any(|name| name.eq_str(LOGPROBS)),
        ..Sampling::default()
    })
}

/// An absent `summary` means that none is shown.
fn reasoning<'a>(fields: &Fields<'a>, ext: &mut Ext<'a>) -> Result<Reasoning, Error> {
    let Some(reasoning) = fields.with("reasoning", reader::object)? else {
        return Ok(Reasoning { show: Some(Show::Omitted), ..Reasoning::default() });
    };
    let path = Path::root("reasoning");
    let (mut effort, mut show) = (None, Show::Omitted);
    for (key, value, _) in reasoning.members() {
        match key.unescape().as_ref() {
            _ if value.is_null() => {}
            "effort" => match Effort::parse(&reader::string(value, &path.key("effort"))?.unescape()) {
                Some(level) => effort = Some(level),
                // A level newer than this table.
                None => ext.push_in("reasoning", key, value),
            },
            // `auto`, `concise` and `detailed` are one to other vendors. The second name is the
            // older one.
            "summary" | "generate_summary" => show = Show::Summary,
            _ => ext.push_in("reasoning", key, value),
        }
    }
    Ok(Reasoning { show: Some(show), ..Reasoning::from_effort(effort) })
}

/// `text`: the form of the answer, and how wordy it is.
fn form<'a>(text: RawValue<'a>, ledger: &mut Ledger) -> Result<(OutputFormat<'a>, Option<RawStr<'a>>), Error> {
    let path = Path::root("text");
    let (mut format, mut verbosity) = (OutputFormat::Text, None);
    for (key, value, _) in text.members() {
        match key.unescape().as_ref() {
            _ if value.is_null() => {}
            "format" => format = output_format(value, &path.key("format"))?,
            "verbosity" => verbosity = Some(reader::string(value, &path.key("verbosity"))?),
            unknown => ledger.unknown(&format!("text.{unknown}"))?,
        }
    }
    Ok((format, verbosity))
}

fn output_format<'a>(format: RawValue<'a>, path: &Path<'_>) -> Result<OutputFormat<'a>, Error> {
    let format = reader::object(format, path)?;
    let kind = reader::string(reader::required(format, "type", path)?, &path.key("type"))?;
    let text = |key: &str| -> Result<Option<Text<'a>>, Error> {
        let value = format.find(key).and_then(reader::some);
        Ok(value.map(|text| reader::string(text, &path.key(key))).transpose()?.map(Text::from))
    };
    match kind.unescape().as_ref() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let strict = format.find("strict").and_then(reader::some);
            Ok(OutputFormat::JsonSchema {
                name: text("name")?,
                description: text("description")?,
                schema: reader::object(reader::required(format, "schema", path)?, &path.key("schema"))?,
                strict: strict.map(|strict| reader::boolean(strict, &path.key("strict"))).transpose()?,
            })
        }
        _ => Ok(OutputFormat::Grammar(format)),
    }
}
