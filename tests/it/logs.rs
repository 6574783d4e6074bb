//! The log holds nothing of a conversation and no header's value, at any level but `trace`, and no
//! secret at any level.

use llm_proxy::config::rows::CredentialRow;

use super::support::gateway::PROVIDER_KEY;
use super::support::*;

/// A word that stands nowhere else.
const CONVERSATION: &str = "canary-of-the-conversation";
const HEADER: &str = "canary-of-a-header";
const CLIENT_KEY: &str = "sk-canary-of-the-client";
const ADMIN_KEY: &str = "canary-of-the-admin-key";
const WRONG_KEY: &str = "sk-canary-of-a-stranger";
const SECRETS: [&str; 4] = [CLIENT_KEY, PROVIDER_KEY, ADMIN_KEY, WRONG_KEY];

/// Responses and errors that repeat the conversation.
fn echo(request: &fake::Request) -> Vec<u8> {
    let body = String::from_utf8_lossy(&request.body);
    let error =
        format!(r#"{{"error":{{"message":"no: {CONVERSATION} {PROVIDER_KEY}","type":"server_error","code":null}}}}"#);
    for status in [400, 401, 429, 500] {
        if body.contains(&format!("fails-{status}")) {
            return answer::with(status, &[("content-type", "application/json"), ("x-request-id", HEADER)], &error);
        }
    }
    match body.contains("\"stream\":true") {
        _ if body.contains("says-nonsense") => {
            answer::typed(200, "text/event-stream", format!("data: {{\"{CONVERSATION}\n\n"))
        }
        _ if body.contains("breaks") => answer::sse(&[format!("data: {error}\n\n")]),
        true => answer::sse(&sample::CHAT.events()),
        false => answer::json(200, sample::CHAT.answer.replace("Hello", CONVERSATION)),
    }
}

/// Every way through the gateway that has something to tell; its log.
fn all_that_is_logged(filter: (&str, &str)) -> Vec<String> {
    let provider = Fake::answering(echo);
    let gateway = Setup::new()
        .provider(chat(&provider))
        .credential(CredentialRow { name: "team".into(), ..credential(CLIENT_KEY) })
        .env("ADMIN_KEY", ADMIN_KEY)
        .env("JSONL_LOG_ENABLED", "true")
        // The list of models is asked for with the provider's key, by another client than the
        // workers'.
        .env("MODEL_LIST_SECS", "600")
        .env(filter.0, filter.1)
        .start();
    let models = ["plain", "fails-400", "fails-401", "fails-429", "fails-500", "says-nonsense", "breaks", "x\\u0000y"];
    let mut requests = 0;
    for model in models {
        for stream in [true, false] {
            for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
                let messages = format!(r#"[{{"role":"user","content":"{CONVERSATION}"}}]"#);
                let body = format!(
                    r#"{{"model":"{model}","stream":{stream},"max_tokens":9,"messages":{messages},"input":{messages}}}"#
                );
                ask(&gateway, post(path).key(CLIENT_KEY).body(body));
                requests += 1;
            }
        }
    }
    let path = "/v1/chat/completions";
    for body in [
        format!(r#"{{"model":"m","messages":"{CONVERSATION}"}}"#),
        format!(r#"{{"model":"m","messages":[{{"role":"{CONVERSATION}","content":"x"}}]}}"#),
        format!(r#"{{"model":"m","messages":[{CONVERSATION}]}}"#),
        format!(r#"{{"messages":"{CONVERSATION}"}}"#),
        CONVERSATION.to_owned(),
    ] {
        for path in [path, "/v1/messages", "/v1/responses"] {
            ask(&gateway, post(path).key(CLIENT_KEY).body(&body));
        }
    }
    ask(&gateway, post(path).key(WRONG_KEY).body("{}"));
    ask(&gateway, get("/admin/v1/providers").key(ADMIN_KEY));
    ask(&gateway, get("/admin/v1/providers").key(WRONG_KEY));
    let created = format!(
        r#"{{"provider_key":"p","api_base":"http://127.0.0.1:9","api_key":"{PROVIDER_KEY}","model_mapping":{{"x":"y"}}}}"#
    );
    ask(&gateway, post("/admin/v1/providers").key(ADMIN_KEY).body(created));
    let is_line = |line: &&String| line.contains("\"status\":") && line.contains("duration_ms");
    eventually("each request has its line", || gateway.log().iter().filter(is_line).count() >= requests);
    gateway.log()
}

fn ask(gateway: &Gateway, request: Outgoing) {
    let mut client = gateway.client();
    client.ask(&request.header("x-session-id", HEADER).header("cookie", HEADER).header("traceparent", HEADER));
    client.head();
    client.rest();
}

fn assert_silent(log: &[String], words: &[&str]) {
    for word in words {
        let lines: Vec<&String> = log.iter().filter(|line| line.contains(word)).collect();
        assert!(lines.is_empty(), "`{word}` is in {} lines, such as {}", lines.len(), lines[0]);
    }
}

#[test]
fn debug_logs_contain_no_conversation() {
    for filter in [("LOG_LEVEL", "debug"), ("RUST_LOG", "debug")] {
        let log = all_that_is_logged(filter);
        assert!(log.iter().any(|line| line.contains("\"level\":\"DEBUG\"")));
        assert_silent(&log, &[&SECRETS[..], &[CONVERSATION, HEADER]].concat());
    }
}

#[test]
fn trace_logs_contain_no_secret() {
    let log = all_that_is_logged(("RUST_LOG", "trace"));
    assert!(log.iter().any(|line| line.contains("\"level\":\"TRACE\"")));
    assert_silent(&log, &SECRETS);
}

/// What no endpoint takes is logged with its path all the same, and by no other words than the
/// gateway's own.
#[test]
fn refused_methods_are_logged_with_their_paths() {
    let gateway = Setup::new().start();
    for (request, line) in [
        (get("/v1/chat/completions"), "\"message\":\"GET /v1/chat/completions\",\"status\":405"),
        (get("/v1/embeddings"), "\"message\":\"GET /v1/embeddings\",\"status\":405"),
        (get("/v1/elsewhere").header("upgrade", "websocket"), "\"message\":\"GET unknown\",\"status\":4"),
    ] {
        ask(&gateway, request);
        eventually(line, || gateway.log().iter().any(|logged| logged.contains(line)));
    }
}
