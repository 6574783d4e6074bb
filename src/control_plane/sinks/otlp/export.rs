//! Sends batches of spans to the collector.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use crate::config::boot::otlp::Otlp;
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::sinks::otlp::spans::text;
use crate::control_plane::timing::until;

/// The name of the sink in metrics.
pub(super) const NAME: &str = "otlp";
/// Requests of one batch.
const BATCH: usize = 512;
/// Attempts for one batch, and the pause after the first of them, which doubles.
const MAX_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a collector may request.
const MAX_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Export {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    /// How long the first request of a batch waits for others.
    delay: Duration,
    resource: Resource,
    queue: mpsc::Receiver<Vec<Span>>,
    stop: Arc<Notify>,
    stopping: bool,
    meter: Arc<ControlPlaneMetrics>,
    /// Whether the last batch was lost and a warning was logged.
    failing: bool,
}

/// The result of an attempt.
enum SendOutcome {
    /// The batch was accepted, save this many spans.
    Accepted(i64),
    /// Another attempt may succeed, after this pause if the collector named one.
    Retry(String, Option<Duration>),
    Rejected(String),
}

impl Export {
    pub(super) fn new(
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

    /// Runs until it is stopped, and has sent what is left.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.fill(&mut batch).await {
            let requests = batch.len() as u64;
            let body = self.encode(std::mem::take(&mut batch));
            self.send(body, requests).await;
        }
    }

    /// Waits for a batch. Returns false if there is none and will be none.
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
                () = self.stop.notified(), if !self.stopping => self.begin_stop(),
            }
        }
        !batch.is_empty()
    }

    fn begin_stop(&mut self) {
        self.stopping = true;
        self.queue.close();
    }

    fn encode(&self, batch: Vec<Vec<Span>>) -> Bytes {
        let scope = InstrumentationScope {
            name: "llm-proxy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = batch.into_iter().flatten().collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let of_resource =
            ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec().into()
    }

    /// Sends a batch until it is accepted, refused, or was tried often enough. At the end of the
    /// process there is one attempt.
    async fn send(&mut self, body: Bytes, requests: u64) {
        let mut pause = FIRST_PAUSE;
        for tries in 1.. {
            let reason_text = match self.attempt(body.clone()).await {
                SendOutcome::Accepted(rejected) => {
                    let lost = requests.min(u64::try_from(rejected).unwrap_or(0));
                    self.failing = false;
                    self.meter.passed(NAME, requests - lost);
                    if lost > 0 {
                        self.record_loss("rejected", lost, "it rejected spans");
                    }
                    return;
                }
                SendOutcome::Rejected(reason_text) => return self.record_loss("refused", requests, &reason_text),
                SendOutcome::Retry(reason_text, requested) => {
                    pause = requested.unwrap_or(pause).min(MAX_PAUSE);
                    reason_text
                }
            };
            if tries >= MAX_ATTEMPTS || self.stopping {
                return self.record_loss("failed", requests, &reason_text);
            }
            tracing::debug!("gateway: spans will be sent again: {reason_text}");
            tokio::select! {
                () = sleep(pause) => pause *= 2,
                () = self.stop.notified() => self.begin_stop(),
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> SendOutcome {
        let mut request = Request::new(body.into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let (head, body) = match timeout(self.timeout, self.client.send(request)).await {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(reason_text)) => return SendOutcome::Retry(reason_text, None),
            Err(_) => return SendOutcome::Retry(format!("no answer within {} ms", self.timeout.as_millis()), None),
        };
        match head.status {
            status if status.is_success() => {
                let response =
                    ExportTraceServiceResponse::decode(body).ok().and_then(|response| response.partial_success);
                SendOutcome::Accepted(response.map_or(0, |response| response.rejected_spans))
            }
            // The statuses that the specification names. With any other the same would be refused
            // again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let requested = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                SendOutcome::Retry(format!("status {}", head.status.as_u16()), requested.map(Duration::from_secs))
            }
            status => SendOutcome::Rejected(format!("status {}", status.as_u16())),
        }
    }

    /// Counts a loss. A warning is logged once until a batch is accepted again.
    fn record_loss(&mut self, reason: &str, requests: u64, reason_text: &str) {
        self.meter.lost(NAME, reason, requests);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                "gateway: the spans of {requests} requests are lost: the collector of OTEL_EXPORTER_OTLP_ENDPOINT: {reason_text}"
            );
        }
    }
}

/// Returns the attributes of this process. OTEL_SERVICE_NAME takes precedence over the attribute.
fn resource(otlp: &Otlp) -> Resource {
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
    Resource { attributes, ..Resource::default() }
}
