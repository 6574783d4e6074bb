//! Names to addresses, as workers see it: a table that the background thread keeps fresh.
//!
//! A worker never resolves: it reads the table, and if a name is not there yet it asks for it and looks again each [`RETRY`]. That happens only
//! in the first moments after a provider was added; from then on the background thread renews each name when its time to live ends and
//! keeps the last good answer when renewal fails.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

/// How often a worker looks for a name that is being resolved.
const RETRY: Duration = Duration::from_millis(5);

/// Names that can be asked for at once. More are dropped, and asked for again by the next look.
const WANTED: usize = 1024;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// In the order of preference. Never empty.
    Addresses(Arc<[IpAddr]>),
    /// The last try failed and nothing older is known: why.
    Failed(Arc<str>),
}

#[derive(Debug)]
pub struct Table {
    entries: ArcSwap<HashMap<String, Resolved>>,
    wanted: ArrayQueue<String>,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: ArcSwap::default(), wanted: ArrayQueue::new(WANTED) }
    }
}

impl Table {
    /// For the background thread: replaces the table.
    pub fn publish(&self, entries: HashMap<String, Resolved>) {
        self.entries.store(Arc::new(entries));
    }

    /// For the background thread: a name that a worker asked for.
    pub fn next_wanted(&self) -> Option<String> {
        self.wanted.pop()
    }

    /// The addresses of `host`, which may be an IP literal. Waits while the name is being resolved; the caller sets the limit.
    pub async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let mut asked = false;
        loop {
            match self.entries.load().get(host) {
                Some(Resolved::Addresses(ips)) => return Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
                Some(Resolved::Failed(why)) => return Err(format!("the name `{host}` can't be resolved: {why}")),
                None if !asked => asked = self.wanted.push(host.to_string()).is_ok(),
                None => {}
            }
            monoio::time::sleep(RETRY).await;
        }
    }
}
