//! Sends spans of finished requests to a collector, by OTLP over HTTP. [`spans`] makes them from
//! records, this file queues them in bounds, and [`export`] sends them. The messages are from
//! crates of OpenTelemetry. Its SDK is not used, since it makes spans while requests run.

mod export;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::{Directory, Sink};
use crate::shared::ProcessState;
use crate::telemetry::record::Record;
use export::{Export, NAME};

/// The name in metrics.
/// Requests whose spans may wait. The values of the SDKs (`OTEL_BSP_*`), which count single spans.
const QUEUE: usize = 2048;
/// How long the end of the process waits for the last batches.
const LAST: Duration = Duration::from_secs(5);

/// Makes spans from records and queues them.
pub(crate) struct Spans {
    queue: mpsc::Sender<Vec<Span>>,
    meter: Arc<ControlPlaneMetrics>,
}

/// The task that sends them.
pub(crate) struct Exporter {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Starts the sink. `None` without a collector. An error names the invalid setting.
pub(crate) fn start(
    shared: &ProcessState,
    client: &Client,
    meter: &Arc<ControlPlaneMetrics>,
) -> Result<Option<(Spans, Exporter)>, String> {
    let otlp = &shared.boot.observe.otlp;
    let Some(url) = otlp.url() else { return Ok(None) };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let stop = Arc::new(Notify::new());
    let export = Export::new(otlp, &url, client.clone(), receiver, stop.clone(), meter.clone())?;
    let task = tokio::spawn(export.run());
    Ok(Some((Spans { queue: sender, meter: meter.clone() }, Exporter { stop, task })))
}

impl Sink for Spans {
    fn is_enabled(&self) -> bool {
        true
    }

    fn record(&mut self, record: &Arc<Record>, directory: &Directory) {
        if record.endpoint == "/metrics" || record.endpoint.starts_with("/health") {
            return;
        }
        let Some(trace) = record.detail.as_ref().and_then(|detail| detail.trace) else {
            // The detail of the record was dropped for want of room.
            return self.meter.lost(NAME, "no_detail", 1);
        };
        if !trace.sampled {
            return;
        }
        match self.queue.try_send(spans::of(record, &trace, directory)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.meter.lost(NAME, "full", 1),
            Err(TrySendError::Closed(_)) => self.meter.lost(NAME, "stopped", 1),
        }
    }
}

impl Exporter {
    /// Sends what is left, and ends. It waits a few seconds at most for a collector that does not
    /// respond.
    pub(crate) async fn finish(mut self) {
        self.stop.notify_one();
        if timeout(LAST, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!(
                "gateway: the collector of OTEL_EXPORTER_OTLP_ENDPOINT did not accept the last spans in time"
            );
        }
    }
}
