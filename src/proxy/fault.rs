//! What kind of error a provider's own words mean (translation of `type` and `code`, not of text, save where no code exists).

use crate::error::{Error, Kind};
use crate::wire::error::ReadError;

/// Words of `type` and `code`, of all formats, and what they mean. The first row that matches wins.
const WORDS: &[(&str, Kind)] = &[
    ("context_length_exceeded", Kind::ContextTooLong),
    ("insufficient_quota", Kind::Billing),
    ("credit_balance_exhausted", Kind::Billing),
    ("billing_error", Kind::Billing),
    ("content_filter", Kind::ContentFilter),
    ("rate_limit_error", Kind::RateLimit),
    ("rate_limit_exceeded", Kind::RateLimit),
    ("RESOURCE_EXHAUSTED", Kind::RateLimit),
    ("overloaded_error", Kind::Overloaded),
    ("server_is_overloaded", Kind::Overloaded),
    ("UNAVAILABLE", Kind::Overloaded),
    ("timeout_error", Kind::UpstreamTimeout),
    ("DEADLINE_EXCEEDED", Kind::UpstreamTimeout),
    ("authentication_error", Kind::UpstreamAuth),
    ("invalid_api_key", Kind::UpstreamAuth),
    ("UNAUTHENTICATED", Kind::UpstreamAuth),
    ("permission_error", Kind::Permission),
    ("not_found_error", Kind::ModelNotFound),
    ("model_not_found", Kind::ModelNotFound),
    ("request_too_large", Kind::TooLarge),
    ("invalid_request_error", Kind::InvalidRequest),
    ("invalid_prompt", Kind::InvalidRequest),
    ("INVALID_ARGUMENT", Kind::InvalidRequest),
];

/// The error that an event in a stream of status 200 stands for. Its text goes to the client, who can't know it otherwise.
pub fn of_event(said: &ReadError<'_>) -> Error {
    let is = |word: &str| [said.code, said.r#type].iter().flatten().any(|text| text.eq_str(word));
    let kind = WORDS.iter().find(|(word, _)| is(word)).map_or(Kind::UpstreamFault, |(_, kind)| *kind);
    if kind == Kind::UpstreamAuth {
        // The text may quote the provider's key.
        return Error::upstream(kind, "upstream authentication failed: the provider refused its key");
    }
    let message = said.message.unescape();
    let note = if message.is_empty() {
        "the provider sent an error event without a message".into()
    } else {
        message.into_owned()
    };
    Error::upstream(kind, note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Format, error};

    #[test]
    fn words_decide() {
        let rows = [
            (
                Format::Messages,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Kind::Overloaded,
            ),
            (
                Format::Chat,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Kind::Billing,
            ),
            (Format::Chat, r#"{"error":{"message":"m","type":"server_error","code":null}}"#, Kind::UpstreamFault),
            (
                Format::Responses,
                r#"{"type":"error","error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"m"}}"#,
                Kind::ContextTooLong,
            ),
        ];
        for (format, data, kind) in rows {
            let said = error::read(format, data.as_bytes()).unwrap();
            assert_eq!(of_event(&said).kind, kind, "{data}");
        }
    }
}
