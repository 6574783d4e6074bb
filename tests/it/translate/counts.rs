//! Counts of tokens on every model: by the provider's own counter, or by an estimate.

use super::*;

const MESSAGES_COUNT: &str = "/v1/messages/count_tokens";
const RESPONSES_COUNT: &str = "/v1/responses/input_tokens";

#[test]
fn a_provider_of_the_other_format_counts() {
    let rows = [
        (
            MESSAGES_COUNT,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            &RESPONSES,
            RESPONSES_COUNT,
            r#"{"input_tokens":7}"#,
        ),
        (
            RESPONSES_COUNT,
            r#"{"model":"m","input":"hi"}"#,
            &MESSAGES,
            MESSAGES_COUNT,
            r#"{"object":"response.input_tokens","input_tokens":7}"#,
        ),
    ];
    for (path, body, provider, target, displayed) in rows {
        let (fake, gateway) = start(provider);
        let mut asking = gateway.client();
        asking.ask(&post(path).body(body));
        let mut conn = fake.accept();
        let request = conn.request();
        assert_eq!(request.target, target);
        for field in ["max_tokens", "stream", "store"] {
            assert_eq!(request.json().get(field), None, "a counter refuses {field}");
        }
        conn.send(answer::json(200, r#"{"object":"response.input_tokens","input_tokens":7}"#));
        assert_eq!(asking.response().text(), displayed);
    }
}

#[test]
fn count_is_estimated_without_a_counter() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello, how are you today?"}]}"#;
    let count = |gateway: &Gateway| {
        let response = gateway.client().call(MESSAGES_COUNT, body);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["input_tokens"].as_u64().unwrap()
    };
    let (fake, gateway) = start(&CHAT);
    assert!((5..50).contains(&count(&gateway)));
    assert!(fake.try_accept().is_none(), "a Chat provider has no counter");

    let without = Fake::answering(|_| answer::json(404, r#"{"detail":"Not Found"}"#));
    for row in [anthropic(&without), native(&RESPONSES, "r", &without)] {
        assert!((5..50).contains(&count(&Setup::new().provider(row).start())));
    }
    assert_eq!(without.requests().len(), 2);
}
