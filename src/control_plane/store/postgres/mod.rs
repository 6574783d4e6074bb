//! A PostgreSQL database, shared by any number of gateways, and by operators who write SQL by hand.
//!
//! Changes are announced by `NOTIFY`, and the version is polled as well in case that a notice was
//! lost. A connection that ends is made again at its next use; changes in between are unknown, so
//! that everything is read again.

mod adopt;
mod connection;
mod explain;
mod logs;
mod migrate;
mod read;
mod rows;
mod sessions;
mod spend;
mod statement;
pub mod steps;
mod sums;
mod tls;
mod write;

use std::sync::atomic::Ordering;

use crate::config::rows::Rows;
use crate::config::snapshot::Problem;
use crate::control_plane::store::change::{AuditFilter, AuditList, Changes, SumsKey, Write, Written};
use crate::control_plane::store::error::{Answer, Error, Fault};
use crate::control_plane::store::interface::Store;
use crate::control_plane::store::logs::Tables;
use crate::limit::budget::{Claim, Grant};
use connection::{PROBE_TIMEOUT, READ_TIMEOUT, WRITE_TIMEOUT, WRITE_TIMEOUT_PER_ROW, with_timeout};
use sessions::DIRTY;
pub use sessions::{Options, Postgres};

impl Store for Postgres {
    fn place(&self) -> String {
        self.access.place.clone()
    }

    fn version(&self) -> Answer<'_, i64> {
        Box::pin(self.fetch_version())
    }

    fn load(&self) -> Answer<'_, Rows> {
        Box::pin(async move {
            match self.read(None).await? {
                Changes::All(rows) => Ok(rows),
                Changes::Some(_) => Err(Error::new(Fault::Unavailable, "asked for everything, the store gave a part")),
            }
        })
    }

    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        Box::pin(self.read(Some(since)))
    }

    fn changed(&self, since: i64) -> Answer<'_, ()> {
        Box::pin(self.wait(since))
    }

    fn write_all(&self, writes: Vec<Write>) -> Answer<'_, Vec<Written>> {
        Box::pin(async move {
            let mut writer = self.other(&self.writer).await?;
            let longest = WRITE_TIMEOUT + WRITE_TIMEOUT_PER_ROW * u32::try_from(writes.len()).unwrap_or(u32::MAX);
            let answer = with_timeout(&self.access, longest, write::write_all(&mut writer.client, &writes)).await;
            writer.settle(answer)
        })
    }

    fn audit_log(&self, filter: AuditFilter, limit: u32) -> Answer<'_, AuditList> {
        Box::pin(async move {
            let mut reader = self.reader().await?;
            let answer =
                with_timeout(&self.access, READ_TIMEOUT, write::audit_log(&reader.client, &filter, limit)).await;
            reader.settle(answer)
        })
    }

    /// By a connection of its own, since the reader may bring the tables up to date.
    fn identity(&self) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            let mut conn = self.connect().await?;
            let answer = with_timeout(&self.access, PROBE_TIMEOUT, read::identity(&conn.client)).await;
            conn.settle(answer)
        })
    }

    fn problems(&self) -> Vec<Problem> {
        let dirty = || Problem { object: "store".to_owned(), message: DIRTY.to_owned() };
        self.dirty.load(Ordering::Relaxed).then(dirty).into_iter().collect()
    }

    fn claim(&self, claims: Vec<(SumsKey, Claim)>) -> Answer<'_, Vec<Grant>> {
        Box::pin(async move {
            let mut claimer = self.other(&self.claimer).await?;
            let answer = with_timeout(&self.access, PROBE_TIMEOUT, sums::claim(&mut claimer.client, &claims)).await;
            claimer.settle(answer)
        })
    }

    fn tables(&self) -> Option<&dyn Tables> {
        Some(self)
    }
}
