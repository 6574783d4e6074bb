//! The interface of every store.

use super::change::{AuditFilter, AuditList, Changes, SumsKey, Write, Written};
use super::error::{Answer, Error, Fault};
use super::logs;
use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::limit::budget::{Claim, Grant};

/// A store. It may be used by several tasks at once. Its futures need a tokio runtime with timers,
/// and none of them blocks the thread.
pub trait Store: Send + Sync {
    /// Returns the name of the store for a person, never with a password.
    fn place(&self) -> String;

    /// Reads `config_version.version`. This also shows whether the store is reachable.
    fn version(&self) -> Answer<'_, i64>;

    /// Reads all rows, enabled or not, in the order of ids and as of one moment.
    fn load(&self) -> Answer<'_, Rows>;

    /// Reads the differences from the rows at version `since`, as of one moment. A store that no
    /// longer knows them returns all rows.
    fn changes(&self, since: i64) -> Answer<'_, Changes>;

    /// Waits until the version differs from `since`. It checks at once, and again when the store
    /// notifies of a change or time has passed. An error means that the version is unknown now. The
    /// future may be dropped, and the call repeated.
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

    /// Reads at most `limit` lines of the audit log that fit the filter, the newest first. With a
    /// text it goes through [`AuditFilter::SEARCHED`] lines.
    fn audit_log(&self, filter: AuditFilter, limit: u32) -> Answer<'_, AuditList>;

    /// Reads a value that is equal for two handles on one store and differs between stores, by
    /// which the command line notices that it works on another store than the gateway beside it.
    /// `None` if it is unknown.
    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns the problems of the store as a whole, which keep nothing from being served. They are
    /// known once something was read.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Returns notices for the log, which are no problems.
    fn notices(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Carries out claims on the sums of budgets, each in one step with no other in between.
    /// Returns the grants in their order.
    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        let _ = claims;
        Box::pin(std::future::ready(Err(Error::new(Fault::Unavailable, "this store keeps no sums of budgets"))))
    }

    /// Returns the tables of logs and prices; `None` if the store has none.
    fn tables(&self) -> Option<&dyn logs::Tables> {
        None
    }
}
