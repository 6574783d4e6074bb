//! The one thread that may wait: the store, and all that is not on the path of a request.

pub mod store;

use std::sync::Arc;

use crate::config::boot::Environment;
use crate::config::compile::compile;
use crate::control::Shared;
use store::Store;

pub struct Background {}

pub fn start(shared: Arc<Shared>, mut store: Box<dyn Store>, environment: Environment) -> Result<Background, String> {
    let load = move |store: &mut Box<dyn Store>, shared: &Shared| -> Result<(), String> {
        let rows = store.load().map_err(|e| e.message)?;
        let env = |name: &str| environment.get(name).map(str::to_string);
        let (snapshot, problems) = compile(&rows, Some(&shared.publisher.load()), &env);
        for p in problems {
            tracing::warn!("{}: {}", p.object, p.message);
        }
        let mut names = std::collections::HashMap::new();
        for p in &snapshot.providers {
            use std::net::ToSocketAddrs;
            if let Ok(addrs) = (p.base.host.as_str(), p.base.port).to_socket_addrs() {
                let ips: Arc<[std::net::IpAddr]> = addrs.map(|a| a.ip()).collect();
                if !ips.is_empty() {
                    names.insert(p.base.host.clone(), crate::control::names::Resolved::Addresses(ips));
                }
            }
        }
        shared.names.publish(names);
        shared.publisher.publish(snapshot);
        Ok(())
    };
    load(&mut store, &shared)?;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(std::time::Duration::from_millis(100));
            if store.changed().unwrap_or(false) {
                let _ = load(&mut store, &shared);
            }
        }
    });
    Ok(Background {})
}

impl Background {
    pub fn stop(self) {}
}
