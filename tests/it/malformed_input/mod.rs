//! Bad input, and what each piece of it is answered: status and body to the byte, in the shape of
//! the format that the path belongs to. After each row the gateway serves a good request: on the
//! same connection if that was kept, else on a new one. Nothing bad reaches a provider.

mod bodies;
mod codings;
mod framing;
mod heads;
mod keys;
mod models;
mod paths;
mod slow;
mod smuggling;

use llm_proxy::config::rows::ProviderRow;
use serde_json::json;

use super::support::sample::{CHAT, MESSAGES, MODEL, RESPONSES, Sample};
use super::support::*;

/// The message of an error, in the shape of any format.
#[derive(Debug, Clone)]
struct ExpectedError {
    status: u16,
    message: String,
    /// `type` and `code` of the OpenAI formats.
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    /// `type` of the Messages format.
    messages_kind: &'static str,
}

/// Status 400 without a code; the other statuses have words of their own.
fn expected_error(message: impl Into<String>) -> ExpectedError {
    ExpectedError {
        status: 400,
        message: message.into(),
        kind: "invalid_request_error",
        code: None,
        param: None,
        messages_kind: "invalid_request_error",
    }
}

fn bad_json(message: &str) -> ExpectedError {
    expected_error(message).code("invalid_json")
}

fn bad_type(message: &str) -> ExpectedError {
    expected_error(message).code("invalid_type")
}

fn unauthorized(message: &str) -> ExpectedError {
    expected_error(message).status(401).code("invalid_api_key").messages_kind("authentication_error")
}

fn forbidden(message: &str) -> ExpectedError {
    expected_error(message)
        .status(403)
        .kind("permission_error")
        .code("model_not_allowed")
        .messages_kind("permission_error")
}

fn not_found(message: &str) -> ExpectedError {
    expected_error(message).status(404).code("not_found").messages_kind("not_found_error")
}

fn wrong_method(message: &str) -> ExpectedError {
    expected_error(message).status(405).code("method_not_allowed")
}

fn too_late(message: &str) -> ExpectedError {
    expected_error(message).status(408).code("request_timeout")
}

fn too_large(limit: usize) -> ExpectedError {
    expected_error(format!("the request body is larger than {limit} bytes, this gateway's MAX_BODY_BYTES"))
        .status(413)
        .code("request_too_large")
        .messages_kind("request_too_large")
}

fn unsupported_encoding(message: &str) -> ExpectedError {
    expected_error(message).status(415).code("unsupported_encoding")
}

fn head_too_large(message: &str) -> ExpectedError {
    expected_error(message).status(431).code("headers_too_large")
}

fn not_implemented(message: &str) -> ExpectedError {
    expected_error(message).status(501).kind("server_error").code("not_implemented").messages_kind("api_error")
}

impl ExpectedError {
    fn status(self, status: u16) -> ExpectedError {
        ExpectedError { status, ..self }
    }

    fn kind(self, kind: &'static str) -> ExpectedError {
        ExpectedError { kind, ..self }
    }

    fn code(self, code: &'static str) -> ExpectedError {
        ExpectedError { code: Some(code), ..self }
    }

    fn param(self, param: &'static str) -> ExpectedError {
        ExpectedError { param: Some(param), ..self }
    }

    fn messages_kind(self, messages_kind: &'static str) -> ExpectedError {
        ExpectedError { messages_kind, ..self }
    }

    /// The body in the shape that clients of `shape` expect.
    fn body(&self, shape: Shape, request_id: &str) -> String {
        let ExpectedError { kind, code, param, messages_kind, .. } = self;
        let message = json!(self.message);
        match shape {
            Shape::OpenAi => format!(
                r#"{{"error":{{"message":{message},"type":"{kind}","param":{},"code":{}}}}}"#,
                json!(param),
                json!(code)
            ),
            Shape::Messages => format!(
                r#"{{"type":"error","error":{{"type":"{messages_kind}","message":{message}}},"request_id":"{request_id}"}}"#
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    OpenAi,
    Messages,
}

impl Sample {
    fn shape(&self) -> Shape {
        if self.path.contains("messages") { Shape::Messages } else { Shape::OpenAi }
    }
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Kept,
    Closed,
}

/// Where the three formats are asked for an answer.
const FORMATS: [&Sample; 3] = [&CHAT, &MESSAGES, &RESPONSES];

/// One provider of every format, which serves the samples' model alone.
struct Bench {
    provider: Fake,
    gateway: Gateway,
    good: usize,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Setup::new())
    }

    fn with(setup: Setup) -> Bench {
        let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
        let gateway = setup.provider(serving_one(&provider)).start();
        Bench { gateway, provider, good: 0 }
    }

    /// Sends `bytes` and compares everything that is known of the response.
    fn refused(&mut self, name: &str, bytes: &[u8], shape: Shape, expected_error: &ExpectedError, then: Then) {
        let mut client = self.gateway.client();
        client.send(bytes);
        let response = client.response();
        self.compare(name, &response, shape, expected_error, then);
        match then {
            Then::Kept => self.serves(client),
            Then::Closed => {
                client.expect_closed();
                self.serves(self.gateway.client());
            }
        }
    }

    fn compare(&self, name: &str, response: &Response, shape: Shape, expected_error: &ExpectedError, then: Then) {
        let id = response.header("x-request-id").unwrap_or_else(|| panic!("{name}: no request id"));
        assert!(!id.is_empty());
        let own = (shape == Shape::Messages).then_some(id);
        assert_eq!(response.text(), expected_error.body(shape, id), "{name}");
        assert_eq!(response.status, expected_error.status, "{name}");
        assert_eq!(response.header("request-id"), own, "{name}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{name}");
        let options: Vec<_> = response.headers.all("connection").collect();
        assert_eq!(options.contains(&"close"), then == Then::Closed, "{name}: {options:?}");
    }

    /// A good request gets its answer.
    fn serves(&mut self, mut client: Client) {
        self.good += 1;
        let response = client.call(CHAT.path, CHAT.ask);
        assert_eq!((response.status, response.text()), (200, CHAT.answer));
    }

    /// The provider saw the good requests, and nothing else.
    fn finish(self) {
        let seen = self.provider.requests();
        assert_eq!(seen.len(), self.good);
        assert!(seen.iter().all(|request| request.text() == CHAT.ask));
    }
}

/// A row that serves [`MODEL`] and nothing else; so its provider is not asked for a list of models.
fn serving_one(provider: &Fake) -> ProviderRow {
    ProviderRow { model_mapping: format!(r#"{{"{MODEL}":"{MODEL}"}}"#), ..every_format(provider) }
}

/// A well-formed request of a format with this body.
fn asking(sample: &Sample, body: impl AsRef<[u8]>) -> Vec<u8> {
    post(sample.path).body(body).bytes()
}
