//! The OpenAPI document, made of the table of routes and of the types that they read and write.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::control_plane::admin::client_paths::PATHS;
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::routes::{ROUTES, Route};

const ABOUT: &str = "A gateway between applications and LLM providers. Clients speak OpenAI Chat Completions, OpenAI Responses or Anthropic \
                     Messages; the paths below /admin/v1 are the operator's.";

pub(super) fn document() -> Vec<u8> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let path = format!("/admin/v1{}", route.path);
        let operation = operation(route, &mut generator);
        paths.entry(path).or_default().insert(route.method.to_ascii_lowercase(), operation);
    }
    for path in PATHS {
        let operation = path.operation(id(path.method, path.path));
        paths.entry(path.path.to_owned()).or_default().insert(path.method.to_owned(), operation);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error_schema());
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "LLM Proxy API", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer_auth": { "type": "http", "scheme": "bearer", "description": "the key of a client; below /admin/v1 the ADMIN_KEY" }
            },
        },
        "tags": TAGS.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect::<Vec<_>>(),
    });
    document.to_string().into_bytes()
}

const TAGS: &[(&str, &str)] = &[
    ("completions", "requests of clients to models"),
    ("models", "listings of models"),
    ("providers", "the providers that requests are sent to"),
    ("credentials", "the keys of clients"),
    ("virtual models", "names that clients may ask for, and the models behind them"),
    ("config", "the configuration as a whole"),
    ("logs", "finished requests and failed attempts"),
    ("health", "health of the gateway and of providers"),
];

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route.query.iter().map(parameter).collect();
    if let Some(name) = route.path.split(['{', '}']).nth(1) {
        parameters.insert(0, json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1, "maximum": i64::MAX },
        }));
    }
    let writes =
        (matches!(route.method, "PUT" | "PATCH" | "DELETE") || route.path.ends_with("rotate")) && has_versions(route);
    if writes {
        parameters.push(header(
            "If-Match",
            "the version of the row, from its ETag: the change is made only if the row still has it",
        ));
    }
    if route.method == "POST" && route.status == 201 {
        parameters.push(header(
            "Idempotency-Key",
            "a second request with the same key within a day is not carried out again",
        ));
    }
    let mut answers = Map::new();
    let mut good = json!({ "description": "done" });
    if let Some(shape) = route.shape {
        good["content"] = json!({ "application/json": { "schema": shape(generator) } });
        if route.query.iter().any(|parameter| parameter.name == "format") {
            good["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
        }
    }
    answers.insert(route.status.to_string(), good);
    for (status, text) in failures(route) {
        answers.insert(
            status.to_string(),
            json!({
                "description": text,
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
            }),
        );
    }
    let mut operation = json!({
        "operationId": id(route.method, route.path),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": answers,
        "security": [{ "bearer_auth": [] }],
    });
    if let Some(body) = route.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": body(generator) } } });
    }
    operation
}

/// Returns `put_providers_provider_id_status`.
fn id(method: &str, path: &str) -> String {
    let words = path.split(['/', '{', '}', '-']).filter(|word| !word.is_empty());
    let words: Vec<_> = words.collect();
    format!("{}_{}", method.to_ascii_lowercase(), words.join("_"))
}

fn failures(route: &Route) -> Vec<(u16, &'static str)> {
    let mut all = vec![
        (401, "the admin key is missing or wrong"),
        (429, "too many wrong admin keys"),
        (503, "the store does not answer, or ADMIN_KEY is not set"),
    ];
    let with_id = route.path.contains('{');
    if with_id || route.body.is_some() || !route.query.is_empty() {
        all.push((400, "the request is invalid; the message names every invalid field"));
    }
    if with_id || route.path == "/health/check" {
        all.push((404, "there is no such row"));
    }
    if route.body.is_some()
        || matches!(route.method, "POST" | "DELETE")
        || !has_versions(route)
        || route.path == "/prices"
    {
        all.push((409, "the change conflicts with another row, or the store is a file"));
        all.push((413, "the body is too large"));
    }
    if with_id && route.method != "GET" && has_versions(route) {
        all.push((412, "the row was changed by somebody else"));
    }
    if route.method == "POST" {
        all.push((422, "the Idempotency-Key was used for another request"));
    }
    all
}

/// Rows of logs have none, since nobody changes them.
fn has_versions(route: &Route) -> bool {
    route.tag != "logs"
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
        Kind::Moment => json!({ "type": "string", "format": "date-time" }),
    };
    json!({ "name": parameter.name, "in": "query", "description": parameter.help, "schema": schema })
}

fn header(name: &str, help: &str) -> Value {
    json!({ "name": name, "in": "header", "description": help, "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" } })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error", "detail"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "code"],
                "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "code": { "type": "string" },
                    "param": { "type": ["string", "null"], "description": "the first invalid field" },
                },
            },
            "detail": { "description": "the message once more, for clients of llm-proxy v1" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_route_is_there() {
        let text = String::from_utf8(document()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut references = 0;
        for (_, rest) in text.match_indices("\"$ref\":\"#").map(|(at, mark)| text.split_at(at + mark.len())) {
            let path = rest.split('"').next().unwrap();
            assert!(document.pointer(path).is_some(), "{path}");
            references += 1;
        }
        assert!(references > 30, "{references}");
        for route in ROUTES {
            let operation = &document["paths"][format!("/admin/v1{}", route.path)][route.method.to_ascii_lowercase()];
            assert_eq!(operation["summary"], route.summary);
        }
        let provider = &document["components"]["schemas"]["Provider"];
        assert_eq!(provider["properties"]["model_mapping"]["type"], "object");
        assert!(provider["properties"].get("api_key").is_none());
    }
}
