//! A record as lines of JSON: the client's request, what each provider was sent and answered, what
//! the client got.
//!
//! Names and order of the fields are those of llm-proxy v1, as far as it had them.

use std::ops::Range;

use crate::config::snapshot::Provider;
use crate::control_plane::records::drain::Directory;
use crate::control_plane::sinks::headers::Head;
use crate::control_plane::sinks::outcome;
use crate::control_plane::sinks::timestamp::iso;
use crate::control_plane::sinks::truncate::{Part, chunks};
use crate::telemetry::capture::{Attempt, Body, CappedBytes, Detail};
use crate::telemetry::record::{Record, Source, Tokens};
use llm_wire::json::write::{self, Object};
use llm_wire::passthrough::event_strings::EventStrings;
use llm_wire::passthrough::plain_documents::PlainDocuments;

/// What is known of the bodies that were written last, of which most are like them.
#[derive(Default)]
pub(super) struct KnownBodies {
    requests: PlainDocuments,
    responses: PlainDocuments,
    events: EventStrings,
}

/// Appends the lines of one request and returns how many they are. `most` is the size of a body in
/// bytes.
pub(super) fn lines(
    out: &mut Vec<u8>,
    record: &Record,
    directory: &Directory,
    most: usize,
    known: &mut KnownBodies,
) -> u64 {
    let mut lines = Lines { out, record, directory, most, count: 0, payload: None, body: None, known };
    lines.request();
    for (at, attempt) in record.detail.iter().flat_map(|detail| &detail.attempts).enumerate() {
        // One that failed before it asked anything has no path.
        if !attempt.path.is_empty() {
            lines.provider_request(attempt);
            lines.provider_response(attempt);
        }
        if attempt.failure.is_some() {
            lines.attempt(at + 1, attempt);
        }
    }
    lines.response();
    lines.count
}

struct Lines<'a> {
    out: &'a mut Vec<u8>,
    record: &'a Record,
    directory: &'a Directory,
    most: usize,
    count: u64,
    /// The payload that was written last, and where it stands in `out`. The provider's is often the
    /// client's.
    payload: Option<Written<'a, CappedBytes>>,
    /// The body that was written last, likewise.
    body: Option<Written<'a, Body>>,
    known: &'a mut KnownBodies,
}

/// A value that is written, and the place of its text.
type Written<'a, T> = (&'a T, Range<usize>);

impl<'a> Lines<'a> {
    /// `us` since the start of the request.
    fn line(&mut self, kind: &str, us: u64, fill: impl FnOnce(&mut Object<'_>, &mut KnownBodies)) {
        let (record, known) = (self.record, &mut *self.known);
        write::object(self.out, |o| {
            o.str("type", kind);
            o.str("timestamp", &iso(record.started_us + us));
            o.str("request_id", record.request_id.as_str());
            fill(o, known);
        });
        self.out.push(b'\n');
        self.count += 1;
    }

    fn provider(&self, id: i64) -> Option<&'a Provider> {
        self.directory.provider(id)
    }

    fn request(&mut self) {
        let (record, most) = (self.record, self.most);
        let detail: Option<&Detail> = record.detail.as_deref();
        let path = detail.and_then(|detail| Head::new(&detail.head).path());
        let provider = self.provider(record.provider).map(|provider| &*provider.key);
        let mut written = self.payload.take();
        self.line("request", 0, |o, known| {
            o.str("endpoint", path.as_deref().unwrap_or(record.endpoint));
            o.opt_str("provider", provider);
            payload(o, detail.and_then(|detail| detail.body.as_ref()), most, &mut written, &mut known.requests);
        });
        self.payload = written;
    }

    fn provider_request(&mut self, attempt: &'a Attempt) {
        let (record, most) = (self.record, self.most);
        let provider = self.provider(attempt.provider);
        let mut written = self.payload.take();
        self.line("provider_request", attempt.began_us, |o, known| {
            o.opt_str("provider", provider.map(|provider| &*provider.key));
            o.opt_str("api_base", provider.map(|provider| provider.base.without_query()).as_deref());
            o.str("endpoint", &endpoint(attempt));
            payload(o, outcome::request(record, attempt), most, &mut written, &mut known.requests);
        });
        self.payload = written;
    }

    fn provider_response(&mut self, attempt: &'a Attempt) {
        let (record, most) = (self.record, self.most);
        let provider = self.provider(attempt.provider).map(|provider| &*provider.key);
        let mut written = self.body.take();
        self.line("provider_response", ended(record, attempt), |o, known| {
            o.opt_str("provider", provider);
            status(o, attempt.status);
            if let Some(message) = outcome::attempt_failure(attempt) {
                o.str("error_msg", &message);
            }
            body(o, attempt.response.as_ref(), most, &mut written, known);
        });
        self.body = written;
    }

    fn attempt(&mut self, number: usize, attempt: &Attempt) {
        let record = self.record;
        let provider = self.provider(attempt.provider);
        let end = ended(record, attempt);
        self.line("attempt", end, |o, _| {
            o.u64("attempt", number as u64);
            o.opt_str("provider", provider.map(|provider| &*provider.key));
            o.opt_str("api_base", provider.map(|provider| provider.base.without_query()).as_deref());
            let model = attempt.model.as_str();
            o.opt_str("model", (!model.is_empty()).then_some(model));
            status(o, attempt.status);
            if let Some((kind, message)) = &attempt.failure {
                o.str("error_kind", kind.row().label);
                o.str("error_msg", message);
            }
            o.str("started_at", &iso(record.started_us + attempt.began_us));
            let first_byte = attempt.first_byte_us.checked_sub(attempt.began_us);
            milliseconds(o, "first_byte_ms", first_byte.filter(|_| attempt.first_byte_us > 0));
            milliseconds(o, "duration_ms", Some(end.saturating_sub(attempt.began_us)));
        });
    }

    fn response(&mut self) {
        let (record, most) = (self.record, self.most);
        let provider = self.provider(record.provider).map(|provider| &*provider.key);
        let credential = self.directory.credential(record.credential);
        let mut written = self.body.take();
        self.line("response", record.total_us, |o, known| {
            status(o, record.status);
            if let Some(message) = outcome::failure(record) {
                o.str("error_msg", &message);
            }
            body(o, outcome::response(record), most, &mut written, known);
            o.opt_str("provider", provider);
            o.opt_str("credential", credential);
            let name = |text: &'a str| (!text.is_empty()).then_some(text);
            o.opt_str("model", name(record.model.as_str()));
            o.opt_str("provider_model", name(record.sent_model.as_str()));
            o.bool("stream", record.stream);
            o.u64("attempts", u64::from(record.attempts));
            milliseconds(o, "duration_ms", Some(record.total_us));
            let content = if record.stream { record.first_content_us } else { record.first_byte_us };
            milliseconds(o, "ttft_ms", Some(content).filter(|us| *us > 0));
            o.opt_str("finish_reason", record.finish);
            if let Some(defect) = record.stream_defect {
                o.str("stream_defect", defect.label());
            }
            if let Some(tokens) = &record.tokens {
                usage(o, tokens);
            }
        });
    }
}

/// Microseconds from the request's start; of an attempt that was cut off with its request, the
/// request's end.
fn ended(record: &Record, attempt: &Attempt) -> u64 {
    match (attempt.ended_us, attempt.first_byte_us) {
        (0, 0) => record.total_us,
        (0, first_byte) => first_byte,
        (ended, _) => ended,
    }
}

/// As llm-proxy v1 wrote it: with the version segment for Messages alone.
fn endpoint(attempt: &Attempt) -> String {
    format!("{}{}", attempt.format.profile().http.version_segment, attempt.path)
}

fn payload<'a>(
    o: &mut Object<'_>,
    cut: Option<&'a CappedBytes>,
    most: usize,
    written: &mut Option<Written<'a, CappedBytes>>,
    known: &mut PlainDocuments,
) {
    match cut {
        Some(cut) => write_once(o.key("payload"), cut, written, |out| Part::of(cut, most).write_by(out, known)),
        None => o.null("payload"),
    }
}

fn body<'a>(
    o: &mut Object<'_>,
    body: Option<&'a Body>,
    most: usize,
    written: &mut Option<Written<'a, Body>>,
    known: &mut KnownBodies,
) {
    let Some(body) = body else { return };
    match body.stream {
        true => write_once(o.key("chunk_sequence"), body, written, |out| chunks(out, body, most, &mut known.events)),
        false => write_once(o.key("body"), body, written, |out| {
            Part::of(&body.cut, most).write_by(out, &mut known.responses);
        }),
    }
}

/// Appends a value by `write`, or copies its text from where the same value was written before: most
/// of a line's time goes into looking for secrets and into escapes.
fn write_once<'a, T>(
    out: &mut Vec<u8>,
    value: &'a T,
    written: &mut Option<Written<'a, T>>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    match written {
        Some((before, text)) if std::ptr::eq(*before, value) => out.extend_from_within(text.clone()),
        _ => {
            let from = out.len();
            write(out);
            *written = Some((value, from..out.len()));
        }
    }
}

/// Null where no answer came.
fn status(o: &mut Object<'_>, status: u16) {
    match status {
        0 => o.null("status_code"),
        status => o.u64("status_code", u64::from(status)),
    }
}

/// Of microseconds, to a thousandth.
fn milliseconds(o: &mut Object<'_>, name: &str, us: Option<u64>) {
    match us {
        Some(us) => o.key(name).extend_from_slice(format!("{}.{:03}", us / 1000, us % 1000).as_bytes()),
        None => o.null(name),
    }
}

fn usage(o: &mut Object<'_>, tokens: &Tokens) {
    o.object("usage", |o| {
        o.u64("input_tokens", tokens.input);
        o.u64("output_tokens", tokens.output);
        o.u64("total_tokens", tokens.total());
        o.u64("cache_read_tokens", tokens.cache_read);
        o.u64("cache_write_tokens", tokens.cache_write());
        o.u64("reasoning_tokens", tokens.reasoning);
        o.bool("estimated", tokens.source == Source::Estimate);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::sinks::tests::{complete_record, directory, forwarded_record, request_record};
    use crate::telemetry::capture::{Attempt, Piece};
    use crate::telemetry::record::{Outcome, Short};
    use llm_wire::Format;
    use llm_wire::error::Kind;

    fn shown(record: &Record) -> Vec<String> {
        let mut out = Vec::new();
        let count = lines(&mut out, record, &directory(), 1 << 20, &mut KnownBodies::default());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, count);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_whole_answer() {
        let record = complete_record("{ \"model\": \"gpt-4\" }", r#"{"id":"x"}"#);
        let expected = [
            r#"{"type":"request","timestamp":"2023-11-14T22:13:20.000Z","request_id":"id-1","endpoint":"/v2/chat/completions","provider":"groq","payload":{"model":"gpt-4"}}"#,
            r#"{"type":"provider_request","timestamp":"2023-11-14T22:13:20.001Z","request_id":"id-1","provider":"groq","api_base":"http://localhost:1/v1","endpoint":"/chat/completions","payload":{"model":"gpt-4"}}"#,
            r#"{"type":"provider_response","timestamp":"2023-11-14T22:13:20.012Z","request_id":"id-1","provider":"groq","status_code":200,"body":{"id":"x"}}"#,
            r#"{"type":"response","timestamp":"2023-11-14T22:13:20.012Z","request_id":"id-1","status_code":200,"body":{"id":"x"},"provider":"groq","credential":"team a","model":"gpt-4","provider_model":"gpt-4-0613","stream":false,"attempts":1,"duration_ms":12.345,"ttft_ms":2.000,"finish_reason":"stop","usage":{"input_tokens":11,"output_tokens":22,"total_tokens":33,"cache_read_tokens":0,"cache_write_tokens":0,"reasoning_tokens":0,"estimated":false}}"#,
        ];
        assert_eq!(shown(&record), expected);
    }

    #[test]
    fn a_failover_to_another_format_as_a_stream() {
        let mut record = forwarded_record("POST /v1/chat/completions HTTP/1.1\r\n\r\n", "{}");
        let detail = record.detail.as_mut().unwrap();
        detail.end_attempt(3_000, Some((Kind::UpstreamConnect, "no connection to provider `groq`".into())));
        detail.begin_attempt(Attempt::new(5, Format::Messages, Short::new("claude"), "/messages", 3_500));
        detail.set_upstream_body(Some(b"{\"other\":1}"));
        detail.push_upstream(Piece::Event(b"event: a\ndata: {}\n\n"));
        detail.push_response(Piece::Event(b"data: {\"n\":1}\n\ndata: [DONE]\n\n"));
        detail.last_attempt().unwrap().status = 200;
        detail.end_attempt(9_000, None);
        record.stream = true;
        let lines = shown(&record);
        let kinds: Vec<&str> = lines.iter().map(|line| line.split('"').nth(3).unwrap()).collect();
        let expected = [
            "request",
            "provider_request",
            "provider_response",
            "attempt",
            "provider_request",
            "provider_response",
            "response",
        ];
        assert_eq!(kinds, expected);
        let rest = |at: usize| lines[at].split_once("\"id-1\",").unwrap().1;
        assert_eq!(rest(2), r#""provider":"groq","status_code":null,"error_msg":"no connection to provider `groq`"}"#);
        assert_eq!(
            rest(3),
            r#""attempt":1,"provider":"groq","api_base":"http://localhost:1/v1","model":"gpt-4-0613","status_code":null,"error_kind":"upstream_connect","error_msg":"no connection to provider `groq`","started_at":"2023-11-14T22:13:20.001Z","first_byte_ms":null,"duration_ms":2.000}"#
        );
        // A provider that is served no more has no name.
        assert_eq!(rest(4), r#""provider":null,"api_base":null,"endpoint":"/v1/messages","payload":{"other":1}}"#);
        assert_eq!(rest(5), r#""provider":null,"status_code":200,"chunk_sequence":["event: a\ndata: {}\n\n"]}"#);
        assert!(rest(6).starts_with(
            r#""status_code":200,"chunk_sequence":["data: {\"n\":1}\n\n","data: [DONE]\n\n"],"provider":"groq""#
        ));
    }

    #[test]
    fn refused_before_a_provider() {
        let mut record = request_record("POST /v1/messages HTTP/1.1\r\n\r\n", "{\"api_key\":\"sk-1\"");
        record.detail.as_mut().unwrap().error = Some("no such model".into());
        record.detail.as_mut().unwrap().set_reply(b"{\"error\":{}}");
        let record = Record {
            provider: 0,
            attempts: 0,
            status: 404,
            sent_model: Short::EMPTY,
            tokens: None,
            finish: None,
            first_byte_us: 0,
            outcome: Outcome::Failed(Kind::ModelNotFound),
            ..record
        };
        let expected = [
            r#"{"type":"request","timestamp":"2023-11-14T22:13:20.000Z","request_id":"id-1","endpoint":"/v1/messages","provider":null,"payload":"{\"api_key\":\"***\""}"#,
            r#"{"type":"response","timestamp":"2023-11-14T22:13:20.012Z","request_id":"id-1","status_code":404,"error_msg":"no such model","body":{"error":{}},"provider":null,"credential":"team a","model":"gpt-4","provider_model":null,"stream":false,"attempts":0,"duration_ms":12.345,"ttft_ms":null,"finish_reason":null}"#,
        ];
        assert_eq!(shown(&record), expected);
        // Its detail found no room.
        let bare = Record { detail: None, ..record };
        assert!(shown(&bare)[0].ends_with(r#""endpoint":"/v1/chat/completions","provider":null,"payload":null}"#));
    }
}
