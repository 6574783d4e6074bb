//! Paths and methods.

use super::*;

const STATE: &str =
    "this path needs state that the gateway does not keep; send the whole conversation with each request";

fn stateful() -> ExpectedError {
    expected_error(STATE).status(404).code("not_supported").messages_kind("not_found_error")
}

fn unknown(path: &str) -> ExpectedError {
    not_found(&format!("no such path: {path}; the API is under /v1 (chat/completions, messages, responses, models)"))
}

fn misspelled(path: &str, meant: &str) -> ExpectedError {
    not_found(&format!("no such path: {path}; did you mean {meant}?"))
}

#[test]
fn unknown_paths_are_refused() {
    let vertex = "/models/gcp-vertex/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict";
    let long = format!("/{}", "a".repeat(300));
    let rows: Vec<(&str, &str, Shape, ExpectedError)> = vec![
        // What needs state, of every format.
        ("GET", "/v1/responses/..", Shape::OpenAi, stateful()),
        ("DELETE", "/v1/responses/resp_1/output", Shape::OpenAi, stateful()),
        ("POST", "/v1/responses/%2e%2e/cancel", Shape::OpenAi, stateful()),
        ("POST", "/v1/conversations", Shape::OpenAi, stateful()),
        ("GET", "/v1/containers", Shape::OpenAi, stateful()),
        ("POST", "/v1/messages/batches", Shape::Messages, stateful()),
        ("GET", "/v1/messages/batches/b1/results", Shape::Messages, stateful()),
        ("POST", "/v2/v1/messages/batches", Shape::Messages, stateful()),
        ("POST", "/v1/files", Shape::OpenAi, stateful()),
        ("POST", "/v1/batches", Shape::OpenAi, stateful()),
        ("POST", "/v1/threads/t/runs", Shape::OpenAi, stateful()),
        ("GET", "/v1/realtime", Shape::OpenAi, stateful()),
        ("GET", "/v1/chat/completions/c1/messages", Shape::OpenAi, stateful()),
        // What there is not.
        ("POST", "/v3/chat/completions", Shape::OpenAi, misspelled("/v3/chat/completions", "/v1/chat/completions")),
        ("POST", "/V1/chat/completions", Shape::OpenAi, misspelled("/V1/chat/completions", "/v1/chat/completions")),
        ("POST", "/v1chat/completions", Shape::OpenAi, misspelled("/v1chat/completions", "/v1/chat/completions")),
        ("POST", "/v1", Shape::OpenAi, unknown("/v1")),
        ("POST", "/v1/", Shape::OpenAi, unknown("/v1/")),
        ("POST", "/v1/v1/v1/messages", Shape::OpenAi, misspelled("/v1/v1/v1/messages", "/v1/messages")),
        ("GET", "/favicon.ico", Shape::OpenAi, unknown("/favicon.ico")),
        ("GET", "/.env", Shape::OpenAi, unknown("/.env")),
        ("GET", "/messages/x", Shape::Messages, misspelled("/messages/x", "/v1/messages")),
        ("GET", &long, Shape::OpenAi, unknown(&long[..200])),
        // One spelling of a path is served; no other is taken for it.
        ("POST", "/v1/%63hat/completions", Shape::OpenAi, unknown("/v1/%63hat/completions")),
        ("POST", "/v1%2fchat%2fcompletions", Shape::OpenAi, unknown("/v1%2fchat%2fcompletions")),
        (
            "POST",
            "/x/../v1/chat/completions",
            Shape::OpenAi,
            misspelled("/x/../v1/chat/completions", "/v1/chat/completions"),
        ),
        ("POST", "/./v1/chat/completions", Shape::OpenAi, misspelled("/./v1/chat/completions", "/v1/chat/completions")),
        ("POST", "//v1/chat/completions", Shape::OpenAi, misspelled("//v1/chat/completions", "/v1/chat/completions")),
        ("POST", "/v1//chat/completions", Shape::OpenAi, misspelled("/v1//chat/completions", "/v1/chat/completions")),
        ("POST", "/v1/chat/completions//", Shape::OpenAi, misspelled("/v1/chat/completions//", "/v1/chat/completions")),
        ("POST", "/v1/chat/completions;x=y", Shape::OpenAi, stateful()),
        ("POST", "/v1\\chat\\completions", Shape::OpenAi, unknown("/v1\\chat\\completions")),
        ("GET", "/v1/../../../etc/passwd", Shape::OpenAi, unknown("/v1/../../../etc/passwd")),
        ("GET", "/%00", Shape::OpenAi, unknown("/%00")),
        ("GET", "/%0d%0ax-evil:%201", Shape::OpenAi, unknown("/%0d%0ax-evil:%201")),
        (
            "POST",
            vertex,
            Shape::Messages,
            not_implemented("the Vertex path is not served by this version; use /v1/messages"),
        ),
    ];
    let mut bench = Bench::new();
    for (method, path, shape, expected_error) in &rows {
        let request = post(path).method(method).bytes();
        bench.refused(path, &request, *shape, expected_error, Then::Kept);
        // A body that came along is passed over; its bytes are no request.
        let request = post(path).method(method).body(CHAT.ask).bytes();
        bench.refused(path, &request, *shape, expected_error, Then::Kept);
        // The header that only clients of one format send decides where the path does not.
        if expected_error.message.contains("the API is under") {
            let request = post(path).method(method).header("anthropic-version", "2023-06-01").bytes();
            bench.refused(path, &request, Shape::Messages, expected_error, Then::Kept);
        }
    }
    bench.finish();
}

#[test]
fn wrong_methods_are_refused() {
    const READ: &str = "GET, HEAD, OPTIONS";
    const ASK: &str = "POST, OPTIONS";
    let rows = [
        ("GET", "/v1/chat/completions", Shape::OpenAi, "/v1/chat/completions takes POST only", ASK),
        ("GET", "/v2/chat/completions?a=b", Shape::OpenAi, "/v1/chat/completions takes POST only", ASK),
        ("PUT", "/chat/completions", Shape::OpenAi, "/v1/chat/completions takes POST only", ASK),
        ("post", "/v1/chat/completions", Shape::OpenAi, "/v1/chat/completions takes POST only", ASK),
        ("TRACE", "/v1/chat/completions", Shape::OpenAi, "/v1/chat/completions takes POST only", ASK),
        ("BREW", "/v1/embeddings", Shape::OpenAi, "/v1/embeddings takes POST only", ASK),
        ("GET", "/v1/messages", Shape::Messages, "/v1/messages takes POST only", ASK),
        ("DELETE", "/v2/v1/messages", Shape::Messages, "/v1/messages takes POST only", ASK),
        ("GET", "/v1/messages/count_tokens", Shape::Messages, "/v1/messages/count_tokens takes POST only", ASK),
        ("GET", "/v1/responses", Shape::OpenAi, "/v1/responses takes POST only", ASK),
        ("PATCH", "/v1/responses/", Shape::OpenAi, "/v1/responses takes POST only", ASK),
        ("POST", "/v1/models", Shape::OpenAi, "/v1/models takes GET only", READ),
        ("DELETE", "/v1/models/m", Shape::OpenAi, "/v1/models/{id} takes GET only", READ),
        ("POST", "/v1/model/info", Shape::OpenAi, "/v1/model/info takes GET only", READ),
        ("POST", "/health", Shape::OpenAi, "/health takes GET only", READ),
        ("get", "/metrics", Shape::OpenAi, "/metrics takes GET only", READ),
        ("POST", "/", Shape::OpenAi, "/ takes GET only", READ),
        ("POST", "/?a=b", Shape::OpenAi, "/ takes GET only", READ),
    ];
    let mut bench = Bench::new();
    for (method, path, shape, note, allow) in rows {
        let request = post(path).method(method);
        bench.refused(path, &request.bytes(), shape, &wrong_method(note), Then::Kept);
        let mut client = bench.gateway.client();
        client.ask(&request);
        assert_eq!(client.response().header("allow"), Some(allow), "{method} {path}");
    }
    // The answer to HEAD is a head.
    let mut client = bench.gateway.client();
    client.ask(&post(CHAT.path).method("HEAD"));
    let response = client.bodiless();
    assert_eq!((response.status, response.header("allow")), (405, Some(ASK)));
    assert!(response.header("content-length").is_some_and(|length| length != "0"));
    bench.serves(client);
    bench.finish();
}

#[test]
fn websocket_upgrades_are_refused() {
    let note = "this gateway does not speak WebSocket; send the same request as an HTTP POST";
    let upgrade = expected_error(note).status(426).code("websocket_not_supported");
    let mut bench = Bench::new();
    for (path, shape) in [
        ("/v1/responses", Shape::OpenAi),
        ("/v1/realtime?model=m-asked", Shape::OpenAi),
        ("/v1/messages", Shape::Messages),
        ("/anything", Shape::OpenAi),
    ] {
        let request = get(path)
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        bench.refused(path, &request.bytes(), shape, &upgrade, Then::Kept);
        let mut client = bench.gateway.client();
        client.ask(&request);
        let response = client.response();
        assert_eq!(response.header("upgrade"), Some("HTTP/1.1"));
        assert_eq!(response.header("connection"), Some("upgrade"));
    }
    bench.finish();
}
