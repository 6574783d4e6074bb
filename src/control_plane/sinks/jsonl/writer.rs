//! The thread that writes. What it holds back, it holds for a second at most.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::config::boot::observe::Jsonl;
use crate::control_plane::sinks::jsonl::file::{Log, RotatedFiles};
use crate::control_plane::sinks::jsonl::lines::lines;
use crate::control_plane::sinks::queue_budget::{Job, Losses};

/// Lines that are written in one go.
const LINES: u64 = 100;
/// Bytes of the same, about.
const BYTES: usize = 1 << 20;
/// How long a line may wait to be written. What a crash can lose.
const FLUSH: Duration = Duration::from_secs(1);
/// The least time between two warnings.
const WARN: Duration = Duration::from_secs(30);
/// How often a file that can't be opened is tried again; meanwhile the queue fills.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    settings: Jsonl,
    rotated: RotatedFiles,
    losses: Losses,
    log: Option<Log>,
    /// Of whole requests, not written yet.
    held: Vec<u8>,
    held_lines: u64,
    /// Where each of them ends.
    held_ends: Vec<usize>,
    /// When they must be written.
    due: Option<Instant>,
    /// Puts the rotated in order.
    tidying: Option<JoinHandle<()>>,
    /// It is to be put in order once more.
    untidy: bool,
    /// Something goes wrong, and somebody was warned of it.
    trouble: bool,
    /// When that was last. A disk that is nearly full fails and works by turns.
    warned: Option<Instant>,
}

impl Writer {
    pub(super) fn new(settings: Jsonl, losses: Losses) -> Writer {
        let rotated = RotatedFiles::new(settings.path.clone(), settings.keep, settings.gzip);
        Writer {
            settings,
            rotated,
            losses,
            log: None,
            held: Vec::new(),
            held_lines: 0,
            held_ends: Vec::new(),
            due: None,
            tidying: None,
            untidy: false,
            trouble: false,
            warned: None,
        }
    }

    /// Until nobody sends any more. `over` says so while the file can't be opened, when nothing is
    /// taken from the queue.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, over: &AtomicBool) {
        while !self.open() {
            thread::sleep(RETRY);
            if over.load(Ordering::Acquire) {
                return self.losses.lost("disk", jobs.try_iter().count() as u64);
            }
        }
        // What an earlier process did not get to.
        self.tidy();
        loop {
            let job = match self.due {
                Some(due) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
                None if self.untidy => jobs.recv_timeout(FLUSH),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.take(&job),
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    if self.untidy {
                        self.tidy();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
    }

    fn open(&mut self) -> bool {
        let opened = Log::open(&self.settings.path);
        self.settled("can't be opened", opened).map(|log| self.log = Some(log)).is_some()
    }

    fn take(&mut self, job: &Job) {
        let before = self.held.len();
        let count = lines(&mut self.held, &job.record, &job.directory, self.settings.body_bytes);
        let size = self.log.as_ref().map_or(0, Log::size) + self.held.len() as u64;
        if size > self.settings.max_bytes && size > (self.held.len() - before) as u64 {
            // What is of this request goes into the next file, so that none is in two.
            let of_this = self.held.split_off(before);
            self.flush();
            self.rotate();
            self.held = of_this;
        }
        self.held_lines += count;
        self.held_ends.push(self.held.len());
        if self.held_lines >= LINES || self.held.len() >= BYTES {
            return self.flush();
        }
        self.due.get_or_insert_with(|| Instant::now() + FLUSH);
    }

    /// Writes what is held. What can't be written is lost: memory is not a place to wait for room
    /// on a disk.
    fn flush(&mut self) {
        self.due = None;
        if self.held.is_empty() {
            return;
        }
        let ends = std::mem::take(&mut self.held_ends);
        self.held_lines = 0;
        if self.log.as_ref().is_none_or(|log| !log.is_in_place()) {
            // Somebody has moved it, as logrotate does.
            self.log = None;
            self.open();
        }
        let (records, written) = match &mut self.log {
            Some(log) => log.append(&self.held, &ends),
            None => (0, Err(io::Error::other("it is not open"))),
        };
        self.settled("can't be written", written);
        self.losses.passed(records as u64);
        if records < ends.len() {
            self.losses.lost("disk", (ends.len() - records) as u64);
        }
        self.held.clear();
        self.held.shrink_to(2 * BYTES);
    }

    /// Sets the file aside and begins a new one.
    fn rotate(&mut self) {
        if self.log.as_ref().is_none_or(|log| log.size() == 0) {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let put = self.rotated.put(now.as_millis() as u64);
        if self.settled("can't be set aside", put).is_some() {
            self.log = None;
            self.open();
            self.tidy();
        }
    }

    /// Elsewhere, since compressing takes time.
    fn tidy(&mut self) {
        self.untidy = self.tidying.as_ref().is_some_and(|running| !running.is_finished());
        if self.untidy {
            return;
        }
        let rotated = self.rotated.clone();
        let run = move || {
            if let Err(error) = rotated.tidy() {
                let path = rotated.path.display();
                tracing::warn!("gateway: files set aside from {path} can't be kept in order: {error}");
            }
        };
        self.tidying = thread::Builder::new().name("jsonl-rotated".to_owned()).spawn(run).ok();
    }

    /// Warns of trouble, not too often, and tells when it is over.
    fn settled<T>(&mut self, what: &str, result: io::Result<T>) -> Option<T> {
        let path = self.settings.path.display();
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.trouble) {
                    tracing::info!("gateway: JSONL_LOG_PATH {path} is written again");
                }
                Some(value)
            }
            Err(error) => {
                if self.warned.is_none_or(|at| at.elapsed() >= WARN) {
                    let then = "requests are served, lines beyond what the queue holds are lost";
                    tracing::warn!("gateway: JSONL_LOG_PATH {path} {what}: {error}; {then}");
                    (self.warned, self.trouble) = (Some(Instant::now()), true);
                }
                None
            }
        }
    }
}
