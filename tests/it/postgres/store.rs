//! The store alone, through its trait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use llm_proxy::config::rows::{CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::{
    Audit, AuditFilter, Change, Changes, Delta, Fault, IdempotencyKey, Write, Written,
};

use crate::support::postgres::{Db, Server, open};
use crate::support::{HANG, Removals};

fn provider(key: &str) -> ProviderRow {
    ProviderRow {
        provider_key: key.into(),
        provider_type: "openai".into(),
        api_base: "https://api.example.com/v1".into(),
        api_key: "x".repeat(2000).as_str().into(),
        model_mapping: r#"{"z": "1", "a":"2"}"#.into(),
        weight: 3,
        provider_params: r#"{"custom_headers": {}}"#.into(),
        lua_script: Some("return 1".into()),
        is_enabled: true,
        ..ProviderRow::default()
    }
}

fn credential(name: &str) -> CredentialRow {
    CredentialRow {
        credential_key: format!("{name:0>64}"),
        name: name.into(),
        allowed_models: r#"["gpt-*"]"#.into(),
        rate_limit: Some(0),
        burst: Some(7),
        tokens_per_minute: Some(5_000_000_000),
        max_concurrency: Some(3),
        expires_at: Some(1_800_000_000),
        previous_key: Some("ab".into()),
        previous_key_until: Some(1_700_000_000),
        metadata: r#"{"a": 1}"#.into(),
        is_enabled: true,
        ..CredentialRow::default()
    }
}

fn write(store: &Blocking, change: Change) -> Result<Written, llm_proxy::control_plane::store::Error> {
    store.wait(store.store().write(Write { change, audit: Audit::default(), idempotency_key: None }))
}

fn delta(store: &Blocking, since: i64) -> Delta {
    match store.changes(since).unwrap() {
        Changes::Some(delta) => delta,
        Changes::All(_) => panic!("everything, since {since}"),
    }
}

/// Without the times, which nobody can foretell.
fn still(mut rows: Rows) -> Rows {
    let still = |stamp: &mut Stamp| *stamp = Stamp { version: stamp.version, ..Stamp::default() };
    rows.providers.iter_mut().for_each(|row| still(&mut row.stamp));
    rows.credentials.iter_mut().for_each(|row| still(&mut row.stamp));
    rows
}

#[test]
fn what_is_written_is_what_is_read() {
    let db = Db::new();
    let store = db.store();
    assert_eq!(store.load().unwrap(), Rows::default());
    let off = ProviderRow { is_enabled: false, lua_script: None, ..provider("b") };
    let ids = [store.add_provider(&provider("a")).unwrap(), store.add_provider(&off).unwrap()];
    let key = store.create_credential(&credential("k")).unwrap();
    let stamp = |version| Stamp { version, ..Stamp::default() };
    let expected = Rows {
        version: 3,
        providers: vec![
            ProviderRow { id: ids[0], stamp: stamp(1), ..provider("a") },
            ProviderRow { id: ids[1], stamp: stamp(2), ..off },
        ],
        credentials: vec![CredentialRow { id: key, stamp: stamp(3), ..credential("k") }],
        ..Rows::default()
    };
    let read = store.load().unwrap();
    assert!(read.credentials[0].stamp.created_at > 1_700_000_000);
    assert_eq!(still(read), expected);
    assert_eq!(still(db.store().load().unwrap()), expected, "read by another process");

    store.remove_provider(ids[0]).unwrap();
    store.revoke_credential(key).unwrap();
    let left = store.load().unwrap();
    assert_eq!((left.version, left.providers.len(), left.credentials.len()), (5, 1, 0));
    assert!(store.add_provider(&provider("a")).unwrap() > ids[1], "an id is never used twice");
}

#[test]
fn only_changed_rows_are_read_again() {
    let db = Db::new();
    let store = db.store();
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|key| store.add_provider(&provider(key)).unwrap()).collect();
    let key = store.create_credential(&credential("k")).unwrap();
    let all = store.load().unwrap();
    assert_eq!(delta(&store, all.version), Delta { version: 4, ..Delta::default() });

    let changed = ProviderRow { weight: 9, ..all.providers[1].clone() };
    let written = write(&store, Change::UpdateProvider(changed)).unwrap();
    assert_eq!((written.id, written.version, written.repeated), (ids[1], 5, false));
    store.remove_provider(ids[0]).unwrap();
    // By hand, in one statement and in one transaction.
    db.sql("BEGIN; UPDATE credentials SET name = 'other'; DELETE FROM providers WHERE provider_key = 'c'; COMMIT");
    let delta = delta(&store, 4);
    assert_eq!(delta.version, 8);
    let rows: Vec<_> = delta.providers.iter().map(|row| (row.id, row.weight, row.stamp.version)).collect();
    assert_eq!(rows, [(ids[1], 9, 5)]);
    let rows: Vec<_> = delta.credentials.iter().map(|row| (row.id, row.name.as_str(), row.stamp.version)).collect();
    assert_eq!(rows, [(key, "other", 7)]);
    assert_eq!((delta.removed_providers, delta.removed_credentials), (vec![ids[0], ids[2]], vec![]));

    // What no list was kept of, or could be, is everything.
    db.sql("TRUNCATE credentials");
    for since in [8, 100, -200_000] {
        let Changes::All(rows) = store.changes(since).unwrap() else { panic!("a part, since {since}") };
        assert_eq!((rows.version, rows.providers.len(), rows.credentials.len()), (9, 1, 0));
    }
}

/// Two writers whose commits come in the other order than their statements: a reader in between
/// must not skip what the first wrote.
#[test]
fn no_change_is_skipped_however_long_a_transaction_takes() {
    let db = Db::new();
    let store = db.store();
    for key in ["a", "b"] {
        store.add_provider(&provider(key)).unwrap();
    }
    let since = store.load().unwrap().version;
    let slow = "BEGIN; UPDATE providers SET weight = 1 WHERE provider_key = 'a'; SELECT pg_sleep(0.3); COMMIT";
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            db.sql(slow);
            done.store(true, Ordering::Relaxed);
        });
        let fast = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                db.sql("UPDATE providers SET weight = weight + 1 WHERE provider_key = 'b'");
            }
        });
        let (mut since, mut seen) = (since, Vec::new());
        while !fast.is_finished() {
            let delta = delta(&store, since);
            since = delta.version;
            seen.extend(delta.providers.into_iter().map(|row| (row.provider_key, row.weight)));
        }
        seen.extend(delta(&store, since).providers.into_iter().map(|row| (row.provider_key, row.weight)));
        assert!(seen.contains(&("a".into(), 1)), "{seen:?}");
    });
}

#[test]
fn conflicts_stale_versions_and_missing_rows_are_refused() {
    let db = Db::new();
    let store = db.store();
    let id = store.add_provider(&provider("a")).unwrap();
    store.create_credential(&credential("k")).unwrap();
    let row = store.load().unwrap().providers.remove(0);
    write(&store, Change::UpdateProvider(row.clone())).unwrap();
    let version = store.version().unwrap();
    let errors = [
        (store.add_provider(&provider("a")).unwrap_err(), Fault::Conflict, "a provider named `a` exists"),
        (store.create_credential(&credential("k")).unwrap_err(), Fault::Conflict, "a credential with this key exists"),
        (store.remove_provider(99).unwrap_err(), Fault::NotFound, "there is no provider with id 99"),
        (store.revoke_credential(99).unwrap_err(), Fault::NotFound, "there is no credential with id 99"),
        (write(&store, Change::UpdateProvider(row)).unwrap_err(), Fault::Stale, "its version is 3, not 1"),
        (
            write(&store, Change::RemoveProvider { id, row_version: Some(1) }).unwrap_err(),
            Fault::Stale,
            "its version is 3, not 1",
        ),
    ];
    for (error, fault, message) in errors {
        assert_eq!(error.fault, fault, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
    assert_eq!(store.version().unwrap(), version, "what failed changed nothing");
    let long = CredentialRow { name: "x".repeat(300), ..credential("l") };
    let error = store.create_credential(&long).unwrap_err();
    assert!(error.message.contains("a value does not fit into its column"), "{error}");
}

#[test]
fn a_change_with_a_key_is_made_once() {
    let db = Db::new();
    let store = db.store();
    let idempotency_key = |print: &str| Some(IdempotencyKey { key: "k1".into(), fingerprint: print.into() });
    let add = |print: &str| {
        let audit = Audit {
            actor: "admin:ab".into(),
            action: "provider.create".into(),
            object: "a".into(),
            new: Some(r#"{"z":1,"a":2}"#.into()),
            ..Audit::default()
        };
        store.wait(store.store().write(Write {
            change: Change::AddProvider(provider("a")),
            audit,
            idempotency_key: idempotency_key(print),
        }))
    };
    let first = add("p").unwrap();
    assert_eq!(add("p").unwrap(), Written { repeated: true, ..first });
    assert_eq!(add("q").unwrap_err().fault, Fault::Reused);
    db.sql("UPDATE idempotency_keys SET created_at = now() - interval '2 days'");
    assert_eq!(add("p").unwrap_err().fault, Fault::Conflict, "forgotten after a day");

    let log = store.wait(store.store().audit_log(AuditFilter::default(), 10)).unwrap().rows;
    assert_eq!(log.len(), 1);
    assert!(log[0].timestamp > 1_700_000_000_000_000);
    assert_eq!((log[0].object_id, log[0].audit.actor.as_str()), (first.id, "admin:ab"));
    assert_eq!(log[0].audit.new.as_deref(), Some(r#"{"z":1,"a":2}"#), "as it was written");
    let (id, moment, all) = (log[0].id, log[0].timestamp, AuditFilter::default);
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        (AuditFilter { before: Some(id), ..all() }, false),
        (AuditFilter { before: Some(id + 1), actor: text("ADMIN"), object: text("A"), ..all() }, true),
        (AuditFilter { actor: text("cli"), ..all() }, false),
        (AuditFilter { action: text("provider"), ..all() }, true),
        (AuditFilter { action: text("provider.create"), ..all() }, true),
        (AuditFilter { action: text("provid"), ..all() }, false),
        (AuditFilter { object: text("%"), ..all() }, false),
        (AuditFilter { from: Some(moment), to: Some(moment), ..all() }, true),
        (AuditFilter { from: Some(moment + 1), ..all() }, false),
        (AuditFilter { to: Some(moment - 1), ..all() }, false),
    ];
    for (filter, is_found) in filters {
        let found = store.wait(store.store().audit_log(filter.clone(), 10)).unwrap();
        assert_eq!(!found.rows.is_empty(), is_found, "{filter:?}");
    }
}

#[test]
fn a_search_of_the_audit_log_ends_and_goes_on() {
    let db = Db::new();
    let store = db.store();
    store.add_provider(&provider("a")).unwrap();
    db.sql(&format!(
        "DELETE FROM audit_log; INSERT INTO audit_log (id, timestamp, actor, action, object, object_id) \
         SELECT i, to_timestamp(i), CASE WHEN i IN (1, 4) THEN 'rare' ELSE 'often' END, 'provider.create', 'p', i \
         FROM generate_series(1, {} + 3) AS n(i)",
        AuditFilter::SEARCHED
    ));
    let find = |filter: AuditFilter, limit: u32| {
        let found = store.wait(store.store().audit_log(filter, limit)).unwrap();
        (found.rows.iter().map(|line| line.id).collect::<Vec<_>>(), found.searched_to)
    };
    let rare = || AuditFilter { actor: Some("rare".to_owned()), ..AuditFilter::default() };
    assert_eq!(find(rare(), 9), (vec![4], Some(4)), "the oldest three are not searched");
    assert_eq!(find(rare(), 1), (vec![4], None), "it has enough");
    assert_eq!(find(AuditFilter { before: Some(4), ..rare() }, 9), (vec![1], None));
    assert_eq!(find(AuditFilter { to: Some(5_000_000), ..rare() }, 9), (vec![4, 1], None));
}

#[test]
fn a_mapping_keeps_its_order_until_somebody_writes_another() {
    let db = Db::new();
    let store = db.store();
    store.add_provider(&provider("a")).unwrap();
    let mapping = || store.load().unwrap().providers[0].model_mapping.clone();
    assert_eq!(mapping(), r#"{"z": "1", "a":"2"}"#);
    db.sql("UPDATE providers SET weight = 1");
    assert_eq!(mapping(), r#"{"z": "1", "a":"2"}"#);
    // As llm-proxy v1 would, or a person.
    db.sql(r#"UPDATE providers SET model_mapping = '{"z": "1"}'"#);
    assert_eq!(mapping(), r#"{"z": "1"}"#);
}

/// What no admin interface would write: SQL by hand.
#[test]
fn odd_rows_are_read() {
    let db = Db::new();
    let store = db.store();
    store.load().unwrap();
    db.sql(
        "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params) \
         VALUES ('a', '', '', '', '[1, null]', -5, '\"x\"');
         INSERT INTO credentials (credential_key, name, allowed_models, rate_limit, expires_at, previous_key_until, metadata) VALUES \
         ('plain text', '', 'null', -1, 'infinity', '-infinity', '7'), ('', 'b', '{}', NULL, '4000-01-01 BC', NULL, '[]');
         ALTER TABLE providers ALTER COLUMN is_enabled DROP NOT NULL, ALTER COLUMN api_base DROP NOT NULL;
         INSERT INTO providers (provider_key, provider_type, api_base, api_key, is_enabled) VALUES ('b', 'x', NULL, 'k', NULL)",
    );
    let rows = store.load().unwrap();
    let shown: Vec<_> =
        rows.providers.iter().map(|row| (row.model_mapping.as_str(), row.weight, row.is_enabled)).collect();
    assert_eq!(shown, [("[1, null]", -5, true), ("{}", 1, false)]);
    let shown: Vec<_> = rows.credentials.iter().map(|row| (row.expires_at, row.previous_key_until)).collect();
    assert_eq!(shown[0], (Some(i64::MAX), Some(i64::MIN)));
    assert!(shown[1].0.unwrap() < -180_000_000_000, "{shown:?}");
    // And can be written back.
    let row = CredentialRow { name: "named".into(), ..rows.credentials[0].clone() };
    write(&store, Change::UpdateCredential(row)).unwrap();
    assert_eq!(store.load().unwrap().credentials[0].expires_at, Some(i64::MAX));
}

#[test]
fn changes_are_noticed_at_once() {
    let db = Db::new();
    // It asks by itself only after HANG.
    let (ours, theirs) = (db.store(), db.store());
    let since = ours.load().unwrap().version;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let store = ours.store();
            ours.wait(store.changed(since)).unwrap();
            Instant::now()
        });
        theirs.add_provider(&provider("a")).unwrap();
        let written = Instant::now();
        let result = waiting.join().unwrap();
        println!("heard of a change after {:?}", result.saturating_duration_since(written));
        assert!(result - written < HANG);
    });
    assert_eq!(delta(&ours, since).providers.len(), 1);
}

#[test]
fn many_may_open_a_new_database_at_once() {
    let db = Db::new();
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (db, start) = (&db, &start);
            scope.spawn(move || {
                start.wait();
                db.store().add_provider(&provider(&format!("p{n}"))).unwrap();
            });
        }
    });
    let rows = db.store().load().unwrap();
    assert_eq!((rows.version, rows.providers.len()), (8, 8));
}

#[test]
fn tls_in_its_four_modes() {
    let db = Db::new();
    let encrypted = |parameters: &str| -> Result<(), String> {
        let store = open(&format!("{}?{parameters}", db.url()), true);
        store.load().map(drop).map_err(|error| error.message)
    };
    let root = db.root.display();
    for parameters in ["sslmode=disable", "", "sslmode=prefer", "sslmode=require"] {
        encrypted(parameters).unwrap();
    }
    encrypted(&format!("sslmode=verify-full&sslrootcert={root}")).unwrap();
    let error = encrypted("sslmode=verify-full").unwrap_err();
    assert!(error.contains("invalid peer certificate"), "an authority that nobody trusts: {error}");
    // The session itself reports whether it is encrypted.
    let sql = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = ";
    for (parameters, ssl) in [("sslmode=disable", "f"), ("sslmode=prefer", "t"), ("sslmode=require", "t")] {
        let store = open(&format!("{}?{parameters}&application_name={ssl}{}", db.url(), parameters.len()), true);
        store.load().unwrap();
        assert_eq!(db.sql(&format!("{sql}'{ssl}{}'", parameters.len())), [ssl], "{parameters}");
    }
}

#[test]
fn a_socket_of_this_machine() {
    let server = Server::start();
    let db = Db::on(&server);
    let dir = server.dir.display();
    for parameters in ["", "&sslmode=require", "&sslmode=verify-full"] {
        let url = format!("{}?host={dir}&port={}{parameters}", db.url(), server.port);
        open(&url, true).load().unwrap_or_else(|error| panic!("{parameters}: {error}"));
    }
}

#[test]
fn a_server_without_tls() {
    let server = Server::without_tls();
    let db = Db::on(&server);
    let load = |parameters: &str| open(&format!("{}?{parameters}", db.url()), true).load();
    for parameters in ["sslmode=disable", "", "sslmode=prefer"] {
        load(parameters).unwrap();
    }
    for parameters in ["sslmode=require", "sslmode=verify-full"] {
        let error = load(parameters).unwrap_err();
        assert_eq!(error.fault, Fault::Unavailable);
        assert!(error.message.contains("server does not support TLS"), "{error}");
    }
}

#[test]
fn database_errors_are_explained() {
    let db = Db::new();
    let other = |from: &str, to: &str| {
        let url = db.url().replace(from, to);
        open(&url, true).load().unwrap_err()
    };
    let rows = [
        (
            "p@ss",
            "wrong",
            "password authentication failed for user \"gateway\" (28P01); are user and password in DB_URL right",
        ),
        (db.name.as_str(), "nowhere", "database \"nowhere\" does not exist (3D000); create it (`createdb`)"),
        (
            "localhost:",
            "127.0.0.1:1?port=1&dbname=",
            "Connection refused (os error 111); is it running, and does DB_URL name its host",
        ),
        ("localhost", "host.invalid", "can't be reached: "),
    ];
    for (from, to, message) in rows {
        let error = other(from, to);
        assert_eq!(error.fault, Fault::Unavailable);
        assert!(error.message.contains(message) && !error.message.contains("p@ss"), "{error}");
    }
    let error = open(db.url(), false).load().unwrap_err();
    assert_eq!(error.fault, Fault::Version);
    assert!(
        error.message.contains(
            "2 (own), 3 (tables), 4 (groups), 5 (models), 6 (budgets), 7 (spend), 8 (traces), 9 (prices), 10 (downgrade), 11 (reports), 12 (durations), 13 (audit); run `llm-proxy migrate up`"
        ),
        "{error}"
    );
    db.store().load().unwrap();
    open(db.url(), false).load().unwrap();
    db.sql("INSERT INTO llm_proxy_migrations VALUES (99, 'later', 'x')");
    let error = db.store().load().unwrap_err();
    assert!(error.message.contains("was written by a newer llm-proxy (its schema is 99"), "{error}");
}

/// A group is read as it was written, alone and among all rows; its removal is known.
#[test]
fn groups_are_rows_like_others() {
    let db = Db::new();
    let store = db.store();
    let row = GroupRow {
        name: "team".into(),
        parent: Some("company".into()),
        allowed_models: r#"["gpt-*"]"#.into(),
        rate_limit: Some(5),
        burst: Some(7),
        tokens_per_minute: Some(5_000_000_000),
        max_concurrency: Some(3),
        metadata: r#"{"a": 1}"#.into(),
        is_enabled: true,
        ..GroupRow::default()
    };
    let id = store.add_group(&row).unwrap();
    let member = CredentialRow { group_name: Some("team".into()), ..credential("k") };
    store.create_credential(&member).unwrap();
    let rows = store.load().unwrap();
    assert_eq!(rows.groups, [GroupRow { id, stamp: rows.groups[0].stamp, ..row.clone() }]);
    assert_eq!((rows.version, rows.groups[0].stamp.version), (2, 1));
    assert_eq!(rows.credentials[0].group_name.as_deref(), Some("team"));
    assert_eq!(store.add_group(&row).unwrap_err().fault, Fault::Conflict);

    let changed = GroupRow { parent: None, rate_limit: None, burst: None, ..rows.groups[0].clone() };
    let change = |change| store.change("group.update", "team", [None, None], change);
    change(Change::UpdateGroup(changed.clone())).unwrap();
    assert_eq!(change(Change::UpdateGroup(changed.clone())).unwrap_err().fault, Fault::Stale);
    let Changes::Some(delta) = store.changes(2).unwrap() else { panic!("everything") };
    assert_eq!((delta.groups.len(), delta.groups[0].rate_limit, delta.credentials.len()), (1, None, 0));
    change(Change::RemoveGroup { id, row_version: Some(3) }).unwrap();
    let Changes::Some(delta) = store.changes(3).unwrap() else { panic!("everything") };
    assert_eq!((delta.groups.len(), delta.removed_groups), (0, vec![id]));
}

#[test]
fn virtual_models_are_rows_of_their_own() {
    let db = Db::new();
    let store = db.store();
    let row = ModelRow {
        name: "m".into(),
        members: r#"[{"weight": 2, "model":"b"}, "a"]"#.into(),
        overrides: r#"{"z":["a"],"k":["b"]}"#.into(),
        options: "{}".into(),
        is_enabled: true,
        ..ModelRow::default()
    };
    let id = store.add_model(&row).unwrap();
    let error = store.add_model(&row).unwrap_err();
    assert_eq!((error.fault, error.message.contains("a virtual model named `m` exists")), (Fault::Conflict, true));
    let read = store.load().unwrap();
    let stored = read.models[0].clone();
    assert_eq!(ModelRow { id: 0, stamp: Stamp::default(), ..stored.clone() }, row, "texts stay as they are written");
    let change = |change| store.change("model.update", "m", [None, None], change);
    let changed = ModelRow { name: "n".into(), is_enabled: false, ..stored.clone() };
    change(Change::UpdateModel(changed.clone())).unwrap();
    assert_eq!(change(Change::UpdateModel(changed)).unwrap_err().fault, Fault::Stale);
    let Changes::Some(delta) = store.changes(read.version).unwrap() else { panic!("everything") };
    assert_eq!((delta.models.len(), delta.models[0].name.as_str(), delta.models[0].is_enabled), (1, "n", false));
    change(Change::RemoveModel { id, row_version: None }).unwrap();
    let Changes::Some(delta) = store.changes(read.version).unwrap() else { panic!("everything") };
    assert_eq!((delta.models.len(), delta.removed_models), (0, vec![id]));
    let error = change(Change::RemoveModel { id, row_version: None }).unwrap_err();
    assert_eq!(error.message, format!("there is no virtual model with id {id}"));
    assert!(store.add_model(&row).unwrap() > id, "an id is never used twice");
}
