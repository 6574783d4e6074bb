//! Changes of a store: those that are written, their results, and those that readers get.

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::control_plane::store::logs::PriceRow;
use crate::rfc3339;
use llm_wire::json::walk;

/// The answer to [`Store::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    All(Rows),
    Some(Delta),
}

/// Rows that were written since a version, and the ids of those that were removed. An id is never
/// used twice.
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

/// A change of one row, or of the sums of a budget.
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
    /// Restarts the window of this key.
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
    /// Sets the whole price of a model. The version of the configuration stays.
    SetPrice(Box<PriceChange>),
    /// Removes the price with this id ([`Fault::NotFound`] without one), if it is still the
    /// `expected` one ([`Fault::Stale`] if not).
    RemovePrice {
        id: i64,
        /// `None` allows any. Its id does not matter.
        expected: Option<Box<PriceRow>>,
    },
}

/// A price that is set.
#[derive(Debug, Clone, Default)]
pub struct PriceChange {
    pub row: PriceRow,
    /// The price that the model must have until then ([`Fault::Stale`] if not). `None` allows any.
    /// Its id does not matter.
    pub expected: Option<PriceRow>,
    /// What is written before, if the table is empty.
    pub defaults: Vec<PriceRow>,
}

/// The kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    Provider,
    Credential,
    Group,
    Model,
    Budget,
}

impl RowKind {
    /// Returns the word for such a row in a message.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            RowKind::Provider => "provider",
            RowKind::Credential => "credential",
            RowKind::Group => "group",
            RowKind::Model => "virtual model",
            RowKind::Budget => "budget",
        }
    }

    /// Returns the name of the table with such rows.
    pub(crate) fn table(self) -> &'static str {
        match self {
            RowKind::Provider => "providers",
            RowKind::Credential => "credentials",
            RowKind::Group => "credential_groups",
            RowKind::Model => "virtual_models",
            RowKind::Budget => "budgets",
        }
    }
}

/// The row that an update or a removal needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExpectedRow {
    pub(crate) kind: RowKind,
    pub(crate) id: i64,
    /// The version that the row must have. `None` allows any.
    pub(crate) version: Option<i64>,
}

impl Change {
    /// Returns the row that must exist for this change. `None` for an addition, and for a change of
    /// a budget's sums.
    pub(crate) fn expected_row(&self) -> Option<ExpectedRow> {
        let (kind, id, version) = match self {
            Change::UpdateProvider(row) => (RowKind::Provider, row.id, Some(row.stamp.version)),
            Change::UpdateCredential(row) => (RowKind::Credential, row.id, Some(row.stamp.version)),
            Change::UpdateGroup(row) => (RowKind::Group, row.id, Some(row.stamp.version)),
            Change::UpdateModel(row) => (RowKind::Model, row.id, Some(row.stamp.version)),
            Change::UpdateBudget(row) => (RowKind::Budget, row.id, Some(row.stamp.version)),
            Change::RemoveProvider { id, row_version } => (RowKind::Provider, *id, *row_version),
            Change::RemoveCredential { id, row_version } => (RowKind::Credential, *id, *row_version),
            Change::RemoveGroup { id, row_version } => (RowKind::Group, *id, *row_version),
            Change::RemoveModel { id, row_version } => (RowKind::Model, *id, *row_version),
            Change::RemoveBudget { id, row_version } => (RowKind::Budget, *id, *row_version),
            _ => return None,
        };
        Some(ExpectedRow { kind, id, version })
    }
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
    /// Returns the line with `new` as the store has it, with the values that the store itself gives
    /// a row.
    pub fn stored(&self, id: i64, version: i64, now: i64) -> Audit {
        Audit { new: self.new.as_ref().map(|row| with_stamp(row, id, version, now)), ..self.clone() }
    }
}

/// Writes a row's JSON with its id, its version and its times. A row that is changed keeps the time
/// at which it was made.
fn with_stamp(row: &str, id: i64, version: i64, now: i64) -> String {
    let (now, unset) = (rfc3339::format(now), format!("\"{}\"", rfc3339::format(0)));
    let mut out = String::with_capacity(row.len() + 32);
    let mut from = 0;
    for (key, value, at) in walk::members(row.as_bytes()) {
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

/// Which lines of `audit_log` are read. Without a field, no line is left out for it.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Lines with lower ids.
    pub before: Option<i64>,
    /// A part of the actor.
    pub actor: Option<String>,
    /// An action as `provider.create`, or the kind of row before the dot.
    pub action: Option<String>,
    /// A part of the row's name.
    pub object: Option<String>,
    /// The first moment, in microseconds since 1970.
    pub from: Option<i64>,
    /// The last moment, in microseconds since 1970.
    pub to: Option<i64>,
}

impl AuditFilter {
    /// Lines that one search by a text goes through.
    pub const SEARCHED: i64 = 100_000;

    /// Returns whether lines are looked at of which few may fit.
    pub fn has_text(&self) -> bool {
        self.actor.is_some() || self.action.is_some() || self.object.is_some()
    }
}

/// The lines of `audit_log` that fit a filter, the newest first.
#[derive(Debug, Default)]
pub struct AuditList {
    pub rows: Vec<AuditRow>,
    /// The lowest id that was searched, if the search has ended before it had enough lines.
    pub searched_to: Option<i64>,
}

impl AuditList {
    /// Makes it of at most `limit` lines that were found above `edge`, the first line that was not
    /// searched.
    pub fn of(rows: Vec<AuditRow>, limit: u32, edge: Option<i64>) -> AuditList {
        let is_full = rows.len() as u64 >= u64::from(limit);
        AuditList { rows, searched_to: edge.filter(|_| !is_full).map(|edge| edge.saturating_add(1)) }
    }
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

/// A key of the caller's choice: a change with one that was seen within
/// [`IdempotencyKey::KEPT_SECS`] is not made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// At most 64 characters.
    pub key: String,
    /// The fingerprint of the change. The same key with another one is a [`Fault::Reused`].
    pub fingerprint: String,
}

impl IdempotencyKey {
    /// The time in seconds for which a key is remembered.
    pub const KEPT_SECS: i64 = 86_400;
}

/// The result of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Of the row.
    pub id: i64,
    /// The version of the configuration with the change, and of the row.
    pub version: i64,
    /// Nothing was done: [`Write::idempotency_key`] was seen before, and this is the row of that
    /// time, which may be gone.
    pub repeated: bool,
}
