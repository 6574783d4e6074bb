use proptest::prelude::*;

use super::super::rows::{CredentialRow, GroupRow, ProviderRow};
use super::super::snapshot::Credential;
use super::*;
use crate::limit::Bucket;
use llm_wire::Format;

fn provider(id: i64) -> ProviderRow {
    ProviderRow {
        id,
        provider_key: format!("p{id}"),
        provider_type: "openai".into(),
        api_base: "https://api.example.com/v1".into(),
        api_key: "k".into(),
        model_mapping: "{}".into(),
        weight: 1,
        provider_params: "{}".into(),
        is_enabled: true,
        ..ProviderRow::default()
    }
}

fn credential(id: i64) -> CredentialRow {
    CredentialRow {
        id,
        credential_key: format!("{id:064x}"),
        name: format!("c{id}"),
        allowed_models: "[]".into(),
        is_enabled: true,
        ..CredentialRow::default()
    }
}

fn rows(providers: Vec<ProviderRow>, credentials: Vec<CredentialRow>) -> Rows {
    Rows { version: 7, providers, credentials, ..Rows::default() }
}

fn env(name: &str) -> Option<String> {
    (name == "SET").then(|| " from-env\n".to_owned())
}

fn run(rows: &Rows) -> (Snapshot, Vec<Problem>) {
    compile(rows, None, &env)
}

/// Compiles one provider and gives it with the messages of its problems.
fn one(row: ProviderRow) -> (Option<Arc<crate::config::snapshot::Provider>>, Vec<String>) {
    let (snapshot, problems) = run(&rows(vec![row], vec![]));
    (snapshot.providers.into_iter().next(), problems.into_iter().map(|p| p.message).collect())
}

fn one_credential(row: CredentialRow) -> (Option<Arc<Credential>>, Vec<String>) {
    let (snapshot, problems) = run(&rows(vec![], vec![row]));
    (snapshot.credentials.into_values().next(), problems.into_iter().map(|p| p.message).collect())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_type_decides_the_formats_and_the_key_header() {
    use Format::{Chat, Messages, Responses};
    // type, params, formats, auth lines
    let rows: &[(&str, &str, &[Format], &[&str])] = &[
        ("openai", "{}", &[Chat], &["authorization: Bearer k\r\n"]),
        ("OpenAI", "null", &[Chat], &["authorization: Bearer k\r\n"]),
        ("groq", "{}", &[Chat], &["authorization: Bearer k\r\n"]),
        ("azure", "{}", &[Chat], &["api-key: k\r\n"]),
        ("anthropic", "{}", &[Messages], &["x-api-key: k\r\n"]),
        ("Claude", "{}", &[Messages], &["x-api-key: k\r\n"]),
        ("response_api", "{}", &[Responses], &["authorization: Bearer k\r\n"]),
        ("response-api", "{}", &[Responses], &["authorization: Bearer k\r\n"]),
        ("responses", "{}", &[Responses], &["authorization: Bearer k\r\n"]),
        (
            "openai",
            r#"{"formats":["messages","chat","chat"]}"#,
            &[Messages, Chat],
            &["x-api-key: k\r\n", "authorization: Bearer k\r\n"],
        ),
        ("azure", r#"{"formats":["responses","chat"]}"#, &[Responses, Chat], &["api-key: k\r\n", "api-key: k\r\n"]),
    ];
    for (provider_type, params, formats, auth) in rows {
        let row =
            ProviderRow { provider_type: (*provider_type).into(), provider_params: (*params).into(), ..provider(1) };
        let (provider, problems) = one(row);
        let provider = provider.unwrap();
        assert_eq!(problems, [""; 0], "{provider_type}");
        assert_eq!(provider.formats, *formats, "{provider_type} {params}");
        assert_eq!(provider.auth.iter().map(|line| text(line)).collect::<Vec<_>>(), *auth, "{provider_type} {params}");
    }
}

#[test]
fn what_a_provider_may_get_wrong() {
    let with = |edit: fn(&mut ProviderRow)| {
        let mut row = provider(1);
        edit(&mut row);
        row
    };
    // row, whether it is served, what the one problem says
    let rows: Vec<(ProviderRow, bool, &str)> = vec![
        (with(|r| r.provider_type = "gemini".into()), false, "type `gemini` is not served by this version"),
        (with(|r| r.provider_type = "GCP-Vertex".into()), false, "is not served by this version"),
        (with(|r| r.lua_script = Some("x".into())), false, "lua_script is not served by this version"),
        (with(|r| r.provider_key = String::new()), false, "provider_key is empty"),
        (with(|r| r.api_base = "api.example.com".into()), false, "api_base `api.example.com` has no scheme"),
        (with(|r| r.api_key = "env:UNSET".into()), false, "environment variable `UNSET`"),
        (with(|r| r.api_key = "a\r\nhost: b".into()), false, "is not allowed in a header"),
        (with(|r| r.provider_params = "{".into()), false, "provider_params is not JSON"),
        (with(|r| r.provider_params = "[]".into()), false, "provider_params is not a JSON object"),
        (with(|r| r.provider_params = r#"{"formats":"chat"}"#.into()), false, "not a list of strings"),
        (with(|r| r.provider_params = r#"{"formats":[]}"#.into()), false, "names no format"),
        (with(|r| r.provider_params = r#"{"formats":["chat","soap"]}"#.into()), true, "`soap` is not a format"),
        (with(|r| r.provider_params = r#"{"custom_headers":[]}"#.into()), false, "custom_headers is not a JSON object"),
        (with(|r| r.provider_params = r#"{"custom_headers":{"a b":"x"}}"#.into()), true, "`a b` is not a header name"),
        (with(|r| r.provider_params = r#"{"custom_headers":{"Host":"x"}}"#.into()), true, "llm-proxy itself"),
        (with(|r| r.provider_params = r#"{"custom_headers":{"x":"s\r\nt"}}"#.into()), true, "line break"),
        (with(|r| r.provider_params = r#"{"custom_headers":{"x":null}}"#.into()), true, "not a string"),
        (with(|r| r.provider_params = r#"{"limts":{}}"#.into()), true, "`limts` is not known; did you mean `limits`?"),
        (
            with(|r| r.provider_params = r#"{"limits":{"max_concurrency":-1}}"#.into()),
            false,
            "limits: max_concurrency -1 is not a whole number from 0 to 4294967295",
        ),
        (with(|r| r.provider_params = r#"{"limits":5}"#.into()), false, "limits is not a JSON object"),
        (
            with(|r| r.provider_params = r#"{"timeouts":{"connect":"x"}}"#.into()),
            true,
            "timeouts: invalid type: string \"x\", expected a number; the provider has",
        ),
        (
            with(|r| r.provider_params = r#"{"tls":5}"#.into()),
            false,
            "tls: invalid type: integer `5`, expected an object",
        ),
        (with(|r| r.weight = -1), true, "weight -1 is below 0"),
        (with(|r| r.weight = i64::MAX), true, "is above 1000000"),
        (with(|r| r.model_mapping = "[]".into()), true, "model_mapping is not a JSON object"),
        (with(|r| r.model_mapping = r#"{"re:(":"x"}"#.into()), true, "is not a regular expression"),
    ];
    for (row, served, message) in rows {
        let shown = format!("{row:?}");
        let (provider, problems) = one(row);
        assert_eq!(provider.is_some(), served, "{shown}");
        assert!(problems.len() == 1 && problems[0].contains(message), "{shown}: {problems:?}");
    }
}

#[test]
fn all_problems_of_a_row_are_reported() {
    let row = ProviderRow { api_base: "x".into(), api_key: "env:UNSET".into(), weight: -1, ..provider(1) };
    assert_eq!(one(row).1.len(), 3);
}

#[test]
fn keys_headers_and_weights() {
    let params = r#"{"custom_headers":{"X-Org":"acme","Authorization":"Basic b","x-org":"last","n":1},"formats":["chat","messages"]}"#;
    let (found, problems) = one(ProviderRow { provider_params: params.into(), weight: 0, ..provider(1) });
    let found = found.unwrap();
    assert_eq!(problems, [""; 0]);
    assert_eq!(text(&found.extra_headers), "authorization: Basic b\r\nx-org: last\r\nn: 1\r\n");
    // The custom header stands for the key where both would be the same one.
    assert_eq!((text(&found.auth[0]), text(&found.auth[1])), ("", "x-api-key: k\r\n"));
    assert_eq!(found.own_header_names, ["authorization", "n", "x-api-key", "x-org"]);
    assert_eq!(found.weight, 0);

    let (from_env, _) = one(ProviderRow { api_key: "env:SET".into(), ..provider(1) });
    assert_eq!(text(&from_env.unwrap().auth[0]), "authorization: Bearer from-env\r\n");
    let (keyless, problems) = one(ProviderRow { api_key: "".into(), ..provider(1) });
    let keyless = keyless.unwrap();
    assert!(keyless.auth[0].is_empty() && keyless.own_header_names.is_empty() && problems.is_empty());
}

#[test]
fn order_duplicates_and_disabled_rows() {
    let twin = ProviderRow { provider_key: "p1".into(), ..provider(3) };
    let off = ProviderRow { is_enabled: false, api_base: "nonsense".into(), ..provider(4) };
    let (snapshot, problems) = run(&rows(vec![twin, provider(2), off, provider(1)], vec![]));
    assert_eq!(snapshot.version, 7);
    assert_eq!(snapshot.providers.iter().map(|p| p.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((snapshot.provider(2).unwrap().id, snapshot.provider(3).is_none()), (2, true));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].object, "provider p1");
    assert!(problems[0].message.contains("the one with id 3 is not served"), "{}", problems[0].message);

    let twin = CredentialRow { credential_key: credential(1).credential_key, ..credential(5) };
    let off = CredentialRow { is_enabled: false, ..credential(6) };
    let (snapshot, problems) = run(&rows(vec![], vec![twin, off, credential(1)]));
    assert_eq!(snapshot.credentials.values().map(|c| c.id).collect::<Vec<_>>(), [1]);
    assert_eq!((snapshot.credential(1).unwrap().id, snapshot.credential(5).is_none()), (1, true));
    assert!(problems[0].object == "credential c5" && problems[0].message.contains("credential c1"), "{problems:?}");
}

#[test]
fn an_invalid_credential_never_gets_more_rights() {
    let with = |edit: fn(&mut CredentialRow)| {
        let mut row = credential(1);
        edit(&mut row);
        row
    };
    // row, whether it is served, what the one problem says
    let rows: Vec<(CredentialRow, bool, &str)> = vec![
        (with(|r| r.credential_key = "sk-plain".into()), false, "not a SHA-256"),
        (with(|r| r.credential_key.push('0')), false, "not a SHA-256"),
        (with(|r| r.rate_limit = Some(-1)), false, "rate_limit -1"),
        (with(|r| r.rate_limit = Some(i64::MAX)), false, "rate_limit 9223372036854775807"),
        (with(|r| (r.rate_limit, r.burst) = (Some(1), Some(-1))), false, "burst -1"),
        (with(|r| (r.rate_limit, r.burst) = (Some(1), Some(0))), false, "burst 0"),
        (with(|r| r.burst = Some(5)), true, "burst means nothing without rate_limit"),
        (with(|r| r.allowed_models = "{}".into()), true, "allows no model"),
        (with(|r| r.allowed_models = r#"["re:("]"#.into()), true, "is not a regular expression"),
    ];
    for (row, served, message) in rows {
        let (found, problems) = one_credential(row.clone());
        assert_eq!(found.is_some(), served, "{row:?}");
        assert!(problems.len() == 1 && problems[0].contains(message), "{row:?}: {problems:?}");
        assert!(!problems[0].contains("sk-plain"), "{problems:?}");
    }
    let (broken, _) = one_credential(CredentialRow { allowed_models: "{".into(), ..credential(1) });
    assert!(!broken.unwrap().allowed.allows("gpt-4"));
}

#[test]
fn limits() {
    // rate_limit, burst, the bucket's rate and burst
    let rows = [
        (None, None, None),
        (Some(0), None, Some((0, 0))),
        (Some(0), Some(0), Some((0, 0))),
        (Some(5), None, Some((5, 5))),
        (Some(5), Some(20), Some((5, 20))),
    ];
    for (rate_limit, burst, expected) in rows {
        let (found, problems) = one_credential(CredentialRow { rate_limit, burst, ..credential(1) });
        assert_eq!(found.unwrap().limits.settings().requests, expected);
        assert_eq!(problems, [""; 0]);
    }
    for (tokens_per_minute, max_concurrency) in [(None, Some(0)), (Some(0), None), (Some(1000), Some(3))] {
        let row = CredentialRow { tokens_per_minute, max_concurrency, ..credential(1) };
        let found = one_credential(row).0.unwrap().limits.settings();
        assert_eq!((found.tokens.map(i64::from), found.at_once.map(i64::from)), (tokens_per_minute, max_concurrency));
    }
}

#[test]
fn a_bucket_outlives_a_reload_that_does_not_change_its_limit() {
    let limited = |id, rate, burst| CredentialRow { rate_limit: Some(rate), burst, ..credential(id) };
    let (before, _) =
        run(&rows(vec![], vec![limited(1, 5, None), limited(2, 5, None), limited(3, 5, None), credential(4)]));
    let bucket = |snapshot: &Snapshot, id| -> Option<Arc<Bucket>> {
        snapshot.credentials.values().find(|c| c.id == id).and_then(|c| c.limits.requests.clone())
    };
    // 1: only its name, key and list change; 2: another rate; 3: another burst; 4: a limit where
    // there was none.
    let rotated = CredentialRow {
        credential_key: "ab".repeat(32),
        name: "renamed".into(),
        allowed_models: r#"["x"]"#.into(),
        ..limited(1, 5, Some(5))
    };
    let after = rows(vec![], vec![rotated, limited(2, 6, None), limited(3, 5, Some(9)), limited(4, 5, None)]);
    let (after, _) = compile(&after, Some(&before), &env);
    let kept = |id| Arc::ptr_eq(&bucket(&before, id).unwrap(), &bucket(&after, id).unwrap());
    assert!(kept(1) && !kept(2) && !kept(3));
    assert!(bucket(&before, 4).is_none() && bucket(&after, 4).is_some());
    let (again, _) = compile(&rows(vec![], vec![limited(2, 5, None)]), Some(&before), &env);
    let hash = again.credentials.keys().next().unwrap();
    assert!(Arc::ptr_eq(&again.credentials[hash], &before.credentials[hash]), "nothing changed in this one");
    let kept = bucket(&after, 1).unwrap();
    assert!(kept.take(1, 1).is_ok() && kept.level(1).left == 4);
}

fn group(id: i64, name: &str, parent: Option<&str>) -> GroupRow {
    GroupRow {
        id,
        name: name.into(),
        parent: parent.map(Into::into),
        allowed_models: "[]".into(),
        is_enabled: true,
        ..GroupRow::default()
    }
}

fn in_group(id: i64, name: &str) -> CredentialRow {
    CredentialRow { group_name: Some(name.into()), ..credential(id) }
}

#[test]
fn groups_are_chains_without_circles_of_a_bounded_depth() {
    let mut groups: Vec<_> =
        (0..10).map(|n| group(n + 1, &format!("g{n}"), (n > 0).then(|| format!("g{}", n - 1)).as_deref())).collect();
    groups.extend([group(20, "a", Some("b")), group(21, "b", Some("a")), group(22, "lost", Some("nowhere"))]);
    let credentials = (0..10).map(|n| in_group(n + 1, &format!("g{n}")));
    let credentials = credentials.chain([in_group(20, "a"), in_group(22, "lost"), in_group(23, "none")]).collect();
    let rows = Rows { credentials, groups, ..Rows::default() };
    let (snapshot, problems) = run(&rows);
    let depths: Vec<_> = snapshot.credentials_by_id.iter().map(|row| row.groups().len()).collect();
    assert_eq!(depths, [1, 2, 3, 4, 5, 6, 7, 8], "eight levels at most");
    let first = snapshot.credentials_by_id[2].groups().iter().map(|group| &*group.name).collect::<Vec<_>>();
    assert_eq!(first, ["g2", "g1", "g0"], "the innermost first");
    let reports = |object: &str, words: &str| {
        assert!(problems.iter().any(|p| p.object == object && p.message.contains(words)), "{object}: {problems:?}");
    };
    reports("group g8", "more than 8 groups");
    reports("group a", "leads back to `a`");
    reports("group b", "leads back to `b`");
    reports("group lost", "parent names `nowhere`");
    reports("credential c20", "a group that can't be used");
    reports("credential c23", "there is no such group");

    // Buckets and scopes outlive a reload that does not change them.
    let (again, _) = compile(&rows, Some(&snapshot), &env);
    assert!(Arc::ptr_eq(&again.credentials_by_id[3], &snapshot.credentials_by_id[3]));
    let mut other = rows.clone();
    other.groups[1].rate_limit = Some(5);
    let (again, _) = compile(&other, Some(&snapshot), &env);
    let same = |id: usize| Arc::ptr_eq(&again.credentials_by_id[id], &snapshot.credentials_by_id[id]);
    assert!(same(0) && !same(1) && !same(7), "those below the group that changed");
}

#[test]
fn a_broken_or_disabled_group_gives_its_credentials_nothing() {
    let broken = GroupRow { rate_limit: Some(-1), ..group(1, "broken", None) };
    let off = GroupRow { is_enabled: false, ..group(2, "off", None) };
    let below = group(3, "below", Some("off"));
    let credentials = vec![in_group(1, "broken"), in_group(2, "off"), in_group(3, "below"), credential(4)];
    let (snapshot, problems) = run(&Rows { credentials, groups: vec![broken, off, below], ..Rows::default() });
    assert_eq!(snapshot.credentials_by_id.iter().map(|row| row.id).collect::<Vec<_>>(), [4]);
    let objects: Vec<_> = problems.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(objects, ["group broken", "credential c1"], "who disables a group means it");
}

/// Everything that a snapshot holds, by the row it came from.
fn parts(snapshot: &Snapshot, without: i64) -> Vec<String> {
    let providers = snapshot.providers.iter().filter(|p| p.id != without).map(|p| format!("{p:?}"));
    let mut credentials: Vec<_> = snapshot.credentials.values().filter(|c| c.id != without).collect();
    credentials.sort_by_key(|c| c.id);
    // A set prints in any order, so the list stands for it.
    let credentials = credentials.into_iter().map(|c| {
        let allowed: Vec<_> = c.allowed.entries().collect();
        format!("{} {} {:?} {allowed:?} {:?} {:?}", c.id, c.name, c.hash, c.limits, c.expires_at)
    });
    providers.chain(credentials).collect()
}

/// Values for columns, half of them random, half nearly valid.
fn poison() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        r#"[\[\]{}"a*:,.()|re]{0,24}"#,
        r#"(https?|ftp)://[a-z@:\[\]/?#]{0,16}"#,
        r#"\{"(formats|custom_headers|re:\(|a\*)":(\[|\]|\{|\}|"|null|1|x){0,4}\}?"#,
        Just("\0\r\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_poisoned_row_changes_nothing_but_itself(
        texts in prop::collection::vec(poison(), 9),
        numbers in prop::collection::vec(prop::option::of(any::<i64>()), 4),
        at in 0usize..3,
    ) {
        const POISONED: i64 = 99;
        let mut good = rows(vec![provider(1), provider(2)], vec![credential(1), credential(2)]);
        good.providers[1].model_mapping = r#"{"gpt-*":"x-*"}"#.into();
        good.credentials[1].rate_limit = Some(3);
        let (expected, problems) = run(&good);
        prop_assert!(problems.is_empty());

        let mut bad = good.clone();
        bad.providers.insert(at, ProviderRow {
            id: POISONED,
            provider_key: format!("poisoned {}", texts[0]),
            provider_type: texts[1].clone(),
            api_base: texts[2].clone(),
            api_key: texts[3].clone().into(),
            model_mapping: texts[4].clone(),
            weight: numbers[0].unwrap_or(1),
            provider_params: texts[5].clone(),
            is_enabled: true,
            ..ProviderRow::default()
        });
        bad.credentials.insert(at, CredentialRow {
            id: POISONED,
            credential_key: texts[6].clone(),
            name: texts[7].clone(),
            allowed_models: texts[8].clone(),
            rate_limit: numbers[1],
            burst: numbers[2],
            expires_at: numbers[3],
            is_enabled: true,
            ..CredentialRow::default()
        });
        let (snapshot, problems) = run(&bad);
        prop_assert_eq!(parts(&snapshot, POISONED), parts(&expected, POISONED));
        for problem in problems {
            prop_assert!(problem.object.starts_with("provider poisoned") || problem.object.starts_with("credential "));
        }
    }
}
