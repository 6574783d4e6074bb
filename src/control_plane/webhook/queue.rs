//! The queue of events that wait to be sent.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::event::Event;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;

/// The name in metrics of sinks.
pub(super) const NAME: &str = "webhook";

/// Queues events. Does nothing without WEBHOOK_URL.
#[derive(Clone)]
pub(crate) struct Webhook {
    events: Option<mpsc::Sender<Event>>,
    meter: Arc<ControlPlaneMetrics>,
}

impl Webhook {
    /// Makes it with the sender of the queue. `None` is the absence of WEBHOOK_URL.
    pub(super) fn new(events: Option<mpsc::Sender<Event>>, meter: Arc<ControlPlaneMetrics>) -> Webhook {
        Webhook { events, meter }
    }

    /// Makes it without WEBHOOK_URL.
    #[cfg(test)]
    pub(crate) fn unset(meter: Arc<ControlPlaneMetrics>) -> Webhook {
        Webhook::new(None, meter)
    }

    /// Queues an event, or counts it as lost.
    pub(crate) fn send(&self, event: Event) {
        if let Some(events) = &self.events
            && events.try_send(event).is_err()
        {
            self.meter.lost(NAME, "full", 1);
        }
    }
}
