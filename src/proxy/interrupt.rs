//! Why a stage ends without a response: the one error channel of the request path.

use std::borrow::Cow;

use super::client::ClientDisconnected;
use super::reply::Upstream;
use super::retry_hint::RetryHint;
use super::stream_rest::StreamRest;
use crate::breaker::attribution::Fault;
use crate::config::snapshot::Provider;
use llm_http::ResponseHead;
use llm_wire::error::{Error, Kind, Side};
use llm_wire::request::retry_without::RetryWithout;

/// Ends a stage early. Every stage returns it as its error, and its caller passes it on with `?`.
pub enum Interrupt {
    /// The client closed its connection or stopped taking bytes: there is nobody to respond to.
    ClientDisconnected,
    /// The stage failed before anything was sent to the client.
    Failed(Box<Failure>),
}

/// A failure of which the client knows nothing yet. It may have a part of a stream that another
/// provider can go on with.
pub struct Failure {
    pub error: Error,
    /// The provider's own error response, if it sent one that could be read.
    pub response: Option<BufferedResponse>,
    /// Whether the next candidate may succeed.
    pub try_next: bool,
    /// Whether the provider, which got the request because it serves every name, does not have the
    /// model.
    pub lacks_model: bool,
    /// Whether the provider does not keep the response that the request names.
    pub lacks_response: bool,
    /// How another provider can go on, if the stream broke off behind its first content. The client
    /// has everything up to there.
    pub rest: Option<StreamRest>,
    /// What to leave out when the same provider is tried again.
    pub retry_without: RetryWithout,
    /// Whether the failure may be that of a pooled connection that the server had closed.
    pub stale_connection: bool,
    /// The status of the provider's response, if it sent one.
    pub status: Option<u16>,
    /// What that response says about another try.
    pub hint: RetryHint,
    /// Who failed, for the headers that name the provider.
    pub upstream: Option<Upstream>,
    /// The tokens that fit in the model that was asked; 0 if that is unknown.
    pub context_window: u64,
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

    /// Overwrites the provider's keys in what the client and the log would get of the failure.
    pub fn hide_keys(&mut self, provider: &Provider) {
        hide_keys(&mut self.error, provider);
        if let Some(response) = &mut self.response {
            provider.hide_keys(&mut response.body);
        }
    }

    /// Returns the failure that the client should learn of: the one of the higher
    /// [`Failure::usefulness`]. Of several accounts that are at their limits, the first that is
    /// free again decides when the client may come back. A request that is too long for one member
    /// of a virtual model may fit in another that is known to be longer, whose failure counts if it
    /// passes or is of the same kind. Of equals the earlier counts: it is that of the provider that comes first in the
    /// order.
    pub fn more_useful(self: Box<Failure>, later: Box<Failure>) -> Box<Failure> {
        let is_wider = |of: &Failure, than: &Failure| {
            than.fault() == Fault::ContextLength
                && than.context_window > 0
                && of.context_window > than.context_window
                && (of.fault() == Fault::ContextLength || of.fault().passes())
        };
        if is_wider(&self, &later) {
            return self;
        }
        if is_wider(&later, &self) {
            return later;
        }
        if let (Some(ours), Some(theirs)) = (self.rate_limited_ms(), later.rate_limited_ms()) {
            return if ours <= theirs { self } else { later };
        }
        if self.usefulness() >= later.usefulness() { self } else { later }
    }

    /// Ranks failures by what a client can do with them.
    fn usefulness(&self) -> u8 {
        if self.lacks_model || self.lacks_response {
            return 0;
        }
        match (self.fault(), self.is_reported()) {
            (Fault::ContextLength | Fault::ContentFilter | Fault::Request, _) => 7,
            _ if self.error.side == Side::Client => 7,
            // It says when to come back.
            (Fault::Throttled, true) => 6,
            // The operator's business, which does not pass by itself.
            (Fault::KeyRefused | Fault::Quota, false) => 3,
            (Fault::Quota, true) => 4,
            (_, true) => 5,
            (_, false) if self.status.is_some() => 3,
            (Fault::Connect, false) => 1,
            (_, false) => 2,
        }
    }

    /// Returns whether the provider itself said what is wrong: in an error response that could be
    /// read, or in the place of an answer or of its events, under status 200.
    fn is_reported(&self) -> bool {
        let is_in_body = self.status.is_none() && self.error.quoted && self.fault() != Fault::KeyRefused;
        self.response.is_some() || is_in_body
    }

    /// Returns after how many milliseconds a provider takes requests again. `None` if it did not
    /// report that a limit is used up; the longest time if it does not say.
    fn rate_limited_ms(&self) -> Option<u64> {
        if !self.is_reported() || self.fault() != Fault::Throttled {
            return None;
        }
        let wait = self.hint.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Some(wait.unwrap_or(u64::MAX))
    }
}

/// Overwrites the provider's keys in an error, which may repeat the provider's own text.
pub fn hide_keys(error: &mut Error, provider: &Provider) {
    let hide = |text: &mut String| {
        let mut bytes = std::mem::take(text).into_bytes();
        provider.hide_keys(&mut bytes);
        *text = String::from_utf8_lossy(&bytes).into_owned();
    };
    if let Cow::Owned(note) = &mut error.note {
        hide(note);
    }
    if let Some(detail) = &mut error.detail {
        hide(detail);
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
            // An account without credit says nothing of the next one.
            try_next: error.retryable() || (error.kind == Kind::Billing && error.side == Side::Upstream),
            error,
            response: None,
            lacks_model: false,
            lacks_response: false,
            rest: None,
            retry_without: RetryWithout::Nothing,
            stale_connection: false,
            status: None,
            hint: RetryHint::default(),
            upstream: None,
            context_window: 0,
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
