//! The calls beside the answers of models: counts, embeddings, lists of models.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::errors::Family;
use super::kind::Kind;
use super::request::{Field, ParsedRequest};
use super::templates::{fill, json};

const FILE: &str = include_str!("templates/other.tmpl");
const COUNT_TOKENS: &str = json(FILE, "count_tokens");
const INPUT_TOKENS: &str = json(FILE, "input_tokens");
const ROOT: &str = json(FILE, "root");
const EMBEDDINGS: &str = json(FILE, "embeddings");
const EMBEDDING: &str = json(FILE, "embedding");
const OPENAI_MODELS: &str = json(FILE, "openai_models");
const OPENAI_MODEL: &str = json(FILE, "openai_model");
const ANTHROPIC_MODELS: &str = json(FILE, "anthropic_models");
const ANTHROPIC_MODEL: &str = json(FILE, "anthropic_model");

/// Returns the body of `GET /`.
pub(crate) fn root() -> Vec<u8> {
    ROOT.as_bytes().to_vec()
}

/// Returns the count of input tokens, in the shape of either format.
pub(crate) fn count(kind: Kind, req: &ParsedRequest) -> Vec<u8> {
    let mut out = Vec::new();
    let template = if kind == Kind::CountTokens { COUNT_TOKENS } else { INPUT_TOKENS };
    fill!(&mut out, template, input = req.input_tokens);
    out
}

/// Returns the list of models, or the one that the path names. Every name is a model.
pub(crate) fn models(family: Family, path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let id =
        path.split_once("/models/").map(|(_, id)| super::answer::escape(&id.replace("%2F", "/").replace("%2f", "/")));
    let template = match (family, &id) {
        (Family::OpenAi, None) => OPENAI_MODELS,
        (Family::OpenAi, Some(_)) => OPENAI_MODEL,
        (Family::Anthropic, None) => ANTHROPIC_MODELS,
        (Family::Anthropic, Some(_)) => ANTHROPIC_MODEL,
    };
    fill!(&mut out, template, id = id.unwrap_or_default());
    out
}

/// The sizes that the vendors' models have.
const USUAL_DIMENSIONS: u64 = 1536;
const MAX_DIMENSIONS: u64 = 4096;
const MAX_INPUTS: usize = 2048;

/// One vector for each input, as numbers or, as the SDKs ask, as the Base64 of little-endian `f32`.
pub(crate) fn embeddings(req: &ParsedRequest) -> Vec<u8> {
    let raw = |field: Field| req.fields.get(field);
    let inputs = match raw(Field::Input).and_then(|raw| serde_json::from_str::<Value>(raw).ok()) {
        // A list of numbers is one input in tokens.
        Some(Value::Array(list)) if !list.iter().any(Value::is_number) => list.len().clamp(1, MAX_INPUTS),
        _ => 1,
    };
    let dimensions =
        raw(Field::Dimensions).and_then(|n| n.parse().ok()).unwrap_or(USUAL_DIMENSIONS).clamp(1, MAX_DIMENSIONS);
    let base64 = raw(Field::EncodingFormat) == Some("\"base64\"");
    let mut data = Vec::new();
    for index in 0..inputs as u64 {
        data.extend_from_slice(if index > 0 { b", " } else { b"" });
        let vector = vector(index, dimensions);
        let vector = match base64 {
            true => format!("\"{}\"", BASE64.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())),
            false => format!("{vector:?}"),
        };
        fill!(&mut data, EMBEDDING, index = index, vector = vector);
    }
    let mut out = Vec::new();
    fill!(&mut out, EMBEDDINGS, data = data, model = req.model, input = req.input_tokens);
    out
}

/// Returns a vector of length 1 that differs from its neighbours.
fn vector(index: u64, dimensions: u64) -> Vec<f32> {
    let size = 1.0 / (dimensions as f32).sqrt();
    (0..dimensions).map(|i| if ((i + 1) * (index + 2)).is_multiple_of(3) { -size } else { size }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn req(kind: Kind, body: &str) -> ParsedRequest<'_> {
        ParsedRequest::read(kind, body.as_bytes()).unwrap()
    }

    #[test]
    fn embeddings_for_each_way_of_asking() {
        let check = |input: &str, rest: &str, count: usize, len: usize| {
            let body = format!(r#"{{"model":"m","input":{input}{rest}}}"#);
            let got: Value = serde_json::from_slice(&embeddings(&req(Kind::Embeddings, &body))).unwrap();
            let data = got["data"].as_array().unwrap();
            assert_eq!(data.len(), count, "{body}");
            for row in data {
                match &row["embedding"] {
                    Value::String(text) => assert_eq!(BASE64.decode(text).unwrap().len(), 4 * len, "{body}"),
                    vector => assert_eq!(vector.as_array().unwrap().len(), len, "{body}"),
                }
            }
        };
        check(r#""a""#, "", 1, 1536);
        check(r#"["a","b"]"#, r#","dimensions":8"#, 2, 8);
        check("[1,2,3]", r#","dimensions":8,"encoding_format":"base64""#, 1, 8);
        check("[[1],[2]]", r#","dimensions":8,"encoding_format":"float""#, 2, 8);
        check("[]", r#","dimensions":0"#, 1, 1);
    }

    #[test]
    fn models_of_each_family() {
        let check = |family, path: &str, pointer: &str, expected: &str| {
            let got: Value = serde_json::from_slice(&models(family, path)).unwrap();
            assert_eq!(got.pointer(pointer).unwrap(), expected, "{path}");
        };
        check(Family::OpenAi, "/v1/models", "/data/0/id", "mock-large");
        check(Family::OpenAi, "/v1/models/a%2Fb", "/id", "a/b");
        check(Family::Anthropic, "/v1/models", "/data/1/display_name", "Mock Small");
        check(Family::Anthropic, "/v1/models/x", "/id", "x");
    }

    #[test]
    fn counts() {
        assert!(
            count(Kind::CountTokens, &req(Kind::CountTokens, r#"{"model":"m","messages":[]}"#))
                .starts_with(b"{\"input_tokens\":")
        );
        assert!(count(Kind::InputTokens, &req(Kind::InputTokens, r#"{"model":"m"}"#)).starts_with(b"{\"object\":"));
    }
}
