//! One measurement: the load of one target in one round.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, sleep_until, timeout};

use super::arrivals::{Added, Arrivals, Pacer, Schedule};
use super::connection::{Connection, Endpoint, Failure};
use super::histogram::Histogram;
use super::process::{self, Usage};

/// Pause of a connection that can't be opened.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

/// How a target is loaded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Requests a second. `None` is a closed loop: each connection sends the next request when it
    /// has the response of the last one.
    pub(super) rate: Option<f64>,
    /// How many connections there are; with a rate, at most.
    pub(super) connections: usize,
    pub(super) warm_up: Duration,
    pub(super) length: Length,
    /// From the begin of a request to its last byte.
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Time(Duration),
    Requests(u64),
}

/// What one measurement has found.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    /// From the begin of a request to its last byte.
    pub(super) latency: Histogram,
    /// From the begin of a request to the first byte of the response's body.
    pub(super) first: Histogram,
    /// How long stamped events were under way.
    pub(super) events: Histogram,
    /// Requests without a good response, by their reason.
    pub(super) failures: BTreeMap<String, u64>,
    /// From the first measured request to the last response.
    pub(super) elapsed: Duration,
    /// CPU time of the target's process, and its memory at the end.
    pub(super) target: Option<Usage>,
    /// CPU time of this process.
    pub(super) own_cpu: Duration,
}

impl Measured {
    /// Returns the good responses a second.
    pub(super) fn rate(&self) -> f64 {
        self.latency.count() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Returns the target's CPU time for a request.
    pub(super) fn cpu_per_request(&self) -> Option<Duration> {
        let requests = u32::try_from(self.latency.count() + self.failed()).ok().filter(|requests| *requests > 0)?;
        Some(self.target?.cpu / requests)
    }

    pub(super) fn add(&mut self, other: &Measured) {
        self.latency.add(&other.latency);
        self.first.add(&other.first);
        self.events.add(&other.events);
        for (why, count) in &other.failures {
            *self.failures.entry(why.clone()).or_default() += count;
        }
    }
}

/// Measures once. `pid` is the target's process.
pub(super) async fn measure(endpoint: &Rc<Endpoint>, load: Load, pid: Option<u32>) -> std::io::Result<Measured> {
    let run = Rc::new(Run::new(endpoint.clone(), load));
    let before = LocalSet::new()
        .run_until(async {
            let before = tokio::task::spawn_local(usage_at(run.measured_from, pid));
            match load.rate {
                None => closed_loop(&run).await,
                Some(rate) => open_loop(&run, rate).await?,
            }
            Ok::<_, std::io::Error>(before.await.unwrap_or_default())
        })
        .await?;
    let (target, own) = usage(pid);
    let mut measured = run.measured.take();
    measured.elapsed = run.last_end.get().saturating_duration_since(run.measured_from);
    measured.own_cpu = own.saturating_sub(before.1);
    measured.target =
        target.map(|after| Usage { cpu: after.cpu.saturating_sub(before.0.unwrap_or_default().cpu), ..after });
    Ok(measured)
}

/// Sends one request, to see whether a target can be measured at all.
pub(super) async fn check(endpoint: &Endpoint, time: Duration) -> Result<(), Failure> {
    let mut connection = Connection::new(endpoint);
    timeout(time, connection.exchange(|_| {})).await.unwrap_or(Err(Failure::Timeout)).map(drop)
}

fn usage(pid: Option<u32>) -> (Option<Usage>, Duration) {
    (pid.and_then(process::usage), process::own_cpu().unwrap_or_default())
}

async fn usage_at(time: Instant, pid: Option<u32>) -> (Option<Usage>, Duration) {
    sleep_until(time.into()).await;
    usage(pid)
}

/// The state of a measurement.
struct Run {
    endpoint: Rc<Endpoint>,
    load: Load,
    /// Requests that begin before are warm-up.
    measured_from: Instant,
    /// Measured requests that a closed loop may still begin.
    left: Cell<u64>,
    arrivals: Arrivals,
    /// Requests of an open loop that have ended, one way or the other.
    ended: Cell<u64>,
    all_ended: Notify,
    last_end: Cell<Instant>,
    measured: RefCell<Measured>,
}

impl Run {
    fn new(endpoint: Rc<Endpoint>, load: Load) -> Run {
        let measured_from = Instant::now() + load.warm_up;
        let left = match load.length {
            Length::Time(_) => u64::MAX,
            Length::Requests(count) => count,
        };
        Run {
            endpoint,
            load,
            measured_from,
            left: Cell::new(left),
            arrivals: Arrivals::default(),
            ended: Cell::new(0),
            all_ended: Notify::new(),
            last_end: Cell::new(measured_from),
            measured: RefCell::default(),
        }
    }

    /// Performs a request that began, or was due, at `begin`.
    async fn perform(&self, connection: &mut Connection<'_>, begin: Instant) {
        let is_measured = begin >= self.measured_from;
        let on_event = |delay| {
            if is_measured {
                self.measured.borrow_mut().events.record(delay);
            }
        };
        let result = timeout(self.load.timeout, connection.exchange(on_event)).await;
        match result.unwrap_or(Err(Failure::Timeout)) {
            Ok(times) if is_measured => {
                let mut measured = self.measured.borrow_mut();
                measured.latency.record(times.end - begin);
                measured.first.record(times.first - begin);
                self.last_end.set(self.last_end.get().max(times.end));
            }
            Ok(_) => {}
            Err(failure) => {
                if is_measured {
                    self.fail(failure.to_string());
                }
                if matches!(failure, Failure::Connect(_)) {
                    sleep(RECONNECT_PAUSE).await;
                }
            }
        }
    }

    fn fail(&self, why: String) {
        *self.measured.borrow_mut().failures.entry(why).or_default() += 1;
        self.last_end.set(self.last_end.get().max(Instant::now()));
    }

    /// Takes a request of a closed loop, unless there are no more.
    fn take(&self, begin: Instant) -> bool {
        if begin < self.measured_from {
            return true;
        }
        if let Length::Time(time) = self.load.length {
            return begin < self.measured_from + time;
        }
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// Keeps every connection busy, and returns when the last response has come.
async fn closed_loop(run: &Rc<Run>) {
    let mut connections = JoinSet::new();
    for _ in 0..run.load.connections {
        let run = run.clone();
        connections.spawn_local(async move {
            let mut connection = Connection::new(&run.endpoint);
            loop {
                let begin = Instant::now();
                if !run.take(begin) {
                    break;
                }
                run.perform(&mut connection, begin).await;
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

/// Begins requests when they are due, and returns when all have ended, or when the time of the last
/// one is over.
async fn open_loop(run: &Rc<Run>, rate: f64) -> std::io::Result<()> {
    let schedule = Schedule { start: run.measured_from - run.load.warm_up, rate };
    let warm_up = if run.load.warm_up.is_zero() { 0 } else { schedule.count_within(run.load.warm_up) };
    let total = warm_up
        + match run.load.length {
            Length::Time(time) => schedule.count_within(time),
            Length::Requests(count) => count,
        };
    let pacer = Pacer::start(schedule, total)?;
    let mut connections = JoinSet::new();
    let mut begun = 0;
    while begun < total {
        let due = pacer.more_than(begun).await;
        for n in begun..due {
            match run.arrivals.add(schedule.due(n)) {
                Added::Waits if connections.len() < run.load.connections => {
                    connections.spawn_local(serve_arrivals(run.clone(), total));
                }
                Added::Taken | Added::Waits => {}
                Added::Dropped => {
                    run.fail("not sent, too many waited".to_owned());
                    end_one(run, total);
                }
            }
        }
        begun = due;
    }
    let ended = async {
        while run.ended.get() < total {
            run.all_ended.notified().await;
        }
    };
    let _ = timeout(run.load.timeout, ended).await;
    let unanswered = total - run.ended.get();
    connections.abort_all();
    for _ in 0..unanswered {
        run.fail("not answered in time".to_owned());
    }
    Ok(())
}

async fn serve_arrivals(run: Rc<Run>, total: u64) {
    let mut connection = Connection::new(&run.endpoint);
    loop {
        let due = run.arrivals.next().await;
        run.perform(&mut connection, due).await;
        end_one(&run, total);
    }
}

fn end_one(run: &Run, total: u64) {
    run.ended.set(run.ended.get() + 1);
    if run.ended.get() == total {
        run.all_ended.notify_one();
    }
}
