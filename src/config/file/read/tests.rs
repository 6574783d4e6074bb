use super::*;

fn env(name: &str) -> Option<String> {
    (name == "KEY").then(|| "sk-secret".to_owned())
}

#[test]
fn anchors_may_stand_in_members_of_their_own() {
    let text = "
x-base: &base {api_base: http://a/v1, weight: 3}
x-note: 1
providers:
  - {<<: *base, provider_key: a}
";
    let file = read(text, &env).unwrap();
    assert_eq!((&*file.providers[0].api_base, file.providers[0].weight), ("http://a/v1", 3));
    // At the top alone: within a row such a name is a mistake.
    let error = read("providers:\n- {provider_key: a, api_base: http://a, x-b: 1}", &env).unwrap_err();
    assert!(error[0].message.contains("`x-b` is not known here"), "{error:?}");
}

#[test]
fn a_file_is_rows() {
    let text = "
settings: {port: 1234, log_level: debug}
providers:
  - provider_key: a
    api_base: http://a/v1
  - provider_key: b
    provider_type: anthropic
    api_base: http://b
    api_key: ${KEY}
    model_mapping: {z-*: up-$1, a: b}
    weight: 0
    provider_params:
      custom_headers: {x-team: core}
    is_enabled: false
credentials:
  - {name: 7, key: '${KEY}', rate_limit: 5, expires_at: 2027-01-31T00:00:00Z, allowed_models: [gpt-*]}
  - {name: t, credential_key: abc, metadata: {owner: me}}
";
    let file = read(text, &env).unwrap();
    let [a, b] = file.providers.as_slice() else { panic!("{file:?}") };
    assert_eq!((a.provider_type.as_str(), a.model_mapping.as_str(), a.weight, a.is_enabled), ("openai", "{}", 1, true));
    assert_eq!(b.model_mapping, r#"{"z-*":"up-$1","a":"b"}"#);
    assert_eq!((&*b.api_key, b.weight, b.is_enabled), ("sk-secret", 0, false));
    assert_eq!(b.provider_params, r#"{"custom_headers":{"x-team":"core"}}"#);
    let [seven, t] = file.credentials.as_slice() else { panic!("{file:?}") };
    assert_eq!(seven.credential_key, hex::encode(Sha256::digest(b"sk-secret")));
    assert_eq!((seven.name.as_str(), seven.rate_limit, seven.expires_at), ("7", Some(5), Some(1_801_353_600)));
    assert_eq!(seven.allowed_models, r#"["gpt-*"]"#);
    assert_eq!((t.credential_key.as_str(), t.metadata.as_str()), ("abc", r#"{"owner":"me"}"#));
    let settings: Vec<_> = file.settings.iter().map(|setting| (&*setting.name, &*setting.value)).collect();
    assert_eq!(settings, [("PORT", "1234"), ("LOG_LEVEL", "debug")]);
    assert_eq!(file.rows().providers[1].id, 2);
    assert!(!format!("{file:?}").contains("sk-secret"));
    assert_eq!(read("", &env).unwrap(), File::default());
}

#[test]
fn problems() {
    let rows = [
        (
            "x: 1",
            &["line 1: `x` is not known here; known are providers, credentials, groups, models, budgets, settings"][..],
        ),
        ("- a", &["line 1: the file is a list, not a mapping of names to values"]),
        ("providers: {}", &["line 1: providers is a mapping, not a list"]),
        (
            "providers:\n- {}",
            &["line 2: providers[0]: provider_key is missing", "line 2: providers[0]: api_base is missing"],
        ),
        (
            "providers:\n- provider_key: a\n  api_base: x\n  wieght: 1\n  weight: much\n  is_enabled: yes",
            &[
                "line 3: provider a: api_base `x` has no scheme; write it with https:// or http:// in front; the provider is not \
                     served",
                "line 4: provider a: `wieght` is not known here; known are provider_key, provider_type, api_base, api_key, \
                     model_mapping, weight, provider_params, lua_script, is_enabled",
                "line 5: provider a: weight `much` is not a whole number",
                "line 6: provider a: is_enabled `yes` is neither true nor false",
            ],
        ),
        (
            "providers:\n- {provider_key: a, api_base: x}\n- {provider_key: a, api_base: x}",
            &[
                "line 3: provider a: the name is taken, on line 2",
                "line 3: provider a: api_base `x` has no scheme; write it with https:// or http:// in front; the \
                     provider is not served",
            ],
        ),
        // What the compiler finds is reported with the rest.
        (
            "credentials:\n- name: a\n  key: k\n  rate_limit: -1\n- {name: b, rate_limit: -1, colour: red, key: x}\nx: 1",
            &[
                "line 4: credential a: rate_limit -1 is not a number from 0 to 4294967295; the key is refused until that is corrected",
                "line 5: credential b: `colour` is not known here; known are name, key, credential_key, group_name, allowed_models, \
                     rate_limit, burst, tokens_per_minute, max_concurrency, expires_at, previous_key, previous_key_until, metadata, is_enabled",
                "line 5: credential b: rate_limit -1 is not a number from 0 to 4294967295; the key is refused until \
                     that is corrected",
                "line 6: `x` is not known here; known are providers, credentials, groups, models, budgets, settings",
            ],
        ),
        (
            "providers:\n- provider_key: a\n  api_base: https://x/v1\n  weight: '3'\n  is_enabled: 'true'\n  \
             model_mapping: [gpt-5]\n  provider_params: '{\"priority\":1}'",
            &[
                "line 4: provider a: weight `3` is not a whole number; write it without quotes",
                "line 5: provider a: is_enabled `true` is neither true nor false; write it without quotes",
                "line 6: provider a: model_mapping is a list, not a mapping; write it as {NAME: NAME_AT_THE_PROVIDER}",
                "line 7: provider a: provider_params is text, not a mapping; write it as {priority: 1}",
            ],
        ),
        (
            "credentials:\n- {name: a, key: k, expires_at: 1893456000000, metadata: [1], allowed_models: gpt-5}",
            &[
                "line 2: credential a: allowed_models is text, not a list; write it as ['gpt-*']",
                "line 2: credential a: expires_at `1893456000000` is no time; write it as 2027-01-31T00:00:00Z; a \
                 number is seconds since 1970",
                "line 2: credential a: metadata is a list, not a mapping; write it as {note: text}",
            ],
        ),
        (
            "credentials:\n- name: a",
            &["line 2: credential a: key is missing; or give credential_key, its SHA-256 in hex"],
        ),
        (
            "credentials:\n- {name: a, key: k}\n- {name: b, key: k, expires_at: soon}",
            &[
                "line 3: credential b: this key is that of the credential on line 2",
                "line 3: credential b: expires_at `soon` is no time; write it as 2027-01-31T00:00:00Z",
                "line 3: credential b: has the key of credential a, which is the one that counts",
            ],
        ),
        (
            "settings:\n  prot: 1\n  port: [1]\n  db_url: x",
            &[
                "line 2: settings: `prot` is not known; `llm-proxy serve --help` lists all, here in lower case",
                "line 3: settings: port is a list, not one value",
                "line 4: settings: db_url is where the configuration is read from; it cannot be set in the file",
            ],
        ),
    ];
    for (text, expected) in rows {
        let problems: Vec<_> = read(text, &env).unwrap_err().iter().map(FileProblem::to_string).collect();
        assert_eq!(problems, expected, "{text}");
    }
}
