//! The form of documents: their links, their width, the length of the README.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use super::{documents, root, text};

#[test]
fn the_readme_is_short() {
    let lines = text("README.md").lines().count();
    assert!(lines <= 150, "the README has {lines} lines; the documents below docs/ have room");
}

/// Every relative link leads to a file, and to a heading of it if it names one.
#[test]
fn links() {
    let mut count = 0;
    for file in documents() {
        let text = text(&file);
        for link in outside_code(&text).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { PathBuf::from(&file) } else { beside(&file, path) };
            assert!(root().join(&target).exists(), "{file}: {link} leads nowhere");
            if !anchor.is_empty() && target.extension().is_some_and(|of| of == "md") {
                let headings = headings(&super::text(target.to_str().unwrap()));
                assert!(headings.contains(anchor), "{file}: {link}: no such heading");
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

/// A path of the repository that a document writes as code leads to a file, a folder or a module.
/// The changelog names what was there at its time.
#[test]
fn paths_of_the_repository() {
    const ROOTS: &[&str] = &["src/", "crates/", "tests/", "benches/", "fuzz/", "migrations/"];
    let is_path = |word: &&str| {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        plain && ROOTS.iter().any(|start| word.starts_with(start))
    };
    let mut count = 0;
    for file in documents().iter().filter(|file| *file != "CHANGELOG.md") {
        let text = text(file);
        for path in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_path) {
            let module = root().join(format!("{path}.rs"));
            assert!(root().join(path).exists() || module.exists(), "{file}: {path} does not exist");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// The path of a link in `file`, from the root of the repository.
fn beside(file: &str, link: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in Path::new(file).parent().unwrap().join(link).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{file}: {link} leads out of the repository"),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The anchors that GitHub gives to the headings of a document.
fn headings(text: &str) -> HashSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles
        .map(|title| title.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// A document without its blocks of code and its code within lines.
fn outside_code(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            out.extend(line.split('`').step_by(2));
            out.push('\n');
        }
    }
    out
}

/// Lines of text have at most 100 columns. Tables, code and lines of one word may be longer.
#[test]
fn lines_are_not_too_long() {
    const WIDTH: usize = 100;
    let mut long = Vec::new();
    for file in documents() {
        let text = text(&file);
        let mut in_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            }
            let is_text = !in_code && !line.trim_start().starts_with('|') && line.trim().contains(' ');
            if is_text && line.chars().count() > WIDTH {
                long.push(format!("{file}:{number}"));
            }
        }
    }
    assert!(long.is_empty(), "lines of more than {WIDTH} columns: {}", long.join(", "));
}
