//! The documents say what the program does.
//!
//! Tables between `<!-- generated: NAME -->` and `<!-- end -->` are made from the program's own
//! tables. `UPDATE_DOCS=1 cargo test --test it docs` writes them; without the variable the same
//! tests compare them.

mod clients;
mod commands;
mod prose;
mod quick_start;
mod reference;
mod tables;
mod transcripts;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every document of the repository, relative to its root.
fn documents() -> Vec<String> {
    const SKIPPED: &[&str] = &["target", ".git", "node_modules"];
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(root().join(&dir)).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name().into_string().unwrap();
            let path = dir.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    dirs.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path.into_os_string().into_string().unwrap());
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "{found:?}");
    found
}

/// What users read: the README and everything below `docs/` but the documents for contributors.
fn user_documents() -> Vec<String> {
    let mut found = documents();
    found.retain(|file| file == "README.md" || (file.starts_with("docs/") && !file.starts_with("docs/internals/")));
    found
}

/// The text under a heading of level two.
fn section<'t>(text: &'t str, title: &str) -> &'t str {
    let heading = format!("\n## {title}\n");
    let (_, after) = text.split_once(&heading).unwrap_or_else(|| panic!("no section `{title}`"));
    after.split("\n## ").next().unwrap()
}

/// The rows of the table under these column titles, as written.
fn rows<'t>(text: &'t str, titles: &str) -> Vec<&'t str> {
    let mut lines = text.lines().skip_while(|line| *line != titles);
    assert_eq!(lines.next(), Some(titles), "no such table in: {text}");
    lines.skip(1).take_while(|line| line.starts_with('|')).collect()
}

/// The blocks of code in this language, each with what stands on the line before it.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<(&'t str, &'t str)> {
    let fence = format!("```{language}\n");
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(&fence) {
        let start = from + at + fence.len();
        let end = start + text[start..].find("```").expect("a block of code that does not end");
        let before = text[..from + at].trim_end().rsplit('\n').next().unwrap_or_default();
        found.push((before, &text[start..end]));
        from = end + 3;
    }
    found
}
