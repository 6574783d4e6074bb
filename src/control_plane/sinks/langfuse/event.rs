//! One request as two events of Langfuse's ingestion API: `trace-create` and `generation-create`.

use sha2::{Digest, Sha256};

use crate::config::snapshot::{Credential, Provider};
use crate::control_plane::records::drain::Directory;
use crate::control_plane::sinks::headers::Head;
use crate::control_plane::sinks::langfuse::identity::Identity;
use crate::control_plane::sinks::langfuse::input_output;
use crate::control_plane::sinks::langfuse::input_output::Output;
use crate::control_plane::sinks::outcome;
use crate::control_plane::sinks::timestamp::iso;
use crate::control_plane::sinks::truncate::Part;
use crate::telemetry::record::{Outcome, Record, Source, Tokens};
use llm_wire::Format;
use llm_wire::json::RawValue;
use llm_wire::json::write::{self, Object};

/// Headers that a trace includes, with their names there.
const HEADERS: [(&str, &str); 5] = [
    ("user-agent", "user_agent"),
    ("x-forwarded-for", "x_forwarded_for"),
    ("x-real-ip", "x_real_ip"),
    ("origin", "origin"),
    ("referer", "referer"),
];
/// Characters of a User-Agent in a tag.
const AGENT: usize = 50;

/// The events of one request.
pub(super) struct TraceEvents {
    /// Joined by a comma, without the brackets of an array.
    pub json: Vec<u8>,
    /// The ids of the two events, by which the response names them.
    pub ids: [String; 2],
}

/// Makes the events of a record. `most` bounds a body, in bytes.
pub(super) fn events(record: &Record, directory: &Directory, most: usize) -> TraceEvents {
    let builder = TraceBuilder::new(record, directory, most);
    let ids = [builder.id("trace-event"), builder.id("generation-event")];
    let mut json = Vec::new();
    event(&mut json, &ids[0], "trace-create", record, |o| builder.trace(o));
    json.push(b',');
    event(&mut json, &ids[1], "generation-create", record, |o| builder.generation(o));
    TraceEvents { json, ids }
}

fn event(out: &mut Vec<u8>, id: &str, kind: &str, record: &Record, fill: impl FnOnce(&mut Object<'_>)) {
    write::object(out, |o| {
        o.str("id", id);
        o.str("timestamp", &iso(record.started_us + record.total_us));
        o.str("type", kind);
        o.object("body", fill);
    });
}

struct TraceBuilder<'a> {
    record: &'a Record,
    provider: Option<&'a Provider>,
    credential: Option<&'a str>,
    head: Head<'a>,
    /// The client's body, as far as it was captured.
    request: Option<Part<'a>>,
    /// The same, if it is complete JSON.
    body: Option<RawValue<'a>>,
    most: usize,
}

impl<'a> TraceBuilder<'a> {
    fn new(record: &'a Record, directory: &'a Directory, most: usize) -> TraceBuilder<'a> {
        let detail = record.detail.as_deref();
        let request = detail.and_then(|detail| detail.body.as_ref()).map(|cut| Part::of(cut, most));
        TraceBuilder {
            record,
            provider: directory.provider(record.provider),
            credential: directory.credential(record.credential),
            head: Head::new(detail.map_or(&[][..], |detail| &detail.head)),
            request,
            body: request.and_then(input_output::whole),
            most,
        }
    }

    /// Unique for this request: a client may send the same request id twice.
    fn id(&self, of: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(of);
        hash.update(self.record.request_id.as_str());
        hash.update(self.record.started_us.to_be_bytes());
        let mut hex = hex::encode(&hash.finalize()[..16]);
        // The form of a random UUID, which readers may require.
        hex.replace_range(12..13, "4");
        hex.replace_range(16..17, "8");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    fn trace(&self, o: &mut Object<'_>) {
        let record = self.record;
        let identity = Identity::of(&self.head, self.body);
        o.str("id", &self.id("trace"));
        o.str("timestamp", &iso(record.started_us));
        o.str("name", "llm-proxy-request");
        let user = identity.user.as_deref().or(self.credential).unwrap_or(Credential::ANONYMOUS);
        o.str("userId", user);
        if let Some(session) = &identity.session {
            o.str("sessionId", session);
        }
        o.object("metadata", |o| {
            o.str("request_id", record.request_id.as_str());
            some(o, "credential_name", self.credential);
            o.str("endpoint", record.endpoint);
            for (header, name) in HEADERS {
                some(o, name, self.head.get(header).as_deref());
            }
            some(o, "provider_key", self.provider.map(|provider| &*provider.key));
            some(o, "provider_api_base", self.provider.map(|provider| provider.base.without_query()).as_deref());
            some(o, "model", name(record.model.as_str()));
        });
        o.array("tags", |tags| {
            tags.str(&format!("endpoint:{}", record.endpoint));
            let mut tag = |kind: &str, value: Option<&str>| {
                if let Some(value) = value {
                    tags.str(&format!("{kind}:{value}"));
                }
            };
            tag("credential", self.credential);
            let agent = self.head.get("user-agent").map(|agent| agent.chars().take(AGENT).collect::<String>());
            tag("user_agent", agent.as_deref());
            tag("provider", self.provider.map(|provider| &*provider.key));
            tag("model", name(record.model.as_str()));
        });
    }

    fn generation(&self, o: &mut Object<'_>) {
        let record = self.record;
        let after = |us: u64| iso(record.started_us + us);
        o.str("id", &self.id("generation"));
        o.str("traceId", &self.id("trace"));
        o.str("name", title(record));
        o.str("startTime", &iso(record.started_us));
        o.str("endTime", &after(record.total_us));
        let began = if record.stream { record.first_content_us } else { record.first_byte_us };
        if began > 0 {
            o.str("completionStartTime", &after(began));
        }
        some(o, "model", name(record.model.as_str()));
        if let Some(body) = self.body {
            input_output::parameters(o.key("modelParameters"), body);
        }
        if let Some(part) = self.request {
            input_output::input(o.key("input"), part);
        }
        let format = record.client_format.unwrap_or(Format::Chat);
        let answer = outcome::response(record).and_then(|body| Output::of(format, record.endpoint, body, self.most));
        if let Some(answer) = answer {
            answer.write(o.key("output"));
        }
        if let Some(tokens) = &record.tokens {
            usage(o, tokens);
        }
        if let Some(cost) = record.total_cost() {
            o.object("costDetails", |o| {
                o.key("total").extend_from_slice(format!("{}", cost as f64 / 1e9).as_bytes());
            });
        }
        o.object("metadata", |o| self.metadata(o));
        let failed = record.status >= 400 || matches!(record.outcome, Outcome::Failed(_) | Outcome::Truncated(_));
        let gone = record.outcome == Outcome::ClientDisconnected;
        o.str("level", if failed && !gone { "ERROR" } else { "DEFAULT" });
        some(o, "statusMessage", outcome::failure(record).as_deref());
    }

    fn metadata(&self, o: &mut Object<'_>) {
        let record = self.record;
        some(o, "provider_key", self.provider.map(|provider| &*provider.key));
        some(o, "provider_type", self.provider.map(|provider| &*provider.provider_type));
        some(o, "provider_api_base", self.provider.map(|provider| provider.base.without_query()).as_deref());
        some(o, "mapped_model", name(record.sent_model.as_str()));
        o.bool("is_streaming", record.stream);
        o.str("request_id", record.request_id.as_str());
        some(o, "finish_reason", record.finish);
        o.u64("status_code", u64::from(record.status));
        o.u64("attempts", u64::from(record.attempts));
        if let Some(tokens) = &record.tokens {
            o.bool("usage_estimated", tokens.source == Source::Estimate);
        }
    }
}

/// Returns the name that llm-proxy v1 used.
fn title(record: &Record) -> &'static str {
    match (record.endpoint, record.client_format) {
        ("/v1/completions", _) => "completion",
        ("/v1/chat/completions", _) => "chat-completion",
        (_, Some(Format::Messages)) => "claude-messages",
        (_, Some(Format::Responses)) => "responses",
        ("/v1/embeddings", _) => "embedding",
        _ => "other",
    }
}

/// Writes the sums, and the parts that have prices of their own. Parts do not overlap: Langfuse
/// adds them up.
fn usage(o: &mut Object<'_>, tokens: &Tokens) {
    o.object("usage", |o| {
        o.u64("promptTokens", tokens.input);
        o.u64("completionTokens", tokens.output);
        o.u64("totalTokens", tokens.total());
    });
    o.object("usageDetails", |o| {
        o.u64("input", tokens.input.saturating_sub(tokens.cache_read).saturating_sub(tokens.cache_write()));
        o.u64("output", tokens.output.saturating_sub(tokens.reasoning));
        let parts = [
            ("input_cache_read", tokens.cache_read),
            ("input_cache_creation", tokens.cache_write()),
            ("output_reasoning", tokens.reasoning),
        ];
        for (name, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
            o.u64(name, count);
        }
        o.u64("total", tokens.total());
    });
}

fn some(o: &mut Object<'_>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        o.str(name, text);
    }
}

fn name(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::control_plane::sinks::tests::{complete_record, directory, forwarded_record, request_record};
    use crate::telemetry::record::Short;
    use llm_wire::error::Kind;

    fn events(record: &Record) -> [Value; 2] {
        let made = super::events(record, &directory(), 1 << 20);
        let batch = [b"[", made.json.as_slice(), b"]"].concat();
        let events: [Value; 2] = serde_json::from_slice::<Vec<Value>>(&batch).unwrap().try_into().unwrap();
        assert_eq!([&events[0]["id"], &events[1]["id"]], [&made.ids[0], &made.ids[1]]);
        events
    }

    const ANSWER: &str =
        r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;

    #[test]
    fn a_whole_answer() {
        let mut record = complete_record(
            r#"{"model":"gpt-4","temperature":0.5,"user":"u","messages":[{"role":"user","content":"hi"}]}"#,
            ANSWER,
        );
        record.detail.as_mut().unwrap().head =
            b"POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer sk-1\r\nUser-Agent: curl/8\r\nOrigin: o\r\n\r\n".to_vec();
        record.endpoint = "/v1/chat/completions";
        record.tokens = Some(Tokens {
            input: 100,
            output: 50,
            cache_read: 60,
            cache_write_5m: 10,
            reasoning: 20,
            ..Tokens::default()
        });
        record.cost = Some(1_500_000);
        let [trace, generation] = events(&record);
        assert_eq!((&trace["type"], &generation["type"]), (&json!("trace-create"), &json!("generation-create")));
        assert_eq!(trace["timestamp"], "2023-11-14T22:13:20.012Z");
        assert_eq!(trace["body"]["id"], generation["body"]["traceId"]);
        let mut trace = trace["body"].clone();
        trace.as_object_mut().unwrap().remove("id");
        assert_eq!(
            trace,
            json!({
                "timestamp": "2023-11-14T22:13:20.000Z",
                "name": "llm-proxy-request",
                "userId": "u",
                "metadata": {
                    "request_id": "id-1", "credential_name": "team a", "endpoint": "/v1/chat/completions",
                    "user_agent": "curl/8", "origin": "o",
                    "provider_key": "groq", "provider_api_base": "http://localhost:1/v1", "model": "gpt-4",
                },
                "tags": [
                    "endpoint:/v1/chat/completions", "credential:team a", "user_agent:curl/8", "provider:groq", "model:gpt-4",
                ],
            })
        );
        let mut generation = generation["body"].clone();
        for id in ["id", "traceId"] {
            generation.as_object_mut().unwrap().remove(id);
        }
        assert_eq!(
            generation,
            json!({
                "name": "chat-completion",
                "startTime": "2023-11-14T22:13:20.000Z",
                "endTime": "2023-11-14T22:13:20.012Z",
                "completionStartTime": "2023-11-14T22:13:20.002Z",
                "model": "gpt-4",
                "modelParameters": {"temperature": 0.5},
                "input": {"messages": [{"role": "user", "content": "hi"}]},
                "output": "Hello",
                "usage": {"promptTokens": 100, "completionTokens": 50, "totalTokens": 150},
                "usageDetails": {
                    "input": 30, "output": 30, "input_cache_read": 60, "input_cache_creation": 10, "output_reasoning": 20,
                    "total": 150,
                },
                "costDetails": {"total": 0.0015},
                "metadata": {
                    "provider_key": "groq", "provider_type": "openai", "provider_api_base": "http://localhost:1/v1",
                    "mapped_model": "gpt-4-0613", "is_streaming": false, "request_id": "id-1", "finish_reason": "stop",
                    "status_code": 200, "attempts": 1, "usage_estimated": false,
                },
                "level": "DEFAULT",
            })
        );
    }

    #[test]
    fn ends_that_are_no_success() {
        let head = "POST /v1/messages HTTP/1.1\r\n\r\n";
        // outcome, status, what was said, level, message
        let rows = [
            (Outcome::Failed(Kind::ModelNotFound), 404, Some("no such model"), "ERROR", "no such model"),
            (Outcome::Truncated(Kind::UpstreamTruncated), 200, None, "ERROR", "upstream_truncated"),
            (Outcome::Complete, 429, None, "ERROR", "status 429"),
            (Outcome::ClientDisconnected, 499, Some("x"), "DEFAULT", "the client left before the end"),
        ];
        for (outcome, status, error, level, message) in rows {
            let mut record = Record { outcome, status, ..forwarded_record(head, "{}") };
            record.detail.as_mut().unwrap().error = error.map(Box::from);
            let [_, generation] = events(&record);
            assert_eq!(generation["body"]["level"], level);
            assert_eq!(generation["body"]["statusMessage"], message);
            assert_eq!(generation["body"]["output"], Value::Null);
        }
    }

    #[test]
    fn ids_belong_to_one_request() {
        let first = request_record("POST / HTTP/1.1\r\n\r\n", "{}");
        let again = Record { started_us: first.started_us + 1, ..first.clone() };
        let other = Record { request_id: Short::new("id-2"), ..first.clone() };
        let of = |record: &Record| events(record).map(|event| event["body"]["id"].clone());
        assert_eq!(of(&first), of(&first));
        assert_ne!(of(&first), of(&again));
        assert_ne!(of(&first), of(&other));
        let [trace, generation] = of(&first);
        assert_ne!(trace, generation);
    }
}
