//! Which fields cross, in both directions.

use super::*;
use crate::support::gateway::PROVIDER_KEY;

/// Sends one request, answers it, and gives both as they arrived.
fn crossed(provider: &Fake, gateway: &Gateway, ask: &Outgoing, answer: &[u8]) -> (Request, Response) {
    let mut client = gateway.client();
    client.ask(ask);
    let mut conn = provider.accept();
    let request = conn.request();
    conn.send(answer);
    (request, client.response())
}

fn ask(sample: &Sample) -> Outgoing {
    post(sample.path).body(sample.ask)
}

#[test]
fn request_fields_that_a_provider_sees() {
    let (provider, gateway) = serving(&sample::CHAT);
    let outgoing = ask(&sample::CHAT)
        .header("Accept", "application/json")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("OpenAI-Beta", "assistants=v2")
        .header("User-Agent", "my app/1.0")
        .header("traceparent", "00-1-2-01")
        .header("X-App", "cli")
        // And those that it does not see.
        .header("Cookie", "a=b")
        .header("OpenAI-Organization", "org-mine")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("X-Stainless-OS", "Linux")
        .header("Accept-Encoding", "gzip, br")
        .header("Connection", "x-app-private, keep-alive")
        .header("X-App-Private", "1")
        .header("TE", "trailers")
        .header("Origin", "http://a.page");
    let (request, _) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
    let mut seen: Vec<_> = request.headers.0.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    seen.retain(|line| !line.starts_with("x-request-id: "));
    seen.sort();
    let host = format!("host: 127.0.0.1:{}", provider.addr.port());
    let length = format!("content-length: {}", sample::CHAT.ask.len());
    let mut expected = [
        "Accept: application/json",
        "Content-Type: application/json; charset=utf-8",
        "OpenAI-Beta: assistants=v2",
        "User-Agent: my app/1.0",
        "X-App: cli",
        "traceparent: 00-1-2-01",
        "accept-encoding: identity",
        &format!("authorization: Bearer {PROVIDER_KEY}"),
        &length,
        &host,
    ];
    expected.sort();
    assert_eq!(seen, expected);
}

/// A body that is forwarded is JSON, whatever curl or a browser calls it.
#[test]
fn another_content_type_is_not_forwarded() {
    let (provider, gateway) = serving(&sample::CHAT);
    for (sent, seen) in [
        ("application/x-www-form-urlencoded", "application/json"),
        ("text/plain;charset=UTF-8", "application/json"),
        ("application/octet-stream", "application/json"),
        ("Application/JSON;charset=utf-8", "Application/JSON;charset=utf-8"),
    ] {
        let outgoing = ask(&sample::CHAT).header("content-type", sent);
        let (request, _) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
        let types: Vec<&str> = request.headers.all("content-type").collect();
        assert_eq!(types, [seen], "{sent}");
    }
}

#[test]
fn what_a_client_leaves_out_is_filled_in() {
    let (provider, gateway) = serving(&sample::CHAT);
    let bare = ask(&sample::CHAT).header("content-type", "");
    let (request, _) = crossed(&provider, &gateway, &bare, &answer::json(200, "{}"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("user-agent").unwrap().starts_with("llm-proxy/"));
    assert_eq!(request.header("anthropic-version"), None);
}

#[test]
fn the_version_of_the_messages_format() {
    let (provider, gateway) = serving(&sample::MESSAGES);
    let (request, _) = crossed(&provider, &gateway, &ask(&sample::MESSAGES), &answer::json(200, "{}"));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    let dated = ask(&sample::MESSAGES).header("anthropic-version", "2024-10-22").header("anthropic-beta", "a,b");
    let (request, _) = crossed(&provider, &gateway, &dated, &answer::json(200, "{}"));
    assert_eq!(request.headers.all("anthropic-version").collect::<Vec<_>>(), ["2024-10-22"]);
    assert_eq!(request.header("anthropic-beta"), Some("a,b"));
}

#[test]
fn the_key_is_the_providers_whatever_the_client_sent() {
    let carries = [
        ("openai", &sample::CHAT, "authorization", format!("Bearer {PROVIDER_KEY}")),
        ("azure", &sample::CHAT, "api-key", PROVIDER_KEY.to_owned()),
        ("anthropic", &sample::MESSAGES, "x-api-key", PROVIDER_KEY.to_owned()),
        ("responses", &sample::RESPONSES, "authorization", format!("Bearer {PROVIDER_KEY}")),
    ];
    for (kind, sample, name, value) in carries {
        let provider = Fake::start();
        let row = ProviderRow { provider_type: kind.into(), ..sample.provider("p", &provider) };
        let gateway = Setup::new().provider(row).start();
        let keys = [("authorization", format!("bearer {KEY}")), ("x-api-key", KEY.into()), ("api-key", KEY.into())];
        for (own, key) in keys {
            let outgoing = ask(sample).header("authorization", "").header(own, &key);
            let (request, response) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
            assert_eq!(response.status, 200);
            let found: Vec<_> = ["authorization", "x-api-key", "api-key"]
                .into_iter()
                .filter_map(|n| Some((n, request.header(n)?)))
                .collect();
            assert_eq!(found, [(name, value.as_str())], "{kind}, asked with {own}");
            assert!(!format!("{request:?}").contains(KEY), "{kind}, asked with {own}");
        }
    }
}

#[test]
fn a_providers_own_headers_replace_the_clients() {
    let provider = Fake::start();
    let params = r#"{"custom_headers":{"User-Agent":"fixed","X-Extra":"1","Authorization":"Token abc"}}"#;
    let row = ProviderRow { provider_params: params.into(), ..chat(&provider) };
    let gateway = Setup::new().provider(row).start();
    let outgoing = ask(&sample::CHAT).header("user-agent", "mine");
    let (request, _) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
    for (name, value) in [("user-agent", "fixed"), ("x-extra", "1"), ("authorization", "Token abc")] {
        assert_eq!(request.headers.all(name).collect::<Vec<_>>(), [value]);
    }
}

#[test]
fn the_query_is_carried() {
    let provider = Fake::start();
    let row = ProviderRow { api_base: provider.url("/openai/v1?api-version=2024-06-01"), ..chat(&provider) };
    let gateway = Setup::new().provider(row).start();
    let rows = [
        ("/v1/chat/completions", "/openai/v1/chat/completions?api-version=2024-06-01"),
        ("/v2/chat/completions?beta=true&x=%20", "/openai/v1/chat/completions?api-version=2024-06-01&beta=true&x=%20"),
        ("/chat/completions?", "/openai/v1/chat/completions?api-version=2024-06-01"),
    ];
    for (path, target) in rows {
        let (request, _) = crossed(&provider, &gateway, &post(path).body(sample::CHAT.ask), &answer::json(200, "{}"));
        assert_eq!(request.target, target, "{path}");
    }
}

#[test]
fn answer_fields_that_a_client_sees() {
    let (provider, gateway) = serving(&sample::CHAT);
    let kept = [
        ("Content-Type", "application/json"),
        ("openai-processing-ms", "12"),
        ("Retry-After", "7"),
        ("x-ratelimit-remaining-tokens", "99"),
        ("anthropic-ratelimit-requests-limit", "5"),
    ];
    let dropped = [
        ("Set-Cookie", "a=b"),
        ("Server", "cloud"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("openai-organization", "org-secret"),
        ("Connection", "keep-alive, x-private"),
        ("x-private", "1"),
        ("x-request-id", "req-theirs"),
        ("Alt-Svc", "h3"),
    ];
    let fields = [&kept[..], &dropped[..]].concat();
    let (_, response) = crossed(&provider, &gateway, &ask(&sample::CHAT), &answer::with(200, &fields, "{}"));
    let mut seen: Vec<_> = response.headers.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    seen.sort();
    let own = ["content-length", "date", "server-timing", "x-request-id", "x-llm-proxy-upstream-request-id"];
    let mut expected: Vec<_> = kept.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    expected.extend(own.map(str::to_owned));
    expected.sort();
    assert_eq!(seen, expected);
    for (name, value) in kept {
        assert_eq!(response.header(name), Some(value));
    }
    assert_eq!(response.header("x-llm-proxy-upstream-request-id"), Some("req-theirs"));
    assert_ne!(response.header("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[test]
fn rate_limit_headers_pass_only_from_a_single_account() {
    let limits = [("x-ratelimit-remaining-tokens", "99"), ("anthropic-ratelimit-tokens-limit", "5")];
    let provider = Fake::answering(move |_| answer::with(200, &limits, "{}"));
    let displayed = |setup: Setup| {
        let response = setup.start().client().call("/v1/chat/completions", sample::CHAT.ask);
        limits.map(|(name, _)| response.header(name).is_some())
    };
    let second = || ProviderRow { provider_key: "second".into(), ..chat(&provider) };
    let limited = || llm_proxy::config::rows::CredentialRow { rate_limit: Some(9), ..credential(KEY) };
    assert_eq!(displayed(Setup::new().provider(chat(&provider))), [true, true]);
    assert_eq!(displayed(Setup::new().provider(chat(&provider)).provider(second())), [false, false]);
    assert_eq!(displayed(Setup::new().provider(chat(&provider)).credential(limited())), [false, false]);
}

#[test]
fn request_ids() {
    let (provider, gateway) = serving(&sample::MESSAGES);
    let id_of = |sent: Option<&str>| {
        let outgoing = ask(&sample::MESSAGES);
        let outgoing = sent.iter().fold(outgoing, |outgoing, id| outgoing.header("X-Request-Id", id));
        let (request, response) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
        let id = response.header("x-request-id").unwrap().to_owned();
        assert_eq!(request.headers.all("x-request-id").collect::<Vec<_>>(), [id.as_str()]);
        assert_eq!(response.header("request-id"), Some(id.as_str()), "where this format's SDK looks");
        id
    };
    assert_eq!(id_of(Some("my-id:1.2_3")), "my-id:1.2_3");
    let made = [id_of(None), id_of(None), id_of(Some("no spaces, please")), id_of(Some(&"x".repeat(65)))];
    for id in &made {
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(made.iter().filter(|other| *other == id).count(), 1, "{id} stands twice");
    }
    // An error of the gateway's own has one as well.
    let mut client = gateway.client();
    client.ask(&ask(&sample::MESSAGES).key("sk-wrong").header("x-request-id", "mine"));
    let response = client.response();
    assert_eq!((response.status, response.header("x-request-id")), (401, Some("mine")));
    assert_eq!(response.json()["request_id"], "mine");
}

#[test]
fn pages_of_other_origins() {
    let (provider, gateway) = serving(&sample::CHAT);
    let outgoing = ask(&sample::CHAT).header("origin", "http://a.page");
    let (_, response) = crossed(&provider, &gateway, &outgoing, &answer::json(200, "{}"));
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    let mut client = gateway.client();
    let preflight =
        post(sample::CHAT.path).method("OPTIONS").header("authorization", "").header("origin", "http://a.page");
    client.ask(&preflight.header("access-control-request-headers", "authorization,content-type"));
    let response = client.response();
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(response.header("content-length"), None);
    assert_eq!(client.call(sample::CHAT.path, "{}").status, 400, "the connection goes on");
}
