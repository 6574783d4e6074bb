//! Why a stage ends without a response: the one error channel of the request path.

use super::client::ClientDisconnected;
use super::retry_hint::RetryHint;
use crate::breaker::attribution::Fault;
use llm_http::ResponseHead;
use llm_wire::error::{Error, Side};
use llm_wire::request::retry_without::RetryWithout;

/// Ends a stage early. Every stage returns it as its error, and its caller passes it on with `?`.
pub enum Interrupt {
    /// The client closed its connection or stopped taking bytes: there is nobody to respond to.
    ClientDisconnected,
    /// The stage failed before anything was sent to the client.
    Failed(Box<Failure>),
}

/// A failure of which the client knows nothing yet.
pub struct Failure {
    pub error: Error,
    /// The provider's own error response, if it sent one that could be read.
    pub response: Option<BufferedResponse>,
    /// Whether the next candidate may succeed.
    pub try_next: bool,
    /// Whether the provider, which got the request because it serves every name, does not have the
    /// model.
    pub lacks_model: bool,
    /// What to leave out when the same provider is tried again.
    pub retry_without: RetryWithout,
    /// Whether the failure may be that of a pooled connection that the server had closed.
    pub stale_connection: bool,
    /// The status of the provider's response, if it sent one.
    pub status: Option<u16>,
    /// What that response says about another try.
    pub hint: RetryHint,
}

impl Failure {
    /// Returns whose fault it is.
    pub fn fault(&self) -> Fault {
        match (self.lacks_model, Fault::of(self.error.side, self.error.kind, self.status)) {
            (true, _) => Fault::ModelMissing,
            // A 404 may also be about a file or another object that the request names.
            (false, Fault::ModelMissing) => Fault::Request,
            (false, fault) => fault,
        }
    }

    /// Returns the failure that the client should learn of.
    ///
    /// A provider's own response says more than an error about a connection that could not be made,
    /// and an error of the request more than an error of a provider. That a provider of every name
    /// does not have this one says least.
    pub fn more_useful(self: Box<Failure>, later: Box<Failure>) -> Box<Failure> {
        let is_useful = |failure: &Failure| failure.response.is_some() || failure.error.side == Side::Client;
        if later.lacks_model {
            return self;
        }
        // Of several accounts that are at their limits, the first that is free again decides when
        // the client may come back.
        if let (Some(ours), Some(theirs)) = (self.rate_limited_ms(), later.rate_limited_ms()) {
            return if ours <= theirs { self } else { later };
        }
        if is_useful(&self) && !is_useful(&later) { self } else { later }
    }
}

impl Failure {
    /// Returns after how many milliseconds a provider takes requests again. `None` if its response
    /// is no 429; the longest time if it does not say.
    pub fn rate_limited_ms(&self) -> Option<u64> {
        let response = self.response.as_ref().filter(|response| response.head.status == 429)?;
        let field = |name: &str| std::str::from_utf8(response.head.get(&response.head_bytes, name)?).ok();
        let ms = field("retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok());
        let seconds = || field("retry-after").and_then(|text| text.trim().parse::<f64>().ok());
        let ms = ms.or_else(|| seconds().map(|seconds| seconds * 1000.0));
        Some(ms.filter(|ms| *ms >= 0.0).map_or(u64::MAX, |ms| ms as u64))
    }
}

/// A provider's error response, read whole and kept until no other candidate is left.
pub struct BufferedResponse {
    pub head: ResponseHead,
    /// The bytes that the offsets of `head` refer to.
    pub head_bytes: Vec<u8>,
    pub body: Vec<u8>,
    /// Whether the provider speaks another format than the client. If so, the client gets the error
    /// in its own format instead of these bytes.
    pub is_translated: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            try_next: error.retryable(),
            error,
            response: None,
            lacks_model: false,
            retry_without: RetryWithout::Nothing,
            stale_connection: false,
            status: None,
            hint: RetryHint::default(),
        }
    }
}

impl From<Failure> for Interrupt {
    fn from(failure: Failure) -> Interrupt {
        Interrupt::Failed(Box::new(failure))
    }
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Interrupt {
        Failure::from(error).into()
    }
}

impl From<ClientDisconnected> for Interrupt {
    fn from(ClientDisconnected: ClientDisconnected) -> Interrupt {
        Interrupt::ClientDisconnected
    }
}
