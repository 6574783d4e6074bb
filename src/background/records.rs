//! Empties the record rings of all cores into the sinks, and tells each record its cost on the way. A sink is where finished requests go: the access log, and later files, tables
//! and services.

use std::sync::Arc;

use super::prices::Prices;
use crate::config::snapshot::{Provider, Snapshot};
use crate::control::Shared;
use crate::record::entry::Record;
use crate::record::ring;

/// Somewhere for records to go. Called on the background thread, so that it may take its time, but not wait for a network.
pub trait Sink: Send {
    /// Whether anything would come of a record. Asked once for each batch; if no sink wants any, records are thrown away unread.
    fn enabled(&self) -> bool;

    fn record(&mut self, record: &Arc<Record>, directory: &Directory);

    /// After each batch with records in it, and at the end.
    fn flush(&mut self) {}
}

/// What the ids of a record stand for.
#[derive(Debug, Default)]
pub struct Directory(Arc<Snapshot>);

impl Directory {
    /// `None` for the id 0, which is nobody, and for a provider that is no longer served.
    pub fn provider(&self, id: i64) -> Option<&Provider> {
        self.0.provider(id).map(|provider| &**provider)
    }

    /// As [`Directory::provider`].
    pub fn credential(&self, id: i64) -> Option<&str> {
        self.0.credential(id).map(|credential| &*credential.name)
    }

    pub(super) fn of(snapshot: Arc<Snapshot>) -> Directory {
        Directory(snapshot)
    }
}

pub(super) struct Drain {
    shared: Arc<Shared>,
    sinks: Vec<Box<dyn Sink>>,
    directory: Directory,
    prices: Prices,
}

impl Drain {
    pub(super) fn new(shared: Arc<Shared>, sinks: Vec<Box<dyn Sink>>, prices: Prices) -> Drain {
        Drain { shared, sinks, directory: Directory::default(), prices }
    }

    /// Takes what is there now: at most one full ring of each core, so that busy cores can't hold this thread.
    pub(super) fn run(&mut self) {
        let mut sinks: Vec<_> = self.sinks.iter_mut().filter(|sink| sink.enabled()).collect();
        let mut any = false;
        for ring in &self.shared.rings {
            for _ in 0..ring::CAPACITY {
                let Some(mut record) = ring.pop() else { break };
                if self.directory.0.generation != self.shared.publisher.generation() {
                    self.directory = Directory::of(self.shared.publisher.load());
                }
                self.prices.charge(&mut record, &self.directory.0);
                if sinks.is_empty() {
                    continue;
                }
                let record = Arc::new(record);
                for sink in &mut sinks {
                    sink.record(&record, &self.directory);
                }
                any = true;
            }
        }
        if any {
            sinks.iter_mut().for_each(|sink| sink.flush());
        }
    }

    /// The last records, when no worker runs any more.
    pub(super) fn finish(&mut self) {
        self.run();
        self.sinks.iter_mut().for_each(|sink| sink.flush());
        // What a sink has handed on to a task of its own ends with it.
        self.sinks.clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::super::meter::Meter;
    use super::*;
    use crate::config::boot::Boot;
    use crate::control::Hints;
    use crate::record::entry::{Outcome, Short, Tokens};

    pub(in crate::background) fn record(id: &str) -> Record {
        Record {
            endpoint: "/v1/chat/completions",
            method: "POST",
            client_format: Some(crate::wire::Format::Chat),
            provider_format: Some(crate::wire::Format::Chat),
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
        fn enabled(&self) -> bool {
            self.on
        }

        fn record(&mut self, record: &Arc<Record>, _: &Directory) {
            self.seen.lock().unwrap().ids.push(record.request_id.as_str().to_owned());
        }

        fn flush(&mut self) {
            self.seen.lock().unwrap().flushes += 1;
        }
    }

    #[test]
    fn every_record_of_every_core_reaches_every_sink_that_wants_it() {
        let hints = Hints { no_credentials: String::new(), no_providers: String::new() };
        let shared = Arc::new(Shared::new(Boot::default(), 3, hints));
        let seen: [Arc<Mutex<Seen>>; 3] = Default::default();
        let sink = |at: usize| Box::new(Keep { on: at != 1, seen: seen[at].clone() }) as Box<dyn Sink>;
        let prices = || Prices::new(shared.clone(), Meter::new(&shared), tokio::sync::watch::channel(Arc::default()).1);
        let mut drain = Drain::new(shared.clone(), vec![sink(0), sink(1), sink(2)], prices());

        drain.run();
        assert_eq!(seen[0].lock().unwrap().flushes, 0);
        for (core, ring) in shared.rings.iter().enumerate() {
            (0..=core).for_each(|n| ring.push(record(&format!("{core}.{n}"))));
        }
        drain.run();
        drain.finish();
        for at in [0, 2] {
            let seen = seen[at].lock().unwrap();
            assert_eq!(seen.ids, ["0.0", "1.0", "1.1", "2.0", "2.1", "2.2"]);
            assert_eq!(seen.flushes, 2);
        }
        assert!(seen[1].lock().unwrap().ids.is_empty());

        // Rings are emptied even if nobody wants what is in them.
        let mut idle = Drain::new(shared.clone(), vec![sink(1)], prices());
        shared.rings[0].push(record("unread"));
        idle.run();
        assert!(shared.rings[0].pop().is_none());
    }
}
