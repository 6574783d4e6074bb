//! `/credentials`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::compile::{WEAK_KEY, is_weak_key};
use crate::config::rows::CredentialRow;
use crate::control_plane::admin::body::{Change as Field, body};
use crate::control_plane::admin::context::{AuditEntry, Context, MAX_TRIES};
use crate::control_plane::admin::field_values::{Count, Json, Key, Limit, MAX_INTEGER, Moment, Name};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::providers::set;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::view::CredentialView;
use crate::control_plane::store::Change;

/// At least one request must fit.
pub(super) type Burst = Count<1, MAX_INTEGER>;
/// Up to 30 days.
type Overlap = Count<0, 2_592_000>;
/// How long the old key stays valid after a rotation by default.
const OVERLAP_SECS: i64 = 86_400;

body! {
    /// A new credential.
    CredentialCreate {
        optional key: Key = "the key that the client sends; without it a new key is made and shown in this response only";
        required name: Name = "name of the key in logs and metrics";
        optional group_name: Name = "group that the key belongs to; null is none";
        optional allowed_models: Vec<String> = "models and patterns that the key may use; empty allows all";
        optional rate_limit: Limit = "requests per second; 0 blocks the key, null is unlimited";
        optional burst: Burst = "requests that may arrive at one moment; the rate limit by default";
        optional tokens_per_minute: Limit = "tokens per minute, of prompts and answers; 0 blocks the key, null is unlimited";
        optional max_concurrency: Limit = "requests in progress at one time; 0 blocks the key, null is unlimited";
        optional expires_at: Moment = "when the key expires; null is never";
        optional metadata: Json = "notes of your own";
        optional is_enabled: bool = "whether the key is valid, true by default";
    }
}

body! {
    /// Changes of a credential. An absent field stays as it is, null clears one that can be empty.
    CredentialUpdate {
        change key: Key = "a new key, which replaces the old one at once; `rotate` keeps the old one valid for a while";
        change name: Name = "name of the key in logs and metrics";
        change group_name: Name = "group that the key belongs to; null is none";
        change allowed_models: Vec<String> = "models and patterns that the key may use; empty or null allows all";
        change rate_limit: Limit = "requests per second; 0 blocks the key, null is unlimited";
        change burst: Burst = "requests that may arrive at one moment; null is the rate limit";
        change tokens_per_minute: Limit = "tokens per minute, of prompts and answers; 0 blocks the key, null is unlimited";
        change max_concurrency: Limit = "requests in progress at one time; 0 blocks the key, null is unlimited";
        change expires_at: Moment = "when the key expires; null is never";
        change metadata: Json = "replaces all notes";
        change is_enabled: bool = "whether the key is valid";
    }
}

body! {
    /// How the key is replaced.
    Rotate {
        optional key: Key = "the new key; without it a new key is made";
        optional overlap_secs: Overlap = "seconds for which the old key stays valid, a day by default; 0 ends it at once";
    }
}

/// All credentials, enabled or not
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CredentialList {
    /// Version of the configuration
    version: i64,
    credentials: Vec<CredentialView>,
    #[serde(flatten)]
    page: Page,
}

/// The created credential, or the one with its new key
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CredentialCreated {
    /// Version of the configuration with this change
    version: i64,
    credential: CredentialView,
    /// The key, if the gateway made it; it is shown in this response only
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What may be wrong with it: a key that is easily guessed
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The credential with its new status
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CredentialStatus {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
    credential: CredentialView,
}

/// Returns `sk-` and 48 characters of the URL-safe alphabet: 288 random bits.
pub fn generate() -> Result<String, String> {
    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no random numbers for a key: {error}"))?;
    Ok(format!("sk-{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

/// Returns what the store keeps of a key: its SHA-256 in hex.
pub fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

/// Returns the key of the request, or a new one, which must be shown in the response.
fn key_or_new(key: Option<Key>) -> Result<(String, Option<String>), Refusal> {
    match key {
        Some(key) => Ok((key.0, None)),
        None => {
            let key = generate().map_err(|why| Refusal::new(500, "internal_error", why))?;
            Ok((key.clone(), Some(key)))
        }
    }
}

pub(super) fn list_text(models: Vec<String>) -> String {
    serde_json::Value::from(models).to_string()
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let read = context.current.read();
    let search = req.query("search").map(|text| text.to_lowercase());
    let group = req.query("group");
    let is_match = |row: &&CredentialRow| {
        search.as_ref().is_none_or(|text| row.name.to_lowercase().contains(text))
            && group.as_ref().is_none_or(|group| row.group_name.as_ref() == Some(group))
    };
    let (rows, page) = Page::of(&req, read.rows.credentials.iter().filter(is_match))?;
    let credentials = rows.into_iter().map(CredentialView::of).collect();
    Ok(freshness.mark(json(200, &CredentialList { version: read.rows.version, credentials, page })?))
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let row = context.credential(req.id)?;
    Ok(freshness.mark(tagged(json(200, &CredentialView::of(&row))?, row.stamp.version)))
}

/// Returns the warning about a key that may be guessed.
fn weak(key: &str) -> Vec<String> {
    let warning = || format!("the {WEAK_KEY}; leave it out to have one made");
    is_weak_key(key).then(warning).into_iter().collect()
}

pub(super) async fn create(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: CredentialCreate = req.body()?;
    let (key, made) = key_or_new(body.key)?;
    let warnings = weak(&key);
    let row = CredentialRow {
        credential_key: hash(&key),
        name: body.name.0,
        group_name: body.group_name.map(String::from),
        allowed_models: list_text(body.allowed_models.unwrap_or_default()),
        rate_limit: body.rate_limit.map(i64::from),
        burst: body.burst.map(i64::from),
        tokens_per_minute: body.tokens_per_minute.map(i64::from),
        max_concurrency: body.max_concurrency.map(i64::from),
        expires_at: body.expires_at.map(|moment| moment.0),
        metadata: body.metadata.map_or_else(|| "{}".to_owned(), String::from),
        is_enabled: body.is_enabled.unwrap_or(true),
        ..CredentialRow::default()
    };
    context.check_credential(None, &row)?;
    let entry = AuditEntry { action: "credential.create", object: &row.name, old: None, new: Some(audit_text(&row)) };
    let written = context.write(&req, Change::AddCredential(row.clone()), entry).await?;
    // If it is not known here yet, as stored.
    let row = context.credential(written.id).or_else(|refusal| match written.repeated {
        true => Err(refusal),
        false => Ok(CredentialRow { id: written.id, ..row }),
    })?;
    // The key that was made for a repeated request is not stored.
    let (key, made) = if written.repeated { (None, None) } else { (Some(key), made) };
    let credential = CredentialView::of(&row);
    let credential = key.iter().fold(credential, |view, key| view.with_key(key));
    let body = CredentialCreated { version: written.version, credential, key: made, warnings };
    let mut answer = tagged(json(201, &body)?, row.stamp.version);
    answer.fields.push(("location", format!("/admin/v1/credentials/{}", row.id)));
    Ok(answer)
}

pub(super) async fn update(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: CredentialUpdate = req.body()?;
    if body.is_empty() {
        return Err(Refusal::new(400, "no_fields", "No fields to update"));
    }
    let (version, row) = change(&context, &req, "credential.update", |row| body.apply(row)).await?;
    Ok(tagged(json(200, &Updated { version, status: "updated" })?, row.stamp.version))
}

pub(super) async fn status(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Status = req.body()?;
    let set = |row: &mut CredentialRow| {
        row.is_enabled = body.is_enabled;
        Ok(())
    };
    let (version, row) = change(&context, &req, "credential.status", set).await?;
    let body = CredentialStatus { version, status: "updated", credential: CredentialView::of(&row) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn rotate(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Rotate = req.body()?;
    let (key, made) = key_or_new(body.key)?;
    let overlap = body.overlap_secs.map_or(OVERLAP_SECS, i64::from);
    let (hash, until) = (hash(&key), now() + overlap);
    let replace = |row: &mut CredentialRow| {
        if row.credential_key == hash {
            return Ok(());
        }
        let old = std::mem::replace(&mut row.credential_key, hash.clone());
        (row.previous_key, row.previous_key_until) = match overlap {
            0 => (None, None),
            _ => (Some(old), Some(until)),
        };
        Ok(())
    };
    let (version, row) = change(&context, &req, "credential.rotate", replace).await?;
    // A key that was made for a repeated request is none.
    let made = made.filter(|key| row.credential_key == crate::control_plane::admin::credentials::hash(key));
    let credential = CredentialView::of(&row);
    let credential = if row.credential_key == hash { credential.with_key(&key) } else { credential };
    let body = CredentialCreated { version, credential, key: made, warnings: weak(&key) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.credential(req.id)?;
    req.check_version("credential", row.stamp.version)?;
    let row_version = req.if_match()?.map(|_| row.stamp.version);
    let entry = AuditEntry { action: "credential.delete", object: &row.name, old: Some(audit_text(&row)), new: None };
    context.write(&req, Change::RemoveCredential { id: req.id, row_version }, entry).await?;
    empty()
}

/// As for providers.
async fn change(
    context: &Context,
    req: &AdminRequest,
    action: &'static str,
    edit: impl Fn(&mut CredentialRow) -> Result<(), Refusal>,
) -> Result<(i64, CredentialRow), Refusal> {
    let mut tries = MAX_TRIES;
    loop {
        context.refresh().await?;
        let old = context.credential(req.id)?;
        req.check_version("credential", old.stamp.version)?;
        let mut new = old.clone();
        edit(&mut new)?;
        context.check_credential(Some(&old), &new)?;
        let entry = AuditEntry { action, object: &new.name, old: Some(audit_text(&old)), new: Some(audit_text(&new)) };
        tries -= 1;
        match context.write(req, Change::UpdateCredential(new.clone()), entry).await {
            Ok(written) => {
                new.stamp.version = written.version;
                // If it is not known here yet, as stored.
                let row = context
                    .credential(req.id)
                    .ok()
                    .filter(|row| row.stamp.version >= written.version || written.repeated);
                return Ok((written.version, row.unwrap_or(new)));
            }
            Err(refusal) if refusal.status == 412 && req.request.if_match.is_none() && tries > 0 => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

impl CredentialUpdate {
    fn is_empty(&self) -> bool {
        self.key.is_absent()
            && self.name.is_absent()
            && self.group_name.is_absent()
            && self.allowed_models.is_absent()
            && self.rate_limit.is_absent()
            && self.burst.is_absent()
            && self.tokens_per_minute.is_absent()
            && self.max_concurrency.is_absent()
            && self.expires_at.is_absent()
            && self.metadata.is_absent()
            && self.is_enabled.is_absent()
    }

    fn apply(&self, row: &mut CredentialRow) -> Result<(), Refusal> {
        if let Field::To(key) = &self.key {
            row.credential_key = hash(&key.0);
            (row.previous_key, row.previous_key_until) = (None, None);
        } else {
            set(&self.key.clone().map(|key| key.0), "key", &mut String::new())?;
        }
        set(&self.name, "name", &mut row.name)?;
        set(&self.is_enabled, "is_enabled", &mut row.is_enabled)?;
        self.group_name.clone().map(String::from).apply_to(&mut row.group_name);
        self.allowed_models.clone().map(list_text).apply_or(&mut row.allowed_models, "[]".to_owned());
        self.rate_limit.clone().map(i64::from).apply_to(&mut row.rate_limit);
        self.burst.clone().map(i64::from).apply_to(&mut row.burst);
        self.tokens_per_minute.clone().map(i64::from).apply_to(&mut row.tokens_per_minute);
        self.max_concurrency.clone().map(i64::from).apply_to(&mut row.max_concurrency);
        self.expires_at.clone().map(|moment| moment.0).apply_to(&mut row.expires_at);
        self.metadata.clone().apply_or(&mut row.metadata, "{}".to_owned());
        // A burst without a limit means nothing.
        if row.rate_limit.is_none() && self.burst.is_absent() {
            row.burst = None;
        }
        Ok(())
    }
}

/// Writes the row for the audit log. A changed key shows by its hash alone.
fn audit_text(row: &CredentialRow) -> String {
    serde_json::to_string(&CredentialView::of(row)).unwrap_or_default()
}

/// Returns seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
