use rusqlite::Connection;

use crate::config::rows::{CredentialRow, ProviderRow};
use crate::control_plane::store::change::{Audit, AuditFilter, Change, IdempotencyKey, PriceChange};
use crate::control_plane::store::logs::PriceRow;
use crate::control_plane::store::migrations;
use crate::control_plane::store::migrations::Migration;
use crate::control_plane::store::sqlite::*;

fn open() -> (tempfile::TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let (connection, _) = file::open(dir.path()).unwrap();
    (dir, connection)
}

fn tables(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
    connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn provider(key: &str) -> ProviderRow {
    ProviderRow {
        provider_key: key.into(),
        model_mapping: "{}".into(),
        provider_params: "{}".into(),
        is_enabled: true,
        ..ProviderRow::default()
    }
}

fn credential(key: &str) -> CredentialRow {
    CredentialRow { credential_key: key.into(), allowed_models: "[]".into(), ..CredentialRow::default() }
}

fn plain(change: Change) -> Write {
    Write { change, audit: Audit::default(), idempotency_key: None }
}

/// Makes a change, and returns its result or the kind of error.
fn make(connection: &mut Connection, change: Change) -> Result<Written, Fault> {
    write(connection, &plain(change))
}

fn write(connection: &mut Connection, write: &Write) -> Result<Written, Fault> {
    let written = write::write_all(connection, std::slice::from_ref(write));
    written.map(|written| written[0]).map_err(|refused| refused.explain(Path::new("x")).fault)
}

fn delta(connection: &mut Connection, since: i64) -> crate::control_plane::store::Delta {
    match rows::changes(connection, since).unwrap() {
        Changes::Some(delta) => delta,
        Changes::All(_) => panic!("everything"),
    }
}

#[test]
fn every_step_can_be_taken_back_and_taken_again() {
    let (_dir, mut connection) = open();
    let full = tables(&connection);
    make(&mut connection, Change::AddProvider(provider("kept"))).unwrap();
    let newest = migrations::SQLITE.last().unwrap();
    let back = |connection: &mut Connection, step: &Migration| {
        connection.execute_batch(step.down).unwrap();
        connection.execute("DELETE FROM llm_proxy_migrations WHERE version = ?1", [step.version]).unwrap();
    };
    // The last step alone: what it adds to is kept.
    back(&mut connection, newest);
    file::migrate(&mut connection, migrations::SQLITE).unwrap();
    assert_eq!(rows::load(&mut connection).unwrap().providers[0].provider_key, "kept");
    for step in migrations::SQLITE.iter().rev() {
        back(&mut connection, step);
    }
    assert_eq!(tables(&connection), ["llm_proxy_migrations"]);
    file::migrate(&mut connection, migrations::SQLITE).unwrap();
    assert_eq!(tables(&connection), full);
}

#[test]
fn a_newer_store_is_left_alone() {
    let (dir, connection) = open();
    connection
        .execute("INSERT INTO llm_proxy_migrations (version, name, checksum) VALUES (999, 'x', 'x')", [])
        .unwrap();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert_eq!(error.fault, Fault::Version);
    assert!(error.message.contains("newer llm-proxy (its schema is 999"), "{error}");
}

#[test]
fn foreign_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let other = Connection::open(dir.path().join(FILE)).unwrap();
    other.execute_batch("CREATE TABLE recipes (id INTEGER)").unwrap();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(error.message.ends_with("is a database of something else; let DATA_DIR be another directory"), "{error}");
    assert_eq!(tables(&other), ["recipes"]);
}

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    let mut connection = Connection::open_in_memory().unwrap();
    let up = "CREATE TABLE a (id INTEGER); CREATE TABLE a (id INTEGER)";
    let broken = Migration { version: 1, name: "broken", up, down: "" };
    assert!(file::migrate(&mut connection, &[broken]).is_err());
    assert_eq!(tables(&connection), [""; 0]);
}

#[test]
fn disk_errors_are_explained() {
    // what limits the store, what is said
    let limits = [
        ("PRAGMA max_page_count = 1", "cannot be written: its disk is full"),
        ("PRAGMA query_only = 1", "cannot be written: the file or its disk is read-only"),
    ];
    for (pragma, message) in limits {
        let (_dir, mut connection) = open();
        connection.execute_batch(pragma).unwrap();
        let large = ProviderRow { api_base: "x".repeat(100_000), ..provider("p") };
        let change = plain(Change::AddProvider(large));
        let error = write::write_all(&mut connection, &[change]).map_err(|e| e.explain(Path::new("x"))).unwrap_err();
        assert_eq!(error.fault, Fault::Unavailable);
        assert!(error.message.ends_with(message), "{error}");
    }
}

#[test]
fn invalid_text_affects_its_own_row_only() {
    let (_dir, mut connection) = open();
    let sql = "INSERT INTO credentials (credential_key, name) VALUES ('a', CAST(x'ff' AS TEXT)), ('b', 'fine')";
    connection.execute_batch(sql).unwrap();
    let names: Vec<_> = rows::load(&mut connection).unwrap().credentials.into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["\u{fffd}", "fine"]);
}

#[test]
fn writes_to_the_logs_are_no_change() {
    let (_dir, connection) = open();
    connection.execute("INSERT INTO request_logs (timestamp, request_id) VALUES (1, 'r')", []).unwrap();
    assert_eq!(rows::version(&connection).unwrap(), 0);
}

#[test]
fn changes_since_a_version_include_all_writers() {
    let (_dir, mut connection) = open();
    let first = make(&mut connection, Change::AddProvider(provider("a"))).unwrap();
    let key = make(&mut connection, Change::AddCredential(credential("k"))).unwrap();
    assert_eq!((first.version, key.version), (1, 2));

    // By hand, as an operator would.
    connection.execute("UPDATE providers SET weight = 7", []).unwrap();
    let seen = delta(&mut connection, 2);
    assert_eq!((seen.version, seen.providers.len(), seen.credentials.len()), (3, 1, 0));
    assert_eq!((seen.providers[0].weight, seen.providers[0].stamp.version), (7, 3));

    connection.execute("DELETE FROM credentials", []).unwrap();
    let seen = delta(&mut connection, 2);
    assert_eq!((seen.version, seen.removed_credentials, seen.removed_providers), (4, vec![key.id], vec![]));
    assert_eq!(delta(&mut connection, 4), crate::control_plane::store::Delta { version: 4, ..Default::default() });

    assert!(matches!(rows::changes(&mut connection, 5).unwrap(), Changes::All(_)), "of the future");
    connection.execute("UPDATE config_version SET version = 1000000", []).unwrap();
    assert!(matches!(rows::changes(&mut connection, 4).unwrap(), Changes::All(_)), "long ago");
}

#[test]
fn an_update_requires_the_version_it_read() {
    let (_dir, mut connection) = open();
    make(&mut connection, Change::AddProvider(provider("a"))).unwrap();
    let read = rows::load(&mut connection).unwrap().providers.remove(0);
    let change = |weight, read: &ProviderRow| Change::UpdateProvider(ProviderRow { weight, ..read.clone() });
    let done = make(&mut connection, change(2, &read)).unwrap();
    assert_eq!(make(&mut connection, change(3, &read)), Err(Fault::Stale));
    let now = rows::load(&mut connection).unwrap().providers.remove(0);
    assert_eq!((now.weight, now.stamp.version), (2, done.version));
    let gone = |row_version| Change::RemoveProvider { id: now.id, row_version };
    assert_eq!(make(&mut connection, gone(Some(1))), Err(Fault::Stale));
    assert!(make(&mut connection, gone(Some(now.stamp.version))).is_ok());
    assert_eq!(make(&mut connection, gone(None)), Err(Fault::NotFound));
    assert_eq!(make(&mut connection, change(4, &now)), Err(Fault::NotFound));
}

#[test]
fn a_price_is_set_where_it_is_the_expected_one() {
    let (_dir, mut connection) = open();
    let price = |model: &str, input: f64| PriceRow { model: model.into(), input: Some(input), ..PriceRow::default() };
    let defaults = || vec![price("a", 1.0), price("b", 2.0)];
    let set = |row, expected, defaults| Change::SetPrice(PriceChange { row, expected, defaults }.into());
    // Two change an empty table at once: the second does not write over what the first has set.
    make(&mut connection, set(price("a", 5.0), Some(price("a", 1.0)), defaults())).unwrap();
    make(&mut connection, set(price("b", 6.0), None, defaults())).unwrap();
    let read = |connection: &Connection| -> Vec<(String, f64)> {
        let mut select = connection.prepare("SELECT model, input FROM prices ORDER BY model").unwrap();
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(read(&connection), [("a".into(), 5.0), ("b".into(), 6.0)]);
    // Two have read the same price.
    let id = make(&mut connection, set(price("a", 7.0), Some(price("a", 5.0)), Vec::new())).unwrap().id;
    let late = set(price("a", 8.0), Some(price("a", 5.0)), Vec::new());
    assert_eq!(make(&mut connection, late), Err(Fault::Stale));
    let remove = |expected: Option<PriceRow>| Change::RemovePrice { id, expected: expected.map(Box::new) };
    assert_eq!(make(&mut connection, remove(Some(price("a", 5.0)))), Err(Fault::Stale));
    assert_eq!(read(&connection)[0].1, 7.0);
    assert!(make(&mut connection, remove(Some(price("a", 7.0)))).is_ok());
    assert_eq!(make(&mut connection, remove(None)), Err(Fault::NotFound));
}

#[test]
fn a_change_with_a_key_happens_once() {
    let (_dir, mut connection) = open();
    let idempotency_key = |fingerprint: &str| Some(IdempotencyKey { key: "k".into(), fingerprint: fingerprint.into() });
    let add = |key: &str, idempotency_key| Write { idempotency_key, ..plain(Change::AddProvider(provider(key))) };
    let first = write(&mut connection, &add("a", idempotency_key("x"))).unwrap();
    let again = write(&mut connection, &add("a", idempotency_key("x"))).unwrap();
    assert_eq!((again.id, again.version, again.repeated), (first.id, first.version, true));
    assert_eq!(write(&mut connection, &add("b", idempotency_key("y"))), Err(Fault::Reused));
    // A day later.
    connection
        .execute("UPDATE idempotency_keys SET created_at = created_at - ?1", [IdempotencyKey::KEPT_SECS])
        .unwrap();
    assert!(!write(&mut connection, &add("b", idempotency_key("y"))).unwrap().repeated);
    // What fails leaves no key behind.
    let other = Some(IdempotencyKey { key: "o".into(), fingerprint: "x".into() });
    assert_eq!(write(&mut connection, &add("a", other.clone())), Err(Fault::Conflict));
    assert!(!write(&mut connection, &add("c", other)).unwrap().repeated);
}

#[test]
fn changes_leave_a_line_in_the_audit_log_and_failures_do_not() {
    let (_dir, mut connection) = open();
    for (n, key) in ["a", "a", "b"].into_iter().enumerate() {
        let audit = Audit { actor: format!("t{n}"), new: Some("{}".into()), ..Audit::default() };
        let _ = write(&mut connection, &Write { audit, ..plain(Change::AddProvider(provider(key))) });
    }
    let lines = rows::audit_log(&connection, &AuditFilter::default(), 9).unwrap().rows;
    let seen: Vec<_> = lines.iter().map(|line| (line.object_id, line.audit.actor.as_str())).collect();
    assert_eq!(seen, [(2, "t2"), (1, "t0")]);
    assert!(lines[0].timestamp > 1_700_000_000_000_000, "{}", lines[0].timestamp);
    let read = |filter: AuditFilter| -> Vec<i64> {
        rows::audit_log(&connection, &filter, 1).unwrap().rows.iter().map(|line| line.id).collect()
    };
    let [first, second] = [lines[1].id, lines[0].id];
    connection.execute("UPDATE audit_log SET timestamp = id", []).unwrap();
    let none = AuditFilter::default;
    assert_eq!(read(AuditFilter { before: Some(second), ..none() }), [first]);
    assert_eq!(read(AuditFilter { actor: Some("T0".into()), ..none() }), [first]);
    assert_eq!(read(AuditFilter { actor: Some("t0".into()), before: Some(second), ..none() }), [first]);
    assert_eq!(read(AuditFilter { actor: Some("t".into()), ..none() }), [second], "the newest of many");
    for literal in ["%", "_", "!", "t_", "t%2"] {
        assert!(read(AuditFilter { actor: Some(literal.into()), ..none() }).is_empty(), "{literal}");
        assert!(read(AuditFilter { object: Some(literal.into()), ..none() }).is_empty(), "{literal}");
    }
    assert_eq!(read(AuditFilter { to: Some(first), ..none() }), [first]);
    assert_eq!(read(AuditFilter { from: Some(second), ..none() }), [second]);
    assert!(read(AuditFilter { from: Some(second + 1), ..none() }).is_empty());
}

/// A search by a text reads a bounded number of lines and returns where it stopped.
#[test]
fn a_search_of_the_audit_log_ends_and_goes_on() {
    let (_dir, connection) = open();
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {} + 3) \
         INSERT INTO audit_log (id, timestamp, actor, action, object, object_id) \
         SELECT i, i, iif(i IN (1, 4), 'rare', 'often'), 'provider.create', 'p', i FROM n",
        AuditFilter::SEARCHED
    );
    connection.execute(&fill, []).unwrap();
    let find = |filter: AuditFilter, limit: u32| {
        let found = rows::audit_log(&connection, &filter, limit).unwrap();
        (found.rows.iter().map(|line| line.id).collect::<Vec<_>>(), found.searched_to)
    };
    let rare = || AuditFilter { actor: Some("rare".into()), ..AuditFilter::default() };
    assert_eq!(find(rare(), 9), (vec![4], Some(4)), "the oldest three are not searched");
    assert_eq!(find(rare(), 1), (vec![4], None), "it has enough");
    assert_eq!(find(AuditFilter { before: Some(4), ..rare() }, 9), (vec![1], None));
    assert_eq!(find(AuditFilter { to: Some(5), ..rare() }, 9), (vec![4, 1], None));
    assert_eq!(find(AuditFilter { object: Some("q".into()), ..AuditFilter::default() }, 9), (vec![], Some(4)));
    assert_eq!(find(AuditFilter { to: Some(2), ..AuditFilter::default() }, 9), (vec![2, 1], None));
}
