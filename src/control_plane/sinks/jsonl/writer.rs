//! The thread that writes the file. It buffers lines for at most a second.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::config::boot::observe::Jsonl;
use crate::control_plane::sinks::jsonl::file::{Log, RotatedFiles};
use crate::control_plane::sinks::jsonl::lines::{KnownBodies, lines};
use crate::control_plane::sinks::queue_budget::{Job, Losses};

/// Lines of one write.
const MAX_LINES: u64 = 100;
/// Bytes of one write, approximately.
const MAX_BYTES: usize = 1 << 20;
/// How long a line may wait to be written, which is what a crash can lose.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(30);
/// How often a file that can't be opened is tried again. Meanwhile the queue fills.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    settings: Jsonl,
    /// The mode of files that are created.
    mode: u32,
    rotated: RotatedFiles,
    losses: Losses,
    log: Option<Log>,
    known: KnownBodies,
    /// Lines of complete requests, not written yet.
    buffer: Vec<u8>,
    buffered_lines: u64,
    /// Where the lines of each request end.
    buffered_ends: Vec<usize>,
    /// When the buffer must be written.
    due: Option<Instant>,
    /// The thread that cleans up rotated files.
    cleaning: Option<JoinHandle<()>>,
    /// Whether another clean-up is due.
    needs_cleaning: bool,
    /// Whether the file has failed and a warning was logged.
    failing: bool,
    /// When the last warning was logged. A disk that is nearly full fails and works alternately.
    warned: Option<Instant>,
}

impl Writer {
    pub(super) fn new(settings: Jsonl, mode: u32, losses: Losses) -> Writer {
        let rotated = RotatedFiles::new(settings.path.clone(), settings.keep, settings.gzip);
        Writer {
            settings,
            mode,
            rotated,
            losses,
            log: None,
            known: KnownBodies::default(),
            buffer: Vec::new(),
            buffered_lines: 0,
            buffered_ends: Vec::new(),
            due: None,
            cleaning: None,
            needs_cleaning: false,
            failing: false,
            warned: None,
        }
    }

    /// Runs until all senders are dropped. `over` reports while the file can't be opened, when
    /// nothing is taken from the queue.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, over: &AtomicBool) {
        while !self.open() {
            thread::sleep(RETRY_INTERVAL);
            if over.load(Ordering::Acquire) {
                return self.losses.lost("disk", jobs.try_iter().count() as u64);
            }
        }
        // An earlier process may not have finished this.
        self.clean_up();
        loop {
            let job = match self.due {
                Some(due) => jobs.recv_timeout(due.saturating_duration_since(Instant::now())),
                None if self.needs_cleaning => jobs.recv_timeout(FLUSH_INTERVAL),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.take(&job),
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    if self.needs_cleaning {
                        self.clean_up();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
    }

    fn open(&mut self) -> bool {
        let opened = Log::open(&self.settings.path, self.mode);
        self.check("can't be opened", opened).map(|log| self.log = Some(log)).is_some()
    }

    fn take(&mut self, job: &Job) {
        let before = self.buffer.len();
        let most = self.settings.body_bytes;
        let count = lines(&mut self.buffer, &job.record, &job.directory, most, &mut self.known);
        let size = self.log.as_ref().map_or(0, Log::size) + self.buffer.len() as u64;
        if size > self.settings.max_bytes && size > (self.buffer.len() - before) as u64 {
            // The lines of this request go into the next file, so that no request is in two.
            let lines_of_request = self.buffer.split_off(before);
            self.flush();
            self.rotate();
            self.buffer = lines_of_request;
        }
        self.buffered_lines += count;
        self.buffered_ends.push(self.buffer.len());
        if self.buffered_lines >= MAX_LINES || self.buffer.len() >= MAX_BYTES {
            return self.flush();
        }
        self.due.get_or_insert_with(|| Instant::now() + FLUSH_INTERVAL);
    }

    /// Writes the buffer. What can't be written is lost: memory is no place to wait for room on a
    /// disk.
    fn flush(&mut self) {
        self.due = None;
        if self.buffer.is_empty() {
            return;
        }
        let ends = std::mem::take(&mut self.buffered_ends);
        self.buffered_lines = 0;
        if self.log.as_ref().is_none_or(|log| !log.is_in_place()) {
            // Another process has moved it, as logrotate does.
            self.log = None;
            self.open();
        }
        let (records, written) = match &mut self.log {
            Some(log) => log.append(&self.buffer, &ends),
            None => (0, Err(io::Error::other("it is not open"))),
        };
        self.check("can't be written", written);
        self.losses.passed(records as u64);
        if records < ends.len() {
            self.losses.lost("disk", (ends.len() - records) as u64);
        }
        self.buffer.clear();
        self.buffer.shrink_to(2 * MAX_BYTES);
    }

    /// Rotates the file and begins a new one.
    fn rotate(&mut self) {
        if self.log.as_ref().is_none_or(|log| log.size() == 0) {
            return;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let rotated = self.rotated.rotate(now.as_millis() as u64);
        if self.check("can't be rotated", rotated).is_some() {
            self.log = None;
            self.open();
            self.clean_up();
        }
    }

    /// Cleans up rotated files in another thread, since compressing takes time.
    fn clean_up(&mut self) {
        self.needs_cleaning = self.cleaning.as_ref().is_some_and(|running| !running.is_finished());
        if self.needs_cleaning {
            return;
        }
        let rotated = self.rotated.clone();
        let run = move || {
            if let Err(error) = rotated.clean_up() {
                let path = rotated.path.display();
                tracing::warn!("gateway: rotated files of {path} can't be cleaned up: {error}");
            }
        };
        self.cleaning = thread::Builder::new().name("jsonl-rotated".to_owned()).spawn(run).ok();
    }

    /// Logs a failure of the file, not too often, and its end.
    fn check<T>(&mut self, what: &str, result: io::Result<T>) -> Option<T> {
        let path = self.settings.path.display();
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("gateway: JSONL_LOG_PATH {path} is written again");
                }
                Some(value)
            }
            Err(error) => {
                if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
                    let then = "requests are served, lines beyond what the queue holds are lost";
                    tracing::warn!("gateway: JSONL_LOG_PATH {path} {what}: {error}; {then}");
                    (self.warned, self.failing) = (Some(Instant::now()), true);
                }
                None
            }
        }
    }
}
