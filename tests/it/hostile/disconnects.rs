//! What a client has sent ahead does not hide that it has left.

use super::*;

#[test]
fn pipelined_bytes_do_not_hide_a_client_that_left() {
    for ahead in [1, 3 << 10, 100 << 10, 2 << 20] {
        let provider = Fake::start();
        let gateway = Setup::new().provider(chat(&provider)).start();
        for reset in [false, true] {
            let mut client = gateway.client();
            client.ask(&post(CHAT.path).body(CHAT.ask_stream));
            let mut conn = provider.accept();
            conn.request();
            client.send(vec![b'G'; ahead]);
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            conn.expect_closed();
        }
        eventually("both have left", || gateway.metric("llm_proxy_clients_gone_total") == Some(2.0));
    }
}

/// A client that stays gets its answer. What it sent ahead is served if there is room for it.
#[test]
fn pipelined_requests_are_served_up_to_a_bound() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).start();
    for (count, served) in [(100, true), (100_000, false)] {
        let mut client = gateway.client();
        client.ask(&post(CHAT.path).body(CHAT.ask));
        let mut conn = provider.accept();
        conn.request();
        client.send(get("/health").bytes().repeat(count));
        conn.send(answer::json(200, CHAT.answer));
        assert_eq!(client.response().text(), CHAT.answer);
        match served {
            true => (0..count).for_each(|_| assert_eq!(client.response().status, 200)),
            false => client.expect_closed(),
        }
    }
}
