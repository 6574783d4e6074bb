//! `/models`: virtual models.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::compile::notices;
use crate::config::rows::{ModelRow, Rows};
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::{AuditEntry, Context, MAX_TRIES};
use crate::control_plane::admin::field_values::Name;
use crate::control_plane::admin::members::{MembersJson, OptionsJson, OverridesJson};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::providers::set;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::view::{self, ModelView};
use crate::control_plane::store::Change;

body! {
    /// A new virtual model.
    ModelCreate {
        required name: Name = "unique name, which clients req for";
        required members: MembersJson = "the models that requests for the name go to";
        optional overrides: OverridesJson = "other members for the credentials of these names";
        optional options: OptionsJson = "which failures lead to another member";
        optional is_enabled: bool = "whether the name is served, true by default";
    }
}

body! {
    /// Changes of a virtual model. An absent field stays as it is, null clears one that can be
    /// empty.
    ModelUpdate {
        change name: Name = "unique name, which clients req for";
        change members: MembersJson = "replaces all members";
        change overrides: OverridesJson = "replaces all members for single credentials; null removes them";
        change options: OptionsJson = "replaces all options; null is the defaults";
        change is_enabled: bool = "whether the name is served";
    }
}

/// All virtual models, enabled or not
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelList {
    /// Version of the configuration
    version: i64,
    models: Vec<ModelView>,
    #[serde(flatten)]
    page: Page,
}

/// The virtual model that was created
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelCreated {
    /// Version of the configuration with this change
    version: i64,
    model: ModelView,
    /// What may be wrong with it: members that no provider serves, the name of a real model
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The virtual model with its new status
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ModelStatus {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
    model: ModelView,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let read = context.current.read();
    let search = req.query("search").map(|text| text.to_lowercase());
    let is_match = |row: &&ModelRow| search.as_ref().is_none_or(|text| row.name.to_lowercase().contains(text));
    let (rows, page) = Page::of(&req, read.rows.models.iter().filter(is_match))?;
    let models = rows.into_iter().map(ModelView::of).collect();
    Ok(freshness.mark(json(200, &ModelList { version: read.rows.version, models, page })?))
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let row = context.model(req.id)?;
    Ok(freshness.mark(tagged(json(200, &ModelView::of(&row))?, row.stamp.version)))
}

pub(super) async fn create(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: ModelCreate = req.body()?;
    let empty = || "{}".to_owned();
    let row = ModelRow {
        name: body.name.0,
        members: body.members.into(),
        overrides: body.overrides.map_or_else(empty, String::from),
        options: body.options.map_or_else(empty, String::from),
        is_enabled: body.is_enabled.unwrap_or(true),
        ..ModelRow::default()
    };
    context.refresh().await?;
    context.check_model(None, &row)?;
    let entry = AuditEntry { action: "model.create", object: &row.name, old: None, new: Some(audit_text(&row)) };
    let written = context.write(&req, Change::AddModel(row.clone()), entry).await?;
    // If it is not known here yet, as stored.
    let row = context.model(written.id).or_else(|refusal| match written.repeated {
        true => Err(refusal),
        false => Ok(ModelRow { id: written.id, ..row }),
    })?;
    let warnings = warnings(&context, &row);
    let body = ModelCreated { version: written.version, model: ModelView::of(&row), warnings };
    let mut answer = tagged(json(201, &body)?, row.stamp.version);
    answer.fields.push(("location", format!("/admin/v1/models/{}", row.id)));
    Ok(answer)
}

/// Returns what may be wrong with a row that is served.
fn warnings(context: &Context, row: &ModelRow) -> Vec<String> {
    let read = context.current.read();
    let others = read.rows.models.iter().filter(|other| other.id != row.id).cloned();
    let rows = Rows { models: others.chain([row.clone()]).collect(), ..Rows::clone(&read.rows) };
    drop(read);
    let object = format!("model {}", row.name);
    let found = notices(&rows, &context.env()).into_iter().filter(|notice| notice.object == object);
    found.map(|notice| notice.message).collect()
}

pub(super) async fn update(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: ModelUpdate = req.body()?;
    if body.is_empty() {
        return Err(Refusal::new(400, "no_fields", "No fields to update"));
    }
    let (version, row) = change(&context, &req, "model.update", |row| body.apply(row)).await?;
    Ok(tagged(json(200, &Updated { version, status: "updated" })?, row.stamp.version))
}

pub(super) async fn status(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Status = req.body()?;
    let set = |row: &mut ModelRow| {
        row.is_enabled = body.is_enabled;
        Ok(())
    };
    let (version, row) = change(&context, &req, "model.status", set).await?;
    let body = ModelStatus { version, status: "updated", model: ModelView::of(&row) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.model(req.id)?;
    req.check_version("virtual model", row.stamp.version)?;
    let row_version = req.if_match()?.map(|_| row.stamp.version);
    let entry = AuditEntry { action: "model.delete", object: &row.name, old: Some(audit_text(&row)), new: None };
    context.write(&req, Change::RemoveModel { id: req.id, row_version }, entry).await?;
    empty()
}

/// Does for virtual models what it does for providers.
async fn change(
    context: &Context,
    req: &AdminRequest,
    action: &'static str,
    edit: impl Fn(&mut ModelRow) -> Result<(), Refusal>,
) -> Result<(i64, ModelRow), Refusal> {
    let mut tries = MAX_TRIES;
    loop {
        context.refresh().await?;
        let old = context.model(req.id)?;
        req.check_version("virtual model", old.stamp.version)?;
        let mut new = old.clone();
        edit(&mut new)?;
        context.check_model(Some(&old), &new)?;
        let entry = AuditEntry { action, object: &new.name, old: Some(audit_text(&old)), new: Some(audit_text(&new)) };
        tries -= 1;
        match context.write(req, Change::UpdateModel(new.clone()), entry).await {
            Ok(written) => {
                new.stamp.version = written.version;
                // If it is not known here yet, as stored.
                let row =
                    context.model(req.id).ok().filter(|row| row.stamp.version >= written.version || written.repeated);
                return Ok((written.version, row.unwrap_or(new)));
            }
            Err(refusal) if refusal.status == 412 && req.request.if_match.is_none() && tries > 0 => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

impl ModelUpdate {
    fn is_empty(&self) -> bool {
        self.name.is_absent()
            && self.members.is_absent()
            && self.overrides.is_absent()
            && self.options.is_absent()
            && self.is_enabled.is_absent()
    }

    fn apply(&self, row: &mut ModelRow) -> Result<(), Refusal> {
        set(&self.name, "name", &mut row.name)?;
        set(&self.members, "members", &mut row.members)?;
        set(&self.is_enabled, "is_enabled", &mut row.is_enabled)?;
        self.overrides.clone().apply_or(&mut row.overrides, "{}".to_owned());
        self.options.clone().apply_or(&mut row.options, "{}".to_owned());
        Ok(())
    }
}

fn audit_text(row: &ModelRow) -> String {
    view::audit_text(&ModelView::of(row)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::admin::body::{Body, Fields};

    fn read(body: &str) -> Result<ModelCreate, Refusal> {
        let mut fields = Fields::parse(body.as_bytes())?;
        let body = ModelCreate::read(&mut fields);
        fields.finish(body)
    }

    #[test]
    fn every_invalid_field_is_named() {
        let refusal = read(r#"{"members":[{"model":1}],"overrides":{"k":["*"]},"options":{"x":1}}"#).unwrap_err();
        for part in [
            "name is required",
            "members entry 1 has a model that is no text",
            "overrides `k`: entry 1 is the pattern",
            "options `x` is not known",
        ] {
            assert!(refusal.message.contains(part), "{}", refusal.message);
        }
        let model = read(r#"{"name":"a","members":["b", {"model":"c"}]}"#).unwrap();
        assert_eq!(String::from(model.members), r#"["b", {"model":"c"}]"#);
    }
}
