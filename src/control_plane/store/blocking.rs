//! A store for callers that may wait: the command line and tests.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::control_plane::admin::view::{BudgetView, CredentialView, GroupView, ModelView, ProviderView, audit_text};
use crate::control_plane::store::change::{Audit, Change, Changes, Write};
use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::interface::Store;
use crate::control_plane::store::plan::Plan;
use crate::control_plane::store::sqlite::Sqlite;

/// Makes the write of a change in the name of the system's user.
fn write(action: &str, object: &str, before_and_after: [Option<String>; 2], change: Change) -> Write {
    let [old, new] = before_and_after;
    let user = std::env::var("USER").unwrap_or_default();
    let user = if user.is_empty() { "unknown" } else { &user };
    let audit = Audit {
        actor: format!("cli:{user}"),
        action: action.to_owned(),
        object: object.to_owned(),
        old,
        new,
        ..Audit::default()
    };
    Write { change, audit, idempotency_key: None }
}

/// A store with a runtime of its own, on which each call waits for its answer.
pub struct Blocking {
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl Blocking {
    /// Takes a store. The error says that the system gives no runtime.
    pub fn new(store: Arc<dyn Store>) -> Result<Blocking, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let failed =
            |error| Error::new(Fault::Unavailable, format!("the system gives no runtime for the store: {error}"));
        Ok(Blocking { store, runtime: runtime.map_err(failed)? })
    }

    /// Returns the embedded store in `dir`.
    pub fn embedded(dir: &Path) -> Result<Blocking, Error> {
        Blocking::new(Arc::new(Sqlite::open(dir)?))
    }

    /// The same for a command: a store that is missing is made by its first change.
    pub fn lazy(dir: &Path) -> Result<Blocking, Error> {
        Blocking::new(Arc::new(Sqlite::open_lazily(dir)?))
    }

    /// Returns where the store is, for messages.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// Returns the store itself, for callers that do not block.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Waits for an answer of the store.
    pub fn wait<T>(&self, answer: Answer<'_, T>) -> Result<T, Error> {
        self.runtime.block_on(answer)
    }

    /// Returns all rows.
    pub fn load(&self) -> Result<Rows, Error> {
        self.wait(self.store.load())
    }

    /// Returns [`Store::identity`].
    pub fn identity(&self) -> Result<Option<String>, Error> {
        self.wait(self.store.identity())
    }

    /// Returns the version of the configuration.
    pub fn version(&self) -> Result<i64, Error> {
        self.wait(self.store.version())
    }

    /// Returns what was changed since a version.
    pub fn changes(&self, since: i64) -> Result<Changes, Error> {
        self.wait(self.store.changes(since))
    }

    /// Makes a change in the name of the system's user, and returns the id of its row.
    /// `before_and_after` is the row before and after, for the audit log.
    pub fn change(
        &self,
        action: &str,
        object: &str,
        before_and_after: [Option<String>; 2],
        change: Change,
    ) -> Result<i64, Error> {
        self.wait(self.store.write(write(action, object, before_and_after, change))).map(|written| written.id)
    }

    /// Makes all changes of a plan, or none of them.
    pub fn take(&self, plan: &Plan) -> Result<(), Error> {
        let steps = plan.steps.iter();
        let writes =
            steps.map(|step| write(step.action, &step.object, step.before_and_after.clone(), step.change.clone()));
        self.wait(self.store.write_all(writes.collect())).map(drop)
    }

    /// Adds a provider in the name of the system's user, and returns its id.
    pub fn add_provider(&self, row: &ProviderRow) -> Result<i64, Error> {
        self.change(
            "provider.create",
            &row.provider_key,
            [None, audit_text(&ProviderView::of(row))],
            Change::AddProvider(row.clone()),
        )
    }

    /// Adds a credential in the name of the system's user, and returns its id.
    pub fn create_credential(&self, row: &CredentialRow) -> Result<i64, Error> {
        let before_and_after = [None, audit_text(&CredentialView::of(row))];
        self.change("credential.create", &row.name, before_and_after, Change::AddCredential(row.clone()))
    }

    /// Adds a group in the name of the system's user, and returns its id.
    pub fn add_group(&self, row: &GroupRow) -> Result<i64, Error> {
        let before_and_after = [None, audit_text(&GroupView::of(row))];
        self.change("group.create", &row.name, before_and_after, Change::AddGroup(row.clone()))
    }

    /// Adds a virtual model in the name of the system's user, and returns its id.
    pub fn add_model(&self, row: &ModelRow) -> Result<i64, Error> {
        let before_and_after = [None, audit_text(&ModelView::of(row))];
        self.change("model.create", &row.name, before_and_after, Change::AddModel(row.clone()))
    }

    /// Adds a budget in the name of the system's user, and returns its id.
    pub fn add_budget(&self, row: &BudgetRow) -> Result<i64, Error> {
        let before_and_after = [None, audit_text(&BudgetView::of(row))];
        self.change("budget.create", &row.name, before_and_after, Change::AddBudget(row.clone()))
    }
}
