//! Answers that begin with a byte-order mark or comments before their JSON.

use super::*;
use crate::support::sample::{CHAT, MESSAGES};

const PREAMBLES: [&str; 3] =
    ["\u{feff}", ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n", " // thinking\n\u{feff}\n"];

/// In the client's own format the bytes pass, and the usage is read all the same.
#[test]
fn usage_behind_a_preamble_is_read() {
    for preamble in PREAMBLES {
        // Comments alone are those of a stream, until the document begins.
        for chunked in [false, preamble.starts_with('\u{feff}')] {
            let body = format!("{preamble}{}", CHAT.answer);
            let bytes = match chunked {
                false => answer::json(200, &body),
                true => {
                    let chunks: Vec<_> = body.as_bytes().chunks(7).map(answer::chunk).collect();
                    [answer::JSON.as_bytes(), &chunks.concat(), answer::LAST_CHUNK.as_bytes()].concat()
                }
            };
            let provider = Fake::answering(move |_| bytes.clone());
            let gateway = Setup::new().provider(chat(&provider)).start();
            assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).text(), body);
            let counted = r#"llm_proxy_token_counts_total{provider="chat",source="provider"}"#;
            eventually("the provider's count is taken", || gateway.metric(counted) >= Some(1.0));
        }
    }
}

#[test]
fn an_answer_behind_a_preamble_is_translated() {
    for preamble in PREAMBLES {
        let bytes = answer::json(200, format!("{preamble}{}", CHAT.answer));
        let provider = Fake::answering(move |_| bytes.clone());
        let gateway = Setup::new().provider(chat(&provider)).start();
        let response = gateway.client().call(MESSAGES.path, MESSAGES.ask);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["type"], "message");
    }
    // An error, too.
    let refusal =
        format!("{}{}", PREAMBLES[1], r#"{"error":{"message":"too long for us","type":"invalid_request_error"}}"#);
    let provider = Fake::answering(move |_| answer::json(400, &refusal));
    let gateway = Setup::new().provider(chat(&provider)).start();
    let response = gateway.client().call(MESSAGES.path, MESSAGES.ask);
    assert!(response.status == 400 && response.text().contains("too long for us"), "{}", response.text());
}
