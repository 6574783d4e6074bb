//! Calls a URL of the operator when something needs a person: a budget that comes to one of its
//! thresholds, a provider that is out of service or back, a key that is about to expire.
//!
//! Events wait in a bounded queue; one task sends them in their order, each some times with growing
//! pauses. What finds the queue full or can't be delivered is counted as lost, and nothing waits.

mod event;
mod queue;
mod sender;
mod watch;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::shared::ProcessState;
pub(crate) use event::Event;
pub(crate) use queue::Webhook;

/// Events that may wait.
const QUEUE: usize = 256;
/// How long the last events may take at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks that send and watch.
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

/// Starts the tasks if WEBHOOK_URL is set. Must be called in a tokio runtime.
pub(crate) fn start(
    shared: &Arc<ProcessState>,
    client: &Client,
    meter: &Arc<ControlPlaneMetrics>,
) -> Result<(Webhook, Tasks), String> {
    let settings = &shared.boot.observe.webhook;
    let Some(url) = &settings.url else {
        return Ok((Webhook::new(None, meter.clone()), Tasks(Vec::new())));
    };
    let (events, queue) = mpsc::channel(QUEUE);
    let webhook = Webhook::new(Some(events), meter.clone());
    let sender = sender::Sender::new(url, settings, client.clone(), meter.clone())?;
    let watching = tokio::spawn(watch::run(shared.clone(), webhook.clone()));
    Ok((webhook, Tasks(vec![watching, tokio::spawn(sender.run(queue))])))
}

impl Tasks {
    /// Sends what waits, after every other [`Webhook`] was dropped, within a bounded time.
    pub(crate) async fn finish(&mut self) {
        let mut tasks = std::mem::take(&mut self.0).into_iter();
        let (Some(watching), Some(sending)) = (tasks.next(), tasks.next()) else { return };
        watching.abort();
        // Its queue ends with the task that watches.
        let _ = watching.await;
        if timeout(SHUTDOWN_TIMEOUT, sending).await.is_err() {
            let seconds = SHUTDOWN_TIMEOUT.as_secs();
            tracing::warn!("gateway: the last events for WEBHOOK_URL could not be sent within {seconds} s");
        }
    }
}
