//! Where providers and credentials are kept, behind one trait.
//!
//! Several processes (other gateways, the command line, SQL by hand) may use the same store at the
//! same time. Every write moves `config_version` on, whoever makes it, and stamps the row with the
//! version that it made, so that a reader who knows a version can ask for what came after it.

pub mod blocking;
pub mod file;
pub mod file_text;
pub mod logs;
mod migrations;
pub mod postgres;
pub mod schema;
mod schema_status;
pub mod sqlite;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::config::boot::{Boot, Environment};
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::config::snapshot::Problem;
use crate::limit::budget::{Claim, Grant};
use crate::rfc3339;
use llm_wire::json::scan;

/// The store that `boot` names. None but the embedded one is asked anything yet.
pub fn open(boot: &Boot, environment: &Environment) -> Result<Arc<dyn Store>, Error> {
    if let Some(path) = &boot.config_file {
        return Ok(Arc::new(file::FileStore::new(path, environment.clone(), &boot.data_dir)));
    }
    match &boot.db_url {
        Some(url) => {
            let options = postgres::Options { migrate: boot.migrate_on_start, poll: boot.config_poll };
            Ok(Arc::new(postgres::Postgres::new(url, options)?))
        }
        None => Ok(Arc::new(sqlite::Sqlite::open(&boot.data_dir)?)),
    }
}

/// [`Store::identity`] of the store that `boot` names, without making it: `None` if it does not
/// exist, or can't be distinguished.
pub fn identity(boot: &Boot) -> Result<Option<String>, Error> {
    if boot.config_file.is_some() {
        return Ok(None);
    }
    match &boot.db_url {
        Some(url) => {
            let options = postgres::Options { migrate: false, poll: boot.config_poll };
            let store = blocking::Blocking::new(Arc::new(postgres::Postgres::new(url, options)?))?;
            store.identity()
        }
        None => Ok(sqlite::identity(&boot.data_dir.join(sqlite::FILE))),
    }
}

/// The form in which an identity is shown: sixteen hex digits that tell nothing of what they are
/// made of.
fn digest(of: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(of.as_bytes()));
    digits.truncate(16);
    digits
}

/// What a store will say. It may be dropped; a write may have happened all the same.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A store may be used by several tasks at once. Its futures want a tokio runtime with time, and
/// none of them blocks the thread.
pub trait Store: Send + Sync {
    /// Which store it is, for a person; never with a password.
    fn place(&self) -> String;

    /// `config_version.version` now. Also shows whether the store is reachable.
    fn version(&self) -> Answer<'_, i64>;

    /// Everything, enabled or not, in the order of ids and as of one moment.
    fn load(&self) -> Answer<'_, Rows>;

    /// What is different from the rows at version `since`, as of one moment. A store that no longer
    /// knows gives everything.
    fn changes(&self, since: i64) -> Answer<'_, Changes>;

    /// Waits until the version is another than `since`; looks at once, and then when it is notified
    /// of a change or time has passed. An error means that this is unknown now. It may be dropped
    /// and asked again.
    fn changed(&self, since: i64) -> Answer<'_, ()>;

    /// Makes all of these changes in one transaction, or none of them.
    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>>;

    /// Makes one change, all of it or nothing.
    fn write(&self, write: Write) -> Answer<'_, Written> {
        Box::pin(async move {
            let written = self.write_all(vec![write]).await?.pop();
            written.ok_or_else(|| Error::new(Fault::Unavailable, "the store has lost a change"))
        })
    }

    /// At most `limit` lines of the audit log with ids below `before`, the newest first.
    fn audit_log(&self, before: Option<i64>, limit: u32) -> Answer<'_, Vec<AuditRow>>;

    /// A value that two handles on one store have in common and two stores have not, so that the
    /// command line notices that it works on another store than the gateway beside it. `None` if
    /// that is unknown. Reads only.
    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What is wrong with the store as a whole and keeps nothing from being served. Known once
    /// something was read.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// What is worth a line in the log, and is no problem.
    fn notices(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Does what nodes ask of the sums of budgets, each in one step with no other in between. Gives
    /// the answers in their order.
    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        let _ = claims;
        Box::pin(std::future::ready(Err(Error::new(Fault::Unavailable, "this store keeps no sums of budgets"))))
    }

    /// Logs and prices; `None` if it keeps none.
    fn tables(&self) -> Option<&dyn logs::Tables> {
        None
    }
}

/// The answer to [`Store::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    All(Rows),
    Some(Delta),
}

/// Rows that were written since, and the ids of those that were removed. An id is never used twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// The version that these changes lead to.
    pub version: i64,
    pub providers: Vec<ProviderRow>,
    pub credentials: Vec<CredentialRow>,
    pub groups: Vec<GroupRow>,
    pub models: Vec<ModelRow>,
    pub removed_providers: Vec<i64>,
    pub removed_credentials: Vec<i64>,
    pub removed_groups: Vec<i64>,
    pub removed_models: Vec<i64>,
    pub budgets: Vec<BudgetRow>,
    pub removed_budgets: Vec<i64>,
}

/// One change, and what is written in the same transaction.
#[derive(Debug, Clone)]
pub struct Write {
    pub change: Change,
    pub audit: Audit,
    /// For a change that must not happen twice.
    pub idempotency_key: Option<IdempotencyKey>,
}

#[derive(Debug, Clone)]
pub enum Change {
    /// The new row's id is the store's choice. A `provider_key` that is taken is a
    /// [`Fault::Conflict`].
    AddProvider(ProviderRow),
    /// Sets every column of the row with this id but `provider_key`, if `stamp.version` is still
    /// that of the row ([`Fault::Stale`] if not).
    UpdateProvider(ProviderRow),
    /// With a version: only if the row still has it.
    RemoveProvider {
        id: i64,
        row_version: Option<i64>,
    },
    /// The new row's id is the store's choice. A key that exists is a [`Fault::Conflict`]; a name
    /// may stand twice.
    AddCredential(CredentialRow),
    /// As [`Change::UpdateProvider`]; every column.
    UpdateCredential(CredentialRow),
    RemoveCredential {
        id: i64,
        row_version: Option<i64>,
    },
    /// The new row's id is the store's choice. A name that is taken is a [`Fault::Conflict`].
    AddGroup(GroupRow),
    /// As [`Change::UpdateProvider`]; every column but `name`.
    UpdateGroup(GroupRow),
    RemoveGroup {
        id: i64,
        row_version: Option<i64>,
    },
    /// The new row's id is the store's choice. A name that is taken is a [`Fault::Conflict`].
    AddModel(ModelRow),
    /// As [`Change::UpdateProvider`]; every column.
    UpdateModel(ModelRow),
    RemoveModel {
        id: i64,
        row_version: Option<i64>,
    },
    AddBudget(BudgetRow),
    /// As [`Change::UpdateProvider`]; every column but `name`.
    UpdateBudget(BudgetRow),
    /// Removes its sums too.
    RemoveBudget {
        id: i64,
        row_version: Option<i64>,
    },
    /// Begins the window of this key anew.
    ResetBudget {
        id: i64,
        key: SumsKey,
    },
    /// Adds to the amount, for the window of this key alone.
    TopUpBudget {
        id: i64,
        key: SumsKey,
        units: i64,
    },
}

/// The key of a budget's sums.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SumsKey {
    /// The budget's.
    pub name: String,
    /// [`crate::limit::budget::Budget::kind`].
    pub kind: String,
    /// The first second of the window, since 1970.
    pub starts_at: i64,
}

/// Who makes a change, and what it changes: a line of `audit_log`. Values are JSON without secrets.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// `admin:` and the fingerprint of the admin key, `cli:` and the system's user.
    pub actor: String,
    pub request_id: Option<String>,
    /// `provider.create`, `credential.rotate`...
    pub action: String,
    /// The row's name.
    pub object: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Audit {
    /// With `new` as the store has it: what the store itself gives a row is not known before.
    pub fn stored(&self, id: i64, version: i64, now: i64) -> Audit {
        Audit { new: self.new.as_ref().map(|row| with_stamp(row, id, version, now)), ..self.clone() }
    }
}

/// A row's JSON with its id, its version and its times. A row that is changed keeps the time at
/// which it was made.
fn with_stamp(row: &str, id: i64, version: i64, now: i64) -> String {
    let (now, unset) = (rfc3339::format(now), format!("\"{}\"", rfc3339::format(0)));
    let mut out = String::with_capacity(row.len() + 32);
    let mut from = 0;
    for (key, value, at) in scan::members(row.as_bytes()) {
        let stamp = match key.as_bytes() {
            b"id" => id.to_string(),
            b"row_version" => version.to_string(),
            b"updated_at" => format!("\"{now}\""),
            b"created_at" if value.bytes() == unset.as_bytes() => format!("\"{now}\""),
            _ => continue,
        };
        out.push_str(row.get(from..at.start).unwrap_or_default());
        out.push_str(&stamp);
        from = at.end;
    }
    out.push_str(row.get(from..).unwrap_or_default());
    out
}

/// Sums of windows that began longer ago than this, in seconds, are removed.
const SUMS_KEPT_SECS: i64 = 400 * 86_400;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A line of `audit_log`.
#[derive(Debug, Clone)]
pub struct AuditRow {
    pub id: i64,
    /// Microseconds since 1970.
    pub timestamp: i64,
    pub object_id: i64,
    pub audit: Audit,
}

/// A key of the caller's choice: a change with one that was seen within [`IdempotencyKey::KEPT_SECS`] is not
/// made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// At most 64 characters.
    pub key: String,
    /// What the change was. The same key with another fingerprint is a [`Fault::Reused`].
    pub fingerprint: String,
}

impl IdempotencyKey {
    pub const KEPT_SECS: i64 = 86_400;
}

/// What became of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Of the row.
    pub id: i64,
    /// Of the configuration with the change in it; that of the row, too.
    pub version: i64,
    /// Nothing was done: [`Write::idempotency_key`] was seen before, and this is the row of that time, which
    /// may be gone.
    pub repeated: bool,
}

/// What kind of trouble an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A unique value is taken.
    Conflict,
    /// The row was changed by somebody else.
    Stale,
    /// There is no row of that id.
    NotFound,
    /// The key of a [`IdempotencyKey`] belongs to another change.
    Reused,
    /// The store is a file that only its editor changes.
    ReadOnly,
    /// A value does not fit into its column, as this store has it.
    Invalid,
    /// The store was written by another version, or is none of ours.
    Version,
    /// The store cannot be read or written now: locked, full, damaged, not there.
    Unavailable,
}

/// A message for a person: which store, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub fault: Fault,
    pub message: String,
}

impl Error {
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Error {
        Error { fault, message: message.into() }
    }
}

impl Error {
    /// The error of a call that took too long.
    pub(crate) fn silent(place: &str, waited: std::time::Duration) -> Error {
        Error::new(Fault::Unavailable, format!("the store {place} gave no answer within {} s", waited.as_secs()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

// The messages of every store about these, in the same words.

fn taken(change: &Change) -> Error {
    let message = match change {
        Change::AddProvider(row) | Change::UpdateProvider(row) => {
            format!("a provider named `{}` exists; remove it first, or choose another name", row.provider_key)
        }
        Change::AddBudget(row) | Change::UpdateBudget(row) => {
            format!("a budget named `{}` exists; change that one, or choose another name", row.name)
        }
        Change::AddGroup(row) | Change::UpdateGroup(row) => {
            format!("a group named `{}` exists; change that one, or choose another name", row.name)
        }
        Change::AddModel(row) | Change::UpdateModel(row) => {
            format!("a virtual model named `{}` exists; change that one, or choose another name", row.name)
        }
        _ => "a credential with this key exists".to_owned(),
    };
    Error::new(Fault::Conflict, message)
}

/// The table with the rows of this kind.
fn table_of(what: &str) -> &'static str {
    match what {
        "provider" => "providers",
        "group" => "credential_groups",
        "virtual model" => "virtual_models",
        "budget" => "budgets",
        _ => "credentials",
    }
}

fn missing(what: &str, id: i64) -> Error {
    Error::new(Fault::NotFound, format!("there is no {what} with id {id}"))
}

fn stale(what: &str, id: i64, expected: i64, found: i64) -> Error {
    let message = format!(
        "{what} {id} was changed meanwhile: its version is {found}, not {expected}; read it again and repeat the change"
    );
    Error::new(Fault::Stale, message)
}

fn reused() -> Error {
    Error::new(Fault::Reused, "this Idempotency-Key was used for another request; take a new key for each change")
}
