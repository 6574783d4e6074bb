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
    assert!(bad(&gateway, &add, ADMIN_KEY).contains("says: a provider named `p` exists"));
    let json = good(&gateway, &["provider", "list", "--json"]);
    assert!(json.contains(r#"{"zeta":"z","a":"b"}"#), "{json}");
    assert!(good(&gateway, &["provider", "list"]).contains("enabled"));

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

#[test]
fn what_can_not_be_done_is_told() {
    let gateway = empty().start();
    assert!(bad(&gateway, &["key", "list"], "wrong").contains("says: Invalid admin key"));
    assert!(bad(&gateway, &["key", "list"], "").contains("ADMIN_KEY is not set here"));
    assert!(bad(&gateway, &["provider", "reencrypt"], ADMIN_KEY).contains("SECRET_KEY is not set"));
    let addr = gateway.addr;
    drop(gateway);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().env("ADMIN_KEY", "x").args(["key", "list", "--url", &format!("http://{addr}")]);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("can't be asked"), "{said}");
}
