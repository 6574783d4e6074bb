//! Whose fault a failure is, and what follows: the one table.
//!
//! | fault | benches | same provider again | next provider |
//! |---|---|---|---|
//!
//! stands in [`Fault::row`]; `docs/guides/models-and-routing.md` shows it to operators.

use llm_wire::error::{Kind, Side};

use super::circuit::Event;

/// What a failure benches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    None,
    /// The provider for this model alone.
    Model,
    /// The provider for every model.
    Account,
}

/// Whether the same provider may get the request once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryRule {
    Never,
    /// Only if the provider says so (`x-should-retry: true`).
    OnRequest,
    /// Unless the provider forbids it (`x-should-retry: false`).
    Allowed,
}

/// The kinds of failure that differ in what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection was made: name, TCP or TLS.
    Connect,
    /// The connection broke, or what came over it was no response.
    Broken,
    /// A redirect, which the gateway does not follow.
    Redirected,
    /// A deadline of the gateway expired.
    Silent,
    /// 429.
    Throttled,
    /// The account's quota or credit is used up.
    Quota,
    /// 500 and above, 529 included.
    ServerError,
    /// 408.
    Slow,
    /// 409.
    Conflict,
    /// 401, or a 403 about the key.
    KeyRefused,
    ModelMissing,
    /// The request does not fit in the model's context.
    ContextLength,
    ContentFilter,
    /// The request itself is at fault.
    Request,
    /// This process failed, or stops.
    Gateway,
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub scope: Scope,
    pub event: Option<Event>,
    pub retry: RetryRule,
    /// Whether the next provider may do better.
    pub next: bool,
}

impl Fault {
    /// Every fault, in the order of declaration.
    pub const ALL: [Fault; 15] = [
        Fault::Connect,
        Fault::Broken,
        Fault::Redirected,
        Fault::Silent,
        Fault::Throttled,
        Fault::Quota,
        Fault::ServerError,
        Fault::Slow,
        Fault::Conflict,
        Fault::KeyRefused,
        Fault::ModelMissing,
        Fault::ContextLength,
        Fault::ContentFilter,
        Fault::Request,
        Fault::Gateway,
    ];

    /// Returns the fault that an error is. `status` is that of the provider's response, if it sent
    /// one.
    pub fn of(side: Side, kind: Kind, status: Option<u16>) -> Fault {
        match (kind, status) {
            _ if side == Side::Gateway => Fault::Gateway,
            (Kind::UpstreamConnect, _) => Fault::Connect,
            (Kind::RateLimit, _) => Fault::Throttled,
            (Kind::Billing, _) => Fault::Quota,
            (Kind::UpstreamAuth, _) => Fault::KeyRefused,
            (Kind::ContextTooLong, _) => Fault::ContextLength,
            (Kind::ContentFilter, _) => Fault::ContentFilter,
            (Kind::ModelNotFound, _) => Fault::ModelMissing,
            (_, Some(408)) => Fault::Slow,
            (_, Some(409)) => Fault::Conflict,
            (_, Some(500..)) | (Kind::Overloaded | Kind::Internal, _) => Fault::ServerError,
            (_, Some(300..400)) => Fault::Redirected,
            (Kind::UpstreamTimeout, _) => Fault::Silent,
            (Kind::UpstreamFault | Kind::UpstreamTruncated, _) => Fault::Broken,
            _ => Fault::Request,
        }
    }

    /// Returns what follows. This is the table.
    pub fn row(self) -> Row {
        let row = |scope, event, retry, next| Row { scope, event, retry, next };
        match self {
            Fault::Connect => row(Scope::Account, Some(Event::Transport), RetryRule::Allowed, true),
            Fault::Broken => row(Scope::Model, Some(Event::Transport), RetryRule::Allowed, true),
            // It would point to the same address again.
            Fault::Redirected => row(Scope::Model, Some(Event::Transport), RetryRule::Never, true),
            // It would take the same time again.
            Fault::Silent => row(Scope::Model, Some(Event::Transport), RetryRule::Never, true),
            Fault::Throttled => row(Scope::Account, Some(Event::Throttled(None)), RetryRule::Allowed, true),
            Fault::Quota => row(Scope::Account, Some(Event::Throttled(None)), RetryRule::Never, true),
            Fault::ServerError => row(Scope::Model, Some(Event::ServerError), RetryRule::Allowed, true),
            Fault::Slow => row(Scope::Model, Some(Event::Slow), RetryRule::Allowed, true),
            Fault::Conflict => row(Scope::None, None, RetryRule::OnRequest, false),
            Fault::KeyRefused => row(Scope::Account, Some(Event::KeyRefused), RetryRule::Never, true),
            Fault::ModelMissing => row(Scope::Model, Some(Event::ModelMissing), RetryRule::Never, true),
            Fault::ContextLength | Fault::ContentFilter | Fault::Request => {
                row(Scope::None, None, RetryRule::Never, false)
            }
            Fault::Gateway => row(Scope::None, None, RetryRule::Never, false),
        }
    }

    /// Returns whether the same request may succeed at the same provider later, with nothing
    /// changed.
    pub fn passes(self) -> bool {
        use Fault::{Broken, Connect, ServerError, Silent, Slow, Throttled};
        matches!(self, Connect | Broken | Silent | Throttled | ServerError | Slow)
    }

    /// Returns the word of metrics and documents.
    pub fn label(self) -> &'static str {
        match self {
            Fault::Connect => "connect",
            Fault::Broken => "broken",
            Fault::Redirected => "redirected",
            Fault::Silent => "silent",
            Fault::Throttled => "throttled",
            Fault::Quota => "quota",
            Fault::ServerError => "server_error",
            Fault::Slow => "slow",
            Fault::Conflict => "conflict",
            Fault::KeyRefused => "key_refused",
            Fault::ModelMissing => "model_missing",
            Fault::ContextLength => "context_length",
            Fault::ContentFilter => "content_filter",
            Fault::Request => "request",
            Fault::Gateway => "gateway",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_errors() {
        let rows = [
            (Side::Upstream, Kind::UpstreamConnect, None, Fault::Connect),
            (Side::Upstream, Kind::UpstreamFault, None, Fault::Broken),
            (Side::Upstream, Kind::UpstreamFault, Some(500), Fault::ServerError),
            (Side::Upstream, Kind::UpstreamFault, Some(307), Fault::Redirected),
            (Side::Upstream, Kind::UpstreamFault, Some(204), Fault::Broken),
            (Side::Upstream, Kind::Overloaded, Some(529), Fault::ServerError),
            (Side::Upstream, Kind::UpstreamTimeout, None, Fault::Silent),
            (Side::Upstream, Kind::UpstreamTimeout, Some(408), Fault::Slow),
            (Side::Upstream, Kind::UpstreamTimeout, Some(504), Fault::ServerError),
            (Side::Upstream, Kind::RateLimit, Some(429), Fault::Throttled),
            (Side::Client, Kind::Billing, Some(429), Fault::Quota),
            (Side::Upstream, Kind::UpstreamAuth, Some(401), Fault::KeyRefused),
            (Side::Client, Kind::ModelNotFound, Some(404), Fault::ModelMissing),
            (Side::Client, Kind::ContextTooLong, Some(400), Fault::ContextLength),
            (Side::Client, Kind::InvalidRequest, Some(400), Fault::Request),
            (Side::Client, Kind::Conflict, Some(409), Fault::Conflict),
            (Side::Gateway, Kind::Internal, None, Fault::Gateway),
        ];
        for (side, kind, status, fault) in rows {
            assert_eq!(Fault::of(side, kind, status), fault, "{kind:?} {status:?}");
        }
    }

    /// The request's own fault benches nobody and is never tried elsewhere.
    #[test]
    fn faults_of_the_request_bench_nothing() {
        for fault in Fault::ALL {
            let row = fault.row();
            assert_eq!(row.scope == Scope::None, row.event.is_none(), "{}", fault.label());
            assert!(row.next || row.scope == Scope::None, "{}", fault.label());
        }
    }
}
