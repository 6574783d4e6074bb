//! Credentials: authentication, the models that they may use, and their rate limits.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn keys_that_are_refused() {
    let provider = named("p");
    let gateway = Setup::new()
        .provider(every_format(&provider))
        .credential(credential(KEY))
        .credential(CredentialRow { is_enabled: false, ..credential("sk-disabled") })
        .credential(CredentialRow { expires_at: Some(now() - 1), ..credential("sk-expired") })
        .credential(CredentialRow { expires_at: Some(now() + 1000), ..credential("sk-expires") })
        .start();
    let mut client = gateway.client();
    let rows = [
        (Some(KEY), 200, ""),
        (Some("sk-expires"), 200, ""),
        (None, 401, "no API key in the request"),
        (Some(""), 401, "no API key in the request"),
        (Some("sk-unknown"), 401, "not known to this gateway"),
        (Some("sk-disabled"), 401, "not known to this gateway, or is disabled"),
        (Some("sk-expired"), 401, "credential `sk-expired` has expired"),
        // What the store holds is not a key.
        (Some(&credential(KEY).credential_key), 401, "not known to this gateway"),
    ];
    for sample in [&sample::CHAT, &sample::MESSAGES] {
        for (key, status, note) in rows {
            let outgoing = post(sample.path).body(sample.ask);
            client.ask(&match key {
                Some(key) => outgoing.key(key),
                None => outgoing.header("authorization", ""),
            });
            let response = client.response();
            assert_eq!(response.status, status, "{key:?}");
            if status == 401 {
                let error = &response.json()["error"];
                let kind = if sample.kind == "anthropic" { "authentication_error" } else { "invalid_request_error" };
                assert_eq!(error["type"], kind);
                assert!(error["message"].as_str().unwrap().contains(note), "{error}");
                assert!(!response.text().contains("sk-unknown"));
            }
        }
    }
    assert_eq!(provider.requests().len(), 4);
}

#[test]
fn without_credentials_it_is_closed_unless_opened() {
    let provider = named("p");
    let open = |setup: Setup| {
        let gateway = setup.provider(chat(&provider)).no_credentials().start();
        let mut client = gateway.client();
        let mut statuses = Vec::new();
        for key in ["", "Bearer whatever"] {
            client.ask(&post(PATH).body(ask("m")).header("authorization", key));
            let response = client.response();
            assert!(response.status == 200 || response.text().contains("llm-proxy key create"), "{}", response.text());
            statuses.push(response.status);
        }
        statuses
    };
    assert_eq!(open(Setup::new()), [401, 401]);
    assert_eq!(open(Setup::new().env("ALLOW_ANONYMOUS", true)), [200, 200]);
}

#[test]
fn models_that_a_credential_may_not_ask_for() {
    let provider = named("p");
    let allowed = r#"["gpt-4o","claude-*","re:o[13](-mini)?"]"#;
    let gateway = Setup::new()
        .provider(every_format(&provider))
        .credential(CredentialRow { allowed_models: allowed.into(), ..credential(KEY) })
        .start();
    let mut client = gateway.client();
    for model in ["gpt-4o", "claude-opus", "o1", "o3-mini"] {
        assert_eq!(client.call(PATH, ask(model)).status, 200, "{model}");
    }
    for model in ["gpt-4", "gpt-4o-mini", "Claude-opus", "o1-pro", "xo1"] {
        for (path, kind) in [(PATH, "permission_error"), (sample::MESSAGES.path, "permission_error")] {
            let response = client.call(path, ask(model));
            assert_eq!((response.status, &response.json()["error"]["type"]), (403, &kind.into()), "{model}");
            let message = response.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&format!("`{model}`")) && message.contains("claude-*"), "{message}");
        }
    }
    assert_eq!(provider.requests().len(), 4);
}

#[test]
fn limit_headers_have_the_clients_format() {
    let provider = named("p");
    let limited = CredentialRow { rate_limit: Some(1), burst: Some(2), ..credential(KEY) };
    for (sample, names) in [
        (&sample::CHAT, ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]),
        (
            &sample::RESPONSES,
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
        ),
        (
            &sample::MESSAGES,
            [
                "anthropic-ratelimit-requests-limit",
                "anthropic-ratelimit-requests-remaining",
                "anthropic-ratelimit-requests-reset",
            ],
        ),
    ] {
        let gateway = Setup::new().provider(sample.provider("p", &provider)).credential(limited.clone()).start();
        let mut client = gateway.client();
        // Two at once, and then no more for a second; on a slow machine it may have passed.
        let mut refused = None;
        for n in 0..100 {
            let response = client.call(sample.path, sample.ask);
            let [limit, remaining, reset] = names.map(|name| response.header(name).unwrap_or_default().to_owned());
            assert_eq!(limit, "2");
            let is_time = if sample.kind == "anthropic" { reset.ends_with('Z') } else { reset.ends_with('s') };
            assert!(is_time, "{reset}");
            if response.status == 429 {
                assert!(n >= 2);
                assert_eq!(remaining, "0");
                refused = Some(response);
                break;
            }
            assert_eq!(response.status, 200);
            assert!(["0", "1"].contains(&remaining.as_str()));
        }
        let refused = refused.expect("a refusal within 100 requests");
        assert_eq!(refused.header("retry-after"), Some("1"));
        let error = &refused.json()["error"];
        assert_eq!(error["type"], "rate_limit_error");
        assert!(error["message"].as_str().unwrap().contains("1 requests per second"), "{error}");
        gateway.expect_metric("llm_proxy_rate_limited_total", 1.0);
    }
}

#[test]
fn a_limit_of_nothing_blocks_all_and_no_limit_blocks_none() {
    let provider = named("p");
    let limits = |limit| CredentialRow { rate_limit: limit, ..credential(KEY) };
    let gateway = Setup::new().provider(chat(&provider)).credential(limits(Some(0))).start();
    let mut client = gateway.client();
    let response = client.call(PATH, ask("m"));
    assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
    assert!(response.text().contains("its rate limit is 0"), "{}", response.text());
    // What costs nothing stays free.
    client.ask(&get("/v1/models"));
    assert_eq!(client.response().status, 200);

    let gateway = Setup::new().provider(chat(&provider)).credential(limits(None)).start();
    let mut client = gateway.client();
    for _ in 0..50 {
        let response = client.call(PATH, ask("m"));
        assert_eq!((response.status, response.header("x-ratelimit-limit-requests")), (200, None));
    }
}

#[test]
fn each_credential_has_its_own_limit() {
    let provider = named("p");
    let blocked = CredentialRow { rate_limit: Some(0), ..credential("sk-blocked") };
    let gateway = Setup::new().provider(chat(&provider)).credential(credential(KEY)).credential(blocked).start();
    let mut client = gateway.client();
    for (key, status) in [("sk-blocked", 429), (KEY, 200), ("sk-blocked", 429), (KEY, 200)] {
        client.ask(&post(PATH).body(ask("m")).key(key));
        assert_eq!(client.response().status, status);
    }
}

#[test]
fn counting_tokens_is_free_of_the_limit() {
    let provider = named("p");
    let blocked = CredentialRow { rate_limit: Some(0), ..credential(KEY) };
    let gateway = Setup::new().provider(every_format(&provider)).credential(blocked).start();
    let mut client = gateway.client();
    for path in ["/v1/messages/count_tokens", "/v1/responses/input_tokens"] {
        assert_eq!(client.call(path, ask("m")).status, 200);
        assert_eq!(provider.requests().last().unwrap().target, path);
    }
}
