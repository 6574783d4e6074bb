//! The background thread over a real store, real sockets and the real resolver.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use llm_proxy::config::boot::{Boot, Environment};
use llm_proxy::config::rows::{CredentialRow, ProviderRow};
use llm_proxy::control_plane;
use llm_proxy::control_plane::ControlPlane;
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::sqlite::FILE;
use llm_proxy::shared::names::Resolved;
use llm_proxy::shared::{Hints, ProcessState};
use llm_proxy::telemetry::record::Record;
use llm_proxy::telemetry::ring;
use llm_proxy::tls::server_config;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::support::Removals;

/// Longer than anything here takes, on the slowest machine.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < FLUSH_TIMEOUT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn shared(boot: Boot) -> Arc<ProcessState> {
    Arc::new(ProcessState::new(boot, 2, Hints { no_credentials: String::new(), no_providers: String::new() }))
}

fn provider(key: &str, base: &str) -> ProviderRow {
    ProviderRow {
        provider_key: key.into(),
        provider_type: "openai".into(),
        api_base: base.into(),
        api_key: "env:PROVIDER_KEY".into(),
        model_mapping: "{}".into(),
        provider_params: "{}".into(),
        weight: 1,
        is_enabled: true,
        ..ProviderRow::default()
    }
}

fn environment() -> Environment {
    let process = [("PROVIDER_KEY".to_owned(), "sk-env".into())].into();
    Environment { process, ..Environment::default() }
}

fn start(shared: &Arc<ProcessState>, dir: &tempfile::TempDir) -> ControlPlane {
    let store = Blocking::embedded(dir.path()).unwrap();
    control_plane::start(shared.clone(), store.store(), environment()).unwrap()
}

#[test]
fn writes_of_another_process_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let other = Blocking::embedded(dir.path()).unwrap();
    other.add_provider(&provider("first", "http://localhost:9/v1")).unwrap();

    let shared = shared(Boot::default());
    let background = start(&shared, &dir);
    let snapshot = shared.publisher.load();
    assert_eq!((snapshot.generation, snapshot.providers.len(), snapshot.credentials.len()), (1, 1, 0));
    assert!(matches!(shared.names.get("localhost"), Some(Resolved::Addresses(_))));

    let key = CredentialRow {
        credential_key: "ab".repeat(32),
        name: "team".into(),
        allowed_models: "[]".into(),
        is_enabled: true,
        ..CredentialRow::default()
    };
    let id = other.create_credential(&key).unwrap();
    wait_for("the new credential", || shared.publisher.load().credentials.len() == 1);
    other.revoke_credential(id).unwrap();
    wait_for("its end", || shared.publisher.load().credentials.is_empty());

    // One row that can't be served takes nothing else away.
    other.add_provider(&provider("broken", "no address")).unwrap();
    other.add_provider(&provider("second", "http://127.0.0.1:9")).unwrap();
    wait_for("the second provider", || shared.publisher.load().providers.len() == 2);
    background.stop();
}

#[test]
fn requested_host_names_are_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(Boot::default());
    let background = start(&shared, &dir);
    assert_eq!(shared.names.get("localhost"), None);
    assert!(shared.names.request("localhost") && shared.names.request("no..name"));
    wait_for("both names", || shared.names.get("localhost").is_some() && shared.names.get("no..name").is_some());
    assert!(matches!(shared.names.get("localhost"), Some(Resolved::Addresses(_))));
    assert!(matches!(shared.names.get("no..name"), Some(Resolved::Failed(_))));
    background.stop();
}

/// An upstream that answers every request with `body`, over TLS if it has settings for that, and
/// reports the requests that it got.
fn upstream(tls: Option<Arc<rustls::ServerConfig>>, body: &'static str) -> (u16, mpsc::Receiver<String>) {
    let (port, bound) = mpsc::channel();
    let (received, questions) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            port.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, received) = (tls.clone().map(TlsAcceptor::from), received.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, body, received).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, body, received).await;
                            }
                        }
                    }
                });
            }
        });
    });
    (bound.recv().unwrap(), questions)
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, body: &'static str, received: mpsc::Sender<String>) {
    let service = service_fn(|request: Request<Incoming>| {
        let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let question = format!("{} {} {} {}", request.method(), request.uri(), header("host"), header("authorization"));
        // The test may have ended.
        let _ = received.send(question);
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(body.as_bytes())))) }
    });
    // What the client makes of it is what counts.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

#[test]
fn models_of_catch_all_providers_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (port, questions) = upstream(None, r#"{"object":"list","data":[{"id":"m2"},{"id":"m1"}]}"#);
    let other = Blocking::embedded(dir.path()).unwrap();
    let all = other.add_provider(&provider("all", &format!("http://localhost:{port}/v1"))).unwrap();
    let shared = shared(Boot::default());
    let background = start(&shared, &dir);
    assert_eq!(
        questions.recv_timeout(FLUSH_TIMEOUT).unwrap(),
        format!("GET /v1/models localhost:{port} Bearer sk-env")
    );
    wait_for("the list", || shared.catalog.load().contains_key(&all));
    assert_eq!(*shared.catalog.load()[&all], ["m1", "m2"]);

    // The list of a provider with a mapping is not fetched, that of another one is, and the first
    // list is kept.
    let mapped = ProviderRow {
        model_mapping: r#"{"a":"b"}"#.into(),
        ..provider("mapped", &format!("http://127.0.0.1:{port}/x"))
    };
    other.add_provider(&mapped).unwrap();
    let more = other.add_provider(&provider("more", &format!("http://127.0.0.1:{port}/y"))).unwrap();
    assert_eq!(questions.recv_timeout(FLUSH_TIMEOUT).unwrap(), format!("GET /y/models 127.0.0.1:{port} Bearer sk-env"));
    wait_for("the second list", || shared.catalog.load().contains_key(&more));
    assert_eq!(shared.catalog.load().len(), 2);
    background.stop();
    assert_eq!(questions.try_iter().count(), 0);
}

#[test]
fn model_lists_are_fetched_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (port, questions) = upstream(Some(server_config(&cert, &key, None).unwrap()), r#"{"data":[{"id":"m"}]}"#);
    let other = Blocking::embedded(dir.path()).unwrap();
    let id = other.add_provider(&provider("all", &format!("https://localhost:{port}/v1"))).unwrap();

    for boot in [Boot { ssl_cert_file: Some(cert), ..Boot::default() }, Boot { verify_ssl: false, ..Boot::default() }] {
        let shared = shared(boot);
        let background = start(&shared, &dir);
        wait_for("the list", || shared.catalog.load().contains_key(&id));
        background.stop();
        assert_eq!(questions.try_iter().count(), 1);
    }
}

#[test]
fn stopping_empties_the_rings() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(Boot::default());
    let background = start(&shared, &dir);
    for ring in &shared.rings {
        (0..ring::CAPACITY).for_each(|_| ring.push(record()));
    }
    background.stop();
    assert!(shared.rings.iter().all(|ring| ring.pop().is_none()));
}

fn record() -> Record {
    Record { endpoint: "/v1/messages", method: "POST", status: 200, ..Record::new("id", 0) }
}

#[test]
fn impossible_settings_are_reported_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.pem");
    let boot = Boot { tls_cert: Some(missing.clone()), tls_key: Some(missing), ..Boot::default() };
    let store = Blocking::embedded(dir.path()).unwrap();
    let error = control_plane::start(shared(boot), store.store(), environment()).unwrap_err();
    assert!(error.contains("missing.pem"), "{error}");

    let store = Blocking::embedded(dir.path()).unwrap();
    let file = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    file.execute("DROP TABLE providers", []).unwrap();
    let error = control_plane::start(shared(Boot::default()), store.store(), environment()).unwrap_err();
    assert!(error.contains("llm-proxy.db"), "{error}");
}
