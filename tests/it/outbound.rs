//! Ways to providers: proxies, certificates of a provider's own, secrets in files; and addresses of
//! both families on the listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use llm_proxy::config::rows::ProviderRow;

use super::support::cert::Cert;
use super::support::sample::CHAT;
use super::support::*;

/// A proxy that opens tunnels to one server, whatever is asked for. Keeps the heads that it got.
struct TunnelProxy {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    /// `answer` is the line of its answer.
    fn start(to: SocketAddr, answer: &'static str) -> TunnelProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = TunnelProxy { addr: listener.local_addr().unwrap(), heads: Arc::default() };
        let heads = proxy.heads.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let heads = heads.clone();
                thread::spawn(move || serve_tunnel(client, to, answer, &heads));
            }
        });
        proxy
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve_tunnel(mut client: TcpStream, to: SocketAddr, answer: &str, heads: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    let _ = client.write_all(format!("HTTP/1.1 {answer}\r\nx-proxy: yes\r\n\r\n").as_bytes());
    if !answer.starts_with('2') {
        return;
    }
    socks::join(client, TcpStream::connect(to).unwrap());
}

fn provider() -> Fake {
    Fake::answering(|_| answer::json(200, CHAT.answer))
}

/// At a name that only the proxy can find.
fn elsewhere(fake: &Fake, scheme: &str) -> ProviderRow {
    let base = format!("{scheme}://provider.invalid:{}/v1", fake.addr.port());
    ProviderRow { api_base: base, model_mapping: r#"{"m-asked":"m-asked"}"#.into(), ..chat(fake) }
}

fn with_params(row: ProviderRow, params: serde_json::Value) -> ProviderRow {
    ProviderRow { provider_params: params.to_string(), ..row }
}

#[test]
fn providers_are_reached_through_proxies() {
    let provider = provider();
    let proxy = TunnelProxy::start(provider.addr, "200 Connection established");
    let url = format!("http://user:pass@{}", proxy.addr);
    let target = format!("provider.invalid:{}", provider.addr.port());
    // From the environment, for the scheme of the provider.
    let setup = Setup::new().provider(elsewhere(&provider, "http")).env("HTTP_PROXY", &url);
    let gateway = setup.env("HTTPS_PROXY", "http://127.0.0.1:1").start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.call(CHAT.path, CHAT.ask).text(), CHAT.answer);
    }
    // The tunnel is kept for the second request.
    let expected =
        format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n");
    assert_eq!(proxy.heads(), [expected]);
    assert!(gateway.log().iter().all(|line| !line.contains("pass@")));
    // Checks of the control plane go the same way.
    let tested = gateway.cli(&["check-config"]);
    assert!(tested.status.success(), "{tested:?}");

    // One of the provider's own goes before it, as does `direct`.
    let own = with_params(elsewhere(&provider, "http"), serde_json::json!({"proxy": format!("http://{}", proxy.addr)}));
    let gateway = Setup::new().provider(own).env("HTTP_PROXY", "http://127.0.0.1:1").start();
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    assert_eq!(proxy.heads().len(), 2);
    assert!(!proxy.heads()[1].contains("authorization"));
    let direct = with_params(chat(&provider), serde_json::json!({"proxy": "direct"}));
    let gateway = Setup::new().provider(direct).env("HTTP_PROXY", &url).start();
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    assert_eq!(proxy.heads().len(), 2);
}

/// The same by SOCKS5: names go to a proxy of `socks5h`, addresses to one of `socks5`.
#[test]
fn providers_are_reached_through_socks_proxies() {
    let provider = provider();
    let port = provider.addr.port();
    let socks = socks::Socks::start(provider.addr, Some("us@er:p w"), &["::1"]);
    let url = |scheme: &str| format!("{scheme}://us%40er:p%20w@{}", socks.addr);
    // ALL_PROXY is for what the variable of the scheme does not name.
    let setup = Setup::new().provider(elsewhere(&provider, "http")).env("ALL_PROXY", url("socks5h"));
    let gateway = setup.env("HTTPS_PROXY", "http://127.0.0.1:1").env("ADMIN_KEY", "a-long-admin-key").start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.call(CHAT.path, CHAT.ask).text(), CHAT.answer);
    }
    let name = format!("provider.invalid:{port}");
    assert_eq!(socks.asked(), [name.as_str()]);
    // Calls of the control plane go the same way.
    let mut admin = gateway.client();
    admin.ask(&get("/health/detailed").key("a-long-admin-key"));
    assert_eq!(admin.response().status, 200);
    assert_eq!(socks.asked(), [name.as_str(), name.as_str()]);
    assert!(gateway.log().iter().all(|line| !line.contains("p w") && !line.contains("p%20w")));

    // One of the provider's own, whose password is in the environment. The name has two addresses
    // here, of which the proxy reaches one.
    let at_localhost = ProviderRow { api_base: format!("http://localhost:{port}/v1"), ..elsewhere(&provider, "http") };
    let own = with_params(at_localhost, serde_json::json!({"proxy": "env:TEAM_PROXY"}));
    let setup = Setup::new().provider(own).env("TEAM_PROXY", url("socks5")).env("ADMIN_KEY", "a-long-admin-key");
    let gateway = setup.start();
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    let mut admin = gateway.client();
    admin.ask(&get("/health/detailed").key("a-long-admin-key"));
    assert_eq!(admin.response().status, 200);
    let reached = format!("127.0.0.1:{port}");
    let asked = socks.asked()[2..].to_vec();
    assert_eq!(asked.iter().filter(|host| **host == reached).count(), 2, "{asked:?}");
    assert!(asked.iter().all(|host| *host == reached || *host == format!("::1:{port}")), "{asked:?}");
}

/// Refusals of a SOCKS proxy are reported without secrets.
#[test]
fn socks_proxies_that_refuse() {
    let provider = provider();
    let socks = socks::Socks::start(provider.addr, Some("user:right"), &["provider.invalid"]);
    let rows = [
        (format!("socks5h://user:right@{}", socks.addr), "the host cannot be reached (SOCKS5 reply 4)"),
        (format!("socks5h://user:hidden@{}", socks.addr), "refused the user name or the password"),
        (format!("socks5h://{}", socks.addr), "demands a user name and password"),
    ];
    for (url, why) in rows {
        let gateway = Setup::new().provider(elsewhere(&provider, "http")).env("HTTP_PROXY", url).start();
        let response = gateway.client().call(CHAT.path, CHAT.ask);
        assert_eq!(response.status, 502);
        assert!(response.text().contains("the proxy did not connect to it"), "{}", response.text());
        eventually("the log says why", || gateway.log().iter().any(|line| line.contains(why)));
        assert!(gateway.log().iter().all(|line| !line.contains("hidden") && !line.contains(":right")));
    }
    let unknown = Setup::new().env("ALL_PROXY", "socks4://127.0.0.1:1").try_start().err().unwrap();
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("proxies are reached by http, socks5 or socks5h"), "{}", unknown.stderr);
}

/// Failures are reported without secrets.
#[test]
fn proxies_that_refuse() {
    let provider = provider();
    let proxy = TunnelProxy::start(provider.addr, "407 Proxy Authentication Required");
    let url = format!("http://user:pass@{}", proxy.addr);
    let gateway = Setup::new().provider(elsewhere(&provider, "http")).env("HTTP_PROXY", url).start();
    let response = gateway.client().call(CHAT.path, CHAT.ask);
    assert_eq!(response.status, 502);
    assert!(response.text().contains("the proxy did not connect to it"), "{}", response.text());
    eventually("the log says why", || gateway.log().iter().any(|line| line.contains("407 Proxy Authentication")));
    assert!(gateway.log().iter().all(|line| !line.contains("pass@")));

    let secret = with_params(chat(&provider), serde_json::json!({"proxy": "http://u:hidden@127.0.0.1:1"}));
    let gateway = Setup::new().provider(secret).start();
    eventually("it is a problem", || gateway.log().iter().any(|line| line.contains("holds a user name or password")));
    assert!(gateway.log().iter().all(|line| !line.contains("hidden")));
}

/// TLS goes through the tunnel to the provider, whose certificate is verified.
#[test]
fn certificates_of_a_provider() {
    let (server, client, stranger) = (Cert::new(), Cert::new(), Cert::new());
    let provider = Fake::answering_with(server.server_for(&client), |_| answer::json(200, CHAT.answer));
    let proxy = TunnelProxy::start(provider.addr, "200 OK");
    let file = |path: std::path::PathBuf| path.display().to_string();
    let tls = |identity: &Cert| {
        serde_json::json!({
            "ca_file": file(server.file()),
            "client_cert": file(identity.file()),
            "client_key": file(identity.key_file()),
        })
    };
    let status = |params: serde_json::Value| {
        let gateway = Setup::new().provider(with_params(chat(&provider), params)).start();
        gateway.client().call(CHAT.path, CHAT.ask).status
    };
    assert_eq!(status(serde_json::json!({"tls": tls(&client)})), 200);
    assert_eq!(status(serde_json::json!({"tls": tls(&client), "proxy": format!("http://{}", proxy.addr)})), 200);
    assert_eq!(proxy.heads().len(), 1);
    assert_eq!(status(serde_json::json!({"tls": tls(&stranger)})), 502);
    assert_eq!(status(serde_json::json!({"tls": {"ca_file": file(server.file())}})), 502, "it shows no certificate");
    let unverified = serde_json::json!({"client_cert": file(client.file()), "client_key": file(client.key_file())});
    assert_eq!(status(serde_json::json!({"tls": unverified})), 502, "the system does not trust it");
    let mut unverified = tls(&client);
    unverified["ca_file"] = serde_json::Value::Null;
    unverified["verify"] = false.into();
    assert_eq!(status(serde_json::json!({"tls": unverified})), 200);
}

/// A new client certificate is used without a restart or a change of the row.
#[test]
fn files_of_rows_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "sk-first\n").unwrap();
    let provider = provider();
    let row = ProviderRow { api_key: format!("file:{}", key.display()).as_str().into(), ..chat(&provider) };
    let gateway = Setup::new().provider(row).env("SECRET_FILE_DIRS", dir.path().display()).start();
    let mut client = gateway.client();
    let mut sent = || {
        assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
        provider.requests().last().unwrap().header("authorization").unwrap().to_owned()
    };
    assert_eq!(sent(), "Bearer sk-first");
    replace(&key, "sk-second\n");
    eventually("the new key is sent", || sent() == "Bearer sk-second");
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn secrets_of_the_process_may_be_in_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("admin"), "a-long-admin-key\n").unwrap();
    let reference = format!("file:{}/admin", dir.path().display());
    let gateway = Setup::new().env("ADMIN_KEY", &reference).env("SECRET_FILE_DIRS", dir.path().display()).start();
    let status = |key: &str| {
        let mut client = gateway.client();
        client.ask(&get("/admin/v1/providers").key(key));
        client.response().status
    };
    assert_eq!((status("a-long-admin-key"), status(&reference)), (200, 401));
    // It is for no provider.
    let body = serde_json::json!({"provider_key": "p", "api_base": "http://127.0.0.1:1", "api_key": reference});
    let mut client = gateway.client();
    client.ask(&post("/admin/v1/providers").key("a-long-admin-key").body(body.to_string()));
    let refused = client.response();
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("holds a secret of this program"), "{}", refused.text());
}

/// Clients show a certificate of TLS_CLIENT_CA, or are not served.
#[test]
fn certificates_of_clients() {
    let (server, client, stranger) = (Cert::new(), Cert::new(), Cert::new());
    let setup = Setup::new().env("TLS_CERT", server.file().display()).env("TLS_KEY", server.key_file().display());
    let gateway = setup.env("TLS_CLIENT_CA", client.file().display()).start();
    let mut known = Client::connect_tls(gateway.addr, server.client_as(&client));
    known.ask(&get("/health"));
    assert_eq!(known.response().status, 200);
    for config in [server.client(), server.client_as(&stranger)] {
        let mut refused = Client::connect_tls(gateway.addr, config);
        let sent = refused.link.try_send(&get("/health").bytes());
        let answered = sent.is_ok() && refused.link.head().is_some();
        assert!(!answered);
    }
}

/// `HOST=::` is every address of both families, and IPv4 clients keep their addresses.
#[test]
fn both_families_on_one_listener() {
    let setup = Setup::new().at("[::]:0".parse().unwrap()).workers(2).env("ADMIN_KEY", "a-long-admin-key");
    let gateway = setup.env("ADMIN_ALLOWED_ADDRESSES", "127.0.0.1,::1").start();
    for host in ["127.0.0.1", "::1"] {
        let mut client = Client::connect(SocketAddr::new(host.parse().unwrap(), gateway.addr.port()));
        client.ask(&get("/admin/v1/providers").key("a-long-admin-key"));
        assert_eq!(client.response().status, 200, "{host}");
    }
    // A provider at an IPv6 address.
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let base = format!("http://[::1]:{}/v1", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        let (mut conn, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let _ = conn.read(&mut bytes);
        let _ = conn.write_all(&answer::json(200, CHAT.answer));
    });
    let row = ProviderRow { api_base: base, ..chat(&provider()) };
    let gateway = Setup::new().provider(row).at("[::1]:0".parse().unwrap()).start();
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
}
