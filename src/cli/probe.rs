//! Calls to a provider for a person at a terminal: its list of models, which costs nothing, and a
//! short request.
//!
//! Errors are sentences for the person who has just typed the provider's address and key, so that
//! they name the address.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use rustls::ClientConfig;
use tokio::time::{Duration, timeout};

use super::admin_client;
use crate::config::snapshot::Provider;
use crate::control_plane::admin::health_probe::{failure_message, probe_request};
use crate::control_plane::discovery::model_lists;
use crate::control_plane::http::client::Client;
use crate::control_plane::http::provider::Target;
use crate::tls::{Trust, client_config};
use llm_wire::Format;

/// The time of a call, from the connect to the last byte.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client for such calls.
pub(super) struct Prober(Arc<ClientConfig>);

impl Prober {
    /// Makes a client that accepts certificates as a gateway with these settings would.
    pub(super) fn new(trust: &Trust<'_>) -> Result<Prober, String> {
        client_config(trust).map(|(tls, _)| Prober(tls))
    }

    /// Returns the models that the provider lists, sorted.
    pub(super) fn models(&self, provider: &Provider) -> Result<Arc<[String]>, String> {
        let target = model_lists::request(provider)?;
        let address = target.uri.to_string();
        let address = address.split('?').next().unwrap_or_default();
        let (status, text) = exchange(provider, target, None, &self.0)?;
        let hint = match status {
            200..300 => {
                return model_lists::parse(text.as_bytes())
                    .map_err(|why| format!("{address}: {why}{}", base_hint(provider)));
            }
            401 | 403 => "; check the key",
            404 | 405 => base_hint(provider),
            _ => "",
        };
        Err(format!("{address} answered with status {status}{}{hint}", error_suffix(status, &text)))
    }

    /// Sends one request to `model`, which is answered with a few tokens.
    pub(super) fn send_probe(&self, provider: &Provider, model: &str) -> Result<(), String> {
        let (target, body) = probe_request(provider, model)?;
        let (status, text) = exchange(provider, target, Some(body), &self.0)?;
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(format!("the provider answered with status {status}{}", error_suffix(status, &text)))
    }
}

/// Returns what to look at when nothing is reached, by the cause that the HTTP library names.
fn advice(why: &str) -> &'static str {
    let known = [
        ("connection refused", "; nothing listens there: start the provider, or correct the base's port"),
        ("lookup address", "; check the name of the host, and the name servers of this machine"),
        ("InvalidContentType", "; no TLS is spoken there: write http:// if that is meant"),
        ("UnknownIssuer", "; SSL_CERT_FILE can name the certificate of the authority that has signed it"),
    ];
    known.into_iter().find(|(part, _)| why.contains(part)).map_or("", |(_, advice)| advice)
}

/// Returns what to look at when something else than the provider's API is at its base.
fn base_hint(provider: &Provider) -> &'static str {
    match provider.formats.first() {
        Some(Format::Messages) => "; is the base right? Anthropic's has no /v1 at its end",
        _ => "; is the base right? Those of OpenAI's kind mostly end with /v1",
    }
}

/// Returns the provider's own message, if it sent one.
fn error_suffix(status: u16, text: &str) -> String {
    let message = failure_message(status, text.as_bytes());
    match message.strip_prefix(&format!("HTTP {status}")) {
        Some(rest) => rest.strip_prefix(" - ").map_or_else(String::new, |rest| format!(" ({rest})")),
        None => format!(" ({message})"),
    }
}

/// Sends a request as a gateway would, through the provider's proxy and with its certificates, and
/// returns status and text of the response.
fn exchange(
    provider: &Provider,
    target: Target,
    body: Option<Vec<u8>>,
    tls: &Arc<ClientConfig>,
) -> Result<(u16, String), String> {
    let (client, runtime) = (Client::of_command(tls).of_provider(&provider.outbound), admin_client::runtime()?);
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.uri;
    *request.headers_mut() = target.headers;
    if let Some(body) = body {
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Full::new(Bytes::from(body));
    }
    let base = &provider.base;
    let base = format!("{}://{}", if base.tls { "https" } else { "http" }, base.authority);
    let proxy = provider.outbound.proxy.as_ref();
    let through = proxy.map(|proxy| format!(" through the proxy {}:{}", proxy.host, proxy.port)).unwrap_or_default();
    runtime.block_on(async {
        match timeout(TIMEOUT, client.send(request)).await {
            Ok(Ok(answer)) => Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())),
            Ok(Err(why)) if proxy.is_some() => Err(format!("{base} cannot be reached{through}: {why}")),
            Ok(Err(why)) => Err(format!("{base} cannot be reached: {why}{}", advice(&why))),
            Err(_) => Err(format!("{base} did not answer{through} within {} s", TIMEOUT.as_secs())),
        }
    })
}
