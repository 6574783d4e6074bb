//! What the gateway reads of a request's head before anything else. Found once for heads that
//! repeat on a connection.

use std::time::Duration;

use super::auth;
use super::deadlines;
use super::endpoint::{self, ApiRoute};
use super::headers;
use crate::config::snapshot::KeyHash;
use crate::route::affinity::ConversationKey;
use crate::telemetry::record::Short;
use crate::telemetry::trace::Parent;
use crate::telemetry::user_agent::UserAgent;
use llm_http::RequestHead;
use llm_wire::Format;

/// What the stages of a request read of its head. It depends on the bytes of the head alone, so it
/// can be kept for the next equal head; the credential of a key and the providers of a model are
/// looked up for each request.
#[derive(Debug, Clone, Copy)]
pub struct HeadFacts {
    /// The client's id of the request, if it sent a well-formed one.
    pub request_id: Option<Short<64>>,
    pub trace_parent: Option<Parent>,
    pub user_agent: UserAgent,
    /// The format in which the client gets errors.
    pub error_format: Format,
    /// Whether the client is a page in a browser.
    pub has_origin: bool,
    /// `None` for the paths that the gateway serves itself.
    pub route: Option<ApiRoute>,
    /// The hash of the client's key. `None` without a key, and without a route.
    pub key_hash: Option<KeyHash>,
    /// The conversation that the client's headers name. `None` without a route.
    pub session: Option<ConversationKey>,
    /// Whether the body is a form with parts.
    pub is_multipart: bool,
    /// Whether the request has tags.
    pub has_tags: bool,
    /// The time that the client gives its request.
    pub client_limit: Option<Duration>,
    /// Whether one of the headers that may have a key stands twice, which [`auth::key`] refuses.
    pub has_two_keys: bool,
}

impl HeadFacts {
    /// Reads the facts from a head. `bytes` is the buffer that its offsets refer to.
    pub fn of(head: &RequestHead, bytes: &[u8]) -> HeadFacts {
        let path = head.path(bytes);
        let get = |name: &str| head.get(bytes, name);
        let request_id = get("x-request-id").filter(|id| headers::is_request_id(id));
        let route = endpoint::api_route(&String::from_utf8_lossy(path));
        let path = std::str::from_utf8(path).unwrap_or("/");
        let key = if route.is_some() { auth::key(head, bytes) } else { Ok(None) };
        HeadFacts {
            request_id: request_id.map(|id| Short::new(std::str::from_utf8(id).unwrap_or_default())),
            trace_parent: get("traceparent").and_then(Parent::parse),
            user_agent: UserAgent::of(get("user-agent").unwrap_or_default()),
            error_format: endpoint::error_format(path, get("anthropic-version").is_some()),
            has_origin: get("origin").is_some(),
            route,
            key_hash: key.as_ref().ok().and_then(|key| auth::hash((*key)?)),
            session: route.and_then(|_| ConversationKey::of_session(head.fields(bytes))),
            is_multipart: get("content-type").is_some_and(|kind| kind.starts_with(b"multipart/")),
            has_tags: get("x-llm-proxy-tags").is_some(),
            client_limit: deadlines::of_client(head, bytes),
            has_two_keys: key.is_err(),
        }
    }
}
