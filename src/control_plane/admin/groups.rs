//! `/groups`: groups of credentials.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::rows::{GroupRow, Rows};
use crate::control_plane::admin::body::{Change as Field, body};
use crate::control_plane::admin::context::{AuditEntry, Context, MAX_TRIES};
use crate::control_plane::admin::credentials::{Burst, list_text};
use crate::control_plane::admin::field_values::{Json, Limit, Name};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::providers::set;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::view::{GroupView, audit_text};
use crate::control_plane::store::Change;

body! {
    /// A new group.
    GroupCreate {
        required name: Name = "unique name, which never changes";
        optional parent: Name = "group that it belongs to; null is none";
        optional allowed_models: Vec<String> = "models and patterns that its keys may use; empty allows all";
        optional rate_limit: Limit = "requests per second of all of its keys; 0 blocks them, null is unlimited";
        optional burst: Burst = "requests that may arrive at one moment; the rate limit by default";
        optional tokens_per_minute: Limit = "tokens per minute of all of its keys; 0 blocks them, null is unlimited";
        optional max_concurrency: Limit = "requests of its keys in progress at one time; 0 blocks them, null is unlimited";
        optional metadata: Json = "notes of your own";
        optional is_enabled: bool = "whether its keys are valid, true by default";
    }
}

body! {
    /// Changes of a group. An absent field stays as it is, null clears one that can be empty.
    GroupUpdate {
        change parent: Name = "group that it belongs to; null is none";
        change allowed_models: Vec<String> = "models and patterns that its keys may use; empty or null allows all";
        change rate_limit: Limit = "requests per second of all of its keys; 0 blocks them, null is unlimited";
        change burst: Burst = "requests that may arrive at one moment; null is the rate limit";
        change tokens_per_minute: Limit = "tokens per minute of all of its keys; 0 blocks them, null is unlimited";
        change max_concurrency: Limit = "requests of its keys in progress at one time; 0 blocks them, null is unlimited";
        change metadata: Json = "replaces all notes";
        change is_enabled: bool = "whether its keys are valid";
    }
}

/// All groups, enabled or not
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GroupList {
    /// Version of the configuration
    version: i64,
    groups: Vec<GroupView>,
    #[serde(flatten)]
    page: Page,
}

/// The created group
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GroupCreated {
    /// Version of the configuration with this change
    version: i64,
    group: GroupView,
}

/// The group with its new status
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GroupStatus {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
    group: GroupView,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let read = context.current.read();
    let search = req.query("search").map(|text| text.to_lowercase());
    let wanted = |row: &&GroupRow| search.as_ref().is_none_or(|text| row.name.to_lowercase().contains(text));
    let (rows, page) = Page::of(&req, read.rows.groups.iter().filter(wanted))?;
    let groups = rows.into_iter().map(GroupView::of).collect();
    Ok(freshness.mark(json(200, &GroupList { version: read.rows.version, groups, page })?))
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let row = context.group(req.id)?;
    Ok(freshness.mark(tagged(json(200, &GroupView::of(&row))?, row.stamp.version)))
}

pub(super) async fn create(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: GroupCreate = req.body()?;
    let row = GroupRow {
        name: body.name.0,
        parent: body.parent.map(String::from),
        allowed_models: list_text(body.allowed_models.unwrap_or_default()),
        rate_limit: body.rate_limit.map(i64::from),
        burst: body.burst.map(i64::from),
        tokens_per_minute: body.tokens_per_minute.map(i64::from),
        max_concurrency: body.max_concurrency.map(i64::from),
        metadata: body.metadata.map_or_else(|| "{}".to_owned(), String::from),
        is_enabled: body.is_enabled.unwrap_or(true),
        ..GroupRow::default()
    };
    context.refresh().await?;
    context.check_group(None, &row)?;
    let new = audit_text(&GroupView::of(&row));
    let entry = AuditEntry { action: "group.create", object: &row.name, old: None, new };
    let written = context.write(&req, Change::AddGroup(row.clone()), entry).await?;
    // If it is not known here yet, as stored.
    let row = context.group(written.id).or_else(|refusal| match written.repeated {
        true => Err(refusal),
        false => Ok(GroupRow { id: written.id, ..row }),
    })?;
    let mut answer =
        tagged(json(201, &GroupCreated { version: written.version, group: GroupView::of(&row) })?, row.stamp.version);
    answer.fields.push(("location", format!("/admin/v1/groups/{}", row.id)));
    Ok(answer)
}

pub(super) async fn update(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: GroupUpdate = req.body()?;
    if body.is_empty() {
        return Err(Refusal::new(400, "no_fields", "No fields to update"));
    }
    let (version, row) = change(&context, &req, "group.update", |row| body.apply(row)).await?;
    Ok(tagged(json(200, &Updated { version, status: "updated" })?, row.stamp.version))
}

pub(super) async fn status(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Status = req.body()?;
    let set = |row: &mut GroupRow| {
        row.is_enabled = body.is_enabled;
        Ok(())
    };
    let (version, row) = change(&context, &req, "group.status", set).await?;
    let body = GroupStatus { version, status: "updated", group: GroupView::of(&row) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.group(req.id)?;
    req.check_version("group", row.stamp.version)?;
    if let Some(message) = in_use(&context.current.read().rows, &row.name) {
        return Err(Refusal::new(409, "conflict", message));
    }
    let row_version = req.if_match()?.map(|_| row.stamp.version);
    let entry =
        AuditEntry { action: "group.delete", object: &row.name, old: audit_text(&GroupView::of(&row)), new: None };
    context.write(&req, Change::RemoveGroup { id: req.id, row_version }, entry).await?;
    empty()
}

/// Returns why a group can't be removed: what belongs to it would be refused from then on.
pub fn in_use(rows: &Rows, name: &str) -> Option<String> {
    let is_this = |of: &Option<String>| of.as_deref() == Some(name);
    let keys = rows.credentials.iter().filter(|row| is_this(&row.group_name)).count();
    let groups = rows.groups.iter().filter(|row| is_this(&row.parent)).count();
    (keys + groups > 0).then(|| {
        format!("group `{name}` has {keys} keys and {groups} groups; give them another group or remove them first")
    })
}

/// As for providers.
async fn change(
    context: &Context,
    req: &AdminRequest,
    action: &'static str,
    edit: impl Fn(&mut GroupRow) -> Result<(), Refusal>,
) -> Result<(i64, GroupRow), Refusal> {
    let mut tries = MAX_TRIES;
    loop {
        context.refresh().await?;
        let old = context.group(req.id)?;
        req.check_version("group", old.stamp.version)?;
        let mut new = old.clone();
        edit(&mut new)?;
        context.check_group(Some(&old), &new)?;
        let [before, after] = [&old, &new].map(|row| audit_text(&GroupView::of(row)));
        let entry = AuditEntry { action, object: &new.name, old: before, new: after };
        tries -= 1;
        match context.write(req, Change::UpdateGroup(new.clone()), entry).await {
            Ok(written) => {
                new.stamp.version = written.version;
                // If it is not known here yet, as stored.
                let row = context.group(req.id).ok();
                let row = row.filter(|row| row.stamp.version >= written.version || written.repeated);
                return Ok((written.version, row.unwrap_or(new)));
            }
            Err(refusal) if refusal.status == 412 && req.request.if_match.is_none() && tries > 0 => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

impl GroupUpdate {
    fn is_empty(&self) -> bool {
        self.parent.is_absent()
            && self.allowed_models.is_absent()
            && self.rate_limit.is_absent()
            && self.burst.is_absent()
            && self.tokens_per_minute.is_absent()
            && self.max_concurrency.is_absent()
            && self.metadata.is_absent()
            && self.is_enabled.is_absent()
    }

    fn apply(&self, row: &mut GroupRow) -> Result<(), Refusal> {
        set(&self.is_enabled, "is_enabled", &mut row.is_enabled)?;
        self.parent.clone().map(String::from).apply_to(&mut row.parent);
        let models: Field<String> = self.allowed_models.clone().map(list_text);
        models.apply_or(&mut row.allowed_models, "[]".to_owned());
        self.rate_limit.clone().map(i64::from).apply_to(&mut row.rate_limit);
        self.burst.clone().map(i64::from).apply_to(&mut row.burst);
        self.tokens_per_minute.clone().map(i64::from).apply_to(&mut row.tokens_per_minute);
        self.max_concurrency.clone().map(i64::from).apply_to(&mut row.max_concurrency);
        self.metadata.clone().apply_or(&mut row.metadata, "{}".to_owned());
        // A burst without a limit means nothing.
        if row.rate_limit.is_none() && self.burst.is_absent() {
            row.burst = None;
        }
        Ok(())
    }
}
