//! Providers that quote their key in an error: nobody gets it, and everybody gets the rest.

use serde_json::json;

use crate::sinks::{FORMATS, log_of, story};
use crate::support::gateway::PROVIDER_KEY;
use crate::support::sample::Sample;
use crate::support::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// The data of an error that quotes the key.
fn error(sample: &Sample) -> String {
    let words = format!("it broke for {PROVIDER_KEY}, said the host");
    match sample.kind {
        "openai" => json!({"error": {"message": words, "type": "server_error", "code": null}}),
        "anthropic" => json!({"type": "error", "error": {"type": "api_error", "message": words}}),
        _ => json!({"type": "error", "sequence_number": 9, "code": "server_error", "message": words, "param": null}),
    }
    .to_string()
}

/// How the error comes, as the user's message says.
const WAYS: [&str; 6] = ["whole", "pieces", "large", "success", "escaped", "stream"];

/// Bytes before the key in a large error: the gateway reads more of it than it holds.
const LARGE: usize = (64 << 10) + 1;

/// A response in two chunks, cut within the key.
fn in_pieces(status: &str, body: &str) -> Vec<u8> {
    let head = answer::JSON.replace("200 OK", status);
    let (first, rest) = body.split_at(body.find("upstream").unwrap());
    [head.as_bytes(), &answer::chunk(first), &answer::chunk(rest), answer::LAST_CHUNK.as_bytes()].concat()
}

fn provider(sample: &'static Sample) -> Fake {
    Fake::answering(move |request| {
        let error = error(sample);
        let text = request.text();
        let is = |way: &str| text.contains(&format!("\"{way}\""));
        if is("whole") {
            return answer::json(400, error);
        }
        if is("pieces") {
            return in_pieces("400 Bad Request", &error);
        }
        if is("large") {
            return in_pieces("400 Bad Request", &(" ".repeat(LARGE) + &error));
        }
        if is("success") {
            let failed = json!({"object": "response", "id": "r", "status": "failed", "output": [], "error": {
                "code": "server_error", "message": format!("it broke for {PROVIDER_KEY}, said the host"),
            }});
            return answer::json(200, if sample.kind == "responses" { failed.to_string() } else { error });
        }
        if is("escaped") {
            return answer::json(400, error.replace(PROVIDER_KEY, &PROVIDER_KEY.replace('-', "\\u002D")));
        }
        let event = match sample.kind {
            "openai" => format!("data: {error}\n\n"),
            _ => format!("event: error\ndata: {error}\n\n"),
        };
        let events = sample.events();
        let begun = &events[..=sample.opening.len()];
        answer::sse(&[begun, &[event.as_str()]].concat())
    })
}

/// Returns whether a text shows the key, in any spelling.
fn shows_key(text: &str) -> bool {
    text.replace("\\u002D", "-").contains(PROVIDER_KEY)
}

#[test]
fn a_key_in_an_error_is_for_nobody() {
    std::thread::scope(|scope| {
        for served in FORMATS {
            scope.spawn(|| key_is_hidden(served));
        }
    });
}

/// Asks in every format for errors in every way, and looks at all that came of it.
fn key_is_hidden(served: &'static Sample) {
    let upstream = provider(served);
    let gateway = Setup::new()
        .provider(served.provider("acme", &upstream))
        .env("ADMIN_KEY", ADMIN_KEY)
        .env("RETRY_BUDGET_PERCENT", 0)
        .env("JSONL_LOG_ENABLED", "true")
        .env("REQUEST_LOG_BODY_ENABLED", "true")
        .start();
    let words = "said the host";
    let mut ids = Vec::new();
    for asking in FORMATS {
        for way in WAYS {
            let id = format!("{}{}-{way}", served.kind, asking.path.replace('/', "."));
            let body = if way == "stream" { asking.ask_stream } else { asking.ask };
            let request = post(asking.path).header("x-request-id", &id).header("connection", "close");
            let mut client = gateway.client();
            client.ask(&request.body(body.replace("\"hi\"", &format!("\"{way}\""))));
            client.head();
            let (shown, _) = client.rest_text();
            assert!(!shows_key(&shown), "{id}: {shown}");
            // What is too large to be read may not be shown where it would have to be translated.
            let is_unread = way == "large" && asking.kind != served.kind;
            assert!(is_unread || shown.contains(words), "{id}: {shown}");
            ids.push((id, way, is_unread));
        }
    }
    let mut client = gateway.client();
    for (id, way, is_unread) in ids {
        let lines = story(&log_of(&gateway), &id);
        let text = lines.iter().map(|line| line.is.to_string()).collect::<String>();
        assert!(!shows_key(&text), "{id}: {text}");
        assert!(is_unread || text.contains(words), "{id}: {text}");
        // It is the error of the record, in the provider's words.
        let is_named = ["whole", "pieces", "stream"].contains(&way);
        let message = &lines.last().unwrap().is["error_msg"];
        assert!(!is_named || message.as_str().is_some_and(|text| text.contains(words)), "{id}: {message}");

        let mut row = json!(null);
        eventually("the row is written", || {
            client.ask(&get(&format!("/admin/v1/logs?request_id={id}")).key(ADMIN_KEY));
            row = client.response().json()["items"][0].clone();
            row.is_object()
        });
        let message = row["error_message"].as_str().unwrap_or_default();
        assert!(!is_named || message.contains(words), "{id}: {row}");
        client.ask(&get(&format!("/admin/v1/logs/{}", row["id"])).key(ADMIN_KEY));
        let response = client.response();
        assert!(!shows_key(response.text()), "{id}: {}", response.text());
    }
    let log = gateway.log().join("\n");
    assert!(!shows_key(&log), "{log}");
}

/// A capture that ends within the key has nothing of it, and one that ends before it has its text.
#[test]
fn the_beginning_of_a_key_is_not_captured() {
    let upstream = Fake::answering(|_| answer::json(400, error(&sample::CHAT)));
    let at = error(&sample::CHAT).find(PROVIDER_KEY).unwrap();
    let gateway = Setup::new()
        .provider(chat(&upstream))
        .env("JSONL_LOG_ENABLED", "true")
        .env("JSONL_LOG_BODY_MAX_BYTES", at + PROVIDER_KEY.len() - 1)
        .start();
    let id = "cut-within-the-key";
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).header("x-request-id", id).body(sample::CHAT.ask));
    assert_eq!(client.response().status, 400);
    let text = story(&log_of(&gateway), id).iter().map(|line| line.is.to_string()).collect::<String>();
    assert!(text.contains("it broke for **********") && !text.contains("pk-"), "{text}");
}
