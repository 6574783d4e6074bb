//! Sends events to WEBHOOK_URL, signed, one after the other.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Uri};
use ring::hmac;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};

use crate::config::boot::observe::{Webhook, WebhookFormat};
use crate::control_plane::http::client::Client;
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store::now;
use crate::control_plane::webhook::event::Event;
use crate::control_plane::webhook::queue::NAME;

/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an event is sent, and the first pause between; each pause is twice the one before.
const MAX_ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// What secrets begin with whose rest is base64 (Standard Webhooks, "Signature scheme", 2026-11).
const ENCODED: &str = "whsec_";

pub(super) struct Sender {
    uri: Uri,
    format: WebhookFormat,
    key: Option<hmac::Key>,
    client: Client,
    meter: Arc<ControlPlaneMetrics>,
    /// Whether the last event could not be delivered.
    is_down: bool,
}

/// Why an event was not taken.
enum Failure {
    /// Another attempt may succeed.
    Retry(String),
    Refused(String),
}

impl Sender {
    pub(super) fn new(
        url: &str,
        settings: &Webhook,
        client: Client,
        meter: Arc<ControlPlaneMetrics>,
    ) -> Result<Sender, String> {
        // The address may hold a secret and is not shown.
        let uri = url.parse::<Uri>().map_err(|_| "WEBHOOK_URL makes no address".to_owned())?;
        let key = match settings.secret.as_deref() {
            None => None,
            Some(secret) => Some(key(secret)?),
        };
        Ok(Sender { uri, format: settings.format, key, client, meter, is_down: false })
    }

    /// Runs until every [`Webhook`](super::Webhook) was dropped and the last event was sent.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Event>) {
        while let Some(event) = queue.recv().await {
            self.deliver(&event).await;
        }
    }

    async fn deliver(&mut self, event: &Event) {
        let id = event.id();
        let body = Bytes::from(match self.format {
            WebhookFormat::Json => event.json(now()),
            WebhookFormat::Slack => event.slack(),
        });
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=MAX_ATTEMPTS {
            let (reason, why) = match self.post(&id, body.clone()).await {
                Ok(()) => {
                    self.meter.passed(NAME, 1);
                    if std::mem::take(&mut self.is_down) {
                        tracing::info!("gateway: WEBHOOK_URL takes events again");
                    }
                    return;
                }
                Err(Failure::Retry(_)) if attempt < MAX_ATTEMPTS => {
                    sleep(pause).await;
                    pause *= 2;
                    continue;
                }
                Err(Failure::Retry(why)) => ("unreachable", why),
                Err(Failure::Refused(why)) => ("refused", why),
            };
            self.meter.lost(NAME, reason, 1);
            if !std::mem::replace(&mut self.is_down, true) {
                tracing::warn!("gateway: WEBHOOK_URL does not take events, and they are lost: {why}");
            }
            return;
        }
    }

    async fn post(&self, id: &str, body: Bytes) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in signed(id, now(), &body, self.key.as_ref()) {
            // They are ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        match timeout(REQUEST_TIMEOUT, self.client.post(self.uri.clone(), headers, body)).await {
            Ok(Ok((status, _))) if status.is_success() => Ok(()),
            Ok(Ok((status, _))) => {
                let why = format!("status {}", status.as_u16());
                let may_pass = matches!(status.as_u16(), 408 | 425 | 429 | 500..);
                Err(if may_pass { Failure::Retry(why) } else { Failure::Refused(why) })
            }
            Ok(Err(why)) => Err(Failure::Retry(why)),
            Err(_) => Err(Failure::Retry(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
        }
    }
}

/// Returns the key of signatures: the text, or what is encoded in it.
fn key(secret: &str) -> Result<hmac::Key, String> {
    let bytes = match secret.strip_prefix(ENCODED) {
        None => secret.as_bytes().to_vec(),
        Some(rest) => STANDARD.decode(rest).map_err(|_| {
            format!(
                "WEBHOOK_SECRET begins with {ENCODED}, and what follows is no base64; correct it, or leave that out"
            )
        })?,
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Returns the headers by which a receiver knows an event (Standard Webhooks, "Signature scheme",
/// 2026-11): the signature is of id, time and body, with dots between.
fn signed(id: &str, now: i64, body: &[u8], key: Option<&hmac::Key>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", now.to_string())];
    if let Some(key) = key {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{now}.").as_bytes());
        context.update(body);
        headers.push(("webhook-signature", format!("v1,{}", STANDARD.encode(context.sign()))));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification (github.com/standard-webhooks, "Signature scheme").
    #[test]
    fn signatures() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body, Some(&key));
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(headers[2], ("webhook-signature", expected.to_owned()));
        assert_eq!(signed("a", 1, b"", None).len(), 2);
        assert!(super::key("whsec_*").is_err() && super::key("any text").is_ok());
    }
}
