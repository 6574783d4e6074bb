//! One row of `credentials`. What cannot be read here must not open a door: the row is not served, and says so.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::models::Allowed;
use crate::config::rows::CredentialRow;
use crate::config::snapshot::{Credential, KeyHash, Snapshot};
use crate::limit::Bucket;

/// What the snapshot before this one can lend.
pub(super) struct Before<'a> {
    snapshot: Option<&'a Snapshot>,
    /// Filled when a credential is met that is new or has a new key; most reloads have few or none.
    buckets: OnceCell<HashMap<i64, &'a Arc<Bucket>, ahash::RandomState>>,
}

impl<'a> Before<'a> {
    pub(super) fn new(snapshot: Option<&'a Snapshot>) -> Before<'a> {
        Before { snapshot, buckets: OnceCell::new() }
    }

    fn credential(&self, hash: &KeyHash, id: i64) -> Option<&'a Arc<Credential>> {
        self.snapshot?.credentials.get(hash).filter(|credential| credential.id == id)
    }

    /// Found by id, since a key may be changed under its bucket.
    fn bucket(&self, id: i64) -> Option<&'a Arc<Bucket>> {
        let credentials = &self.snapshot?.credentials;
        let with_bucket = |credential: &'a Arc<Credential>| Some((credential.id, credential.bucket.as_ref()?));
        self.buckets.get_or_init(|| credentials.values().filter_map(with_bucket).collect()).get(&id).copied()
    }
}

pub(super) fn compile(
    row: &CredentialRow,
    allowed: &Allowed,
    before: &Before<'_>,
    problems: &mut Vec<String>,
) -> Option<Arc<Credential>> {
    let hash = keep(hash(&row.credential_key), problems);
    let limit = keep(limit(row), problems);
    if row.rate_limit.is_none() && row.burst.is_some() {
        problems.push("burst means nothing without rate_limit; the credential has no limit".to_owned());
    }
    let (hash, limit) = (hash?, limit?);
    let known = before.credential(&hash, row.id);
    if let Some(known) = known
        && *known.name == *row.name
        && known.expires_at == row.expires_at
        && known.allowed == *allowed
        && known.bucket.as_deref().map(|bucket| (bucket.rate(), bucket.burst())) == limit
    {
        return Some(known.clone());
    }
    let bucket = limit.map(|(rate, burst)| {
        let lent = match known {
            Some(known) => known.bucket.as_ref(),
            None => before.bucket(row.id),
        };
        match lent {
            Some(bucket) if (bucket.rate(), bucket.burst()) == (rate, burst) => bucket.clone(),
            _ => Arc::new(Bucket::new(rate, burst)),
        }
    });
    let (name, allowed) = (row.name.as_str().into(), allowed.clone());
    Some(Arc::new(Credential { id: row.id, name, hash, allowed, bucket, expires_at: row.expires_at }))
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

/// Rate and burst.
fn limit(row: &CredentialRow) -> Result<Option<(u32, u32)>, String> {
    let number = |name: &str, value: i64| match u32::try_from(value) {
        Ok(value) => Ok(value),
        Err(_) => Err(format!("{name} {value} is not a number from 0 to {}", u32::MAX)),
    };
    let Some(rate) = row.rate_limit else { return Ok(None) };
    let rate = number("rate_limit", rate)?;
    let burst = match row.burst {
        None => rate,
        Some(0) if rate > 0 => return Err("burst 0 admits nothing; write at least 1, or rate_limit 0".to_owned()),
        Some(burst) => number("burst", burst)?,
    };
    Ok(Some((rate, burst)))
}
