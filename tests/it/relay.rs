//! What goes through, goes through unchanged; what is ours to change, is right.

use super::support::*;

#[test]
fn an_answer_passes() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).start();
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
    let mut conn = provider.accept();
    let request = conn.request();
    assert_eq!(request.target, "/v1/chat/completions");
    assert_eq!(request.text(), sample::CHAT.ask);
    conn.send(answer::json(200, sample::CHAT.answer));
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, sample::CHAT.answer));
}
