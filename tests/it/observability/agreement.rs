//! Metrics, lines, traces, rows and spans agree about each request, in every cell of formats.

use llm_proxy::config::rows::ProviderRow;
use serde_json::Value;

use crate::sinks::langfuse::{Langfuse, traced};
use crate::sinks::{FORMATS, log_of, story};
use crate::support::sample::{MODEL, Sample};
use crate::support::*;
use crate::traces;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// How a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    Whole,
    Stream,
    /// The provider refuses it.
    Refused,
    /// The client leaves in the middle of a stream.
    Left,
}

/// What everybody is to say of a request.
#[derive(Debug, PartialEq)]
struct SinkView {
    received: String,
    sent: String,
    provider: String,
    status: u64,
    /// `None` where tokens were not counted, or only estimated.
    tokens: Option<(u64, u64)>,
    finish: Option<String>,
}

fn expected(course: RequestKind) -> SinkView {
    let answered = matches!(course, RequestKind::Whole | RequestKind::Stream);
    SinkView {
        received: MODEL.to_owned(),
        sent: "m-sent".to_owned(),
        provider: "acme".to_owned(),
        status: match course {
            RequestKind::Whole | RequestKind::Stream => 200,
            RequestKind::Refused => 400,
            RequestKind::Left => 499,
        },
        tokens: answered.then_some((3, 2)),
        finish: answered.then(|| "stop".to_owned()),
    }
}

/// A provider of one format, whose answers go the way that the user's words name.
fn provider(sample: &'static Sample) -> Fake {
    Fake::answering(move |request| {
        let streams = request.json()["stream"] == true;
        if request.text().contains("refuse") {
            let error = match sample.kind {
                "anthropic" => r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#,
                _ => r#"{"error":{"type":"invalid_request_error","message":"no","code":null,"param":null}}"#,
            };
            return answer::json(400, error);
        }
        if request.text().contains("leave") {
            // Neither its last events nor its last chunk: it goes on until the client leaves.
            let events = sample.events();
            let chunks: Vec<_> = events[..sample.opening.len() + 1].iter().map(answer::chunk).collect();
            return [answer::SSE.as_bytes(), &chunks.concat()].concat();
        }
        if streams { answer::sse(&sample.events()) } else { answer::json(200, sample.answer) }
    })
}

fn ask(gateway: &Gateway, asking: &Sample, course: RequestKind, id: &str) {
    let body = if course == RequestKind::Whole { asking.ask } else { asking.ask_stream };
    let body = match course {
        RequestKind::Refused => body.replace("\"hi\"", "\"refuse\""),
        RequestKind::Left => body.replace("\"hi\"", "\"leave\""),
        RequestKind::Whole | RequestKind::Stream => body.to_owned(),
    };
    let mut client = gateway.client();
    client.ask(&post(asking.path).header("x-request-id", id).body(body));
    match course {
        RequestKind::Left => {
            client.head();
            client.read_until("Hel");
        }
        RequestKind::Refused => assert_eq!(client.response().status, 400),
        RequestKind::Whole | RequestKind::Stream => assert_eq!(client.response().status, 200),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the lines of the file say; they have neither tokens nor finish, save inside of bodies.
fn of_lines(gateway: &Gateway, id: &str, course: RequestKind) -> SinkView {
    let lines = story(&log_of(gateway), id);
    let line = |kind: &str| {
        &lines.iter().find(|line| line.kind() == kind).unwrap_or_else(|| panic!("no {kind}: {lines:?}")).is
    };
    let of_answer = expected(course);
    SinkView {
        received: text(&line("request")["payload"]["model"]),
        sent: text(&line("provider_request")["payload"]["model"]),
        provider: text(&line("provider_response")["provider"]),
        status: line("response")["status_code"].as_u64().unwrap(),
        tokens: of_answer.tokens,
        finish: of_answer.finish,
    }
}

fn of_langfuse(langfuse: &Langfuse, id: &str) -> SinkView {
    let [_, generation] = langfuse.story(id);
    let is_told = generation["metadata"]["usage_estimated"] == false;
    let count = |name: &str| generation["usage"][name].as_u64();
    if let Some(began) = generation["completionStartTime"].as_str() {
        let (start, end) = (generation["startTime"].as_str().unwrap(), generation["endTime"].as_str().unwrap());
        assert!(start <= began && began <= end, "{generation}");
    }
    SinkView {
        received: text(&generation["model"]),
        sent: text(&generation["metadata"]["mapped_model"]),
        provider: text(&generation["metadata"]["provider_key"]),
        status: generation["metadata"]["status_code"].as_u64().unwrap(),
        tokens: count("promptTokens").zip(count("completionTokens")).filter(|_| is_told),
        finish: generation["metadata"]["finish_reason"].as_str().map(str::to_owned),
    }
}

/// Rows have no finish.
fn of_row(gateway: &Gateway, id: &str, course: RequestKind) -> SinkView {
    let mut row = Value::Null;
    eventually("the row is written", || {
        let mut client = gateway.client();
        client.ask(&get(&format!("/admin/v1/logs?request_id={id}")).key(ADMIN_KEY));
        row = client.response().json()["items"][0].clone();
        row.is_object()
    });
    let ms = |name: &str| row[name].as_u64();
    if let Some(ttft) = ms("ttft_ms") {
        assert!(ttft <= ms("total_duration_ms").unwrap(), "{row}");
    }
    let tokens = ms("input_tokens").zip(ms("output_tokens"));
    SinkView {
        received: text(&row["model_requested"]),
        sent: text(&row["model_mapped"]),
        provider: text(&row["provider_name"]),
        status: ms("status_code").unwrap(),
        tokens: tokens.filter(|_| expected(course).tokens.is_some()),
        finish: expected(course).finish,
    }
}

fn of_spans(collector: &Fake, id: &str, course: RequestKind) -> SinkView {
    let mut found = None;
    eventually("the spans have come", || {
        let all = traces::spans(collector);
        let own = |span: &&_| {
            traces::attributes_of(span_attributes(span)).get("llm_proxy.request_id").map(String::as_str) == Some(id)
        };
        found = all.iter().find(own).map(|request| {
            let attempt = all.iter().find(|span| span.parent_span_id == request.span_id);
            (request.clone(), attempt.cloned())
        });
        matches!(found, Some((_, Some(_))))
    });
    let Some((request, Some(attempt))) = found else { unreachable!() };
    assert!(request.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano <= request.end_time_unix_nano);
    let (request, attempt) = (traces::attributes_of(&request.attributes), traces::attributes_of(&attempt.attributes));
    let number = |name: &str| attempt.get(name).map(|text| text.parse::<u64>().unwrap());
    let tokens = number("gen_ai.usage.input_tokens").zip(number("gen_ai.usage.output_tokens"));
    SinkView {
        received: request["gen_ai.request.model"].clone(),
        sent: attempt["gen_ai.request.model"].clone(),
        provider: attempt["llm_proxy.provider"].clone(),
        status: request["http.response.status_code"].parse().unwrap(),
        tokens: tokens.filter(|_| expected(course).tokens.is_some()),
        finish: attempt
            .get("gen_ai.response.finish_reasons")
            .map(|text| text.trim_start_matches("StringValue(\"").trim_end_matches("\")").to_owned()),
    }
}

fn span_attributes<'s>(
    span: &'s &opentelemetry_proto::tonic::trace::v1::Span,
) -> &'s [opentelemetry_proto::tonic::common::v1::KeyValue] {
    &span.attributes
}

#[test]
fn all_sinks_agree_about_each_request() {
    let (langfuse, collector) = (Langfuse::start(), traces::collector());
    for served in FORMATS {
        let upstream = provider(served);
        let row = ProviderRow { model_mapping: r#"{"m-asked":"m-sent"}"#.into(), ..served.provider("acme", &upstream) };
        let gateway = traced(Setup::new().provider(row), &langfuse.server)
            .env("ADMIN_KEY", ADMIN_KEY)
            .env("JSONL_LOG_ENABLED", "true")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""))
            .env("OTEL_BSP_SCHEDULE_DELAY", 20)
            .start();
        for asking in FORMATS {
            for course in [RequestKind::Whole, RequestKind::Stream, RequestKind::Refused, RequestKind::Left] {
                let id = format!("{}{}-{course:?}", served.kind, asking.path.replace('/', "."));
                ask(&gateway, asking, course, &id);
                let expected = expected(course);
                assert_eq!(of_lines(&gateway, &id, course), expected, "lines, {id}");
                assert_eq!(of_langfuse(&langfuse, &id), expected, "Langfuse, {id}");
                assert_eq!(of_row(&gateway, &id, course), expected, "rows, {id}");
                assert_eq!(of_spans(&collector, &id, course), expected, "spans, {id}");
                let counted = format!(
                    r#"llm_proxy_requests_total{{method="POST",endpoint="{}",model="m-sent",provider="acme",status_code="{}",api_key_name="sk-test",client="unknown"}}"#,
                    asking.path, expected.status
                );
                eventually(&counted, || gateway.metric(&counted).is_some());
            }
        }
        // Six answers, and nothing of them lost on the way.
        let spent = r#"llm_proxy_token_counts_total{provider="acme",source="provider"}"#;
        gateway.expect_metric(spent, 6.0);
        for sink in ["jsonl", "langfuse", "request_log", "otlp"] {
            let passed = format!(r#"llm_proxy_sink_records_total{{sink="{sink}"}}"#);
            eventually(&passed, || gateway.metric(&passed) >= Some(12.0));
        }
    }
}
