//! `/config/export` and `/config/import`: the whole store as a configuration file. No secret leaves
//! in it; what comes in may hold some.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::file;
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::control_plane::config::import_export::{plan, write};
use crate::control_plane::store::Change;
use crate::shared::admin::Request;

/// The configuration as a file
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Exported {
    version: i64,
    /// YAML; API keys are variables of the environment, the values of headers are `***`
    file: String,
}

body! {
    /// A configuration file to import.
    Import {
        required file: String = "the file as YAML, without variables; its settings are ignored";
        optional prune: bool = "whether rows that the file does not have are removed, false by default";
    }
}

/// What the import has changed
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Imported {
    /// Version of the configuration with this change
    version: i64,
    added: usize,
    changed: usize,
    removed: usize,
    /// Rows that were the same as in the file
    same: usize,
}

pub(super) async fn export(context: Arc<Context>, _: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let rows = context.current.read().rows.clone();
    Ok(freshness.mark(json(200, &Exported { version: rows.version, file: write(&rows, false) })?))
}

/// As on the command line, a row that can't be served is stored all the same, and is then a
/// problem.
pub(super) async fn import(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Import = req.body()?;
    let file = file::read(&body.file, &|_| None).map_err(|problems| {
        let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Refusal::invalid(messages.join("; "), Some("file".to_owned()))
    })?;
    context.refresh().await?;
    let there = context.current.read().rows.clone();
    let plan = plan(&there, file.rows(), body.prune.unwrap_or_default(), &context.env());
    let plan = plan.map_err(|why| Refusal::invalid(why, Some("file".to_owned())))?;
    for step in &plan.steps {
        let (Change::AddProvider(row) | Change::UpdateProvider(row)) = &step.change else { continue };
        let old = there.providers.iter().find(|old| old.id == row.id);
        context.check_key_source(old, row)?;
    }
    drop(there);
    // An idempotency key covers one change and not many. A repeated import changes nothing.
    let request = Request { if_match: None, idempotency_key: None, ..req.request };
    let req = AdminRequest { id: 0, request };
    let written = context.change_all(&req, &plan).await.map_err(|refusal| match refusal.status {
        // A change that was made was reported already.
        503 => refusal,
        412 => Refusal { status: 409, message: format!("{}; nothing was changed", refusal.message), ..refusal },
        _ => Refusal { message: format!("{}; nothing was changed", refusal.message), ..refusal },
    })?;
    let version = written.last().map_or_else(|| context.version(), |written| written.version);
    context.force(version).await;
    let count = |what| plan.count(what);
    let (added, changed, removed) = (count("create"), count("update"), count("delete"));
    json(200, &Imported { version, added, changed, removed, same: plan.same })
}
