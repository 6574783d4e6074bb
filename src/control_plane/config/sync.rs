//! Follows the store: rows -> compile -> names -> publish.
//!
//! After the first read only changes are read. A new configuration is published when every host in
//! it was looked up, or after [`NAMES_TIMEOUT`], so that no request has to wait for a name. Until
//! then the old one stays current. A failed read is repeated; nothing is removed meanwhile.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::boot::Environment;
use crate::config::compile::{compile_with, notices};
use crate::config::snapshot::{Problem, Snapshot};
use crate::control_plane::config::current::{Current, InForce};
use crate::control_plane::config::disk_cache::DiskCache;
use crate::control_plane::config::models_file::ModelsFile;
use crate::control_plane::config::row_changes::{changes, counted, merge};
use crate::control_plane::config::row_files::RowFiles;
use crate::control_plane::discovery::dns::Names;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store::{Answer, Changes, Delta, Error, Fault, Store};
use crate::control_plane::timing::until;
use crate::metrics::names::Family;
use crate::shared::ProcessState;
use crate::shared::store::State;

/// The first pause after a failure of the store. It doubles up to [`MAX_RETRY_PAUSE`].
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(10);
/// How long a new configuration waits for its names.
const NAMES_TIMEOUT: Duration = Duration::from_secs(2);

/// Follows the store, compiles its rows and publishes the result.
pub(crate) struct Sync {
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    environment: Environment,
    models_file: ModelsFile,
    /// Files that rows name.
    row_files: RowFiles,
    pub(crate) current: Arc<Current>,
    work: Work,
    outage: Option<Outage>,
    /// The number of complete reads.
    whole: u64,
    next: Option<Next>,
    /// The problems of the current snapshot, which were logged.
    problems: Vec<Problem>,
    /// Snapshots that a worker may still use. Freeing one with many credentials takes milliseconds,
    /// so a worker must not do it.
    retired: Vec<Arc<Snapshot>>,
    /// For stores that may be unavailable when this node starts.
    disk_cache: Option<DiskCache>,
    meter: Arc<ControlPlaneMetrics>,
    /// When the current change was noticed.
    noticed: Option<Instant>,
    /// The store was written during a read, which may have begun before: another read must follow.
    again: bool,
}

/// The query that runs.
enum Work {
    /// Waits for a change.
    Watch(Answer<'static, ()>),
    /// Reads the changes, or everything.
    Read(Answer<'static, Changes>),
    /// None: the store has failed.
    Pause(Instant),
}

/// How the query ended.
// One exists at a time, and is moved once.
/// What has happened, for [`Sync::take`].
#[allow(clippy::large_enum_variant)]
pub(crate) enum Step {
    Changed(Result<(), Error>),
    Read(Result<Changes, Error>),
    Rested,
    /// Another part of this thread wrote to the store.
    Written,
    /// The operator's facts about models changed.
    ModelsFile,
    /// A file that rows name has changed.
    RowFiles,
}

/// A failing store.
struct Outage {
    message: String,
    pause: Duration,
}

/// A configuration that is not published yet.
struct Next {
    snapshot: Snapshot,
    problems: Vec<Problem>,
    hosts: HashSet<String>,
    /// When it is published at the latest, whether or not its hosts are resolved.
    deadline: Instant,
}

impl Sync {
    /// Makes the part of the control plane that follows `store`. Nothing is read yet.
    pub(crate) fn new(
        shared: Arc<ProcessState>,
        store: Arc<dyn Store>,
        environment: Environment,
        meter: Arc<ControlPlaneMetrics>,
    ) -> Sync {
        let current = Arc::new(Current::new());
        let work = Work::Pause(Instant::now());
        let boot = &shared.boot;
        let remote = boot.db_url.is_some() && boot.config_file.is_none();
        let newest = current.clone();
        let source = Box::new(move || newest.read().rows.clone());
        let models_file = ModelsFile::open(boot.models_file.as_deref());
        let disk_cache = remote.then(|| DiskCache::new(&boot.data_dir, store.place(), environment.clone(), source));
        let (problems, outage, next, retired, noticed) = Default::default();
        let (whole, again) = (0, false);
        Sync {
            shared,
            store,
            environment,
            models_file,
            row_files: RowFiles::default(),
            current,
            work,
            outage,
            whole,
            next,
            problems,
            retired,
            disk_cache,
            meter,
            noticed,
            again,
        }
    }

    /// Reads and compiles everything, for the start. If the store is unavailable, the copy on disk
    /// is used.
    pub(crate) async fn load(&mut self, names: &mut Names) -> Result<(), Error> {
        match self.store.load().await {
            Ok(rows) => {
                // A worker that can't get it continues without it.
                if let Ok(Some(identity)) = self.store.identity().await {
                    let _ = self.shared.store_id.set(identity);
                }
                self.take(Step::Read(Ok(Changes::All(rows))), names);
            }
            Err(error) if error.fault == Fault::Unavailable => self.start_without(error, names)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn start_without(&mut self, error: Error, names: &mut Names) -> Result<(), Error> {
        let Some(disk_cache) = &self.disk_cache else { return Err(error) };
        let none = || Err("there is no copy of its rows on this node yet".to_owned());
        match disk_cache.load().and_then(|rows| rows.map_or_else(none, Ok)) {
            Ok(rows) => {
                tracing::warn!("gateway: starting with the copy of version {} on disk, since {error}", rows.version);
                self.shared.store.set(State::Snapshot);
                self.apply(Changes::All(rows), names);
                self.fail(&error);
                Ok(())
            }
            Err(reason) => Err(Error { message: format!("{error}; and {reason}"), ..error }),
        }
    }

    /// Writes the last rows to disk.
    pub(crate) async fn finish(&mut self) {
        if let Some(disk_cache) = &mut self.disk_cache {
            disk_cache.finish().await;
        }
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Step {
        let current = self.current.clone();
        tokio::select! {
            step = self.work.done() => step,
            () = self.models_file.changed() => Step::ModelsFile,
            () = self.row_files.changed() => Step::RowFiles,
            () = current.written.notified() => Step::Written,
        }
    }

    /// Does what a step requires. It does not wait.
    pub(crate) fn take(&mut self, step: Step, names: &mut Names) {
        match step {
            Step::Written if matches!(self.work, Work::Read(_)) => self.again = true,
            Step::Changed(Ok(())) | Step::Written | Step::Rested => {
                self.noticed.get_or_insert_with(Instant::now);
                self.begin_read();
            }
            Step::Read(Ok(changes)) => {
                if self.outage.take().is_some() {
                    tracing::info!("gateway: the store can be read again");
                }
                self.shared.store.set(State::Up);
                if self.is_known(&changes) {
                    // An earlier change may still wait to be published.
                    self.noticed = self.noticed.filter(|_| self.next.is_some());
                    return self.watch();
                }
                self.apply(changes, names);
                if let Some(disk_cache) = &self.disk_cache {
                    disk_cache.request_write();
                }
            }
            Step::ModelsFile | Step::RowFiles => {
                if matches!(step, Step::ModelsFile) {
                    self.models_file.read();
                }
                // The rows that are being read are read once more.
                self.again |= matches!(self.work, Work::Read(_));
                let version = self.current.read().rows.version;
                self.apply(Changes::Some(Delta { version, ..Delta::default() }), names);
            }
            Step::Changed(Err(error)) | Step::Read(Err(error)) => self.fail(&error),
        }
    }

    /// Returns whether nothing changed since the last read. Then there is nothing to compile.
    fn is_known(&self, changes: &Changes) -> bool {
        let version = self.current.read().rows.version;
        matches!(changes, Changes::Some(delta) if *delta == Delta { version, ..Delta::default() })
    }

    /// Begins to read the changes since the last read.
    fn begin_read(&mut self) {
        self.again = false;
        let (store, since) = (self.store.clone(), self.current.read().rows.version);
        self.work = match self.current.whole.swap(false, Ordering::Relaxed) {
            false => Work::Read(Box::pin(async move { store.changes(since).await })),
            true => Work::Read(Box::pin(async move { store.load().await.map(Changes::All) })),
        };
    }

    /// Begins to wait for the next change.
    fn watch(&mut self) {
        if self.again || self.current.whole.load(Ordering::Relaxed) {
            return self.begin_read();
        }
        let (store, since) = (self.store.clone(), self.current.read().rows.version);
        self.work = Work::Watch(Box::pin(async move { store.changed(since).await }));
    }

    /// Logs a failure. The same message is logged once until the store works again.
    fn fail(&mut self, error: &Error) {
        let message = error.to_string();
        let pause = match &self.outage {
            Some(outage) => (outage.pause * 2).min(MAX_RETRY_PAUSE),
            None => RETRY_PAUSE,
        };
        if self.outage.as_ref().is_none_or(|outage| outage.message != message) {
            tracing::error!("gateway: the store can't be read, and the current configuration stays: {message}");
        }
        self.outage = Some(Outage { message, pause });
        if self.shared.store.get() == State::Up {
            self.shared.store.set(State::Down);
        }
        self.work = Work::Pause(Instant::now() + pause);
    }

    /// Compiles what was read, and begins to resolve its names.
    fn apply(&mut self, changes: Changes, names: &mut Names) {
        let environment = |name: &str| self.environment.get(name).map(str::to_owned);
        let mut read = self.current.read();
        self.whole += u64::from(matches!(changes, Changes::All(_)));
        match changes {
            Changes::All(rows) => read.rows = Arc::new(rows),
            Changes::Some(delta) => merge(Arc::make_mut(&mut read.rows), delta),
        }
        // Before the files are read, so that what is written meanwhile is noticed later.
        self.row_files.follow(&read.rows);
        let previous = self.shared.publisher.load();
        let (snapshot, mut problems) =
            compile_with(&read.rows, Some(&previous), &environment, self.models_file.facts());
        problems.extend_from_slice(self.models_file.problems());
        problems.extend(self.store.problems());
        read.problems.clone_from(&problems);
        // They are logged like problems.
        problems.extend(notices(&read.rows, &environment));
        problems.extend(self.store.notices());
        drop(read);
        let hosts = hosts(&snapshot);
        names.need(&hosts);
        // A store that keeps changing can't delay the change for ever.
        let latest = Instant::now() + NAMES_TIMEOUT;
        let deadline = self.next.as_ref().map_or(latest, |next| next.deadline.min(latest));
        self.next = Some(Next { snapshot, problems, hosts, deadline });
        self.watch();
    }

    /// Returns when [`Sync::publish`] publishes at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next.as_ref().map(|next| next.deadline)
    }

    /// Publishes the new configuration if it is time. Returns its snapshot then.
    pub(crate) fn publish(&mut self, names: &mut Names) -> Option<Arc<Snapshot>> {
        let ready = |next: &mut Next| names.has_all(&next.hosts) || next.deadline <= Instant::now();
        let next = self.next.take_if(ready)?;
        let before = self.shared.publisher.load();
        let generation = self.shared.publisher.publish(next.snapshot);
        let after = self.shared.publisher.load();
        self.current.in_force.send_replace(InForce { version: after.version, whole: self.whole });
        names.keep(next.hosts);
        if let Some(noticed) = self.noticed.take() {
            let us = noticed.elapsed().as_micros() as u64;
            self.meter.with(Family::Propagation, &[], |series| series.observe(us));
        }
        tracing::info!(
            generation,
            version = after.version,
            "gateway: configuration in force: {}{}, {}{}, {}",
            counted(after.providers.len(), "provider"),
            changes(&before.providers, &after.providers, |row| row.id, |a, b| a.row_version == b.row_version),
            counted(after.credentials_by_id.len(), "credential"),
            // Unchanged ones were carried over.
            changes(&before.credentials_by_id, &after.credentials_by_id, |row| row.id, Arc::ptr_eq),
            counted(next.problems.len(), "problem"),
        );
        let (logged, found): (HashSet<_>, HashSet<_>) =
            (self.problems.iter().collect(), next.problems.iter().collect());
        for problem in next.problems.iter().filter(|problem| !logged.contains(problem)) {
            tracing::warn!("gateway: {}: {}", problem.object, problem.message);
        }
        for problem in self.problems.iter().filter(|problem| !found.contains(problem)) {
            tracing::info!("gateway: solved: {}: {}", problem.object, problem.message);
        }
        self.problems = next.problems;
        self.retired.push(before);
        Some(after)
    }

    /// Returns whether there are former snapshots that a worker may still use.
    pub(crate) fn has_old_snapshots(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Frees the snapshots that no worker uses any more. A worker drops one when its next request
    /// begins and the last that began with it has ended, so at most one for each request in
    /// progress is kept, which that request would keep alone.
    pub(crate) fn release(&mut self) {
        // An old snapshot gets no new reference: it is not current, and all references are counted.
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
    }
}

impl Work {
    async fn done(&mut self) -> Step {
        match self {
            Work::Watch(answer) => Step::Changed(answer.await),
            Work::Read(answer) => Step::Read(answer.await),
            Work::Pause(end) => {
                until(Some(*end)).await;
                Step::Rested
            }
        }
    }
}

/// Returns the hosts that are names, and not addresses.
fn hosts(snapshot: &Snapshot) -> HashSet<String> {
    let hosts = snapshot.providers.iter().flat_map(|provider| provider.outbound.hosts(&provider.base));
    hosts.filter(|host| host.parse::<IpAddr>().is_err()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
