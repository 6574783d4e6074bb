//! The background thread's own calls to providers, and to services that take records: hyper on
//! tokio, names from the table that workers use, bounds on time and size.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::config::link_local;
use crate::config::outbound::Outbound;
use crate::config::tunnel::{Dialogue, Proxy, Refusal, Step};
use crate::shared::ProcessState;
use crate::shared::names::Resolved;

/// From the connect to the last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer's body.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    pooled: Pooled<HttpsConnector<Tunnel>, Full<Bytes>>,
    names: Resolver,
    tls: Arc<ClientConfig>,
}

impl Client {
    /// Returns a client with these TLS settings and without a proxy.
    pub(crate) fn new(shared: Arc<ProcessState>, tls: &Arc<ClientConfig>) -> Client {
        Client::with(Resolver::Table(shared), tls.clone(), None)
    }

    /// Returns the client of a command, which runs without a gateway.
    pub(crate) fn of_command(tls: &Arc<ClientConfig>) -> Client {
        Client::with(Resolver::System, tls.clone(), None)
    }

    /// Returns the client for calls to a provider, which may have a proxy and certificates of its
    /// own.
    pub(crate) fn of_provider(&self, outbound: &Outbound) -> Client {
        match (&outbound.proxy, &outbound.tls) {
            (None, None) => self.clone(),
            (proxy, tls) => {
                let tls = tls.as_ref().map_or_else(|| self.tls.clone(), |tls| tls.config.clone());
                Client::with(self.names.clone(), tls, proxy.clone())
            }
        }
    }

    fn with(names: Resolver, tls_config: Arc<ClientConfig>, proxy: Option<Arc<Proxy>>) -> Client {
        let mut tcp = HttpConnector::new_with_resolver(names.clone());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tcp = Tunnel { tcp, names: names.clone(), proxy };
        let mut tls = ClientConfig::clone(&tls_config);
        // The connector sets its own.
        tls.alpn_protocols.clear();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        // Calls are minutes apart: nothing is worth keeping.
        let pooled = Pooled::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Client { pooled, names, tls: tls_config }
    }

    /// Sends a request, and returns the body of a successful response. The error names neither the
    /// address nor any header, which may hold secrets.
    pub(crate) async fn get(&self, uri: Uri, headers: HeaderMap) -> Result<Bytes, String> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        match timeout(REQUEST_TIMEOUT, self.exchange(request)).await {
            Ok(Ok((status, body))) if status.is_success() => Ok(body),
            Ok(Ok((status, _))) => Err(format!("status {}", status.as_u16())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
        }
    }

    /// Sends a body of JSON, and returns status and body of any response. The caller sets the
    /// timeout.
    pub(crate) async fn post(
        &self,
        uri: Uri,
        mut headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes), String> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let answer = self.send(request).await?;
        Ok((answer.status(), answer.into_body()))
    }

    /// Sends a request, and returns any response, whole. The caller sets the timeout.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let (head, body) = self.pooled.request(request).await.map_err(|error| cause(&error))?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| cause(&*error))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// Returns what caused an error, in a few words such as `connection refused`. The layers of the
/// HTTP library around the cause say nothing to a person.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    if let Some(error) = root.downcast_ref::<std::io::Error>() {
        match error.kind() {
            ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
            ErrorKind::ConnectionReset => return "connection reset".to_owned(),
            ErrorKind::TimedOut => return "no connection in time".to_owned(),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => return "host unreachable".to_owned(),
            _ => {}
        }
    }
    let text = root.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Connects directly, or through a tunnel of a proxy.
#[derive(Clone)]
pub(crate) struct Tunnel {
    tcp: HttpConnector<Resolver>,
    names: Resolver,
    proxy: Option<Arc<Proxy>>,
}

type Connected = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Tunnel {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connected;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Connected {
        let Some(proxy) = self.proxy.clone() else {
            let connecting = self.tcp.call(uri);
            return Box::pin(async move { Ok(connecting.await?) });
        };
        Box::pin(through(self.tcp.clone(), self.names.clone(), proxy, uri))
    }
}

/// Connects to a proxy, which opens a tunnel to the host in `uri`.
async fn through(
    mut tcp: HttpConnector<Resolver>,
    mut names: Resolver,
    proxy: Arc<Proxy>,
    uri: Uri,
) -> Result<TokioIo<TcpStream>, BoxError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let hosts = match proxy.resolves_names() || host.parse::<IpAddr>().is_ok() {
        true => vec![host.to_owned()],
        false => names.call(host.parse()?).await?.map(|address| address.ip().to_string()).collect(),
    };
    let address = if proxy.host.contains(':') { format!("[{}]", proxy.host) } else { proxy.host.clone() };
    let proxy_uri = Uri::try_from(format!("http://{address}:{}", proxy.port))?;
    let mut failure = format!("the name `{host}` has no address");
    for host in hosts {
        let mut stream = tcp.call(proxy_uri.clone()).await?.into_inner();
        match tunnel(&mut stream, &proxy, &host, port).await? {
            Ok(()) => return Ok(TokioIo::new(stream)),
            Err(Refusal::OfProxy(why)) => return Err(why.into()),
            Err(Refusal::OfAddress(why)) => failure = why,
        }
    }
    Err(failure.into())
}

/// Opens a tunnel to `host` on a connection to a proxy. The outer error is that of the connection.
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, host: &str, port: u16) -> io::Result<Result<(), Refusal>> {
    let (mut dialogue, first) = match Dialogue::begin(proxy, host, port) {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (mut step, mut piece) = (Step::Send(first), [0; 1024]);
    loop {
        match step {
            Step::Open => return Ok(Ok(())),
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Receive => {}
        }
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            return Ok(Err(Refusal::OfProxy("the proxy closed the connection".to_owned())));
        }
        step = match dialogue.receive(&piece[..length]) {
            Ok(step) => step,
            Err(refusal) => return Ok(Err(refusal)),
        };
    }
}

/// How names are resolved.
#[derive(Clone)]
enum Resolver {
    /// The names of providers in force are in the table. The system is asked for others, such as
    /// that of a service which takes records.
    Table(Arc<ProcessState>),
    /// The system is asked for every name.
    System,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let shared = match self {
            Resolver::Table(shared) => shared,
            // The person who types a command may call what they like.
            Resolver::System => return Box::pin(look_up(name, true)),
        };
        // The connector puts the port in.
        let found = match shared.names.get(name.as_str()) {
            Some(Resolved::Addresses(ips)) => Ok(ips.iter().map(|ip| SocketAddr::new(*ip, 0)).collect::<Vec<_>>()),
            Some(Resolved::Failed(why)) => Err(std::io::Error::other(&*why)),
            // The name of a provider that is not in force, such as one that is checked, or of a
            // service that the operator names.
            None => {
                let boot = &shared.boot;
                let allows_all = boot.allow_link_local_upstreams || boot.observe.names_host(name.as_str());
                return Box::pin(look_up(name, allows_all));
            }
        };
        Box::pin(std::future::ready(found.map(Vec::into_iter)))
    }
}

/// Asks the system for the addresses of a name, without those that are link-local unless
/// `allows_all`.
async fn look_up(name: Name, allows_all: bool) -> io::Result<vec::IntoIter<SocketAddr>> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
    let may_be = |at: &SocketAddr| allows_all || !link_local::is_link_local(at.ip());
    let found: Vec<_> = found.filter(may_be).collect();
    match found.is_empty() {
        true => Err(io::Error::other(format!("the name has no address, or it {}", link_local::REFUSAL))),
        false => Ok(found.into_iter()),
    }
}
