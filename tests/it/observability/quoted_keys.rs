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
const WAYS: [&str; 3] = ["whole", "pieces", "stream"];

fn provider(sample: &'static Sample) -> Fake {
    Fake::answering(move |request| {
        let error = error(sample);
        if request.text().contains("whole") {
            return answer::json(400, error);
        }
        if request.text().contains("pieces") {
            let middle = error.find("upstream").unwrap();
            let head = answer::JSON.replace("200 OK", "400 Bad Request");
            let (first, rest) = error.split_at(middle);
            let body = [answer::chunk(first), answer::chunk(rest), answer::LAST_CHUNK.into()].concat();
            return [head.into_bytes(), body].concat();
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

#[test]
fn a_key_in_an_error_is_for_nobody() {
    for served in FORMATS {
        let upstream = provider(served);
        let gateway = Setup::new()
            .provider(served.provider("acme", &upstream))
            .env("ADMIN_KEY", ADMIN_KEY)
            .env("JSONL_LOG_ENABLED", "true")
            .env("REQUEST_LOG_BODY_ENABLED", "true")
            .start();
        for asking in FORMATS {
            for way in WAYS {
                let id = format!("{}{}-{way}", served.kind, asking.path.replace('/', "."));
                let body = if way == "stream" { asking.ask_stream } else { asking.ask };
                let mut client = gateway.client();
                client.ask(
                    &post(asking.path)
                        .header("x-request-id", &id)
                        .header("connection", "close")
                        .body(body.replace("\"hi\"", &format!("\"{way}\""))),
                );
                client.head();
                let (shown, _) = client.rest_text();
                let words = "said the host";
                assert!(shown.contains(words) && !shown.contains(PROVIDER_KEY), "{id}: {shown}");

                let lines = story(&log_of(&gateway), &id);
                let text = lines.iter().map(|line| line.is.to_string()).collect::<String>();
                assert!(text.contains(words) && !text.contains(PROVIDER_KEY), "{id}: {text}");
                let message = &lines.last().unwrap().is["error_msg"];
                assert!(message.as_str().is_some_and(|text| text.contains(words)), "{id}: {message}");

                let mut row = json!(null);
                eventually("the row is written", || {
                    let mut client = gateway.client();
                    client.ask(&get(&format!("/admin/v1/logs?request_id={id}")).key(ADMIN_KEY));
                    row = client.response().json()["items"][0].clone();
                    row.is_object()
                });
                let mut client = gateway.client();
                client.ask(&get(&format!("/admin/v1/logs/{}", row["id"])).key(ADMIN_KEY));
                let response = client.response();
                let detail = response.text();
                assert!(detail.contains(words) && !detail.contains(PROVIDER_KEY), "{id}: {detail}");
                let message = row["error_message"].as_str().unwrap_or_default();
                assert!(message.contains(words), "{id}: {row}");
            }
        }
    }
}
