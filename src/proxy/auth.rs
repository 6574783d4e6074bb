//! Who calls, and what they may ask for.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::core::{Core, unix_us};
use crate::config::snapshot::{Credential, KeyHash, Snapshot};
use crate::error::{Error, Kind};
use crate::limit::Verdict;

/// The credential of a request; `None` is an anonymous one, where those are allowed.
pub type Caller = Option<Arc<Credential>>;

/// Finds the caller's key in the values of the `x-api-key`, `authorization` and `api-key` headers, the first of these that is there.
pub fn key<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    if let Some(key) = get("x-api-key") {
        return Some(key.trim_ascii());
    }
    if let Some(value) = get("authorization") {
        let value = value.trim_ascii();
        let (scheme, rest) = value.split_at_checked(7)?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii());
    }
    get("api-key").map(<[u8]>::trim_ascii)
}

/// The credential that `key` belongs to.
///
/// The table is keyed by SHA-256, so the look-up's timing tells nothing of a key; the compare of the hit is constant-time all the same.
pub fn check(core: &Core, snapshot: &Snapshot, key: Option<&[u8]>) -> Result<Caller, Error> {
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        if core.boot().allow_anonymous {
            return Ok(None);
        }
        if snapshot.credentials.is_empty() {
            return Err(Error::client(Kind::Auth, core.shared.hints.no_credentials.clone()));
        }
        let note = "no API key in the request; send `Authorization: Bearer KEY` or `x-api-key: KEY`";
        return Err(Error::client(Kind::Auth, note));
    };
    let hash: [u8; 32] = Sha256::digest(key).into();
    let now = (unix_us() / 1_000_000) as i64;
    let found = snapshot.credentials.get(&hash).filter(|credential| is_key_of(credential, &hash, now));
    let Some(credential) = found else {
        if snapshot.credentials.is_empty() {
            if core.boot().allow_anonymous {
                return Ok(None);
            }
            return Err(Error::client(Kind::Auth, core.shared.hints.no_credentials.clone()));
        }
        return Err(Error::client(Kind::Auth, "the API key is not known to this gateway, or is disabled"));
    };
    if let Some(at) = credential.expires_at
        && at <= now
    {
        let note = format!("the API key of credential `{}` has expired; ask for a new one", credential.name);
        return Err(Error::client(Kind::Auth, note));
    }
    Ok(Some(credential.clone()))
}

/// Whether it is the key in force, or the one before the last rotation while that is still good.
fn is_key_of(credential: &Credential, hash: &KeyHash, now: i64) -> bool {
    let current = credential.hash.ct_eq(hash);
    let previous = credential.previous.filter(|previous| now < previous.until);
    bool::from(current | previous.map_or(0.into(), |previous| previous.hash.ct_eq(hash)))
}

/// Whether the caller may use `model` (prefix stripped).
pub fn allow_model(caller: &Caller, model: &str) -> Result<(), Error> {
    match caller {
        Some(credential) if !credential.allowed.allows(model) => {
            let note = format!(
                "model `{model}` is not allowed for credential `{}`, which may use {}",
                credential.name,
                some(credential.allowed.entries())
            );
            Err(Error::client(Kind::ModelForbidden, note).param("model"))
        }
        _ => Ok(()),
    }
}

/// The first few of a list, for a note.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The state of a caller's request bucket after one request was taken from it.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub limit: u32,
    pub remaining: u32,
    pub reset_ms: u64,
}

/// Takes one request from the caller's bucket. `Ok(None)` when there is no limit.
pub fn admit(core: &Core, caller: &Caller) -> Result<Option<Budget>, (Error, Budget)> {
    let Some(credential) = caller else { return Ok(None) };
    let Some(bucket) = &credential.bucket else { return Ok(None) };
    let now = core.now_ns();
    let verdict = bucket.take(now);
    let mut budget = Budget { limit: bucket.burst(), remaining: 0, reset_ms: bucket.reset_ms(now) };
    match verdict {
        Verdict::Admitted { remaining } => {
            budget.remaining = remaining;
            Ok(Some(budget))
        }
        Verdict::Refused { retry_ms } => {
            let seconds = retry_ms.map_or(60, |ms| ms.div_ceil(1000).max(1));
            let note = match retry_ms {
                None => format!("credential `{}` is blocked: its rate limit is 0", credential.name),
                Some(ms) => format!(
                    "rate limit of credential `{}` reached: {} requests per second; try again in {:.3} s",
                    credential.name,
                    bucket.rate(),
                    ms as f64 / 1000.0
                ),
            };
            let error = Error::client(Kind::RateLimit, note).retry_after(u32::try_from(seconds).unwrap_or(60));
            Err((error, budget))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&str, &'static str)]) -> Option<&'static str> {
        let get = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_bytes());
        key(get).map(|key| std::str::from_utf8(key).unwrap())
    }

    #[test]
    fn keys() {
        assert_eq!(found(&[("authorization", "Bearer k1")]), Some("k1"));
        assert_eq!(found(&[("authorization", "bEARER  k1 ")]), Some("k1"));
        assert_eq!(found(&[("authorization", "Basic k1")]), None);
        assert_eq!(found(&[("authorization", "Bearer")]), None);
        assert_eq!(found(&[("x-api-key", "k2"), ("authorization", "Bearer k1")]), Some("k2"));
        assert_eq!(found(&[("api-key", "k3")]), Some("k3"));
        assert_eq!(found(&[]), None);
    }
}
