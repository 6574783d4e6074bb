//! One row of `credentials`. What cannot be read here must not open a door: the row is not served, and says so.

use std::sync::Arc;

use crate::config::models::Allowed;
use crate::config::rows::CredentialRow;
use crate::config::snapshot::{Credential, KeyHash};
use crate::limit::Bucket;

/// `bucket` is the one that this credential had before.
pub(super) fn compile(
    row: &CredentialRow,
    allowed: &Allowed,
    bucket: Option<&Arc<Bucket>>,
    problems: &mut Vec<String>,
) -> Option<Credential> {
    let hash = keep(hash(&row.credential_key), problems);
    let limit = keep(limit(row), problems);
    if row.rate_limit.is_none() && row.burst.is_some() {
        problems.push("burst means nothing without rate_limit; the credential has no limit".to_owned());
    }
    let bucket = limit?.map(|(rate, burst)| {
        let fresh = Bucket::new(rate, burst);
        match bucket {
            Some(bucket) if (bucket.rate(), bucket.burst()) == (fresh.rate(), fresh.burst()) => bucket.clone(),
            _ => Arc::new(fresh),
        }
    });
    Some(Credential {
        id: row.id,
        name: row.name.as_str().into(),
        hash: hash?,
        allowed: allowed.clone(),
        bucket,
        expires_at: row.expires_at,
    })
}

fn keep<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| problems.push(format!("{message}; the key is refused until that is mended"))).ok()
}

fn hash(text: &str) -> Result<KeyHash, String> {
    let mut hash = KeyHash::default();
    match hex::decode_to_slice(text.trim(), &mut hash) {
        Ok(()) => Ok(hash),
        // The text may be a key that somebody wrote into the table as it is.
        Err(_) => Err("credential_key is not a SHA-256 in 64 hex digits".to_owned()),
    }
}

/// Rate and burst; burst 0 is for the bucket to decide.
fn limit(row: &CredentialRow) -> Result<Option<(u32, u32)>, String> {
    let number = |name: &str, value: i64| match u32::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => Err(format!("{name} {value} is not a number from 0 to {}", u32::MAX)),
    };
    let Some(rate) = row.rate_limit else { return Ok(None) };
    let rate = number("rate_limit", rate)?;
    let burst = match row.burst {
        None => 0,
        Some(0) if rate > 0 => return Err("burst 0 admits nothing; write at least 1, or rate_limit 0".to_owned()),
        Some(burst) => number("burst", burst)?,
    };
    Ok(Some((rate, burst)))
}
