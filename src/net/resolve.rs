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

/// Has `host` resolved again, since no connection can be made to `known`. Returns those of its
/// addresses that are new, if there are any. The answer of a resolver that takes longer is for the
/// next connection.
pub async fn look_up_again(table: &Table, host: &str, port: u16, known: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let before = table.resolved_at(host)?;
    if !table.renew(host) {
        return None;
    }
    for _ in 0..RENEWAL.as_millis() / RETRY.as_millis() {
        monoio::time::sleep(RETRY).await;
        if table.resolved_at(host) != Some(before) {
            let mut found = look_up(table, host, port).await.ok()?;
            found.retain(|address| !known.contains(address));
            return (!found.is_empty()).then_some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::shared::names::{Known, NEW_FOR};

    fn known(ips: &[&str], resolved_at: Instant) -> HashMap<String, Known> {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        HashMap::from([("a".to_owned(), Known { resolved: Resolved::Addresses(ips), resolved_at })])
    }

    /// What a resolver answers a second time is dialled again only as far as it is new.
    #[test]
    fn an_answer_in_another_order_is_no_change() {
        let rows: [(&[&str], &[&str]); 3] = [
            (&["10.0.0.2", "10.0.0.1"], &[]),
            (&["10.0.0.1"], &[]),
            (&["10.0.0.2", "10.0.0.3", "10.0.0.1"], &["10.0.0.3"]),
        ];
        for (answer, expected) in rows {
            let table = Arc::new(Table::default());
            table.publish(known(&["10.0.0.1", "10.0.0.2"], Instant::now() - NEW_FOR));
            let resolver = table.clone();
            let answer = answer.to_vec();
            let resolver = std::thread::spawn(move || {
                while resolver.next_outdated().is_none() {
                    std::thread::yield_now();
                }
                resolver.publish(known(&answer, Instant::now()));
            });
            let builder = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new();
            let mut runtime = builder.enable_timer().build().unwrap();
            let found = runtime.block_on(async {
                let before = look_up(&table, "a", 443).await.unwrap();
                look_up_again(&table, "a", 443, &before).await.unwrap_or_default()
            });
            resolver.join().unwrap();
            let expected: Vec<SocketAddr> =
                expected.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect();
            assert_eq!(found, expected);
        }
    }
}
