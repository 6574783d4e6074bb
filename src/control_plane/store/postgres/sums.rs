//! The sums of budgets. A claim locks its row, so that those of other gateways come before or after
//! it.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::control_plane::store::change::SumsKey;
use crate::control_plane::store::clock::SUMS_KEPT_SECS;
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::rows::Value;
use crate::limit::budget::{Claim, Grant, Sums};

pub(super) async fn claim(client: &mut Client, claims: &[(SumsKey, Claim)]) -> Result<Vec<Grant>, QueryError> {
    // Rows are locked in one order, so that no two gateways wait for each other.
    let mut order: Vec<_> = (0..claims.len()).collect();
    order.sort_by_key(|at| &claims[*at].0);
    let mut grants = vec![Grant::default(); claims.len()];
    let transaction = client.transaction().await?;
    for at in order {
        let (key, claim) = &claims[at];
        let mut sums = lock(&transaction, key).await?;
        grants[at] = sums.apply(claim);
        write(&transaction, key, &sums).await?;
    }
    transaction.commit().await?;
    Ok(grants)
}

pub(super) async fn reset(transaction: &Transaction<'_>, key: &SumsKey) -> Result<(), QueryError> {
    let epoch = lock(transaction, key).await?.epoch + 1;
    write(transaction, key, &Sums { epoch, ..Sums::default() }).await
}

pub(super) async fn top_up(transaction: &Transaction<'_>, key: &SumsKey, units: i64) -> Result<(), QueryError> {
    let mut sums = lock(transaction, key).await?;
    sums.extra = sums.extra.saturating_add(units);
    write(transaction, key, &sums).await
}

fn values(key: &SumsKey) -> Vec<Value<'_>> {
    vec![(&key.name, Type::TEXT), (&key.kind, Type::TEXT), (&key.starts_at, Type::INT8)]
}

/// Reads and locks the row, which is made if it is not there.
async fn lock(transaction: &Transaction<'_>, key: &SumsKey) -> Result<Sums, QueryError> {
    const LOCK: &str = "SELECT taken, spent, extra, epoch FROM budget_sums \
        WHERE name = $1 AND kind = $2 AND starts_at = $3 FOR UPDATE";
    const ADD: &str = "INSERT INTO budget_sums (name, kind, starts_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    const OLD: &str = "DELETE FROM budget_sums WHERE name = $1 AND kind = $2 AND starts_at < $3 AND starts_at > 0";
    let mut row = transaction.query_typed_opt(LOCK, &values(key)).await?;
    if row.is_none() {
        // A new window: those of long ago go.
        let before = key.starts_at - SUMS_KEPT_SECS;
        let old: &[Value<'_>] = &[(&key.name, Type::TEXT), (&key.kind, Type::TEXT), (&before, Type::INT8)];
        transaction.execute_typed(OLD, old).await?;
        transaction.execute_typed(ADD, &values(key)).await?;
        row = transaction.query_typed_opt(LOCK, &values(key)).await?;
    }
    let Some(row) = row else { return Ok(Sums::default()) };
    Ok(Sums { taken: row.try_get(0)?, spent: row.try_get(1)?, extra: row.try_get(2)?, epoch: row.try_get(3)? })
}

async fn write(transaction: &Transaction<'_>, key: &SumsKey, sums: &Sums) -> Result<(), QueryError> {
    const SQL: &str = "UPDATE budget_sums SET taken = $4, spent = $5, extra = $6, epoch = $7 \
        WHERE name = $1 AND kind = $2 AND starts_at = $3";
    let mut all = values(key);
    all.extend([
        (&sums.taken as _, Type::INT8),
        (&sums.spent as _, Type::INT8),
        (&sums.extra as _, Type::INT8),
        (&sums.epoch as _, Type::INT8),
    ]);
    transaction.execute_typed(SQL, &all).await?;
    Ok(())
}
