//! Rows that are changed in their place, stores that are not there, and the gateway beside the
//! store.

use llm_proxy::config::rows::{CredentialRow, ProviderRow};
use llm_proxy::control_plane::store::blocking::Blocking;
use serde_json::json;

use super::{ADD, Place, Ran, holds, ran};
use crate::support::{Fake, Setup, answer, chat};

fn providers(place: &Place) -> Vec<ProviderRow> {
    Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap().providers
}

fn keys(place: &Place) -> Vec<CredentialRow> {
    Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap().credentials
}

/// A provider that lists `models`, and answers all else with `{}`.
fn listing(models: &'static str) -> Fake {
    Fake::answering(move |request| match request.target.as_str() {
        "/v1/models" => answer::json(200, models),
        _ => answer::json(200, "{}"),
    })
}

#[test]
fn budgets_are_made_changed_and_removed() {
    let place = Place::new();
    let made = place.good(&["budget", "create", "--name", "b", "--key", "alice", "--amount", "2.5", "--warn-at", "80"]);
    assert_eq!(made, "created budget b with id 1\n");
    place.bad(&["budget", "create", "--name", "c", "--amount", "1"], 2, "required arguments were not provided");
    place.bad(&["budget", "create", "--name", "c", "--tag", "t", "--amount", "x"], 2, "`x` is no amount");
    place.bad(&["budget", "set", "b", "--time-zone", "Mars"], 1, "time_zone `Mars` is none of");
    place.good(&["budget", "set", "b", "--amount", "3", "--period", "day", "--time-zone", "Asia/Tokyo"]);
    place.good(&["budget", "top-up", "b", "0.25"]);
    let json: serde_json::Value = serde_json::from_str(&place.good(&["budget", "list", "--json"])).unwrap();
    let row = &json["budgets"][0];
    assert_eq!(
        (&row["amount"], &row["state"]["left"], &row["scope"]),
        (&json!(3.0), &json!(3.25), &json!("credential"))
    );
    place.good(&["budget", "reset", "1"]);
    assert!(place.good(&["budget", "list"]).contains("credential alice"));
    place.good(&["budget", "disable", "b"]);
    assert_eq!(place.good(&["budget", "remove", "b"]), "removed budget b with id 1\n");
}

#[test]
fn groups_are_made_changed_and_removed() {
    let place = Place::new();
    assert_eq!(
        place.good(&["group", "create", "--name", "company", "--rate-limit", "9"]),
        "created group company with id 1\n"
    );
    place.good(&["group", "create", "--name", "team", "--parent", "company", "--allow", "gpt-*"]);
    place.bad(&["group", "create", "--name", "x", "--parent", "y"], 1, "parent names `y`, and there is no such group");
    place.bad(&["group", "set", "company", "--parent", "team"], 1, "so that the groups are a circle");
    place.good(&["key", "create", "--name", "alice", "--group", "team"]);
    place.bad(&["key", "create", "--name", "bob", "--group", "nobody"], 1, "group_name names `nobody`");
    assert_eq!(keys(&place)[0].group_name.as_deref(), Some("team"));
    place.bad(&["group", "remove", "team"], 1, "group `team` has 1 keys and 0 groups");
    place.good(&["group", "set", "team", "--no-parent", "--tokens-per-minute", "7", "--allow-all"]);
    let listed = place.good(&["group", "list"]);
    assert!(listed.contains("company") && listed.contains("team"), "{listed}");
    place.good(&["group", "disable", "team"]);
    let json: serde_json::Value = serde_json::from_str(&place.good(&["group", "list", "--json"])).unwrap();
    assert_eq!((&json["groups"][1]["is_enabled"], &json["groups"][1]["parent"]), (&json!(false), &json!(null)));
    place.good(&["key", "set", "alice", "--no-group"]);
    assert_eq!(place.good(&["group", "remove", "2"]), "removed group team with id 2\n");
}

#[test]
fn a_provider_is_changed_in_its_place() {
    let place = Place::new();
    place.good(&[ADD, &["--map", "b-*=up-$1", "--map", "a=a1"]].concat());
    assert_eq!(
        place.good(&["provider", "set", "openai", "--weight", "7", "--map", "a=a2", "--map", "c=c1"]),
        "changed provider openai with id 1; it serves b-*, a, c\n"
    );
    let row = providers(&place).remove(0);
    assert_eq!((row.weight, row.model_mapping.as_str()), (7, r#"{"b-*":"up-$1","a":"a2","c":"c1"}"#));
    assert_eq!(&*row.api_key, "sk-secret", "what is not named stays");

    place.good(&["provider", "set", "1", "--unmap", "b-*", "--unmap", "c", "--api-key", "sk-new", "--type", "azure"]);
    place.good(&["provider", "set", "1", "--base", "https://x/v1", "--params", r#"{"host":"vllm"}"#]);
    let row = providers(&place).remove(0);
    assert_eq!((&*row.api_key, row.model_mapping.as_str()), ("sk-new", r#"{"a":"a2"}"#));
    assert_eq!((row.api_base.as_str(), row.provider_type.as_str()), ("https://x/v1", "azure"));
    place.good(&["provider", "set", "1", "--map-all"]);
    assert_eq!(providers(&place)[0].model_mapping, "{}");
    let narrowed = place.run(&["provider", "set", "1", "--map", "only=this"]);
    assert!(narrowed.stderr.contains("warning: it served every model; from now on"), "{}", narrowed.stderr);

    place.bad(&["provider", "set", "openai"], 2, "the following required arguments were not provided");
    place.bad(&["provider", "set", "openai", "--unmap", "x"], 1, "`x` is not in its mapping");
    place.bad(&["provider", "set", "openai", "--unmap", "only"], 1, "which serves every model; disable it");
    place.bad(&["provider", "set", "openai", "--base", "x"], 1, "provider openai is not changed, for it would have");
    place.bad(&["provider", "set", "nobody", "--weight", "1"], 1, "there is no provider with the name or id `nobody`");

    assert_eq!(place.good(&["provider", "disable", "openai"]), "disabled provider openai with id 1\n");
    assert!(place.good(&["provider", "list"]).contains("disabled"));
    assert_eq!(place.good(&["provider", "enable", "1"]), "enabled provider openai with id 1\n");
    assert!(providers(&place)[0].is_enabled);
}

#[test]
fn a_key_sealed_elsewhere_does_not_keep_a_weight_from_being_set() {
    let place = Place::new();
    let sealed = ran(place.command(ADD).env("SECRET_KEY", "0123456789abcdef0123456789abcdef").output().unwrap());
    assert_eq!(sealed.code, 0, "{}", sealed.stderr);
    let before = providers(&place).remove(0).api_key;
    place.good(&["provider", "set", "openai", "--weight", "2"]);
    let row = providers(&place).remove(0);
    assert!(row.weight == 2 && row.api_key == before && before.starts_with("enc:v1:"));
}

#[test]
fn a_key_is_changed_in_its_place() {
    let place = Place::new();
    let key = place.good(&["key", "create", "--name", "team", "--rate-limit", "5", "--burst", "9", "--allow", "a"]);
    assert_eq!(
        place.good(&["key", "set", "team", "--rate-limit", "20", "--tokens-per-minute", "900", "--allow", "gpt-*"]),
        "changed key team with id 1\n"
    );
    let row = keys(&place).remove(0);
    assert_eq!((row.rate_limit, row.burst, row.tokens_per_minute), (Some(20), Some(9), Some(900)));
    assert_eq!(row.credential_key, llm_proxy::cli::key::hash(key.trim()), "the key stays");
    assert_eq!(row.allowed_models, r#"["gpt-*"]"#);
    place.good(&["key", "set", "1", "--rate-limit", "none", "--allow-all", "--name", "crew", "--max-concurrency", "3"]);
    let row = keys(&place).remove(0);
    assert_eq!((row.rate_limit, row.burst, row.max_concurrency), (None, None, Some(3)));
    assert_eq!((row.name.as_str(), row.allowed_models.as_str()), ("crew", "[]"));

    let table = place.good(&["key", "list"]);
    let heading = ["ID", "NAME", "HASH", "RATE/S", "BURST", "TOKENS/MIN", "AT", "ONCE", "EXPIRES", "MODELS", "STATUS"];
    assert!(table.lines().next().unwrap().split_whitespace().eq(heading), "{table}");
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[3..], ["-", "-", "900", "3", "never", "all", "valid"]);

    place.good(&["key", "disable", "crew"]);
    assert!(place.good(&["key", "list"]).contains("disabled"));
    place.good(&["key", "enable", "crew"]);
    assert!(keys(&place)[0].is_enabled);

    place.good(&["key", "set", "crew", "--priority", "high"]);
    assert_eq!(keys(&place)[0].metadata, r#"{"priority":"high"}"#);
    place.good(&["key", "set", "crew", "--priority", "normal"]);
    assert_eq!(keys(&place)[0].metadata, "{}");

    place.good(&["key", "create", "--name", "other", "--priority", "low"]);
    assert_eq!(keys(&place)[1].metadata, r#"{"priority":"low"}"#);
    place.bad(&["key", "set", "other", "--priority", "urgent"], 2, "high, normal, low");
    place.bad(&["key", "set", "other", "--name", "crew"], 1, "a key named `crew` exists (id 1)");
    place.bad(&["key", "set", "other", "--burst", "0", "--rate-limit", "1"], 1, "key other is not changed, for it");
    place.bad(&["key", "set", "other", "--rate-limit", "-1"], 2, "give a whole number or none");
    place.bad(&["key", "set", "other", "--expires-in", "0"], 2, "give a number of days from 1 to 36500, or none");
    place.bad(&["key", "set", "other"], 2, "the following required arguments were not provided");
}

/// A directory that was typed wrong must not become a store.
#[test]
fn commands_that_read_make_nothing() {
    let place = Place::new();
    for command in ["provider", "key"] {
        let displayed =
            "there is no store in the directory ./typo: ./typo/llm-proxy.db does not exist; give --data-dir";
        place.bad(&[command, "list", "--data-dir", "./typo"], 1, displayed);
        let ran = place.run(&[command, "list"]);
        let note = "note: there is no store in the directory ./data: ./data/llm-proxy.db does not exist yet";
        assert!(ran.code == 0 && ran.stdout.is_empty() && ran.stderr.starts_with(note), "{}", ran.stderr);
    }
    assert_eq!(place.json(&["provider", "list", "--json"]), json!({ "version": 0, "providers": [] }));
    place.bad(&["check-config", "--data-dir", "typo"], 1, "there is no store in the directory typo");
    place.bad(&["export", "--data-dir", "typo"], 1, "there is no store in the directory typo");
    place.bad(&["provider", "test", "x", "--data-dir", "typo"], 1, "there is no store in the directory typo");
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0);
}

/// A variable that the shell has not expanded is stored as it is, with a warning.
#[test]
fn keys_that_are_no_keys() {
    let place = Place::new();
    let add = |name: &str, key: &str| -> Ran {
        place.run(&["provider", "add", "--key", name, "--base", "https://x/v1", "--api-key", key])
    };
    for (name, key) in [("a", "${OPENAI}"), ("b", "$OPENAI"), ("c", "os.environ/OPENAI")] {
        let ran = add(name, key);
        let displayed = format!("warning: api_key `{key}` looks like a variable that no shell has filled in");
        assert!(ran.code == 0 && ran.stderr.contains(&displayed), "{key}: {}", ran.stderr);
    }
    for key in ["env:", "env: "] {
        let ran = add("d", key);
        assert!(ran.code == 1 && ran.stderr.contains("api_key is `env:` without the name of a variable"), "{key}");
    }
    for key in ["sk-$x", "a${b}c", "$5-off"] {
        let ran = add(key, key);
        assert!(ran.code == 0 && !ran.stderr.contains("looks like"), "{key}: {}", ran.stderr);
    }
}

/// Two providers that serve every name and that nothing distinguishes.
#[test]
fn overlapping_catch_alls_are_reported() {
    let place = Place::new();
    let add = |key: &str, base: &str| {
        place.run(&["provider", "add", "--key", key, "--base", base, "--api-key", "sk-of-a-provider-1"])
    };
    assert!(!add("one", "http://127.0.0.1:9/v1").stderr.contains("serve every model name"));
    let ran = add("two", "http://127.0.0.2:9/v1");
    let displayed = "warning: the providers `one`, `two` serve every model name";
    assert!(ran.code == 0 && ran.stderr.contains(displayed), "{}", ran.stderr);
    let ran = place.run(&["check-config"]);
    assert_eq!((ran.code, ran.stderr.matches(displayed).count()), (0, 1), "{}", ran.stderr);
}

/// An unset variable is a warning wherever it is written down: it may be set where the gateway
/// runs.
#[test]
fn an_unset_variable_is_judged_alike() {
    let place = Place::new();
    let add = ["provider", "add", "--key", "p", "--base", "http://127.0.0.1:9/v1", "--api-key", "env:NOT_SET_API_KEY"];
    let ran = place.run(&add);
    assert!(ran.code == 0 && ran.stderr.contains("warning: the environment variable NOT_SET_API_KEY is not set here"));
    let why = "api_key takes its value from the environment variable `NOT_SET_API_KEY`, which is not set";
    let ran = place.run(&["check-config"]);
    assert!(ran.code == 0 && ran.stderr.starts_with(&format!("warning: provider p: {why}")), "{}", ran.stderr);

    let file = "providers:\n  - {provider_key: p, api_base: 'http://127.0.0.1:9/v1', api_key: 'env:NOT_SET_API_KEY'}\n";
    std::fs::write(place.0.path().join("gateway.yaml"), file).unwrap();
    let ran = place.run(&["check-config", "gateway.yaml"]);
    assert!(ran.code == 0 && ran.stderr.contains(&format!("warning: gateway.yaml: line 2: provider p: {why}")));
    let path = place.0.path().join("gateway.yaml");
    let gateway = Setup::new().env("CONFIG_FILE", path.display()).env("ADMIN_KEY", "admin").start();
    gateway.expect_log(&[why]);
    drop(gateway);

    let gateway = Setup::new().env("ADMIN_KEY", "admin").start();
    let url = format!("http://{}", gateway.addr);
    let ran = ran_at(&place, &[&add[..], &["--url", &url]].concat());
    let displayed = "warning: the environment variable NOT_SET_API_KEY is not set at this gateway";
    assert!(ran.code == 0 && ran.stderr.contains(displayed), "{}", ran.stderr);
}

fn ran_at(place: &Place, args: &[&str]) -> Ran {
    ran(place.command(args).env("ADMIN_KEY", "admin").output().unwrap())
}

#[test]
fn the_model_list_of_a_provider_is_fetched() {
    let place = Place::new();
    let upstream = listing(r#"{"data":[{"id":"m-1"},{"id":"m-2"}]}"#);
    let base = upstream.url("/v1");
    let add = ["provider", "add", "--key", "p", "--base", &base, "--api-key", "k", "--check"];
    let ran = place.run(&[&add[..], &["--map", "a=m-1", "--map", "b=m-3"]].concat());
    let displayed = "note: the provider lists 2 models; clients could use a, b; not in its list: m-3\n";
    assert!(ran.code == 0 && ran.stderr.contains(displayed), "{}", ran.stderr);
    assert_eq!(place.good(&["provider", "test", "p"]).lines().count(), 1);
    assert_eq!(
        place.good(&["provider", "test", "p", "--model", "a"]),
        "p: the provider lists 2 models; clients could use a, b; not in its list: m-3\np: a answers\n"
    );
    place.good(&["provider", "set", "p", "--map-all"]);
    let all = "p: the provider lists 2 models, all of which would be served: m-1, m-2\n";
    assert_eq!(place.good(&["provider", "test", "p"]), all);

    // What does not answer is not added.
    let wrong = upstream.url("/v2");
    place.bad(
        &["provider", "add", "--key", "q", "--base", &wrong, "--check"],
        1,
        &format!("provider q is not added: {wrong}/models: the answer holds no list of models; is the base right?"),
    );
    let refusing = Fake::answering(|_| answer::json(401, r#"{"error":{"message":"no such user"}}"#));
    let base = refusing.url("/v1");
    let displayed = format!("{base}/models answered with status 401 (no such user); check the key");
    place.bad(&["provider", "add", "--key", "q", "--base", &base, "--check"], 1, &displayed);
    place.bad(
        &["provider", "add", "--key", "q", "--base", "http://127.0.0.1:1/v1", "--check"],
        1,
        "provider q is not added: http://127.0.0.1:1 cannot be reached: ",
    );
    assert_eq!(providers(&place).len(), 1);
}

/// The same by --url, where the gateway does it.
#[test]
fn rows_of_a_gateway_elsewhere_are_changed_in_their_place() {
    let upstream = listing(r#"{"data":[]}"#);
    let row = ProviderRow { model_mapping: r#"{"z":"1","a":"2"}"#.into(), ..chat(&upstream) };
    let gateway = Setup::new().provider(row).env("ADMIN_KEY", "admin").start();
    let (place, url) = (Place::new(), format!("http://{}", gateway.addr));
    let good = |args: &[&str]| {
        let ran = ran_at(&place, &[args, &["--url", &url]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    };
    let stored = || gateway.store().load().unwrap();
    assert_eq!(
        good(&["provider", "set", "chat", "--weight", "5", "--map", "m=3"]),
        "changed provider chat with id 1; it serves z, a, m\n"
    );
    let row = stored().providers.remove(0);
    assert_eq!((row.weight, row.model_mapping.as_str()), (5, r#"{"z":"1","a":"2","m":"3"}"#));
    assert_eq!(good(&["provider", "test", "chat", "--model", "m"]), "chat: m answers\nchat: healthy\n");
    good(&["provider", "disable", "chat"]);
    assert!(!stored().providers[0].is_enabled);
    let ran = ran_at(&place, &["provider", "test", "chat", "--url", &url]);
    assert!(ran.code == 1 && ran.stderr == "error: provider chat is disabled\n", "{}", ran.stderr);
    good(&["provider", "enable", "chat"]);

    good(&["key", "set", "sk-test", "--rate-limit", "7", "--expires-in", "1"]);
    let row = stored().credentials.remove(0);
    assert!(row.rate_limit == Some(7) && row.expires_at.is_some());
    good(&["key", "set", "sk-test", "--rate-limit", "none", "--expires-in", "none"]);
    let row = stored().credentials.remove(0);
    assert_eq!((row.rate_limit, row.expires_at), (None, None));
    good(&["key", "disable", "sk-test"]);
    assert!(!stored().credentials[0].is_enabled);
}

/// A command refuses to write into another store than that of the gateway beside it.
#[test]
fn another_store_than_the_gateways_is_not_written_by_mistake() {
    let gateway = Setup::new().start();
    let place = Place::new();
    let port = gateway.addr.port().to_string();
    let beside = |args: &[&str], dir: Option<&std::path::Path>| {
        let mut command = place.command(args);
        command.env("PORT", &port);
        if let Some(dir) = dir {
            command.env("DATA_DIR", dir);
        }
        ran(command.output().unwrap())
    };
    let create = ["key", "create", "--name", "x"];
    let displayed = format!(
        "error: the gateway at http://127.0.0.1:{port} has another store than this command would write \
         (./data/llm-proxy.db); reach that gateway with --url http://127.0.0.1:{port}, name the directory of its \
         store with --data-dir DIR, or write here all the same with --new-store\n"
    );
    let refused = beside(&create, None);
    assert_eq!((refused.code, refused.stderr.as_str()), (1, displayed.as_str()));
    assert!(!place.0.path().join("data").exists());
    assert_eq!(beside(&["key", "list"], None).code, 0, "reading is no harm");
    let other = Setup::new().start();
    assert_eq!(beside(&create, Some(other.data_dir())).code, 0, "a gateway at another port serves it");

    assert_eq!(beside(&create, Some(gateway.data_dir())).code, 0, "its own store, by whichever path");
    let named = beside(&["key", "create", "--name", "y", "--data-dir", "elsewhere"], None);
    assert!(named.code == 0 && place.0.path().join("elsewhere").exists());
    assert_eq!(beside(&["key", "create", "--name", "x", "--new-store"], None).code, 0);
    assert!(place.0.path().join("data").exists());
    assert_eq!(beside(&["provider", "remove", "1"], None).code, 1);

    let health = place.json(&["health", "--url", &format!("http://127.0.0.1:{port}")]);
    holds(&health, json!({ "status": "ok" }));
    let id = health["store_id"].as_str().unwrap();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

/// A base that is an endpoint is cut, one without its version gets it, and each is reported.
#[test]
fn base_urls_are_corrected_with_a_notice() {
    let place = Place::new();
    let upstream = listing(r#"{"data":[{"id":"m"}]}"#);
    let base = upstream.url("/v1/chat/completions");
    let ran = place.run(&["provider", "add", "--key", "p", "--base", &base, "--api-key", "k"]);
    let displayed = format!(
        "warning: api_base is the address of an endpoint (/chat/completions); its base {} is used\n",
        upstream.url("/v1")
    );
    assert!(ran.code == 0 && ran.stderr.contains(&displayed), "{}", ran.stderr);
    assert_eq!(place.run(&["provider", "test", "p"]).code, 0, "{}", upstream.requests()[0].target);
    let ran = place.run(&["provider", "add", "--key", "o", "--base", "https://api.openai.com", "--api-key", "k"]);
    let displayed =
        "warning: api_base has no path, and the API of this host is under /v1; https://api.openai.com/v1 is used";
    assert!(ran.code == 0 && ran.stderr.contains(displayed), "{}", ran.stderr);
    let list = place.run(&["provider", "list"]);
    assert!(list.stderr.contains("warning: provider o: api_base has no path"), "{}", list.stderr);
}

/// One run names all that is wrong, in sentences.
#[test]
fn a_file_is_judged_whole() {
    let place = Place::new();
    let file = "\
settings:
  port: none
  prot: 1
providers:
  - provider_key: a
    api_base: https://a/v1
    is_enabled: maybe
    weight: -2
    colour: red
  - provider_key: b
    api_base: nonsense
    api_key: ${NOT_SET}
  - {provider_key: c, api_base: 'https://api.openai.com', weight: -1, is_enabled: false}
credentials:
  - {name: t, key: a-key-of-some-length, rate_limit: -3, burst: few}
";
    std::fs::write(place.0.path().join("g.yaml"), file).unwrap();
    let ran = place.run(&["check-config", "g.yaml"]);
    let expected = "\
warning: g.yaml: line 13: provider c: weight -1 is below 0, the least that there is; the provider is a standby, as with weight 0 (it is disabled)
error: g.yaml: line 3: settings: `prot` is not known; `llm-proxy serve --help` lists all, here in lower case
error: g.yaml: line 7: provider a: is_enabled `maybe` is neither true nor false
error: g.yaml: line 8: provider a: weight -2 is below 0, the least that there is; the provider is a standby, as with weight 0
error: g.yaml: line 9: provider a: `colour` is not known here; known are provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params, lua_script, is_enabled
error: g.yaml: line 11: provider b: api_base `nonsense` has no scheme; write it with https:// or http:// in front; the provider is not served
error: g.yaml: line 12: the variable NOT_SET is not set or empty; set it, or write ${NOT_SET:-VALUE}
error: g.yaml: line 15: credential t: burst `few` is not a whole number
error: g.yaml: line 15: credential t: rate_limit -3 is not a number from 0 to 4294967295; the key is refused until that is corrected
error: PORT in line 2 of the configuration file: `none` is invalid; it must be a port from 0 to 65535
";
    let mut command = place.command(&["check-config", "g.yaml"]);
    let without_port = super::ran(command.env_remove("PORT").output().unwrap());
    assert_eq!((ran.code, without_port.stderr.as_str()), (2, expected));
}
