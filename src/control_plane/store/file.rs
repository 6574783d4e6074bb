//! The configuration file as a store. It is changed by its editor alone, never through the store.
//!
//! A file is loaded whole or not at all. It is read again when it looks different and has looked
//! so twice, since editors and deployments do not write it in one step.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use crate::config::boot::Environment;
use crate::config::boot::FileSetting;
use crate::config::file::{self, File, FileProblem};
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use crate::config::snapshot::Problem;
use crate::control_plane::store::change::{AuditFilter, AuditList, Change, Changes, SumsKey, Write, Written};
use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::file_text;
use crate::control_plane::store::identity::digest;
use crate::control_plane::store::interface::Store;
use crate::control_plane::store::sqlite::Sqlite;
use crate::limit::budget::{Claim, Grant};

/// How often the file is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Complaints that are reported at once.
const MAX_REPORTED: usize = 20;

/// A store whose rows are those of a configuration file. It cannot be written to.
pub struct FileStore {
    path: PathBuf,
    environment: Environment,
    last_read: Mutex<LastRead>,
    /// The directory of the embedded store, which keeps the sums of budgets.
    data_dir: PathBuf,
    sums: OnceLock<Result<Sqlite, Error>>,
}

/// What was read last.
#[derive(Default)]
struct LastRead {
    rows: Rows,
    settings: Vec<FileSetting>,
    /// The warnings about the file itself.
    notices: Vec<Problem>,
    fingerprint: Fingerprint,
    /// Why the file, as it looked then, was not loaded.
    refused: Option<Error>,
    /// Ids by name and by key hash. They stay, so that the memory of a row, such as its buckets,
    /// stays with it wherever it moves in the file.
    providers: HashMap<String, i64>,
    credentials: HashMap<String, i64>,
    groups: HashMap<String, i64>,
    models: HashMap<String, i64>,
    budgets: HashMap<String, i64>,
}

/// What changes when a file is written or replaced. `None` for a file that can't be seen.
type Fingerprint = Option<(SystemTime, u64, u64)>;

impl FileStore {
    /// Reads nothing yet.
    pub fn new(path: &Path, environment: Environment, data_dir: &Path) -> FileStore {
        let (path, data_dir) = (path.to_owned(), data_dir.to_owned());
        FileStore { path, environment, last_read: Mutex::default(), data_dir, sums: OnceLock::new() }
    }

    /// Returns the error of a change of rows, which are those of the file at `path`.
    pub fn unwritable(path: &Path) -> Error {
        let message = format!(
            "providers, credentials, groups, models and budgets are those of the file {}; change them \
             there, the server takes it up within a second",
            path.display()
        );
        Error::new(Fault::ReadOnly, message)
    }

    /// The embedded store with the sums of budgets, which is made when it is first needed.
    fn sums(&self) -> Result<&Sqlite, Error> {
        match self.sums.get_or_init(|| Sqlite::open(&self.data_dir)) {
            Ok(sums) => Ok(sums),
            Err(error) => Err(error.clone()),
        }
    }

    fn last_read(&self) -> MutexGuard<'_, LastRead> {
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprint(&self) -> Fingerprint {
        let of = |file: Metadata| Some((file.modified().ok()?, file.len(), file.ino()));
        std::fs::metadata(&self.path).ok().and_then(of)
    }

    /// Waits until the file differs from the one that was read last.
    async fn wait_for_change(&self) {
        loop {
            let fingerprint = self.fingerprint();
            if fingerprint != self.last_read().fingerprint {
                sleep(POLL_INTERVAL).await;
                if self.fingerprint() == fingerprint {
                    return;
                }
            } else {
                sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Reads the file. The version moves on if that gives other rows.
    fn read(&self) -> Result<Rows, Error> {
        // Taken before the file is read, so that what is written meanwhile is noticed later.
        let fingerprint = self.fingerprint();
        let read = read(&self.path, &self.environment);
        let mut last_read = self.last_read();
        last_read.fingerprint = fingerprint;
        match read {
            Ok(file) => {
                last_read.refused = None;
                last_read.take(file, fingerprint);
                Ok(last_read.rows.clone())
            }
            Err(error) => {
                last_read.refused = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// Reads the file at `path`, and fails if it has a problem.
fn read(path: &Path, environment: &Environment) -> Result<File, Error> {
    let refuse = |why: &str| Error::new(Fault::Unavailable, format!("the configuration file {} {why}", path.display()));
    let text = file_text::read(path).map_err(|why| refuse(&why))?;
    let env = |name: &str| environment.get(name).map(str::to_owned);
    let refuse = |problems: &[FileProblem]| {
        let mut text = format!("has {} problems and is not taken up:", problems.len());
        for problem in problems.iter().take(MAX_REPORTED) {
            // Writing to a String does not fail.
            let _ = write!(text, "\n  {problem}");
        }
        if problems.len() > MAX_REPORTED {
            text.push_str("\n  and more; `llm-proxy check-config` lists all");
        }
        refuse(&text)
    };
    let file = file::read(&text, &env).map_err(|problems| refuse(&problems))?;
    let problems = file.judge(&env);
    if problems.is_empty() { Ok(file) } else { Err(refuse(&problems)) }
}

impl LastRead {
    fn take(&mut self, file: File, fingerprint: Fingerprint) {
        if self.rows.version > 0 && file.settings != self.settings {
            tracing::warn!(
                "gateway: the settings in the configuration file have changed; they count from the next start on"
            );
        }
        self.notices = file.notices().to_vec();
        self.settings = file.settings;
        let written = fingerprint.and_then(|(at, ..)| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let written = i64::try_from(written.as_secs()).unwrap_or_default();
        let stamp = Stamp { version: self.rows.version + 1, created_at: written, updated_at: written };
        let providers = number(file.providers, &mut self.providers, &self.rows.providers, stamp);
        let credentials = number(file.credentials, &mut self.credentials, &self.rows.credentials, stamp);
        let groups = number(file.groups, &mut self.groups, &self.rows.groups, stamp);
        let models = number(file.models, &mut self.models, &self.rows.models, stamp);
        let budgets = number(file.budgets, &mut self.budgets, &self.rows.budgets, stamp);
        let rows = Rows { version: self.rows.version, providers, credentials, groups, models, budgets };
        if self.rows.version == 0 || rows != self.rows {
            self.rows = Rows { version: stamp.version, ..rows };
        }
    }
}

/// Gives each row the id that it had, or the next one, and the stamp that it had if nothing in it
/// has changed. Sorts by id.
fn number<T: Numbered>(mut rows: Vec<T>, ids: &mut HashMap<String, i64>, before: &[T], stamp: Stamp) -> Vec<T> {
    for row in &mut rows {
        let next = ids.len() as i64 + 1;
        let (name, id, _) = row.parts();
        *id = *ids.entry(name.to_owned()).or_insert(next);
    }
    rows.sort_by_key(T::id);
    for row in &mut rows {
        let old = before.binary_search_by_key(&row.id(), T::id).ok().map(|at| &before[at]);
        *row.parts().2 = old.map_or(stamp, T::stamp);
        if old != Some(&*row) {
            *row.parts().2 = stamp;
        }
    }
    rows
}

trait Numbered: PartialEq {
    /// The name of a row in the file, and its id and stamp.
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp);
    fn id(&self) -> i64;
    fn stamp(&self) -> Stamp;
}

impl Numbered for ProviderRow {
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp) {
        (&self.provider_key, &mut self.id, &mut self.stamp)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Numbered for CredentialRow {
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp) {
        (&self.credential_key, &mut self.id, &mut self.stamp)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Numbered for BudgetRow {
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp) {
        (&self.name, &mut self.id, &mut self.stamp)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Numbered for GroupRow {
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp) {
        (&self.name, &mut self.id, &mut self.stamp)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Numbered for ModelRow {
    fn parts(&mut self) -> (&str, &mut i64, &mut Stamp) {
        (&self.name, &mut self.id, &mut self.stamp)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// Returns [`Store::identity`] of the file at this path. Its inode is another after each change by
/// an editor that replaces it.
pub(super) fn identity(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    Some(digest(&format!("file:{}", path.display())))
}

impl Store for FileStore {
    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(identity(&self.path))))
    }

    fn place(&self) -> String {
        format!("file, {}", self.path.display())
    }

    fn version(&self) -> Answer<'_, i64> {
        let last_read = self.last_read();
        let answer = match &last_read.refused {
            Some(error) => Err(error.clone()),
            None => Ok(last_read.rows.version),
        };
        Box::pin(std::future::ready(answer))
    }

    fn load(&self) -> Answer<'_, Rows> {
        Box::pin(async { self.read() })
    }

    /// A file that was refused is reported once, and then not before it changes.
    fn changes(&self, _since: i64) -> Answer<'_, Changes> {
        Box::pin(async {
            let refused = self.last_read().refused.is_some();
            if refused {
                self.wait_for_change().await;
            }
            self.read().map(Changes::All)
        })
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            while self.last_read().rows.version == since {
                self.wait_for_change().await;
                self.read()?;
            }
            Ok(())
        })
    }

    /// Only sums can be written.
    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        let is_sum = |write: &Write| matches!(write.change, Change::ResetBudget { .. } | Change::TopUpBudget { .. });
        if !writes.is_empty() && writes.iter().all(is_sum) {
            return match self.sums() {
                Ok(sums) => sums.write_all(writes),
                Err(error) => Box::pin(std::future::ready(Err(error))),
            };
        }
        Box::pin(std::future::ready(Err(FileStore::unwritable(&self.path))))
    }

    fn notices(&self) -> Vec<Problem> {
        self.last_read().notices.clone()
    }

    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        match self.sums() {
            Ok(sums) => sums.claim(claims),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn audit_log(&self, _filter: AuditFilter, _limit: u32) -> Answer<'_, AuditList> {
        Box::pin(std::future::ready(Ok(AuditList::default())))
    }
}
