//! What a provider's refusal means: it refused the key in its row, it does not have the model, or
//! the request itself is at fault.

use super::interrupt::{BufferedResponse, Failure, Interrupt};
use super::relay::buffered;
use super::request_context::{Issuer, Next, RequestContext};
use super::upstream::UpstreamResponse;
use crate::route::pick::Candidate;
use llm_wire::Format;
use llm_wire::error::ReadError;
use llm_wire::error::{Error, Kind, classify};
use llm_wire::formats::errors;
use llm_wire::json::RawStr;

/// Returns whether the text of a response in the client's own format decides what it means.
/// `is_only` says that there is no other candidate.
pub fn needs_text(candidate: &Candidate, is_only: bool, status: u16) -> bool {
    // A 400 may be about the account's credit, as at Anthropic, and these may say that the request
    // is too long for this model.
    let may_concern_another = may_lack_model(candidate, status) || matches!(status, 400 | 413 | 422);
    matches!(status, 401 | 403) || (may_concern_another && !is_only)
}

/// Fails with a response for which [`needs_text`] holds. The next candidate may succeed if this
/// provider refused the key in its row, or does not have a model that it got only because it serves
/// every name, or that the client did not name. Every other refusal is the client's response.
pub async fn fail(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    candidate: &Candidate,
    provider: &str,
) -> Result<Next, Interrupt> {
    let status = response.head.status;
    let Some(response) = buffered::read(req, response).await? else {
        let failure = Failure::from(error(provider, status, None, &[]));
        let lacks_model = status == 404 && candidate.rank.is_catch_all();
        return Err(Failure { lacks_model, try_next: true, ..failure }.into());
    };
    let reported = errors::read_refusal(req.route.format, &response.body);
    let lacks_model = lacks_model(candidate, status, reported.as_ref());
    let lacks_response = reported.as_ref().is_some_and(|reported| lacks_previous(req, reported));
    let error = error(provider, status, reported, &response.body);
    let try_next = is_key_refused(&error) || lacks_model || lacks_response || error.kind == Kind::Billing;
    let response = for_client(Some(response), &error);
    Err(Failure { response, try_next, lacks_model, lacks_response, ..Failure::from(error) }.into())
}

/// Fails with the 404 of a provider that does not keep the response which the request is about.
/// Another may.
pub async fn fail_without_response(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    provider: &str,
) -> Result<Next, Interrupt> {
    let status = response.head.status;
    let response = buffered::read(req, response).await?;
    let note = format!("provider `{provider}` does not keep this response (status {status})");
    let failure = Failure::from(Error::client(Kind::NotFound, note));
    Err(Failure { response, lacks_response: true, try_next: true, ..failure }.into())
}

/// Returns whether a provider reports that it does not keep the response which the request
/// continues, and another one may.
fn lacks_previous(req: &RequestContext<'_>, reported: &ReadError<'_>) -> bool {
    let is_named = |word: Option<RawStr<'_>>, name: &str| word.is_some_and(|word| word.eq_str(name));
    matches!(req.issuer, Issuer::Unknown(_))
        && (is_named(reported.code, "previous_response_not_found") || is_named(reported.param, "previous_response_id"))
}

/// Returns whether a 429 says that the account's quota or credit is used up, which no wait of a
/// request brings back.
pub fn is_about_quota(format: Format, status: u16, body: &[u8]) -> bool {
    let reported = || errors::read_refusal(format, body);
    status == 429 && reported().is_some_and(|reported| classify::kind(Some(status), &reported) == Kind::Billing)
}

/// Returns whether a provider that serves every name, or one behind a virtual model, reports that
/// it does not have this model. A 404 of the latter may be about a file as well.
pub fn lacks_model(candidate: &Candidate, status: u16, reported: Option<&ReadError<'_>>) -> bool {
    let is_reported = || reported.is_some_and(|read| classify::is_no_model(read, &candidate.upstream_model));
    may_lack_model(candidate, status) && ((candidate.rank.is_catch_all() && status == 404) || is_reported())
}

/// Notes that a failure under status 200 means what [`lacks_model`] finds under a status of its
/// own: in the place of an answer, or of its events, the provider reported that it does not have
/// this model.
pub fn note_missing_model(candidate: &Candidate, failure: &mut Failure) {
    // The words that a 404 may say of a file of the client's do not count.
    let words = ReadError { message: RawStr::new(failure.error.note.as_bytes()), ..ReadError::default() };
    let is_reported =
        failure.error.lacks_model || (failure.error.quoted && classify::is_no_model(&words, &candidate.upstream_model));
    let is_success = failure.response.as_ref().is_none_or(|response| response.head.status < 300);
    let is_answer = failure.status.is_none() && is_success && failure.rest.is_none();
    if is_reported && is_answer && may_lack_model(candidate, 404) {
        failure.lacks_model = true;
        failure.try_next = true;
    }
}

fn may_lack_model(candidate: &Candidate, status: u16) -> bool {
    (candidate.rank.is_catch_all() || candidate.is_member) && matches!(status, 400 | 404)
}

/// Returns the response unless it is about the provider's key, which is not for the client.
pub fn for_client(response: Option<BufferedResponse>, error: &Error) -> Option<BufferedResponse> {
    response.filter(|_| !is_key_refused(error))
}

fn is_key_refused(error: &Error) -> bool {
    error.kind == Kind::UpstreamAuth
}

/// Returns the error of a refusal. Of a refused key it keeps the provider's type and code alone:
/// providers repeat the key in their message.
pub fn error(provider: &str, status: u16, reported: Option<ReadError<'_>>, body: &[u8]) -> Error {
    let error = match reported {
        Some(reported) => classify::error(Some(status), &reported),
        None => classify::unreadable(status, body),
    };
    match error.kind {
        Kind::UpstreamAuth => {
            let word = |word: Option<RawStr<'_>>| word.map_or("-".into(), |word| word.unescape().into_owned());
            let (kind, code) = reported.map_or((None, None), |reported| (reported.r#type, reported.code));
            let message = reported.map(|reported| without_keys(&reported.message.unescape())).unwrap_or_default();
            let (kind, code) = (word(kind), word(code));
            key_refused(provider, status).detail(format_args!("type {kind}, code {code}, message: {message}"))
        }
        _ if status == 403 => {
            let message = reported.map(|reported| without_keys(&reported.message.unescape())).unwrap_or_default();
            error
                .context(format_args!("message: {message}"))
                .context(format_args!("provider `{provider}`, status {status}"))
        }
        _ => error.context(format_args!("provider `{provider}`, status {status}")),
    }
}

/// Returns a provider's message for the log, shortened, with `***` in the place of each word that
/// may be a key or a part of one: providers repeat the key that they refuse. Words of text have
/// letters alone.
fn without_keys(message: &str) -> String {
    const MAX_WORD: usize = 15;
    const MAX_WORDS: usize = 40;
    let plain = |word: &str| {
        let core = word.trim_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '*' | '-' | '_'));
        core.len() <= MAX_WORD && core.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '\u{2019}'))
    };
    let words = message.split_whitespace().take(MAX_WORDS);
    words.map(|word| if plain(word) { word } else { "***" }).collect::<Vec<_>>().join(" ")
}

/// Returns the error of a provider that refused the API key in its row. The client's own key was
/// right, so it never sees a 401 for it.
fn key_refused(provider: &str, status: u16) -> Error {
    let note = format!("upstream authentication failed: provider `{provider}` refused its key (status {status})");
    Error::upstream(Kind::UpstreamAuth, note)
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn messages_without_keys() {
        let rows = [
            ("Incorrect API key provided: sk-ab***yz. You can find", "Incorrect API key provided: *** You can find"),
            ("pk-upstream is no key", "*** is no key"),
            ("`abcdefghijklmnopqrstuvwxyz` isn't valid!", "*** isn't valid!"),
            ("key AKIA1234 (from 10.0.0.1)", "key *** (from ***"),
            ("", ""),
        ];
        for (message, expected) in rows {
            assert_eq!(without_keys(message), expected);
        }
        assert_eq!(without_keys(&"a ".repeat(1000)).len(), 79);
    }
}
