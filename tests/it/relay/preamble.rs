//! Answers that begin with a byte-order mark or comments before their JSON.

use super::*;
use crate::support::sample::{CHAT, MESSAGES};

const PREAMBLES: [&str; 3] =
    ["\u{feff}", ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n", " // thinking\n\u{feff}\n"];

/// A body in chunks of `size` bytes; in two, its preamble and the rest, without one.
fn chunked(preamble: &str, body: &str, size: Option<usize>) -> Vec<u8> {
    let chunks: Vec<Vec<u8>> = match size {
        Some(size) => [preamble, body].concat().as_bytes().chunks(size).map(answer::chunk).collect(),
        None => [preamble, body].iter().map(|part| answer::chunk(part.as_bytes())).collect(),
    };
    [answer::JSON.as_bytes(), &chunks.concat(), answer::LAST_CHUNK.as_bytes()].concat()
}

/// In the client's own format the bytes pass, and the usage is read all the same.
#[test]
fn usage_behind_a_preamble_is_read() {
    for preamble in PREAMBLES {
        let body = format!("{preamble}{}", CHAT.answer);
        let rows =
            [answer::json(200, &body), chunked(preamble, CHAT.answer, Some(7)), chunked(preamble, CHAT.answer, None)];
        for bytes in rows {
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
        let whole = answer::json(200, format!("{preamble}{}", CHAT.answer));
        for bytes in [whole, chunked(preamble, CHAT.answer, Some(7)), chunked(preamble, CHAT.answer, None)] {
            let provider = Fake::answering(move |_| bytes.clone());
            let gateway = Setup::new().provider(chat(&provider)).start();
            let response = gateway.client().call(MESSAGES.path, MESSAGES.ask);
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.json()["type"], "message");
        }
    }
    // An error, too.
    let refusal =
        format!("{}{}", PREAMBLES[1], r#"{"error":{"message":"too long for us","type":"invalid_request_error"}}"#);
    let provider = Fake::answering(move |_| answer::json(400, &refusal));
    let gateway = Setup::new().provider(chat(&provider)).start();
    let response = gateway.client().call(MESSAGES.path, MESSAGES.ask);
    assert!(response.status == 400 && response.text().contains("too long for us"), "{}", response.text());
}
