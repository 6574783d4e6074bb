//! Rows of the corpus: one recorded exchange each, and the request that replays it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use llm_wire::Format;

/// What a recorded protocol is at this gateway.
pub struct Protocol {
    /// In the corpus.
    pub name: &'static str,
    pub format: Format,
    /// The gateway's endpoint, and the upstream's.
    pub path: &'static str,
    /// A request that would do, for rows of which only the answer was recorded. `STREAM` is put in.
    minimal: &'static str,
    /// Rows of this protocol in the corpus as it is today: fewer tried means that something was
    /// lost.
    pub kept: usize,
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":STREAM}"#;
const MESSAGES: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":STREAM}"#;
const RESPONSES: &str = r#"{"model":"m","input":"hi","stream":STREAM}"#;

macro_rules! protocols {
    ($( $name:literal $format:ident $path:literal $kept:literal $minimal:expr; )*) => {
        pub const PROTOCOLS: &[Protocol] = &[ $( Protocol {
            name: $name, format: Format::$format, path: $path, kept: $kept, minimal: $minimal,
        }, )* ];
    };
}

protocols! {
    "chat"                   Chat      "/v1/chat/completions" 662 CHAT;
    "completions"            Chat      "/v1/completions" 24 r#"{"model":"m","prompt":"hi","stream":STREAM}"#;
    "embeddings"             Chat      "/v1/embeddings" 10 r#"{"model":"m","input":"hi"}"#;
    "messages"               Messages  "/v1/messages" 385 MESSAGES;
    "count_tokens"           Messages  "/v1/messages/count_tokens" 10 MESSAGES;
    "responses"              Responses "/v1/responses" 639 RESPONSES;
    "responses_input_tokens" Responses "/v1/responses/input_tokens" 4 RESPONSES;
}

/// Protocols of the corpus whose rows are not replayed, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("gemini", "the gateway has no endpoint of Google's own format"),
    ("responses_compact", "needs state, so the gateway answers 404; the recorded clients ask for it too"),
    ("models", "the gateway makes its own listing"),
];

/// One exchange. Bodies keep the bytes that the corpus has.
#[derive(Deserialize)]
pub struct Row {
    pub id: String,
    pub protocol: String,
    pub upstream: String,
    pub url_path: String,
    pub stream: bool,
    pub request_headers: BTreeMap<String, String>,
    request: Option<Box<RawValue>>,
    pub status: u16,
    pub response_headers: BTreeMap<String, String>,
    response_body: Box<RawValue>,
}

/// What of a body matters here.
#[derive(Deserialize)]
struct Modelled<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

impl Row {
    pub fn all(file: &Path) -> Vec<Row> {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let row = |(at, line): (usize, &str)| {
            let row: Result<Row, _> = serde_json::from_str(line);
            row.unwrap_or_else(|error| panic!("{} line {}: {error}", file.display(), at + 1)).corrected()
        };
        text.lines().enumerate().map(row).collect()
    }

    /// One recorder glued the next header's line to the value of `user-agent`.
    fn corrected(mut self) -> Row {
        for value in self.request_headers.values_mut() {
            value.truncate(value.find('\n').unwrap_or(value.len()));
        }
        self
    }

    /// `None` for a protocol that is left out.
    pub fn protocol(&self) -> Option<&'static Protocol> {
        PROTOCOLS.iter().find(|protocol| protocol.name == self.protocol)
    }

    /// The gateway's path for this request, with the query that was sent.
    pub fn target(&self, protocol: &Protocol) -> String {
        match self.url_path.split_once('?') {
            Some((_, query)) => format!("{}?{query}", protocol.path),
            None => protocol.path.to_owned(),
        }
    }

    /// The recorded request, or a small one where none was recorded.
    pub fn request(&self, protocol: &Protocol) -> String {
        match &self.request {
            Some(request) => request.get().to_owned(),
            None => protocol.minimal.replace("STREAM", if self.stream { "true" } else { "false" }),
        }
    }

    /// Whether the request is the one that was recorded.
    pub fn was_recorded(&self) -> bool {
        self.request.is_some()
    }

    /// The body of the answer: the text of a stream, or JSON.
    pub fn answer(&self) -> Vec<u8> {
        let raw = self.response_body.get();
        if raw.starts_with('"') { serde_json::from_str::<String>(raw).unwrap().into_bytes() } else { raw.into() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.response_headers.get(name).map(String::as_str)
    }

    /// The answer is read as a stream of events: it says that it is one.
    pub fn is_event_stream(&self) -> bool {
        self.status == 200 && self.header("content-type").is_some_and(|t| t.starts_with("text/event-stream"))
    }
}

/// The raw `model` of a JSON object, quotes included; it is a part of `json`.
pub fn model(json: &str) -> Option<&str> {
    serde_json::from_str::<Modelled<'_>>(json).ok()?.model.map(RawValue::get)
}

/// `whole` with other text in the place of `part`, which is a part of it.
pub fn replaced(whole: &str, part: &str, with: &str) -> String {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    [&whole[..start], with, &whole[start + part.len()..]].concat()
}
