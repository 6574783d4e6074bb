//! Requests at once: a place is free again however its request ends, and a reload takes none away.

use llm_proxy::config::rows::ProviderRow;

use super::*;

fn start(provider: &Fake) -> Gateway {
    let only = ProviderRow { model_mapping: r#"{"m-asked":"m-asked"}"#.into(), ..chat(provider) };
    Setup::new().provider(only).credential(limited(|row| row.max_concurrency = Some(1))).start()
}

/// A request that runs.
fn running(gateway: &Gateway, provider: &Fake, body: &str) -> (Client, Conn) {
    let mut client = gateway.client();
    client.ask(&post(PATH).body(body));
    let mut conn = provider.accept();
    conn.request();
    (client, conn)
}

fn is_full(gateway: &Gateway) {
    let response = gateway.client().call(PATH, sample::CHAT.ask);
    assert_eq!((response.status, response.header("retry-after")), (429, Some("1")), "{}", response.text());
    assert!(response.text().contains("1 requests in progress"), "{}", response.text());
}

/// A request for a model that nobody serves is refused for that, when no limit refuses it first.
fn is_free(gateway: &Gateway) {
    let ask = r#"{"model":"other","messages":[]}"#;
    eventually("the place is free", || gateway.client().call(PATH, ask).status == 404);
}

#[test]
fn a_place_is_free_again_however_its_request_ends() {
    let provider = Fake::start();
    let gateway = start(&provider);
    for ending in 0..6 {
        let body = if ending % 2 == 0 { sample::CHAT.ask } else { sample::CHAT.ask_stream };
        let (mut client, mut conn) = running(&gateway, &provider, body);
        is_full(&gateway);
        match ending {
            0 => conn.send(answer::with(200, &[("connection", "close")], sample::CHAT.answer)),
            1 => {
                conn.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n");
                conn.send(sample::CHAT.events().concat());
                conn.close();
            }
            // The client leaves before an answer, and in the middle of one.
            2 => {
                drop(client);
                conn.expect_closed();
                is_free(&gateway);
                continue;
            }
            3 => {
                conn.send(answer::SSE);
                conn.send(answer::chunk(sample::CHAT.content[0]));
                client.head();
                drop(client);
                conn.expect_closed();
                is_free(&gateway);
                continue;
            }
            // The provider leaves before an answer, and in the middle of one.
            4 => conn.reset(),
            _ => {
                conn.send(answer::SSE);
                conn.send(answer::chunk(sample::CHAT.content[0]));
                conn.reset();
            }
        }
        client.head();
        client.rest();
        is_free(&gateway);
    }
}

#[test]
fn a_reload_keeps_the_count() {
    let provider = Fake::start();
    let gateway = start(&provider);
    let (mut client, mut conn) = running(&gateway, &provider, sample::CHAT.ask);
    let generation = gateway.metric("llm_proxy_snapshot_generation").unwrap();
    assert!(gateway.cli(&["key", "create", "--name", "other"]).status.success());
    eventually("it is in force", || gateway.metric("llm_proxy_snapshot_generation") > Some(generation));
    is_full(&gateway);
    conn.send(answer::json(200, sample::CHAT.answer));
    assert_eq!(client.response().status, 200);
    client.ask(&post(PATH).body(sample::CHAT.ask));
    conn.request();
    conn.send(answer::json(200, sample::CHAT.answer));
    assert_eq!(client.response().status, 200);
}
