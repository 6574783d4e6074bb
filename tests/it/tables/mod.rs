//! What the store keeps beside the configuration, through the front door and on either store: logs
//! of requests and failures, prices; and what is told of the health of the gateway and its
//! providers.

mod cost;
mod health;
mod logs;
mod outages;
mod spend;

use llm_proxy::config::rows::ProviderRow;
use serde_json::Value;

use crate::support::postgres::Db;
use crate::support::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// Where rows are kept.
struct Place(Option<Db>);

impl Place {
    /// A gateway with these providers, and the credential of [`KEY`].
    fn with(&self, providers: Vec<ProviderRow>) -> Setup {
        let setup = match &self.0 {
            None => providers.into_iter().fold(Setup::new(), Setup::provider),
            Some(db) => {
                let store = db.store();
                providers.iter().for_each(|row| {
                    store.add_provider(row).unwrap();
                });
                store.create_credential(&credential(KEY)).unwrap();
                Setup::new().no_credentials().env("DB_URL", db.url())
            }
        };
        setup.env("ADMIN_KEY", ADMIN_KEY)
    }
}

/// Runs a test on the embedded store, and on PostgreSQL.
fn on_either(test: impl Fn(&Place)) {
    test(&Place(None));
    test(&Place(Some(Db::new())));
}

/// Path behind `/admin/v1`.
fn admin(gateway: &Gateway, method: &str, path: &str, body: Value) -> Response {
    let request = get(&format!("/admin/v1{path}")).method(method).key(ADMIN_KEY);
    let mut client = gateway.client();
    client.ask(&if body.is_null() { request } else { request.body(body.to_string()) });
    client.response()
}

fn read(gateway: &Gateway, path: &str) -> Value {
    let response = admin(gateway, "GET", path, Value::Null);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json()
}

/// The list at `path`, oldest first, when it has so many rows.
fn items(gateway: &Gateway, path: &str, count: usize) -> Vec<Value> {
    let mut seen = Value::Null;
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{separator}sort_order=asc");
    eventually(&format!("{count} rows in {path}"), || {
        seen = read(gateway, &path);
        seen["total"] == count
    });
    seen["items"].as_array().unwrap().clone()
}

/// Asks, and gives the answer and its request id.
fn ask(gateway: &Gateway, request: &Outgoing) -> (Response, String) {
    let mut client = gateway.client();
    client.ask(request);
    let response = client.response();
    let id = response.header("x-request-id").unwrap().to_owned();
    (response, id)
}

fn chat_request(model: &str) -> Outgoing {
    post("/v1/chat/completions").body(format!(r#"{{"model":"{model}","messages":[]}}"#))
}

const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#;

/// Streams, refuses and answers, by the model.
fn scripted() -> Fake {
    Fake::answering(|request| {
        let body = request.json();
        match body["model"].as_str() {
            _ if body["stream"] == true => answer::sse(&[
                "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
                "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
                "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n",
                "data: [DONE]\n\n",
            ]),
            Some("bad") => answer::json(400, r#"{"error":{"message":"no such thing","type":"invalid_request_error"}}"#),
            Some("busy") => answer::json(429, r#"{"error":{"message":"slow down"}}"#),
            Some("broken") => answer::json(500, r#"{"error":{"message":"broken"}}"#),
            _ => answer::json(200, ANSWER),
        }
    })
}
