//! The cases, as data: requests of clients and answers of providers, written by hand in
//! `tests/fixtures/matrix/<format>.json`.
//!
//! An object for each case:
//!
//! | member | |
//! |---|---|
//! | `request` | what a client of the format asks; `stream` is put in |
//! | `whole` | a provider's whole answer, with `status` if that is not 200; absent where only a stream can fail so |
//! | `stream` | the data of a provider's events, one after the other; names and framing follow from the format |
//! | `target` | host and model of the provider, where the usual one does not do this |

use std::sync::OnceLock;

use llm_wire::Format;
use llm_wire::target::quirks::Host;
use serde_json::Value;

/// How the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Answer,
    /// The provider refuses before it has sent anything: the client gets a status.
    Refused,
    /// The stream fails after words: the client gets an event, or a status if it waits for the
    /// whole.
    Broken,
}

pub struct Case {
    pub name: &'static str,
    /// What must reach every provider, in whatever words its format has.
    pub carries: &'static [&'static str],
    pub end: End,
}

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const PDF: &str = "JVBERi0xLjQKJeLjz9MKMSAwIG9iago8PC9UeXBlL0NhdGFsb2c+PgplbmRvYmoKdHJhaWxlcjw8L1Jvb3QgMSAwIFI+Pgo=";

macro_rules! cases {
    ($( $name:literal $end:ident [$( $carries:expr ),*]; )*) => {
        pub const CASES: &[Case] = &[ $( Case { name: $name, carries: &[$( $carries ),*], end: End::$end }, )* ];
    };
}

cases! {
    "text" Answer ["Be brief.", "Hello?", "Yes?", "How are you?", r#""temperature":0.5"#];
    "one_tool" Answer ["weather", "Tells the weather", "city"];
    "parallel_tools" Answer ["weather", "Tells the weather", "city"];
    "tool_result_image" Answer ["weather", "a picture follows", PNG];
    "reasoning" Answer ["Think."];
    "redacted_reasoning" Answer ["Think."];
    "image" Answer ["What are these?", PNG, "https://example.com/cat.png"];
    "document" Answer [PDF, "Sum it up.", "report.pdf"];
    "structured_output" Answer ["Three days in Bern.", "json_schema", r#""days""#];
    "refusal" Answer ["Something bad."];
    "length_stop" Answer ["Count.", ":16"];
    "stop_sequence" Answer ["Count."];
    "usage_with_cache" Answer ["Hello?"];
    "error_before_content" Refused ["Hello?"];
    "error_mid_stream" Broken ["Hello?"];
    "truncated_stream" Broken ["Hello?", "weather"];
}

/// One case in one format.
#[derive(Clone, Copy)]
pub struct Part(&'static Value);

impl Case {
    pub fn of(&self, format: Format) -> Part {
        Part(all(format).get(self.name).unwrap_or_else(|| panic!("{format} has no `{}`", self.name)))
    }
}

/// Every case of a format, by name.
pub fn all(format: Format) -> &'static Value {
    static ALL: OnceLock<[Value; 3]> = OnceLock::new();
    let texts = || {
        [
            include_str!("../../fixtures/matrix/chat.json"),
            include_str!("../../fixtures/matrix/messages.json"),
            include_str!("../../fixtures/matrix/responses.json"),
        ]
        .map(|text| serde_json::from_str(text).unwrap())
    };
    &ALL.get_or_init(texts)[format as usize]
}

impl Part {
    pub fn request(self, stream: bool) -> Value {
        let mut request = self.0["request"].clone();
        if stream {
            request["stream"] = true.into();
        }
        request
    }

    /// Status and body of the provider's whole answer.
    pub fn whole(self) -> Option<(u16, &'static Value)> {
        let status = self.0["status"].as_u64().unwrap_or(200);
        self.0.get("whole").map(|whole| (u16::try_from(status).unwrap(), whole))
    }

    /// The provider's stream, byte for byte.
    pub fn stream(self, format: Format) -> Vec<u8> {
        let mut out = String::new();
        for data in self.0["stream"].as_array().unwrap() {
            match (data.as_str(), format) {
                (Some(mark), _) => out += &format!("data: {mark}\n\n"),
                (None, Format::Chat) => out += &format!("data: {data}\n\n"),
                (None, _) => out += &format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap()),
            }
        }
        out.into_bytes()
    }

    /// Host and model of the provider.
    pub fn target(self, format: Format) -> (Host, &'static str) {
        let usual = match format {
            Format::Chat => (Host::OpenAi, "gpt-4.1"),
            Format::Messages => (Host::Anthropic, "claude-opus-4-5"),
            Format::Responses => (Host::OpenAi, "gpt-5.2"),
        };
        let target = &self.0["target"];
        match (target["host"].as_str(), target["model"].as_str()) {
            (Some(host), Some(model)) => (Host::named(host).unwrap(), model),
            _ => usual,
        }
    }
}
