//! A configuration file instead of a store: `--config`, `check-config`, `export`, `import`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use llm_proxy::config::rows::{CredentialRow, ProviderRow};
use llm_proxy::control_plane::store::blocking::Blocking;

use serde_json::{Value, json};

use super::support::postgres::Db;
use super::support::*;

const ASK: &str = r#"{"model":"m","messages":[]}"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As an editor does: a new file takes the old one's place.
    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.env_clear().env("DATA_DIR", self.path("data"));
        if args.first() != Some(&"check-config") {
            // Commands that write look for a gateway at this port, where none is.
            command.env("PORT", "1");
        }
        command.envs(env.iter().copied());
        command.current_dir(self.0.path()).args(args).output().unwrap()
    }

    fn ok(&self, env: &[(&str, &str)], args: &[&str]) -> String {
        let output = self.run(env, args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn status(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").key(key).body(ASK.replace("\"m\"", &format!("\"{model}\""))));
    client.response().status
}

fn file(provider: &Fake, models: &str, more: &str) -> String {
    format!(
        "settings:
  max_attempts: 1
providers:
  - provider_key: main
    api_base: {}
    api_key: ${{UPSTREAM_KEY}}
    model_mapping: {models}
credentials:
  - {{name: team, key: '${{TEAM_KEY:-sk-team}}', rate_limit: 100000}}
{more}",
        provider.url("/v1")
    )
}

#[test]
fn a_file_is_served_and_followed_whole_or_not_at_all() {
    let (place, provider) = (Place::new(), Fake::answering(|_| answer::json(200, r#"{"id":"x"}"#)));
    let path = place.write("gateway.yaml", &file(&provider, "{a: a}", ""));
    let gateway =
        Setup::new().env("CONFIG_FILE", &path).env("UPSTREAM_KEY", "pk-file").env("ADMIN_KEY", "admin-key").start();
    assert_eq!((status(&gateway, "sk-team", "a"), status(&gateway, "sk-team", "b")), (200, 404));
    assert_eq!(status(&gateway, KEY, "a"), 401, "the embedded store is not asked");
    assert_eq!(provider.requests()[0].header("authorization"), Some("Bearer pk-file"));

    place.write("gateway.yaml", &file(&provider, "{b: b}", "  - {name: more, key: sk-more}\n"));
    eventually("the file is taken up", || status(&gateway, "sk-more", "b") == 200);
    assert_eq!(status(&gateway, "sk-team", "a"), 404);

    // A good provider with a bad credential: nothing of it.
    place.write("gateway.yaml", &file(&provider, "{c: c}", "  - {name: bad, key: sk-bad, rate_limit: -1}\n"));
    let refused = || gateway.log().join("\n").matches("is not taken up").count();
    eventually("it is refused", || refused() > 0);
    gateway.expect_log(&["has 1 problems and is not taken up:"]);
    gateway.expect_log(&["line 10: credential bad: rate_limit -1"]);
    assert_eq!((status(&gateway, "sk-team", "b"), status(&gateway, "sk-team", "c")), (200, 404));
    // Gone is no other than bad.
    std::fs::remove_file(place.path("gateway.yaml")).unwrap();
    eventually("its absence is logged", || gateway.log().join("\n").contains("can't be read: No such file"));
    assert_eq!(status(&gateway, "sk-team", "b"), 200);
    place.write("gateway.yaml", &file(&provider, "{d: d}", ""));
    eventually("the corrected file is used", || status(&gateway, "sk-team", "d") == 200);
    assert_eq!(refused(), 1, "logged once");

    // So does the admin interface, which can read.
    let mut client = gateway.client();
    client.ask(&get("/admin/v1/providers").key("admin-key"));
    assert_eq!(client.response().json()["providers"][0]["provider_key"], "main");
    client.ask(&post("/admin/v1/credentials").key("admin-key").body(r#"{"name":"x","key":"sk-x"}"#));
    let answer = client.response();
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("are those of the file"), "{}", answer.text());
    // The commands that write say where to write.
    let output = place.run(&[("CONFIG_FILE", &path), ("UPSTREAM_KEY", "x")], &["key", "create", "--name", "x"]);
    let reported_text = text(&output.stderr);
    assert!(
        !output.status.success()
            && reported_text.contains("are those of the file")
            && reported_text.contains("change them there"),
        "{reported_text}"
    );
}

#[test]
fn a_file_that_can_not_be_served_stops_the_start() {
    let place = Place::new();
    let path = place
        .write("bad.yaml", "settings: {prot: 1}\nproviders:\n- {provider_key: a, api_base: x, api_key: '${NO_KEY}'}");
    let ended = Setup::new().env("CONFIG_FILE", &path).try_start().err().unwrap();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains(&format!("{path}: line 3: the variable NO_KEY is not set")), "{ended:?}");
    let path = place.write("bad.yaml", "settings: {max_attempts: many}");
    let ended = Setup::new().env("CONFIG_FILE", &path).try_start().err().unwrap();
    assert!(ended.stderr.contains("MAX_ATTEMPTS in line 1 of the configuration file: `many` is invalid"), "{ended:?}");
    let path = place.write("bad.yaml", "providers:\n- {provider_key: a, api_base: nonsense}");
    let ended = Setup::new().env("CONFIG_FILE", &path).try_start().err().unwrap();
    assert!(ended.stderr.contains("line 2: provider a: api_base"), "{ended:?}");
    let ended = Setup::new().env("CONFIG_FILE", "/no/such/file").try_start().err().unwrap();
    assert!(ended.stderr.contains("the configuration file /no/such/file can't be read"), "{ended:?}");
}

#[test]
fn check_config_reports_what_would_be_served() {
    let (place, provider) = (Place::new(), Fake::start());
    let good = place.write("good.yaml", &file(&provider, "{a: a, 'gpt-*': x}", ""));
    let reported_text = place.ok(&[("UPSTREAM_KEY", "x")], &["check-config", &good]);
    assert!(reported_text.contains("main      openai") && reported_text.contains("a, gpt-*"), "{reported_text}");
    assert!(reported_text.ends_with("1 of 1 providers and 1 of 1 credentials would be served\n"), "{reported_text}");

    let bad = "providers:
  - provider_key: vertex
    provider_type: gcp-vertex
    api_base: https://vertex.example.com
  - provider_key: mapped
    api_base: http://127.0.0.1:1
    model_mapping:
      're:(': x
settings:
  port: none
";
    let path = place.write("bad.yaml", bad);
    let output = place.run(&[], &["check-config", &path]);
    let reported_text = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        reported_text
            .contains(&format!("{path}: line 3: provider vertex: type `gcp-vertex` is not served by this version")),
        "{reported_text}"
    );
    assert!(reported_text.contains(&format!("{path}: line 8: provider mapped: model_mapping")), "{reported_text}");
    assert!(reported_text.contains("PORT in line 10 of the configuration file: `none` is invalid"), "{reported_text}");
    assert!(text(&output.stdout).contains("0 of 0 credentials"), "{output:?}");
}

/// Without a file it is the store that is looked at, whichever that is.
#[test]
fn check_config_looks_at_every_store() {
    let (place, db) = (Place::new(), Db::new());
    Blocking::embedded(&place.path("data"))
        .unwrap()
        .add_provider(&provider("one", "openai", "http://127.0.0.1:1"))
        .unwrap();
    let reported_text = place.ok(&[], &["check-config"]);
    assert!(
        reported_text.contains("every model")
            && reported_text.ends_with("1 of 1 providers and 0 of 0 credentials would be served\n"),
        "{reported_text}"
    );
    db.store().add_provider(&provider("two", "gcp-vertex", "http://127.0.0.1:1")).unwrap();
    let output = place.run(&[("DB_URL", db.url())], &["check-config"]);
    assert_eq!(output.status.code(), Some(2));
    let reported_text = text(&output.stderr);
    assert!(reported_text.contains("provider two: type `gcp-vertex` is not served by this version"), "{reported_text}");
    assert_eq!(text(&output.stdout), "0 of 1 providers and 0 of 0 credentials would be served\n");
    let path = place.write("bad.yaml", "providers:\n- {provider_key: a, api_base: nonsense}");
    let output = place.run(&[("CONFIG_FILE", &path)], &["check-config"]);
    assert!(!output.status.success() && text(&output.stderr).contains("line 2: provider a: api_base"), "{output:?}");
}

/// The environment goes before the settings of a file, which `check-config` says of each.
#[test]
fn settings_of_a_file_that_have_no_effect_are_named() {
    let place = Place::new();
    let path = place.write("g.yaml", "settings:\n  port: 18005\n  admin_key: of-the-file\n  workers: 2\n");
    let env = [("PORT", "18006"), ("ADMIN_KEY", "of-the-environment"), ("WORKERS", " 2 ")];
    let displayed = format!(
        "note: {path}: line 2: PORT has no effect: that of the environment (`18006`) goes before it\n\
         note: {path}: line 3: ADMIN_KEY has no effect: that of the environment goes before it\n"
    );
    let of_the_file = place.run(&env, &["check-config", &path]);
    assert_eq!((of_the_file.status.code(), text(&of_the_file.stderr)), (Some(0), displayed.clone()));
    let named = place.run(&[&env[..], &[("CONFIG_FILE", path.as_str())]].concat(), &["check-config"]);
    assert_eq!((named.status.code(), text(&named.stderr)), (Some(0), displayed.clone()));
}

/// Nobody makes a key or a provider by a command, and so the file is named.
#[test]
fn a_gateway_of_an_empty_file_says_what_is_missing() {
    let place = Place::new();
    let path = place.write("g.yaml", "providers: []\n");
    let gateway = Setup::new().no_credentials().env("CONFIG_FILE", &path).start();
    let displayed = "this gateway has no credential yet, so nobody may use it; add one under `credentials` of its \
                     configuration file, or set ALLOW_ANONYMOUS=true";
    gateway.expect_log(&[displayed]);
    gateway.expect_log(&["this gateway has no provider yet; add one under `providers` of its configuration file"]);
}

fn rows() -> (Vec<ProviderRow>, Vec<CredentialRow>) {
    let providers = vec![
        ProviderRow {
            model_mapping: r#"{"z-*":"up/$1","a":{"mapped_model":"b","mode":"chat"}}"#.into(),
            weight: 0,
            ..provider("one", "openai", "https://one.example.com/v1")
        },
        ProviderRow {
            lua_script: Some("-- ${not} a variable\nx = \"$$\"\n".into()),
            is_enabled: false,
            ..provider("two words", "gemini", "https://two.example.com")
        },
        ProviderRow {
            api_key: "env:THREE".into(),
            provider_params: r#"{"custom_headers":{"x-team":"core"}}"#.into(),
            ..provider("three", "anthropic", "https://three.example.com")
        },
    ];
    let credentials = vec![
        credential("plain"),
        CredentialRow {
            rate_limit: Some(0),
            burst: Some(3),
            tokens_per_minute: Some(7),
            max_concurrency: Some(1),
            expires_at: Some(1_900_000_000),
            ..credential("limited")
        },
        CredentialRow {
            previous_key: Some("ab".repeat(32)),
            previous_key_until: Some(1),
            metadata: r#"{"owner":"me"}"#.into(),
            is_enabled: false,
            ..credential("42")
        },
    ];
    (providers, credentials)
}

/// From one store to a file to another store, in both directions, and nothing is another than it
/// was.
#[test]
fn export_and_import_are_there_and_back() {
    let (place, db) = (Place::new(), Db::new());
    let embedded = Blocking::embedded(&place.path("data")).unwrap();
    let (providers, credentials) = rows();
    for row in &providers {
        embedded.add_provider(row).unwrap();
    }
    for row in &credentials {
        embedded.create_credential(row).unwrap();
    }

    let key = [("SECRET_KEY", "0123456789abcdef0123456789abcdef")];
    let postgres = [("DB_URL", db.url()), key[0]];
    let first = place.ok(&[], &["export"]);
    let path = place.write("export.yaml", &first);
    assert_eq!(place.ok(&postgres, &["import", &path]), "added 6, changed 0, removed 0; 0 were as in the file\n");
    assert_eq!(
        db.sql("SELECT count(*) FROM providers WHERE api_key LIKE 'enc:v1:%'"),
        ["2"],
        "encrypted on the way in"
    );
    assert_eq!(place.ok(&postgres, &["export"]), first);
    assert_eq!(place.ok(&postgres, &["import", &path]), "added 0, changed 0, removed 0; 6 were as in the file\n");

    // Back, over a store that has moved on.
    embedded.remove_provider(1).unwrap();
    embedded.add_provider(&provider("stray", "openai", "https://stray.example.com")).unwrap();
    let reported_text = place.ok(&[], &["import", &path, "--prune"]);
    assert_eq!(reported_text, "added 1, changed 0, removed 1; 5 were as in the file\n");
    let again = place.ok(&[], &["export"]);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&again), sorted(&first), "the order of ids is that of their making");

    // What was exported can be served as it is, but for what this version does not serve.
    let reported_text = place.ok(&[("THREE", "k")], &["check-config", &path]);
    assert!(reported_text.ends_with("2 of 3 providers and 2 of 3 credentials would be served\n"), "{reported_text}");
    // Into a file of one's own: for its owner alone, and never over another.
    let out = place.path("out.yaml");
    place.ok(&[], &["export", "--output", out.to_str().unwrap()]);
    assert_eq!(mode(&out), 0o600);
    assert!(!place.run(&[], &["export", "--output", out.to_str().unwrap()]).status.success());
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}

#[test]
fn migrate_works_on_the_embedded_store_too() {
    let place = Place::new();
    assert_eq!(place.ok(&[], &["migrate", "version"]), "0\n");
    let newest = place.ok(&[], &["migrate", "up"]);
    assert!(newest.starts_with("applied: 1, 2"), "{newest}");
    assert!(!place.ok(&[], &["migrate", "status"]).contains("pending"));
    assert!(place.ok(&[], &["migrate", "down", "--to", "1", "--yes"]).ends_with("the schema is at version 1\n"));
    assert!(place.ok(&[], &["migrate", "up"]).starts_with("applied: 2"));
    place.ok(&[], &["migrate", "down", "--to", "0", "--yes"]);
    assert_eq!(place.ok(&[], &["migrate", "version"]), "0\n");
}

#[test]
fn facts_about_models_come_from_a_file_that_is_followed() {
    let place = Place::new();
    let facts = |max: u32| format!(r#"{{"rules":[{{"names":["acme-*"],"set":{{"max_output":{max}}}}}]}}"#);
    let path = place.write("models.json", &facts(7));
    let message = r#"{"id":"m","type":"message","role":"assistant","model":"acme-1","content":[{"type":"text","text":"x"}],
        "stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let provider = Fake::answering(move |_| answer::json(200, message));
    let row = |name: &str, params: &str| {
        let params = format!(r#"{{"formats":["messages"]{params}}}"#);
        json!({"provider_key": name, "provider_type": "anthropic", "api_base": provider.url("/v1"), "api_key": "k",
            "model_mapping": {(name): "acme-1"}, "provider_params": params.parse::<Value>().unwrap()})
    };
    let file = json!({"providers": [row("plain", ""), row("own", r#","capabilities":{"max_output":3}"#)],
        "credentials": [{"name": "team", "key": "sk-team"}]});
    let config = place.write("gateway.yaml", &file.to_string());
    let gateway = Setup::new().env("CONFIG_FILE", &config).env("MODELS_FILE", &path).start();
    let max_tokens = |model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"x"}}]}}"#);
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").key("sk-team").body(body));
        assert_eq!(client.response().status, 200);
        provider.requests().last().unwrap().json()["max_tokens"].as_u64().unwrap()
    };
    assert_eq!((max_tokens("plain"), max_tokens("own")), (7, 3), "a provider's own capabilities go before the file");

    place.write("models.json", &facts(9));
    eventually("the file is read again", || max_tokens("plain") == 9);
    // What cannot be read changes nothing and is named.
    place.write("models.json", r#"{"rules":[{"names":["acme-*"],"set":{"max_output":5,"colour":1}}]"#);
    eventually("the problem is logged", || gateway.log().join("\n").contains("the facts about models cannot be read"));
    let output = place.run(&[("MODELS_FILE", &path)], &["check-config", &config]);
    assert!(text(&output.stderr).contains("MODELS_FILE"), "{}", text(&output.stderr));
}
