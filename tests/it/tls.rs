//! TLS on both sides.

use super::support::cert::Cert;
use super::support::*;

const PATH: &str = sample::CHAT.path;

/// Streams or answers, as it is asked.
fn serving(cert: &Cert) -> Fake {
    Fake::answering_tls(cert, |request| match request.json()["stream"].as_bool() {
        Some(true) => answer::sse(&sample::CHAT.events()),
        _ => answer::json(200, sample::CHAT.answer),
    })
}

#[test]
fn a_provider_behind_a_certificate_that_is_trusted() {
    let cert = Cert::new();
    let provider = serving(&cert);
    let gateway = Setup::new().provider(chat(&provider)).env("SSL_CERT_FILE", cert.file().display()).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.call(PATH, sample::CHAT.ask).text(), sample::CHAT.answer);
        assert_eq!(client.call(PATH, sample::CHAT.ask_stream).text(), sample::CHAT.events().concat());
    }
    gateway.expect_metric("llm_proxy_upstream_connects_total", 1.0);
}

#[test]
fn each_event_over_tls_arrives_before_the_next_is_sent() {
    let cert = Cert::new();
    let provider = Fake::start_tls(&cert);
    let gateway = Setup::new()
        .provider(chat(&provider))
        .env("SSL_CERT_FILE", cert.file().display())
        .env("TLS_CERT", cert.file().display())
        .env("TLS_KEY", cert.key_file().display())
        .start();
    let mut client = Client::connect_tls(gateway.addr, cert.client());
    client.ask(&post(PATH).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    sample::CHAT.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
    let (first, rest) = sample::CHAT.content.split_first().unwrap();
    conn.send(answer::chunk(first));
    client.head();
    assert_eq!(client.read_until(first), sample::CHAT.opening.concat() + first);
    for event in rest {
        conn.send(answer::chunk(event));
        assert_eq!(client.event(), *event);
    }
    // And the client's leaving reaches the provider through both.
    drop(client);
    conn.expect_closed();
}

/// The faults of TLS that the mock makes are the ones that their names say, and nothing of a
/// request gets through.
#[test]
fn faults_of_the_mock() {
    let rows =
        [("tls-failure", "the TLS handshake failed"), ("expired-certificate", "its TLS certificate has expired")];
    for (fault, reason) in rows {
        let mut defaults = llm_mock::Knobs::default();
        defaults.select(fault.parse().unwrap());
        let addr = ([127, 0, 0, 1], 0).into();
        let mock = llm_mock::start(llm_mock::MockOptions { addr, workers: 1, defaults }).unwrap();
        assert!(mock.url().starts_with("https://127.0.0.1:"), "{}", mock.url());
        let gateway = Setup::new().provider(provider("p", "openai", &format!("{}/v1", mock.url()))).start();
        let response = gateway.client().call(PATH, sample::CHAT.ask);
        assert_eq!((response.status, response.text().contains(reason)), (502, true), "{}", response.text());
        assert_eq!(mock.counts().requests(), 0);
    }
}

#[test]
fn a_provider_behind_a_certificate_that_nobody_knows() {
    let cert = Cert::new();
    let provider = serving(&cert);
    let gateway = Setup::new().provider(chat(&provider)).start();
    let response = gateway.client().call(PATH, sample::CHAT.ask);
    let error = &response.json()["error"];
    assert_eq!((response.status, &error["code"]), (502, &"upstream_connect_failed".into()));
    assert!(provider.requests().is_empty(), "not a byte of the request, nor of the key, was sent");
    eventually("the log says why", || gateway.log().iter().any(|line| line.contains("UnknownIssuer")));

    // Of another name than the one asked for.
    let elsewhere = llm_proxy::config::rows::ProviderRow {
        api_base: provider.url("/v1").replace("localhost", "127.0.0.2"),
        ..chat(&provider)
    };
    let gateway = Setup::new().provider(elsewhere).env("SSL_CERT_FILE", cert.file().display()).start();
    assert_eq!(gateway.client().call(PATH, sample::CHAT.ask).status, 502);

    let gateway = Setup::new().provider(chat(&provider)).env("VERIFY_SSL", false).start();
    assert_eq!(gateway.client().call(PATH, sample::CHAT.ask).text(), sample::CHAT.answer);
    eventually("it is logged", || gateway.log().iter().any(|line| line.contains("VERIFY_SSL is off")));
}

#[test]
fn a_provider_that_speaks_no_tls() {
    let plain = Fake::answering(|_| answer::json(200, "{}"));
    let https = |fake: &Fake| llm_proxy::config::rows::ProviderRow {
        api_base: fake.url("/v1").replace("http:", "https:"),
        ..chat(fake)
    };
    let gateway = Setup::new().provider(https(&plain)).env("CONNECT_TIMEOUT_SECS", 2).start();
    let response = gateway.client().call(PATH, sample::CHAT.ask);
    assert!([502, 504].contains(&response.status), "{}", response.text());

    // One that takes the connection and says nothing.
    let silent = Fake::start();
    let gateway = Setup::new().provider(https(&silent)).env("CONNECT_TIMEOUT_SECS", 0.3).start();
    assert_eq!(gateway.client().call(PATH, sample::CHAT.ask).status, 504);
}

#[test]
fn clients_over_tls() {
    let (own, cert) = (Cert::new(), Cert::new());
    let provider = serving(&cert);
    let gateway = Setup::new()
        .provider(chat(&provider))
        .env("SSL_CERT_FILE", cert.file().display())
        .env("TLS_CERT", own.file().display())
        .env("TLS_KEY", own.key_file().display())
        .start();
    let mut client = Client::connect_tls(gateway.addr, own.client());
    for _ in 0..3 {
        assert_eq!(client.call(PATH, sample::CHAT.ask).text(), sample::CHAT.answer);
        assert_eq!(client.call(PATH, sample::CHAT.ask_stream).text(), sample::CHAT.events().concat());
    }
    // Many records each way.
    let large = format!(r#"{{"model":"m-asked","pad":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(client.call(PATH, &large).text(), sample::CHAT.answer);
    assert!(provider.requests().last().unwrap().body == large.as_bytes());

    // Who does not speak TLS is not served, and disturbs nobody.
    let mut plain = gateway.client();
    plain.ask(&get("/health"));
    assert!(!plain.link.until_end().starts_with(b"HTTP/"));
    assert_eq!(client.call(PATH, sample::CHAT.ask).status, 200);
}

#[test]
fn what_comes_behind_the_end_of_a_session_is_not_looked_at() {
    use std::io::{Read, Write};
    let cert = Cert::new();
    let provider = serving(&cert);
    let gateway = Setup::new()
        .provider(chat(&provider))
        .env("SSL_CERT_FILE", cert.file().display())
        .env("TLS_CERT", cert.file().display())
        .env("TLS_KEY", cert.key_file().display())
        .start();
    let mut other = Client::connect_tls(gateway.addr, cert.client());

    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(cert.client(), name).unwrap();
    let socket = std::net::TcpStream::connect(gateway.addr).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket);
    // Once the body flows, much is read at a time.
    stream.write_all(&post(PATH).header("expect", "100-continue").header("content-length", "100000").bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    stream.write_all(&[b' '; 8000]).unwrap();
    stream.conn.writer().write_all(b"{").unwrap();
    stream.conn.send_close_notify();
    let mut segment = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut segment).unwrap();
    }
    // Records of application data, which nobody could decrypt.
    segment.extend([0x17, 3, 3, 0, 1, 0].repeat(2000));
    stream.sock.write_all(&segment).unwrap();
    // The gateway closes; whether with a reset is no matter.
    let _ = stream.sock.read_to_end(&mut Vec::new());
    assert_eq!(other.call(PATH, sample::CHAT.ask).status, 200, "the others are served");
}

#[test]
fn a_large_answer_over_tls() {
    let cert = Cert::new();
    let body: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
    let sent = body.clone();
    let provider = Fake::answering_tls(&cert, move |_| answer::typed(200, "audio/wav", &sent));
    let gateway = Setup::new()
        .provider(chat(&provider))
        .env("SSL_CERT_FILE", cert.file().display())
        .env("TLS_CERT", cert.file().display())
        .env("TLS_KEY", cert.key_file().display())
        .start();
    let mut client = Client::connect_tls(gateway.addr, cert.client());
    let response = client.call("/v1/audio/speech", r#"{"model":"m","input":"x","voice":"v"}"#);
    assert!(response.body == body);
}
