//! The rules of the source tree, read from the source itself: one crate has no walls inside, so this test is the wall.
//!
//! Comments, texts and test code are blanked out first (line numbers stay), so that a rule speaks of what runs. A finding names the file,
//! the line and the rule. To change a rule, change its table here and the crate's doc in `src/lib.rs` with it.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, in layer order. A name with `::` allows only what is behind that path; a module may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("json", &[]),
    ("limit", &[]),
    ("sse", &["error", "json"]),
    ("tls", &[]),
    ("wire", &["error", "json", "sse"]),
    ("config", &["error", "json", "limit", "wire::Format", "wire::caps", "wire::plan", "wire::quirks"]),
    ("metrics", &["error"]),
    ("record", &["error", "wire::Format"]),
    ("tokens", &["json", "limit", "sse", "wire::Format"]),
    ("control", &["config", "error", "json", "metrics", "record", "wire::replay"]),
    (
        "route",
        &["config::models", "config::snapshot", "error", "metrics", "wire::Format", "wire::caps", "wire::quirks"],
    ),
    ("net", &["control::names", "control::Shared", "error", "limit", "metrics", "tls"]),
    (
        "proxy",
        &[
            "config::boot",
            "config::models",
            "config::publish",
            "config::snapshot",
            "control",
            "error",
            "json",
            "limit",
            "metrics",
            "net",
            "record",
            "route",
            "sse",
            "tokens",
            "wire",
        ],
    ),
    ("worker", &["config::boot", "control", "error", "metrics", "net", "proxy", "record::ring", "tls"]),
    ("mock", &["error", "json", "net", "sse", "tls", "wire"]),
    (
        "background",
        &["config", "control", "error", "json", "limit", "metrics", "record", "sse", "tls", "tokens", "wire"],
    ),
    (
        "cli",
        &[
            "background",
            "config",
            "control",
            "error",
            "json",
            "limit",
            "metrics",
            "mock",
            "net",
            "proxy",
            "record",
            "route",
            "sse",
            "tls",
            "wire",
            "worker",
        ],
    ),
    // The two files that have no module above them.
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Names that may stand only in these places: a module, or a file by its path under `src`.
const CONFINED: &[(&str, &[&str])] = &[
    ("tokio", &["background", "cli"]),
    ("hyper", &["background"]),
    ("hyper_util", &["background"]),
    ("rusqlite", &["background/store"]),
    ("tokio_postgres", &["background/store"]),
    ("tokio_rustls", &["background/store"]),
    ("saphyr_parser", &["config/file"]),
    ("redis", &["background/leases"]),
    ("rustix", &["background/scrape.rs", "background/tokens.rs", "cli/terminal.rs"]),
    ("tiktoken_rs", &["tokens/text.rs"]),
    ("monoio", &["net", "proxy", "worker", "mock"]),
    ("io_uring", &["net"]),
    ("opentelemetry_proto", &["background/otlp"]),
    ("prost", &["background/otlp"]),
    ("prometheus_client", &["metrics"]),
    ("x509_parser", &["tls"]),
    ("rustls", &["tls", "control", "net", "proxy", "worker", "background", "mock"]),
    ("httparse", &["net"]),
    ("clap", &["cli", "config/boot"]),
];

/// Names that must not stand in these modules, and why.
const FORBIDDEN: &[(&[&str], &[&str], &str)] = &[
    (
        &["Mutex", "RwLock", "Condvar", "Barrier", "mpsc", "crossbeam_channel"],
        &["net", "proxy", "route", "metrics", "record", "control", "limit"],
        "a worker never waits for another thread",
    ),
    // `worker` itself starts threads and waits until they run, with a channel; nothing of that is on a request's path.
    (&["Mutex", "RwLock", "Condvar", "Barrier", "mpsc"], &["worker"], "a worker never waits for another thread"),
    (
        &["SystemTime", "Instant", "getrandom", "tracing", "std::net", "std::fs", "std::thread", "std::env"],
        &["error", "json", "sse", "tokens", "wire"],
        "formats are pure: clock, chance, log and files are handed in or left out",
    ),
    (
        &["SystemTime", "Instant", "std::fs", "std::net::TcpStream", "std::thread"],
        &["config/compile", "config/file", "config/models.rs", "config/pattern.rs"],
        "reading and compiling a configuration is pure",
    ),
    (&["tokens::answer", "tokens::request", "tokens::text"], &["proxy"], "counting takes too long for a worker: guess"),
    (
        &["println", "print", "eprintln", "eprint"],
        &["net", "proxy", "route", "worker", "background"],
        "the log is `tracing`",
    ),
];

/// Files that may hold `unsafe`, and what for.
const UNSAFE: &[(&str, &str)] =
    &[("mock/conn.rs", "lends a descriptor to socket2, to close with a reset; monoio's stream can't lend it itself")];

/// Lines of a file, tests included.
const LONGEST: usize = 700;

#[test]
fn the_tree_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    assert!(paths.len() > 50, "only {} files under {}", paths.len(), root.display());
    let mut findings = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        check(name, &fs::read_to_string(path).unwrap(), &mut findings);
    }
    let mut report = String::new();
    for Finding { file, line, rule } in &findings {
        writeln!(report, "src/{file}:{line}: {rule}").unwrap();
    }
    assert!(findings.is_empty(), "\n{report}");
}

/// A module that nobody has thought about has no layer.
#[test]
fn every_module_has_its_line() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(LAYERS.iter().any(|(name, _)| *name == module), "module `{module}` stands in no layer");
        assert!(lib.contains(&format!("[`{module}`]")), "module `{module}` is missing from the table in src/lib.rs");
    }
    // A module imports only from lines above its own; `main` and `lib` stand outside of that.
    for (at, (name, allowed)) in LAYERS.iter().enumerate() {
        for other in allowed.iter().map(|path| path.split("::").next().unwrap()) {
            assert!(LAYERS[..at].iter().any(|(above, _)| *above == other), "`{other}` does not stand above `{name}`");
        }
    }
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: String,
}

/// Checks one file, named by its path under `src`.
fn check(file: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut find = |line: usize, rule: String| findings.push(Finding { file: file.to_owned(), line, rule });
    let lines = text.lines().count();
    if lines > LONGEST {
        find(lines, format!("{lines} lines; a file has {LONGEST} at most, split it by what it tells"));
    }
    if is_test(file) {
        return;
    }
    let code = without_tests(&plain(text));
    let module = file.split(['/', '.']).next().unwrap();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return find(1, format!("module `{module}` stands in no layer of tests/it/layering.rs"));
    };
    for (line, path) in imports(&code) {
        let within = |allowed: &&str| path == **allowed || path.starts_with(&format!("{allowed}::"));
        if !within(&module) && !allowed.iter().any(within) {
            find(line, format!("`{module}` must not import `{path}`; it may import: {}", allowed.join(", ")));
        }
    }
    for (line, climbed) in climbs(&code) {
        if climbed >= depth(file) {
            find(line, "`super` leads out of the module; write `crate::`, so that its layer is seen".to_owned());
        }
    }
    for (name, places) in CONFINED {
        if !places.iter().any(|place| stands_in(file, place)) {
            let rule = format!("`{name}` may stand only in {}", places.join(", "));
            words(&code, name).into_iter().for_each(|line| find(line, rule.clone()));
        }
    }
    for (names, places, why) in FORBIDDEN {
        for name in names.iter().filter(|_| places.iter().any(|place| stands_in(file, place))) {
            words(&code, name).into_iter().for_each(|line| find(line, format!("`{name}` must not stand here: {why}")));
        }
    }
    let found = words(&code, "unsafe");
    match UNSAFE.iter().any(|(listed, _)| *listed == file) {
        false => found.into_iter().for_each(|line| find(line, "`unsafe` in a file that is not on the list".to_owned())),
        true if found.is_empty() => find(1, "on the list of files with `unsafe`, but holds none".to_owned()),
        true => {}
    }
    for name in [".unwrap()", ".expect(", ".unwrap_err()", ".expect_err("] {
        for (line, _) in numbered(&code).filter(|(_, text)| text.contains(name)) {
            find(line, format!("`{name}` outside of tests: what can't fail has another form, what can has an error"));
        }
    }
}

/// Whether the whole file is test code.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// Whether `file` belongs to `place`: a module or folder such as `net` or `config/compile`, or one file.
fn stands_in(file: &str, place: &str) -> bool {
    file == place || file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// How many modules a file is deep: `error.rs` and `net/mod.rs` are at 1.
fn depth(file: &str) -> usize {
    file.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count()
}

fn numbered(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().map(|(at, text)| (at + 1, text))
}

/// Lines on which `name`, a path or an identifier, stands as a whole.
fn words(code: &str, name: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |text: &str, at: usize| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    };
    let holds = |text: &str| text.match_indices(name).any(|(at, _)| whole(text, at));
    numbered(code).filter(|(_, text)| holds(text)).map(|(line, _)| line).collect()
}

/// Every path behind `crate::`, groups taken apart to any depth: `crate::a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        expand(&code[at + "crate::".len()..], "", &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

/// Reads one path or group from the front of `text`, and gives what is behind it.
fn expand<'t>(text: &'t str, prefix: &str, into: &mut Vec<String>) -> &'t str {
    let mut text = text.trim_start();
    if let Some(rest) = text.strip_prefix('{') {
        text = rest.trim_start();
        while !text.is_empty() && !text.starts_with('}') {
            let rest = expand(text, prefix, into).trim_start();
            // ` as name`, if it is there, and the comma.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            text = rest[end..].trim_start_matches(',').trim_start();
        }
        return text.get(1..).unwrap_or_default();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (prefix, name) {
        (_, "self") => prefix.to_owned(),
        ("", _) => name.to_owned(),
        _ => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) if rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => {
            expand(rest, &path, into)
        }
        _ => {
            into.push(path);
            rest
        }
    }
}

/// Every chain of `super::`, with its length. Items in a module within the file are rare outside of tests, and count as the file's.
fn climbs(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (line, text) in numbered(code) {
        let mut rest = text;
        while let Some(at) = rest.find("super::") {
            rest = &rest[at..];
            let mut length = 0;
            while let Some(next) = rest.strip_prefix("super::") {
                (rest, length) = (next, length + 1);
            }
            found.push((line, length));
        }
    }
    found
}

/// `text` with comments and the insides of literals blanked out.
fn plain(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = at
            + match rest {
                [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
                [b'/', b'*', ..] => block_comment(rest),
                [b'r', b'"' | b'#', ..] if !follows_name(bytes, at) => raw_string(rest),
                [b'"', ..] => quoted(rest, b'"'),
                [b'\'', b'\\', ..] => quoted(rest, b'\''),
                // A character, not a lifetime.
                [b'\'', ..] if char_literal(rest).is_some() => char_literal(rest).unwrap(),
                _ => {
                    at += 1;
                    continue;
                }
            };
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn follows_name(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(b' ', |at| bytes[at]);
    // `br"` is a raw string as well.
    let before = if before == b'b' { at.checked_sub(2).map_or(b' ', |at| bytes[at]) } else { before };
    before.is_ascii_alphanumeric() || before == b'_'
}

fn block_comment(text: &[u8]) -> usize {
    let (mut at, mut open) = (0, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (at, open) = (at + 2, open + 1),
            [b'*', b'/', ..] => (at, open) = (at + 2, open - 1),
            _ => at += 1,
        }
        if open == 0 {
            break;
        }
    }
    at
}

/// 1 for what is no raw string after all, such as `r#type`.
fn raw_string(text: &[u8]) -> usize {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    if text.get(1 + hashes) != Some(&b'"') {
        return 1;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    let found = text[body..].windows(end.len()).position(|window| window == end.as_bytes());
    found.map_or(text.len(), |at| body + at + end.len())
}

fn quoted(text: &[u8], mark: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != mark {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn char_literal(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(&text[1..text.len().min(6)])
        .or_else(|e| std::str::from_utf8(&text[1..1 + e.valid_up_to()]));
    let mut chars = text.ok()?.chars();
    let inside = chars.next().filter(|c| *c != '\'')?;
    (chars.next() == Some('\'')).then_some(inside.len_utf8() + 2)
}

/// `code` with every item under `#[cfg(test)]` blanked out.
fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let mut open = 0;
        let item = &code.as_bytes()[start..];
        let end = item.iter().position(|byte| {
            match byte {
                b'{' => open += 1,
                b'}' => open -= 1,
                _ => {}
            }
            open == 0 && matches!(byte, b'}' | b';')
        });
        let end = end.map_or(item.len(), |end| end + 1);
        out[start..start + end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(out).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(file, text, &mut findings);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    /// A test of a wall must show that the wall stops something.
    #[test]
    fn offenders_are_found_on_their_line() {
        let none: &[usize] = &[];
        let rows: &[(&str, &str, &[usize])] = &[
            ("wire/a.rs", "use crate::json;\n\nuse crate::config::rows;", &[3]),
            ("wire/a.rs", "use crate::{\n    json::{scan, write},\n    net::Pool as P,\n};", &[1]),
            ("wire/a.rs", "fn f() { crate::config::x() }", &[1]),
            ("config/a.rs", "use crate::wire::Format;", none),
            ("config/a.rs", "use crate::wire::{self, Format};", &[1]),
            ("config/a.rs", "use crate::wire::Formats;", &[1]),
            ("route/a.rs", "use crate::config::{models, rows};", &[1]),
            ("proxy/a/b.rs", "use crate::proxy::x;\nuse super::super::y;", none),
            ("proxy/a/b.rs", "use super::super::super::config::rows;", &[1]),
            ("proxy/mod.rs", "use super::config::rows;", &[1]),
            ("error.rs", "use super::config;", &[1]),
            ("nowhere/a.rs", "", &[1]),
            ("net/a.rs", "use tokio::net::TcpStream;", &[1]),
            ("background/a.rs", "use tokio::net::TcpStream;", none),
            ("background/a.rs", "use monoio::net::TcpStream;", &[1]),
            ("worker.rs", "let x = monoio::x();\nlet y = std::sync::Mutex::new(());", &[2]),
            ("net/a.rs", "use std::sync::{Arc, RwLock};", &[1]),
            ("net/a.rs", "struct MyMutex; fn not_a_mutex() {} // Mutex", none),
            ("wire/a.rs", "let now = Instant::now();", &[1]),
            ("sse/a.rs", "fn f() {\n    tracing::info!(\"x\")\n}", &[2]),
            ("json/a.rs", "unsafe { x() }", &[1]),
            ("mock/conn.rs", "unsafe { x() }", none),
            ("mock/conn.rs", "", &[1]),
            (
                "json/a.rs",
                "/// Is `unsafe`.\n/* unsafe { /* x.unwrap() */ } */ fn f() { g(\"unsafe .unwrap()\\\"\"); }",
                none,
            ),
            ("json/a.rs", "let s = r#\"\"unsafe\"#; let c = '\"'; x.unwrap();", &[1]),
            ("json/a.rs", "fn f<'a>(x: &'a str) { let c = '\\''; x.expect(\"\") }", &[1]),
            ("json/a.rs", "x.unwrap_or(1); y.unwrap_or_default();", none),
            (
                "json/a.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::net;\n    fn f() { x.unwrap() }\n}\nfn g() { x.unwrap() }",
                &[6],
            ),
            ("json/a.rs", "#[cfg(test)]\nmod tests;\nuse crate::net;", &[3]),
            ("json/tests.rs", "use crate::net; fn f() { x.unwrap() }", none),
        ];
        for (file, text, expected) in rows {
            assert_eq!(lines(file, text), *expected, "{file}: {text}");
        }
        assert_eq!(lines("json/a.rs", &"\n".repeat(LONGEST)), [0; 0]);
        assert_eq!(lines("json/a.rs", &"\n".repeat(LONGEST + 1)), [LONGEST + 1]);
    }

    #[test]
    fn groups_are_taken_apart() {
        let code = "use crate::a::{self, b, c::{d as x, e}, f::*};\nlet z = crate::g::h::<T>(1);";
        let found: Vec<_> = imports(code).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
        assert_eq!(found, ["1 a", "1 a::b", "1 a::c::d", "1 a::c::e", "1 a::f", "2 g::h"]);
    }
}
