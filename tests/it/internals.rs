//! The documents for contributors are true: what they name exists, and what the sources cite of
//! them exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `dir` (or `dir` itself) whose name ends in one of `ends`, build output left out.
fn files(dir: &Path, ends: &[&str], out: &mut Vec<PathBuf>) {
    if dir.is_file() {
        out.extend(ends.iter().any(|end| dir.to_string_lossy().ends_with(end)).then(|| dir.to_owned()));
        return;
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy();
        if !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, ends, out);
        }
    }
}

fn under(dirs: &[&str], ends: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    dirs.iter().for_each(|dir| files(&root().join(dir), ends, &mut found));
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default())).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn headings(document: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in document.lines() {
        fenced ^= line.starts_with("```");
        if !fenced && line.starts_with('#') {
            found.push(line.trim_start_matches('#').trim());
        }
    }
    found
}

/// The text with comment marks and line breaks taken out, so that a citation may be wrapped.
fn joined(source: &str) -> String {
    let lines = source.lines().map(|line| line.trim_start().trim_start_matches(['/', '!', '#', '-']).trim());
    lines.collect::<Vec<_>>().join(" ")
}

/// Citations have the form `docs/internals/name.md`, optionally with `, "Heading"` behind it.
#[test]
fn sources_cite_headings_that_exist() {
    let mut wrong = Vec::new();
    let mut cited = 0;
    for (path, source) in
        under(&["src", "crates", "tests", "benches", "fuzz", "migrations"], &[".rs", ".py", ".mjs", ".sql", ".lua"])
    {
        let text = joined(&source);
        for (at, _) in text.match_indices("docs/internals/") {
            let rest = &text[at..];
            let Some(end) = rest.find(".md") else { continue };
            let (name, rest) = rest.split_at(end + 3);
            if name.contains(' ') || path.ends_with("it/internals.rs") {
                continue;
            }
            cited += 1;
            let Ok(document) = fs::read_to_string(root().join(name)) else {
                wrong.push(format!("{}: no document {name}", shown(&path)));
                continue;
            };
            let rest = rest.trim_start_matches('`');
            if let Some(heading) = rest.strip_prefix(", \"").and_then(|rest| rest.split('"').next())
                && !headings(&document).contains(&heading)
            {
                wrong.push(format!("{}: {name} has no heading \"{heading}\"", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cited > 40, "only {cited} citations were found");
}

/// Links of the form `[name](file), "Heading"`. That files exist is checked with all documents.
#[test]
fn documents_cite_headings_that_exist() {
    let (mut wrong, mut cited) = (Vec::new(), 0);
    for (path, document) in under(&["docs/internals", "CONTRIBUTING.md", "SECURITY.md"], &[".md"]) {
        for (at, _) in document.match_indices("](") {
            let (target, behind) = document[at + 2..].split_once(')').unwrap();
            let behind = behind.split_whitespace().collect::<Vec<_>>().join(" ");
            let Some(heading) = behind.strip_prefix(", \"").and_then(|rest| rest.split('"').next()) else { continue };
            cited += 1;
            let text = fs::read_to_string(path.parent().unwrap().join(target)).unwrap_or_default();
            if !headings(&text).contains(&heading) {
                wrong.push(format!("{}: {target} has no heading \"{heading}\"", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cited > 10, "only {cited} citations were found");
}

#[test]
fn every_fixture_is_listed_among_the_examples() {
    let examples = fs::read_to_string(root().join("docs/internals/translation/examples.md")).unwrap();
    let mut found = Vec::new();
    files(&root().join("tests/fixtures"), &[""], &mut found);
    for path in found.iter().filter(|path| !path.to_string_lossy().ends_with(".json")) {
        let link = format!("](../../../{})", shown(path));
        assert!(examples.contains(&link), "examples.md does not list {}", shown(path));
    }
}

/// Paths in backticks in the architecture document. A path without a root is meant under `src`.
#[test]
fn paths_in_the_architecture_exist() {
    let document = fs::read_to_string(root().join("docs/internals/architecture.md")).unwrap();
    let mut wrong = Vec::new();
    for word in document.split('`').skip(1).step_by(2) {
        let path = word.trim_end_matches('/');
        let is_path = (word.contains('/') || word.ends_with(".rs")) && !word.contains([' ', '{', '*', '<']);
        let places = ["", "src", "crates", "crates/llm-wire/src"];
        if is_path && !places.iter().any(|place| root().join(place).join(path).exists()) {
            wrong.push(word);
        }
    }
    assert!(wrong.is_empty(), "architecture.md names paths that are not there: {wrong:?}");
}

/// All source below a path without its ending: a file, and a folder of the same name.
fn sources(path: &Path) -> String {
    let mut found = Vec::new();
    files(&path.with_extension("rs"), &[".rs"], &mut found);
    files(path, &[".rs", ".py"], &mut found);
    if path.with_extension("py").is_file() {
        found.push(path.with_extension("py"));
    }
    found.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_property_has_its_tests() {
    let text = fs::read_to_string(root().join("docs/internals/testing.md")).unwrap();
    let mut rows = 0;
    for row in
        text.lines().skip_while(|line| *line != "| property | tests |").skip(2).take_while(|row| row.starts_with('|'))
    {
        rows += 1;
        let (mut source, mut count) = (String::new(), 0);
        for word in row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2) {
            if word.contains('/') {
                source = sources(&root().join(word));
                assert!(!source.is_empty(), "{word} is no file, in: {row}");
            } else {
                let (rust, python) = (format!("fn {word}("), format!("def {word}("));
                assert!(source.contains(&rust) || source.contains(&python), "no test `{word}` there, in: {row}");
                count += 1;
            }
        }
        assert!(count > 0 || row.contains("not implemented"), "neither a test nor a reason: {row}");
    }
    assert!(rows >= 60, "only {rows} properties");
}

/// Documents that are not in this repository are not cited, and no list is cited by its numbers.
#[test]
fn sources_cite_nothing_by_number() {
    let words = [
        "property ",
        "properties ",
        "section ",
        "sections ",
        "principle ",
        "law ",
        "translation.md` ",
        "translation.md ",
    ];
    let mut wrong = Vec::new();
    for (path, source) in under(&["src", "crates", "tests", "benches", "fuzz"], &[".rs", ".py", ".mjs", ".sh"]) {
        if path.ends_with("it/internals.rs") {
            continue;
        }
        for (n, line) in source.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//").or_else(|| line.split_once("# ")) else { continue };
            let lower = comment.to_lowercase();
            let numbered = |word: &str| {
                lower
                    .match_indices(word)
                    .any(|(at, _)| lower[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()))
            };
            // Of public standards the sections are names.
            if words.into_iter().any(numbered) && !comment.contains("RFC") {
                wrong.push(format!("{}:{}: {}", shown(&path), n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A test that starts a gateway runs on both drivers, but for those of the command line and of the
/// documents.
#[test]
fn what_the_second_driver_skips_starts_no_gateway() {
    let script = fs::read_to_string(root().join("tests/run")).unwrap();
    let (_, list) = script.split_once("\nwithout_driver=(").unwrap();
    let skipped: Vec<&str> = list.split_once(')').unwrap().0.split_whitespace().collect();
    assert!(skipped.iter().all(|skip| skip.ends_with("::")), "{skipped:?}");
    let mut found = 0;
    for (path, text) in under(&["tests/it"], &[".rs"]) {
        let name = shown(&path);
        let name = name.trim_start_matches("tests/it/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module = name.replace('/', "::") + "::";
        // The harness skips each test whose name has this text anywhere.
        let Some(skip) = skipped.iter().find(|skip| module.contains(**skip)) else { continue };
        assert!(module.starts_with(skip), "{skip} of tests/run also skips {module}");
        // Its own name is in this file.
        let starts = ["Setup", "::new()"].concat();
        assert!(["cli::", "docs::"].contains(skip) || !text.contains(&starts), "{module} starts a gateway");
        found += usize::from(module == **skip);
    }
    assert_eq!(found, skipped.len(), "each of {skipped:?} is a module");
}
