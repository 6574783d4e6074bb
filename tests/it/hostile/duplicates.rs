//! Fields that stand twice: what the gateway judges and what a provider obeys could differ.

use super::*;

#[test]
fn fields_that_limits_and_permissions_read_stand_once() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(every_format(&provider)).start();
    let rows = [
        ("stream", r#""stream":false,"stream":true"#),
        ("max_tokens", r#""max_tokens":1,"max_tokens":50000"#),
        ("max_tokens", r#""max_tokens":1,"Max_Tokens":50000"#),
        ("max_completion_tokens", r#""max_completion_tokens":1,"x":2,"max_completion_tokens":50000"#),
        ("max_output_tokens", r#""max_output_tokens":1,"max_output_tokens":1"#),
        ("n", r#""n":1,"\u006e":100"#),
        ("best_of", r#""best_of":1,"best_of":100"#),
        ("prompt", r#""prompt":"a","prompt":["a","b"]"#),
        ("input", r#""input":"a","input":"b""#),
        ("messages", r#""messages":[],"messages":[{"role":"user","content":"hi"}]"#),
        ("reasoning_effort", r#""reasoning_effort":"low","reasoning_effort":"high""#),
        ("models", r#""models":["a"],"models":["b"]"#),
        ("model", r#""model":"m""#),
    ];
    let mut client = gateway.client();
    for (field, text) in rows {
        for sample in FORMATS {
            let response = client.call(sample.path, format!(r#"{{"model":"m",{text}}}"#));
            assert_eq!(response.status, 400, "{text}");
            assert!(response.text().contains(&format!("`{field}`")), "{text}: {}", response.text());
        }
    }
    assert_eq!(provider.requests().len(), 0);
    // What only the provider reads is the provider's matter.
    let body = r#"{"model":"m","user":"a","user":"b","metadata":{"n":"1","n":"2"}}"#;
    assert_eq!(client.call(CHAT.path, body).status, 200);
    assert_eq!(provider.requests()[0].text(), body);
}
