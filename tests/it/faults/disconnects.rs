//! A client that leaves closes its upstream at once, whatever the request was at.

use super::*;

/// Gives the client back if it keeps its end of the connection.
type Leave = fn(Client) -> Option<Client>;

/// All ways to disconnect. A half close is one of them, since the client may not read after it.
fn leavings() -> [(&'static str, Leave); 3] {
    [
        ("close", |_| None),
        ("reset", |client| {
            client.reset();
            None
        }),
        ("half close", |mut client| {
            client.link.finish_writing();
            Some(client)
        }),
    ]
}

/// Leaves after `advance`, in each way, and expects the provider's connection to close.
fn check(sample: &Sample, ask: &str, advance: impl Fn(&mut Client, &mut Conn)) {
    let (provider, setup) = alone(sample);
    let gateway = setup.env("HOLD_ANSWER_BYTES", 0).start();
    for (n, (how, leave)) in leavings().into_iter().enumerate() {
        let mut client = gateway.client();
        client.ask(&post(sample.path).body(ask));
        let mut conn = provider.accept();
        conn.request();
        advance(&mut client, &mut conn);
        let kept = leave(client);
        conn.expect_closed();
        let gone = (n + 1) as f64;
        eventually(how, || gateway.metric("llm_proxy_clients_gone_total") == Some(gone));
        drop(kept);
    }
    assert!(gateway.log().iter().all(|line| !line.contains("panic")));
}

#[test]
fn client_leaves_before_the_response_head() {
    for sample in FORMATS {
        check(sample, sample.ask, |_, _| {});
        check(sample, sample.ask_stream, |_, _| {});
        check(sample, sample.ask_stream, |_, conn| conn.send("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn client_leaves_before_the_first_content() {
    for sample in FORMATS {
        check(sample, sample.ask_stream, |_, conn| {
            conn.send(answer::SSE);
            sample.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
        });
    }
}

#[test]
fn client_leaves_inside_a_stream() {
    for sample in FORMATS {
        check(sample, sample.ask_stream, |client, conn| {
            conn.send(answer::SSE);
            conn.send(answer::chunk(sample.content[0]));
            client.head();
            assert_eq!(client.event(), sample.content[0]);
        });
    }
}

#[test]
fn client_leaves_inside_a_whole_response() {
    check(&sample::CHAT, sample::CHAT.ask, |client, conn| {
        conn.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":");
        client.head();
        client.read_until("{\"id\":");
    });
}

#[test]
fn client_leaves_while_an_error_response_is_buffered() {
    let (first, _second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
    let mut conn = first.accept();
    conn.request();
    conn.send("HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\n\r\n{");
    drop(client);
    conn.expect_closed();
}

#[test]
fn client_leaves_with_full_buffers() {
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    for (_, leave) in leavings().into_iter().take(2) {
        let mut client = gateway.client();
        client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"x","voice":"v"}"#));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::JSON);
        client.head();
        // The gateway can't write any more when it does not read any more.
        conn.link.socket().set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let piece = answer::chunk(vec![b'x'; 64 << 10]);
        while conn.link.try_send(&piece).is_ok() {}
        leave(client);
        conn.expect_closed();
    }
}

#[test]
fn client_leaves_with_half_a_request_sent() {
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let request = post(sample::CHAT.path).body(sample::CHAT.ask).bytes();
    let mut gone = 0.0;
    for sent in [1, 30, request.len() - 1] {
        for (how, leave) in leavings() {
            let mut client = gateway.client();
            client.send(&request[..sent]);
            let kept = leave(client);
            gone += f64::from(u8::from(sent == request.len() - 1));
            eventually(how, || gateway.metric("llm_proxy_clients_gone_total") == Some(gone));
            drop(kept);
        }
    }
    assert!(provider.try_accept().is_none());
}

#[test]
fn disconnected_clients_leave_no_resources() {
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let before = gateway.descriptors();
    let mut conns = Vec::new();
    for _ in 0..50 {
        let mut client = ask_stream(&gateway, &sample::CHAT);
        let mut conn = opened(&provider, &sample::CHAT);
        conn.send(answer::chunk(sample::CHAT.content[0]));
        client.head();
        conns.push(conn);
    }
    conns.iter_mut().for_each(Conn::expect_closed);
    // The start may still have opened a file or two.
    eventually("all descriptors are closed", || gateway.descriptors() < before + 5);
}
