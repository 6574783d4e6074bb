//! The command line of the real binary.

mod again;
mod bench;
mod convert;
mod convert_whole;
mod first;
mod manage;
mod ports;
mod translate;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use llm_proxy::control_plane::store::blocking::Blocking;
use sha2::{Digest, Sha256};

/// A working directory of its own, with the store in `data/`.
struct Place(tempfile::TempDir);

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.args(args).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        // Whoever writes looks whether a gateway is at this port, where none is.
        command.env("PORT", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// Runs what must succeed and gives its stdout.
    fn good(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Runs what must fail with `code` and say `message`, in one line.
    fn bad(&self, args: &[&str], code: i32, message: &str) {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
        assert!(code == 2 || ran.stderr.lines().count() == 1, "{args:?}: {}", ran.stderr);
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.good(args)).unwrap()
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `seen` has these members, and maybe others.
fn holds(seen: &serde_json::Value, expected: serde_json::Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name}");
    }
}

const ADD: &[&str] =
    &["provider", "add", "--key", "openai", "--base", "https://api.openai.com/v1", "--api-key", "sk-secret"];

#[test]
fn providers_come_and_go() {
    let place = Place::new();
    let added = place.good(&[ADD, &["--map", "zeta=z-1", "--map", "gpt-*=openai/gpt-*", "--weight", "3"]].concat());
    assert_eq!(added, "added provider openai with id 1; it serves zeta, gpt-*\n");
    let seen = place.json(&["provider", "list", "--json"]);
    assert_eq!(seen["version"], 1);
    holds(
        &seen["providers"][0],
        serde_json::json!({
            "id": 1, "provider_key": "openai", "provider_type": "openai", "api_base": "https://api.openai.com/v1",
            "model_mapping": {"zeta": "z-1", "gpt-*": "openai/gpt-*"}, "weight": 3, "provider_params": {}, "is_enabled": true,
        }),
    );
    let text = place.good(&["provider", "list", "--json"]);
    assert!(text.contains(r#"{"zeta":"z-1","gpt-*":"openai/gpt-*"}"#), "the order is part of the mapping: {text}");
    assert!(!text.contains("secret"), "{text}");
    let table = place.good(&["provider", "list"]);
    assert!(table.contains("openai") && table.contains("served") && !table.contains("secret"), "{table}");

    assert_eq!(place.good(&["provider", "remove", "openai"]), "removed provider openai with id 1\n");
    place.good(ADD);
    assert_eq!(place.good(&["provider", "remove", "2"]), "removed provider openai with id 2\n");
    assert_eq!(place.good(&["provider", "list"]), "");
}

#[test]
fn what_no_server_could_use_is_not_added() {
    let place = Place::new();
    place.good(ADD);
    place.bad(ADD, 1, "a provider named `openai` exists");
    let add = |more: &[&'static str]| [&["provider", "add", "--key", "x"], more].concat();
    place.bad(&add(&["--base", "api.openai.com"]), 1, "api_base `api.openai.com` has no scheme");
    place.bad(&add(&["--base", "https://u:secret@x"]), 1, "put the key in api_key");
    place.bad(&add(&["--base", "https://x", "--type", "gemini"]), 1, "type `gemini` is not served by this version");
    place.bad(&add(&["--base", "https://x", "--api-key", "a b"]), 1, "api_key holds a character");
    place.bad(
        &add(&["--base", "https://x", "--map", "re:(=y"]),
        1,
        "`re:(` is not a regular expression: unclosed group",
    );
    place.bad(&add(&["--base", "https://x", "--map", "y"]), 2, "MODEL=UPSTREAM_MODEL");
    place.bad(&add(&["--base", "https://x", "--weight", "-1"]), 2, "--weight");
    place.bad(&["provider", "add", "--key", "", "--base", "https://x"], 2, "a name is not empty");
    place.bad(&["provider", "remove", "nobody"], 1, "there is no provider with the name or id `nobody`");
    assert_eq!(place.json(&["provider", "list", "--json"])["version"], 1, "nothing of it was stored");
}

#[test]
fn warnings_do_not_hinder() {
    let place = Place::new();
    let ran = place.run(&[
        "provider",
        "add",
        "--key",
        "g",
        "--type",
        "grok",
        "--base",
        "https://x",
        "--api-key",
        "env:NOT_HERE",
    ]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains("warning: type `grok` is not known; the provider is treated as openai"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("warning: the environment variable NOT_HERE is not set here"), "{}", ran.stderr);
    let list = place.run(&["provider", "list"]);
    assert!(list.stdout.contains("needs NOT_HERE") && list.stderr.contains("NOT_HERE"), "{}", list.stderr);
    std::fs::write(place.0.path().join(".env"), "NOT_HERE=k\n").unwrap();
    let list = place.run(&["provider", "list"]);
    assert!(!list.stdout.contains("needs") && !list.stderr.contains("NOT_HERE"), "{}", list.stderr);
}

#[test]
fn a_key_can_be_read_from_stdin() {
    let place = Place::new();
    let mut child = place
        .command(&["provider", "add", "--key", "x", "--base", "https://x", "--api-key", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"sk-from-stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    let rows = Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap();
    assert_eq!(&*rows.providers[0].api_key, "sk-from-stdin");
}

#[test]
fn keys_are_shown_once_and_stored_as_their_hash() {
    let place = Place::new();
    let made =
        place.run(&["key", "create", "--name", "team-a", "--rate-limit", "5", "--burst", "9", "--allow", "gpt-*"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.strip_suffix('\n').unwrap();
    let random = key.strip_prefix("sk-").unwrap();
    assert!(random.len() == 48 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{key}");
    assert!(made.stderr.contains("team-a") && !made.stderr.contains(key), "{}", made.stderr);

    let rows = Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap();
    assert_eq!(rows.credentials[0].credential_key, hex::encode(Sha256::digest(key)));
    let seen = place.json(&["key", "list", "--json"]);
    let hash = &rows.credentials[0].credential_key;
    assert_eq!(seen["version"], 1);
    holds(
        &seen["credentials"][0],
        serde_json::json!({
            "id": 1, "name": "team-a", "key_preview": format!("{}***{}", &hash[..3], &hash[7..10]),
            "allowed_models": ["gpt-*"], "rate_limit": 5, "burst": 9, "expires_at": null, "is_enabled": true,
        }),
    );
    assert_ne!(place.good(&["key", "create", "--name", "other"]), made.stdout);

    assert_eq!(place.good(&["key", "revoke", "team-a"]), "revoked key team-a with id 1\n");
    assert_eq!(place.good(&["key", "revoke", "2"]), "revoked key other with id 2\n");
    assert_eq!(place.json(&["key", "list", "--json"])["credentials"], serde_json::json!([]));
}

#[test]
fn keys_expire_after_days() {
    let place = Place::new();
    place.good(&["key", "create", "--name", "x", "--expires-in", "30"]);
    let list = place.json(&["key", "list", "--json"]);
    let end = llm_proxy::rfc3339::parse(list["credentials"][0]["expires_at"].as_str().unwrap()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let days = 30 * 86_400;
    assert!((now + days - 600..=now + days).contains(&end), "{end}");
    assert!(place.good(&["key", "list"]).contains(" UTC "));
}

#[test]
fn keys_that_would_not_work_are_not_created() {
    let place = Place::new();
    place.good(&["key", "create", "--name", "x"]);
    place.bad(&["key", "create", "--name", "x"], 1, "a key named `x` exists (id 1)");
    place.bad(&["key", "create", "--name", "y", "--allow", "re:("], 1, "`re:(` is not a regular expression");
    place.bad(&["key", "create", "--name", "y", "--rate-limit", "-1"], 2, "--rate-limit");
    place.bad(&["key", "create", "--name", "y", "--rate-limit", "1", "--burst", "0"], 2, "--burst");
    place.bad(&["key", "create", "--name", "y", "--burst", "3"], 2, "--rate-limit");
    place.bad(&["key", "create", "--name", "y", "--expires-in", "0"], 2, "--expires-in");
    place.bad(&["key", "revoke", "y"], 1, "there is no key with the name or id `y`");
    // A name that is another key's id names neither.
    place.good(&["key", "create", "--name", "1"]);
    place.bad(&["key", "revoke", "1"], 1, "2 keys have the name or id `1` (ids 1, 2)");
    assert_eq!(place.json(&["key", "list", "--json"])["version"], 2);
}

#[test]
fn a_key_is_replaced_by_a_new_one() {
    let place = Place::new();
    let old = place.good(&["key", "create", "--name", "x", "--tokens-per-minute", "900", "--max-concurrency", "2"]);
    let new = place.good(&["key", "rotate", "x", "--overlap", "1"]);
    assert!(new.starts_with("sk-") && new != old);
    let row = Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap().credentials.remove(0);
    let hash = |key: &str| hex::encode(Sha256::digest(key.trim()));
    assert_eq!((row.credential_key, row.previous_key), (hash(&new), Some(hash(&old))));
    assert_eq!((row.tokens_per_minute, row.max_concurrency), (Some(900), Some(2)));
    place.good(&["key", "rotate", "x", "--overlap", "0"]);
    let row = Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap().credentials.remove(0);
    assert_eq!(row.previous_key, None);
}

#[test]
fn providers_keys_are_encrypted_where_there_is_a_secret_key() {
    let place = Place::new();
    place.good(ADD);
    let env = |args: &[&str]| {
        let ran = ran(place.command(args).env("SECRET_KEY", "0123456789abcdef0123456789abcdef").output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let stored = || {
        let rows = Blocking::embedded(&place.0.path().join("data")).unwrap().load().unwrap().providers;
        rows.into_iter().map(|row| row.api_key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(stored(), ["sk-secret"]);
    env(&["provider", "add", "--key", "two", "--base", "https://x", "--api-key", "sk-two"]);
    assert!(stored()[1].starts_with("enc:v1:"));
    assert_eq!(env(&["provider", "reencrypt"]), "re-encrypted 1 keys of providers\n");
    assert!(stored().iter().all(|key| key.starts_with("enc:v1:")), "{:?}", stored());
    assert!(env(&["provider", "list"]).contains("served"));
    place.bad(&["provider", "reencrypt"], 1, "SECRET_KEY is not set");
}

#[test]
fn the_store_is_where_flag_environment_or_file_say() {
    let place = Place::new();
    let has = |dir: &str| place.0.path().join(dir).join("llm-proxy.db").exists();
    let create = ["key", "create", "--name", "x"];
    place.good(&create);
    assert!(has("data"));
    std::fs::write(place.0.path().join(".env"), "DATA_DIR=from-file\n").unwrap();
    place.good(&create);
    assert!(has("from-file"));
    let made = ran(place.command(&create).env("DATA_DIR", "from-env").output().unwrap());
    assert!(has("from-env"));
    let file = place.0.path().join("from-env/llm-proxy.db").canonicalize().unwrap();
    let displayed = format!("note: written to the store: embedded, {}\n", file.display());
    assert!(made.stderr.ends_with(&displayed), "{}", made.stderr);
    for (args, dir) in [
        (["key", "create", "--name", "x", "--data-dir", "a"], "a"),
        (["key", "--data-dir", "b", "create", "--name", "x"], "b"),
    ] {
        assert!(place.command(&args).env("DATA_DIR", "unused").status().unwrap().success());
        assert!(has(dir));
    }
    assert!(!has("unused"));
    let nowhere = place.0.path().join("file");
    std::fs::write(&nowhere, "").unwrap();
    place.bad(&["key", "create", "--name", "x", "--data-dir", "file"], 1, "/file cannot be made: ");
}

#[test]
fn many_processes_may_start_on_a_new_store_at_once() {
    let place = Place::new();
    let children: Vec<_> = (0..6)
        .map(|n| {
            let name = format!("p{n}");
            let mut command = place.command(&["provider", "add", "--base", "https://x", "--key", &name]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let seen = place.json(&["provider", "list", "--json"]);
    assert_eq!((seen["version"].as_i64(), seen["providers"].as_array().unwrap().len()), (Some(6), 6));
}

#[test]
fn all_invalid_settings_are_reported() {
    let place = Place::new();
    let command =
        |args: &[&str]| ran(place.command(args).env("WORKERS", "-1").env("LOG_LEVEL", "loud").output().unwrap());
    for args in [&["--port", "x"][..], &["serve", "--port", "x"]] {
        let ran = command(args);
        assert_eq!(ran.code, 2);
        let lines: Vec<_> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("error: --port: `x` is invalid"), "{lines:?}");
    }
}

#[test]
fn help_and_version() {
    let place = Place::new();
    let help = place.good(&["--help"]);
    for word in ["serve", "demo", "mock", "provider", "key", "translate", "version", "--data-dir"] {
        assert!(help.contains(word), "{word}");
    }
    let settings = place.good(&["serve", "--help"]);
    assert!(settings.contains("COMMIT_AFTER_SECS") && settings.contains("[default: 18000]"));
    let version = format!("llm-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!([place.good(&["version"]), place.good(&["--version"])], [version.clone(), version]);
    place.bad(&["no-such-command"], 2, "no-such-command");
    place.bad(&["--port", "1", "version"], 2, "cannot be used with");
    assert!(std::fs::read_dir(place.0.path()).unwrap().next().is_none(), "none of this makes a store");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let place = Place::new();
    place.good(ADD);
    let mut child = place.command(&["provider", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
