//! Drains the record rings of all workers into the sinks. A sink is where finished requests go: the
//! access log, files, tables, services. On the way estimated tokens are counted, if that is
//! configured, and each record gets its cost.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::yield_now;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::snapshot::{Provider, Snapshot};
use crate::control_plane::records::cost::Prices;
use crate::control_plane::records::exact_tokens;
use crate::control_plane::records::exact_tokens::Recount;
use crate::shared::ProcessState;
use crate::telemetry::record::Record;
use crate::telemetry::ring;

/// Records between two yields: some tens of microseconds.
const SLICE: u32 = 8;

/// How long the last records may take to arrive, in all sinks together.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The future that ends a sink.
pub type SinkShutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A destination of records. Its methods run in the thread of the records, which has no runtime:
/// they may take some time, but not wait for a network.
pub trait Sink: Send {
    /// Returns whether the sink does anything with a record. Called for each.
    fn is_enabled(&self) -> bool;

    fn record(&mut self, record: &Arc<Record>, directory: &Directory);

    /// Ends a batch of records. Also called at the end.
    fn flush(&mut self) {}

    /// Ends the sink. The future is done when all records have arrived, and is dropped if that
    /// takes too long.
    fn finish(self: Box<Self>) -> SinkShutdown {
        Box::pin(ready(()))
    }
}

/// Looks up the ids of a record.
#[derive(Debug, Default, Clone)]
pub struct Directory(Arc<Snapshot>);

impl Directory {
    /// Returns a provider. `None` for the id 0, which is none, and for a row that was removed.
    pub fn provider(&self, id: i64) -> Option<&Provider> {
        self.0.provider(id).map(|provider| &**provider)
    }

    /// Returns the name of a credential. `None` as for [`Directory::provider`].
    pub fn credential(&self, id: i64) -> Option<&str> {
        self.0.credential(id).map(|credential| &*credential.name)
    }

    /// Returns the name of a credential and those of its groups, the innermost first. Both are
    /// empty for a row that was removed.
    pub(crate) fn owner(&self, id: i64, separator: char) -> (String, String) {
        let Some(credential) = self.0.credential(id) else { return Default::default() };
        let mut path = String::new();
        for group in credential.groups() {
            if !path.is_empty() {
                path.push(separator);
            }
            path.push_str(&group.name);
        }
        (credential.name.to_string(), path)
    }

    /// Returns the names of this snapshot.
    pub(crate) fn of(snapshot: Arc<Snapshot>) -> Directory {
        Directory(snapshot)
    }
}

/// Takes finished requests from the rings, and passes them to the sinks.
pub(crate) struct Drain {
    shared: Arc<ProcessState>,
    sinks: Vec<Box<dyn Sink>>,
    directory: Directory,
    prices: Prices,
    recount: Recount,
}

impl Drain {
    /// Makes it with its sinks, which get each record in this order.
    pub(crate) fn new(shared: Arc<ProcessState>, sinks: Vec<Box<dyn Sink>>, prices: Prices, recount: Recount) -> Drain {
        Drain { shared, sinks, directory: Directory::default(), prices, recount }
    }

    /// Drains the rings: at most one full ring of each worker. Lets others of its CPU run every few
    /// records. Returns whether there were any.
    pub(crate) fn run(&mut self) -> bool {
        let mut any = false;
        let mut passed = 0;
        let rings = self.shared.clone();
        for ring in &rings.rings {
            for _ in 0..ring::CAPACITY {
                let Some(record) = ring.pop() else { break };
                any = true;
                if let Some(record) = self.recount.take(record) {
                    self.pass(record);
                }
                passed += 1;
                if passed % SLICE == 0 {
                    yield_now();
                }
            }
        }
        while let Some(record) = self.recount.next() {
            any = true;
            self.pass(record);
        }
        if any {
            self.sinks.iter_mut().filter(|sink| sink.is_enabled()).for_each(|sink| sink.flush());
        }
        any
    }

    /// Returns whether records wait for their tokens to be counted.
    pub(crate) fn is_waiting(&self) -> bool {
        self.recount.is_waiting()
    }

    /// Sets the cost of a record and passes it to the sinks.
    fn pass(&mut self, mut record: Arc<Record>) {
        if self.directory.0.generation != self.shared.publisher.generation() {
            self.directory = Directory::of(self.shared.publisher.load());
        }
        // No other reference is left, so this does not copy.
        self.prices.charge(Arc::make_mut(&mut record), &self.directory.0);
        for sink in self.sinks.iter_mut().filter(|sink| sink.is_enabled()) {
            sink.record(&record, &self.directory);
        }
    }

    /// Passes on the last records, after all workers have ended.
    pub(crate) async fn finish(&mut self) {
        self.run();
        let deadline = std::time::Instant::now() + exact_tokens::SHUTDOWN_TIMEOUT;
        while let Some(record) = self.recount.last(deadline) {
            self.pass(record);
        }
        self.sinks.iter_mut().for_each(|sink| sink.flush());
        let mut all: JoinSet<()> = self.sinks.drain(..).map(|sink| sink.finish()).collect();
        // A sink that takes longer reports its losses when it is dropped.
        let _ = timeout(SHUTDOWN_TIMEOUT, async { while all.join_next().await.is_some() {} }).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::boot::Boot;
    use crate::control_plane::metrics::meter::ControlPlaneMetrics;
    use crate::shared::Hints;
    use crate::telemetry::record::{Outcome, Short, Tokens};

    pub(crate) fn record(id: &str) -> Record {
        Record {
            endpoint: "/v1/chat/completions",
            method: "POST",
            client_format: Some(llm_wire::Format::Chat),
            provider_format: Some(llm_wire::Format::Chat),
            model: Short::new("gpt-4"),
            sent_model: Short::new("gpt-4-0613"),
            credential: 7,
            provider: 9,
            generation: 1,
            status: 200,
            attempts: 1,
            outcome: Outcome::Complete,
            tokens: Some(Tokens { input: 11, output: 22, ..Tokens::default() }),
            finish: Some("stop"),
            request_bytes: 1,
            response_bytes: 2,
            total_us: 12_345,
            first_byte_us: 2_000,
            ..Record::new(id, 1_700_000_000_000_000)
        }
    }

    #[derive(Default)]
    struct Seen {
        ids: Vec<String>,
        flushes: usize,
    }

    struct Keep {
        on: bool,
        seen: Arc<Mutex<Seen>>,
    }

    impl Sink for Keep {
        fn is_enabled(&self) -> bool {
            self.on
        }

        fn record(&mut self, record: &Arc<Record>, _: &Directory) {
            self.seen.lock().unwrap().ids.push(record.request_id.as_str().to_owned());
        }

        fn flush(&mut self) {
            self.seen.lock().unwrap().flushes += 1;
        }
    }

    #[tokio::test]
    async fn every_record_reaches_every_enabled_sink() {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        let shared = Arc::new(ProcessState::new(Boot::default(), 3, hints));
        let seen: [Arc<Mutex<Seen>>; 3] = Default::default();
        let sink = |at: usize| Box::new(Keep { on: at != 1, seen: seen[at].clone() }) as Box<dyn Sink>;
        let prices = || {
            Prices::new(
                shared.clone(),
                ControlPlaneMetrics::new(&shared),
                tokio::sync::watch::channel(Arc::default()).1,
            )
        };
        let recount = || Recount::new(shared.clone(), ControlPlaneMetrics::new(&shared)).unwrap();
        let mut drain = Drain::new(shared.clone(), vec![sink(0), sink(1), sink(2)], prices(), recount());

        drain.run();
        assert_eq!(seen[0].lock().unwrap().flushes, 0);
        for (core, ring) in shared.rings.iter().enumerate() {
            (0..=core).for_each(|n| ring.push(record(&format!("{core}.{n}"))));
        }
        drain.run();
        drain.finish().await;
        for at in [0, 2] {
            let seen = seen[at].lock().unwrap();
            assert_eq!(seen.ids, ["0.0", "1.0", "1.1", "2.0", "2.1", "2.2"]);
            assert_eq!(seen.flushes, 2);
        }
        assert!(seen[1].lock().unwrap().ids.is_empty());

        // Rings are drained even without an enabled sink.
        let mut idle = Drain::new(shared.clone(), vec![sink(1)], prices(), recount());
        shared.rings[0].push(record("unread"));
        idle.run();
        assert!(shared.rings[0].pop().is_none());
    }
}
