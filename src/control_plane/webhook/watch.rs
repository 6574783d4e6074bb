//! Looks at what nobody reports: providers that are out of service, and keys that will expire.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Duration;

use crate::config::snapshot::Snapshot;
use crate::control_plane::store::now;
use crate::control_plane::timing::every;
use crate::control_plane::webhook::event::Event;
use crate::control_plane::webhook::queue::Webhook;
use crate::shared::ProcessState;

/// How often providers are looked at.
const PROVIDERS: Duration = Duration::from_secs(1);
/// How often keys are, in looks at providers.
const KEYS: u64 = 60;
/// So many days before it expires a key is reported.
const DAYS: [i64; 2] = [7, 1];
const DAY: i64 = 86_400;
/// Keys that are reported at once. More are reported with the next looks.
const AT_ONCE: usize = 50;

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<ProcessState>, webhook: Webhook) {
    let mut seen = Seen::default();
    let mut tick = every(PROVIDERS);
    let mut looks = 0_u64;
    loop {
        tick.tick().await;
        let snapshot = shared.publisher.load();
        // Before the store was read there is nothing to look at, and the first look at keys counts.
        if snapshot.generation == 0 {
            continue;
        }
        seen.providers(&snapshot, shared.ticks(), now()).into_iter().for_each(|event| webhook.send(event));
        if looks.is_multiple_of(KEYS) {
            seen.keys(&snapshot, now()).into_iter().for_each(|event| webhook.send(event));
        }
        looks += 1;
    }
}

/// What was reported.
#[derive(Default)]
struct Seen {
    /// Providers that are out of service, by id, and models of them.
    down: HashSet<(i64, Option<String>)>,
    /// Keys, their ends and the days before.
    keys: HashSet<(i64, i64, i64)>,
}

impl Seen {
    /// `ticks` is the time of the breakers. What an administrator took out of service is not
    /// reported: a person knows.
    fn providers(&mut self, snapshot: &Snapshot, ticks: u32, now: i64) -> Vec<Event> {
        let mut events = Vec::new();
        let mut down = HashSet::new();
        for provider in &snapshot.providers {
            for (model, cell) in provider.memory.circuits() {
                let circuit = cell.circuit();
                let (is_out, reason) = (circuit.state(ticks) != "closed", circuit.reason.label());
                let key = (provider.id, model.map(str::to_owned));
                let (provider, model) = (provider.key.to_string(), key.1.clone());
                let was_out = self.down.contains(&key);
                if is_out && reason != "administrator" {
                    down.insert(key);
                    if !was_out {
                        events.push(Event::ProviderDown { provider, model, reason, at: now });
                    }
                } else if was_out {
                    events.push(Event::ProviderUp { provider, model, at: now });
                }
            }
        }
        self.down = down;
        events
    }

    /// Returns the events of keys that expire, one for each key and number of days.
    fn keys(&mut self, snapshot: &Snapshot, now: i64) -> Vec<Event> {
        let mut events = Vec::new();
        for credential in &snapshot.credentials_by_id {
            let Some(expires_at) = credential.expires_at.filter(|at| *at > now) else { continue };
            // The smallest that fits: a key that has a day left is not reported for seven days as
            // well.
            let due = DAYS.into_iter().rfind(|days| expires_at - now <= days * DAY);
            if let Some(days) = due
                && events.len() < AT_ONCE
                && self.keys.insert((credential.id, expires_at, days))
            {
                events.push(Event::KeyExpires { credential: credential.name.to_string(), expires_at, days });
            }
        }
        // What has expired is not looked at again.
        self.keys.retain(|(_, expires_at, _)| *expires_at > now);
        events
    }
}
