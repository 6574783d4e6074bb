//! An answer that arrives as a whole goes a shorter way than one that comes in chunks. Clients and
//! metrics see no difference but the framing.

use super::*;
use crate::support::sample::{CHAT, MESSAGES, RESPONSES};

/// Counters of requests, which do not depend on time.
const COUNTED: [&str; 7] = [
    "llm_proxy_requests_total{",
    "llm_proxy_tokens_total{",
    "llm_proxy_token_details_total{",
    "llm_proxy_token_counts_total{",
    "llm_proxy_bypass_requests_total{",
    "llm_proxy_provider_attempts_total{",
    "llm_proxy_active_requests{",
];

/// Fields that differ from one response to the next, and those of the framing.
const OWN: [&str; 6] = ["date", "x-request-id", "request-id", "server-timing", "content-length", "transfer-encoding"];

/// What a client sees of two requests on one connection, to a provider that answers with `bytes`,
/// and what was counted of them.
fn seen(sample: &Sample, bytes: Vec<u8>, model: &str) -> (Vec<Response>, Vec<String>) {
    let provider = Fake::answering(move |_| bytes.clone());
    let row = sample.provider("p", &provider);
    let model_mapping = format!(r#"{{"m-asked":"{model}"}}"#);
    // A repeated request takes from a budget that grows with time.
    let setup = Setup::new().provider(ProviderRow { model_mapping, ..row }).env("RETRY_BUDGET_PERCENT", 0);
    let gateway = setup.start();
    let mut client = gateway.client();
    let mut responses: Vec<Response> = (0..2).map(|_| client.call(sample.path, sample.ask)).collect();
    for response in &mut responses {
        response.headers.0.retain(|(name, _)| !OWN.iter().any(|own| name.eq_ignore_ascii_case(own)));
    }
    // On the same connection, so both were counted.
    client.ask(&get("/metrics"));
    let text = client.response();
    let is_of_requests = |line: &&str| COUNTED.iter().any(|name| line.starts_with(name)) && !line.contains("/metrics");
    (responses, text.text().lines().filter(is_of_requests).map(str::to_owned).collect())
}

/// The body, without what is made anew for each response that the gateway writes.
fn shown(response: &Response) -> String {
    match serde_json::from_str::<serde_json::Value>(response.text()) {
        Ok(mut body) => {
            for own in ["id", "created", "request_id"] {
                if let Some(members) = body.as_object_mut() {
                    members.remove(own);
                }
            }
            body.to_string()
        }
        Err(_) => response.text().to_owned(),
    }
}

#[test]
fn whole_and_in_chunks_it_is_the_same() {
    const LIMITS: (&str, &str) = ("x-ratelimit-remaining-requests", "7");
    let json = ("content-type", "application/json");
    let events = CHAT.events().concat();
    let rows: [(&Sample, u16, &[(&str, &str)], &str); 10] = [
        (&CHAT, 200, &[json, LIMITS, ("x-request-id", "of-the-provider")], CHAT.answer),
        (&MESSAGES, 200, &[json, ("request-id", "of-the-provider"), ("anthropic-version", "1")], MESSAGES.answer),
        (&RESPONSES, 200, &[json], RESPONSES.answer),
        (&CHAT, 200, &[("content-type", "text/plain")], CHAT.answer),
        (&CHAT, 200, &[json], ": a comment\n\n{\"choices\":[],\"usage\":{\"prompt_tokens\":7}}"),
        (&CHAT, 200, &[("content-type", "text/event-stream")], &events),
        (&CHAT, 200, &[json], &events),
        (&CHAT, 200, &[("content-type", "text/html")], "<html>nobody is here</html>"),
        (&MESSAGES, 400, &[json], r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#),
        (&RESPONSES, 429, &[json, ("retry-after", "7")], r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#),
    ];
    for (sample, status, headers, body) in rows {
        for model in ["m-asked", "m-upstream"] {
            let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
            headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
            head += "transfer-encoding: chunked\r\n\r\n";
            let in_chunks = [head.as_bytes(), &answer::chunk(body), answer::LAST_CHUNK.as_bytes()].concat();
            let (whole, counted) = seen(sample, answer::with(status, headers, body), model);
            let (pieces, counted_of_pieces) = seen(sample, in_chunks, model);
            for (whole, pieces) in whole.iter().zip(&pieces) {
                assert_eq!(whole.status, pieces.status, "{body}");
                assert_eq!(whole.headers.0, pieces.headers.0, "{body}");
                assert_eq!(shown(whole), shown(pieces), "{body}");
            }
            assert_eq!(counted, counted_of_pieces, "{body}");
            assert!(!counted.is_empty());
        }
    }
}
