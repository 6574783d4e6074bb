//! The command line through the admin interface.

use std::process::Output;

use super::*;

fn run(gateway: &Gateway, args: &[&str], key: &str) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    let url = format!("http://{}", gateway.addr);
    command.env_clear().env("ADMIN_KEY", key).current_dir(gateway.data_dir());
    command.args(args).args(["--url", &url]).output().unwrap()
}

fn good(gateway: &Gateway, args: &[&str]) -> String {
    let output = run(gateway, args, ADMIN_KEY);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn bad(gateway: &Gateway, args: &[&str], key: &str) -> String {
    let output = run(gateway, args, key);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn providers_and_keys() {
    let upstream = Fake::answering(|_| answer::json(200, "{}"));
    let gateway = empty().start();
    let base = upstream.url("/v1");
    let add = ["provider", "add", "--key", "p", "--base", &base, "--api-key", "k", "--map", "zeta=z", "--map", "a=b"];
    assert_eq!(good(&gateway, &add), "added provider p with id 1; it serves zeta, a\n");
    assert!(
        bad(&gateway, &add, ADMIN_KEY)
            .contains("a provider named `p` exists; change it with `llm-proxy provider set p`")
    );
    let json = good(&gateway, &["provider", "list", "--json"]);
    assert!(json.contains(r#"{"zeta":"z","a":"b"}"#), "{json}");
    assert!(good(&gateway, &["provider", "list"]).contains("served"));

    let key = good(&gateway, &["key", "create", "--name", "team", "--rate-limit", "9", "--allow", "zeta"]);
    let ask = |key: &str| {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").key(key.trim()).body(r#"{"model":"zeta","messages":[]}"#));
        client.response().status
    };
    assert_eq!(ask(&key), 200);
    assert!(good(&gateway, &["key", "list"]).contains("team"));
    let new = good(&gateway, &["key", "rotate", "team", "--overlap", "0"]);
    assert_eq!((ask(&key), ask(&new)), (401, 200));
    assert_eq!(good(&gateway, &["key", "revoke", "team"]), "revoked key team with id 1\n");
    assert_eq!(good(&gateway, &["provider", "remove", "p"]), "removed provider p with id 1\n");
    assert_eq!(ask(&new), 401);
}

/// As where the store is at hand.
#[test]
fn providers_that_overlap_are_warned_of() {
    let gateway = empty().start();
    let add = |name: &str, base: &str| {
        let output = run(&gateway, &["provider", "add", "--name", name, "--base", base, "--api-key", "k"], ADMIN_KEY);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let first = add("one", "http://127.0.0.1:9/v1");
    assert!(!first.contains("serve every model name"), "{first}");
    let second = add("two", "http://127.0.0.1:10/v1");
    assert!(second.contains("the providers `one`, `two` serve every model name"), "{second}");
}

#[test]
fn a_configuration_larger_than_other_bodies() {
    let gateway = empty().start();
    let file = gateway.data_dir().join("large.yaml");
    // Comments cost nothing but bytes.
    let padding = format!("# {}\n", "x".repeat(1022)).repeat(6 << 10);
    std::fs::write(&file, format!("{padding}credentials:\n  - name: team\n    key: sk-imported\n")).unwrap();
    good(&gateway, &["import", file.to_str().unwrap()]);
    assert!(good(&gateway, &["key", "list"]).contains("team"));
}

#[test]
fn impossible_commands_are_explained() {
    let gateway = empty().start();
    assert!(bad(&gateway, &["key", "list"], "wrong").contains("says: Invalid admin key"));
    assert!(bad(&gateway, &["key", "list"], "").contains("ADMIN_KEY is not set here"));
    assert!(bad(&gateway, &["provider", "reencrypt"], ADMIN_KEY).contains("SECRET_KEY is not set"));
    let addr = gateway.addr;
    drop(gateway);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().env("ADMIN_KEY", "x").args(["key", "list", "--url", &format!("http://{addr}")]);
    let reported_text = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(reported_text.contains("cannot be reached"), "{reported_text}");
}

/// An export of one gateway is imported by another; neither shows a secret.
#[test]
fn the_whole_configuration_goes_from_one_gateway_to_another() {
    let upstream = Fake::answering(|_| answer::json(200, "{}"));
    let headers = r#"{"custom_headers":{"x-team":"s3cret"}}"#;
    let one = empty()
        .provider(ProviderRow { model_mapping: r#"{"zeta":"z","a-*":"b-$1"}"#.into(), weight: 7, ..chat(&upstream) })
        .provider(ProviderRow {
            provider_params: headers.into(),
            api_key: "env:TEAM_API_KEY".into(),
            ..anthropic(&upstream)
        })
        .provider(provider("gemini", "gemini", "https://gemini.example.com"))
        .credential(CredentialRow { rate_limit: Some(9), metadata: r#"{"a":1}"#.into(), ..credential(KEY) })
        .env("HOME", "/")
        .start();
    let text = good(&one, &["export"]);
    assert!(!text.contains("pk-upstream") && !text.contains("s3cret"), "{text}");
    assert!(text.contains("api_key: ${CHAT_1_API_KEY}") && text.contains("env:TEAM_API_KEY"), "{text}");
    let path = one.data_dir().join("all.yaml");
    std::fs::write(&path, &text).unwrap();
    let import = |gateway: &Gateway, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.env_clear().env("ADMIN_KEY", ADMIN_KEY).env("CHAT_1_API_KEY", "pk-other").env("GEMINI_3_API_KEY", "g");
        command.current_dir(gateway.data_dir()).args(["import", path.to_str().unwrap()]).args(args);
        command.args(["--url", &format!("http://{}", gateway.addr)]).output().unwrap()
    };

    // Where the rows are, only the keys are others: what is hidden stays as it was.
    let done = import(&one, &[]);
    let reported_text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "added 0, changed 2, removed 0; 2 were as in the file\n",
        "{reported_text}"
    );
    assert!(
        reported_text.contains("warning: provider gemini: type `gemini` is not served by this version"),
        "{reported_text}"
    );
    let rows = one.store().load().unwrap();
    assert_eq!((&*rows.providers[0].api_key, rows.providers[1].provider_params.as_str()), ("pk-other", headers));
    let log = Admin::of(&one).get("/audit");
    let entry = &log["entries"][0];
    assert_eq!((&entry["action"], &entry["new"]["provider_key"]), (&json!("provider.update"), &json!("gemini")));
    assert!(!log.to_string().contains("pk-other") && !log.to_string().contains("s3cret"), "{log}");

    // Elsewhere a header that is not known has to be written first; and what is not in the file
    // goes if it is asked for.
    let two = empty().provider(provider("stray", "openai", "http://127.0.0.1:9")).env("HOME", "/").start();
    let done = import(&two, &["--prune"]);
    let reported_text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        done.status.code() == Some(1) && reported_text.contains("provider anthropic: a header in provider_params"),
        "{reported_text}"
    );
    assert_eq!(two.store().load().unwrap().providers[0].provider_key, "stray");
    std::fs::write(&path, text.replace("***", "s3cret")).unwrap();
    let done = import(&two, &["--prune"]);
    let reported_text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        "added 4, changed 0, removed 1; 0 were as in the file\n",
        "{reported_text}"
    );
    let rows = two.store().load().unwrap();
    assert_eq!(
        rows.providers.iter().map(|row| row.provider_key.as_str()).collect::<Vec<_>>(),
        ["chat", "anthropic", "gemini"]
    );
    assert_eq!((rows.credentials[0].rate_limit, rows.providers[0].weight), (Some(9), 7));
    let mut client = two.client();
    client.ask(&post("/v1/chat/completions").body(r#"{"model":"a-1","messages":[]}"#));
    assert_eq!(client.response().status, 200, "in force before the command ends");
    assert_eq!(upstream.requests()[0].json()["model"], "b-1");
}

#[test]
fn the_configuration_is_looked_at_from_elsewhere() {
    let gateway = empty().provider(provider("g", "gemini", "https://gemini.example.com")).start();
    let output = run(&gateway, &["check-config"], ADMIN_KEY);
    let reported_text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        reported_text.contains("error: provider g: type `gemini` is not served by this version"),
        "{reported_text}"
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1 providers and 0 credentials, 1 problems\n");
    good(&gateway, &["provider", "remove", "g"]);
    assert_eq!(good(&gateway, &["check-config"]), "0 providers and 0 credentials, 0 problems\n");
    // Commands that must run beside the store fail with `--url`, and change nothing in the local
    // store.
    let output = run(&gateway, &["migrate", "up"], ADMIN_KEY);
    assert_eq!(output.status.code(), Some(2));
    let reported_text = String::from_utf8(output.stderr).unwrap();
    assert!(reported_text.contains("migrate works on the store itself"), "{reported_text}");
}

use llm_proxy::config::rows::{CredentialRow, ProviderRow};
