//! The sums of budgets. Each claim is read, answered and written in one transaction, which holds
//! the write lock of the file.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::control_plane::store::change::SumsKey;
use crate::control_plane::store::clock::SUMS_KEPT_SECS;
use crate::limit::budget::{Claim, Grant, Sums};

pub(super) fn claim(connection: &mut Connection, claims: &[(SumsKey, Claim)]) -> rusqlite::Result<Vec<Grant>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut grants = Vec::with_capacity(claims.len());
    for (key, claim) in claims {
        let mut sums = read(&transaction, key)?;
        grants.push(sums.apply(claim));
        write(&transaction, key, &sums)?;
    }
    transaction.commit()?;
    Ok(grants)
}

pub(super) fn reset(transaction: &Transaction<'_>, key: &SumsKey) -> rusqlite::Result<()> {
    let epoch = read(transaction, key)?.epoch + 1;
    write(transaction, key, &Sums { epoch, ..Sums::default() })
}

pub(super) fn top_up(transaction: &Transaction<'_>, key: &SumsKey, units: i64) -> rusqlite::Result<()> {
    let mut sums = read(transaction, key)?;
    sums.extra = sums.extra.saturating_add(units);
    write(transaction, key, &sums)
}

fn read(transaction: &Transaction<'_>, key: &SumsKey) -> rusqlite::Result<Sums> {
    const SQL: &str =
        "SELECT taken, spent, extra, epoch FROM budget_sums WHERE name = ?1 AND kind = ?2 AND starts_at = ?3";
    let mut select = transaction.prepare(SQL)?;
    let found = select.query_row(params![key.name, key.kind, key.starts_at], |row| {
        Ok(Sums { taken: row.get(0)?, spent: row.get(1)?, extra: row.get(2)?, epoch: row.get(3)? })
    });
    match found.optional()? {
        Some(sums) => Ok(sums),
        None => {
            // A new window: those of long ago go.
            let old = "DELETE FROM budget_sums WHERE name = ?1 AND kind = ?2 AND starts_at < ?3 AND starts_at > 0";
            transaction.execute(old, params![key.name, key.kind, key.starts_at - SUMS_KEPT_SECS])?;
            Ok(Sums::default())
        }
    }
}

fn write(transaction: &Transaction<'_>, key: &SumsKey, sums: &Sums) -> rusqlite::Result<()> {
    const SQL: &str = "INSERT INTO budget_sums (name, kind, starts_at, taken, spent, extra, epoch) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name, kind, starts_at) DO UPDATE SET \
                       taken = excluded.taken, spent = excluded.spent, extra = excluded.extra, epoch = excluded.epoch";
    let mut upsert = transaction.prepare(SQL)?;
    upsert.execute(params![key.name, key.kind, key.starts_at, sums.taken, sums.spent, sums.extra, sums.epoch])?;
    Ok(())
}
