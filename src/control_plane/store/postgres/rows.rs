//! Reads rows from tables. Reading never fails for one row: `compile` reports invalid values, so
//! that they affect their own row alone.

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Stamp};
use crate::control_plane::store::postgres::explain::QueryError;

/// A parameter with its type, as `query_typed` needs it: no statement is kept on the server, so
/// that a pooler may stand in between.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

const PROVIDERS: &str = "SELECT id::bigint, provider_key::text, provider_type::text, api_base::text, api_key::text, \
    coalesce(model_mapping_written::text, model_mapping::text), weight::bigint, provider_params::text, lua_script, is_enabled, \
    row_version, extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8 \
    FROM providers WHERE row_version > $1 ORDER BY id";

const CREDENTIALS: &str = "SELECT id::bigint, credential_key::text, name::text, allowed_models::text, rate_limit::bigint, burst, \
    tokens_per_minute, max_concurrency, extract(epoch FROM expires_at)::float8, previous_key, \
    extract(epoch FROM previous_key_until)::float8, metadata::text, is_enabled, row_version, \
    extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8, group_name::text \
    FROM credentials WHERE row_version > $1 ORDER BY id";

const GROUPS: &str = "SELECT id, name::text, parent::text, allowed_models::text, rate_limit, burst, tokens_per_minute, \
    max_concurrency, metadata::text, is_enabled, row_version, extract(epoch FROM created_at)::float8, \
    extract(epoch FROM updated_at)::float8 FROM credential_groups WHERE row_version > $1 ORDER BY id";

const MODELS: &str = "SELECT id, name, members::text, overrides::text, options::text, is_enabled, row_version, \
    extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8 \
    FROM virtual_models WHERE row_version > $1 ORDER BY id";

const BUDGETS: &str = "SELECT id, name::text, scope::text, subject::text, unit::text, amount, period::text, time_zone::text, \
    is_hard, warn_at::text, is_enabled, row_version, extract(epoch FROM created_at)::float8, \
    extract(epoch FROM updated_at)::float8, downgrade_to::text FROM budgets WHERE row_version > $1 ORDER BY id";

/// A version before that of every row.
pub(super) const BEFORE_ALL: i64 = -1;

pub(super) async fn providers(
    client: &(impl GenericClient + Sync),
    since: i64,
) -> Result<Vec<ProviderRow>, QueryError> {
    Ok(client.query_typed(PROVIDERS, &[(&since, Type::INT8)]).await?.iter().map(provider).collect())
}

pub(super) async fn credentials(
    client: &(impl GenericClient + Sync),
    since: i64,
) -> Result<Vec<CredentialRow>, QueryError> {
    Ok(client.query_typed(CREDENTIALS, &[(&since, Type::INT8)]).await?.iter().map(credential).collect())
}

pub(super) async fn groups(client: &(impl GenericClient + Sync), since: i64) -> Result<Vec<GroupRow>, QueryError> {
    Ok(client.query_typed(GROUPS, &[(&since, Type::INT8)]).await?.iter().map(group).collect())
}

pub(super) async fn models(client: &(impl GenericClient + Sync), since: i64) -> Result<Vec<ModelRow>, QueryError> {
    Ok(client.query_typed(MODELS, &[(&since, Type::INT8)]).await?.iter().map(model).collect())
}

fn model(row: &Row) -> ModelRow {
    ModelRow {
        id: number(row, 0).unwrap_or_default(),
        name: text(row, 1).unwrap_or_default(),
        members: text(row, 2).unwrap_or_default(),
        overrides: text(row, 3).unwrap_or_default(),
        options: text(row, 4).unwrap_or_default(),
        is_enabled: switch(row, 5),
        stamp: stamp(row, 6),
    }
}

pub(super) async fn budgets(client: &(impl GenericClient + Sync), since: i64) -> Result<Vec<BudgetRow>, QueryError> {
    Ok(client.query_typed(BUDGETS, &[(&since, Type::INT8)]).await?.iter().map(budget).collect())
}

fn budget(row: &Row) -> BudgetRow {
    BudgetRow {
        id: number(row, 0).unwrap_or_default(),
        name: text(row, 1).unwrap_or_default(),
        scope: text(row, 2).unwrap_or_default(),
        subject: text(row, 3).unwrap_or_default(),
        unit: text(row, 4).unwrap_or_default(),
        amount: number(row, 5).unwrap_or_default(),
        period: text(row, 6).unwrap_or_default(),
        time_zone: text(row, 7).unwrap_or_default(),
        is_hard: switch(row, 8),
        warn_at: text(row, 9).unwrap_or_default(),
        is_enabled: switch(row, 10),
        stamp: stamp(row, 11),
        downgrade_to: text(row, 14).filter(|model| !model.is_empty()),
    }
}

fn provider(row: &Row) -> ProviderRow {
    ProviderRow {
        id: number(row, 0).unwrap_or_default(),
        provider_key: text(row, 1).unwrap_or_default(),
        provider_type: text(row, 2).unwrap_or_default(),
        api_base: text(row, 3).unwrap_or_default(),
        api_key: text(row, 4).unwrap_or_default().into(),
        model_mapping: text(row, 5).unwrap_or_default(),
        weight: number(row, 6).unwrap_or_default(),
        provider_params: text(row, 7).unwrap_or_default(),
        lua_script: text(row, 8).filter(|script| !script.is_empty()),
        is_enabled: switch(row, 9),
        stamp: stamp(row, 10),
    }
}

fn credential(row: &Row) -> CredentialRow {
    CredentialRow {
        id: number(row, 0).unwrap_or_default(),
        credential_key: text(row, 1).unwrap_or_default(),
        name: text(row, 2).unwrap_or_default(),
        allowed_models: text(row, 3).unwrap_or_default(),
        rate_limit: number(row, 4),
        burst: number(row, 5),
        tokens_per_minute: number(row, 6),
        max_concurrency: number(row, 7),
        expires_at: seconds(row, 8),
        previous_key: text(row, 9),
        previous_key_until: seconds(row, 10),
        metadata: text(row, 11).unwrap_or_default(),
        is_enabled: switch(row, 12),
        stamp: stamp(row, 13),
        group_name: text(row, 16).filter(|name| !name.is_empty()),
    }
}

fn group(row: &Row) -> GroupRow {
    GroupRow {
        id: number(row, 0).unwrap_or_default(),
        name: text(row, 1).unwrap_or_default(),
        parent: text(row, 2).filter(|name| !name.is_empty()),
        allowed_models: text(row, 3).unwrap_or_default(),
        rate_limit: number(row, 4),
        burst: number(row, 5),
        tokens_per_minute: number(row, 6),
        max_concurrency: number(row, 7),
        metadata: text(row, 8).unwrap_or_default(),
        is_enabled: switch(row, 9),
        stamp: stamp(row, 10),
    }
}

fn stamp(row: &Row, at: usize) -> Stamp {
    Stamp {
        version: number(row, at).unwrap_or_default(),
        created_at: seconds(row, at + 1).unwrap_or_default(),
        updated_at: seconds(row, at + 2).unwrap_or_default(),
    }
}

fn number(row: &Row, at: usize) -> Option<i64> {
    row.try_get(at).unwrap_or_default()
}

/// Disabled, if it is unknown.
fn switch(row: &Row, at: usize) -> bool {
    row.try_get::<_, Option<bool>>(at).ok().flatten().unwrap_or_default()
}

/// A time without a number of seconds (`infinity`) becomes the last or first one that has one.
fn seconds(row: &Row, at: usize) -> Option<i64> {
    // The cast saturates, as it should here.
    row.try_get::<_, Option<f64>>(at).ok().flatten().map(|seconds| seconds.floor() as i64)
}

fn text(row: &Row, at: usize) -> Option<String> {
    row.try_get::<_, Option<Lossy>>(at).ok().flatten().map(|text| text.0)
}

/// Text that need not be UTF-8, which a database in encoding `SQL_ASCII` may hold.
struct Lossy(String);

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Lossy, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Lossy(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
