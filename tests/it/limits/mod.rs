//! The limits of credentials of the real binary: what is refused, with which error, and what is
//! given back.

mod at_once;
mod budgets;
mod cooldowns;
mod failed_attempts;
mod groups;
mod load;
mod other_attempts;
mod regressions;
mod reserves;
mod settlement;
mod shared;
mod shared_budgets;
mod tokens;
mod usage;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llm_mock::{Knobs, MockHandle, MockOptions};
use llm_proxy::config::rows::CredentialRow;

use super::support::*;

const PATH: &str = sample::CHAT.path;

fn limited(change: impl FnOnce(&mut CredentialRow)) -> CredentialRow {
    let mut row = credential(KEY);
    change(&mut row);
    row
}

/// The number in a header.
fn number(response: &Response, name: &str) -> u64 {
    let value = response.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", response.headers));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// A provider that answers as fast as it can.
fn quick() -> MockHandle {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    llm_mock::start(MockOptions { addr, workers: 1, defaults: Knobs::default() }).unwrap()
}

/// The responses to clients that sent requests for `seconds`, each again as soon as it got a
/// response.
struct Seen {
    admitted: u64,
    refused: u64,
    /// From before the first request to behind the last answer.
    elapsed: f64,
}

fn closed_loop(gateways: &[&Gateway], connections: usize, seconds: f64) -> Seen {
    let (admitted, refused, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..connections {
            let gateway = gateways[n % gateways.len()];
            let (admitted, refused, stop) = (&admitted, &refused, &stop);
            scope.spawn(move || {
                let mut client = gateway.client();
                let request = post(PATH).body(sample::CHAT.ask).bytes();
                while !stop.load(Ordering::Relaxed) {
                    client.send(&request);
                    match client.response().status {
                        200 => admitted.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            // A refused client waits a little, so that the machine is not busy with
                            // refusals alone.
                            std::thread::sleep(Duration::from_millis(2));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("status {other}"),
                    };
                }
            });
        }
        std::thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
    });
    let elapsed = started.elapsed().as_secs_f64();
    Seen { admitted: admitted.into_inner(), refused: refused.into_inner(), elapsed }
}
