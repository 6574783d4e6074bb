//! What the service that this one replaces got wrong about keys and limits, each by the name of
//! what was wrong.

use llm_proxy::config::rows::ProviderRow;

use super::*;

fn answering() -> Fake {
    Fake::answering(|_| answer::json(200, sample::CHAT.answer))
}

/// Its permission check and its authentication took one each, so a limit of 1 admitted nobody, and
/// N was N / 2. Its other server had a burst of twice the limit after an update.
#[test]
fn a_request_costs_one_and_a_burst_is_the_limit() {
    for limit in [1, 2, 50] {
        let provider = answering();
        let gateway =
            Setup::new().provider(chat(&provider)).credential(limited(|row| row.rate_limit = Some(limit))).start();
        let mut client = gateway.client();
        let started = Instant::now();
        let mut admitted = 0;
        for _ in 0..limit * 2 {
            let response = client.call(PATH, sample::CHAT.ask);
            admitted += i64::from(response.status == 200);
        }
        let regained = (started.elapsed().as_secs_f64() * limit as f64).floor() as i64;
        assert!((limit..=limit + regained).contains(&admitted), "{limit}: {admitted} admitted, {regained} regained");
    }
}

/// It had no `Retry-After`, and did not say whose limit it was.
#[test]
fn a_refusal_says_when_and_whose() {
    let provider = answering();
    let gateway = Setup::new().provider(chat(&provider)).credential(limited(|row| row.rate_limit = Some(0))).start();
    for sample in [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES] {
        let response = gateway.client().call(sample.path, sample.ask);
        assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
        let body = response.json();
        assert!(body["error"]["message"].as_str().unwrap().contains(KEY), "{body}");
        assert_eq!(body["error"]["type"], "rate_limit_error");
        assert_eq!(body["type"].as_str(), (sample.kind == "anthropic").then_some("error"));
    }
    // Nor were refusals to be seen in its metrics.
    gateway.expect_metric("llm_proxy_rate_limited_total", 3.0);
}

/// Every reload began all buckets anew.
#[test]
fn a_reload_keeps_what_is_in_a_bucket() {
    let provider = answering();
    let row = limited(|row| {
        row.rate_limit = Some(1);
        row.burst = Some(100_000);
        row.tokens_per_minute = Some(60_000);
    });
    let gateway = Setup::new().provider(chat(&provider)).credential(row).start();
    let mut client = gateway.client();
    let mut ask = || {
        let response = client.call(PATH, sample::CHAT.ask);
        (number(&response, "x-ratelimit-remaining-requests"), number(&response, "x-ratelimit-remaining-tokens"))
    };
    for _ in 0..50 {
        ask();
    }
    let generation = gateway.metric("llm_proxy_snapshot_generation").unwrap();
    assert!(gateway.cli(&["key", "create", "--name", "other"]).status.success());
    eventually("it is in force", || gateway.metric("llm_proxy_snapshot_generation") > Some(generation));
    let (requests, _) = ask();
    // Some 30 seconds may have passed on a slow machine.
    assert!(requests < 100_000 - 20, "{requests}");
}

/// Its buckets were in the order of listings too.
#[test]
fn listings_and_counts_are_free() {
    let provider = answering();
    let row = limited(|row| {
        row.rate_limit = Some(0);
        row.tokens_per_minute = Some(0);
        row.max_concurrency = Some(0);
    });
    let gateway = Setup::new().provider(anthropic(&provider)).credential(row).start();
    let mut client = gateway.client();
    client.ask(&get("/v1/models"));
    assert_eq!(client.response().status, 200);
    let ask = r#"{"model":"m-asked","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(client.call("/v1/messages/count_tokens", ask).status, 200);
    assert_eq!(client.call("/v1/messages", sample::MESSAGES.ask).status, 429);
}

/// Each way to block a key blocks it, and names itself. `0` was unlimited, or a burst of 10.
#[test]
fn zero_blocks_by_each_limit() {
    let provider = answering();
    let set: [(fn(&mut CredentialRow), &str); 3] = [
        (|row| row.rate_limit = Some(0), "rate limit is 0"),
        (|row| row.tokens_per_minute = Some(0), "tokens per minute is 0"),
        (|row| row.max_concurrency = Some(0), "requests at once is 0"),
    ];
    for (change, says) in set {
        let gateway = Setup::new().provider(chat(&provider)).credential(limited(change)).start();
        let mut client = gateway.client();
        for _ in 0..20 {
            let response = client.call(PATH, sample::CHAT.ask);
            assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
            assert!(response.text().contains(says), "{}", response.text());
        }
    }
    assert!(provider.requests().is_empty());
}

/// When the last key went, its doors stood open.
#[test]
fn gateway_closes_when_the_last_key_is_removed() {
    let provider = answering();
    let gateway = Setup::new().provider(chat(&provider)).start();
    assert_eq!(gateway.client().call(PATH, sample::CHAT.ask).status, 200);
    assert!(gateway.cli(&["key", "revoke", KEY]).status.success());
    eventually("the key is refused", || gateway.client().call(PATH, sample::CHAT.ask).status == 401);
    let mut client = gateway.client();
    client.ask(&post(PATH).header("authorization", "").body(sample::CHAT.ask));
    assert_eq!(client.response().status, 401);
}

/// A provider's limits are its account's: a credential with limits of its own never sees them, one
/// without does, unless several accounts stand behind the model.
#[test]
fn rate_limit_headers_name_the_right_limit() {
    let theirs = [("x-ratelimit-limit-tokens", "777"), ("anthropic-ratelimit-tokens-limit", "777")];
    let provider = || {
        Fake::answering(move |_| {
            answer::with(200, &[theirs[0], theirs[1], ("content-type", "application/json")], sample::CHAT.answer)
        })
    };
    let (one, two) = (provider(), provider());
    let second = || ProviderRow { provider_key: "second".into(), ..chat(&two) };
    let plain = || Setup::new().provider(chat(&one));
    let own = plain().credential(limited(|row| row.max_concurrency = Some(5)));
    for (setup, passes) in [(plain(), true), (own, false), (plain().provider(second()), false)] {
        let gateway = setup.start();
        let response = gateway.client().call(PATH, sample::CHAT.ask);
        assert_eq!(response.header("x-ratelimit-limit-tokens"), passes.then_some("777"));
    }
}
