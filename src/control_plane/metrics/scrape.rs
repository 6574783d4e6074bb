//! What a scrape of `/metrics` gets: what all shards have counted, and what is known of the process
//! and its configuration.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use crate::breaker::policy::WHOLE;
use crate::metrics::gather::{Facts, gather};
use crate::metrics::names::{Family, Words};
use crate::metrics::{openmetrics, text};
use crate::shared::ProcessState;
use crate::shared::admin::Response;
use crate::shared::store::State;
use llm_wire::Format;
use llm_wire::canonical::loss::{Loss, Repair};

/// Returns whether `accept` names OpenMetrics. Otherwise the older text is sent, which every
/// scraper reads.
pub(crate) fn wants_open_metrics(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.contains("application/openmetrics-text"))
}

/// In OpenMetrics, or in the older text.
pub(crate) fn answer(shared: &ProcessState, problems: usize, health: Facts, wants_open: bool) -> Response {
    let losses: Vec<&str> = Loss::ALL.iter().map(|loss| loss.label()).collect();
    let repairs: Vec<&str> = Repair::ALL.iter().map(|repair| repair.label()).collect();
    let words = Words { grids: [&losses, &repairs], sides: Format::ALL.map(Format::name) };
    let shards: Vec<_> = shared.shards.iter().chain([&shared.background]).collect();
    let mut facts = of_configuration(shared, problems);
    facts.extend(of_process());
    facts.extend(health);
    let metrics = gather(&shards, &facts, &words);
    let open = if wants_open { openmetrics::encode(metrics.clone()) } else { None };
    let (body, content_type) = match open {
        Some(body) => (body, openmetrics::CONTENT_TYPE),
        None => (text::encode(&metrics), text::CONTENT_TYPE),
    };
    Response { status: 200, body: body.into_bytes(), content_type: Some(content_type), ..Response::default() }
}

fn of_configuration(shared: &ProcessState, problems: usize) -> Facts {
    let snapshot = shared.publisher.load();
    let one = |family, value: f64| (family, Vec::new(), value);
    let state = shared.store.get();
    let version = || env!("CARGO_PKG_VERSION").to_owned();
    let driver = shared.driver.get().copied().unwrap_or("none").to_owned();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let built = [version(), std::env::consts::OS.into(), std::env::consts::ARCH.into(), profile.into()];
    let mut facts = vec![
        (Family::AppInfo, vec![version(), "llm-proxy".to_owned(), driver], 1.0),
        (Family::BuildInfo, built.to_vec(), 1.0),
        one(Family::Workers, shared.shards.len() as f64),
        one(Family::Generation, snapshot.generation as f64),
        one(Family::SnapshotAge, shared.publisher.age().as_secs_f64()),
        one(Family::ConfigVersion, snapshot.version as f64),
        one(Family::Problems, problems as f64),
        one(Family::StoreUp, f64::from(u8::from(state == State::Up))),
        one(Family::FromSnapshot, f64::from(u8::from(state == State::Snapshot))),
        one(Family::RingDropped, shared.rings.iter().map(|ring| ring.dropped()).sum::<u64>() as f64),
        one(Family::DetailDropped, shared.rings.iter().map(|ring| ring.details_dropped()).sum::<u64>() as f64),
        one(Family::Queue, shared.queued.count() as f64),
        one(Family::ProcessRunning, shared.running.count() as f64),
        one(Family::BodyMemory, shared.body_memory.used() as f64),
        one(Family::BodyMemoryLimit, shared.body_memory.limit() as f64),
    ];
    let counts = shared.placement.counts().enumerate();
    facts.extend(counts.map(|(at, count)| (Family::WorkerConnections, vec![at.to_string()], count as f64)));
    let (now, policy) = (shared.ticks(), &shared.boot.adaptive);
    for provider in &snapshot.providers {
        let key = || provider.key.to_string();
        let circuit = provider.memory.account.circuit();
        let share = if circuit.wait(now) > 0 { 0 } else { circuit.share(now, policy) };
        let weight = f64::from(provider.weight) * f64::from(share) / f64::from(WHOLE);
        facts.push((Family::Weight, vec![key()], weight));
        if let Some(running) = provider.limits.as_ref().and_then(|limits| limits.running()) {
            facts.push((Family::ProviderRunning, vec![key()], running as f64));
        }
        facts.push((Family::Circuit, vec![key(), circuit.state(now).to_owned()], 1.0));
    }
    match shared.certificate_ends.load(Ordering::Relaxed) {
        0 => {}
        end => facts.push(one(Family::CertExpiry, end as f64)),
    }
    facts
}

/// From `/proc`, as far as it can be read (proc(5)).
fn of_process() -> Facts {
    let mut facts = Facts::new();
    let mut add = |family, value: Option<f64>| facts.extend(value.map(|value| (family, Vec::new(), value)));
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, and may hold anything but the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let (ticks, page) = (rustix::param::clock_ticks_per_second() as f64, rustix::param::page_size() as f64);
    add(Family::ProcessCpu, number(11).zip(number(12)).map(|(user, system)| (user + system) / ticks));
    add(Family::ProcessThreads, number(17));
    add(Family::ProcessMemory, number(21).map(|pages| pages * page));
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    add(Family::ProcessStart, number(19).zip(uptime).map(|(start, up)| (now - up + start / ticks).round()));
    // A process that can't be dumped may not list its descriptors, but Linux 6.2 and later give
    // their number as the size.
    let listed = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let sized = || fs::metadata("/proc/self/fd").ok().map(|found| found.len() as f64).filter(|number| *number > 0.0);
    add(Family::ProcessFds, listed.or_else(sized));
    add(Family::ProcessMaxFds, getrlimit(Resource::Nofile).current.map(|most| most as f64));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names::Grid;

    #[test]
    fn every_loss_and_repair_has_its_place_in_the_grid() {
        assert!(Loss::ALL.len() <= Grid::WORDS && Repair::ALL.len() <= Grid::WORDS);
        assert_eq!(Format::ALL.len(), Grid::SIDES);
        assert!(Loss::ALL.iter().enumerate().all(|(at, loss)| *loss as usize == at));
        assert!(Repair::ALL.iter().enumerate().all(|(at, repair)| *repair as usize == at));
    }

    #[test]
    fn the_process_knows_itself() {
        let facts = of_process();
        let value = |family| facts.iter().find(|(of, ..)| *of == family).map(|(.., value)| *value);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(value(Family::ProcessStart).unwrap() <= now + 1.0);
        assert!(value(Family::ProcessMemory).unwrap() > 1e6);
        assert!(value(Family::ProcessThreads).unwrap() >= 1.0);
        assert!(value(Family::ProcessFds).unwrap() >= 3.0);
    }
}
