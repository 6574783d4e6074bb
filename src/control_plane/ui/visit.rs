//! What a page is made from: the request for it, and what the admin interface answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::shared::admin::{Area, Request, Response, Role};

/// The response of the admin API.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;
/// Serves a request to the admin API.
pub(crate) type Read = dyn Fn(Request) -> Answer + Send + Sync;

/// One request for a page.
pub(super) struct Visit<'a> {
    read: &'a Read,
    request: Request,
    /// `/config/status`.
    pub status: Value,
    /// The address of the gateway as the browser reaches it.
    pub address: String,
}

/// An answer of the admin interface, or why there is none.
pub(super) type Fetched<T> = Result<T, Refused>;

/// An error of the admin interface. It is shown by its message.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: u16,
    message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl<'a> Visit<'a> {
    pub(super) async fn begin(read: &'a Read, request: Request, scheme: &str) -> Visit<'a> {
        let host = request.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        let address = format!("{scheme}://{host}");
        let mut visit = Visit { read, request, status: Value::Null, address };
        visit.status = visit.get("/config/status", &[]).await.unwrap_or_default();
        visit
    }

    /// Returns the segments of the path behind `/ui`.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.request.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// Returns a parameter of the page's own query; empty without one.
    pub(super) fn query(&self, name: &str) -> String {
        let pairs = self.request.query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(key, _)| *key == name);
        let text = found.map(|(_, value)| value.replace('+', " ")).unwrap_or_default();
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    }

    /// Reads from the admin interface.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Fetched<Value> {
        self.read(reading(&self.request, path, encode(query))).await
    }

    /// Asks a question that the admin interface takes as a POST, and that changes nothing.
    pub(super) async fn ask(&self, path: &str, question: &Value) -> Fetched<Value> {
        let body = question.to_string().into_bytes();
        self.read(Request { method: "POST", body, ..reading(&self.request, path, String::new()) }).await
    }

    async fn read(&self, request: Request) -> Fetched<Value> {
        let response = (self.read)(request).await;
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if response.status < 400 {
            return Ok(body);
        }
        let message = body["error"]["message"].as_str().unwrap_or("the admin interface gave no reason").to_owned();
        Err(Refused { status: response.status, message })
    }

    /// Returns why nothing can be changed by this visitor. `None` if it can.
    pub(super) fn read_only(&self) -> Option<String> {
        if let Some(reason) = self.status["read_only"].as_str() {
            return Some(reason.to_owned());
        }
        (self.request.role == Role::Reader)
            .then(|| "you have signed in with the read-only key; changes need ADMIN_KEY".to_owned())
    }

    pub(super) fn is_reader(&self) -> bool {
        self.request.role == Role::Reader
    }
}

/// Returns a query string of these pairs, without those whose value is empty.
pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
    let set = pairs.iter().filter(|(_, value)| !value.is_empty());
    let encoded = set.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    encoded.collect::<Vec<_>>().join("&")
}

/// Returns the text of a field; empty where there is none.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Returns the items of a list; none where there is no list.
pub(super) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns the number of a field, 0 where there is none.
pub(super) fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_default()
}

/// Returns the number of a field with its decimals, 0 where there is none.
pub(super) fn decimal(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_default()
}

/// Returns a request of the page to the admin interface, as its visitor.
fn reading(visitor: &Request, path: &str, query: String) -> Request {
    Request {
        area: Area::Api,
        method: "GET",
        path: path.to_owned(),
        query,
        accept: None,
        if_match: None,
        idempotency_key: None,
        body: Vec::new(),
        ..visitor.clone()
    }
}
