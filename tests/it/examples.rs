//! The examples do what they say: each file is checked, and those that serve models are served,
//! with servers in the place of the vendors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn run(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.args(args).env_clear().current_dir(dir);
    for name in ["BACKEND_KEY", "CLIENT_KEY", "LITELLM_MASTER_KEY"] {
        command.env(name, format!("sk-{name}-of-a-test"));
    }
    for vendor in ["OPENAI", "OPENAI_SECOND", "ANTHROPIC", "AZURE", "OPENROUTER"] {
        command.env(format!("{vendor}_API_KEY"), "k");
    }
    command.output().unwrap()
}

#[test]
fn every_configuration_is_right() {
    for name in [
        "gateway.yaml",
        "two-vendors/gateway.yaml",
        "claude-code-on-gpt/gateway.yaml",
        "codex-on-claude/gateway.yaml",
        "litellm-migration/gateway.yaml",
    ] {
        let output = run(&["check-config", path(name).to_str().unwrap()], Path::new("/"));
        let reported_text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && reported_text.is_empty(), "{name}: {reported_text}");
    }
}

/// A gateway on an example, with `provider` in the place of both vendors.
fn serve(name: &str, provider: &Fake) -> (tempfile::TempDir, Gateway) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.yaml");
    let moved = text(name)
        .replace("https://api.openai.com/v1", &provider.url("/v1"))
        .replace("https://api.anthropic.com", &provider.url(""));
    std::fs::write(&file, moved).unwrap();
    let setup = Setup::new().env("CONFIG_FILE", file.display()).env("CLIENT_KEY", "sk-client");
    let gateway = setup.env("OPENAI_API_KEY", "pk-openai").env("ANTHROPIC_API_KEY", "pk-claude").start();
    (dir, gateway)
}

fn vendors() -> Fake {
    Fake::answering(|request| match request.target.as_str() {
        "/v1/messages" => answer::json(200, sample::MESSAGES.answer),
        "/v1/chat/completions" => answer::json(200, sample::CHAT.answer),
        "/v1/responses" => answer::json(200, sample::RESPONSES.answer),
        other => answer::json(404, format!("{{\"error\":{{\"message\":\"{other}\"}}}}")),
    })
}

fn ask(gateway: &Gateway, path: &str, body: &str) -> u16 {
    let mut client = gateway.client();
    client.ask(&post(path).key("sk-client").body(body));
    let response = client.response();
    assert_eq!(response.status, 200, "{path} {body}: {}", response.text());
    response.status
}

const CHAT: &str = r#"{"model":"MODEL","messages":[{"role":"user","content":"Hello"}]}"#;
const MESSAGES: &str = r#"{"model":"MODEL","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;
const RESPONSES: &str = r#"{"model":"MODEL","input":"Hello"}"#;

#[test]
fn two_vendors() {
    let vendors = vendors();
    let (_dir, gateway) = serve("two-vendors/gateway.yaml", &vendors);
    for (path, body, model) in [
        ("/v1/chat/completions", CHAT, "gpt-4o"),
        ("/v1/messages", MESSAGES, "claude-sonnet-4-5"),
        ("/v1/chat/completions", CHAT, "claude-sonnet-4-5"),
        ("/v1/messages", MESSAGES, "assistant"),
    ] {
        ask(&gateway, path, &body.replace("MODEL", model));
    }
    let received: Vec<_> = vendors
        .requests()
        .iter()
        .map(|request| (request.target.clone(), request.json()["model"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(received[1], ("/v1/messages".to_owned(), "claude-sonnet-4-5".to_owned()));
    assert_eq!(received[2], ("/v1/messages".to_owned(), "claude-sonnet-4-5".to_owned()));
    assert!(received[0].1 == "gpt-4o" && received[3].1 == "gpt-4o", "{received:?}");
}

#[test]
fn agents_on_foreign_models() {
    let vendors = vendors();
    let (_dir, gateway) = serve("claude-code-on-gpt/gateway.yaml", &vendors);
    for (model, upstream) in [("claude-haiku-4-5", "gpt-4o-mini"), ("claude-sonnet-4-5", "gpt-4o")] {
        ask(&gateway, "/v1/messages", &MESSAGES.replace("MODEL", model));
        let request = vendors.requests().pop().unwrap();
        assert_eq!(request.json()["model"], upstream);
        assert_eq!(request.header("authorization"), Some("Bearer pk-openai"));
    }
    drop(gateway);
    let (_dir, gateway) = serve("codex-on-claude/gateway.yaml", &vendors);
    for model in ["claude-sonnet-4-5", "gpt-5-codex"] {
        ask(&gateway, "/v1/responses", &RESPONSES.replace("MODEL", model));
        let request = vendors.requests().pop().unwrap();
        assert_eq!((request.target.as_str(), &request.json()["model"]), ("/v1/messages", &"claude-sonnet-4-5".into()));
        assert_eq!(request.header("x-api-key"), Some("pk-claude"));
    }
}

/// The file beside LiteLLM's is what the import makes of it.
#[test]
fn litellm_migration() {
    let dir = path("litellm-migration");
    let output = run(&["import-litellm", "config.yaml"], &dir);
    assert!(output.status.success());
    let made = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(dir.join("gateway.yaml"), &made).unwrap();
    }
    assert_eq!(made, text("litellm-migration/gateway.yaml"), "`UPDATE_DOCS=1 cargo test --test it examples` writes it");
    let reported_text = String::from_utf8(output.stderr).unwrap();
    for left in ["temperature", "`sentry`", "cooldown_time"] {
        assert!(reported_text.contains(left), "{left}: {reported_text}");
    }
}

/// As far as it shows without a container engine: what is mounted is there, and commands and
/// variables exist.
#[test]
fn compose_files() {
    for name in ["two-gateways/compose.yaml", "monitoring/compose.yaml"] {
        let compose = text(name);
        for mount in compose.lines().filter_map(|line| line.trim().strip_prefix("- ../")?.split(':').next()) {
            let target = path(name).parent().unwrap().join("..").join(mount);
            assert!(target.is_dir(), "{name}: {mount}");
        }
        assert!(path(name).parent().unwrap().join("../../Dockerfile").exists());
        let known = llm_proxy::config::boot::table::VARIABLES;
        let vendors = ["OPENAI_API_KEY", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];
        for line in compose.lines().map(str::trim) {
            let Some((variable, _)) = line.split_once(": ") else { continue };
            if variable.len() > 2 && variable.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
                let is_known = known.iter().any(|known| known.is_named(variable)) || vendors.contains(&variable);
                assert!(is_known, "{name}: {variable}");
            }
        }
        for command in
            compose.split("llm-proxy llm-proxy ").skip(1).chain(compose.split("gateway-1 llm-proxy ").skip(1))
        {
            let command = command.split("\n#   docker").next().unwrap().split("\n\n").next().unwrap();
            let words = command.replace("\\\n#", " ").replace(['\'', '#'], " ");
            let args: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
            assert!(run(&args, Path::new("/")).status.success(), "{name}: {words}");
        }
    }
}
