//! The top level of a client's request.

use super::{content, declared};
use crate::error::Error;
use crate::json::{RawStr, RawValue};
use crate::wire::Format;
use crate::wire::effort::{Effort, Reasoning, Show};
use crate::wire::fields::{Ext, Fields};
use crate::wire::item::{Cache, Identity, OutputFormat, Part, Request, Sampling, State};
use crate::wire::loss::Ledger;
use crate::wire::read::{self, Path};
use crate::wire::text::Text;

const LOGPROBS: &str = "message.output_text.logprobs";

/// Reads a client's request into canonical form.
///
/// - `body` is an object and valid JSON throughout; keep it borrowed. Of duplicate keys the last one counts; `null` is absent.
/// - Every top-level field goes where [`FIELDS`](crate::wire::fields::FIELDS) says: to its home in [`Request`], else to `request.ext` (also unknown
///   ones). Nothing is decided about the target here, and nothing is refused that some target takes: unknown items and content
///   parts become `Foreign` with their path.
/// - Unknown fields inside items, parts and tools are dropped with `ledger.unknown` of their name.
/// - Wrong types and missing required fields fail with the helpers of [`read`], which set `param`. `input` may be missing where
///   the provider's own state takes its place.
pub fn decode<'a>(body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    let mut request = Request::new(Format::Responses);
    let fields = Fields::of(Format::Responses, body, &mut request.ext);
    request.model = read::string(fields.need("model")?, &Path::root("model"))?.into();
    if let Some(text) = fields.with("instructions", read::string)?.map(Text::from).filter(|text| !text.is_blank()) {
        request.system.push(Part::text(text));
    }
    request.state = state(&fields)?;
    let stateful = request.state.previous.is_some() || request.state.conversation.is_some();
    let input = fields.get("input");
    if input.is_none() && !stateful && request.state.prompt.is_none() {
        fields.need("input")?;
    }
    request.tools = declared::tools(fields.get("tools"), &Path::root("tools"), ledger)?;
    if let Some(input) = input {
        content::input(input, &mut request, ledger)?;
    }
    request.tool_choice = fields.get("tool_choice").map(declared::choice).transpose()?;
    request.parallel = fields.with("parallel_tool_calls", read::boolean)?;
    request.max_tokens = fields.with("max_output_tokens", read::count)?;
    request.max_tool_calls = fields.with("max_tool_calls", read::count)?;
    request.stream = fields.with("stream", read::boolean)?.unwrap_or(false);
    request.tier = fields.with("service_tier", read::string)?;
    request.sampling = sampling(&fields, &request.state)?;
    request.reasoning = reasoning(&fields, &mut request.ext)?;
    let text = fields.with("text", read::object)?;
    (request.format, request.verbosity) = text.map_or(Ok(Default::default()), |text| form(text, ledger))?;
    request.cache = Cache {
        key: fields.text("prompt_cache_key")?,
        options: fields.get("prompt_cache_options"),
        retention: fields.get("prompt_cache_retention"),
        whole: None,
    };
    request.identity = Identity {
        user: fields.text("user")?,
        safety: fields.text("safety_identifier")?,
        metadata: fields.with("metadata", read::object)?,
    };
    Ok(request)
}

fn state<'a>(fields: &Fields<'a>) -> Result<State<'a>, Error> {
    let mut state = State {
        store: fields.with("store", read::boolean)?,
        previous: fields.get("previous_response_id"),
        conversation: fields.get("conversation"),
        prompt: fields.get("prompt"),
        background: fields.with("background", read::boolean)?.unwrap_or(false),
        include: Vec::new(),
        truncation: fields.with("truncation", read::string)?,
    };
    if let Some(list) = fields.get("include") {
        let path = Path::root("include");
        for (n, name) in read::array(list, &path)?.enumerate() {
            state.include.push(read::string(name, &path.index(n))?);
        }
    }
    Ok(state)
}

fn sampling<'a>(fields: &Fields<'a>, state: &State<'_>) -> Result<Sampling<'a>, Error> {
    Ok(Sampling {
        temperature: fields.with("temperature", read::number)?,
        top_p: fields.with("top_p", read::number)?,
        top_logprobs: fields.with("top_logprobs", read::count)?,
        logprobs: state.include.iter().any(|name| name.eq_str(LOGPROBS)),
        ..Sampling::default()
    })
}

/// An absent `summary` means that none is shown.
fn reasoning<'a>(fields: &Fields<'a>, ext: &mut Ext<'a>) -> Result<Reasoning, Error> {
    let Some(reasoning) = fields.with("reasoning", read::object)? else {
        return Ok(Reasoning { show: Some(Show::Omitted), ..Reasoning::default() });
    };
    let path = Path::root("reasoning");
    let (mut effort, mut show) = (None, Show::Omitted);
    for (key, value, _) in reasoning.members() {
        match key.unescape().as_ref() {
            _ if value.is_null() => {}
            "effort" => match Effort::parse(&read::string(value, &path.key("effort"))?.unescape()) {
                Some(level) => effort = Some(level),
                // A level newer than this table.
                None => ext.push_in("reasoning", key, value),
            },
            // `auto`, `concise` and `detailed` are one to other vendors. The second name is the older one.
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
            "verbosity" => verbosity = Some(read::string(value, &path.key("verbosity"))?),
            unknown => ledger.unknown(&format!("text.{unknown}"))?,
        }
    }
    Ok((format, verbosity))
}

fn output_format<'a>(format: RawValue<'a>, path: &Path<'_>) -> Result<OutputFormat<'a>, Error> {
    let format = read::object(format, path)?;
    let kind = read::string(read::required(format, "type", path)?, &path.key("type"))?;
    let text = |key: &str| -> Result<Option<Text<'a>>, Error> {
        let value = format.find(key).and_then(read::some);
        Ok(value.map(|text| read::string(text, &path.key(key))).transpose()?.map(Text::from))
    };
    match kind.unescape().as_ref() {
        "text" => Ok(OutputFormat::Text),
        "json_object" => Ok(OutputFormat::JsonObject),
        "json_schema" => {
            let strict = format.find("strict").and_then(read::some);
            Ok(OutputFormat::JsonSchema {
                name: text("name")?,
                description: text("description")?,
                schema: read::object(read::required(format, "schema", path)?, &path.key("schema"))?,
                strict: strict.map(|strict| read::boolean(strict, &path.key("strict"))).transpose()?,
            })
        }
        _ => Ok(OutputFormat::Grammar(format)),
    }
}
