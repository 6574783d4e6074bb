//! Reads of the tables, for the routes that show them.

use tokio::time::{Duration, timeout};

use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::request::Refusal;
use crate::control_plane::store::Answer;
use crate::control_plane::store::logs::Tables;

/// Longest wait for the store.
const STORE: Duration = Duration::from_secs(60);

pub(in crate::control_plane::admin) fn tables(context: &Context) -> Result<&dyn Tables, Refusal> {
    context.store.tables().ok_or_else(|| {
        let message =
            "the configuration is a file, which has no tables for logs and prices; use the embedded store or DB_URL";
        Refusal::new(409, "no_tables", message)
    })
}

pub(in crate::control_plane::admin) async fn answer<T>(context: &Context, answer: Answer<'_, T>) -> Result<T, Refusal> {
    context.check_store().await?;
    match timeout(STORE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let message = format!("the store did not answer within {} s; ask for a shorter time", STORE.as_secs());
            Err(Refusal::new(503, "store_unavailable", message))
        }
    }
}
