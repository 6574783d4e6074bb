//! One row of `credentials`. A row that cannot be read must not grant access: it is not served, and
//! reports it.

use std::sync::Arc;

use crate::config::hedging::Hedging;
use crate::config::models::Allowed;
use crate::config::rows::CredentialRow;
use crate::config::snapshot::{Credential, KeyHash, Previous, Scope, Snapshot};
use crate::limit::provider::NORMAL_LEVEL;
use crate::limit::{Limits, Settings};

/// The credentials of the snapshot before this one that no row has passed yet, in the order of ids.
///
/// Rows come in that order too, so that both are walked once, and memory is read as it lies: with
/// many credentials that is most of the time that a reload takes.
pub(super) struct Before<'a>(&'a [Arc<Credential>]);

impl<'a> Before<'a> {
    pub(super) fn new(snapshot: Option<&'a Snapshot>) -> Before<'a> {
        Before(snapshot.map_or(&[], |snapshot| &snapshot.credentials_by_id))
    }

    /// Ids must not fall from call to call.
    fn find(&mut self, id: i64) -> Option<&'a Arc<Credential>> {
        while let [first, rest @ ..] = self.0
            && first.id < id
        {
            self.0 = rest;
        }
        self.0.first().filter(|credential| credential.id == id)
    }
}

/// Returns whether a client's key is so short that it may be guessed.
pub fn is_weak_key(key: &str) -> bool {
    key.trim().len() < 16
}

/// The problem of such a key.
pub const WEAK_KEY: &str = "key has fewer than 16 characters and may be guessed";

pub(super) fn compile(
    row: &CredentialRow,
    allowed: &Allowed,
    scope: Option<Arc<Scope>>,
    before: &mut Before<'_>,
    problems: &mut Vec<String>,
) -> Option<Arc<Credential>> {
    const REFUSED: &str = "the key is refused";
    let hash = keep(hash(&row.credential_key), REFUSED, problems);
    let (level, hedging) = (level(&row.metadata, problems), hedging(&row.metadata, problems));
    let columns = LimitColumns {
        rate_limit: row.rate_limit,
        burst: row.burst,
        tokens_per_minute: row.tokens_per_minute,
        max_concurrency: row.max_concurrency,
    };
    let settings = columns.settings("credential", REFUSED, problems);
    let previous = previous(row, problems);
    let (hash, settings) = (hash?, settings?);
    let known = before.find(row.id);
    if let Some(known) = known
        && known.hash == hash
        && *known.name == *row.name
        && known.allowed == *allowed
        && known.expires_at == row.expires_at
        && known.previous == previous
        && known.level == level
        && known.hedging == hedging
        && known.limits.settings() == settings
        && same_scope(known.scope.as_deref(), scope.as_deref())
    {
        return Some(known.clone());
    }
    let limits = Limits::new(settings, known.map(|known| &known.limits));
    let (name, allowed) = (row.name.as_str().into(), allowed.clone());
    let (id, expires_at) = (row.id, row.expires_at);
    Some(Arc::new(Credential { id, name, hash, allowed, limits, expires_at, previous, level, hedging, scope }))
}

/// Returns the level of `metadata.priority`, by which requests wait for room. Most rows have none.
fn level(metadata: &str, problems: &mut Vec<String>) -> usize {
    #[derive(serde::Deserialize)]
    struct Metadata {
        priority: Option<serde_json::Value>,
    }
    if !metadata.contains("\"priority\"") {
        return NORMAL_LEVEL;
    }
    let Ok(Metadata { priority: Some(priority) }) = serde_json::from_str(metadata) else { return NORMAL_LEVEL };
    match priority.as_str() {
        Some("high") => 0,
        Some("normal") => NORMAL_LEVEL,
        Some("low") => NORMAL_LEVEL + 1,
        _ => {
            problems.push(format!(
                "metadata: priority {priority} is none of high, normal and low; requests of this key wait as normal ones"
            ));
            NORMAL_LEVEL
        }
    }
}

/// Returns the hedging of `metadata.hedge`. Most rows have none.
fn hedging(metadata: &str, problems: &mut Vec<String>) -> Option<Hedging> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        hedge: Option<serde_json::Value>,
    }
    if !metadata.contains("\"hedge\"") {
        return None;
    }
    let Ok(Metadata { hedge: Some(hedge) }) = serde_json::from_str(metadata) else { return None };
    Hedging::read(&hedge).unwrap_or_else(|reason| {
        problems.push(format!("metadata: {reason}; requests of this key are not hedged"));
        None
    })
}

/// Returns whether both are made of the same parts: those in which nothing has changed were carried
/// over.
fn same_scope(one: Option<&Scope>, other: Option<&Scope>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one.groups.len() == other.groups.len()
                && one.groups.iter().zip(&other.groups).all(|(one, other)| Arc::ptr_eq(one, other))
                && one.budgets.len() == other.budgets.len()
                && one.budgets.iter().zip(&other.budgets).all(|(one, other)| Arc::ptr_eq(one, other))
        }
        _ => false,
    }
}

/// The columns that credentials and groups have in common.
pub(super) struct LimitColumns {
    pub(super) rate_limit: Option<i64>,
    pub(super) burst: Option<i64>,
    pub(super) tokens_per_minute: Option<i64>,
    pub(super) max_concurrency: Option<i64>,
}

impl LimitColumns {
    /// Returns the limits, or `None` if one can't be read. `refused` says what follows from that
    /// for a row of this kind (`what`).
    pub(super) fn settings(&self, what: &str, refused: &str, problems: &mut Vec<String>) -> Option<Settings> {
        let limit = keep(limit(self.rate_limit, self.burst), refused, problems);
        let tokens = keep(optional("tokens_per_minute", self.tokens_per_minute), refused, problems);
        let at_once = keep(optional("max_concurrency", self.max_concurrency), refused, problems);
        if self.rate_limit.is_none() && self.burst.is_some() {
            problems.push(format!("burst means nothing without rate_limit; the {what} has no limit"));
        }
        Some(Settings { requests: limit?, tokens: tokens?, at_once: at_once? })
    }
}

/// Returns the key before the last rotation. One that can't be read counts as expired: the new key
/// is not refused for it.
fn previous(row: &CredentialRow, problems: &mut Vec<String>) -> Option<Previous> {
    let (Some(key), Some(until)) = (&row.previous_key, row.previous_key_until) else { return None };
    match hash(key) {
        Ok(hash) => Some(Previous { hash, until }),
        Err(_) => {
            problems.push("previous_key is not a SHA-256 in 64 hex digits; only the new key is good".to_owned());
            None
        }
    }
}

fn keep<T>(result: Result<T, String>, refused: &str, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| problems.push(format!("{message}; {refused} until that is corrected"))).ok()
}

/// The value of each hex digit; 255 for other bytes. A table is used, since digits and letters come
/// in no order that branch prediction could learn, and there may be many keys.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn hash(text: &str) -> Result<KeyHash, String> {
    let mut hash = KeyHash::default();
    let mut seen = 0;
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    if pairs.len() == hash.len() && rest.is_empty() && seen < 16 {
        Ok(hash)
    } else {
        // The message does not show the text, which may be a key that was written into the table as
        // it is.
        Err("credential_key is not a SHA-256 in 64 hex digits".to_owned())
    }
}

fn number(name: &str, value: i64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{name} {value} is not a number from 0 to {}", u32::MAX))
}

fn optional(name: &str, value: Option<i64>) -> Result<Option<u32>, String> {
    value.map(|value| number(name, value)).transpose()
}

/// Checks rate and burst.
fn limit(rate: Option<i64>, burst: Option<i64>) -> Result<Option<(u32, u32)>, String> {
    let Some(rate) = rate else { return Ok(None) };
    let rate = number("rate_limit", rate)?;
    let burst = match burst {
        None => rate,
        Some(0) if rate > 0 => return Err("burst 0 admits nothing; write at least 1, or rate_limit 0".to_owned()),
        Some(burst) => number("burst", burst)?,
    };
    Ok(Some((rate, burst)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        let digits = "0123456789abcdefABCDEF0123456789fedcba98765432100123456789abcdef";
        assert_eq!(hash(digits).unwrap().as_slice(), hex::decode(digits).unwrap());
        assert!(hash(&format!(" {digits}\n")).is_ok());
        for bad in
            [&digits[1..], &digits[2..], &format!("{digits}0"), &format!("{digits}00"), &digits.replace('9', "g"), ""]
        {
            assert!(hash(bad).is_err(), "{bad}");
        }
    }
}
