//! Counts tokens exactly, for records whose provider reported none: in one thread of low priority,
//! behind a queue that is bounded in jobs and in bytes. A job that finds no room is refused and
//! counted, and its record keeps the estimate.
//!
//! A vocabulary is loaded with the first job that needs it, and stays loaded.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::tokens::answer::{self, Answer};
use crate::tokens::picture::DefaultPicture;
use crate::tokens::request;
use crate::tokens::vocabulary::of_model;
use llm_wire::Format;

/// Jobs that may wait.
pub const MAX_JOBS: usize = 1024;
/// Bytes of requests and responses that may wait, the running job included.
pub const MAX_BYTES: usize = 64 << 20;

/// The priority of the thread (0 to 19): it gets the CPU time that workers and control plane leave.
const NICE: i32 = 10;

/// A request and its response, on either side of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The upstream model.
    pub model: String,
    /// The format of both bodies.
    pub format: Format,
    /// The request, as JSON.
    pub request: Vec<u8>,
    pub answer: Answer,
}

/// The tokens of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub input: u64,
    pub output: u64,
    /// Whether both were counted by published rules and with the model's own vocabulary.
    pub exact: bool,
}

impl Job {
    /// Counts in the calling thread.
    pub fn count(&self, pictures: &DefaultPicture) -> Counts {
        let model = of_model(&self.model);
        let (input, read) = request::count(self.format, &self.request, model, pictures);
        let (output, written) = answer::count(self.format, &self.answer, model);
        Counts { input, output, exact: read && written }
    }

    fn bytes(&self) -> usize {
        self.model.len() + self.request.len() + self.answer.len()
    }
}

/// The number of jobs so far, by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub counted: u64,
    /// There was no room in the queue.
    pub refused: u64,
    /// The count panicked.
    pub failed: u64,
}

/// The counting thread. Dropping this ends the thread after the running job, without waiting for
/// it. Waiting jobs end with `None`.
#[derive(Debug)]
pub struct Counter {
    queue: SyncSender<Waiting>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    counted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    /// Bytes of waiting and running jobs.
    bytes: AtomicUsize,
    ends: AtomicBool,
}

struct Waiting {
    job: Job,
    then: Box<dyn FnOnce(Option<Counts>) + Send>,
}

impl Counter {
    /// Starts the thread. `pictures` is used for pictures of unknown size.
    pub fn start(pictures: DefaultPicture) -> io::Result<Counter> {
        let (queue, waiting) = sync_channel(MAX_JOBS);
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::Builder::new().name("tokens".to_owned()).spawn(move || run(&waiting, &shared, &pictures))?;
        Ok(Counter { queue, state })
    }

    /// Queues a job without waiting. `then` is called in the counting thread, with `None` if
    /// counting failed or the thread ends; it should only pass the counts on. Returns false if
    /// there is no room: `then` is dropped, and the estimate stays.
    pub fn submit(&self, job: Job, then: impl FnOnce(Option<Counts>) + Send + 'static) -> bool {
        let bytes = job.bytes();
        let before = self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single job fits whatever its size: bodies have a bound of their own.
        let fits = before == 0 || before.saturating_add(bytes) <= MAX_BYTES;
        if fits && self.queue.try_send(Waiting { job, then: Box::new(then) }).is_ok() {
            return true;
        }
        self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.state.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Returns how many texts were counted, and how many were not.
    pub fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            counted: read(&self.state.counted),
            refused: read(&self.state.refused),
            failed: read(&self.state.failed),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
    }
}

fn run(waiting: &Receiver<Waiting>, state: &State, pictures: &DefaultPicture) {
    // On Linux this concerns the thread alone. If it is refused, the thread keeps its priority.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!("gateway: the counting thread keeps its priority: {error}");
    }
    for Waiting { job, then } in waiting {
        let counts = match state.ends.load(Ordering::Relaxed) {
            true => None,
            false => count(&job, state, pictures),
        };
        state.bytes.fetch_sub(job.bytes(), Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| then(counts))).is_err() {
            tracing::error!("gateway: the receiver of a token count has panicked");
        }
    }
}

fn count(job: &Job, state: &State, pictures: &DefaultPicture) -> Option<Counts> {
    match catch_unwind(AssertUnwindSafe(|| job.count(pictures))) {
        Ok(counts) => {
            state.counted.fetch_add(1, Ordering::Relaxed);
            Some(counts)
        }
        Err(_) => {
            let size = job.bytes();
            tracing::error!("gateway: counting the tokens of {size} bytes has panicked; the estimate is used");
            state.failed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Only a hang is longer.
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn job(text: &str) -> Job {
        Job {
            model: "gpt-4o".to_owned(),
            format: Format::Chat,
            request: format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#).into_bytes(),
            answer: Answer::Text("hello world".to_owned()),
        }
    }

    fn counter() -> Counter {
        Counter::start(DefaultPicture::default()).unwrap()
    }

    #[tokio::test]
    async fn counts_come_back() {
        let counter = counter();
        let (done, answer) = tokio::sync::oneshot::channel();
        assert!(counter.submit(job("hello world"), move |counts| done.send(counts).unwrap()));
        assert_eq!(answer.await.unwrap(), Some(Counts { input: 3 + 1 + 2 + 3, output: 2, exact: true }));
        assert_eq!(counter.stats(), Stats { counted: 1, ..Stats::default() });
    }

    /// The thread is held in a callback, so that what comes after it waits.
    #[test]
    fn a_full_queue_refuses_and_the_rest_is_counted() {
        let counter = counter();
        let (release, held) = sync_channel::<()>(0);
        let (entered, is_held) = sync_channel(1);
        let hold = move |_| {
            entered.send(()).unwrap();
            let _ = held.recv();
        };
        assert!(counter.submit(job(""), hold));
        is_held.recv_timeout(TIMEOUT).unwrap();
        let (done, answers) = sync_channel(MAX_JOBS);
        let submit = |text: &str| {
            let done = done.clone();
            counter.submit(job(text), move |counts| done.send(counts).unwrap())
        };
        // Bytes first: two large ones do not fit beside one another.
        let large = "a ".repeat(MAX_BYTES / 4 + 1000);
        assert!(submit(&large));
        assert!(!submit(&large));
        let taken = (0..MAX_JOBS).filter(|_| submit("a")).count();
        assert_eq!(taken, MAX_JOBS - 1);
        assert_eq!(counter.stats().refused, 2);
        drop(counter);
        drop(release);
        // Those that wait when it is dropped get that result.
        for _ in 0..MAX_JOBS {
            assert_eq!(answers.recv_timeout(TIMEOUT).unwrap(), None);
        }
    }

    #[test]
    fn panic_fails_one_request_only() {
        let counter = counter();
        assert!(counter.submit(job("a"), |_| panic!("on purpose")));
        let (done, answer) = sync_channel(1);
        assert!(counter.submit(job("a"), move |counts| done.send(counts).unwrap()));
        assert!(answer.recv_timeout(TIMEOUT).unwrap().is_some());
        assert_eq!(counter.stats().counted, 2);
    }
}
