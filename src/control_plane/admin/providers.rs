//! `/providers`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::compile::{compile, judge};
use crate::config::rows::{ProviderRow, Rows};
use crate::config::snapshot::{BaseUrl, Snapshot};
use crate::config::vault;
use crate::control_plane::admin::body::{Change as Field, body};
use crate::control_plane::admin::context::{AuditEntry, Context, MAX_TRIES};
use crate::control_plane::admin::field_values::{Base, Count, Json, MappingJson, Name, Text};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::view::{ProviderView, hides_a_header, masked, unmasked};
use crate::control_plane::store::Change;
use crate::route::rank::overlap;
use crate::shared::admin::Request;

/// As far as the compiler of the configuration takes them.
type Weight = Count<0, 1_000_000>;

body! {
    /// A new provider.
    ProviderCreate {
        required provider_key: Name = "unique name, which logs and metrics show";
        optional provider_type: Text<50> = "openai (the default), azure, anthropic or responses; other types are treated as openai";
        required api_base: Base = "base URL, such as https://api.openai.com/v1";
        optional api_key: String = "API key of the provider; `env:NAME` reads it from the server's environment";
        optional model_mapping: MappingJson = "model or pattern to upstream model; empty serves every model";
        optional weight: Weight = "share of the requests, 1 by default; with 0 the provider is a standby";
        optional provider_params: Json = "formats, host, quirks, capabilities, translation and custom_headers";
        optional is_enabled: bool = "whether the provider is used, true by default";
        optional lua_script: Text<65536> = "not served by this version";
    }
}

body! {
    /// Changes of a provider. An absent field stays as it is, null clears one that can be empty.
    ProviderUpdate {
        change provider_key: Name = "as it is; a provider keeps its name";
        change provider_type: Text<50> = "openai, azure, anthropic or responses; other types are treated as openai";
        change api_base: Base = "base URL";
        change api_key: String = "API key of the provider; null removes it";
        change model_mapping: MappingJson = "replaces the whole mapping; null is an empty one, which serves every model";
        change weight: Weight = "share of the requests; with 0 the provider is a standby";
        change provider_params: Json = "replaces all parameters; a header whose value is `***` stays as it was";
        change is_enabled: bool = "whether the provider is used";
        change lua_script: Text<65536> = "not served by this version; null clears it";
    }
}

/// All providers, enabled or not
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderList {
    /// Version of the configuration
    version: i64,
    providers: Vec<ProviderView>,
    #[serde(flatten)]
    page: Page,
}

/// The created provider
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderCreated {
    /// Version of the configuration with this change
    version: i64,
    provider: ProviderView,
    /// What keeps it from being served for now: variables that its key is taken from and that are
    /// not set; and providers that serve every model, if it is one of several
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The provider with its new status
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProviderStatus {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
    provider: ProviderView,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let read = context.current.read();
    let search = req.query("search").map(|text| text.to_lowercase());
    let is_match =
        |row: &&ProviderRow| search.as_ref().is_none_or(|text| row.provider_key.to_lowercase().contains(text));
    let (rows, page) = Page::of(&req, read.rows.providers.iter().filter(is_match))?;
    let snapshot = context.shared.publisher.load();
    let providers = rows.into_iter().map(|row| in_force(row, &snapshot)).collect();
    Ok(freshness.mark(json(200, &ProviderList { version: read.rows.version, providers, page })?))
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let row = context.provider(req.id)?;
    let view = in_force(&row, &context.shared.publisher.load());
    Ok(freshness.mark(tagged(json(200, &view)?, row.stamp.version)))
}

/// Returns a row with whether this gateway serves it.
fn in_force(row: &ProviderRow, snapshot: &Snapshot) -> ProviderView {
    let mut view = ProviderView::of(row);
    view.is_served = Some(snapshot.provider(row.id).is_some());
    view
}

pub(super) async fn create(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: ProviderCreate = req.body()?;
    let text = |json: Option<Json>| json.map_or_else(|| "{}".to_owned(), String::from);
    let mut row = ProviderRow {
        provider_key: body.provider_key.0,
        provider_type: body.provider_type.map_or_else(|| "openai".to_owned(), String::from),
        api_base: body.api_base.into(),
        api_key: body.api_key.unwrap_or_default().into(),
        model_mapping: body.model_mapping.map_or_else(|| "{}".to_owned(), String::from),
        weight: body.weight.map_or(1, i64::from),
        provider_params: text(body.provider_params),
        lua_script: body.lua_script.map(String::from).filter(|script| !script.is_empty()),
        is_enabled: body.is_enabled.unwrap_or(true),
        ..ProviderRow::default()
    };
    context.check_provider(None, &row)?;
    let mut warnings = unset(&context, &row);
    seal(&context, &mut row)?;
    let entry =
        AuditEntry { action: "provider.create", object: &row.provider_key, old: None, new: Some(audit_text(&row)) };
    let written = context.write(&req, Change::AddProvider(row.clone()), entry).await?;
    // If it is not known here yet, as stored.
    let row = context.provider(written.id).or_else(|refusal| match written.repeated {
        true => Err(refusal),
        false => Ok(ProviderRow { id: written.id, ..row }),
    })?;
    if row.model_mapping == "{}" {
        let rows = context.current.read().rows.clone();
        warnings.extend(overlap(&compile(&rows, None, &|_| Some("k".to_owned())).0));
    }
    let body = ProviderCreated { version: written.version, provider: ProviderView::of(&row), warnings };
    let mut answer = tagged(json(201, &body)?, row.stamp.version);
    answer.fields.push(("location", format!("/admin/v1/providers/{}", row.id)));
    Ok(answer)
}

pub(super) async fn update(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: ProviderUpdate = req.body()?;
    if body.is_empty() {
        return Err(Refusal::new(400, "no_fields", "No fields to update"));
    }
    let (version, row) = change(&context, &req, "provider.update", |row| body.apply(row)).await?;
    Ok(tagged(json(200, &Updated { version, status: "updated" })?, row.stamp.version))
}

pub(super) async fn status(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Status = req.body()?;
    let set = |row: &mut ProviderRow| {
        row.is_enabled = body.is_enabled;
        Ok(())
    };
    let (version, row) = change(&context, &req, "provider.status", set).await?;
    let body = ProviderStatus { version, status: "updated", provider: ProviderView::of(&row) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.provider(req.id)?;
    req.check_version("provider", row.stamp.version)?;
    let row_version = req.if_match()?.map(|_| row.stamp.version);
    let entry =
        AuditEntry { action: "provider.delete", object: &row.provider_key, old: Some(audit_text(&row)), new: None };
    context.write(&req, Change::RemoveProvider { id: req.id, row_version }, entry).await?;
    empty()
}

/// Encrypts every key with `SECRET_KEY` that is plain or encrypted with a former secret. Returns
/// how many there were.
pub(super) async fn reencrypt(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    if context.environment.get("SECRET_KEY").is_none() {
        let message = "SECRET_KEY is not set, so there is nothing to encrypt with";
        return Err(Refusal::new(409, "no_secret_key", message));
    }
    let rows = context.current.read().rows.providers.clone();
    let mut count = 0;
    for row in rows.iter().filter(|row| vault::is_due(&row.api_key, &context.env())) {
        let request = Request { if_match: None, idempotency_key: None, ..req.request.clone() };
        let req = AdminRequest { id: row.id, request };
        let open = |row: &mut ProviderRow| {
            let plain = vault::open(&format!("api_key of provider {}", row.provider_key), &row.api_key, &context.env());
            let plain = plain.map_err(|message| Refusal::new(409, "unreadable_key", message))?;
            row.api_key = plain.into();
            Ok(())
        };
        change(&context, &req, "provider.reencrypt", open).await?;
        count += 1;
    }
    json(200, &Reencrypted { version: context.version(), reencrypted: count })
}

/// The number of API keys that were encrypted again
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Reencrypted {
    version: i64,
    reencrypted: usize,
}

/// Reads the row, changes it, and writes it unless another request has written it meanwhile; then
/// it begins again, unless the caller named a version. Returns the version of the configuration and
/// the row.
async fn change(
    context: &Context,
    req: &AdminRequest,
    action: &'static str,
    edit: impl Fn(&mut ProviderRow) -> Result<(), Refusal>,
) -> Result<(i64, ProviderRow), Refusal> {
    let mut tries = MAX_TRIES;
    loop {
        context.refresh().await?;
        let old = context.provider(req.id)?;
        req.check_version("provider", old.stamp.version)?;
        let mut new = old.clone();
        edit(&mut new)?;
        context.check_provider(Some(&old), &new)?;
        seal(context, &mut new)?;
        let entry =
            AuditEntry { action, object: &old.provider_key, old: Some(audit_text(&old)), new: Some(audit_text(&new)) };
        tries -= 1;
        match context.write(req, Change::UpdateProvider(new.clone()), entry).await {
            Ok(written) => {
                new.stamp.version = written.version;
                // If it is not known here yet, as stored.
                let row = context
                    .provider(req.id)
                    .ok()
                    .filter(|row| row.stamp.version >= written.version || written.repeated);
                return Ok((written.version, row.unwrap_or(new)));
            }
            Err(refusal) if refusal.status == 412 && req.request.if_match.is_none() && tries > 0 => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

impl ProviderUpdate {
    fn is_empty(&self) -> bool {
        self.provider_type.is_absent()
            && self.api_base.is_absent()
            && self.api_key.is_absent()
            && self.model_mapping.is_absent()
            && self.weight.is_absent()
            && self.provider_params.is_absent()
            && self.is_enabled.is_absent()
            && self.lua_script.is_absent()
    }

    /// Refuses to send stored secrets to another server: they must come along with its address.
    fn check_secrets(&self, row: &ProviderRow) -> Result<(), Refusal> {
        let refuse = |field: &str, what: &str| {
            let message = format!(
                "api_base leads to another host or scheme, and the stored {what} must not be sent there unseen; send \
                 {field} along with it"
            );
            Err(Refusal::invalid(message, Some(field.to_owned())))
        };
        if self.api_key.is_absent() && !row.api_key.trim().is_empty() {
            return refuse("api_key", "key");
        }
        let keeps_headers = match &self.provider_params {
            Field::Absent => hides_a_header(masked(&row.provider_params).get()),
            Field::Null => false,
            Field::To(params) => hides_a_header(params.text()),
        };
        if keeps_headers { refuse("provider_params", "custom_headers") } else { Ok(()) }
    }

    fn apply(&self, row: &mut ProviderRow) -> Result<(), Refusal> {
        if !matches!(&self.provider_key, Field::Absent)
            && !matches!(&self.provider_key, Field::To(key) if key.0 == row.provider_key)
        {
            let message = "provider_key can't be changed, since logs and metrics know the provider by it";
            return Err(Refusal::invalid(message, Some("provider_key".into())));
        }
        set(&self.provider_type, "provider_type", &mut row.provider_type)?;
        let old_base = row.api_base.clone();
        set(&self.api_base, "api_base", &mut row.api_base)?;
        if is_elsewhere(&old_base, &row.api_base) {
            self.check_secrets(row)?;
        }
        set(&self.weight, "weight", &mut row.weight)?;
        set(&self.is_enabled, "is_enabled", &mut row.is_enabled)?;
        self.api_key.clone().apply_or(&mut row.api_key, String::new().into());
        self.model_mapping.clone().apply_or(&mut row.model_mapping, "{}".to_owned());
        match &self.lua_script {
            Field::Absent => {}
            Field::Null => row.lua_script = None,
            Field::To(script) => row.lua_script = Some(script.clone().into()),
        }
        match &self.provider_params {
            Field::Absent => {}
            Field::Null => row.provider_params = "{}".to_owned(),
            Field::To(params) => row.provider_params = unmasked(params.text(), &row.provider_params),
        }
        Ok(())
    }
}

/// Returns whether a base leads to another server than before, or to the same without encryption.
/// Nothing was ever sent to a base that can't be read, and none can be written here.
fn is_elsewhere(old: &str, new: &str) -> bool {
    let place = |base: &str| BaseUrl::parse(base).map(|base| (base.tls, base.host)).ok();
    place(old).is_some_and(|old| Some(old) != place(new))
}

/// Sets a column that can't be empty.
pub(super) fn set<T: Clone + Into<C>, C>(field: &Field<T>, name: &str, column: &mut C) -> Result<(), Refusal> {
    match field {
        Field::Absent => Ok(()),
        Field::To(value) => {
            *column = value.clone().into();
            Ok(())
        }
        Field::Null => {
            Err(Refusal::invalid(format!("{name} can't be null; leave it out to keep it"), Some(name.into())))
        }
    }
}

/// Returns a warning for each variable that the key is taken from and that is not set in this
/// process.
fn unset(context: &Context, row: &ProviderRow) -> Vec<String> {
    let rows = Rows { providers: vec![row.clone()], ..Rows::default() };
    let (_, unset) = judge(&rows, &context.env());
    let warning = |name| {
        format!("the environment variable {name} is not set at this gateway; the provider is not served without it")
    };
    unset.into_iter().map(warning).collect()
}

fn seal(context: &Context, row: &mut ProviderRow) -> Result<(), Refusal> {
    let sealed = vault::seal(&row.api_key, &context.env());
    row.api_key = sealed.map_err(|why| Refusal::new(500, "internal_error", why))?.into();
    Ok(())
}

/// For the audit log.
fn audit_text(row: &ProviderRow) -> String {
    serde_json::to_string(&ProviderView::of(row)).unwrap_or_default()
}
