//! Connections that are kept: never one that is out of step, and no failure because one had gone
//! stale.

use super::*;

const PATH: &str = sample::CHAT.path;

/// One request has been served on the connection that comes back.
fn warmed(provider: &Fake, client: &mut Client) -> Conn {
    client.ask(&post(PATH).body(sample::CHAT.ask));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200);
    conn
}

/// The provider has read the request, and may have worked on it: nothing is sent a second time
/// without being counted.
#[test]
fn a_request_that_the_provider_has_seen_is_an_attempt() {
    let large = format!(r#"{{"model":"m","pad":"{}"}}"#, "x".repeat(100_000));
    // A small request that is reset at once may not have been acknowledged yet.
    let leavings: [(&str, &[fn(Conn)]); 2] = [
        (sample::CHAT.ask, &[Conn::close, |mut conn| conn.send("H")]),
        (&large, &[Conn::close, Conn::reset, |mut conn| conn.send("H")]),
    ];
    for (body, leavings) in leavings {
        for leave in leavings {
            let (provider, setup) = alone(&sample::CHAT);
            let gateway = setup.env("MAX_ATTEMPTS", 1).start();
            let mut client = gateway.client();
            let mut stale = warmed(&provider, &mut client);
            client.ask(&post(PATH).body(body));
            assert_eq!(stale.request().text(), body);
            leave(stale);
            assert_eq!(client.response().status, 502);
            assert!(provider.try_accept().is_none());
            assert_eq!(gateway.metric("llm_proxy_upstream_stale_retries_total"), Some(0.0));
            gateway.expect_metric("llm_proxy_attempts_total", 2.0);
        }
    }
}

#[test]
fn a_connection_that_closed_while_idle_is_not_used() {
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let mut client = gateway.client();
    for close in [Conn::close as fn(Conn), Conn::reset] {
        close(warmed(&provider, &mut client));
    }
    warmed(&provider, &mut client);
    assert_eq!(gateway.metric("llm_proxy_upstream_stale_retries_total"), Some(0.0));
}

/// Another client's answer, as a confused provider might send it unasked.
const FOREIGN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"secret\":\"foreign\"}";

#[test]
fn bytes_behind_a_response_end_the_connection() {
    let chunked = [answer::JSON.as_bytes(), &answer::chunk("{}"), b"0\r\n\r\n"].concat();
    let rows = [
        ("length", answer::json(200, "{}"), 200),
        ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), 502),
        ("a body where none may be", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n{}".to_vec(), 502),
        ("chunked", chunked, 200),
        ("stream", answer::sse(&sample::CHAT.events()), 200),
        ("error", answer::json(500, "{}"), 500),
    ];
    for (what, bytes, status) in rows {
        // (what follows in the same segment, and what follows when the answer has arrived)
        let (half, rest) = FOREIGN.split_at(30);
        for (with_it, after_it) in [(FOREIGN, ""), ("", FOREIGN), (half, ""), (half, rest), ("\r\n", "")] {
            let (provider, setup) = alone(&sample::CHAT);
            let gateway = setup.start();
            let mut client = gateway.client();
            client.ask(&post(PATH).body(sample::CHAT.ask));
            let mut conn = provider.accept();
            conn.request();
            conn.send([&bytes[..], with_it.as_bytes()].concat());
            assert_eq!(client.response().status, status, "{what}");
            let _ = conn.link.try_send(after_it.as_bytes());

            client.ask(&post(PATH).body(sample::CHAT.ask));
            let mut fresh = provider.accept();
            fresh.request();
            fresh.send(answer::json(200, r#"{"own":1}"#));
            assert_eq!(client.response().text(), r#"{"own":1}"#, "{what}");
            conn.expect_closed();
        }
    }
}

#[test]
fn bytes_behind_a_buffered_error_end_the_connection() {
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = gateway.client();
    client.ask(&post(PATH).body(sample::CHAT.ask));
    let mut conn = first.accept();
    conn.request();
    conn.send([&answer::json(500, "{}")[..], FOREIGN.as_bytes()].concat());
    let mut other = second.accept();
    other.request();
    other.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200);
    conn.expect_closed();
}

#[test]
fn answers_to_many_clients_at_once_do_not_mix() {
    let provider = Fake::answering(|request| answer::json(200, &request.body));
    let gateway = Setup::new().provider(chat(&provider)).start();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.client();
                for m in 0..50 {
                    let body = format!(r#"{{"model":"m","who":"{n}-{m}","pad":"{}"}}"#, "x".repeat(n * m));
                    assert_eq!(client.call(PATH, &body).text(), body);
                }
            });
        }
    });
    let connects = gateway.metric("llm_proxy_upstream_connects_total").unwrap();
    assert!(connects <= 8.0, "{connects} connections for 8 clients");
}
