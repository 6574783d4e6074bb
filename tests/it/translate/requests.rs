//! What goes to a provider: losses and their headers, strict mode, other ways, sealed reasoning,
//! paths.

use super::*;

#[test]
fn losses_are_named_and_strict_mode_refuses_them() {
    let body = r#"{"model":"m","seed":1,"temperature":1.5,"messages":[{"role":"user","content":"hi"}]}"#;
    let (fake, gateway) = start(&MESSAGES);
    let mut asking = gateway.client();
    for received in [body.to_owned(), body.replacen('{', r#"{"stream":true,"#, 1)] {
        asking.ask(&post(CHAT.path).body(received));
        let mut conn = fake.accept();
        let request = conn.request().json();
        assert_eq!((request.get("seed"), &request["temperature"]), (None, &1.into()));
        conn.send(answer::json(200, MESSAGES.answer));
        let response = asking.response();
        assert_eq!(response.header("x-llm-proxy-dropped"), Some("temperature;clamped, seed;dropped"));
        conn.close();
    }
    for field in ["seed", "temperature"] {
        let series = format!(r#"llm_proxy_translation_dropped_total{{field="{field}",from="chat",to="messages"}}"#);
        gateway.expect_metric(&series, 2.0);
    }

    let strict = |params: &str, env: bool| {
        let row = ProviderRow { provider_params: params.into(), ..anthropic(&fake) };
        let gateway = Setup::new().provider(row).env("STRICT_TRANSLATION", env).start();
        let response = gateway.client().call(CHAT.path, body);
        (response.status, response.json()["error"]["param"].clone())
    };
    assert_eq!(strict("{}", true), (400, "temperature".into()));
    assert_eq!(strict(r#"{"translation":{"strict":true}}"#, false), (400, "temperature".into()));
}

/// A request that one provider's format cannot say goes to one whose format can.
#[test]
fn another_format_may_have_the_words() {
    let body = r#"{"model":"m","n":2,"messages":[{"role":"user","content":"hi"}]}"#;
    let (fake, gateway) = start(&MESSAGES);
    let error = gateway.client().call(CHAT.path, body);
    assert_eq!((error.status, &error.json()["error"]["param"]), (400, &"n".into()));
    assert!(fake.try_accept().is_none());

    let spare = Fake::answering(|_| answer::json(200, CHAT.answer));
    let row = ProviderRow { weight: 0, ..chat(&spare) };
    let gateway = Setup::new().provider(native(&MESSAGES, "first", &fake)).provider(row).start();
    assert_eq!(gateway.client().call(CHAT.path, body).text(), CHAT.answer);
    assert_eq!(spare.requests().last().unwrap().text(), body);
    assert!(fake.try_accept().is_none());
}

#[test]
fn headers_and_query_of_the_clients_vendor_stay_behind() {
    let (fake, gateway) = start(&CHAT);
    let mut asking = gateway.client();
    let received = post("/v1/messages?beta=true")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "b")
        .header("traceparent", "00-1-2-01")
        .body(MESSAGES.ask);
    asking.ask(&received);
    let request = fake.accept().request();
    assert_eq!(request.target, CHAT.path);
    for name in ["anthropic-version", "anthropic-beta", "x-api-key"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("traceparent"), Some("00-1-2-01"));
    assert_eq!(request.header("content-type"), Some("application/json"));
}

/// The whole way of a provider's sealed reasoning: to a foreign client, back to the account that
/// sealed it, and never to another.
#[test]
fn sealed_reasoning_goes_back_to_its_account_alone() {
    let thinking = r#"{"type":"thinking","thinking":"so","signature":"EqQB"}"#;
    let answer_body = MESSAGES.answer.replace(r#""content":["#, &format!(r#""content":[{thinking},"#));
    let anthropic = Fake::answering(move |_| answer::json(200, &answer_body));
    let other = Fake::answering(|_| answer::json(200, RESPONSES.answer));
    let row = ProviderRow {
        model_mapping: r#"{"m-*":"claude-opus-5"}"#.into(),
        ..native(&MESSAGES, "anthropic", &anthropic)
    };
    let gateway = Setup::new().provider(row).start();
    let first = gateway.client().call(RESPONSES.path, RESPONSES.ask).json();
    let reasoning = first["output"][0].clone();
    let sealed = reasoning["encrypted_content"].as_str().unwrap();
    assert!(sealed.starts_with("llmp1.an."), "{reasoning}");

    let mut history = serde_json::json!([{"role":"user","content":"hi"}]);
    let turns = history.as_array_mut().unwrap();
    turns.extend(first["output"].as_array().unwrap().clone());
    turns.push(serde_json::json!({"role":"user","content":"go on"}));
    let body = serde_json::json!({"model":"m-asked","reasoning":{"effort":"low"},"input":history}).to_string();

    // A second provider of the client's own format has most of the weight; the account that sealed
    // goes first all the same.
    let store = gateway.store();
    let second = ProviderRow { weight: 100, ..native(&RESPONSES, "other", &other) };
    let id = store.add_provider(&second).unwrap();
    eventually("two providers", || gateway.metric("llm_proxy_snapshot_generation") == Some(2.0));
    for _ in 0..3 {
        assert_eq!(gateway.client().call(RESPONSES.path, &body).status, 200);
        let sent = anthropic.requests().last().unwrap().json();
        let block: serde_json::Value = serde_json::from_str(thinking).unwrap();
        assert_eq!(sent["messages"][1]["content"][0], block, "{sent}");
    }
    assert_eq!(other.requests().len(), 0);

    // Without that account the conversation goes on without its thoughts.
    let ids: Vec<i64> = store.load().unwrap().providers.iter().map(|row| row.id).filter(|other| *other != id).collect();
    ids.iter().for_each(|id| store.remove_provider(*id).unwrap());
    eventually("one provider", || gateway.metric("llm_proxy_snapshot_generation") == Some(3.0));
    assert_eq!(gateway.client().call(RESPONSES.path, &body).status, 200);
    let sent = other.requests().last().unwrap().text().to_owned();
    assert!(!sent.contains("llmp1."), "{sent}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sent).unwrap()["input"].as_array().unwrap().len(), 3);
}

/// Most Chat clients drop `reasoning_details`. Whatever core gets the tool's result, the provider
/// gets its thinking back.
#[test]
fn reasoning_that_a_client_drops_is_remembered() {
    let thinking = r#"{"type":"thinking","thinking":"so","signature":"EqQB"}"#;
    let call = r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}"#;
    let calls = MESSAGES.answer.replace(r#"{"type":"text","text":"Hello"}"#, &format!("{thinking},{call}"));
    let calls = calls.replace("end_turn", "tool_use");
    let fake = Fake::answering(move |_| answer::json(200, &calls));
    let row = ProviderRow { model_mapping: r#"{"*":"claude-opus-4-6"}"#.into(), ..native(&MESSAGES, "p", &fake) };
    let gateway = Setup::new()
        .provider(row)
        .credential(credential(KEY))
        .credential(credential("sk-other"))
        .env("WORKERS", 2)
        .start();
    let tools = r#"[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]"#;
    let ask = |messages: &serde_json::Value| {
        format!(r#"{{"model":"m","reasoning_effort":"low","tools":{tools},"messages":{messages}}}"#)
    };
    let first = serde_json::json!([{"role":"user","content":"hi"}]);
    let answer = gateway.client().call(CHAT.path, ask(&first)).json();
    let message = &answer["choices"][0]["message"];
    assert!(message["reasoning_details"][0].is_object(), "{message}");
    let second = serde_json::json!([
        {"role":"user","content":"hi"},
        {"role":"assistant","content":null,"tool_calls":message["tool_calls"]},
        {"role":"tool","tool_call_id":message["tool_calls"][0]["id"],"content":"1"},
    ]);
    let block: serde_json::Value = serde_json::from_str(thinking).unwrap();
    for _ in 0..8 {
        assert_eq!(gateway.client().call(CHAT.path, ask(&second)).status, 200);
        let sent = fake.requests().pop().unwrap().json();
        assert_eq!(sent["messages"][1]["content"][0], block, "{sent}");
    }
    gateway.expect_metric("llm_proxy_reasoning_restored_total", 8.0);
    // It is nobody else's.
    let mut other = gateway.client();
    other.ask(&post(CHAT.path).key("sk-other").body(ask(&second)));
    assert_eq!(other.response().status, 200);
    assert!(!fake.requests().pop().unwrap().text().contains("EqQB"));
}

/// Tools together with an effort: the newest models of OpenAI take them on Responses only.
#[test]
fn tools_and_thinking_go_where_they_are_taken() {
    let fake = Fake::start();
    let base = |formats: &str| ProviderRow {
        provider_params: format!(r#"{{"host":"openai","formats":{formats}}}"#),
        ..chat(&fake)
    };
    let tools =
        r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]"#;
    let plain = r#"{"model":"gpt-5.6","messages":[{"role":"user","content":"hi"}]}"#.to_owned();
    let with_tools = plain.replacen('{', &format!("{{{tools},"), 1);

    let gateway = Setup::new().provider(base(r#"["chat","responses"]"#)).start();
    for (body, path) in [(&plain, CHAT.path), (&with_tools, RESPONSES.path)] {
        let mut asking = gateway.client();
        asking.ask(&post(CHAT.path).body(body));
        let mut conn = fake.accept();
        assert_eq!(conn.request().target, path);
        let moved = path == RESPONSES.path;
        conn.send(answer::json(200, if moved { RESPONSES.answer } else { CHAT.answer }));
        let response = asking.response();
        assert_eq!(response.header("x-llm-proxy-repaired"), moved.then_some("thinking_tools=1"));
    }
    let gateway = Setup::new().provider(base(r#"["chat"]"#)).start();
    let mut asking = gateway.client();
    asking.ask(&post(CHAT.path).body(&with_tools));
    let mut conn = fake.accept();
    let request = conn.request();
    assert_eq!((request.target.as_str(), &request.json()["reasoning_effort"]), (CHAT.path, &"none".into()));
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(asking.response().header("x-llm-proxy-dropped"), Some("reasoning_effort;approx"));
    asking.ask(&post(CHAT.path).body(&plain));
    conn.request();
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(asking.response().header("x-llm-proxy-dropped"), None);

    // As it is, byte for byte.
    let pass = ProviderRow {
        provider_params: r#"{"host":"openai","translation":{"thinking_tools":"pass"}}"#.into(),
        ..chat(&fake)
    };
    let gateway = Setup::new().provider(pass).start();
    let mut asking = gateway.client();
    asking.ask(&post(CHAT.path).body(&with_tools));
    let mut conn = fake.accept();
    let request = conn.request();
    assert_eq!((request.target.as_str(), request.text()), (CHAT.path, with_tools.as_str()));
    conn.send(answer::json(200, CHAT.answer));
    let response = asking.response();
    assert_eq!((response.header("x-llm-proxy-dropped"), response.header("x-llm-proxy-repaired")), (None, None));
}

#[test]
fn azure() {
    let fake = Fake::answering(|request| {
        let sample = if request.target.contains("/responses") { &RESPONSES } else { &CHAT };
        answer::json(200, sample.answer)
    });
    let row = |base: &str| provider("p", "azure", &fake.url(base));
    // (base, client, target)
    let rows = [
        ("", &CHAT, "/openai/v1/chat/completions"),
        ("", &RESPONSES, "/openai/v1/chat/completions"),
        ("?api-version=2024-10-21", &CHAT, "/openai/deployments/m-asked/chat/completions?api-version=2024-10-21"),
        ("?api-version=2024-10-21", &MESSAGES, "/openai/deployments/m-asked/chat/completions?api-version=2024-10-21"),
    ];
    for (base, client, target) in rows {
        let gateway = Setup::new().provider(row(base)).start();
        assert_eq!(gateway.client().call(client.path, client.ask).status, 200, "{base}");
        let request = fake.requests().pop().unwrap();
        assert_eq!(request.target, target);
        assert_eq!((request.header("api-key").is_some(), request.header("authorization")), (true, None));
    }
    let host = ProviderRow { provider_params: r#"{"host":"azure"}"#.into(), ..row("/openai/v1") };
    let gateway = Setup::new().provider(host).start();
    assert_eq!(gateway.client().call(MESSAGES.path, MESSAGES.ask).status, 200);
    assert_eq!(fake.requests().pop().unwrap().target, "/openai/v1/responses");

    // Claude Code at the first of Azure's APIs: what that does not know is not sent.
    let host = ProviderRow { provider_params: r#"{"host":"azure"}"#.into(), ..row("?api-version=2024-10-21") };
    let gateway = Setup::new().provider(host).start();
    let received = MESSAGES.ask.replacen('{', r#"{"metadata":{"user_id":"u_session_1"},"service_tier":"auto","#, 1);
    assert_eq!(gateway.client().call(MESSAGES.path, received).status, 200);
    let sent = fake.requests().pop().unwrap().json();
    assert_eq!(sent["user"], "u_session_1");
    for field in ["safety_identifier", "prompt_cache_key", "metadata", "service_tier"] {
        assert!(sent.get(field).is_none(), "{sent}");
    }
}
