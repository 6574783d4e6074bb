//! An attempt that failed and that its provider reports usage of, as a response that says by its
//! status that it failed: the caller and the provider's budget pay for it.

use llm_proxy::config::rows::ProviderRow;
use serde_json::{Value, json};

use super::budgets::{ADMIN, spent, tokens};
use super::*;

const ENOUGH: i64 = 1_000_000;
/// What the failed response has used.
const FAILED_TOKENS: f64 = 110.0;
/// What the answer of the other provider has.
const ANSWER_TOKENS: f64 = 5.0;

/// A response of the provider's model, by its status and its error.
fn failed(error: &Value) -> Value {
    json!({ "id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "model": "theirs", "output": [],
        "error": error, "usage": { "input_tokens": 100, "output_tokens": 10, "total_tokens": 110 } })
}

/// The same under its status of success, whole or as the only event of a stream.
fn sent(response: &Value, stream: bool) -> Vec<u8> {
    match stream {
        false => answer::json(200, response.to_string()),
        true => {
            let event = json!({ "type": "response.failed", "sequence_number": 1, "response": response });
            answer::sse(&[format!("event: response.failed\ndata: {event}\n\n")])
        }
    }
}

fn row(name: &str, fake: &Fake, tier: usize) -> ProviderRow {
    ProviderRow {
        model_mapping: json!({ sample::MODEL: "theirs" }).to_string(),
        provider_params: json!({ "priority": tier }).to_string(),
        ..sample::RESPONSES.provider(name, fake)
    }
}

fn gateway(providers: &[(&str, &Fake)]) -> Gateway {
    let setup = Setup::new().env("ADMIN_KEY", ADMIN);
    let setup = setup.budget(tokens("own", "credential", KEY, ENOUGH));
    let setup = setup.budget(tokens("of-first", "provider", "first", ENOUGH));
    let rows = providers.iter().enumerate().map(|(tier, (name, fake))| row(name, fake, tier));
    rows.fold(setup, Setup::provider).start()
}

fn ask(gateway: &Gateway, client: &sample::Sample, stream: bool) -> Client {
    let mut asking = gateway.client();
    asking.ask(&post(client.path).key(KEY).body(if stream { client.ask_stream } else { client.ask }));
    asking
}

fn answers(provider: &Fake, bytes: &[u8]) {
    let mut conn = provider.accept();
    conn.request();
    conn.send(bytes);
    conn.close();
}

#[test]
fn another_provider_answers_and_both_are_paid_for() {
    let error = json!({ "code": "server_error", "message": "no luck" });
    for client in [&sample::RESPONSES, &sample::CHAT] {
        for stream in [false, true] {
            let (first, second) = (Fake::start(), Fake::start());
            let gateway = gateway(&[("first", &first), ("second", &second)]);
            let mut asking = ask(&gateway, client, stream);
            answers(&first, &sent(&failed(&error), stream));
            let good = match stream {
                true => answer::sse(&sample::RESPONSES.events()),
                false => answer::json(200, sample::RESPONSES.answer),
            };
            answers(&second, &good);
            let response = asking.response();
            let of = format!("{}, stream {stream}: {}", client.path, response.text());
            assert_eq!(response.status, 200, "{of}");
            assert!(!response.text().contains("no luck"), "{of}");
            spent(&gateway, "own", FAILED_TOKENS + ANSWER_TOKENS);
            spent(&gateway, "of-first", FAILED_TOKENS);
        }
    }
}

#[test]
fn without_another_provider_a_client_of_the_format_gets_the_response() {
    let broken = json!({ "code": "server_error", "message": "no luck" });
    let refused = json!({ "code": "invalid_image_url", "message": "no such image" });
    // Of an error of the client's no other provider is tried.
    let rows = [(&broken, true), (&refused, false), (&Value::Null, true)];
    for ((error, is_alone), has_output) in rows.into_iter().flat_map(|row| [(row, true), (row, false)]) {
        for whole in [true, false] {
            let (first, second) = (Fake::start(), Fake::start());
            let list = [("first", &first), ("second", &second)];
            let gateway = gateway(if is_alone { &list[..1] } else { &list });
            let mut asking = ask(&gateway, &sample::RESPONSES, false);
            let mut object = failed(error);
            if !has_output {
                object.as_object_mut().unwrap().remove("output");
            }
            let bytes = sent(&object, false);
            let mut conn = first.accept();
            conn.request();
            // At once, or the body behind its head.
            let at = if whole { bytes.len() } else { bytes.len() - 20 };
            conn.send(&bytes[..at]);
            conn.send(&bytes[at..]);
            let response = asking.response();
            object["model"] = json!(sample::MODEL);
            assert_eq!((response.status, response.json()), (200, object), "{error}");
            assert_eq!(response.header("x-llm-proxy-provider"), Some("first"));
            assert!(second.try_accept().is_none());
            spent(&gateway, "own", FAILED_TOKENS);
            spent(&gateway, "of-first", FAILED_TOKENS);
            gateway.expect_log(&["\"status\":200", "\"input_tokens\":100", "\"output_tokens\":10"]);
        }
    }
}

/// A client of another format gets an error of its own.
#[test]
fn a_client_of_another_format_gets_an_error() {
    let rows = [("server_error", 502), ("rate_limit_exceeded", 429), ("invalid_image_url", 400)];
    for (code, status) in rows {
        let first = Fake::start();
        let gateway = gateway(&[("first", &first)]);
        let mut asking = ask(&gateway, &sample::CHAT, false);
        answers(&first, &sent(&failed(&json!({ "code": code, "message": "no luck" })), false));
        let response = asking.response();
        assert_eq!(response.status, status, "{code}: {}", response.text());
        assert!(response.text().contains("no luck"), "{}", response.text());
        spent(&gateway, "own", FAILED_TOKENS);
    }
}
