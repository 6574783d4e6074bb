//! What every store does.

use super::change::{AuditRow, Changes, SumsKey, Write, Written};
use super::error::{Answer, Error, Fault};
use super::logs;
use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::limit::budget::{Claim, Grant};

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
