//! Whose turn it is, and under which name the model is asked for.

use std::collections::BTreeMap;

use super::*;

fn row(name: &str, fake: &Fake, weight: i64) -> ProviderRow {
    ProviderRow { provider_key: name.into(), weight, ..chat(fake) }
}

#[test]
fn shares_are_exact_in_every_round() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let gateway = Setup::new().provider(row("a", &a, 3)).provider(row("b", &b, 1)).provider(row("c", &c, 2)).start();
    let mut client = gateway.client();
    for round in 0..5 {
        let mut shares = BTreeMap::<String, u32>::new();
        for turn in 0..6 {
            // Whatever the models: it is the providers that take turns.
            *shares.entry(answered_by(&mut client, &format!("m{}", turn % 2))).or_default() += 1;
        }
        let expected = [("a", 3), ("b", 1), ("c", 2)].map(|(name, share)| (name.to_owned(), share));
        assert_eq!(shares, BTreeMap::from(expected), "round {round}");
    }
}

#[test]
fn standby_serves_when_no_other_is_left() {
    let fails = Fake::answering(|_| answer::json(500, "{}"));
    let works = named("works");
    let standby = named("standby");
    let rows = |fake: &Fake| Setup::new().provider(row("standby", &standby, 0)).provider(row("first", fake, 1));
    let gateway = rows(&works).start();
    let mut client = gateway.client();
    assert!((0..10).all(|_| answered_by(&mut client, "m") == "works"));
    let gateway = rows(&fails).start();
    let mut client = gateway.client();
    assert!((0..3).all(|_| answered_by(&mut client, "m") == "standby"));
    assert_eq!(fails.requests().len(), 3, "it was asked first each time");
    // Alone, it is all that there is.
    let gateway = Setup::new().provider(row("standby", &standby, 0)).start();
    assert_eq!(answered_by(&mut gateway.client(), "m"), "standby");
}

#[test]
fn a_failure_goes_to_the_next_in_turn() {
    let fails = Fake::answering(|_| answer::json(503, "{}"));
    let (b, c) = (named("b"), named("c"));
    let gateway =
        Setup::new().provider(row("a", &fails, 1)).provider(row("b", &b, 1)).provider(row("c", &c, 1)).start();
    let mut client = gateway.client();
    let by: Vec<_> = (0..6).map(|_| answered_by(&mut client, "m")).collect();
    assert_eq!(by, ["b", "b", "c", "b", "b", "c"]);
}

#[test]
fn names_are_mapped() {
    let provider = named("p");
    let mapping = r#"{
        "exact": "up-exact",
        "gpt-4*": "openai/gpt-4$1",
        "claude-*-latest": {"mapped_model": "anthropic.claude-*", "max_tokens": 9},
        "re:(\\w+)-(\\d+)b": "$2/$1",
        "gpt-*": "rest",
        "gpt-4.exact": "the exact one"
    }"#;
    let gateway = Setup::new().provider(ProviderRow { model_mapping: mapping.into(), ..chat(&provider) }).start();
    let mut client = gateway.client();
    let rows = [
        ("exact", Some("up-exact")),
        ("gpt-4.1-mini", Some("openai/gpt-4.1-mini")),
        ("gpt-4", Some("openai/gpt-4")),
        ("gpt-4.exact", Some("the exact one")),
        ("gpt-5", Some("rest")),
        ("claude-opus-latest", Some("anthropic.claude-opus")),
        ("llama-70b", Some("70/llama")),
        ("llama-70bx", None),
        ("Exact", None),
        ("gpt4", None),
        ("", None),
    ];
    for (model, upstream) in rows {
        let response = client.call(PATH, ask(model));
        match upstream {
            Some(upstream) => assert_eq!(response.json()["asked"], upstream, "{model}"),
            None if model.is_empty() => assert_eq!(response.status, 400),
            None => assert_eq!(response.status, 404, "{model}"),
        }
    }
}

#[test]
fn each_provider_maps_for_itself() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let mapped =
        |name: &str, fake: &Fake, mapping: &str| ProviderRow { model_mapping: mapping.into(), ..row(name, fake, 1) };
    let gateway = Setup::new()
        .provider(mapped("a", &a, r#"{"m":"m-at-a","only-a":"x"}"#))
        .provider(mapped("b", &b, r#"{"m":"m-at-b"}"#))
        .provider(ProviderRow { is_enabled: false, ..mapped("c", &c, "{}") })
        .start();
    let mut client = gateway.client();
    let mut received: Vec<_> =
        (0..2).map(|_| client.call(PATH, ask("m")).json()["asked"].as_str().unwrap().to_owned()).collect();
    received.sort();
    assert_eq!(received, ["m-at-a", "m-at-b"]);
    assert!((0..3).all(|_| answered_by(&mut client, "only-a") == "a"));
    assert!(c.requests().is_empty(), "it is disabled");
}

#[test]
fn a_prefix_may_stand_before_a_model() {
    let provider = Fake::answering(|request| answer::json(200, format!(r#"{{"model":{}}}"#, request.json()["model"])));
    let mapping = r#"{"gpt-4":"gpt-4","org/*":"org/*"}"#;
    let gateway = Setup::new()
        .provider(ProviderRow { model_mapping: mapping.into(), ..chat(&provider) })
        .credential(CredentialRow { allowed_models: r#"["gpt-4","org/*"]"#.into(), ..credential(KEY) })
        .env("MODEL_PREFIX", "Proxy")
        .start();
    let mut client = gateway.client();
    // (asked, sent to the provider)
    let rows = [("gpt-4", "gpt-4"), ("Proxy/gpt-4", "gpt-4"), ("org/x", "org/x"), ("Proxy/org/x", "org/x")];
    for (model, upstream) in rows {
        let response = client.call(PATH, ask(model));
        assert_eq!((response.status, &response.json()["model"]), (200, &model.into()), "the name that was asked for");
        assert_eq!(provider.requests().last().unwrap().json()["model"], upstream);
    }
    for model in ["proxy/gpt-4", "Proxy/", "Other/gpt-4", "Proxy/Proxy/gpt-4"] {
        assert_eq!(client.call(PATH, ask(model)).status, 403, "{model}");
    }
}

#[test]
fn unknown_models() {
    let provider = named("p");
    let only = r#"{"known":"x"}"#;
    let gateway = Setup::new()
        .provider(ProviderRow { model_mapping: only.into(), ..chat(&provider) })
        .provider(ProviderRow { model_mapping: only.into(), ..anthropic(&provider) })
        .provider(ProviderRow { model_mapping: only.into(), ..responses(&provider) })
        .start();
    let mut client = gateway.client();
    for path in [sample::CHAT.path, sample::RESPONSES.path, "/v1/embeddings"] {
        let error = client.call(path, ask("unknown"));
        assert_eq!(error.status, 404, "{path}");
        let error = &error.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&"model_not_found".into(), &"model".into()));
        assert!(error["message"].as_str().unwrap().contains("`unknown`"));
    }
    let error = client.call(sample::MESSAGES.path, ask("unknown"));
    assert_eq!((error.status, &error.json()["error"]["type"]), (404, &"not_found_error".into()));

    let empty = Setup::new().start().client().call(PATH, ask("m"));
    assert_eq!(empty.status, 404);
    assert!(empty.text().contains("llm-proxy provider add"), "{}", empty.text());
}

/// What has a prompt or an image and no conversation is never translated.
#[test]
fn what_is_not_translated_needs_its_own_format() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(anthropic(&provider)).start();
    for path in ["/v1/completions", "/v1/embeddings", "/v1/moderations"] {
        let error = gateway.client().call(path, ask("m"));
        assert_eq!((error.status, &error.json()["error"]["code"]), (404, &"not_supported".into()), "{path}");
        assert!(error.text().contains("never translated"), "{}", error.text());
    }
    assert!(provider.try_accept().is_none());
}
