//! The embedded store, as its users see it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{HANG, Removals};
use llm_proxy::config::rows::{CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::sqlite::{FILE, Sqlite};
use llm_proxy::control_plane::store::{Change, Changes, Fault};

fn provider(key: &str) -> ProviderRow {
    ProviderRow {
        provider_key: key.into(),
        provider_type: "openai".into(),
        api_base: "https://api.example.com/v1".into(),
        api_key: "secret".into(),
        model_mapping: r#"{"z":"1","a":"2"}"#.into(),
        weight: 3,
        provider_params: r#"{"custom_headers":{}}"#.into(),
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
        expires_at: Some(1_800_000_000),
        metadata: "{}".into(),
        is_enabled: true,
        ..CredentialRow::default()
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Blocking::embedded(dir.path()).unwrap();
    assert_eq!(store.load().unwrap(), Rows::default());

    let off = ProviderRow { is_enabled: false, lua_script: Some("x".into()), ..provider("b") };
    let ids = [store.add_provider(&provider("a")).unwrap(), store.add_provider(&off).unwrap()];
    let key = store.create_credential(&credential("k")).unwrap();
    let read = store.load().unwrap();
    let made = read.credentials[0].stamp.created_at;
    assert!(made > 1_700_000_000, "{made}");
    let stamp = |version| Stamp { version, created_at: made, updated_at: made };
    let expected = Rows {
        version: 3,
        providers: vec![
            ProviderRow { id: ids[0], stamp: stamp(1), ..provider("a") },
            ProviderRow { id: ids[1], stamp: stamp(2), ..off },
        ],
        credentials: vec![CredentialRow { id: key, stamp: stamp(3), ..credential("k") }],
        ..Rows::default()
    };
    // The clock may strike between two writes.
    let even = |mut rows: Rows| {
        for row in &mut rows.providers {
            (row.stamp.created_at, row.stamp.updated_at) = (made, made);
        }
        rows
    };
    let expected = even(expected);
    assert_eq!(even(read), expected);
    // Another process, later.
    assert_eq!(even(Blocking::embedded(dir.path()).unwrap().load().unwrap()), expected);

    store.remove_provider(ids[0]).unwrap();
    store.revoke_credential(key).unwrap();
    let left = store.load().unwrap();
    assert_eq!((left.version, left.providers.len(), left.credentials.len()), (5, 1, 0));
    let next = store.add_provider(&provider("a")).unwrap();
    assert!(next > ids[1], "an id is never used twice");
}

#[test]
fn conflicts_and_missing_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Blocking::embedded(dir.path()).unwrap();
    store.add_provider(&provider("a")).unwrap();
    store.create_credential(&credential("k")).unwrap();
    let errors = [
        (store.add_provider(&provider("a")).unwrap_err(), Fault::Conflict, "a provider named `a` exists"),
        (store.create_credential(&credential("k")).unwrap_err(), Fault::Conflict, "a credential with this key exists"),
        (store.remove_provider(99).unwrap_err(), Fault::NotFound, "there is no provider with id 99"),
        (store.revoke_credential(99).unwrap_err(), Fault::NotFound, "there is no credential with id 99"),
    ];
    for (error, fault, message) in errors {
        assert_eq!(error.fault, fault);
        assert!(error.message.contains(message), "{error}");
    }
    assert_eq!(store.version().unwrap(), 2, "what failed changed nothing");
}

#[test]
fn a_change_is_seen_whoever_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Blocking::embedded(dir.path()).unwrap();
    let theirs = Blocking::embedded(dir.path()).unwrap();
    let since = ours.load().unwrap().version;
    let (displayed, seen) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let ours = &ours;
        scope.spawn(move || {
            let store = ours.store();
            ours.wait(store.changed(since)).unwrap();
            displayed.send(()).unwrap();
        });
        assert!(seen.try_recv().is_err());
        theirs.add_provider(&provider("a")).unwrap();
        seen.recv_timeout(HANG).expect("a notice of the change");
    });
    match ours.changes(since).unwrap() {
        Changes::Some(delta) => assert_eq!((delta.version, delta.providers.len()), (1, 1)),
        Changes::All(_) => panic!("everything"),
    }
}

#[test]
fn only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("new/data");
    let store = Blocking::embedded(&data).unwrap();
    store.add_provider(&provider("a")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(Sqlite::open(&data).unwrap().path().file_name().unwrap(), FILE);
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn many_may_open_a_new_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (dir, start) = (dir.path(), &start);
            scope.spawn(move || {
                start.wait();
                let store = Blocking::embedded(dir).unwrap();
                store.add_provider(&provider(&format!("p{n}"))).unwrap();
            });
        }
    });
    let rows = Blocking::embedded(dir.path()).unwrap().load().unwrap();
    assert_eq!((rows.version, rows.providers.len()), (8, 8));
}

#[test]
fn invalid_store_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "not a database, but long enough to look like one".repeat(100)).unwrap();
    let error = Sqlite::open(dir.path()).unwrap_err();
    assert!(error.message.contains("is no SQLite file"), "{error}");

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Sqlite::open(&file).unwrap_err();
    assert!(error.message.contains("the data directory"), "{error}");
}

/// A group is read as it was written, alone and among all rows; its removal is known.
#[test]
fn groups_are_rows_like_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Blocking::embedded(dir.path()).unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let store = Blocking::embedded(dir.path()).unwrap();
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
