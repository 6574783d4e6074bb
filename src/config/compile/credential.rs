//! One row of `credentials`. What cannot be read here must not open a door: the row is not served,
//! and reports it.

use std::sync::Arc;

use crate::config::models::Allowed;
use crate::config::rows::CredentialRow;
use crate::config::snapshot::{Credential, KeyHash, Previous, Snapshot};
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

pub(super) fn compile(
    row: &CredentialRow,
    allowed: &Allowed,
    before: &mut Before<'_>,
    problems: &mut Vec<String>,
) -> Option<Arc<Credential>> {
    let hash = keep(hash(&row.credential_key), problems);
    let limit = keep(limit(row), problems);
    let tokens_per_minute = keep(optional("tokens_per_minute", row.tokens_per_minute), problems);
    let max_concurrency = keep(optional("max_concurrency", row.max_concurrency), problems);
    let previous = previous(row, problems);
    if row.rate_limit.is_none() && row.burst.is_some() {
        problems.push("burst means nothing without rate_limit; the credential has no limit".to_owned());
    }
    let hash = hash?;
    let settings = Settings { requests: limit?, tokens: tokens_per_minute?, at_once: max_concurrency? };
    let known = before.find(row.id);
    if let Some(known) = known
        && known.hash == hash
        && *known.name == *row.name
        && known.allowed == *allowed
        && known.expires_at == row.expires_at
        && known.previous == previous
        && known.limits.settings() == settings
    {
        return Some(known.clone());
    }
    let limits = Limits::new(settings, known.map(|known| &known.limits));
    let (name, allowed) = (row.name.as_str().into(), allowed.clone());
    let expires_at = row.expires_at;
    Some(Arc::new(Credential { id: row.id, name, hash, allowed, limits, expires_at, previous }))
}

/// The key before the last rotation. One that can't be read is as good as past: the new key is not
/// refused for it.
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

fn keep<T>(result: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    result.map_err(|message| problems.push(format!("{message}; the key is refused until that is mended"))).ok()
}

/// The value of each hex digit; 255 for what is none. A table, since digits and letters come in no
/// order that a branch could guess, and there may be many keys.
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
        // The text may be a key that somebody wrote into the table as it is.
        Err("credential_key is not a SHA-256 in 64 hex digits".to_owned())
    }
}

fn number(name: &str, value: i64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{name} {value} is not a number from 0 to {}", u32::MAX))
}

fn optional(name: &str, value: Option<i64>) -> Result<Option<u32>, String> {
    value.map(|value| number(name, value)).transpose()
}

/// Rate and burst.
fn limit(row: &CredentialRow) -> Result<Option<(u32, u32)>, String> {
    let Some(rate) = row.rate_limit else { return Ok(None) };
    let rate = number("rate_limit", rate)?;
    let burst = match row.burst {
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
