//! Cooldowns of accounts across nodes: a 429 that one gateway got keeps the others away too.
//!
//! Every [`PERIOD`] a node writes the cooldowns that it has begun by itself to the store of
//! `LIMITS_URL`, and reads those of the others. What it has read it never writes, so that no
//! cooldown lengthens itself on its way around. All of it is best effort: while the store does not
//! respond, each node knows its own alone.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::redis::{Cooldown, Remote};
use crate::breaker::circuit::{Event, Reason, TICK};
use crate::breaker::memory::Memory;
use crate::config::snapshot::Provider;
use crate::control_plane::timing::every;
use crate::metrics::names::Counter;
use crate::shared::ProcessState;

/// How often the store is asked.
const PERIOD: Duration = Duration::from_millis(250);
/// The longest pause behind failures, which doubles with each.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// Accounts of one round. Others are not shared.
const MOST: usize = 1000;
/// Times that differ by less are the same, in ticks.
const SLACK: u32 = 3;

/// An account, and what this node and the others know of its cooldown. Times are in ticks.
struct Account {
    key: String,
    memory: Arc<Memory>,
    /// Until when it rests, as others have said.
    learned: u32,
    /// Until when it rests, as this node has said.
    published: u32,
}

/// Begins to share cooldowns, if there is a store for that.
pub(crate) fn share(shared: &Arc<ProcessState>) -> Result<(), String> {
    let Some(url) = shared.boot.limits_url.as_ref().filter(|_| shared.boot.adaptive.enabled) else { return Ok(()) };
    let remote = Remote::new(url).map_err(|error| format!("LIMITS_URL can't be used: {error}"))?;
    tokio::spawn(run(shared.clone(), remote));
    Ok(())
}

async fn run(shared: Arc<ProcessState>, mut remote: Remote) {
    let (mut tick, mut pause) = (every(PERIOD), PERIOD);
    let (mut accounts, mut generation) = (Vec::new(), 0);
    loop {
        tick.tick().await;
        let snapshot = shared.publisher.load();
        if snapshot.generation != generation {
            generation = snapshot.generation;
            accounts = adopt(&snapshot.providers, accounts);
        }
        if accounts.is_empty() {
            continue;
        }
        let now = shared.ticks();
        let cooldowns: Vec<Cooldown> = accounts.iter_mut().map(|account| account.report(now)).collect();
        match remote.share_cooldowns(&cooldowns).await {
            Ok(left) => {
                pause = PERIOD;
                for (account, left) in accounts.iter_mut().zip(left) {
                    account.learn(&shared, now, left);
                }
            }
            Err(message) => {
                shared.background.inc(Counter::LimitStoreFailures);
                if pause == PERIOD {
                    tracing::warn!(
                        "gateway: cooldowns are not shared, the store of LIMITS_URL can't be asked: {message}"
                    );
                }
                pause = (pause * 2).min(MAX_PAUSE);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Returns the accounts of these providers, with what was known of them before.
fn adopt(providers: &[Arc<Provider>], before: Vec<Account>) -> Vec<Account> {
    let mut before: HashMap<String, Account> = before.into_iter().map(|known| (known.key.clone(), known)).collect();
    let make = |provider: &Arc<Provider>| {
        let key = key(provider);
        let known = before.remove(&key).filter(|known| Arc::ptr_eq(&known.memory, &provider.memory));
        known.unwrap_or_else(|| Account { key, memory: provider.memory.clone(), learned: 0, published: 0 })
    };
    providers.iter().take(MOST).map(make).collect()
}

/// Returns the name of an account in the store: a hash of its address and key, since nodes with
/// stores of their own have other ids for the same account.
fn key(provider: &Provider) -> String {
    let mut hash = Sha256::new();
    hash.update(&*provider.base.authority);
    hash.update([0]);
    hash.update(&*provider.base.path);
    hash.update([0]);
    for lines in &provider.auth {
        hash.update(&***lines);
    }
    let mut key = "llm-proxy:cooldown:".to_owned();
    // Half of the hash distinguishes accounts. Writing to a String does not fail.
    hash.finalize()[..16].iter().for_each(|byte| {
        let _ = write!(key, "{byte:02x}");
    });
    key
}

impl Account {
    /// Returns until when the account rests because of a 429. 0 if it does not.
    fn rests_until(&self, now: u32) -> u32 {
        let circuit = self.memory.account.circuit();
        match circuit.wait(now) {
            wait if wait > 0 && circuit.reason == Reason::Throttled => now.saturating_add(wait),
            _ => 0,
        }
    }

    /// Returns what this node has to say of the account.
    fn report(&mut self, now: u32) -> Cooldown {
        let until = self.rests_until(now);
        let is_own = until > self.learned.saturating_add(SLACK);
        let is_over = until == 0 && self.published > now.saturating_add(SLACK);
        self.published = match (is_own, is_over) {
            (true, _) => until,
            (false, true) => 0,
            (false, false) => self.published,
        };
        let ms = if is_own { u64::from(until - now) * TICK } else { 0 };
        Cooldown { key: self.key.clone(), ms, is_over }
    }

    /// Takes in that the account rests for so many milliseconds more.
    fn learn(&mut self, shared: &ProcessState, now: u32, left_ms: u64) {
        let ticks = u32::try_from(left_ms / TICK).unwrap_or(u32::MAX);
        let until = now.saturating_add(ticks);
        let known = self.rests_until(now).max(self.learned).max(self.published);
        if ticks == 0 || until <= known.saturating_add(SLACK) {
            return;
        }
        self.learned = until;
        self.memory.account.record(Event::Exhausted(ticks), now, &shared.boot.adaptive);
        shared.background.inc(Counter::SharedCooldowns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::policy::Policy;

    fn account() -> Account {
        Account { key: "k".into(), memory: Arc::default(), learned: 0, published: 0 }
    }

    #[test]
    fn what_was_learned_is_not_reported() {
        let (mut account, policy) = (account(), Policy::default());
        account.learned = 600;
        account.memory.account.record(Event::Exhausted(500), 100, &policy);
        assert_eq!(account.report(100).ms, 0);
        // A longer one of its own is.
        account.memory.account.record(Event::Throttled(Some(900)), 110, &policy);
        assert_eq!(account.report(110).ms, 900 * TICK);
    }

    /// A request that succeeds ends a cooldown, for the others too.
    #[test]
    fn a_cooldown_that_has_ended_early_is_taken_back() {
        let (mut account, policy) = (account(), Policy::default());
        account.memory.account.record(Event::Throttled(Some(900)), 100, &policy);
        assert!(account.report(100).ms > 0);
        account.memory.account.record(Event::Success, 150, &policy);
        let cooldown = account.report(150);
        assert!(cooldown.is_over && cooldown.ms == 0);
        assert!(!account.report(151).is_over, "once");
    }
}
