//! The paths beside `/admin/v1`, for the OpenAPI document: fields that clients commonly send, an
//! example that works, and the form of the response. Formats have many more fields; their vendors'
//! references describe them.

use serde_json::{Map, Value, json};

/// One path.
pub(super) struct Path {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    /// Whether it takes a client's key, the admin key, or none.
    pub(super) key: Key,
    body: Option<fn() -> Body>,
    response: fn() -> Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Client,
    Admin,
    None,
}

/// A request body: the schema's fields with their help, which of them must be there, and an
/// example.
struct Body {
    fields: &'static [Field],
    example: Value,
}

/// Name, JSON type, whether it must be there, and help.
type Field = (&'static str, &'static str, bool, &'static str);

const MODEL: Field = ("model", "string", true, "a model of /v1/models");
const STREAM: Field = ("stream", "boolean", false, "whether the response is a stream of server-sent events");

macro_rules! paths {
    ($( $method:ident $path:literal $tag:literal $key:ident $summary:literal ($body:expr) -> $response:expr; )*) => {
        /// The paths of clients that the OpenAPI document describes.
        pub(crate) const PATHS: &[Path] = &[ $( Path {
            method: stringify!($method), path: $path, tag: $tag, summary: $summary, key: Key::$key,
            body: $body, response: $response,
        }, )* ];
    };
}

paths! {
    post "/v1/chat/completions" "completions" Client "OpenAI Chat Completions" (Some(chat)) -> chat_response;
    post "/v1/responses" "completions" Client "OpenAI Responses" (Some(responses)) -> responses_response;
    post "/v1/messages" "completions" Client "Anthropic Messages" (Some(messages)) -> messages_response;
    post "/v1/messages/count_tokens" "completions" Client "Count the tokens of a Messages request" (Some(messages)) -> input_tokens;
    post "/v1/responses/input_tokens" "completions" Client "Count the tokens of a Responses request" (Some(responses)) -> input_tokens;
    post "/v1/responses/compact" "completions" Client "Compact a conversation, at providers of Responses" (Some(responses)) -> responses_response;
    get "/v1/responses/{id}" "completions" Client "Get a stored response, from the provider that has issued it" (None) -> responses_response;
    delete "/v1/responses/{id}" "completions" Client "Remove a stored response" (None) -> any_object;
    get "/v1/responses/{id}/input_items" "completions" Client "List what a stored response was made from" (None) -> data_list;
    post "/v1/responses/{id}/cancel" "completions" Client "End a response that runs in the background" (None) -> responses_response;
    post "/v1/completions" "completions" Client "Legacy completions" (Some(completions)) -> completions_response;
    post "/v1/embeddings" "completions" Client "Embeddings" (Some(embeddings)) -> data_list;
    post "/v1/moderations" "completions" Client "Moderations" (Some(moderations)) -> any_object;
    post "/v1/images/generations" "completions" Client "Generate images" (Some(images)) -> data_list;
    post "/v1/audio/speech" "completions" Client "Speak a text; the response is audio" (Some(speech)) -> audio;
    post "/v1/rerank" "completions" Client "Rank documents" (Some(rerank)) -> any_object;
    get "/v1/models" "models" Client "List the models that the key may use" (None) -> data_list;
    get "/v1/models/{id}" "models" Client "Get one model" (None) -> model;
    get "/v1/model/info" "models" Client "List the models with their providers, in LiteLLM's form" (None) -> data_list;
    get "/v2/model/info" "models" Client "The same with search and pages" (None) -> data_list;
    get "/v1/usage" "models" Client "Get the limits, budgets and spend of the key itself" (None) -> usage;
    get "/" "health" None "Get name and version" (None) -> any_object;
    get "/health" "health" None "Check that the process runs" (None) -> health;
    get "/health/live" "health" None "Check that the process runs, like /health" (None) -> health;
    get "/health/ready" "health" None "Check whether the gateway should be sent requests; 503 with the reason if not" (None) -> health;
    get "/health/detailed" "health" Admin "Send a one-token health request to each provider, with the admin key; this costs tokens" (None) -> health;
    get "/metrics" "health" None "Metrics for Prometheus; on ADMIN_ADDR alone where that is set" (None) -> text;
    post "/api/event_logging/batch" "health" None "Telemetry of Claude Code, which is discarded" (None) -> any_object;
}

fn chat() -> Body {
    const FIELDS: &[Field] = &[
        MODEL,
        ("messages", "array", true, "the conversation: objects with `role` and `content`"),
        STREAM,
        ("max_completion_tokens", "integer", false, "the most tokens of the answer"),
        ("temperature", "number", false, "0 to 2"),
        ("tools", "array", false, "functions that the model may call"),
        ("reasoning_effort", "string", false, "none, minimal, low, medium, high or xhigh"),
        ("response_format", "object", false, "a JSON schema for the answer"),
    ];
    let example = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "Say hello." }] });
    Body { fields: FIELDS, example }
}

fn messages() -> Body {
    const FIELDS: &[Field] = &[
        MODEL,
        ("max_tokens", "integer", true, "the most tokens of the answer"),
        ("messages", "array", true, "the conversation: objects with `role` and `content`"),
        ("system", "string", false, "instructions"),
        STREAM,
        ("tools", "array", false, "functions that the model may call"),
        ("thinking", "object", false, "whether and how much the model thinks"),
    ];
    let messages = json!([{ "role": "user", "content": "Say hello." }]);
    Body { fields: FIELDS, example: json!({ "model": "claude-haiku-4-5", "max_tokens": 100, "messages": messages }) }
}

fn responses() -> Body {
    const FIELDS: &[Field] = &[
        MODEL,
        ("input", "string", true, "a text, or a list of items"),
        ("instructions", "string", false, "instructions"),
        STREAM,
        ("max_output_tokens", "integer", false, "the most tokens of the answer"),
        ("tools", "array", false, "functions that the model may call"),
        ("reasoning", "object", false, "`effort` and `summary`"),
    ];
    Body { fields: FIELDS, example: json!({ "model": "gpt-4o-mini", "input": "Say hello." }) }
}

fn completions() -> Body {
    const FIELDS: &[Field] = &[MODEL, ("prompt", "string", true, "a text, or a list of texts"), STREAM];
    Body { fields: FIELDS, example: json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "Hello, " }) }
}

fn embeddings() -> Body {
    const FIELDS: &[Field] = &[MODEL, ("input", "string", true, "a text, or a list of texts")];
    Body { fields: FIELDS, example: json!({ "model": "text-embedding-3-small", "input": "hello" }) }
}

fn moderations() -> Body {
    const FIELDS: &[Field] = &[MODEL, ("input", "string", true, "a text, or a list of texts and images")];
    Body { fields: FIELDS, example: json!({ "model": "omni-moderation-latest", "input": "hello" }) }
}

fn images() -> Body {
    const FIELDS: &[Field] = &[
        MODEL,
        ("prompt", "string", true, "what the image shows"),
        ("size", "string", false, "such as 1024x1024"),
        ("n", "integer", false, "how many images"),
    ];
    Body { fields: FIELDS, example: json!({ "model": "gpt-image-1", "prompt": "a lighthouse" }) }
}

fn speech() -> Body {
    const FIELDS: &[Field] =
        &[MODEL, ("input", "string", true, "the text"), ("voice", "string", true, "such as alloy")];
    Body { fields: FIELDS, example: json!({ "model": "gpt-4o-mini-tts", "input": "hello", "voice": "alloy" }) }
}

fn rerank() -> Body {
    const FIELDS: &[Field] =
        &[MODEL, ("query", "string", true, "what is looked for"), ("documents", "array", true, "texts to rank")];
    Body { fields: FIELDS, example: json!({ "model": "rerank-v3.5", "query": "ship", "documents": ["boat", "tree"] }) }
}

/// Returns a schema of an object with these fields, `name type`.
fn object(fields: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind }))).collect();
    json!({ "type": "object", "properties": properties })
}

fn json_content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// JSON, or events if the request has `stream`.
fn streamed(schema: Value) -> Value {
    json!({
        "application/json": { "schema": schema },
        "text/event-stream": { "schema": { "type": "string", "description": "the events of the format, with `stream`" } },
    })
}

fn chat_response() -> Value {
    let fields = [("id", "string"), ("object", "string"), ("created", "integer"), ("model", "string")];
    streamed(object(&[&fields[..], &[("choices", "array"), ("usage", "object")]].concat()))
}

fn completions_response() -> Value {
    chat_response()
}

fn messages_response() -> Value {
    let fields = [("id", "string"), ("type", "string"), ("role", "string"), ("model", "string"), ("content", "array")];
    streamed(object(&[&fields[..], &[("stop_reason", "string"), ("usage", "object")]].concat()))
}

fn responses_response() -> Value {
    let fields = [("id", "string"), ("object", "string"), ("status", "string"), ("model", "string")];
    streamed(object(&[&fields[..], &[("output", "array"), ("usage", "object")]].concat()))
}

fn input_tokens() -> Value {
    json_content(object(&[("input_tokens", "integer")]))
}

fn data_list() -> Value {
    json_content(object(&[("object", "string"), ("data", "array")]))
}

fn model() -> Value {
    json_content(object(&[("id", "string"), ("object", "string"), ("created", "integer"), ("owned_by", "string")]))
}

fn usage() -> Value {
    let fields = [("object", "string"), ("credential", "string"), ("expires_at", "string"), ("limits", "array")];
    json_content(object(&[&fields[..], &[("budgets", "array"), ("spend", "object")]].concat()))
}

fn health() -> Value {
    json_content(object(&[
        ("status", "string"),
        ("reason", "string"),
        ("store", "string"),
        ("store_id", "string"),
        ("demo", "boolean"),
        ("config_version", "integer"),
        ("providers_count", "integer"),
        ("credentials_count", "integer"),
    ]))
}

fn any_object() -> Value {
    json_content(json!({ "type": "object" }))
}

fn audio() -> Value {
    json!({ "audio/mpeg": { "schema": { "type": "string", "format": "binary" } } })
}

fn text() -> Value {
    json!({ "text/plain": { "schema": { "type": "string" } } })
}

impl Path {
    /// Returns the operation as OpenAPI has it.
    pub(super) fn operation(&self, id: String) -> Value {
        let errors = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
        let mut answers = json!({ "200": { "description": "the response", "content": (self.response)() } });
        if self.key != Key::None {
            answers["401"] = json!({ "description": "the key is missing or unknown", "content": errors });
        }
        if self.body.is_some() {
            answers["400"] = json!({ "description": "the request is invalid", "content": errors });
            answers["404"] = json!({ "description": "no provider serves the model", "content": errors });
            answers["429"] =
                json!({ "description": "a limit is reached; `retry-after` says for how long", "content": errors });
        }
        if self.path == "/health/ready" {
            answers["503"] = json!({ "description": "not ready; `reason` says why", "content": health() });
        }
        let mut operation = json!({
            "operationId": id, "tags": [self.tag], "summary": self.summary, "responses": answers,
        });
        if self.key != Key::None {
            operation["security"] = json!([{ "bearer_auth": [] }]);
        }
        if self.path.contains("{id}") {
            operation["parameters"] =
                json!([{ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }]);
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body().content();
        }
        operation
    }
}

impl Body {
    fn content(&self) -> Value {
        let property =
            |(name, kind, _, help): &Field| ((*name).to_owned(), json!({ "type": kind, "description": help }));
        let properties: Map<String, Value> = self.fields.iter().map(property).collect();
        let required: Vec<&str> = self.fields.iter().filter(|field| field.2).map(|field| field.0).collect();
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": true,
        });
        json!({ "required": true, "content": { "application/json": { "schema": schema, "example": self.example } } })
    }
}
