//! What every handler uses: the rows, the store, and the publication of a change.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::config::boot::Environment;
use crate::config::compile::judge;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::config::secret_env::{self, VariableClass};
use crate::control_plane::admin::request::{AdminRequest, Refusal};
use crate::control_plane::admin::{audit_file, health_status};
use crate::control_plane::config::current::Current;
use crate::control_plane::http::client::Client;
use crate::control_plane::store::{Audit, Change, Plan, Step, Store, Write, Written, now};
use crate::shared::ProcessState;
use crate::shared::admin::Response;

/// The longest wait for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time that each change of a batch adds to that.
const STORE_TIMEOUT_OF_MANY: Duration = Duration::from_millis(25);
/// The longest wait for the store before a reader gets what is known.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait until all workers use a change. The names of new hosts take at most two seconds
/// of it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at a change whose row another request changes at the same time.
pub(super) const MAX_TRIES: usize = 5;

pub(super) struct Context {
    pub(super) shared: Arc<ProcessState>,
    pub(super) current: Arc<Current>,
    pub(super) store: Arc<dyn Store>,
    pub(super) environment: Environment,
    pub(super) client: Client,
    pub(super) audit: audit_file::File,
    pub(super) health: health_status::HealthStatus,
}

/// Whether the rows that are shown are those of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Freshness {
    Current,
    /// The store did not respond.
    Stale,
}

impl Freshness {
    /// Marks a response that shows rows which may be old.
    pub(super) fn mark(self, mut response: Response) -> Response {
        if self == Freshness::Stale {
            response.fields.push(("x-llm-proxy-stale", "the store does not respond".to_owned()));
        }
        response
    }
}

/// Returns the error of a change after which the store was silent.
fn unknown_outcome(waited: Duration) -> Refusal {
    let message = format!("the store did not answer within {} s; the change may have been made", waited.as_secs());
    Refusal::new(503, "store_unavailable", message)
}

/// What the audit log records of a change.
pub(super) struct AuditEntry<'a> {
    pub(super) action: &'static str,
    pub(super) object: &'a str,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

impl Context {
    /// Makes a change, and returns when all workers of this process use it.
    pub(super) async fn write(
        &self,
        req: &AdminRequest,
        change: Change,
        entry: AuditEntry<'_>,
    ) -> Result<Written, Refusal> {
        let written = self.change(req, change, entry).await?;
        self.force(written.version).await;
        Ok(written)
    }

    /// Makes a change, and returns when it is stored.
    pub(super) async fn change(
        &self,
        req: &AdminRequest,
        change: Change,
        entry: AuditEntry<'_>,
    ) -> Result<Written, Refusal> {
        let idempotency_key = if req.request.method == "POST" { req.idempotency_key()? } else { None };
        let audit = self.audit_of(req, entry);
        let write = Write { change, audit: audit.clone(), idempotency_key };
        let Ok(written) = timeout(STORE_TIMEOUT, self.store.write(write)).await else {
            return Err(unknown_outcome(STORE_TIMEOUT));
        };
        let written = written?;
        self.append(req, &audit, &written);
        Ok(written)
    }

    /// Makes all changes of a plan or none of them, and returns when they are stored.
    pub(super) async fn change_all(&self, req: &AdminRequest, plan: &Plan) -> Result<Vec<Written>, Refusal> {
        let audit = |step: &Step| {
            let [old, new] = step.before_and_after.clone();
            self.audit_of(req, AuditEntry { action: step.action, object: &step.object, old, new })
        };
        let audits: Vec<_> = plan.steps.iter().map(audit).collect();
        let pairs = plan.steps.iter().zip(&audits);
        let writes = pairs.map(|(step, audit)| Write {
            change: step.change.clone(),
            audit: audit.clone(),
            idempotency_key: None,
        });
        let limit = STORE_TIMEOUT + STORE_TIMEOUT_OF_MANY * u32::try_from(plan.steps.len()).unwrap_or(u32::MAX);
        let Ok(written) = timeout(limit, self.store.write_all(writes.collect())).await else {
            return Err(unknown_outcome(limit));
        };
        let written = written?;
        audits.iter().zip(&written).for_each(|(audit, written)| self.append(req, audit, written));
        Ok(written)
    }

    fn audit_of(&self, req: &AdminRequest, entry: AuditEntry<'_>) -> Audit {
        Audit {
            actor: self.actor(),
            request_id: Some(req.request.request_id.clone()),
            action: entry.action.to_owned(),
            object: entry.object.to_owned(),
            old: entry.old,
            new: entry.new,
        }
    }

    fn append(&self, req: &AdminRequest, audit: &Audit, written: &Written) {
        if !written.repeated {
            let audit = audit.stored(written.id, written.version, now());
            self.audit.append(&audit, written.id, req.request.peer);
        }
    }

    /// Waits until all workers use `version`, but not for ever: it is stored, and will be published
    /// when that is possible.
    pub(super) async fn force(&self, version: i64) {
        if timeout(PUBLISH_TIMEOUT, self.current.reach(version)).await.is_err() {
            tracing::warn!(
                version,
                "gateway: a change is stored, but not in use after {} s",
                PUBLISH_TIMEOUT.as_secs()
            );
        }
    }

    /// Reads what others may have written. Fails if the store does not respond.
    pub(super) async fn refresh(&self) -> Result<(), Refusal> {
        match timeout(STORE_TIMEOUT, self.store.version()).await {
            Ok(version) => self.force(version?).await,
            Err(_) => {
                let message = format!("the store did not answer within {} s", STORE_TIMEOUT.as_secs());
                return Err(Refusal::new(503, "store_unavailable", message));
            }
        }
        Ok(())
    }

    /// Does the same for a reader, who does not wait long: if the store does not respond, the known
    /// rows are shown, and the response reports it.
    pub(super) async fn refresh_if_possible(&self) -> Freshness {
        match timeout(READ_TIMEOUT, self.store.version()).await {
            Ok(Ok(version)) => {
                self.force(version).await;
                Freshness::Current
            }
            Ok(Err(_)) | Err(_) => Freshness::Stale,
        }
    }

    /// Fails if the store does not respond at once, so that a reader of its tables need not wait as
    /// long as a query may take.
    pub(super) async fn check_store(&self) -> Result<(), Refusal> {
        match timeout(READ_TIMEOUT, self.store.version()).await {
            Ok(version) => version.map(|_| ()).map_err(Refusal::from),
            Err(_) => {
                let message = format!("the store did not answer within {} s", READ_TIMEOUT.as_secs());
                Err(Refusal::new(503, "store_unavailable", message))
            }
        }
    }

    pub(super) fn version(&self) -> i64 {
        self.current.read().rows.version
    }

    pub(super) fn provider(&self, id: i64) -> Result<ProviderRow, Refusal> {
        let read = self.current.read();
        let at = read.rows.providers.binary_search_by_key(&id, |row| row.id);
        at.map(|at| read.rows.providers[at].clone()).map_err(|_| Refusal::missing("provider", id))
    }

    pub(super) fn credential(&self, id: i64) -> Result<CredentialRow, Refusal> {
        let read = self.current.read();
        let at = read.rows.credentials.binary_search_by_key(&id, |row| row.id);
        at.map(|at| read.rows.credentials[at].clone()).map_err(|_| Refusal::missing("credential", id))
    }

    pub(super) fn group(&self, id: i64) -> Result<GroupRow, Refusal> {
        let read = self.current.read();
        let at = read.rows.groups.binary_search_by_key(&id, |row| row.id);
        at.map(|at| read.rows.groups[at].clone()).map_err(|_| Refusal::missing("group", id))
    }

    pub(super) fn model(&self, id: i64) -> Result<ModelRow, Refusal> {
        let read = self.current.read();
        let at = read.rows.models.binary_search_by_key(&id, |row| row.id);
        at.map(|at| read.rows.models[at].clone()).map_err(|_| Refusal::missing("virtual model", id))
    }

    pub(super) fn budget(&self, id: i64) -> Result<BudgetRow, Refusal> {
        let read = self.current.read();
        let at = read.rows.budgets.binary_search_by_key(&id, |row| row.id);
        at.map(|at| read.rows.budgets[at].clone()).map_err(|_| Refusal::missing("budget", id))
    }

    pub(super) fn env(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |name| self.environment.get(name).map(str::to_owned)
    }

    /// Refuses a row with a problem that it did not have before. Its sender can correct it now;
    /// later the problem may go unnoticed.
    pub(super) fn check_provider(&self, old: Option<&ProviderRow>, new: &ProviderRow) -> Result<(), Refusal> {
        let rows = |row: &ProviderRow| Rows {
            providers: vec![ProviderRow { is_enabled: true, ..row.clone() }],
            ..Rows::default()
        };
        self.check(old.map(rows), &rows(new))?;
        self.check_key_source(old, new)
    }

    /// Refuses a key that is newly taken from a variable of the environment which is not one of
    /// providers' keys.
    pub(super) fn check_key_source(&self, old: Option<&ProviderRow>, new: &ProviderRow) -> Result<(), Refusal> {
        let name = new.api_key.trim().strip_prefix("env:").map(str::trim);
        let name = name.filter(|_| old.is_none_or(|old| old.api_key != new.api_key));
        match name.filter(|name| secret_env::class_of(name, &self.env()) != VariableClass::ProviderKey) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "api_key may not name the environment variable `{name}` here; the names that are accepted are {}",
                    secret_env::FORMS
                );
                Err(Refusal::invalid(message, Some("api_key".to_owned())))
            }
        }
    }

    pub(super) fn check_credential(&self, old: Option<&CredentialRow>, new: &CredentialRow) -> Result<(), Refusal> {
        // The problems of a group are reported with the group. Here it matters only whether it can
        // be used.
        let groups = match new.group_name {
            Some(_) => self.current.read().rows.groups.clone(),
            None => Vec::new(),
        };
        let rows = |row: &CredentialRow| Rows {
            credentials: vec![CredentialRow { is_enabled: true, ..row.clone() }],
            groups: groups.clone(),
            ..Rows::default()
        };
        let known = old.map(rows).or_else(|| Some(Rows { groups: groups.clone(), ..Rows::default() }));
        self.check(known, &rows(new))
    }

    /// Does the same for a virtual model, which may name others: their rows are judged with it, and
    /// it must not cause a problem of theirs.
    pub(super) fn check_model(&self, old: Option<&ModelRow>, new: &ModelRow) -> Result<(), Refusal> {
        let there = self.current.read().rows.models.clone();
        let others = there.iter().filter(|row| old.is_none_or(|old| old.id != row.id) && row.is_enabled);
        let others: Vec<_> = others.cloned().collect();
        let rows = |row: Option<&ModelRow>| {
            let row = row.map(|row| ModelRow { is_enabled: true, ..row.clone() });
            Rows { models: others.iter().cloned().chain(row).collect(), ..Rows::default() }
        };
        if let Some(taken) = others.iter().find(|row| row.name == new.name) {
            let message = format!("a virtual model named `{}` exists (id {})", taken.name, taken.id);
            return Err(Refusal::new(409, "conflict", message));
        }
        self.check(Some(rows(old)), &rows(Some(new)))
    }

    pub(super) fn check_budget(&self, old: Option<&BudgetRow>, new: &BudgetRow) -> Result<(), Refusal> {
        let rows =
            |row: &BudgetRow| Rows { budgets: vec![BudgetRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
        self.check(old.map(rows), &rows(new))
    }

    /// Refuses a group with a problem that it or another did not have before, such as a circle.
    pub(super) fn check_group(&self, old: Option<&GroupRow>, new: &GroupRow) -> Result<(), Refusal> {
        let groups = self.current.read().rows.groups.clone();
        let rows = |row: Option<&GroupRow>| {
            let others = groups.iter().filter(|other| other.id != new.id).cloned();
            let row = row.map(|row| GroupRow { is_enabled: true, ..row.clone() });
            Rows { groups: others.chain(row).collect(), ..Rows::default() }
        };
        self.check(Some(rows(old)), &rows(Some(new)))
    }

    fn check(&self, old: Option<Rows>, new: &Rows) -> Result<(), Refusal> {
        let env = self.env();
        let known = old.map(|old| judge(&old, &env).0).unwrap_or_default();
        let (problems, _) = judge(new, &env);
        let is_new = |message: &String| !known.iter().any(|known| known.message == *message);
        let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).filter(is_new).collect();
        let Some(first) = messages.first() else { return Ok(()) };
        // Each message begins with the name of its column.
        let param = first.split([' ', ':']).next().map(str::to_owned);
        Err(Refusal::invalid(messages.join("; "), param))
    }

    /// Returns who makes changes: the admin key, by its fingerprint.
    fn actor(&self) -> String {
        let key = self.shared.boot.admin_key.as_deref().unwrap_or_default();
        format!("admin:{}", &hex::encode(Sha256::digest(key.as_bytes()))[..12])
    }
}
