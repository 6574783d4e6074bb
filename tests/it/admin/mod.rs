//! The admin interface of the real binary.

mod access;
mod budgets;
mod credentials;
mod documents;
mod groups;
mod health;
mod live;
mod page;
mod providers;
mod remote;
mod secrets;
mod transcript;

use serde_json::{Value, json};

use crate::support::*;

pub const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// A gateway with an admin key, and nothing in its store.
fn empty() -> Setup {
    Setup::new().no_credentials().env("ADMIN_KEY", ADMIN_KEY)
}

/// One who has the admin key.
struct Admin(Client);

impl Admin {
    fn of(gateway: &Gateway) -> Admin {
        Admin(gateway.client())
    }

    fn ask(&mut self, request: &Outgoing) -> Response {
        self.0.ask(request);
        self.0.response()
    }

    /// Path behind `/admin/v1`.
    fn call(&mut self, method: &str, path: &str, body: Value) -> Response {
        let request = request(method, path);
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        self.ask(&request)
    }

    /// The body of an answer of this status.
    fn expect(&mut self, status: u16, method: &str, path: &str, body: Value) -> Value {
        let response = self.call(method, path, body);
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
        if status == 204 { Value::Null } else { response.json() }
    }

    fn get(&mut self, path: &str) -> Value {
        self.expect(200, "GET", path, Value::Null)
    }
}

fn request(method: &str, path: &str) -> Outgoing {
    with_authorization(method, path, &format!("Bearer {ADMIN_KEY}"))
}

fn with_authorization(method: &str, path: &str, authorization: &str) -> Outgoing {
    get(&format!("/admin/v1{path}")).method(method).header("authorization", authorization)
}

/// A body that makes a provider at a base where nobody listens.
fn new_provider(key: &str) -> Value {
    json!({ "provider_key": key, "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-upstream" })
}

/// Both forms of an error say the same.
fn error(response: &Response) -> (u16, String) {
    let body = response.json();
    let message = body["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!(body["detail"], message.as_str());
    (response.status, message)
}
