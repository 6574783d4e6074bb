use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicI64;

use super::*;

fn rows() -> Rows {
    let stamp = Stamp { version: 3, created_at: 1, updated_at: 2 };
    let provider = ProviderRow {
        id: 7,
        provider_key: "p".into(),
        api_key: "sk-\u{1}\u{2028}secret".into(),
        model_mapping: "{\"z\": 1, \"a\":2}".into(),
        lua_script: Some("x".into()),
        is_enabled: true,
        stamp,
        ..ProviderRow::default()
    };
    let credential = CredentialRow {
        id: 1 << 40,
        name: "c".into(),
        rate_limit: Some(-1),
        expires_at: Some(i64::MAX),
        previous_key: Some("k".into()),
        stamp,
        ..CredentialRow::default()
    };
    let group = GroupRow { id: 2, name: "g".into(), parent: Some("h".into()), stamp, ..GroupRow::default() };
    let budget = BudgetRow { id: 3, name: "b".into(), amount: i64::MAX, is_hard: true, stamp, ..BudgetRow::default() };
    let credential = CredentialRow { group_name: Some("g".into()), ..credential };
    let model = ModelRow { id: 3, name: "v".into(), members: "[ \"a\"]".into(), stamp, ..ModelRow::default() };
    let (providers, credentials) = (vec![provider], vec![credential]);
    Rows { version: 9, providers, credentials, groups: vec![group], models: vec![model], budgets: vec![budget] }
}

fn environment(key: &str) -> Environment {
    let process = [("SECRET_KEY".to_owned(), key.into())].into();
    Environment { process, ..Environment::default() }
}

fn place(dir: &Path, key: &str) -> Place {
    Place { path: dir.join("data").join(FILE), store: "PostgreSQL db:1/x".into(), environment: environment(key) }
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn what_is_kept_comes_back() {
    for key in ["", KEY] {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path(), key);
        place.write(&Rows::default()).unwrap();
        place.write(&rows()).unwrap();
        let text = std::fs::read_to_string(&place.path).unwrap();
        assert_eq!(place.read(&text).unwrap(), rows());
        assert_eq!(text.contains("secret"), key.is_empty(), "plain only without SECRET_KEY");
        assert_eq!(std::fs::metadata(&place.path).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = std::fs::read_dir(place.path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[test]
fn what_is_not_as_it_was_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let good = place(dir.path(), KEY).text(&rows()).unwrap();
    let refused = |text: &str, place: &Place| place.read(text).unwrap_err();
    let same = place(dir.path(), KEY);
    for (at, _) in good.char_indices() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        refused(&String::from_utf8(bytes).unwrap(), &same);
        refused(&good[..at], &same);
    }
    assert!(refused(&good, &place(dir.path(), "")).contains("encrypted with the key"));
    let other = Place { store: "PostgreSQL db:1/y".into(), ..same };
    assert!(refused(&good, &other).ends_with("is of another store, PostgreSQL db:1/x"));
}

#[tokio::test]
async fn the_last_rows_are_written_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let version = Arc::new(AtomicI64::new(0));
    let newest = version.clone();
    let source = move || Arc::new(Rows { version: newest.load(Ordering::Relaxed), ..rows() });
    let mut cache = DiskCache::new(dir.path(), "s".into(), Environment::default(), Box::new(source));
    assert_eq!(cache.load(), Ok(None));
    for n in 1..=50 {
        version.store(n, Ordering::Relaxed);
        cache.request_write();
        tokio::task::yield_now().await;
    }
    cache.finish().await;
    assert_eq!(cache.load().unwrap().unwrap().version, 50);
    let source = || Arc::new(Rows::default());
    let again = DiskCache::new(dir.path(), "t".into(), Environment::default(), Box::new(source));
    assert!(again.load().unwrap_err().ends_with("is of another store, s"));
}
