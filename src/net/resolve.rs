//! Finds the addresses of an upstream in the table that the control plane keeps.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::shared::names::{Resolved, Table};

/// How often a worker looks for a name that is being resolved.
const RETRY: Duration = Duration::from_millis(5);

/// How long a worker waits for a name that is resolved again.
const RENEWAL: Duration = Duration::from_millis(250);

/// Returns the addresses of `host`, which may be an IP literal. Waits while the name is being
/// resolved; the caller limits the time.
pub async fn look_up(table: &Table, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let mut is_requested = false;
    loop {
        match table.get(host) {
            Some(Resolved::Addresses(ips)) => return Ok(ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Some(Resolved::Failed(reason)) => return Err(format!("the name `{host}` can't be resolved: {reason}")),
            None if !is_requested => is_requested = table.request(host),
            None => {}
        }
        monoio::time::sleep(RETRY).await;
    }
}

/// Has `host` resolved again, since no connection can be made to `known`. Returns its addresses if they
/// are others now. The answer of a resolver that takes longer is for the next connection.
pub async fn look_up_again(table: &Table, host: &str, port: u16, known: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let before = table.resolved_at(host)?;
    if !table.renew(host) {
        return None;
    }
    for _ in 0..RENEWAL.as_millis() / RETRY.as_millis() {
        monoio::time::sleep(RETRY).await;
        if table.resolved_at(host) != Some(before) {
            let found = look_up(table, host, port).await.ok()?;
            return (found != known).then_some(found);
        }
    }
    None
}
