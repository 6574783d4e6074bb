//! The admin interface: what happens to requests behind `/admin/v1` when a worker has found their
//! key right.
//!
//! Each request is a task of its own, and answers when its change is in force on all cores.
//! [`routes`] is the one table of what there is: it dispatches, and the OpenAPI document is made of
//! it and of the very types that are read and written.

mod audit;
mod body;
mod config;
mod context;
pub mod credentials;
pub(crate) mod health;
mod logs;
mod openapi;
mod paging;
mod prices;
mod providers;
mod request;
mod routes;
mod transfer;
pub mod view;

use std::sync::Arc;
use std::task::{Wake, Waker};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::boot::Environment;
use crate::control_plane::config::sync::Current;
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store::Store;
use crate::shared::ProcessState;
use crate::shared::admin::Call;
use body::body;
use context::Context;

/// Requests that are worked on at one time. More wait on the desk.
const AT_ONCE: usize = 64;
/// The file in `DATA_DIR` for a line about each change, if no other is named.
const AUDIT_FILE: &str = "audit.jsonl";

body! {
    /// The status of a row.
    Status {
        required is_enabled: bool = "whether the row is used";
    }
}

/// A row that was changed
#[derive(Debug, Serialize, JsonSchema)]
struct Updated {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
}

pub(super) struct Admin {
    context: Arc<Context>,
    waker: Arc<Bell>,
    tasks: JoinSet<()>,
}

/// Rung by workers.
#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.0.notify_one();
    }
}

/// Something that [`Admin`] waited for.
pub(super) enum Step {
    Called,
    Done,
}

impl Admin {
    pub(super) fn new(
        shared: Arc<ProcessState>,
        store: Arc<dyn Store>,
        current: Arc<Current>,
        environment: Environment,
        client: Client,
        meter: Arc<ControlPlaneMetrics>,
    ) -> Admin {
        let waker = Arc::new(Bell::default());
        shared.desk.set_waker(Waker::from(waker.clone()));
        // A second one would be a second background thread, which there is not.
        let _ = shared.openapi.set(openapi::document());
        let boot = &shared.boot;
        let path = boot.audit_log_path.clone().unwrap_or_else(|| boot.data_dir.join(AUDIT_FILE));
        let audit = audit::File::new(path);
        let health = health::HealthStatus::new(meter);
        let context = Arc::new(Context { shared, current, store, environment, client, audit, health });
        if let Some(period) = context.shared.boot.observe.health_check {
            // Ends with the runtime.
            tokio::spawn(health::watch(context.clone(), period));
        }
        Admin { context, waker, tasks: JoinSet::new() }
    }

    /// Waits for something to do. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Step {
        tokio::select! {
            () = self.waker.0.notified(), if self.tasks.len() < AT_ONCE => Step::Called,
            Some(ended) = self.tasks.join_next() => {
                if ended.is_err() {
                    tracing::error!("gateway: a request to the admin interface ended by a panic; the others go on");
                }
                Step::Done
            }
        }
    }

    pub(super) fn take(&mut self, _: Step) {
        while self.tasks.len() < AT_ONCE
            && let Some(call) = self.context.shared.desk.next()
        {
            self.tasks.spawn(serve(self.context.clone(), call));
        }
    }
}

async fn serve(context: Arc<Context>, call: Call) {
    let answer = routes::answer(context, call.request.clone()).await;
    call.answer(answer);
}
