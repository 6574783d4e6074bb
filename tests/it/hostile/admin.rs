//! Attacks on the admin interface: by a page in a browser, by guesses of the key, and with the key.

use std::net::{IpAddr, SocketAddr};

use llm_proxy::config::rows::ProviderRow;
use serde_json::{Value, json};

use super::*;

const KEY_OF_ADMIN: &str = "a-long-key-of-the-admin";

fn setup() -> Setup {
    Setup::new().env("ADMIN_KEY", KEY_OF_ADMIN)
}

fn call(gateway: &Gateway, method: &str, path: &str, body: Value) -> Response {
    let mut client = gateway.client();
    let request = get(&format!("/admin/v1{path}")).method(method).key(KEY_OF_ADMIN);
    client.ask(&if body.is_null() { request } else { request.body(body.to_string()) });
    client.response()
}

/// The parameter and the message of a 400.
fn refused(response: &Response) -> (String, String) {
    assert_eq!(response.status, 400, "{}", response.text());
    let body = response.json();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (text("param"), text("message"))
}

#[test]
fn pages_of_foreign_origins_may_not_call() {
    const ALLOW: &str = "access-control-allow-origin";
    let default = setup().start();
    let own = setup().env("ADMIN_CORS_ORIGINS", "https://admin.example.com, https://b.example.com").start();
    let open = setup().env("ADMIN_CORS_ORIGINS", "*").start();
    let closed = setup().env("ADMIN_CORS_ORIGINS", "none").start();
    let evil = "https://evil.example.com";
    let rows: [(&Gateway, &str, Option<&str>); 10] = [
        (&default, "http://localhost:5173", Some("http://localhost:5173")),
        (&default, "http://127.0.0.1:5176", Some("http://127.0.0.1:5176")),
        (&default, "http://localhost:5174", None),
        (&default, "http://localhost:5173.evil.example.com", None),
        (&default, "null", None),
        (&default, evil, None),
        (&own, "https://b.example.com", Some("https://b.example.com")),
        (&own, "http://localhost:5173", None),
        (&open, evil, Some("*")),
        (&closed, "http://localhost:5173", None),
    ];
    for (gateway, origin, allowed) in rows {
        for path in ["/admin/v1/providers", "/metrics", "/health/detailed"] {
            for method in ["OPTIONS", "GET"] {
                let mut client = gateway.client();
                client.ask(&get(path).method(method).key(KEY_OF_ADMIN).header("origin", origin));
                let response = client.response();
                assert_eq!(response.header(ALLOW), allowed, "{method} {path} from {origin}");
                let received = method == "OPTIONS" && allowed.is_some();
                assert_eq!(response.header("access-control-allow-methods").is_some(), received, "{path} from {origin}");
            }
        }
        // What protects the API of clients is its key.
        let mut client = gateway.client();
        client.ask(&get("/v1/models").header("origin", origin));
        assert_eq!(client.response().header(ALLOW), Some("*"));
    }
}

/// A thousand tries from many addresses are no better than those from one.
#[test]
fn guessing_is_throttled_over_all_addresses() {
    let gateway = setup().workers(2).start();
    assert_eq!(call(&gateway, "GET", "/providers", Value::Null).status, 200);
    let mut counts = [0, 0];
    for n in 0..150u8 {
        let mut client = from(IpAddr::from([127, 1, 1, n]), gateway.addr);
        client.ask(&get("/admin/v1/providers").key("guess"));
        match client.response().status {
            401 => counts[0] += 1,
            429 => counts[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert!(counts[1] > 0, "{counts:?}");
    // Who had the key is not kept out by others.
    assert_eq!(call(&gateway, "GET", "/providers", Value::Null).status, 200);
    // Nobody fills the log with it.
    gateway.expect_log(&["wrong admin key"]);
    let lines = gateway.log().iter().filter(|line| line.contains("wrong admin key")).count();
    assert!((1..=4).contains(&lines), "{lines} lines");
}

fn from(ip: IpAddr, to: SocketAddr) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::of(socket.into())
}

#[test]
fn two_authorization_headers_are_refused() {
    let gateway = setup().start();
    let mut client = gateway.client();
    let right = format!("Bearer {KEY_OF_ADMIN}");
    client.ask(&get("/admin/v1/providers").header("authorization", &right).header("authorization", &right));
    let (_, message) = refused(&client.response());
    assert!(message.contains("more than one `authorization` header"), "{message}");
}

fn body(base: &str, key: &str) -> Value {
    json!({ "provider_key": "p", "api_base": base, "api_key": key })
}

#[test]
fn link_local_and_metadata_addresses_are_no_providers() {
    let gateway = setup().start();
    let bases = [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "https://[fe80::1]/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://100.100.100.200",
    ];
    for base in bases {
        let (param, message) = refused(&call(&gateway, "POST", "/providers", body(base, "k")));
        assert!(param == "api_base" && message.contains("ALLOW_LINK_LOCAL_UPSTREAMS"), "{base}: {param} {message}");
    }
    // Written otherwise, it is found when it was resolved: nothing is sent there.
    for base in ["http://2852039166/v1", "http://0xa9fea9fe/v1"] {
        let made = call(&gateway, "POST", "/providers", body(base, "k"));
        assert_eq!(made.status, 201, "{}", made.text());
        let response = gateway.client().call(CHAT.path, CHAT.ask);
        assert_eq!(response.status, 502, "{}", response.text());
        gateway.expect_log(&["link-local or that of a metadata service"]);
        assert_eq!(
            call(&gateway, "DELETE", &format!("/providers/{}", made.json()["provider"]["id"]), Value::Null).status,
            204
        );
    }
    let gateway = setup().env("ALLOW_LINK_LOCAL_UPSTREAMS", "true").start();
    for (n, base) in bases.into_iter().enumerate() {
        let body = json!({ "provider_key": format!("p{n}"), "api_base": base, "api_key": "k" });
        assert_eq!(call(&gateway, "POST", "/providers", body).status, 201, "{base}");
    }
}

/// Whoever writes a provider chooses where its key is sent.
#[test]
fn secrets_of_the_environment_are_not_sent_to_an_address_of_the_writers_choice() {
    let upstream = Fake::answering(|_| answer::json(200, CHAT.answer));
    let secret = "0123456789abcdef0123456789abcdef";
    // A row that stands in the store goes on.
    let stored = ProviderRow { api_key: "env:TEAM_TOKEN".into(), ..chat(&upstream) };
    let own = ProviderRow { api_key: "env:ADMIN_KEY".into(), ..provider("own", "openai", &upstream.url("/v1")) };
    let gateway = setup()
        .provider(stored)
        .provider(own)
        .env("SECRET_KEY", secret)
        .env("TEAM_TOKEN", "token-of-the-team")
        .env("OTHER_TOKEN", "other-token")
        .env("LISTED_TOKEN", "listed-token")
        .env("SECRET_ENV_ALLOW", "LISTED_TOKEN,SECRET_KEY")
        .start();
    let base = upstream.url("/v1");
    for name in ["ADMIN_KEY", "SECRET_KEY", "DB_URL", "OTHER_TOKEN", "HOME", "PATH"] {
        let (param, message) = refused(&call(&gateway, "POST", "/providers", body(&base, &format!("env:{name}"))));
        assert!(param == "api_key" && message.contains(name), "{name}: {param} {message}");
        let (param, _) = refused(&call(&gateway, "PATCH", "/providers/1", json!({ "api_key": format!("env:{name}") })));
        assert_eq!(param, "api_key", "{name}");
        let file = format!("providers:\n  - {{provider_key: f, api_base: '{base}', api_key: 'env:{name}'}}\n");
        assert_eq!(call(&gateway, "POST", "/config/import", json!({ "file": file })).status, 400, "{name}");
    }
    // The own secret was never sent; the other row is served, with a warning.
    for _ in 0..4 {
        assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    }
    for request in upstream.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer token-of-the-team"));
    }
    gateway.expect_log(&["`TEAM_TOKEN`"]);
    gateway.expect_log(&["`ADMIN_KEY`, a secret of this program"]);
    // A change of something else is no new reference.
    assert_eq!(call(&gateway, "PATCH", "/providers/1", json!({ "weight": 2 })).status, 200);
    for name in ["MY_API_KEY", "OPENAI_KEY", "LLM_PROXY_SECRET_X", "LISTED_TOKEN"] {
        let change = json!({ "api_key": format!("env:{name}") });
        assert_eq!(call(&gateway, "PATCH", "/providers/1", change).status, 200, "{name}");
    }
}

#[test]
fn a_stored_key_does_not_follow_its_provider_to_another_host() {
    let params = r#"{"custom_headers":{"x-token":"secret"}}"#;
    let row = ProviderRow { provider_params: params.into(), ..provider("p", "openai", "https://one.invalid/v1") };
    let gateway = setup().provider(row).start();
    let patch = |change: Value| call(&gateway, "PATCH", "/providers/1", change);
    for base in ["https://evil.invalid/v1", "http://one.invalid/v1", "https://one.invalid.evil.invalid/v1"] {
        let (param, message) = refused(&patch(json!({ "api_base": base })));
        assert!(param == "api_key" && message.contains("another host or scheme"), "{base}: {message}");
        // Secret headers must come along, too.
        let (param, _) = refused(&patch(json!({ "api_base": base, "api_key": "new" })));
        assert_eq!(param, "provider_params", "{base}");
        let shown = json!({ "custom_headers": { "x-token": "***" } });
        let (param, _) = refused(&patch(json!({ "api_base": base, "api_key": "new", "provider_params": shown })));
        assert_eq!(param, "provider_params", "{base}");
    }
    // Another path or port of the same server.
    assert_eq!(patch(json!({ "api_base": "https://ONE.invalid:8443/v2" })).status, 200);
    let whole = json!({ "api_base": "https://two.invalid/v1", "api_key": "new", "provider_params": {} });
    assert_eq!(patch(whole).status, 200);
    assert_eq!(patch(json!({ "api_base": "https://three.invalid/v1", "api_key": null })).status, 200);
    assert_eq!(patch(json!({ "api_base": "https://four.invalid/v1" })).status, 200, "there is no key to lose");
}

/// An import is made whole, or not at all.
#[test]
fn an_import_that_fails_changes_nothing() {
    let gateway = setup().no_credentials().start();
    let key = "0".repeat(64);
    let credential = |name: &str| format!("  - {{name: {name}, credential_key: '{key}'}}\n");
    let mut file = "credentials:\n".to_owned();
    (0..500).for_each(|n| file += &format!("  - {{name: n{n}, key: sk-imported-{n}}}\n"));
    let before = call(&gateway, "GET", "/config/version", Value::Null).json()["version"].clone();
    let done = call(&gateway, "POST", "/config/import", json!({ "file": file })).json();
    assert_eq!((&done["added"], &done["same"]), (&json!(500), &json!(0)), "{done}");
    assert_ne!(done["version"], before);
    assert_eq!(
        call(&gateway, "GET", "/audit?limit=1000", Value::Null).json()["entries"].as_array().unwrap().len(),
        500
    );

    // One row of another import can't be written.
    let store = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    store
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON credentials WHEN NEW.name = 'last'
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    let file = format!("credentials:\n  - {{name: first, key: sk-first}}\n{}", credential("last"));
    let response = call(&gateway, "POST", "/config/import", json!({ "file": file }));
    assert_eq!(response.status, 503, "{}", response.text());
    let list = call(&gateway, "GET", "/credentials?search=first", Value::Null).json();
    assert_eq!(list["credentials"], json!([]));
}

/// A short key of the client's own choice is accepted with a warning.
#[test]
fn weak_keys_are_warned_of() {
    let gateway = setup().start();
    let make = |key: &str| call(&gateway, "POST", "/credentials", json!({ "name": "n", "key": key })).json();
    assert!(make("k")["warnings"][0].as_str().unwrap().contains("may be guessed"));
    assert_eq!(make("sk-long-enough-for-anybody").get("warnings"), None);
    assert_eq!(call(&gateway, "POST", "/credentials", json!({ "name": "n" })).json().get("warnings"), None);
    let gateway = Setup::new().env("ADMIN_KEY", "k").start();
    gateway.expect_log(&["WARN", "ADMIN_KEY has fewer than"]);
}
