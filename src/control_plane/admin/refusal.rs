//! The refusals of the admin API, and their responses.

use crate::control_plane::store::{Error, Fault};
use crate::shared::admin::{Response, error_body};

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
}

impl Refusal {
    /// Makes a refusal with this status and code.
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), param: None }
    }

    /// Makes a 400. `param` is the field that is not valid.
    pub(crate) fn invalid(message: impl Into<String>, param: Option<String>) -> Refusal {
        Refusal { param, ..Refusal::new(400, "invalid_request", message) }
    }

    /// Makes a 404 for an object that does not exist. `what` is its kind.
    pub(crate) fn missing(what: &str, id: i64) -> Refusal {
        Refusal::new(404, "not_found", format!("there is no {what} with id {id}"))
    }

    /// Returns the refusal as a response.
    pub(crate) fn answer(self) -> Response {
        let kind = if self.status < 500 { "invalid_request_error" } else { "server_error" };
        let body = error_body(&self.message, kind, self.code, self.param.as_deref());
        Response { status: self.status, body, ..Response::default() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let (status, code) = match error.fault {
            Fault::Conflict => (409, "conflict"),
            Fault::ReadOnly => (409, "read_only"),
            Fault::Stale => (412, "precondition_failed"),
            Fault::NotFound => (404, "not_found"),
            Fault::Reused => (422, "idempotency_key_reused"),
            Fault::Invalid => (400, "invalid_request"),
            Fault::Version | Fault::Unavailable => (503, "store_unavailable"),
        };
        Refusal::new(status, code, error.message)
    }
}
