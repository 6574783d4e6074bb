//! Settings of metrics, logs and traces. All of them are optional; what is off gathers nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::otlp::Otlp;
use crate::config::secret::Secret;

/// The settings of metrics, logs, traces and notifications.
#[derive(Debug, Clone, PartialEq)]
pub struct Observe {
    /// Stages of a request are timed.
    pub stage_clock: bool,
    /// Credentials with a metric label of their own; the rest are `other`.
    pub metrics_max_credentials: usize,
    /// Models likewise.
    pub metrics_max_models: usize,
    /// The memory in bytes for heads and bodies that wait for the background thread, over all
    /// workers.
    pub record_buffer_bytes: usize,
    /// Whether responses without reported usage are counted with a vocabulary, not estimated.
    pub exact_tokens: bool,
    /// The mode of log files that are created.
    pub log_file_mode: u32,
    pub jsonl: Jsonl,
    pub langfuse: Langfuse,
    pub request_log: RequestLog,
    pub otlp: Otlp,
    pub webhook: Webhook,
    /// How often providers are checked; `None` is never.
    pub health_check: Option<Duration>,
}

/// The JSONL log: a file with a line for each step of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Jsonl {
    pub enabled: bool,
    pub path: PathBuf,
    /// The most records that wait to be written.
    pub buffer: usize,
    /// The size in bytes at which a file is renamed and a new one begun.
    pub max_bytes: u64,
    /// The number of files that are kept besides the one that is written.
    pub keep: usize,
    pub gzip: bool,
    /// Bytes of each body.
    pub body_bytes: usize,
}

/// The settings of the sink for Langfuse.
#[derive(Debug, Clone, PartialEq)]
pub struct Langfuse {
    pub enabled: bool,
    pub public_key: Option<String>,
    pub secret_key: Option<Secret>,
    pub host: String,
    /// Share of requests that are traced, from 0 to 1.
    pub sample_rate: f64,
    pub flush: Duration,
    /// Whether requests to Langfuse and its responses are logged.
    pub debug: bool,
}

/// A URL that is called when something needs a person.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Webhook {
    /// May hold a token.
    pub url: Option<Secret>,
    /// What calls are signed with.
    pub secret: Option<Secret>,
    pub format: WebhookFormat,
}

/// The form of the body of a webhook call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WebhookFormat {
    #[default]
    Json,
    Slack,
}

/// The tables `request_logs` and `error_logs`.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLog {
    pub enabled: bool,
    pub bodies: bool,
    /// `None` keeps rows for ever.
    pub retention: Option<Duration>,
    /// The most rows in a second. More are dropped and counted, failed requests last.
    pub per_second: usize,
}

impl Default for Observe {
    fn default() -> Observe {
        Observe {
            stage_clock: true,
            metrics_max_credentials: 1000,
            metrics_max_models: 1000,
            record_buffer_bytes: 64 << 20,
            exact_tokens: false,
            log_file_mode: 0o600,
            jsonl: Jsonl {
                enabled: false,
                path: PathBuf::from("./logs/requests.jsonl"),
                buffer: 1000,
                max_bytes: 100 << 20,
                keep: 5,
                gzip: false,
                body_bytes: 256 << 10,
            },
            langfuse: Langfuse {
                enabled: false,
                public_key: None,
                secret_key: None,
                host: "https://cloud.langfuse.com".to_owned(),
                sample_rate: 1.0,
                flush: Duration::from_secs(5),
                debug: false,
            },
            request_log: RequestLog {
                enabled: true,
                bodies: false,
                retention: Some(Duration::from_secs(30 * 86_400)),
                per_second: 500,
            },
            otlp: Otlp::default(),
            webhook: Webhook::default(),
            health_check: None,
        }
    }
}

impl Observe {
    /// Returns whether records are sent to this host.
    pub fn names_host(&self, host: &str) -> bool {
        let langfuse = Some(self.langfuse.host.as_str());
        let urls = [
            langfuse,
            self.otlp.endpoint.as_deref(),
            self.otlp.traces_endpoint.as_deref(),
            self.webhook.url.as_deref(),
        ];
        let host_of =
            |url: &str| url.split_once("://").map(|(_, rest)| rest.split(['/', ':', '?']).next() == Some(host));
        urls.into_iter().flatten().any(|url| host_of(url) == Some(true))
    }

    /// Returns settings that contradict each other: their names, and what to do.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let langfuse = &self.langfuse;
        if langfuse.enabled && (langfuse.public_key.is_none() || langfuse.secret_key.is_none()) {
            found.push((
                "LANGFUSE_ENABLED",
                "needs LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY; set them, or switch it off",
            ));
        }
        if self.webhook.url.is_none() && self.webhook.secret.is_some() {
            found.push((
                "WEBHOOK_SECRET",
                "signs the calls of WEBHOOK_URL, which is not set; set it, or leave this out",
            ));
        }
        found
    }
}
