//! `GET /audit`: the newest changes of the configuration.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::audit_file::Entry;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::logs::period;
use crate::control_plane::admin::request::{AdminRequest, Outcome, json};
use crate::control_plane::store::logs::Filter;
use crate::control_plane::store::{AuditFilter, AuditRow};

/// The newest changes
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditLog<'a> {
    entries: Vec<Entry<'a>>,
    /// The lowest id that was searched, if a search by a text has ended early: it goes through
    /// 100,000 entries; those outside of the times that are asked for do not count. Then there may
    /// be fewer entries than fit, or none, and the search goes on with this as `before`
    searched_to: Option<i64>,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    // PostgreSQL takes no U+0000, and no row has one.
    let text = |name| req.query(name).map(|text| text.replace('\0', "\u{fffd}"));
    let Filter { from, to, .. } = period(&req)?;
    let filter = AuditFilter {
        before: req.number("before", 1, i64::MAX)?,
        actor: text("actor"),
        action: text("action"),
        object: text("object"),
        from,
        to,
    };
    let limit = req.number("limit", 1, 1000)?.unwrap_or(100);
    context.check_store().await?;
    let found = context.store.audit_log(filter, u32::try_from(limit).unwrap_or(100)).await?;
    let entry = |row: &'_ AuditRow| (row.id, row.timestamp.div_euclid(1_000_000));
    let entries = found.rows.iter().map(|row| {
        let (id, seconds) = entry(row);
        Entry::of(&row.audit, row.object_id, seconds).with_id(id)
    });
    json(200, &AuditLog { entries: entries.collect(), searched_to: found.searched_to })
}
