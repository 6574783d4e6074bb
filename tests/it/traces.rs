//! Spans, as a collector gets them, and the trace that goes on to the provider.

use std::collections::BTreeMap;

use llm_proxy::config::rows::ProviderRow;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::support::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that takes everything.
pub fn collector() -> Fake {
    Fake::answering(|_| answer::typed(200, "application/x-protobuf", b""))
}

fn serving() -> Fake {
    Fake::answering(|request| match request.json()["stream"].as_bool() {
        Some(true) => answer::sse(&sample::CHAT.events()),
        _ => answer::json(200, sample::CHAT.answer),
    })
}

fn setup(provider: &Fake, collector: &Fake) -> Setup {
    exporting(Setup::new().provider(chat(provider)), collector)
}

fn exporting(setup: Setup, collector: &Fake) -> Setup {
    let endpoint = collector.url("");
    setup
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.replace("127.0.0.1", "localhost"))
        .env("OTEL_BSP_SCHEDULE_DELAY", 20)
}

fn decode(request: &fake::Request) -> ExportTraceServiceRequest {
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap()
}

/// All spans that have come, in the order of their coming.
pub fn spans(collector: &Fake) -> Vec<Span> {
    let batches = collector.requests().iter().map(decode).collect::<Vec<_>>();
    let scopes = batches.into_iter().flat_map(|batch| batch.resource_spans).flat_map(|of| of.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn wait_for(collector: &Fake, n: usize) -> Vec<Span> {
    eventually("the spans have come", || spans(collector).len() >= n);
    let all = spans(collector);
    assert_eq!(all.len(), n, "{all:#?}");
    all
}

pub fn attributes_of(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let shown = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        Value::BoolValue(b) => b.to_string(),
        Value::DoubleValue(n) => n.to_string(),
        Value::ArrayValue(array) => format!("{:?}", array.values[0].value.as_ref().unwrap()),
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|pair| (pair.key.as_str(), shown(pair.value.as_ref().unwrap().value.as_ref().unwrap())))
        .collect()
}

#[track_caller]
fn assert_attributes(span: &Span, expected: &[(&str, &str)]) {
    let attributes_of = attributes_of(&span.attributes);
    for (key, value) in expected {
        assert_eq!(attributes_of.get(key).map(String::as_str), Some(*value), "{key} in {attributes_of:#?}");
    }
}

fn hex_of(id: &[u8]) -> String {
    hex::encode(id)
}

/// By the name that the provider gave it, which the client of a mapped model never sees.
#[test]
fn the_model_that_answered() {
    let (whole, stream) = (sample::CHAT.answer.replace("m-asked", "m-sent-2026"), sample::CHAT.events().concat());
    let stream = stream.replace("m-asked", "m-sent-2026");
    let provider = Fake::answering(move |request| match request.json()["stream"].as_bool() {
        Some(true) => answer::sse(&[&stream]),
        _ => answer::json(200, &whole),
    });
    for (mapped, sent) in [("{}", "m-asked"), (r#"{"m-asked":"m-sent"}"#, "m-sent")] {
        for ask in [sample::CHAT.ask, sample::CHAT.ask_stream] {
            let collector = collector();
            let row = ProviderRow { model_mapping: mapped.into(), ..chat(&provider) };
            let gateway = exporting(Setup::new().provider(row), &collector).start();
            let mut client = gateway.client();
            client.ask(&post(sample::CHAT.path).body(ask));
            assert_eq!(client.response().status, 200);
            let all = wait_for(&collector, 2);
            assert_attributes(&all[1], &[("gen_ai.request.model", sent), ("gen_ai.response.model", "m-sent-2026")]);
        }
    }
}

#[test]
fn request_and_attempt_have_a_span_each() {
    let (provider, collector) = (serving(), collector());
    let gateway = setup(&provider, &collector).env("OTEL_SERVICE_NAME", "front").start();
    let mut client = gateway.client();
    let request = post(sample::CHAT.path).header("traceparent", PARENT).header("tracestate", "vendor=1");
    client.ask(&request.header("x-request-id", "asked-1").body(sample::CHAT.ask_stream));
    client.response();

    let all = wait_for(&collector, 2);
    let [request, attempt] = all.as_slice() else { panic!() };
    assert_attributes(
        request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/v1/chat/completions"),
            ("http.response.status_code", "200"),
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", sample::MODEL),
            ("llm_proxy.request_id", "asked-1"),
            ("llm_proxy.credential", KEY),
            ("llm_proxy.attempts", "1"),
        ],
    );
    assert_attributes(
        attempt,
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.request.model", sample::MODEL),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.system", "openai"),
            ("gen_ai.usage.input_tokens", "3"),
            ("gen_ai.usage.output_tokens", "2"),
            ("gen_ai.response.finish_reasons", "StringValue(\"stop\")"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", &provider.addr.port().to_string()),
            ("llm_proxy.provider", "chat"),
        ],
    );
    assert_eq!((request.name.as_str(), attempt.name.as_str()), ("POST /v1/chat/completions", "chat m-asked"));
    // Server and client, in the numbers of the protocol.
    assert_eq!((request.kind, attempt.kind), (2, 3));
    assert!(request.status.is_none() && attempt.status.is_none());
    assert!(!attributes_of(&request.attributes).contains_key("gen_ai.usage.input_tokens"), "tokens are counted once");

    // The client's trace, and the provider sees the span of the attempt above its own.
    assert_eq!(hex_of(&request.trace_id), PARENT[3..35]);
    assert_eq!((&request.trace_id, &request.span_id), (&attempt.trace_id, &attempt.parent_span_id));
    assert_eq!(hex_of(&request.parent_span_id), PARENT[36..52]);
    let sent = &provider.requests()[0];
    let expected = format!("00-{}-{}-01", hex_of(&attempt.trace_id), hex_of(&attempt.span_id));
    assert_eq!(sent.headers.all("traceparent").collect::<Vec<_>>(), [expected]);
    assert_eq!(sent.header("tracestate"), Some("vendor=1"));
    let inside = request.start_time_unix_nano <= attempt.start_time_unix_nano
        && attempt.start_time_unix_nano < attempt.end_time_unix_nano
        && attempt.end_time_unix_nano <= request.end_time_unix_nano;
    assert!(inside, "{all:#?}");

    let batch = &collector.requests()[0];
    assert_eq!((batch.method.as_str(), batch.target.as_str()), ("POST", "/v1/traces"));
    let resource = decode(batch).resource_spans[0].resource.clone().unwrap();
    assert_eq!(attributes_of(&resource.attributes)["service.name"], "front");
    assert_eq!(attributes_of(&resource.attributes)["service.version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn each_attempt_of_a_failover_has_its_span_and_its_parenthood() {
    let broken = Fake::answering(|_| answer::json(503, r#"{"error":{"message":"the secret of a conversation"}}"#));
    let (provider, collector) = (serving(), collector());
    let mut second = chat(&provider);
    (second.provider_key, second.weight) = ("second".into(), 0);
    let gateway = setup(&broken, &collector).provider(second).start();
    gateway.client().call(sample::CHAT.path, sample::CHAT.ask);
    let all = wait_for(&collector, 3);
    let [request, failed, good] = all.as_slice() else { panic!() };
    assert_attributes(request, &[("http.response.status_code", "200"), ("llm_proxy.attempts", "2")]);
    assert_attributes(
        failed,
        &[("http.response.status_code", "503"), ("error.type", "overloaded"), ("llm_proxy.provider", "chat")],
    );
    assert_attributes(
        good,
        &[("http.request.resend_count", "1"), ("llm_proxy.provider", "second"), ("gen_ai.usage.input_tokens", "3")],
    );
    // An error, in the number of the protocol.
    assert_eq!(failed.status.as_ref().map(|status| status.code), Some(2));
    assert!(good.status.is_none() && request.status.is_none());
    assert!(!format!("{all:?}").contains("secret of a conversation"));
    for (span, seen) in [(failed, &broken), (good, &provider)] {
        assert_eq!(span.parent_span_id, request.span_id);
        let sent = seen.requests()[0].header("traceparent").unwrap().to_owned();
        assert_eq!(sent, format!("00-{}-{}-01", hex_of(&request.trace_id), hex_of(&span.span_id)));
    }
}

#[test]
fn spans_of_refused_and_truncated_requests() {
    let provider = Fake::start();
    let collector = collector();
    let gateway = setup(&provider, &collector).start();
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).key("sk-nobody").body(sample::CHAT.ask));
    assert_eq!(client.response().status, 401);
    let refused = wait_for(&collector, 1).remove(0);
    assert_attributes(&refused, &[("http.response.status_code", "401"), ("error.type", "auth")]);
    assert!(refused.parent_span_id.is_empty() && refused.status.is_none(), "a client's fault is no error of a server");

    client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    sample::CHAT.opening.iter().chain(&sample::CHAT.content[..1]).for_each(|event| conn.send(answer::chunk(event)));
    client.head();
    conn.close();
    client.rest();
    let all = wait_for(&collector, 3);
    for span in &all[1..] {
        assert_attributes(span, &[("error.type", "upstream_truncated"), ("http.response.status_code", "200")]);
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
    }
}

#[test]
fn samplers_decide_export_and_the_flag_upstream() {
    let unsampled = PARENT.replace("-01", "-00");
    let rows = [
        ("parentbased_always_on", "1", Some(PARENT), true),
        ("parentbased_always_on", "1", Some(unsampled.as_str()), false),
        ("parentbased_always_on", "1", None, true),
        ("always_on", "1", Some(unsampled.as_str()), true),
        ("always_off", "1", Some(PARENT), false),
        ("traceidratio", "0", Some(PARENT), false),
        ("parentbased_traceidratio", "0", None, false),
    ];
    for (sampler, arg, parent, expected) in rows {
        let (provider, collector) = (serving(), collector());
        let setup =
            setup(&provider, &collector).env("OTEL_TRACES_SAMPLER", sampler).env("OTEL_TRACES_SAMPLER_ARG", arg);
        let mut gateway = setup.start();
        let mut client = gateway.client();
        client.ask(&post(sample::CHAT.path).header("traceparent", parent.unwrap_or("")).body(sample::CHAT.ask));
        client.response();
        let sent = provider.requests()[0].header("traceparent").unwrap().to_owned();
        assert!(sent.ends_with(if expected { "-01" } else { "-00" }), "{sampler} {parent:?}: {sent}");
        assert_eq!(parent.is_some(), sent[3..35] == PARENT[3..35]);
        // Told at the end at the latest.
        gateway.term();
        assert!(gateway.wait().success());
        assert_eq!(spans(&collector).len(), if expected { 2 } else { 0 }, "{sampler} {parent:?}");
    }
}

#[test]
fn client_trace_passes_without_an_exporter() {
    let (provider, collector) = (serving(), collector());
    for env in [("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")] {
        let gateway = setup(&provider, &collector).env(env.0, env.1).start();
        let mut client = gateway.client();
        client.ask(&post(sample::CHAT.path).header("traceparent", PARENT).body(sample::CHAT.ask));
        client.response();
        let sent = provider.requests().pop().unwrap();
        assert_eq!(sent.headers.all("traceparent").collect::<Vec<_>>(), [PARENT]);
    }
    assert!(collector.requests().is_empty());
}

/// A `traceparent` that is none begins a trace, and what belongs to it goes no further.
#[test]
fn a_broken_parent_is_none() {
    let (provider, collector) = (serving(), collector());
    let gateway = setup(&provider, &collector).start();
    let mut client = gateway.client();
    let request = post(sample::CHAT.path).header("traceparent", "00-no-trace-01").header("tracestate", "vendor=1");
    client.ask(&request.body(sample::CHAT.ask));
    client.response();
    assert!(wait_for(&collector, 2)[0].parent_span_id.is_empty());
    let sent = &provider.requests()[0];
    assert_eq!((sent.headers.all("traceparent").count(), sent.header("tracestate")), (1, None));
}

#[test]
fn busy_collector_is_retried_and_refusing_one_is_not() {
    let (provider, collector) = (serving(), Fake::start());
    let headers = "authorization=Basic%20secret-of-the-collector,x-tenant=a";
    let gateway = setup(&provider, &collector).env("OTEL_EXPORTER_OTLP_HEADERS", headers).start();
    let mut values = Vec::new();
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "no".into() }),
    };
    let answers = [
        answer::with(503, &[("retry-after", "0")], ""),
        answer::typed(200, "application/x-protobuf", ""),
        answer::typed(400, "text/plain", "what?"),
        answer::typed(200, "application/x-protobuf", partial.encode_to_vec()),
    ];
    for (at, answer) in answers.iter().enumerate() {
        // The second try of the first batch comes by itself.
        if at != 1 {
            gateway.client().call(sample::CHAT.path, sample::CHAT.ask);
        }
        let mut conn = collector.accept();
        let request = conn.request();
        assert_eq!(request.header("authorization"), Some("Basic secret-of-the-collector"));
        assert_eq!(request.header("x-tenant"), Some("a"));
        values.push(request.body);
        conn.send(answer);
    }
    assert_eq!(values[0], values[1]);
    for (series, n) in [
        ("llm_proxy_sink_records_total{sink=\"otlp\"}", 1.0),
        ("llm_proxy_sink_records_dropped_total{sink=\"otlp\",reason=\"refused\"}", 1.0),
        ("llm_proxy_sink_records_dropped_total{sink=\"otlp\",reason=\"rejected\"}", 1.0),
    ] {
        eventually(series, || gateway.metric(series) == Some(n));
    }
    assert!(!gateway.log().join("\n").contains("secret-of-the-collector"));
}

/// Clients notice nothing of a collector that takes no connection's bytes, its queue is bounded,
/// and the end of the process waits a little only.
#[test]
fn a_collector_that_hangs() {
    let (provider, collector) = (serving(), Fake::start());
    let mut gateway = setup(&provider, &collector).env("OTEL_EXPORTER_OTLP_TIMEOUT", 600_000).start();
    let mut client = gateway.client();
    client.call(sample::CHAT.path, sample::CHAT.ask);
    let _held = collector.accept();
    for _ in 0..2_200 {
        assert_eq!(client.call(sample::CHAT.path, sample::CHAT.ask).status, 200);
    }
    let full = "llm_proxy_sink_records_dropped_total{sink=\"otlp\",reason=\"full\"}";
    eventually("the queue is full", || gateway.metric(full).is_some_and(|lost| lost > 0.0));
    drop(client);
    gateway.term();
    assert!(gateway.wait().success());
}

#[test]
fn invalid_otlp_settings_are_reported() {
    let rows = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret-without-a-name"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    let setup = rows.iter().fold(Setup::new(), |setup, (name, value)| setup.env(name, value));
    let ended = setup.try_start().err().unwrap();
    assert_eq!(ended.code, Some(2));
    assert!(rows.iter().all(|(name, _)| ended.stderr.contains(name)), "{}", ended.stderr);
    assert!(!ended.stderr.contains("secret-without"));
}
