//! Authenticates the caller, and checks its permissions and limits.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::core::Core;
use crate::config::models::Allowed;
use crate::config::snapshot::{Credential, Group, KeyHash, Snapshot};
use crate::config::virtual_models::VirtualModel;
use crate::limit;
use crate::limit::{Bucket, Hold, Limits, Need, Refusal, Refused};
use llm_http::RequestHead;
use llm_wire::error::{Error, Kind};

/// The credential of a request. `None` is an anonymous request, where those are allowed.
pub type Caller<'s> = Option<&'s Credential>;

/// Finds the caller's key in the first of the headers `x-api-key`, `authorization` and `api-key`
/// that the request has. None of them may stand twice: a proxy in front may have judged the other
/// one.
pub fn key<'b>(head: &'b RequestHead, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Error> {
    let mut found: [Option<&[u8]>; KEY_HEADERS.len()] = Default::default();
    for (name, value) in head.fields(bytes) {
        // By length first: most names are of no interest.
        let is = |known: &&str| known.len() == name.len() && name.eq_ignore_ascii_case(known.as_bytes());
        let Some(at) = KEY_HEADERS.iter().position(is) else { continue };
        if found[at].replace(value.trim_ascii()).is_some() {
            let note = format!("the request has more than one `{}` header; send one", KEY_HEADERS[at]);
            return Err(Error::client(Kind::InvalidRequest, note));
        }
    }
    let [x_api_key, authorization, api_key] = found;
    if x_api_key.is_some() {
        return Ok(x_api_key);
    }
    let Some(value) = authorization else { return Ok(api_key) };
    let Some((scheme, rest)) = value.split_at_checked(7) else { return Ok(None) };
    Ok(scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii()))
}

/// The headers that may have a key, in their order of precedence.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "authorization", "api-key"];

/// Returns the hash that a key is known by. `None` for an empty key.
pub fn hash(key: &[u8]) -> Option<KeyHash> {
    (!key.is_empty()).then(|| Sha256::digest(key).into())
}

/// Finds the credential whose key has this hash; `None` is a request without a key.
///
/// The table is keyed by SHA-256, so the time of the look-up reveals nothing about a key. The hit
/// is compared in constant time all the same. `now` is in seconds since 1970, and `request` the
/// head by which an error says what is wrong with the key.
pub fn check<'s>(
    core: &Core,
    snapshot: &'s Snapshot,
    hash: Option<&KeyHash>,
    now: i64,
    request: (&RequestHead, &[u8]),
) -> Result<Caller<'s>, Error> {
    let Some(hash) = hash else {
        if core.boot().allow_anonymous {
            return Ok(None);
        }
        if snapshot.credentials.is_empty() {
            return Err(Error::client(Kind::Auth, core.shared.hints.no_credentials.clone()));
        }
        return Err(Error::client(Kind::Auth, no_key(request)));
    };
    let found = snapshot.credentials.get(hash).filter(|credential| is_key_of(credential, hash, now));
    let Some(credential) = found else {
        if snapshot.credentials.is_empty() {
            if core.boot().allow_anonymous {
                return Ok(None);
            }
            return Err(Error::client(Kind::Auth, core.shared.hints.no_credentials.clone()));
        }
        return Err(Error::client(Kind::Auth, unknown_key(request)));
    };
    if let Some(at) = credential.expires_at
        && at <= now
    {
        let note = format!("the API key of credential `{}` has expired; ask for a new one", credential.name);
        return Err(Error::client(Kind::Auth, note));
    }
    Ok(Some(credential))
}

/// Headers in which clients of other vendors send their keys.
const FOREIGN_HEADERS: [&str; 4] =
    ["x-goog-api-key", "openai-api-key", "anthropic-api-key", "ocp-apim-subscription-key"];

/// Says that a request has no key, and where it may have been meant to be.
fn no_key((head, bytes): (&RequestHead, &[u8])) -> String {
    const SEND: &str = "send `Authorization: Bearer KEY` or `x-api-key: KEY`";
    let value = head.get(bytes, "authorization").unwrap_or_default().trim_ascii();
    let is_bearer = value.get(..7).unwrap_or(value).trim_ascii_end().eq_ignore_ascii_case(b"bearer");
    if !value.is_empty() && !is_bearer {
        return format!("the `authorization` header does not have the form `Bearer KEY`; {SEND}");
    }
    match FOREIGN_HEADERS.iter().find(|name| head.get(bytes, name).is_some()) {
        Some(name) => format!("the API key is not read from `{name}`; {SEND}"),
        None => format!("no API key in the request; {SEND}"),
    }
}

/// Says that a key is not known, and what clients have done to it. It is not repeated.
fn unknown_key((head, bytes): (&RequestHead, &[u8])) -> &'static str {
    match key(head, bytes).ok().flatten().unwrap_or_default() {
        [b'"', .., b'"'] | [b'\'', .., b'\''] => "the API key stands in quotes; send it without them",
        [b'$', ..] => "the API key is the name of a variable that nothing has filled in; send its value",
        key if key.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"bearer ")) => {
            "the API key begins with `Bearer`; that word belongs once before the key in `authorization`, and nowhere else"
        }
        _ => {
            "the API key is not known to this gateway, or is disabled; send an enabled key of the gateway, not one of \
             a provider"
        }
    }
}

/// Returns whether the key is the current one, or the one before the last rotation while that is
/// still valid.
fn is_key_of(credential: &Credential, hash: &KeyHash, now: i64) -> bool {
    let hash = words(hash);
    let current = words(&credential.hash).ct_eq(&hash);
    let previous = credential.previous.filter(|previous| now < previous.until);
    bool::from(current | previous.map_or(0.into(), |previous| words(&previous.hash).ct_eq(&hash)))
}

/// Returns a hash in pieces of eight bytes, which are compared as fast as single ones.
fn words(hash: &KeyHash) -> [u64; 4] {
    std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|byte| hash[word * 8 + byte])))
}

/// Marks the ids of groups among the owners of responses.
const GROUP: u64 = 1 << 63;

/// Returns who owns the responses that a caller asks for: its group, or its credential.
pub fn owner(caller: Caller<'_>) -> u64 {
    let Some(credential) = caller else { return 0 };
    match credential.groups().first() {
        Some(group) => group.id as u64 | GROUP,
        None => credential.id as u64,
    }
}

/// Checks whether the caller may use `model` (without prefix).
pub fn allow_model(caller: Caller<'_>, model: &str) -> Result<(), Error> {
    let Some(credential) = caller else { return Ok(()) };
    let level = levels(credential).find(|level| !level.allowed.allows(model));
    level.map_or(Ok(()), |Level { kind, name, allowed, .. }| {
        let may = abbreviate(allowed.entries());
        let note = format!("model `{model}` is not allowed for {kind} `{name}`, which may use {may}");
        Err(Error::client(Kind::ModelForbidden, note).param("model"))
    })
}

/// Checks whether the caller may use a member of a virtual model by its own name.
pub fn allow_members(caller: Caller<'_>, virtual_model: &VirtualModel) -> Result<(), Error> {
    let Some(credential) = caller else { return Ok(()) };
    let members = virtual_model.members_for(Some(&credential.name));
    if members.iter().any(|member| credential.allows(&member.model)) {
        return Ok(());
    }
    let names: Vec<&str> = members.iter().map(|member| &*member.model).collect();
    let note = format!(
        "virtual model `{}` has no member that credential `{}` may use; its members are {}, and the credential needs \
         the permission for one of them too",
        virtual_model.name,
        credential.name,
        abbreviate(names.into_iter()),
    );
    Err(Error::client(Kind::ModelForbidden, note).param("model"))
}

/// What has models and limits of its own: a credential, or one of its groups.
#[derive(Clone, Copy)]
struct Level<'s> {
    kind: &'static str,
    name: &'s str,
    allowed: &'s Allowed,
    limits: &'s Limits,
}

/// The credential, then its groups from the innermost on.
fn levels(credential: &Credential) -> impl Iterator<Item = Level<'_>> {
    let Credential { name, allowed, limits, .. } = credential;
    let own = Level { kind: "credential", name, allowed, limits };
    let groups = credential.groups().iter().map(|group| {
        let Group { name, allowed, limits, .. } = &**group;
        Level { kind: "group", name, allowed, limits }
    });
    std::iter::once(own).chain(groups)
}

/// Returns the first few of a list, for an error message.
fn abbreviate<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// What is left of a caller's limits after its request was admitted or refused, for the headers of
/// the response.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub requests: Option<limit::Level>,
    pub tokens: Option<limit::Level>,
    /// Milliseconds until a refused request may pass. `None` where that is unknown.
    pub retry_ms: Option<u64>,
}

impl Budget {
    fn of(limits: &Limits, now: u64) -> Budget {
        let level = |bucket: &Option<Arc<Bucket>>| bucket.as_ref().map(|bucket| bucket.level(now));
        Budget { requests: level(&limits.requests), tokens: level(&limits.tokens), retry_ms: None }
    }

    /// Of each kind the limit of which the least is left.
    fn tightest(levels: &[&Limits], now: u64) -> Budget {
        let mut tightest = Budget { requests: None, tokens: None, retry_ms: None };
        let take = |least: &mut Option<limit::Level>, level: Option<limit::Level>| {
            if let Some(level) = level
                && least.is_none_or(|least| level.left < least.left)
            {
                *least = Some(level);
            }
        };
        for limits in levels {
            let budget = Budget::of(limits, now);
            take(&mut tightest.requests, budget.requests);
            take(&mut tightest.tokens, budget.tokens);
        }
        tightest
    }
}

/// A request that a limit has refused.
#[derive(Debug)]
pub struct Denied {
    pub error: Error,
    pub budget: Budget,
    /// The name of the limit: the metric label `limit`.
    pub limit: &'static str,
}

/// Takes what a request needs from the caller's limits. `Ok(None)` when there are none.
///
/// The clock is read once, so that all limits refer to the same time.
pub fn admit(
    core: &Core,
    caller: Caller<'_>,
    need: impl FnOnce() -> Need,
) -> Result<Option<(Hold, Budget)>, Box<Denied>> {
    let Some(credential) = caller.filter(|credential| !credential.is_unlimited()) else { return Ok(None) };
    let own = &credential.limits;
    let now = core.now_ns();
    // The estimate reads the whole body.
    let (admitted, mut budget) = match credential.groups() {
        [] => {
            let need = if own.tokens.is_some() { need() } else { Need::default() };
            (own.admit(now, need).map_err(|refusal| (0, refusal)), Budget::of(own, now))
        }
        _ => {
            let levels: Vec<_> = levels(credential).map(|level| level.limits).collect();
            let need = if levels.iter().any(|limits| limits.tokens.is_some()) { need() } else { Need::default() };
            let admitted = Limits::admit_all(&levels, now, need);
            let budget = match admitted {
                Ok(_) => Budget::tightest(&levels, now),
                Err((at, _)) => Budget::of(levels[at], now),
            };
            (admitted, budget)
        }
    };
    match admitted {
        Ok(hold) => Ok(Some((hold, budget))),
        Err((at, refusal)) => {
            budget.retry_ms = retry_ms(refusal);
            let limit = match refusal {
                Refusal::Requests(_) => "requests",
                Refusal::Tokens { .. } | Refusal::Prompt { .. } => "tokens",
                Refusal::Concurrency { .. } => "concurrency",
            };
            let error = levels(credential).nth(at).map(|level| refused(level, refusal, budget.retry_ms));
            let error = error.unwrap_or_else(|| Error::client(Kind::RateLimit, "a limit is reached"));
            Err(Box::new(Denied { error, budget, limit }))
        }
    }
}

/// `Retry-After` of a request that cannot pass until an operator changes the limit.
const BLOCKED_SECONDS: u32 = 60;

/// When a client may retry if too many of its requests run, in milliseconds. It is unknown when one
/// of them will end.
const CONCURRENCY_RETRY_MS: u64 = 1000;

fn retry_ms(refusal: Refusal) -> Option<u64> {
    match refusal {
        Refusal::Requests(Refused::For { ms }) | Refusal::Tokens { refused: Refused::For { ms }, .. } => Some(ms),
        Refusal::Concurrency { most } if most > 0 => Some(CONCURRENCY_RETRY_MS),
        _ => None,
    }
}

fn refused(level: Level<'_>, refusal: Refusal, retry_ms: Option<u64>) -> Error {
    let Level { kind, name, limits, .. } = level;
    let rate = |bucket: &Option<Arc<Bucket>>| bucket.as_ref().map_or(0, |bucket| bucket.rate());
    let again = retry_ms.map(|ms| format!("; try again in {}", Wait(ms))).unwrap_or_default();
    let note = match refusal {
        Refusal::Requests(Refused::Never) => format!("{kind} `{name}` is blocked: its rate limit is 0"),
        Refusal::Tokens { refused: Refused::Never, .. } => {
            format!("{kind} `{name}` is blocked: its limit of tokens per minute is 0")
        }
        Refusal::Concurrency { most: 0 } => format!("{kind} `{name}` is blocked: its limit of requests at once is 0"),
        Refusal::Requests(_) => {
            let rate = rate(&limits.requests);
            format!("rate limit of {kind} `{name}` reached: {rate} requests per second{again}")
        }
        Refusal::Tokens { wanted, .. } => {
            let rate = rate(&limits.tokens);
            format!(
                "token limit of {kind} `{name}` reached: {rate} tokens per minute, and this request may use \
                 {wanted}{again}"
            )
        }
        Refusal::Prompt { estimate } => {
            let rate = rate(&limits.tokens);
            format!(
                "the request has about {estimate} tokens, and {kind} `{name}` may use {rate} per minute; shorten it"
            )
        }
        Refusal::Concurrency { most } => {
            format!("{kind} `{name}` has {most} requests in progress, which is its limit; try again when one ends")
        }
    };
    let seconds = retry_ms.map_or(BLOCKED_SECONDS, |ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1));
    Error::client(Kind::RateLimit, note).retry_after(seconds)
}

/// A span in milliseconds, displayed as OpenAI writes it in its headers: `20ms`, `1.5s`, `6m0s`.
pub struct Wait(pub u64);

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ms, seconds) = (self.0 % 1000, self.0 / 1000);
        if seconds == 0 {
            return write!(f, "{ms}ms");
        }
        if seconds >= 60 {
            write!(f, "{}m", seconds / 60)?;
        }
        write!(f, "{}", seconds % 60)?;
        if ms > 0 {
            write!(f, "{}", format!(".{ms:03}").trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&str, &'static str)]) -> Option<String> {
        read(headers).unwrap()
    }

    fn read(headers: &[(&str, &'static str)]) -> Result<Option<String>, Error> {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let bytes = format!("GET / HTTP/1.1\r\nhost: h\r\n{lines}\r\n").into_bytes();
        let head = llm_http::parse_request(&bytes, &mut Default::default(), &Default::default()).unwrap().unwrap();
        key(&head, &bytes).map(|key| key.map(|key| String::from_utf8(key.to_vec()).unwrap()))
    }

    #[test]
    fn keys() {
        let some = |key: &str| Some(key.to_owned());
        assert_eq!(found(&[("authorization", "Bearer k1")]), some("k1"));
        assert_eq!(found(&[("Authorization", "bEARER  k1 ")]), some("k1"));
        assert_eq!(found(&[("authorization", "Basic k1")]), None);
        assert_eq!(found(&[("authorization", "Bearer")]), None);
        assert_eq!(found(&[("x-api-key", "k2"), ("authorization", "Bearer k1")]), some("k2"));
        assert_eq!(found(&[("authorization", "Basic k1"), ("api-key", "k3")]), None);
        assert_eq!(found(&[("api-key", "k3")]), some("k3"));
        assert_eq!(found(&[]), None);
        for name in KEY_HEADERS {
            let error = read(&[(name, "k1"), ("x", "y"), (&name.to_uppercase(), "k1")]).unwrap_err();
            assert_eq!(error.note, format!("the request has more than one `{name}` header; send one"));
        }
    }

    #[test]
    fn waits() {
        let rows = [(0, "0ms"), (20, "20ms"), (1000, "1s"), (1500, "1.5s"), (59_999, "59.999s"), (360_000, "6m0s")];
        for (ms, text) in rows {
            assert_eq!(Wait(ms).to_string(), text);
        }
        assert_eq!(Wait(3_661_050).to_string(), "61m1.05s");
    }
}
