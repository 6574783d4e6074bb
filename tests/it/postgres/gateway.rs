//! Whole gateways on a database: how changes spread, and what its death costs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use llm_proxy::config::rows::ProviderRow;

use crate::support::postgres::{Db, Server};
use crate::support::*;

const ASK: &str = r#"{"model":"m","messages":[]}"#;
const ANSWER: &str = r#"{"id":"x","choices":[]}"#;

fn answering() -> Fake {
    Fake::answering(|_| answer::json(200, ANSWER))
}

/// A gateway on `db`; the embedded store beside it stays out of use.
fn gateway(db: &Db) -> Setup {
    Setup::new().no_credentials().env("DB_URL", db.url())
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").key(key).body(ASK));
    client.response().status
}

fn health(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    client.ask(&get("/health/ready"));
    let answer = client.response();
    assert_eq!(answer.status, 200);
    answer.json()["store"].as_str().unwrap().to_owned()
}

const ADMIN: &str = "admin-key";

/// Adds a credential through the admin interface; the status.
fn create(gateway: &Gateway, key: &str) -> (u16, String) {
    let mut client = gateway.client();
    client.ask(&post("/admin/v1/credentials").key(ADMIN).body(format!(r#"{{"name":"{key}","key":"{key}"}}"#)));
    let answer = client.response();
    (answer.status, answer.text().to_owned())
}

/// How long until both gateways take `key`, which is written by neither.
fn spread(gateways: [&Gateway; 2], db: &Db, key: &str) -> Duration {
    db.store().create_credential(&credential(key)).unwrap();
    let written = Instant::now();
    for gateway in gateways {
        eventually("the new key is taken", || status(gateway, key) == 200);
    }
    written.elapsed()
}

#[test]
fn a_change_reaches_every_gateway_by_notice_and_without() {
    let (db, provider) = (Db::new(), answering());
    db.store().add_provider(&chat(&provider)).unwrap();
    // By itself, a gateway would look only when this test has failed.
    let rare = HANG.as_secs() * 10;
    let (one, two) =
        (gateway(&db).env("CONFIG_POLL_SECS", rare).start(), gateway(&db).env("CONFIG_POLL_SECS", rare).start());
    println!(
        "a change was in force on two gateways {:?} after its commit, by notice",
        spread([&one, &two], &db, "by-notice")
    );
    drop((one, two));

    let (one, two) = (gateway(&db).env("ADMIN_KEY", ADMIN).start(), gateway(&db).env("CONFIG_POLL_SECS", rare).start());
    assert_eq!(create(&one, "by-admin").0, 201);
    assert_eq!(status(&one, "by-admin"), 200, "in force before the reply");
    eventually("the other one takes it too", || status(&two, "by-admin") == 200);
    drop((one, two));

    db.sql("DROP TRIGGER trg_config_version_notify ON config_version");
    let (one, two) = (gateway(&db).env("CONFIG_POLL_SECS", 1).start(), gateway(&db).env("CONFIG_POLL_SECS", 1).start());
    println!("without notices after {:?}, asking each second", spread([&one, &two], &db, "by-asking"));
    // What is revoked goes the same way.
    let id = db.store().load().unwrap().credentials[0].id;
    db.store().revoke_credential(id).unwrap();
    eventually("the key is refused", || [&one, &two].iter().all(|gateway| status(gateway, "by-notice") == 401));
}

/// Readers of the admin interface get what is known, or an error, within a few seconds.
#[test]
fn admin_reads_do_not_wait_for_a_database_that_hangs() {
    let server = Server::start();
    let db = Db::on(&server);
    db.store().create_credential(&credential(KEY)).unwrap();
    let gateway = gateway(&db).env("ADMIN_KEY", ADMIN).start();
    let read = |path: &str| {
        let began = Instant::now();
        let mut client = gateway.client();
        client.ask(&get(&format!("/admin/v1{path}")).key(ADMIN));
        (client.response(), began.elapsed())
    };
    let (response, _) = read("/credentials");
    assert_eq!((response.status, response.header("x-llm-proxy-stale")), (200, None));
    server.freeze();
    for path in
        ["/credentials", "/credentials/1", "/providers", "/config/version", "/config/problems", "/config/export"]
    {
        let (response, took) = read(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert!(response.header("x-llm-proxy-stale").is_some(), "{path}");
        assert!(took < Duration::from_secs(10), "{path}: {took:?}");
    }
    for path in ["/logs", "/logs/stats", "/error-logs", "/audit", "/prices"] {
        let (response, took) = read(path);
        assert_eq!(response.status, 503, "{path}: {}", response.text());
        assert!(took < Duration::from_secs(10), "{path}: {took:?}");
    }
    server.thaw();
    eventually("it is read again", || read("/credentials").0.header("x-llm-proxy-stale").is_none());
}

#[test]
fn a_database_that_dies_while_serving_changes_nothing_for_clients() {
    let server = Server::start();
    let (db, provider) = (Db::on(&server), answering());
    db.store().add_provider(&chat(&provider)).unwrap();
    db.store().create_credential(&credential(KEY)).unwrap();
    let gateway = gateway(&db).env("CONFIG_POLL_SECS", 1).env("ADMIN_KEY", ADMIN).start();
    assert_eq!((health(&gateway).as_str(), gateway.metric("llm_proxy_store_up")), ("ok", Some(1.0)));
    let (done, received, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !done.load(Ordering::Relaxed) {
                    client.ask(&post("/v1/chat/completions").body(ASK));
                    let answer = client.response();
                    received.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(answer.status != 200 || answer.text() != ANSWER), Ordering::Relaxed);
                }
            });
        }
        for round in 0..2 {
            server.crash();
            eventually("its absence is noticed", || health(&gateway) == "unavailable");
            assert_eq!(gateway.metric("llm_proxy_store_up"), Some(0.0));
            let (refused, reported_text) = create(&gateway, "refused");
            assert!(refused == 503 && reported_text.contains("can't be reached: "), "{refused} {reported_text}");
            let before = received.load(Ordering::Relaxed);
            eventually("requests go on", || received.load(Ordering::Relaxed) > before + 100);
            server.resume();
            // Written before the gateway is back, so that there is no notice of it.
            let key = format!("while-away-{round}");
            db.store().create_credential(&credential(&key)).unwrap();
            eventually("what was missed is read", || status(&gateway, &key) == 200);
            assert_eq!(health(&gateway), "ok");
            // And it listens again.
            let key = format!("after-{round}");
            db.store().create_credential(&credential(&key)).unwrap();
            eventually("changes are heard of again", || status(&gateway, &key) == 200);
            assert_eq!(create(&gateway, &format!("own-{round}")).0, 201);
            assert_eq!(status(&gateway, &format!("own-{round}")), 200, "in force before the reply");
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{} requests while the database died and came back twice", received.load(Ordering::Relaxed));
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

/// What does not fit into a column is the caller's fault; the store is well.
#[test]
fn values_that_the_database_cannot_store_are_refused() {
    let db = Db::new();
    let gateway = gateway(&db).env("ADMIN_KEY", ADMIN).start();
    let mut client = gateway.client();
    let long = "x".repeat(501);
    let rows = [
        ("providers", format!(r#"{{"provider_key":"a","api_base":"http://127.0.0.1:9/{long}"}}"#), "api_base"),
        (
            "providers",
            r#"{"provider_key":"a","api_base":"http://127.0.0.1:9","lua_script":"a\u0000"}"#.into(),
            "lua_script",
        ),
        (
            "providers",
            format!(r#"{{"provider_key":"a","api_base":"http://127.0.0.1:9","provider_type":"{}"}}"#, &long[..51]),
            "provider_type",
        ),
        ("credentials", r#"{"name":"a","key":"k","rate_limit":2147483648}"#.into(), "rate_limit"),
        // Only the database knows of these.
        ("credentials", r#"{"name":"a","key":"k","metadata":{"x":"\u0000"}}"#.into(), "(22P05)"),
        ("credentials", r#"{"name":"a","key":"k","allowed_models":["\u0000"]}"#.into(), "(22P05)"),
    ];
    for (kind, body, displayed) in rows {
        client.ask(&post(&format!("/admin/v1/{kind}")).key(ADMIN).body(body.as_str()));
        let answer = client.response();
        assert!(
            answer.status == 400 && answer.text().contains(displayed),
            "{body}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(health(&gateway), "ok");
    let largest = r#"{"name":"a","key":"k","rate_limit":2147483647,"burst":2147483647,"tokens_per_minute":2147483647}"#;
    client.ask(&post("/admin/v1/credentials").key(ADMIN).body(largest));
    assert_eq!(client.response().status, 201);
}

/// A database that accepts bytes and sends nothing is noticed soon, and used again when it
/// responds.
#[test]
fn silent_database_is_noticed() {
    let server = Server::start();
    let (db, provider) = (Db::on(&server), answering());
    db.store().add_provider(&chat(&provider)).unwrap();
    db.store().create_credential(&credential(KEY)).unwrap();
    let gateway = gateway(&db).env("CONFIG_POLL_SECS", 1).env("ADMIN_KEY", ADMIN).start();
    assert_eq!(health(&gateway), "ok");
    server.freeze();
    let frozen = Instant::now();
    eventually("its silence is noticed", || health(&gateway) == "unavailable");
    println!("a silent database was noticed after {:?}", frozen.elapsed());
    assert_eq!(status(&gateway, KEY), 200);
    server.thaw();
    eventually("it is heard again", || health(&gateway) == "ok");
    assert_eq!(create(&gateway, "after").0, 201);
    assert_eq!(status(&gateway, "after"), 200);
}

#[test]
fn a_gateway_starts_without_the_database_from_its_last_rows() {
    let server = Server::start();
    let (db, provider) = (Db::on(&server), answering());
    db.store().add_provider(&chat(&provider)).unwrap();
    db.store().create_credential(&credential(KEY)).unwrap();
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("data");
    let at = |dir: &Path| {
        gateway(&db)
            .env("DATA_DIR", dir.display())
            .env("SECRET_KEY", "0123456789abcdef0123456789abcdef")
            .env("ADMIN_KEY", ADMIN)
    };
    let first = at(&dir).start();
    db.store().create_credential(&credential("second")).unwrap();
    eventually("the change is in force", || status(&first, "second") == 200);
    let mut first = first;
    first.term();
    first.wait();
    let copy = std::fs::read_to_string(dir.join("snapshot")).unwrap();
    assert!(!copy.contains("pk-upstream") && copy.contains("enc:v1:"), "encrypted, since there is a SECRET_KEY");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.join("snapshot")).unwrap().permissions())
            & 0o777,
        0o600
    );

    server.crash();
    let gateway = at(&dir).start();
    assert_eq!(status(&gateway, KEY), 200);
    assert_eq!(status(&gateway, "second"), 200, "also what was written last");
    assert_eq!(health(&gateway), "unavailable, serving the copy on disk");
    gateway.expect_metric("llm_proxy_config_from_snapshot", 1.0);
    assert_eq!(gateway.metric("llm_proxy_store_up"), Some(0.0));
    assert_eq!(create(&gateway, "refused").0, 503);
    gateway.expect_log(&["starting with the copy of version 3 on disk, since the store PostgreSQL localhost:"]);
    // Without a copy, or with one that is damaged, there is nothing to serve.
    let ended = at(&data.path().join("other")).try_start().err().unwrap();
    assert!(
        ended.stderr.contains("can't be reached")
            && ended.stderr.contains("there is no copy of its rows on this node yet"),
        "{ended:?}"
    );
    std::fs::create_dir(data.path().join("damaged")).unwrap();
    std::fs::write(data.path().join("damaged/snapshot"), copy.replace("enc:v1:", "enc:v1:0")).unwrap();
    let ended = at(&data.path().join("damaged")).try_start().err().unwrap();
    assert!(ended.stderr.contains("is damaged: its checksum is wrong"), "{ended:?}");

    server.resume();
    db.store().create_credential(&credential("third")).unwrap();
    eventually("the database is followed again", || status(&gateway, "third") == 200);
    assert_eq!(health(&gateway), "ok");
    assert_eq!(gateway.metric("llm_proxy_config_from_snapshot"), Some(0.0));
}

#[test]
fn a_poisoned_row_is_never_an_outage() {
    let (db, provider) = (Db::new(), answering());
    db.store().add_provider(&chat(&provider)).unwrap();
    db.store().create_credential(&credential(KEY)).unwrap();
    let gemini = ProviderRow {
        model_mapping: r#"{"g":"g"}"#.into(),
        ..crate::support::provider("gemini", "gemini", &provider.url("/v1"))
    };
    db.store().add_provider(&gemini).unwrap();
    let scripted = ProviderRow {
        model_mapping: r#"{"s":"s"}"#.into(),
        lua_script: Some("function on_request(ctx) end".into()),
        ..crate::support::provider("scripted", "openai", &provider.url("/v1"))
    };
    db.store().add_provider(&scripted).unwrap();
    db.sql(
        "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params) VALUES
         ('bad-base', 'openai', 'no address', 'k', '{}', 1, '{}'),
         ('bad-mapping', 'openai', 'http://127.0.0.1:1', 'k', '{\"re:(\": 7}', -3, '{}'),
         ('bad-params', 'openai', 'http://127.0.0.1:1', 'k', '{}', 1, '[]'),
         ('bad-key', 'openai', 'http://127.0.0.1:1', E'line\\nbreak', '{}', 1, '{}');
         INSERT INTO credentials (credential_key, name, allowed_models, rate_limit) VALUES
         ('not a hash', 'bad-hash', '[]', NULL), (repeat('ab', 32), 'bad-limit', '[]', -1), (repeat('cd', 32), 'bad-list', '{}', NULL)",
    );
    let gateway = gateway(&db).start();
    for _ in 0..5 {
        assert_eq!(status(&gateway, KEY), 200);
    }
    for problem in [
        "provider gemini: type `gemini` is not served by this version",
        "provider scripted: lua_script is not served by this version",
        "provider bad-base: api_base",
        "provider bad-params: provider_params is not a JSON object",
        "provider bad-key: api_key holds a character",
        "credential bad-hash: credential_key is not a SHA-256",
        "credential bad-limit: rate_limit -1",
    ] {
        gateway.expect_log(&[problem]);
    }
    // Never sent in a format that they do not speak.
    let received = provider.requests().len();
    for model in ["g", "s"] {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").body(format!(r#"{{"model":"{model}","messages":[]}}"#)));
        client.response();
    }
    let of_the_rest = provider
        .requests()
        .iter()
        .skip(received)
        .all(|request| request.header("authorization") == Some("Bearer pk-upstream"));
    assert!(of_the_rest);
    // A row that becomes invalid while it is served affects nothing else, and a correction of the
    // row is enough.
    db.sql("UPDATE providers SET api_base = 'nonsense' WHERE provider_key = 'chat'");
    eventually("the row is out", || status(&gateway, KEY) != 200);
    db.sql(&format!("UPDATE providers SET api_base = '{}' WHERE provider_key = 'chat'", provider.url("/v1")));
    eventually("the row is back", || status(&gateway, KEY) == 200);
}

#[test]
fn a_hundred_thousand_credentials_and_a_thousand_providers() {
    let (db, provider) = (Db::new(), answering());
    let store = db.store();
    store.add_provider(&chat(&provider)).unwrap();
    db.sql(
        "INSERT INTO credentials (credential_key, name, allowed_models, rate_limit)
         SELECT encode(sha256(('key-' || n)::bytea), 'hex'), 'team-' || n, '[\"m\", \"gpt-*\"]', 1000 FROM generate_series(1, 100000) n;
         INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping)
         SELECT 'p' || n, 'openai', 'http://127.0.0.1:1/v1', 'k', '{\"x\": \"y\"}' FROM generate_series(1, 1000) n",
    );
    let started = Instant::now();
    let gateway = gateway(&db).env("CONFIG_POLL_SECS", HANG.as_secs() * 10).start();
    println!("serving {:?} after the start", started.elapsed());
    for key in ["key-1", "key-50000", "key-100000"] {
        assert_eq!(status(&gateway, key), 200, "{key}");
    }
    for n in 0..5 {
        let key = format!("one-more-{n}");
        store.create_credential(&credential(&key)).unwrap();
        let written = Instant::now();
        eventually("one more key is taken", || status(&gateway, &key) == 200);
        println!("a change of one row was in force after {:?}", written.elapsed());
    }
    db.sql(&format!("DELETE FROM credentials WHERE name = 'team-{}'", 50_000));
    eventually("one less", || status(&gateway, "key-50000") == 401);
    // Only what changed was read: what did not keeps its place, and its bucket.
    // The log is written behind the moment of effect.
    for change in ["100005 credentials (1 added)", "100004 credentials (1 removed)"] {
        eventually(change, || gateway.log().iter().any(|line| line.contains(change)));
    }
}

#[test]
fn commands_work_on_the_database() {
    let (db, provider) = (Db::new(), answering());
    let ok = |args: &[&str]| {
        let output = db.cli(args);
        let reported_text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {reported_text}");
        (String::from_utf8(output.stdout).unwrap(), reported_text)
    };
    let fails = |args: &[&str], message: &str| {
        let output = db.cli(args);
        let reported_text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && reported_text.contains(message), "{args:?}: {reported_text}");
    };
    assert_eq!(ok(&["migrate", "version"]).0, "0\n");
    let listed = ok(&["migrate", "status"]).0;
    let own: Vec<&str> = listed.lines().find(|line| line.starts_with("2 ")).unwrap().split_whitespace().collect();
    assert_eq!(own[..3], ["2", "own", "pending"], "{listed}");
    let refused = gateway(&db).env("MIGRATE_ON_START", "false").try_start().err().unwrap();
    assert!(
        refused.stderr.contains(
            "lacks the migrations 1 (initial), 2 (own), 3 (tables), 4 (groups), 5 (models), 6 (budgets), 7 (spend), 8 (traces), 9 (prices), 10 (downgrade), 11 (reports), 12 (durations), 13 (audit)"
        ),
        "{refused:?}"
    );
    assert_eq!(ok(&["migrate", "up", "--to", "1"]).0, "applied: 1; the schema is at version 1\n");
    assert_eq!(
        ok(&["migrate", "up"]).0,
        "applied: 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13; the schema is at version 13\n"
    );
    assert_eq!(ok(&["migrate", "up"]).0, "nothing to do, the schema is at version 13\n");

    ok(&["provider", "add", "--key", "chat", "--base", &provider.url("/v1"), "--api-key", "pk-upstream"]);
    let key = ok(&["key", "create", "--name", "team"]).0;
    let gateway = gateway(&db).env("MIGRATE_ON_START", "false").start();
    assert_eq!(status(&gateway, key.trim()), 200);
    assert!(ok(&["key", "list"]).0.contains("team"));
    ok(&["key", "revoke", "team"]);
    eventually("the key is revoked", || status(&gateway, key.trim()) == 401);
    drop(gateway);

    fails(&["migrate", "down"], "loses the data in it; make a backup, then run it again with --yes");
    assert_eq!(ok(&["migrate", "down", "--yes"]).0, "taken back: 13; the schema is at version 12\n");
    assert_eq!(
        ok(&["migrate", "down", "--to", "0", "--yes"]).0,
        "taken back: 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1; the schema is at version 0\n"
    );
    assert_eq!(db.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), ["0"]);
}
