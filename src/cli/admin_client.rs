//! Calls to a running gateway, for the command line.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Duration, timeout};

use crate::config::secret::Secret;
use crate::tls;

/// The time of a call, from the connect to the last byte.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// The time of an import of perhaps 100,000 rows, each of which is a transaction. The gateway
/// itself waits as long.
const IMPORT: Duration = Duration::from_secs(900);
/// The largest body of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Longest wait for the response of a health check.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

type Caller = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of the admin API of a running gateway.
pub struct Remote {
    base: String,
    key: Secret,
    client: Caller,
    runtime: Runtime,
}

/// Fetches `/health/ready` of the gateway at `url`. The error is why it is not ready, or not
/// there.
pub fn ready(url: &str, tls: &ClientConfig) -> Result<String, String> {
    let base = url.trim().trim_end_matches('/');
    let uri: Uri = format!("{base}/health/ready").parse().map_err(|_| not_an_address(url))?;
    let (client, runtime) = (client(tls), runtime()?);
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri;
    let (status, text) = runtime.block_on(async {
        match timeout(RESPONSE_TIMEOUT, exchange(&client, base, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{base} did not answer within {} s", RESPONSE_TIMEOUT.as_secs())),
        }
    })?;
    if status.is_success() { Ok(text) } else { Err(format!("{base} is not ready: {text}")) }
}

/// How long a gateway on this machine may take to report its health.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// What `/health` of a gateway reports about it.
#[derive(Debug)]
pub(super) struct Health {
    /// `None` if it could not be read when the gateway started.
    pub(super) store_id: Option<String>,
    /// It is `llm-proxy demo`.
    pub(super) is_demo: bool,
}

/// Returns the health of the gateway at `url`, on this machine. `None` if no gateway answers there.
pub(super) fn health(url: &str) -> Option<Health> {
    let runtime = runtime().ok()?;
    // It is this machine itself, which its certificate need not name.
    let (tls, _) = tls::client_config(&tls::Trust { insecure: true, extra_roots: None }).ok()?;
    let client = client(&tls);
    let uri: Uri = format!("{url}/health").parse().ok()?;
    let text = runtime.block_on(async {
        let ask = async {
            let answer = client.get(uri).await.ok()?;
            let body = Limited::new(answer.into_body(), 64 << 10).collect().await.ok()?;
            Some(body.to_bytes())
        };
        timeout(CONNECT_TIMEOUT, ask).await.ok().flatten()
    })?;
    let health: Value = serde_json::from_slice(&text).ok()?;
    // Other programs answer `/health` too.
    health["config_version"].as_u64()?;
    Some(Health { store_id: health["store_id"].as_str().map(str::to_owned), is_demo: health["demo"] == true })
}

fn not_an_address(url: &str) -> String {
    format!("`{url}` is no address of a gateway; write it as http://host:18000")
}

/// Builds a runtime of the current thread. The error says that the system gives none.
pub(crate) fn runtime() -> Result<Runtime, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the system gives no runtime: {error}"))
}

/// Builds an HTTP client for `http` and `https` URLs with these TLS settings.
pub(crate) fn client(tls: &ClientConfig) -> Caller {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let mut tls = tls.clone();
    // The connector sets its own.
    tls.alpn_protocols.clear();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Sends a request, and returns status and text of its response.
pub(super) async fn exchange(
    client: &Caller,
    base: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), String> {
    let failed = |why: String| format!("{base} cannot be reached: {why}");
    let answer =
        client.request(request).await.map_err(|error| failed(crate::control_plane::http::client::cause(&error)))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_RESPONSE_BYTES).collect().await;
    let body = body.map_err(|error| failed(crate::control_plane::http::client::cause(&*error)))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

impl Remote {
    /// Makes a client of the gateway at `url`, which may end in `/admin/v1`.
    pub fn new(url: &str, key: Secret, tls: &ClientConfig) -> Result<Remote, String> {
        let base = url.trim().trim_end_matches('/').trim_end_matches("/admin/v1").trim_end_matches('/');
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(not_an_address(url));
        }
        Ok(Remote { base: base.to_owned(), key, client: client(tls), runtime: runtime()? })
    }

    /// Returns the URL of the gateway, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Returns the text of a successful response. `path` is behind `/admin/v1`, `body` is JSON. The
    /// error is the gateway's own, or why there was no response.
    pub fn call(&self, method: &str, path: &str, body: Option<String>) -> Result<String, String> {
        let patience = if path == "/config/import" { IMPORT } else { FLUSH_TIMEOUT };
        self.runtime.block_on(async {
            match timeout(patience, self.exchange(method, path, body)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("{} did not answer within {} s", self.base, patience.as_secs())),
            }
        })
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<String>) -> Result<String, String> {
        let uri: Uri = format!("{}/admin/v1{path}", self.base)
            .parse()
            .map_err(|_| format!("`{}` is no address of a gateway", self.base))?;
        let mut key = HeaderValue::from_str(&format!("Bearer {}", &*self.key))
            .map_err(|_| "ADMIN_KEY holds a character that is not allowed in a header".to_owned())?;
        key.set_sensitive(true);
        let mut request = Request::new(Full::from(body.unwrap_or_default()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        *request.uri_mut() = uri;
        request.headers_mut().insert(AUTHORIZATION, key);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let (status, text) = exchange(&self.client, &self.base, request).await?;
        if status.is_success() {
            return Ok(text);
        }
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let message = value.pointer("/error/message").and_then(Value::as_str);
        Err(match message {
            Some(message) => format!("{} says: {message}", self.base),
            None => format!("{} answered with status {}; is it a gateway?", self.base, status.as_u16()),
        })
    }
}
