//! What commands print, shown in documents between `<!-- transcript: NAME -->` and `<!-- end -->`:
//! with a server in the place of each vendor, and with the key, the directory and the port of the
//! run replaced. `UPDATE_DOCS=1 cargo test --test it docs` writes them.

use std::process::Command;

use super::{root, text};
use crate::support::{Fake, answer};

const FILE: &str = "docs/guides/command-line.md";

/// A vendor that lists these models.
fn vendor(models: &'static str) -> Fake {
    Fake::answering(move |_| answer::json(200, models))
}

#[test]
fn of_init() {
    let dir = tempfile::tempdir().unwrap();
    // A port that nobody has, and that the settings name already.
    std::fs::write(dir.path().join(".env"), "PORT=1\n").unwrap();
    let openai = vendor(r#"{"data":[{"id":"gpt-4o"},{"id":"gpt-4o-mini"}]}"#);
    let anthropic = vendor(r#"{"data":[{"id":"claude-haiku-4-5"},{"id":"claude-opus-4-5"}]}"#);
    let mut shown = String::new();
    for (name, variable, base) in
        [("openai", "OPENAI_API_KEY", openai.url("/v1")), ("anthropic", "ANTHROPIC_API_KEY", anthropic.url(""))]
    {
        let key = format!("env:{variable}");
        let args = ["init", "--vendor", name, "--api-key", &key, "--store", "embedded"];
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>&1", env!("CARGO_BIN_EXE_llm-proxy")]).args(args);
        command.args(["--base", &base]).current_dir(dir.path()).env_clear().env(variable, "sk-vendor");
        let output = command.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}");
        let printed = match printed.lines().find_map(|line| line.strip_prefix("key: ")) {
            Some(key) => printed.replace(key, "sk-..."),
            None => printed,
        };
        // The servers in the place of vendors are of no known vendor, so that the second overlaps the
        // first. With the vendors' own addresses that is not so.
        let is_overlap = |line: &&str| line.starts_with("warning: the providers `anthropic`, `openai` serve every");
        assert_eq!(printed.lines().filter(is_overlap).count(), usize::from(name == "anthropic"), "{printed}");
        let kept = printed.split_inclusive('\n').filter(|line| !is_overlap(line));
        let printed: String = kept.collect();
        let place = dir.path().canonicalize().unwrap().display().to_string();
        let printed = printed.replace(&place, "/home/me/gateway").replace("127.0.0.1:1/", "127.0.0.1:18000/");
        shown.push_str(&format!("$ llm-proxy {}\n{printed}\n", args.join(" ")));
    }
    compare("init", &format!("\n```text\n{}\n```\n\n", shown.trim_end()));
}

fn compare(name: &str, made: &str) {
    let page = text(FILE);
    let begin = format!("<!-- transcript: {name} -->\n");
    let start = page.find(&begin).unwrap_or_else(|| panic!("{FILE} has no {begin}")) + begin.len();
    let end = start + page[start..].find("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(FILE), format!("{}{made}{}", &page[..start], &page[end..])).unwrap();
        return;
    }
    assert_eq!(&page[start..end], made, "`UPDATE_DOCS=1 cargo test --test it docs` writes it");
}
