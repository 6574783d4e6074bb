//! What a request asks for, as far as the mock cares.
//!
//! The body is read with `serde_json`, not with the gateway's own scanner: the mock is there to
//! notice what that scanner gets wrong. It is as strict as the vendors in what they all refuse (no
//! JSON, no model, no messages, no `max_tokens` in the Messages format) and reads everything else
//! leniently.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::kind::Kind;

/// The top-level members of a body that the mock reads or echoes. The names are those of the wire.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(crate) enum Field {
    Background,
    Dimensions,
    EncodingFormat,
    Include,
    Input,
    Instructions,
    MaxCompletionTokens,
    MaxOutputTokens,
    MaxTokens,
    MaxToolCalls,
    Messages,
    Metadata,
    Model,
    OutputConfig,
    OutputFormat,
    ParallelToolCalls,
    PreviousResponseId,
    Prompt,
    PromptCacheKey,
    Reasoning,
    ReasoningEffort,
    ResponseFormat,
    SafetyIdentifier,
    Store,
    Stream,
    StreamOptions,
    Temperature,
    Text,
    Thinking,
    ToolChoice,
    Tools,
    TopP,
    Truncation,
    User,
    #[serde(other)]
    Other,
}

/// The raw members of a body. Of a repeated name the last counts, as at the vendors.
#[derive(Debug)]
pub(crate) struct Fields<'a>([Option<&'a RawValue>; Field::Other as usize + 1]);

impl<'a> Fields<'a> {
    /// Returns a member; `null` is as good as none.
    pub(crate) fn get(&self, field: Field) -> Option<&'a str> {
        self.0[field as usize].map(RawValue::get).filter(|raw| *raw != "null")
    }

    /// Returns the inside of a string member, still escaped.
    fn text(&self, field: Field) -> Option<&'a str> {
        self.get(field)?.strip_prefix('"')?.strip_suffix('"')
    }

    fn number(&self, field: Field) -> Option<u64> {
        self.get(field)?.parse().ok()
    }

    fn is_true(&self, field: Field) -> bool {
        self.get(field) == Some("true")
    }

    /// Returns a member as a tree; [`Value::Null`] when there is none.
    fn tree(&self, field: Field) -> Value {
        self.get(field).and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or(Value::Null)
    }

    /// Returns the elements of an array member.
    fn list(&self, field: Field) -> Vec<Value> {
        match self.tree(field) {
            Value::Array(list) => list,
            _ => Vec::new(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fields<'a>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'de>, M::Error> {
                let mut fields = Fields([None; Field::Other as usize + 1]);
                while let Some(field) = map.next_key::<Field>()? {
                    fields.0[field as usize] = Some(map.next_value()?);
                }
                Ok(fields)
            }
        }
        from.deserialize_map(Members)
    }
}

/// A tool that the answer may call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub name: String,
    /// The schema of its arguments; `None` for a custom tool of the Responses format, which takes
    /// free text.
    pub schema: Option<Value>,
}

/// How the answer is to show its reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reasoning {
    /// As text; without it there is only the opaque part.
    pub shown: bool,
    /// With the encrypted state that goes back in the next turn.
    pub opaque: bool,
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct ParsedRequest<'a> {
    pub fields: Fields<'a>,
    /// As it is in the body, escapes included.
    pub model: &'a str,
    pub stream: bool,
    /// A chat stream is to end with a usage chunk.
    pub include_usage: bool,
    /// The limit of the answer, by whichever name.
    pub max_tokens: Option<u64>,
    /// What the answer calls, the first being the one that was forced or is first; empty when
    /// it has to be text.
    pub tools: Vec<Tool>,
    pub parallel: bool,
    pub reasoning: Option<Reasoning>,
    /// The schema of a structured answer.
    pub schema: Option<Value>,
    /// A guess: a quarter of the body.
    pub input_tokens: u64,
    /// Makes the ids: two requests of one conversation differ in length.
    pub seed: u64,
}

/// What a vendor would answer 400 to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidRequest {
    pub param: Option<&'static str>,
    pub message: String,
}

impl InvalidRequest {
    fn missing(param: &'static str) -> InvalidRequest {
        InvalidRequest { param: Some(param), message: format!("Missing required parameter: '{param}'.") }
    }
}

impl<'a> ParsedRequest<'a> {
    /// Reads the body of a request of this kind. An error names the field that is not valid.
    pub(crate) fn read(kind: Kind, body: &'a [u8]) -> Result<ParsedRequest<'a>, InvalidRequest> {
        let fields: Fields<'a> = serde_json::from_slice(body).map_err(|e| InvalidRequest {
            param: None,
            message: format!("We could not parse the JSON body of your request: {e}"),
        })?;
        let model =
            fields.text(Field::Model).filter(|m| !m.is_empty()).ok_or_else(|| InvalidRequest::missing("model"))?;
        for (param, field) in required(kind) {
            fields.get(*field).ok_or_else(|| InvalidRequest::missing(param))?;
        }
        let tools = if fields.get(Field::Tools).is_some() { callable(kind, &fields) } else { Vec::new() };
        Ok(ParsedRequest {
            model,
            stream: fields.is_true(Field::Stream),
            include_usage: fields.tree(Field::StreamOptions)["include_usage"] == true,
            max_tokens: [Field::MaxCompletionTokens, Field::MaxTokens, Field::MaxOutputTokens]
                .into_iter()
                .find_map(|field| fields.number(field)),
            tools,
            parallel: fields.get(Field::ParallelToolCalls) != Some("false")
                && (kind != Kind::Messages || fields.tree(Field::ToolChoice)["disable_parallel_tool_use"] != true),
            reasoning: reasoning(kind, &fields),
            schema: schema(kind, &fields),
            input_tokens: (body.len() as u64 / 4).max(1),
            seed: body.len() as u64,
            fields,
        })
    }

    /// Returns the last text that the user wrote, unescaped.
    pub(crate) fn last_user_text(&self, kind: Kind) -> String {
        let list = match kind {
            Kind::Completions => return self.fields.tree(Field::Prompt).as_str().unwrap_or_default().to_owned(),
            Kind::Responses => match self.fields.tree(Field::Input) {
                Value::String(text) => return text,
                _ => self.fields.list(Field::Input),
            },
            _ => self.fields.list(Field::Messages),
        };
        list.iter()
            .rev()
            .filter(|m| m["role"] == "user")
            .map(|m| text_of(&m["content"]))
            .find(|t| !t.is_empty())
            .unwrap_or_default()
    }
}

fn required(kind: Kind) -> &'static [(&'static str, Field)] {
    match kind {
        Kind::Chat | Kind::CountTokens => &[("messages", Field::Messages)],
        Kind::Messages => &[("max_tokens", Field::MaxTokens), ("messages", Field::Messages)],
        Kind::Completions => &[("prompt", Field::Prompt)],
        Kind::Embeddings => &[("input", Field::Input)],
        // `input` may be absent there: a stored prompt or conversation can stand for it.
        _ => &[],
    }
}

/// Returns a content string, or the texts of content parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Returns the tools that the answer calls: none when the caller forbids it, or when the
/// conversation ends with a tool's result, since a client that runs tools would never see the end.
fn callable(kind: Kind, fields: &Fields) -> Vec<Tool> {
    let choice = fields.tree(Field::ToolChoice);
    if choice == "none" || choice["type"] == "none" || ends_with_result(kind, fields) {
        return Vec::new();
    }
    let mut tools: Vec<Tool> = fields.list(Field::Tools).into_iter().filter_map(|tool| read_tool(kind, tool)).collect();
    let forced = choice.get("function").unwrap_or(&choice)["name"].as_str();
    if let Some(at) = forced.and_then(|name| tools.iter().position(|tool| tool.name == name)) {
        tools[..=at].rotate_right(1);
    }
    tools
}

/// Returns a tool of the caller's own; `None` for what runs at the vendor.
fn read_tool(kind: Kind, mut tool: Value) -> Option<Tool> {
    let typed = tool["type"].as_str().map(str::to_owned);
    let (mut spec, schema) = match (kind, typed.as_deref()) {
        (Kind::Chat, Some("function")) => (tool["function"].take(), "parameters"),
        (Kind::Messages, None | Some("custom")) => (tool, "input_schema"),
        (Kind::Responses, Some("function")) => (tool, "parameters"),
        (Kind::Responses, Some("custom")) => {
            return Some(Tool { name: tool["name"].as_str()?.to_owned(), schema: None });
        }
        _ => return None,
    };
    let name = spec["name"].as_str()?.to_owned();
    let schema = match spec[schema].take() {
        Value::Null => serde_json::json!({"type": "object"}),
        schema => schema,
    };
    Some(Tool { name, schema: Some(schema) })
}

fn ends_with_result(kind: Kind, fields: &Fields) -> bool {
    let list = fields.list(if kind == Kind::Responses { Field::Input } else { Field::Messages });
    let Some(last) = list.last() else { return false };
    match kind {
        Kind::Chat => last["role"] == "tool" || last["role"] == "function",
        Kind::Messages => {
            last["content"].as_array().is_some_and(|parts| parts.iter().any(|p| p["type"] == "tool_result"))
        }
        _ => last["type"].as_str().is_some_and(|t| t.ends_with("_call_output")),
    }
}

fn reasoning(kind: Kind, fields: &Fields) -> Option<Reasoning> {
    match kind {
        Kind::Chat => {
            // The second is OpenRouter's: an effort, or a budget.
            let mut object = fields.tree(Field::Reasoning);
            let effort = fields.text(Field::ReasoningEffort).map(Value::from);
            let effort = effort.unwrap_or_else(|| object["effort"].take());
            let on = (!effort.is_null() && effort != "none") || object["max_tokens"].is_u64();
            on.then_some(Reasoning { shown: true, opaque: false })
        }
        Kind::Messages => {
            let thinking = fields.tree(Field::Thinking);
            let on = thinking["type"] == "enabled" || thinking["type"] == "adaptive";
            on.then(|| Reasoning { shown: thinking["display"] != "omitted", opaque: true })
        }
        Kind::Responses => {
            let reasoning = fields.tree(Field::Reasoning);
            let on = reasoning.is_object() && reasoning["effort"] != "none";
            let include = fields.list(Field::Include);
            on.then(|| Reasoning {
                shown: !reasoning["summary"].is_null(),
                opaque: include.iter().any(|i| i == "reasoning.encrypted_content"),
            })
        }
        _ => None,
    }
}

fn schema(kind: Kind, fields: &Fields) -> Option<Value> {
    let mut format = match kind {
        Kind::Chat => fields.tree(Field::ResponseFormat),
        Kind::Messages => match fields.tree(Field::OutputConfig)["format"].take() {
            Value::Null => fields.tree(Field::OutputFormat),
            format => format,
        },
        Kind::Responses => fields.tree(Field::Text)["format"].take(),
        _ => return None,
    };
    match format["type"].as_str()? {
        "json_schema" if kind == Kind::Chat => Some(format["json_schema"]["schema"].take()),
        "json_schema" => Some(format["schema"].take()),
        "json_object" => Some(serde_json::json!({"type": "object", "required": ["answer"]})),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
