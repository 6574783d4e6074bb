//! Commands in documents are understood by the program that they call.

use std::process::Command;

use llm_proxy::proxy::endpoint::{self, Endpoint};

use super::quick_start::words;
use super::{blocks, text, user_documents};

/// The commands of a block, each on one line.
fn commands(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in block.lines() {
        match found.last_mut().filter(|_| is_open) {
            Some(command) => {
                command.push('\n');
                command.push_str(line);
            }
            None => found.push(line.to_owned()),
        }
        let command = found.last_mut().unwrap();
        // A quoted text may go on in the next line.
        is_open = command.ends_with('\\') || command.matches('\'').count() % 2 == 1;
        if command.ends_with('\\') {
            command.pop();
        }
    }
    found.retain(|command| !command.trim_start().starts_with('#') && !command.trim().is_empty());
    found
}

/// Every command line of this program, given `--help` besides: it is understood, but does nothing.
#[test]
fn of_this_program() {
    let mut count = 0;
    for file in user_documents() {
        let text = text(&file);
        for command in blocks(&text, "sh").iter().flat_map(|(_, block)| commands(block)) {
            // Also within `KEY=$(llm-proxy ...)`, behind variables, and in a container.
            let Some((_, arguments)) = command.rsplit_once("llm-proxy ") else { continue };
            let is_call = command.starts_with("llm-proxy ")
                || command.contains("$(llm-proxy ")
                || command.contains(" llm-proxy ") && command.split(' ').next().unwrap().contains('=')
                || command.contains("llm-proxy llm-proxy ")
                || ["CONTAINER", "--", ".whl", ".tgz"]
                    .iter()
                    .any(|before| command.contains(&format!("{before} llm-proxy ")))
                || command.contains("<(llm-proxy ");
            if !is_call {
                continue;
            }
            let arguments = arguments.split(" < ").next().unwrap().trim_end_matches(')');
            let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy"))
                .args(words(arguments, &|_| String::new()))
                .arg("--help")
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{file}: {command}: {error}");
            count += 1;
        }
    }
    assert!(count >= 25, "{count}");
}

/// Every request goes to a path of this gateway, and its body is JSON.
#[test]
fn requests() {
    let mut count = 0;
    for file in user_documents() {
        let text = text(&file);
        for command in blocks(&text, "sh").iter().flat_map(|(_, block)| commands(block)) {
            if !command.starts_with("curl ") {
                continue;
            }
            let words = words(&command, &|_| "k".to_owned());
            let url = words.iter().find(|word| word.starts_with("http://")).expect("a URL");
            let path = &url["http://".len()..];
            let path = path[path.find('/').unwrap()..].split('?').next().unwrap();
            let is_served =
                !matches!(endpoint::find(path), Endpoint::Unknown | Endpoint::Stateful(_) | Endpoint::Vertex);
            assert!(is_served, "{file}: {command}");
            if let Some(at) = words.iter().position(|word| word == "-d") {
                let body = &words[at + 1];
                let parsed = serde_json::from_str::<serde_json::Value>(body);
                assert!(parsed.is_ok_and(|body| body.is_object()), "{file}: {body}");
            }
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
}

/// Examples of JSON are JSON, and configuration files are served without a problem.
#[test]
fn examples_can_be_read() {
    for file in user_documents() {
        let text = text(&file);
        for (_, block) in blocks(&text, "json") {
            let parsed = serde_json::from_str::<serde_json::Value>(block);
            assert!(parsed.is_ok(), "{file}: {block}");
        }
        for (_, block) in blocks(&text, "yaml").iter().filter(|(_, block)| block.contains("\nproviders:")) {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("gateway.yaml"), block).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
            command.args(["check-config", "gateway.yaml"]).env_clear().current_dir(dir.path());
            for name in block.split("${").skip(1).map(|rest| rest.split(['}', ':']).next().unwrap()) {
                command.env(name, format!("value-of-{name}"));
            }
            let output = command.output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{file}: {error}");
        }
    }
}
