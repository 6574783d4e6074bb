//! Budgets of the real binary: reservations, charges on every way out of a request, refusals and
//! their errors.

use llm_proxy::config::rows::{BudgetRow, GroupRow, ModelRow, ProviderRow};
use llm_proxy::control_plane::store::blocking::Blocking;
use serde_json::{Value, json};

use super::*;
use crate::support::postgres::Db;

pub(super) const DOLLAR: i64 = 1_000_000_000;
pub(super) const ADMIN: &str = "admin-key";

/// A thousandth of a dollar for each token of the prompt, two for each of the response.
const PRICED: &str =
    r#"{"m":{"mapped_model":"m","input_cost_per_token":0.001,"output_cost_per_token":0.002},"free":"free"}"#;

pub(super) fn budget(name: &str, scope: &str, subject: &str, amount: i64) -> BudgetRow {
    BudgetRow {
        name: name.into(),
        scope: scope.into(),
        subject: subject.into(),
        unit: "usd".into(),
        amount,
        period: "month".into(),
        is_hard: true,
        warn_at: "[]".into(),
        is_enabled: true,
        ..BudgetRow::default()
    }
}

pub(super) fn tokens(name: &str, scope: &str, subject: &str, amount: i64) -> BudgetRow {
    BudgetRow { unit: "tokens".into(), ..budget(name, scope, subject, amount) }
}

pub(super) fn priced(name: &str, fake: &Fake) -> ProviderRow {
    ProviderRow { model_mapping: PRICED.into(), ..provider(name, "openai", &fake.url("/v1")) }
}

/// A provider that reports that it used so many tokens.
pub(super) fn using(input: u64, output: u64) -> Fake {
    let body = answer_using(input, output);
    Fake::answering(move |_| answer::json(200, &body))
}

/// The body of an answer that reports so many tokens.
pub(super) fn answer_using(input: u64, output: u64) -> String {
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hi" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output },
    });
    body.to_string()
}

fn ask_with(gateway: &Gateway, body: Value) -> Response {
    let mut client = gateway.client();
    client.send(post(PATH).key(KEY).body(body.to_string()).bytes());
    client.response()
}

/// Asks until the sums of the budgets can be read: a busy server of them may not answer in time.
pub(super) fn ask(gateway: &Gateway, most: u64) -> Response {
    let mut response = ask_once(gateway, most);
    eventually("the sums are read", || {
        let is_read = response.status != 503;
        if !is_read {
            response = ask_once(gateway, most);
        }
        is_read
    });
    response
}

pub(super) fn ask_once(gateway: &Gateway, most: u64) -> Response {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    ask_with(gateway, json!({ "model": "m", "messages": messages, "max_tokens": most }))
}

pub(super) fn state(gateway: &Gateway, name: &str) -> Value {
    listed(gateway, name)["state"].clone()
}

/// A budget as the admin interface lists it.
fn listed(gateway: &Gateway, name: &str) -> Value {
    let mut client = gateway.client();
    client.ask(&get("/admin/v1/budgets").key(ADMIN));
    let budgets = client.response().json();
    let found = budgets["budgets"].as_array().unwrap().iter().find(|budget| budget["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("{name}: {budgets}"))
}

/// Waits until nothing of a budget is reserved: the gateway has given back what it held, as it does
/// when nobody has used the budget for some seconds. What a request keeps it can't give back.
fn nothing_is_reserved(gateway: &Gateway, name: &str) {
    eventually("nothing is reserved", || {
        let state = state(gateway, name);
        state["reserved"] == json!(0.0)
    });
}

/// What was spent, once the gateway has reported it.
pub(super) fn spent(gateway: &Gateway, name: &str, expected: f64) {
    eventually("what was spent is reported", || {
        (state(gateway, name)["spent"].as_f64().unwrap() - expected).abs() < 1e-6
    });
}

#[test]
fn a_hard_budget_refuses_before_money_is_spent() {
    let fake = using(10, 20);
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, DOLLAR / 10));
    let gateway = gateway.env("ADMIN_KEY", ADMIN).start();
    // 0.01 + 0.04 dollars.
    let response = ask(&gateway, 20);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-llm-proxy-budget"), Some("b"));
    assert_eq!(response.header("x-llm-proxy-budget-limit"), Some("0.10"));
    assert_eq!(response.header("x-llm-proxy-budget-unit"), Some("usd"));
    assert!(response.header("x-llm-proxy-budget-reset").unwrap().ends_with("T00:00:00Z"));
    spent(&gateway, "b", 0.05);
    let count = fake.requests().len();
    let refused = ask(&gateway, 1000);
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert_eq!(fake.requests().len(), count, "the provider is not asked");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    let error = &refused.json()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("insufficient_quota"), &json!("budget_exceeded")));
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("budget `b` of credential `sk-test` (0.10 dollars per month) has"), "{text}");
    assert!(text.contains("it renews at 20"), "{text}");
    assert!(gateway.metric("llm_proxy_budget_exceeded_total") >= Some(1.0));
    let state = state(&gateway, "b");
    assert!(state["left"].as_f64().unwrap() <= 0.05 && state["renews_at"].is_string(), "{state}");
}

/// The headers are of the budget of which the least part is left, and of its amount as it is now.
/// A request that waits for its place in the process reserves in another function.
#[test]
fn a_budget_holds_beside_a_limit_of_the_process() {
    for most_at_once in [0, 1] {
        let fake = using(10, 20);
        let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, DOLLAR / 10));
        let gateway = gateway.env("ADMIN_KEY", ADMIN).env("MAX_CONCURRENT_REQUESTS", most_at_once).start();
        assert_eq!(ask(&gateway, 20).status, 200);
        spent(&gateway, "b", 0.05);
        let refused = ask(&gateway, 1000);
        assert_eq!((refused.status, fake.requests().len()), (402, 1), "{most_at_once}: {}", refused.text());
    }
}

#[test]
fn the_headers_follow_the_budget() {
    let fake = using(10, 20);
    let setup = Setup::new().provider(priced("p", &fake)).env("ADMIN_KEY", ADMIN);
    let setup = setup.budget(tokens("wide", "credential", KEY, 1_000_000));
    let gateway = setup.budget(budget("narrow", "credential", KEY, 100 * DOLLAR)).start();
    let fields = || {
        let response = ask(&gateway, 20);
        assert_eq!(response.status, 200, "{}", response.text());
        let field = |name: &str| response.header(&format!("x-llm-proxy-budget{name}")).unwrap().to_owned();
        assert!(field("-reset").ends_with("T00:00:00Z"));
        (field(""), field("-unit"), field("-limit"), field("-remaining").parse::<f64>().unwrap())
    };
    let (name, unit, limit, left) = fields();
    assert_eq!((&*name, &*unit, &*limit), ("narrow", "usd", "100.00"));
    assert!((99.0..100.0).contains(&left), "{left}");
    let mut client = gateway.client();
    let id = listed(&gateway, "narrow")["id"].clone();
    let body = json!({ "amount": 25 }).to_string();
    client.ask(&post(&format!("/admin/v1/budgets/{id}/top-up")).key(ADMIN).body(body));
    assert_eq!(client.response().status, 200);
    eventually("the amount of this window is shown", || fields().2 == "125.00");
}

/// A refusal counts for a moment, in which the store is not asked again; not when the operator has
/// changed the budget meanwhile.
#[test]
fn what_an_operator_adds_is_there_at_once() {
    let fake = using(10, 20);
    let setup = Setup::new().provider(priced("p", &fake)).env("ADMIN_KEY", ADMIN);
    let gateway = setup.budget(budget("b", "credential", KEY, DOLLAR / 10)).start();
    let change = |method: &str, path: &str, body: Value| {
        let mut client = gateway.client();
        client.ask(&get(&format!("/admin/v1/budgets/1{path}")).method(method).key(ADMIN).body(body.to_string()));
        assert_eq!(client.response().status, 200);
    };
    assert_eq!(ask(&gateway, 20).status, 200);
    spent(&gateway, "b", 0.05);
    // Requests of 0.43, 1.23 and 2.03 dollars at most.
    for (most, added) in [(200, 0.5), (600, 1.0), (1000, 1.0)] {
        assert_eq!(ask(&gateway, most).status, 402, "before a top-up, {most} tokens");
        change("POST", "/top-up", json!({ "amount": added }));
        assert_eq!(ask(&gateway, most).status, 200, "after a top-up, {most} tokens");
    }
    assert_eq!(ask(&gateway, 4000).status, 402);
    change("PATCH", "", json!({ "amount": 10 }));
    assert_eq!(ask(&gateway, 4000).status, 200);
}

/// The highest threshold that was come to, and once.
#[test]
fn thresholds_are_logged() {
    let fake = using(10, 20);
    let row = BudgetRow { warn_at: "[10,40,80]".into(), is_hard: false, ..budget("b", "credential", KEY, DOLLAR / 10) };
    let gateway = Setup::new().provider(priced("p", &fake)).budget(row).start();
    let logged = || {
        let lines = gateway.log().into_iter().filter(|line| line.contains("% of budget b is used"));
        lines.map(|line| serde_json::from_str::<Value>(&line).unwrap()["percent"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ask(&gateway, 20).status, 200);
    eventually("half of the budget is used", || logged() == [40]);
    assert_eq!(ask(&gateway, 20).status, 200);
    eventually("all of it is", || logged() == [40, 80]);
}

#[test]
fn the_status_may_be_429() {
    let fake = using(10, 20);
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, 1));
    let gateway = gateway.env("BUDGET_STATUS", "429").start();
    let refused = ask(&gateway, 20);
    assert_eq!(refused.status, 429);
    assert!(number(&refused, "retry-after") > 0);
    assert_eq!(refused.header("x-should-retry"), None);
}

#[test]
fn every_level_counts_and_is_named() {
    let fake = using(10, 20);
    let group = GroupRow { name: "team".into(), allowed_models: "[]".into(), is_enabled: true, ..GroupRow::default() };
    let member = CredentialRow { group_name: Some("team".into()), ..credential(KEY) };
    let setup = Setup::new().provider(priced("p", &fake)).group(group).credential(member).env("ADMIN_KEY", ADMIN);
    let setup =
        setup.budget(budget("wide", "credential", KEY, DOLLAR / 2)).budget(tokens("narrow", "group", "team", 200));
    let gateway = setup.start();
    assert_eq!(ask(&gateway, 20).status, 200);
    spent(&gateway, "wide", 0.05);
    spent(&gateway, "narrow", 30.0);
    let refused = ask(&gateway, 180);
    assert!(refused.text().contains("budget `narrow` of group `team` (200 tokens per month)"), "{}", refused.text());
    // What the other budget had reserved for it is free again: of 0.45 dollars, 0.36 and the
    // prompt.
    let response = ask(&gateway, 100);
    assert_eq!(response.status, 200, "{}", response.text());
    spent(&gateway, "wide", 0.1);
    spent(&gateway, "narrow", 60.0);
    nothing_is_reserved(&gateway, "wide");
    nothing_is_reserved(&gateway, "narrow");
}

#[test]
fn without_a_limit_the_affordable_one_is_sent() {
    let fake = using(10, 20);
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, DOLLAR)).start();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": null });
    let response = ask_with(&gateway, body);
    assert_eq!(response.status, 200, "{}", response.text());
    let cap = number(&response, "x-llm-proxy-max-tokens");
    let sent = fake.requests().remove(0);
    assert_eq!(sent.json()["max_tokens"], json!(cap), "{}", sent.text());
    assert!((300..500).contains(&cap), "a dollar is less than 500 tokens: {cap}");
}

#[test]
fn a_model_without_a_price_is_refused() {
    let fake = using(1, 1);
    let setup = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, DOLLAR));
    let gateway = setup.start();
    let body = json!({ "model": "free", "messages": [], "max_tokens": 1 });
    let refused = ask_with(&gateway, body);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused.text().contains("model `free` has no price, which budget `b` in dollars needs"),
        "{}",
        refused.text()
    );
}

#[test]
fn a_provider_whose_budget_is_used_up_is_no_candidate() {
    let (poor, rich) = (using(10, 20), using(10, 20));
    let setup = Setup::new().provider(priced("poor", &poor)).provider(priced("rich", &rich));
    let gateway = setup.budget(budget("p", "provider", "poor", DOLLAR / 10)).env("ADMIN_KEY", ADMIN).start();
    for _ in 0..8 {
        assert_eq!(ask(&gateway, 20).status, 200);
    }
    assert!(poor.requests().len() <= 2, "0.10 dollars are two requests: {}", poor.requests().len());
    assert_eq!(poor.requests().len() + rich.requests().len(), 8);
}

#[test]
fn tags_have_budgets() {
    let fake = using(10, 20);
    let setup = Setup::new().provider(priced("p", &fake)).budget(tokens("t", "tag", "batch", 100));
    let gateway = setup.env("ADMIN_KEY", ADMIN).start();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 90 }).to_string();
    let mut client = gateway.client();
    let mut ask = |tags: &str| {
        client.send(post(PATH).key(KEY).header("x-llm-proxy-tags", tags).body(&body).bytes());
        client.response().status
    };
    assert_eq!((ask("other"), ask("batch, other")), (200, 402), "the prompt and 90 tokens are too many");
}

/// A client that leaves, a provider that fails, a stream that breaks: nothing stays reserved, and
/// what was used is charged.
#[test]
fn every_way_out_settles() {
    let fake = Fake::start();
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, 15 * DOLLAR));
    let gateway = gateway.env("ADMIN_KEY", ADMIN).start();
    // 5000 tokens of a response are ten of the fifteen dollars.
    let ask =
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 5000 }).to_string();
    let request = || post(PATH).key(KEY).body(&ask).bytes();

    let mut client = gateway.client();
    client.send(request());
    let mut upstream = fake.accept();
    upstream.request();
    upstream.send(answer::json(500, "{}"));
    upstream.close();
    assert!(client.response().status >= 500);
    nothing_is_reserved(&gateway, "b");
    spent(&gateway, "b", 0.0);

    let mut client = gateway.client();
    client.send(request());
    let upstream = fake.accept();
    drop(client);
    eventually("the prompt is charged", || state(&gateway, "b")["spent"].as_f64().unwrap() > 0.0);
    drop(upstream);
    nothing_is_reserved(&gateway, "b");
    let left = state(&gateway, "b")["left"].as_f64().unwrap();
    assert!((14.0..15.0).contains(&left), "all but the prompt: {left}");
}

/// A request that is not affordable is served by the model that the budget names, if that is.
#[test]
fn a_budget_downgrades_to_a_model_that_costs_less() {
    let fake = using(10, 20);
    let mapping = r#"{"m":{"mapped_model":"big","input_cost_per_token":0.001,"output_cost_per_token":0.002},
                      "cheap":{"mapped_model":"small","input_cost_per_token":0.00001,"output_cost_per_token":0.00002}}"#;
    let row = BudgetRow { downgrade_to: Some("less".into()), ..budget("b", "credential", KEY, DOLLAR / 10) };
    let less = ModelRow {
        name: "less".into(),
        members: r#"[{"model":"cheap"}]"#.into(),
        overrides: "{}".into(),
        options: "{}".into(),
        is_enabled: true,
        ..ModelRow::default()
    };
    let strict = CredentialRow { allowed_models: r#"["m"]"#.into(), ..credential("sk-strict") };
    let of_strict = BudgetRow { name: "c".into(), subject: "sk-strict".into(), ..row.clone() };
    let setup = Setup::new().provider(ProviderRow { model_mapping: mapping.into(), ..priced("p", &fake) });
    let setup = setup.credential(credential(KEY)).credential(strict).model(less).budget(row).budget(of_strict);
    let gateway = setup.env("ADMIN_KEY", ADMIN).start();
    assert_eq!(ask(&gateway, 20).header("x-llm-proxy-downgraded-to"), None);
    let response = ask(&gateway, 1000);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-llm-proxy-downgraded-to"), Some("less"));
    assert_eq!(response.header("x-llm-proxy-budget"), Some("b"));
    let models: Vec<_> = fake.requests().iter().map(|request| request.json()["model"].clone()).collect();
    assert_eq!(models, [json!("big"), json!("small")]);
    // 0.05 dollars for the first, and by the price of the member 0.0005 for the second.
    spent(&gateway, "b", 0.0505);
    gateway.expect_metric("llm_proxy_budget_downgraded_total", 1.0);
    // Nothing is affordable: refused, for the model that was asked for.
    let refused = ask(&gateway, 1_000_000);
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert_eq!(refused.header("x-llm-proxy-downgraded-to"), None);
    // A key that may not use the other model.
    let mut client = gateway.client();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 1000 });
    client.send(post(PATH).key("sk-strict").body(body.to_string()).bytes());
    assert_eq!(client.response().status, 402);
}

/// A stream that breaks is charged for what came, and nothing stays reserved.
#[test]
fn a_stream_that_breaks_settles() {
    let fake = Fake::start();
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, 100 * DOLLAR));
    let gateway = gateway.env("ADMIN_KEY", ADMIN).start();
    let body = json!({
        "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 5000,
    });
    let mut client = gateway.client();
    client.send(post(PATH).key(KEY).body(body.to_string()).bytes());
    let mut upstream = fake.accept();
    upstream.request();
    let text = "one two three four five six seven eight nine ten ".repeat(10);
    let event = json!({ "id": "c", "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": { "content": text } }] });
    upstream.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {event}\n\n"));
    assert_eq!(client.head().status, 200);
    client.read_until("ten");
    upstream.reset();
    eventually("what came is charged", || state(&gateway, "b")["spent"].as_f64().unwrap() > 0.005);
    nothing_is_reserved(&gateway, "b");
    let left = state(&gateway, "b")["left"].as_f64().unwrap();
    assert!((98.0..100.0).contains(&left), "all but what came: {left}");
}

/// The sums are in the store: a restart loses nothing.
#[test]
fn sums_survive_a_restart() {
    keep_the_hour();
    let fake = using(10, 20);
    let db = Db::new();
    let store = db.store();
    store.add_provider(&priced("p", &fake)).unwrap();
    store.create_credential(&credential(KEY)).unwrap();
    store.add_budget(&budget("b", "credential", KEY, DOLLAR / 10)).unwrap();
    let start = || Setup::new().no_credentials().env("DB_URL", db.url()).env("ADMIN_KEY", ADMIN).start();
    let mut gateway = start();
    assert_eq!(ask(&gateway, 20).status, 200);
    gateway.term();
    gateway.wait();
    let gateway = start();
    assert_eq!(state(&gateway, "b")["spent"], json!(0.05));
    assert_eq!(ask(&gateway, 40).status, 402);
    eventually("what is left can be spent", || ask(&gateway, 5).status == 200);
}

/// A model whose requests cost 0.002 dollars and reserve no more than twice that.
pub(super) fn cheap(fake: &Fake) -> ProviderRow {
    let mapping = r#"{"m":{"mapped_model":"m","input_cost_per_token":0.00001,"output_cost_per_token":0.00019}}"#;
    ProviderRow { model_mapping: mapping.into(), ..priced("p", fake) }
}

/// 64 clients spend the dollar of budget `b` on two gateways with [`cheap`].
///
/// Slices come back from the other gateway in their time, so that clients are patient until 97 per
/// cent are spent. From then on each gives up when it is refused ten times in a row.
pub(super) fn spend_a_dollar(nodes: &[Gateway; 2]) {
    const LEAST: u64 = 485;
    let admitted = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..64 {
            let (gateway, admitted) = (&nodes[n % 2], &admitted);
            scope.spawn(move || {
                let mut refusals = 0;
                let is_patient = || admitted.load(Ordering::Relaxed) < LEAST && started.elapsed() < HANG;
                while refusals < 10 || is_patient() {
                    match ask(gateway, 10).status {
                        200 => {
                            admitted.fetch_add(1, Ordering::Relaxed);
                            refusals = 0;
                        }
                        402 => {
                            std::thread::sleep(Duration::from_millis(20));
                            refusals += 1;
                        }
                        other => panic!("status {other}"),
                    }
                }
            });
        }
    });
    let admitted = admitted.into_inner();
    println!("{admitted} requests of 0.002 dollars");
    assert!(admitted <= 500, "{admitted}");
    assert!(admitted >= LEAST, "97 per cent of a dollar: {admitted}");
    spent(&nodes[0], "b", admitted as f64 * 0.002);
}

/// Two gateways on one database.
#[test]
fn many_clients_on_two_gateways_spend_a_dollar_and_no_more() {
    keep_the_hour();
    let fake = using(10, 10);
    let db = Db::new();
    let store: Blocking = db.store();
    store.add_provider(&cheap(&fake)).unwrap();
    store.create_credential(&credential(KEY)).unwrap();
    store.add_budget(&budget("b", "credential", KEY, DOLLAR)).unwrap();
    let start = || Setup::new().no_credentials().env("DB_URL", db.url()).env("ADMIN_KEY", ADMIN).workers(2).start();
    spend_a_dollar(&[start(), start()]);
}
