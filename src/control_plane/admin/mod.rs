//! The admin interface: serves requests behind `/admin/v1` whose key a worker has checked.
//!
//! Each request is a task of its own, and responds when all workers use its change. [`routes`] is
//! the one table of routes: it dispatches, and the OpenAPI document is made from it and from the
//! types that are read and written.

mod audit;
mod audit_file;
mod body;
pub mod budgets;
mod circuits;
mod client_paths;
mod config;
mod context;
pub mod credentials;
mod explain;
mod field_values;
pub mod groups;
pub(crate) mod health;
pub(crate) mod health_probe;
mod health_status;
mod logs;
mod members;
mod models;
mod openapi;
mod paging;
mod parameter;
mod prices;
mod providers;
mod refusal;
mod request;
mod routes;
mod spend;
mod status;
mod transfer;
mod usage;
pub mod view;

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::boot::Environment;
use crate::control_plane::config::current::Current;
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::metrics::scrape;
use crate::control_plane::store::Store;
use crate::control_plane::ui;
use crate::shared::ProcessState;
use crate::shared::admin::{Area, Call, Request, Response};
use context::Context;

/// Requests that are served at the same time. More wait in the queue.
const MAX_CONCURRENT: usize = 64;
/// Looks of clients at what they have used, likewise.
const MAX_USAGES: usize = 16;
/// The file in `DATA_DIR` with a line about each change, unless the settings name another.
const AUDIT_FILE: &str = "audit.jsonl";

pub(super) struct Admin {
    context: Arc<Context>,
    waker: Arc<QueueWaker>,
    tasks: JoinSet<()>,
    /// Looks of clients at what they have used.
    usages: JoinSet<()>,
}

/// Wakes the control plane when a worker submits a request.
#[derive(Default)]
struct QueueWaker(Notify);

impl Wake for QueueWaker {
    fn wake(self: Arc<QueueWaker>) {
        self.0.notify_one();
    }
}

/// What [`Admin`] waits for.
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
        let waker = Arc::new(QueueWaker::default());
        shared.admin_queue.set_waker(Waker::from(waker.clone()));
        shared.scrape_queue.set_waker(Waker::from(waker.clone()));
        shared.usage_queue.set_waker(Waker::from(waker.clone()));
        // A process has one control plane, so that nothing else waits on this queue.
        let _ = shared.openapi.set(openapi::document());
        let _ = shared.page_files.set(ui::files());
        let boot = &shared.boot;
        let path = boot.audit_log_path.clone().unwrap_or_else(|| boot.data_dir.join(AUDIT_FILE));
        let audit = audit_file::File::new(path, boot.observe.log_file_mode);
        let health = health_status::HealthStatus::new(meter);
        let context = Arc::new(Context { shared, current, store, environment, client, audit, health });
        if let Some(period) = context.shared.boot.observe.health_check {
            // The task ends with the runtime.
            tokio::spawn(health::watch(context.clone(), period));
        }
        Admin { context, waker, tasks: JoinSet::new(), usages: JoinSet::new() }
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Step {
        tokio::select! {
            () = self.waker.0.notified() => Step::Called,
            Some(_) = self.usages.join_next() => Step::Done,
            Some(ended) = self.tasks.join_next() => {
                if ended.is_err() {
                    tracing::error!("gateway: a panic ended a request to the admin interface; the others go on");
                }
                Step::Done
            }
        }
    }

    pub(super) fn take(&mut self, _: Step) {
        while self.tasks.len() < MAX_CONCURRENT
            && let Some(call) = self.context.shared.admin_queue.next()
        {
            self.tasks.spawn(serve(self.context.clone(), call));
        }
        while self.usages.len() < MAX_USAGES
            && let Some(call) = self.context.shared.usage_queue.next()
        {
            self.usages.spawn(serve(self.context.clone(), call));
        }
        self.serve_scrapes();
    }

    /// Responds to all scrapes that wait. Those of one format share one sum of all counters, so
    /// that many of them cost little more than one.
    fn serve_scrapes(&self) {
        let mut made: [Option<Response>; 2] = [None, None];
        while let Some(call) = self.context.shared.scrape_queue.next() {
            let open = scrape::wants_open_metrics(call.request.accept.as_deref());
            let response = made[usize::from(open)].get_or_insert_with(|| {
                let problems = self.context.current.read().problems.len();
                let health =
                    self.context.health.facts(&self.context.shared.publisher.load(), self.context.shared.ticks());
                scrape::answer(&self.context.shared, problems, health, open)
            });
            call.respond(response.clone());
        }
    }
}

async fn serve(context: Arc<Context>, call: Call) {
    let request = call.request.clone();
    let answer = match request.area {
        Area::Usage { credential } => usage::answer(&context, credential).await,
        Area::Api => routes::answer(context, request).await,
        Area::Page => {
            // A page reads as its visitor would, by the routes of this interface.
            let shared = context.shared.clone();
            let read = move |request: Request| -> ui::Answer {
                let context = context.clone();
                Box::pin(async move { routes::answer(context, request).await })
            };
            ui::answer(&shared, &read, request).await
        }
    };
    call.respond(answer);
}
