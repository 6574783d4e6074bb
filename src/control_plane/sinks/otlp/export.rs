//! Batches, and what becomes of them at the collector.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use crate::config::boot::otlp::Otlp;
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::sinks::otlp::NAME;
use crate::control_plane::sinks::otlp::protobuf::{self, KeyValue, Span};
use crate::control_plane::sinks::otlp::spans::text;
use crate::control_plane::until;

/// Requests in one batch.
const BATCH: usize = 512;
/// Tries for one batch, and the pause after the first of them; it doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Export {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    /// How long the first of a batch waits for others.
    delay: Duration,
    resource: Vec<KeyValue>,
    queue: mpsc::Receiver<Vec<Span>>,
    stop: Arc<Notify>,
    stopping: bool,
    meter: Arc<ControlPlaneMetrics>,
    /// The last batch was lost, and somebody was told of it.
    failing: bool,
}

/// What a try came to.
enum Tried {
    /// Taken, save so many spans.
    Taken(i64),
    /// Worth another try, after this pause if the collector named one.
    Again(String, Option<Duration>),
    Refused(String),
}

impl Export {
    pub fn new(
        otlp: &Otlp,
        url: &str,
        client: Client,
        queue: mpsc::Receiver<Vec<Span>>,
        stop: Arc<Notify>,
        meter: Arc<ControlPlaneMetrics>,
    ) -> Result<Export, String> {
        let uri = url.parse().ok().filter(|uri: &Uri| uri.host().is_some());
        let uri = uri.ok_or_else(|| format!("OTEL_EXPORTER_OTLP_ENDPOINT: `{url}` is no address of a collector"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("llm-proxy/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &otlp.headers {
            let bad = || format!("OTEL_EXPORTER_OTLP_HEADERS: `{name}` makes no header");
            let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
        }
        let (timeout, delay, resource) = (otlp.timeout, otlp.delay, resource(otlp));
        Ok(Export {
            client,
            uri,
            headers,
            timeout,
            delay,
            resource,
            queue,
            stop,
            stopping: false,
            meter,
            failing: false,
        })
    }

    /// Until it is told to stop, and has sent what is left.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.fill(&mut batch).await {
            let requests = batch.len() as u64;
            let body = self.encode(&std::mem::take(&mut batch));
            self.send(body, requests).await;
        }
    }

    /// Waits for a batch. False if there is none and will be none.
    async fn fill(&mut self, batch: &mut Vec<Vec<Span>>) -> bool {
        let mut due = None;
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                spans = self.queue.recv() => match spans {
                    Some(spans) => {
                        due.get_or_insert_with(|| Instant::now() + self.delay);
                        batch.push(spans);
                    }
                    None => break,
                },
                () = until(due) => break,
                () = self.stop.notified(), if !self.stopping => self.stops(),
            }
        }
        !batch.is_empty()
    }

    fn stops(&mut self) {
        self.stopping = true;
        self.queue.close();
    }

    fn encode(&self, batch: &[Vec<Span>]) -> Bytes {
        protobuf::export_request(&self.resource, batch.iter().flatten()).into()
    }

    /// Until it is taken, refused, or was tried often enough. At the end of the process there is
    /// one try.
    async fn send(&mut self, body: Bytes, requests: u64) {
        let mut pause = PAUSE;
        for tries in 1.. {
            let why = match self.attempt(body.clone()).await {
                Tried::Taken(rejected) => {
                    let lost = requests.min(u64::try_from(rejected).unwrap_or(0));
                    self.failing = false;
                    self.meter.passed(NAME, requests - lost);
                    if lost > 0 {
                        self.loses("rejected", lost, "it rejected spans");
                    }
                    return;
                }
                Tried::Refused(why) => return self.loses("refused", requests, &why),
                Tried::Again(why, asked) => {
                    pause = asked.unwrap_or(pause).min(LONGEST_PAUSE);
                    why
                }
            };
            if tries >= TRIES || self.stopping {
                return self.loses("failed", requests, &why);
            }
            tracing::debug!("gateway: spans are to be sent again: {why}");
            tokio::select! {
                () = sleep(pause) => pause *= 2,
                () = self.stop.notified() => self.stops(),
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> Tried {
        let mut request = Request::new(body.into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let (head, body) = match timeout(self.timeout, self.client.send(request)).await {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(why)) => return Tried::Again(why, None),
            Err(_) => return Tried::Again(format!("no answer within {} ms", self.timeout.as_millis()), None),
        };
        match head.status {
            status if status.is_success() => Tried::Taken(protobuf::rejected_spans(&body)),
            // Those of the specification; the rest means that the same would be refused again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                Tried::Again(format!("status {}", head.status.as_u16()), asked.map(Duration::from_secs))
            }
            status => Tried::Refused(format!("status {}", status.as_u16())),
        }
    }

    /// Counted each time, told once until it goes well again.
    fn loses(&mut self, reason: &str, requests: u64, why: &str) {
        self.meter.lost(NAME, reason, requests);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                "gateway: the spans of {requests} requests are lost: the collector of OTEL_EXPORTER_OTLP_ENDPOINT: {why}"
            );
        }
    }
}

/// What is said of this process. OTEL_SERVICE_NAME goes before the attribute.
fn resource(otlp: &Otlp) -> Vec<KeyValue> {
    let given = |key: &str| otlp.resource.iter().any(|(name, _)| name == key);
    let mut attributes: Vec<KeyValue> = Vec::new();
    match &otlp.service_name {
        Some(name) => attributes.push(text("service.name", name)),
        None if !given("service.name") => attributes.push(text("service.name", "llm-proxy")),
        None => {}
    }
    if !given("service.version") {
        attributes.push(text("service.version", env!("CARGO_PKG_VERSION")));
    }
    let others = otlp.resource.iter().filter(|(name, _)| otlp.service_name.is_none() || name != "service.name");
    attributes.extend(others.map(|(name, value)| text(name, value)));
    attributes
}
