//! Keeps the last good rows of a database on this node's own disk, so that the gateway can start
//! while the database is down.
//!
//! The file is one line with a checksum, then JSON, which is encrypted if there is a `SECRET_KEY`.
//! It is replaced atomically and names its database: rows of another one are never served.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::boot::Environment;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use crate::config::secret::Secret;
use crate::config::vault;

/// The file in `DATA_DIR`.
pub const FILE: &str = "snapshot";
/// The beginning of the first line. The number changes with the format.
const MARK: &str = "llm-proxy snapshot 1";
/// The pause between two writes: changes in between are written at once.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait for the last write when the process stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the rows are kept, and of which store.
#[derive(Clone)]
struct Place {
    path: PathBuf,
    store: String,
    environment: Environment,
}

/// Writes in a task of its own, so that publishing does not wait for the disk.
pub(crate) struct DiskCache {
    place: Place,
    signals: Arc<Signals>,
    task: Option<JoinHandle<()>>,
}

/// Returns the newest rows. It is called for each write, and its result is dropped after it: to
/// change rows that are shared costs a copy.
type Source = Box<dyn Fn() -> Arc<Rows> + Send>;

#[derive(Default)]
struct Signals {
    /// Rows are not written yet.
    ready: Notify,
    stopping: AtomicBool,
    /// Ends a pause early.
    hurry: Notify,
}

impl DiskCache {
    /// Keeps the rows of `store` in `dir`. Must be called in a tokio runtime.
    pub(crate) fn new(dir: &Path, store: String, environment: Environment, source: Source) -> DiskCache {
        let place = Place { path: dir.join(FILE), store, environment };
        let signals = Arc::<Signals>::default();
        let task = tokio::spawn(run(place.clone(), signals.clone(), source));
        DiskCache { place, signals, task: Some(task) }
    }

    /// Loads the rows that were kept. `None` without any. The error states why they can't be used.
    pub(crate) fn load(&self) -> Result<Option<Rows>, String> {
        let path = self.place.path.display();
        match std::fs::read_to_string(&self.place.path) {
            Ok(text) => self.place.read(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("the copy in {path} can't be read: {error}")),
        }
    }

    /// Requests that the rows are written soon.
    pub(crate) fn request_write(&self) {
        self.signals.ready.notify_one();
    }

    /// Writes what is not written yet.
    pub(crate) async fn finish(&mut self) {
        self.signals.stopping.store(true, Ordering::Release);
        self.signals.hurry.notify_one();
        self.signals.ready.notify_one();
        if let Some(task) = self.task.take()
            && timeout(FLUSH_TIMEOUT, task).await.is_err()
        {
            tracing::warn!("gateway: the last change is not in {}: the disk is too slow", self.place.path.display());
        }
    }
}

async fn run(place: Place, signals: Arc<Signals>, source: Source) {
    let mut reported = String::new();
    loop {
        signals.ready.notified().await;
        // Read before the rows: a later change has a notification of its own.
        let last = signals.stopping.load(Ordering::Acquire);
        let (place, rows) = (place.clone(), source());
        let written = spawn_blocking(move || place.write(&rows)).await;
        match written.unwrap_or_else(|_| Err("the writer has panicked".to_owned())) {
            Ok(()) => reported.clear(),
            Err(error) if error == reported => {}
            Err(error) => {
                tracing::warn!("gateway: the rows can't be kept for a start without the database: {error}");
                reported = error;
            }
        }
        if last {
            return;
        }
        // Changes that come meanwhile are written at once. The pause may also end early.
        let _ = timeout(MIN_INTERVAL, signals.hurry.notified()).await;
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    store: String,
    version: i64,
    providers: Vec<Provider>,
    credentials: Vec<Credential>,
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(default)]
    models: Vec<Model>,
    #[serde(default)]
    budgets: Vec<Budget>,
}

#[derive(Serialize)]
struct BodyOf<'a> {
    store: &'a str,
    version: i64,
    providers: Vec<ProviderOf<'a>>,
    credentials: Vec<CredentialOf<'a>>,
    groups: Vec<GroupOf<'a>>,
    models: Vec<ModelOf<'a>>,
    budgets: Vec<BudgetOf<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Provider(#[serde(with = "ProviderForm")] ProviderRow);
#[derive(Serialize)]
struct ProviderOf<'a>(#[serde(with = "ProviderForm")] &'a ProviderRow);
#[derive(Serialize, Deserialize)]
struct Credential(#[serde(with = "CredentialForm")] CredentialRow);
#[derive(Serialize)]
struct CredentialOf<'a>(#[serde(with = "CredentialForm")] &'a CredentialRow);
#[derive(Serialize, Deserialize)]
struct Group(#[serde(with = "GroupForm")] GroupRow);
#[derive(Serialize)]
struct GroupOf<'a>(#[serde(with = "GroupForm")] &'a GroupRow);
#[derive(Serialize, Deserialize)]
struct Model(#[serde(with = "ModelForm")] ModelRow);
#[derive(Serialize)]
struct ModelOf<'a>(#[serde(with = "ModelForm")] &'a ModelRow);
#[derive(Serialize, Deserialize)]
struct Budget(#[serde(with = "BudgetForm")] BudgetRow);
#[derive(Serialize)]
struct BudgetOf<'a>(#[serde(with = "BudgetForm")] &'a BudgetRow);

impl Place {
    /// Reads the rows from `text`, the content of the file.
    fn read(&self, text: &str) -> Result<Rows, String> {
        let path = self.path.display();
        let invalid = |reason: &str| format!("the copy in {path} {reason}");
        let (head, body) = text.split_once('\n').ok_or_else(|| invalid("is cut short"))?;
        let sum = head.strip_prefix(MARK).ok_or_else(|| invalid("was written by another version"))?.trim();
        if sum != hex::encode(Sha256::digest(body)) {
            return Err(invalid("is damaged: its checksum is wrong"));
        }
        let body =
            vault::open(&format!("the copy in {path}"), body, &|name| self.environment.get(name).map(str::to_owned))?;
        let body: Body = serde_json::from_str(&body).map_err(|error| invalid(&format!("can't be read: {error}")))?;
        if body.store != self.store {
            return Err(invalid(&format!("is of another store, {}", body.store)));
        }
        Ok(Rows {
            version: body.version,
            providers: body.providers.into_iter().map(|row| row.0).collect(),
            credentials: body.credentials.into_iter().map(|row| row.0).collect(),
            groups: body.groups.into_iter().map(|row| row.0).collect(),
            models: body.models.into_iter().map(|row| row.0).collect(),
            budgets: body.budgets.into_iter().map(|row| row.0).collect(),
        })
    }

    fn text(&self, rows: &Rows) -> Result<String, String> {
        let body = BodyOf {
            store: &self.store,
            version: rows.version,
            providers: rows.providers.iter().map(ProviderOf).collect(),
            credentials: rows.credentials.iter().map(CredentialOf).collect(),
            groups: rows.groups.iter().map(GroupOf).collect(),
            models: rows.models.iter().map(ModelOf).collect(),
            budgets: rows.budgets.iter().map(BudgetOf).collect(),
        };
        let body = serde_json::to_string(&body).map_err(|error| error.to_string())?;
        let body = vault::seal(&body, &|name| self.environment.get(name).map(str::to_owned))?;
        Ok(format!("{MARK} {}\n{body}", hex::encode(Sha256::digest(&body))))
    }

    /// The new file takes the old one's place when it is whole and on the disk.
    fn write(&self, rows: &Rows) -> Result<(), String> {
        let text = self.text(rows)?;
        let new = self.path.with_extension("new");
        let replace = || -> io::Result<()> {
            if let Some(dir) = self.path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            }
            // One that was left behind may have another mode.
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.path)?;
            match self.path.parent() {
                Some(dir) => File::open(dir)?.sync_all(),
                None => Ok(()),
            }
        };
        replace().map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

// The columns, by name. A column that is missing here does not compile.

#[derive(Serialize, Deserialize)]
#[serde(remote = "ProviderRow")]
struct ProviderForm {
    id: i64,
    provider_key: String,
    provider_type: String,
    api_base: String,
    #[serde(with = "secret")]
    api_key: Secret,
    model_mapping: String,
    weight: i64,
    provider_params: String,
    lua_script: Option<String>,
    is_enabled: bool,
    #[serde(with = "StampForm")]
    stamp: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelRow")]
struct ModelForm {
    id: i64,
    name: String,
    members: String,
    overrides: String,
    options: String,
    is_enabled: bool,
    #[serde(with = "StampForm")]
    stamp: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CredentialRow")]
struct CredentialForm {
    id: i64,
    credential_key: String,
    name: String,
    #[serde(default)]
    group_name: Option<String>,
    allowed_models: String,
    rate_limit: Option<i64>,
    burst: Option<i64>,
    tokens_per_minute: Option<i64>,
    max_concurrency: Option<i64>,
    expires_at: Option<i64>,
    previous_key: Option<String>,
    previous_key_until: Option<i64>,
    metadata: String,
    is_enabled: bool,
    #[serde(with = "StampForm")]
    stamp: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BudgetRow")]
struct BudgetForm {
    id: i64,
    name: String,
    scope: String,
    subject: String,
    unit: String,
    amount: i64,
    period: String,
    time_zone: String,
    is_hard: bool,
    warn_at: String,
    #[serde(default)]
    downgrade_to: Option<String>,
    is_enabled: bool,
    #[serde(with = "StampForm")]
    stamp: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "GroupRow")]
struct GroupForm {
    id: i64,
    name: String,
    parent: Option<String>,
    allowed_models: String,
    rate_limit: Option<i64>,
    burst: Option<i64>,
    tokens_per_minute: Option<i64>,
    max_concurrency: Option<i64>,
    metadata: String,
    is_enabled: bool,
    #[serde(with = "StampForm")]
    stamp: Stamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Stamp")]
struct StampForm {
    version: i64,
    created_at: i64,
    updated_at: i64,
}

/// A [`Secret`] is written nowhere but here.
mod secret {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::config::secret::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::from)
    }
}

#[cfg(test)]
mod tests;
