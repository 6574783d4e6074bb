//! Responses that providers keep go to the account that has issued them: `previous_response_id`,
//! and `/v1/responses/{id}` with what is below it.

use llm_proxy::config::rows::GroupRow;
use serde_json::{Value, json};

use super::*;

const RESPONSES: &str = sample::RESPONSES.path;

/// A provider that keeps its responses, whose ids are `resp_NAME_1` and so on. It knows no others.
fn keeping(name: &'static str) -> Fake {
    let count = std::sync::atomic::AtomicU64::new(0);
    Fake::answering(move |request| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let knows = |id: &str| id.starts_with(&format!("resp_{name}_"));
        if let Some(stored) = path.strip_prefix("/v1/responses/") {
            let id = stored.split('/').next().unwrap();
            let asked = format!("{} {stored}", request.method);
            return match knows(id) {
                true => answer::json(200, json!({ "id": id, "by": name, "asked": asked, "query": query }).to_string()),
                false => {
                    answer::json(404, json!({ "error": { "message": format!("{name} has no {id}") } }).to_string())
                }
            };
        }
        let body = request.json();
        if let Some(previous) = body["previous_response_id"].as_str()
            && !knows(previous)
        {
            let code = "previous_response_not_found";
            let error = json!({ "message": "m", "code": code, "param": "previous_response_id" });
            return answer::json(400, json!({ "error": error }).to_string());
        }
        let id = format!("resp_{name}_{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let response = json!({ "id": id, "object": "response", "status": "completed", "by": name, "output": [] });
        if body["stream"] != true {
            return answer::json(200, response.to_string());
        }
        let event = |kind: &str, data: Value| format!("event: {kind}\ndata: {data}\n\n");
        answer::sse(&[
            event("response.created", json!({ "type": "response.created", "response": response })),
            event(
                "response.output_text.delta",
                json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "x" }),
            ),
            event("response.completed", json!({ "type": "response.completed", "response": response })),
        ])
    })
}

fn serving(name: &str, fake: &Fake) -> ProviderRow {
    provider(name, "responses", &fake.url("/v1"))
}

fn two() -> ([Fake; 2], Setup) {
    let fakes = [keeping("a"), keeping("b")];
    let setup = Setup::new().provider(serving("a", &fakes[0])).provider(serving("b", &fakes[1]));
    (fakes, setup)
}

/// Asks for a response, and returns its id.
fn create(client: &mut Client, key: &str, more: &Value) -> String {
    let response = continued(client, key, more);
    assert_eq!(response.status, 200, "{}", response.text());
    let text = response.text();
    let at = text.find("resp_").unwrap();
    text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn continued(client: &mut Client, key: &str, more: &Value) -> Response {
    let mut body = json!({ "model": "m", "input": "hi" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.ask(&post(RESPONSES).key(key).body(body.to_string()));
    client.response()
}

fn stored(client: &mut Client, method: &str, path: &str, key: &str) -> Response {
    client.ask(&get(&format!("/v1/responses/{path}")).method(method).key(key));
    client.response()
}

/// Whatever its turn, each request that continues a response is sent once, to its issuer.
#[test]
fn a_response_is_continued_by_its_issuer() {
    for stream in [false, true] {
        let (fakes, setup) = two();
        let gateway = setup.workers(2).start();
        let mut latest = [create(&mut gateway.client(), KEY, &json!({ "stream": stream })), String::new()];
        latest[1] = create(&mut gateway.client(), KEY, &json!({ "stream": stream }));
        for turn in 0..24 {
            // Each turn on a connection of its own, which any worker may accept.
            let previous = latest[turn % 3 % 2].clone();
            let more = json!({ "previous_response_id": previous, "stream": stream });
            let id = create(&mut gateway.client(), KEY, &more);
            assert_eq!(id[..6], previous[..6], "{id} continues {previous}");
            latest[turn % 3 % 2] = id;
        }
        assert_eq!(fakes.iter().map(|fake| fake.requests().len()).sum::<usize>(), 26);
        gateway.expect_metric("llm_proxy_issuer_known_requests_total", 24.0);
    }
}

#[test]
fn a_stored_response_is_read_and_removed_at_its_issuer() {
    let (fakes, setup) = two();
    let gateway = setup.start();
    let mut client = gateway.client();
    for n in 0..4 {
        let id = create(&mut client, KEY, &json!({}));
        let rows = [
            ("GET", id.clone(), ""),
            ("GET", format!("{id}?stream=true&starting_after=4"), "stream=true&starting_after=4"),
            ("GET", format!("{id}/input_items?limit=2"), "limit=2"),
            ("POST", format!("{id}/cancel"), ""),
            ("DELETE", id.clone(), ""),
        ];
        for (method, path, query) in &rows {
            let response = stored(&mut client, method, path, KEY);
            let body = response.json();
            let asked = format!("{method} {}", path.split('?').next().unwrap());
            assert_eq!((response.status, &body["asked"], &body["query"]), (200, &json!(asked), &json!(query)), "{n}");
            assert_eq!((&body["id"], response.header("x-llm-proxy-attempts")), (&json!(id), Some("1")));
            assert_eq!(response.header("x-llm-proxy-provider"), Some(id.split('_').nth(1).unwrap()));
        }
    }
    for request in fakes.iter().flat_map(Fake::requests) {
        assert_eq!(request.header("authorization"), Some("Bearer pk-upstream"));
        let has_length = request.header("content-length").is_some();
        assert_eq!(has_length, request.method == "POST", "{} {}", request.method, request.target);
    }
    let series = r#"llm_proxy_requests_total{method="DELETE",endpoint="/v1/responses/{id}""#;
    client.ask(&get("/metrics"));
    assert!(client.response().text().contains(series));
}

/// A gateway that has just started asks one account after the other, and remembers who knew.
#[test]
fn an_unknown_id_is_asked_for_in_turn() {
    let fakes = ["a", "b", "c", "d", "e"].map(keeping);
    let names = ["a", "b", "c", "d", "e"];
    let setup = names.iter().zip(&fakes).fold(Setup::new(), |setup, (name, fake)| setup.provider(serving(name, fake)));
    // More accounts than attempts of another request.
    let gateway = setup.env("MAX_ATTEMPTS", 3).start();
    let mut client = gateway.client();
    for name in names {
        let id = format!("resp_{name}_0");
        assert_eq!(stored(&mut client, "GET", &id, KEY).json()["by"], json!(name));
        let again = stored(&mut client, "GET", &id, KEY);
        assert_eq!((&again.json()["by"], again.header("x-llm-proxy-attempts")), (&json!(name), Some("1")));
    }
    gateway.expect_metric("llm_proxy_issuer_unknown_requests_total", 5.0);
    let nobody = stored(&mut client, "GET", "resp_z_0", KEY);
    assert_eq!((nobody.status, nobody.header("x-llm-proxy-attempts")), (404, Some("5")));
    assert!(nobody.text().contains("has no resp_z_0"), "{}", nobody.text());
}

/// The same for a response that is continued: the refusal of one account is no answer.
#[test]
fn an_unknown_response_is_continued_by_the_account_that_knows_it() {
    let (fakes, setup) = two();
    let gateway = setup.start();
    let mut client = gateway.client();
    for name in ["b", "a", "b", "a"] {
        let id = create(&mut client, KEY, &json!({ "previous_response_id": format!("resp_{name}_77") }));
        assert!(id.starts_with(&format!("resp_{name}_")), "{id}");
    }
    // At most one account was asked in vain for each of the two.
    let asked: usize = fakes.iter().map(|fake| fake.requests().len()).sum();
    assert!((4..=6).contains(&asked), "{asked}");
    let refused = continued(&mut client, KEY, &json!({ "previous_response_id": "resp_z_1" }));
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
}

/// That one account does not know an id says nothing while another can't be asked.
#[test]
fn a_404_is_no_answer_while_another_account_is_down() {
    let (down, knows) = (Fake::answering(|_| answer::json(503, r#"{"error":{"message":"down"}}"#)), keeping("a"));
    let gateway = Setup::new().provider(serving("down", &down)).provider(serving("a", &knows)).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(stored(&mut client, "GET", "resp_z_1", KEY).status, 503);
    }
    assert_eq!(stored(&mut client, "GET", "resp_a_1", KEY).status, 200);
}

/// The issuer alone can serve what names its responses: if it is out of order, nobody else is
/// asked.
#[test]
fn nobody_else_is_asked_for_what_an_issuer_keeps() {
    let issuer = Fake::answering(|request| match request.body.windows(8).any(|part| part == b"previous") {
        true => answer::json(500, r#"{"error":{"message":"out of order"}}"#),
        false => answer::json(200, r#"{"id":"resp_x_1","object":"response","output":[]}"#),
    });
    let other = keeping("b");
    let standby = ProviderRow { provider_params: r#"{"priority":1}"#.into(), ..serving("b", &other) };
    let gateway = Setup::new().provider(serving("x", &issuer)).provider(standby).start();
    let mut client = gateway.client();
    create(&mut client, KEY, &json!({}));
    let failed = continued(&mut client, KEY, &json!({ "previous_response_id": "resp_x_1" }));
    assert_eq!(failed.status, 500, "{}", failed.text());
    assert!(failed.text().contains("out of order"));
    assert_eq!(other.requests().len(), 0);
}

/// For every other credential the response does not exist, save for those of the same group.
#[test]
fn a_response_belongs_to_its_credential_and_group() {
    let (fakes, setup) = two();
    let team = GroupRow { name: "team".into(), allowed_models: "[]".into(), is_enabled: true, ..GroupRow::default() };
    let member = |key: &str| CredentialRow { group_name: Some("team".into()), ..credential(key) };
    let setup = setup.group(team).credential(member("sk-one")).credential(member("sk-two"));
    let gateway = setup.credential(credential(KEY)).credential(credential("sk-other")).start();
    let mut client = gateway.client();
    let (own, of_team) = (create(&mut client, KEY, &json!({})), create(&mut client, "sk-one", &json!({})));
    let before: usize = fakes.iter().map(|fake| fake.requests().len()).sum();
    for (id, key) in [(&own, "sk-other"), (&own, "sk-one"), (&of_team, KEY)] {
        for (method, path) in [("GET", id.clone()), ("DELETE", id.clone()), ("POST", format!("{id}/cancel"))] {
            let refused = stored(&mut client, method, &path, key);
            let text = format!("Response with id '{id}' not found.");
            assert_eq!((refused.status, &refused.json()["error"]["message"]), (404, &json!(text)));
        }
        let refused = continued(&mut client, key, &json!({ "previous_response_id": id }));
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
    }
    assert_eq!(fakes.iter().map(|fake| fake.requests().len()).sum::<usize>(), before, "nothing was sent");
    gateway.expect_metric("llm_proxy_issuer_forbidden_requests_total", 12.0);
    assert_eq!(stored(&mut client, "GET", &own, KEY).status, 200);
    assert_eq!(stored(&mut client, "GET", &of_team, "sk-two").status, 200);
    create(&mut client, "sk-two", &json!({ "previous_response_id": of_team }));
}

#[test]
fn what_is_not_stored_is_not_remembered() {
    let (_fakes, setup) = two();
    let gateway = setup.start();
    let mut client = gateway.client();
    for (more, unknown) in [(json!({ "store": false }), 1.0), (json!({ "store": true }), 1.0), (json!({}), 1.0)] {
        let id = create(&mut client, KEY, &more);
        assert_eq!(stored(&mut client, "GET", &id, KEY).status, 200);
        gateway.expect_metric("llm_proxy_issuer_unknown_requests_total", unknown);
    }
}

#[test]
fn refusals_are_in_the_format_of_the_path() {
    let (_fakes, setup) = two();
    let gateway = setup.start();
    let mut client = gateway.client();
    let rows = [
        ("PUT", "resp_1", "/v1/responses/{id} takes GET, DELETE only", "GET, DELETE, OPTIONS"),
        ("POST", "resp_1/input_items", "/v1/responses/{id}/input_items takes GET only", "GET, OPTIONS"),
        ("GET", "resp_1/cancel", "/v1/responses/{id}/cancel takes POST only", "POST, OPTIONS"),
    ];
    for (method, path, message, allow) in rows {
        let refused = stored(&mut client, method, path, KEY);
        assert_eq!((refused.status, &refused.json()["error"]["message"]), (405, &json!(message)));
        assert_eq!(refused.header("allow"), Some(allow));
    }
    assert_eq!(stored(&mut client, "GET", "resp_1", "sk-wrong").status, 401);

    let fake = named("chat");
    let gateway = Setup::new().provider(chat(&fake)).start();
    let refused = stored(&mut gateway.client(), "GET", "resp_1", KEY);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!("not_supported")));
    assert_eq!(fake.requests().len(), 0);
}
