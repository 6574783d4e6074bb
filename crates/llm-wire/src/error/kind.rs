//! The kinds of errors, and the error that carries one.

use std::borrow::Cow;
use std::fmt;

/// Whose fault an error is. Decides the recipient of the message and the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller sent something wrong, or left.
    Client,
    /// The provider failed.
    Upstream,
    /// This process failed, or refuses by its own configuration.
    Gateway,
}

impl Side {
    /// Returns the value of the metric label `side`.
    pub fn label(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Gateway => "gateway",
        }
    }
}

/// One row of the [`Kind`] table.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// HTTP status for clients of the OpenAI formats (chat, responses) and for paths of no format.
    pub status: u16,
    /// `error.type` in the OpenAI formats.
    pub openai_type: &'static str,
    /// `error.code` in the OpenAI formats; `None` is written as `null`.
    pub openai_code: Option<&'static str>,
    /// HTTP status for clients of the Messages format.
    pub messages_status: u16,
    /// `error.type` in the Messages format.
    pub messages_type: &'static str,
    /// Whether another provider may be tried, as long as nothing was sent to the client.
    pub retryable: bool,
    /// Value of the metric label `kind`.
    pub label: &'static str,
}

macro_rules! kinds {
    ($( $(#[$doc:meta])* $name:ident => $status:literal $otype:literal $ocode:expr, $mstatus:literal $mtype:literal, $retry:literal $label:literal; )*) => {
        /// The kinds of error. Statuses, types and codes stand in the table below and nowhere else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $( $(#[$doc])* $name, )* }

        impl Kind {
            /// All kinds, in the order of the table.
            pub const ALL: &'static [Kind] = &[ $( Kind::$name, )* ];

            /// Returns the kind's row of the table.
            pub fn row(self) -> &'static KindRow {
                match self { $( Kind::$name => &KindRow {
                    status: $status, openai_type: $otype, openai_code: $ocode,
                    messages_status: $mstatus, messages_type: $mtype, retryable: $retry, label: $label,
                }, )* }
            }
        }
    };
}

kinds! {
    // Columns: kind; status, type and code for Chat and Responses; status and type for Messages;
    // whether another provider may be tried; label.
    /// The request has a value that its format does not allow.
    InvalidRequest => 400 "invalid_request_error" None,                                  400 "invalid_request_error",   false "invalid_request";
    /// The body is not JSON.
    InvalidJson    => 400 "invalid_request_error" Some("invalid_json"),                  400 "invalid_request_error",   false "invalid_json";
    /// A field has a value of the wrong JSON type.
    InvalidType    => 400 "invalid_request_error" Some("invalid_type"),                  400 "invalid_request_error",   false "invalid_type";
    /// The provider's format cannot express a field, and dropping it would change the meaning.
    Unsupported    => 400 "invalid_request_error" Some("unsupported_parameter"),         400 "invalid_request_error",   false "unsupported";
    /// The conversation does not fit in the model's context window.
    ContextTooLong => 400 "invalid_request_error" Some("context_length_exceeded"),       400 "invalid_request_error",   false "context_too_long";
    /// A content filter of the vendor refused the request.
    ContentFilter  => 400 "invalid_request_error" Some("content_filter"),                400 "invalid_request_error",   false "content_filter";
    /// The client's credential is missing, unknown or expired.
    Auth           => 401 "invalid_request_error" Some("invalid_api_key"),               401 "authentication_error",    false "auth";
    /// The credential does not permit the operation.
    Permission     => 403 "permission_error"      None,                                  403 "permission_error",        false "permission";
    /// The credential may not use this model.
    ModelForbidden => 403 "permission_error"      Some("model_not_allowed"),             403 "permission_error",        false "model_forbidden";
    /// The account at the provider has no credit or quota left.
    Billing        => 429 "insufficient_quota"    Some("insufficient_quota"),            402 "billing_error",           false "billing";
    /// A budget of the caller has too little left for the request.
    Budget         => 402 "insufficient_quota"    Some("budget_exceeded"),               402 "billing_error",           false "budget";
    /// The same, for operators who want status 429.
    BudgetRate     => 429 "insufficient_quota"    Some("budget_exceeded"),               429 "rate_limit_error",        false "budget_rate";
    /// No provider serves the model, or the provider does not know it.
    ModelNotFound  => 404 "invalid_request_error" Some("model_not_found"),               404 "not_found_error",         false "model_not_found";
    /// This server does not have the path.
    NotFound       => 404 "invalid_request_error" Some("not_found"),                     404 "not_found_error",         false "not_found";
    /// The path belongs to the format and needs state that this gateway does not keep.
    NotSupported   => 404 "invalid_request_error" Some("not_supported"),                 404 "not_found_error",         false "not_supported";
    /// The path does not take the method.
    MethodNotAllowed => 405 "invalid_request_error" Some("method_not_allowed"),          405 "invalid_request_error",   false "method_not_allowed";
    /// The client was too slow to send its request.
    RequestTimeout => 408 "invalid_request_error" Some("request_timeout"),               408 "invalid_request_error",   false "request_timeout";
    /// The request contradicts the current state of the resource.
    Conflict       => 409 "invalid_request_error" Some("conflict"),                      409 "invalid_request_error",   false "conflict";
    /// The body is larger than the limit.
    TooLarge       => 413 "invalid_request_error" Some("request_too_large"),             413 "request_too_large",       false "too_large";
    /// The gateway does not decode this `content-encoding`.
    UnsupportedEncoding => 415 "invalid_request_error" Some("unsupported_encoding"),     415 "invalid_request_error",   false "unsupported_encoding";
    /// The client asked for a WebSocket, which the gateway does not serve.
    UpgradeRequired => 426 "invalid_request_error" Some("websocket_not_supported"),      426 "invalid_request_error",   false "upgrade_required";
    /// A rate limit of the credential or of the provider is used up.
    RateLimit      => 429 "rate_limit_error"      Some("rate_limit_exceeded"),           429 "rate_limit_error",        true  "rate_limit";
    /// The head of the request is larger than the limit.
    HeadTooLarge   => 431 "invalid_request_error" Some("headers_too_large"),             431 "invalid_request_error",   false "head_too_large";
    /// The client closed its connection; nobody reads the answer. 499 is what nginx logs for it.
    ClientGone     => 499 "invalid_request_error" Some("client_closed_request"),         499 "invalid_request_error",   false "client_gone";
    /// The gateway caught a panic or found a broken invariant.
    Internal       => 500 "server_error"          Some("internal_error"),                500 "api_error",               false "internal";
    /// The path exists, and this version does not serve it.
    NotImplemented => 501 "server_error"          Some("not_implemented"),               501 "api_error",               false "not_implemented";
    /// The provider sent an invalid response, closed early, or answered with a status of 5xx.
    UpstreamFault  => 502 "server_error"          Some("upstream_error"),                502 "api_error",               true  "upstream_fault";
    /// No connection to the provider could be made.
    UpstreamConnect => 502 "server_error"         Some("upstream_connect_failed"),       502 "api_error",               true  "upstream_connect";
    /// The provider refused the key in its row: not the client's fault, so never the client's 401.
    UpstreamAuth   => 502 "server_error"          Some("upstream_authentication_failed"), 502 "api_error",              true  "upstream_auth";
    /// The stream ended before its end mark.
    UpstreamTruncated => 502 "server_error"       Some("upstream_stream_truncated"),     502 "api_error",               true  "upstream_truncated";
    /// The provider is overloaded (529, 503).
    Overloaded     => 503 "server_error"          Some("server_is_overloaded"),          529 "overloaded_error",        true  "overloaded";
    /// Every provider of the model is out of service.
    NoUpstream     => 503 "server_error"          Some("no_upstream_available"),         529 "overloaded_error",        false "no_upstream";
    /// The gateway does not speak the version of HTTP that the request names.
    HttpVersion    => 505 "invalid_request_error" Some("http_version_not_supported"),    505 "invalid_request_error",   false "http_version";
    /// The provider did not answer in time.
    UpstreamTimeout => 504 "server_error"         Some("upstream_timeout"),              504 "timeout_error",           true  "upstream_timeout";
}

/// The methods of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// The path is read.
    Read,
    /// The path is read, and has no head of its own.
    Get,
    /// The path takes a body.
    Post,
    /// What the path names can be read and removed.
    Stored,
}

impl Methods {
    /// Returns the value of the field `Allow`.
    pub fn allow(self) -> &'static str {
        match self {
            Methods::Read => "GET, HEAD, OPTIONS",
            Methods::Get => "GET, OPTIONS",
            Methods::Post => "POST, OPTIONS",
            Methods::Stored => "GET, DELETE, OPTIONS",
        }
    }
}

/// An error on its way to a client, a log line and a counter.
#[derive(Debug)]
pub struct Error {
    /// What went wrong. It decides the status, `type` and `code` that the client gets.
    pub kind: Kind,
    /// Whose fault it is.
    pub side: Side,
    /// For the client.
    pub note: Cow<'static, str>,
    /// The note is the text of a provider, and may repeat any part of the conversation: it is not
    /// for the log.
    pub quoted: bool,
    /// Whether the provider reported by a type or code that it does not have the model.
    pub lacks_model: bool,
    /// For the log only: the cause that a library or the system reported.
    pub detail: Option<String>,
    /// The request field at fault, as a path (`messages.3.content`).
    pub param: Option<String>,
    /// Overrides the kind's `code` in the OpenAI formats.
    pub code: Option<&'static str>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// What the path does take, where the method was wrong.
    pub allow: Option<Methods>,
}

impl Error {
    /// Makes an error with a message for the client. The message is a whole sentence that says what
    /// is wrong and what to do.
    pub fn new(side: Side, kind: Kind, note: impl Into<Cow<'static, str>>) -> Error {
        Error {
            kind,
            side,
            note: note.into(),
            quoted: false,
            lacks_model: false,
            detail: None,
            param: None,
            code: None,
            retry_after: None,
            allow: None,
        }
    }

    /// Makes an error that is the client's fault.
    pub fn client(kind: Kind, note: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Side::Client, kind, note)
    }

    /// Makes an error that is the provider's fault.
    pub fn upstream(kind: Kind, note: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Side::Upstream, kind, note)
    }

    /// Makes an error that is the gateway's own.
    pub fn gateway(kind: Kind, note: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Side::Gateway, kind, note)
    }

    /// The grace of a shutdown has ended before the request did.
    pub fn stopping() -> Error {
        Error::gateway(Kind::Overloaded, "this gateway is shutting down; try again").retry_after(1)
    }

    /// Sets the detail, which is for the log alone.
    pub fn detail(mut self, detail: impl fmt::Display) -> Error {
        self.detail = Some(detail.to_string());
        self
    }

    /// Puts the caller's text before the detail.
    pub fn context(mut self, words: impl fmt::Display) -> Error {
        self.detail = Some(match self.detail {
            Some(detail) => format!("{words}: {detail}"),
            None => words.to_string(),
        });
        self
    }

    /// Marks the note as the text of a provider, which is not for the log.
    pub fn quoted(mut self) -> Error {
        self.quoted = true;
        self
    }

    /// Formats the error for the log, without the text of a provider.
    pub fn logged(&self) -> impl fmt::Display {
        let note = if self.quoted { self.kind.row().label } else { &self.note };
        Summary { side: self.side, note, detail: self.detail.as_deref() }
    }

    /// Names the request field at fault, as a path (`messages.3.content`).
    pub fn param(mut self, param: impl Into<String>) -> Error {
        self.param = Some(param.into());
        self
    }

    /// Replaces the kind's `code` in the OpenAI formats.
    pub fn code(mut self, code: &'static str) -> Error {
        self.code = Some(code);
        self
    }

    /// Sets the value of `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Error {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets the methods that the path takes, for the field `Allow`.
    pub fn allow(mut self, methods: Methods) -> Error {
        self.allow = Some(methods);
        self
    }

    /// Returns whether another provider may be tried, as long as nothing was sent to the client.
    pub fn retryable(&self) -> bool {
        self.kind.row().retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Summary { side: self.side, note: &self.note, detail: self.detail.as_deref() }.fmt(f)
    }
}

/// Whose fault, what, and where.
struct Summary<'e> {
    side: Side,
    note: &'e str,
    detail: Option<&'e str>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.side.label(), self.note)?;
        match self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_statuses_are_errors() {
        let mut seen = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let row = kind.row();
            assert!(seen.insert(row.label), "label `{}` appears twice", row.label);
            assert!((400..600).contains(&row.status) && (400..600).contains(&row.messages_status), "{kind:?}");
        }
    }
}
