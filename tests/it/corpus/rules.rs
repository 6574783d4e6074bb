//! Where the client's answer rightly differs from the recorded one. Every difference has a rule
//! here, and every rule has rows.

use llm_wire::Format;
use llm_wire::error::{Kind, classify};
use llm_wire::formats::errors;

use super::case::{Case, Framing, Naming};

/// What the client gets.
pub enum Expected {
    /// Status and headers as recorded, and [`Case::expected`].
    Recorded,
    /// Status and headers as recorded, and these bytes.
    Edited(Vec<u8>),
    /// [`Case::expected`], then an error event of this kind, and no proper end.
    Truncated(Word),
    /// An estimate in the place of a count.
    Estimated,
    /// The gateway's own error.
    Refused { status: u16, word: Word },
}

/// What tells errors apart: `code` in OpenAI's formats, `type` in Anthropic's.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    pub openai: &'static str,
    pub anthropic: &'static str,
}

impl Word {
    pub fn of(self, format: Format) -> &'static str {
        if format == Format::Messages { self.anthropic } else { self.openai }
    }
}

pub struct Rule {
    pub name: &'static str,
    pub why: &'static str,
    pub applies: fn(&Case<'_>) -> bool,
    pub expected: fn(&Case<'_>) -> Expected,
    /// In which passes it has rows.
    pub naming: &'static [Naming],
}

const BOTH: &[Naming] = &[Naming::Same, Naming::Mapped];

/// Whether the words of a 403 are about the key.
fn is_about_key(case: &Case<'_>) -> bool {
    let read = errors::read_refusal(case.protocol.format, &case.answer);
    read.is_some_and(|read| classify::kind(Some(403), &read) == Kind::UpstreamAuth)
}

/// The first that applies counts.
pub const RULES: &[Rule] = &[
    Rule {
        name: "refused key",
        why: "a 401 of a provider, and a 403 whose words say so, is about the key in its row, not about the client's: 502 tells whose fault it is",
        applies: |case| case.row.status == 401 || case.row.status == 403 && is_about_key(case),
        expected: |_| Expected::Refused {
            status: 502,
            word: Word { openai: "upstream_authentication_failed", anthropic: "api_error" },
        },
        naming: BOTH,
    },
    Rule {
        name: "no counter",
        why: "a counter that says 404 is none, whatever it means by it: clients that plan by counts fare better with an estimate",
        applies: |case| {
            matches!(case.protocol.name, "count_tokens" | "responses_input_tokens") && case.row.status == 404
        },
        expected: |_| Expected::Estimated,
        naming: BOTH,
    },
    Rule {
        name: "keepalive",
        why: "an event that is not in the vendor's reference and on which strict readers fail; a comment does its work",
        applies: |case| case.row.id == "d30fc130e6774b11",
        expected: |case| {
            let text = String::from_utf8(case.expected.clone()).unwrap();
            let event = "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":2}\n\n";
            assert_eq!(text.matches(event).count(), 1);
            Expected::Edited(text.replace(event, ": keep-alive\n\n").into())
        },
        naming: BOTH,
    },
    Rule {
        name: "no end mark",
        why: "a stream that ends by a close and without its end mark can't be told from a broken one, and is reported as such",
        applies: |case| {
            ["0550a8bdeee3c060", "5a6c0f2e69872a22"].contains(&&*case.row.id) && case.framing == Framing::Close
        },
        expected: |_| Expected::Truncated(Word { openai: "upstream_stream_truncated", anthropic: "api_error" }),
        naming: BOTH,
    },
    Rule {
        name: "failed before content",
        why: "an error event before any content becomes the status that it stands for, so that clients and other providers can act on it",
        applies: |case| case.row.id == "9da06f9839c73a9e",
        expected: |_| Expected::Refused {
            status: 429,
            word: Word { openai: "insufficient_quota", anthropic: "billing_error" },
        },
        naming: BOTH,
    },
    Rule {
        name: "error under 200",
        why: "an error object under status 200 is no answer: it becomes the status that it stands for, so that clients and other providers can act on it",
        applies: |case| case.row.id == "dd0feb1915d40853",
        expected: |_| Expected::Refused {
            status: 400,
            word: Word { openai: "content_filter", anthropic: "invalid_request_error" },
        },
        naming: BOTH,
    },
    Rule {
        name: "not called a stream",
        why: "events of legacy completions under a content type of JSON are not read, so the model keeps the upstream's name in them",
        applies: |case| case.protocol.name == "completions" && case.row.stream && !case.row.is_event_stream(),
        expected: |case| Expected::Edited(case.answer.clone()),
        naming: &[Naming::Mapped],
    },
    Rule {
        name: "not called JSON",
        why: "a body that is not called JSON is not read, so the model keeps the upstream's name in it",
        applies: |case| !case.row.stream && !case.row.header("content-type").is_some_and(|t| t.contains("json")),
        expected: |case| Expected::Edited(case.answer.clone()),
        naming: &[Naming::Mapped],
    },
];
