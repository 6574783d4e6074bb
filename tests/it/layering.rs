//! The rules of the source tree, checked against the source itself: who may import whom inside the
//! root package, where external crates may be named, which names are forbidden where, and how long
//! a file may be. The library crates in `crates/` are kept apart by Cargo.
//!
//! A file is parsed with `syn`; items under a `cfg` that names `test` are left out, and every path
//! in the remaining tokens, also inside macro calls, is made absolute. A finding names the file,
//! the line and the rule. To change a rule, change its table here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};

/// The modules of `src/` in layer order, each with the modules that it may import. A name with
/// `::` allows only what is behind that path. A module may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("breaker", &[]),
    ("limit", &[]),
    ("tls", &[]),
    ("rfc3339", &[]),
    ("config", &["breaker", "limit", "rfc3339", "tls"]),
    ("metrics", &[]),
    ("telemetry", &[]),
    ("tokens", &["limit"]),
    ("shared", &["breaker", "config", "limit", "metrics", "telemetry"]),
    (
        "route",
        &[
            "breaker",
            "config::boot",
            "config::compile",
            "config::models",
            "config::rows",
            "config::share",
            "config::snapshot",
            "config::virtual_models",
            "shared::catalog",
        ],
    ),
    ("net", &["config::tunnel", "shared", "tls"]),
    (
        "proxy",
        &[
            "breaker",
            "config::boot",
            "config::models",
            "config::nearest",
            "config::snapshot",
            "config::retries",
            "config::timeouts",
            "config::virtual_models",
            "config::budget",
            "config::prices",
            "limit",
            "metrics",
            "net",
            "rfc3339",
            "route",
            "shared",
            "telemetry",
            "tokens",
        ],
    ),
    ("worker", &["config::boot", "metrics", "net", "proxy", "shared", "tls"]),
    (
        "control_plane",
        &["breaker", "config", "limit", "metrics", "rfc3339", "route", "shared", "telemetry", "tls", "tokens"],
    ),
    (
        "cli",
        &[
            "breaker",
            "config",
            "control_plane",
            "net::fd_channel",
            "net::inherited",
            "net::runtime",
            "rfc3339",
            "route",
            "shared",
            "tls",
            "worker",
        ],
    ),
    // Of the binary alone.
    ("static_libc", &[]),
];

/// Names of crates that may stand only in these places: a folder, a module or a file.
const CONFINED: &[(&str, &[&str])] = &[
    ("clap", &["src/cli"]),
    ("httparse", &["crates/llm-http/src"]),
    ("hyper", &["src/control_plane", "src/cli/admin_client.rs", "src/cli/probe.rs"]),
    ("hyper_util", &["src/control_plane/http", "src/cli/admin_client.rs"]),
    ("io_uring", &["src/net"]),
    ("landlock", &["src/cli/sandbox.rs"]),
    ("monoio", &["src/net", "crates/llm-mock/src"]),
    ("opentelemetry_proto", &["src/control_plane/sinks/otlp"]),
    ("prost", &["src/control_plane/sinks/otlp"]),
    ("prometheus_client", &["src/metrics"]),
    ("redis", &["src/control_plane/limits"]),
    ("rusqlite", &["src/control_plane/store/sqlite"]),
    ("rustix", &["src/control_plane", "src/net", "src/cli/gateway.rs", "src/cli/terminal.rs", "src/cli/upgrade.rs"]),
    (
        "rustls",
        &[
            "src/cli/admin_client.rs",
            "src/cli/bench",
            "src/cli/probe.rs",
            "src/control_plane",
            "src/net",
            "src/proxy/conn.rs",
            "src/shared",
            "src/tls.rs",
            "src/worker.rs",
        ],
    ),
    ("saphyr_parser", &["src/config/file"]),
    ("socket2", &["src/net", "crates/llm-mock/src/conn.rs", "crates/llm-mock/src/server.rs"]),
    ("tiktoken_rs", &["src/tokens/text.rs"]),
    ("time", &["src/rfc3339.rs"]),
    ("tokio", &["src/control_plane", "src/cli"]),
    ("tokio_postgres", &["src/control_plane/store/postgres"]),
    ("tokio_rustls", &["src/cli/bench", "src/control_plane/store/postgres"]),
];

/// Paths that must not stand in these places, and why. A path matches if these names follow each
/// other anywhere in it.
const FORBIDDEN: &[(&[&str], &[&str], &str)] = &[
    (
        &["Mutex", "RwLock", "Condvar", "Barrier", "mpsc", "crossbeam_channel"],
        &["src/net", "src/proxy", "src/route", "src/metrics", "src/telemetry", "src/shared", "src/limit"],
        "a worker never waits for another thread",
    ),
    (
        &["SystemTime", "Instant", "getrandom", "tracing", "std::net", "std::fs", "std::thread", "std::env", "std::io"],
        &["crates/llm-wire/src", "src/tokens"],
        "formats are pure: clock, randomness, log and files are handed in or left out",
    ),
    (
        &["SystemTime", "Instant", "getrandom", "tracing", "std::net", "std::fs", "std::thread", "std::env"],
        &["crates/llm-http/src"],
        "the codec is pure: it works on bytes that its caller read",
    ),
    (
        &["SystemTime", "Instant", "std::fs", "std::net::TcpStream", "std::thread"],
        &["src/config/compile", "src/config/file", "src/config/models.rs", "src/config/pattern.rs"],
        "reading and compiling a configuration is pure",
    ),
    (
        &["tokens::answer", "tokens::request", "tokens::text"],
        &["src/proxy"],
        "counting tokens takes too long for a worker, which estimates",
    ),
    (
        &["println", "print", "eprintln", "eprint"],
        &["src/net", "src/proxy", "src/route", "src/worker.rs", "src/control_plane", "crates"],
        "the log is `tracing`",
    ),
];

/// Files that may hold `unsafe`, each with the reason.
const UNSAFE: &[(&str, &str)] = &[
    ("crates/llm-mock/src/conn.rs", "lends a descriptor to socket2, which monoio's stream can't do"),
    ("src/net/fd_channel.rs", "takes descriptors that the kernel passes, which socket2 leaves as bytes"),
    ("src/net/inherited.rs", "takes descriptors that the parent process has opened for this one"),
    ("src/net/handoff.rs", "takes the socket of a monoio stream, which gives it as a number"),
    ("src/net/monotonic.rs", "reads the clock, of which no crate at hand returns the number"),
    ("src/net/acked.rs", "asks the kernel for what a peer has acknowledged, which no crate offers"),
    ("src/static_libc.rs", "calls a function of glibc that no crate offers"),
];

/// The highest number of lines in a file, tests included.
const LONGEST: usize = 700;

/// Folders whose files must not import each other in a cycle. In the others a folder's `mod.rs` has
/// types that its files use.
const ACYCLIC: &[&str] = &[
    "crates/llm-http/src",
    "crates/llm-mock/src",
    "crates/llm-wire/src",
    "src/breaker",
    "src/cli",
    "src/config",
    "src/control_plane/admin",
    "src/control_plane/discovery",
    "src/control_plane/records",
    "src/control_plane/sinks",
    "src/control_plane/ui",
    "src/metrics",
    "src/net",
    "src/proxy",
    "src/route",
    "src/shared",
    "src/telemetry",
    "src/tokens",
];

#[test]
fn the_tree_keeps_its_rules() {
    let mut findings = Vec::new();
    let tree = tree();
    assert!(tree.len() > 300, "only {} files found", tree.len());
    for (file, text) in &tree {
        check(file, text, &mut findings);
    }
    let mut report = String::new();
    for Finding { file, line, rule } in &findings {
        writeln!(report, "{file}:{line}: {rule}").unwrap();
    }
    assert!(findings.is_empty(), "\n{report}");
}

#[test]
fn folders_have_no_import_cycles() {
    let tree = tree();
    let mut report = String::new();
    for folder in ACYCLIC {
        let files = tree.iter().filter(|(file, _)| stands_in(file, folder));
        for cycle in cycles(&imports(files)) {
            writeln!(report, "files of {folder} import each other in a cycle: {}", cycle.join(", ")).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// A module without a row in `LAYERS` has no rules, so there must be none.
#[test]
fn every_module_has_a_layer() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for item in syn::parse_file(&lib).unwrap().items {
        let syn::Item::Mod(module) = item else { continue };
        let name = module.ident.to_string();
        assert!(LAYERS.iter().any(|(listed, _)| *listed == name), "module `{name}` has no row in LAYERS");
        assert!(lib.contains(&format!("[`{name}`]")), "module `{name}` is missing from the table in src/lib.rs");
    }
    for (at, (name, allowed)) in LAYERS.iter().enumerate() {
        for other in allowed.iter().map(|path| path.split("::").next().unwrap()) {
            assert!(LAYERS[..at].iter().any(|(above, _)| *above == other), "`{other}` does not stand above `{name}`");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: String,
}

/// One path of the code, such as `std::fs::read`, with the line on which its last name stands.
struct CodePath {
    names: Vec<String>,
    line: usize,
}

impl CodePath {
    /// Whether `names`, written with `::`, follow each other somewhere in this path.
    fn holds(&self, names: &str) -> bool {
        let wanted: Vec<_> = names.split("::").collect();
        self.names.windows(wanted.len()).any(|window| window.iter().eq(&wanted))
    }

    /// The path behind `crate`, if it is one.
    fn inside_crate(&self) -> Option<String> {
        (self.names.len() > 1 && self.names[0] == "crate").then(|| self.names[1..].join("::"))
    }
}

/// Every source file of the packages, by its path in the repository, in order.
fn tree() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "crates/llm-wire/src", "crates/llm-http/src", "crates/llm-mock/src"] {
        collect(&root.join(folder), &mut paths);
    }
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
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

/// Checks one file, named by its path in the repository.
fn check(file: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut find = |line: usize, rule: String| findings.push(Finding { file: file.to_owned(), line, rule });
    let lines = text.lines().count();
    if lines > LONGEST {
        find(lines, format!("{lines} lines; a file has at most {LONGEST}, so split it by topic"));
    }
    if is_test(file) {
        return;
    }
    let paths = paths(file, text);
    if let Some(module) = root_module(file).filter(|module| !matches!(*module, "lib" | "main")) {
        match LAYERS.iter().find(|(name, _)| *name == module) {
            None => find(1, format!("module `{module}` has no row in LAYERS of tests/it/layering.rs")),
            Some((_, allowed)) => layers(module, allowed, &paths, &mut find),
        }
    }
    for (name, places) in CONFINED.iter().filter(|(_, places)| !places.iter().any(|place| stands_in(file, place))) {
        for path in paths.iter().filter(|path| path.names.len() > 1 && path.names[0] == *name) {
            find(path.line, format!("`{name}` may stand only in {}", places.join(", ")));
        }
    }
    for (names, _, why) in FORBIDDEN.iter().filter(|(_, places, _)| places.iter().any(|place| stands_in(file, place))) {
        for name in *names {
            for path in paths.iter().filter(|path| path.holds(name)) {
                find(path.line, format!("`{name}` must not stand here: {why}"));
            }
        }
    }
    let mut unsafes = paths.iter().filter(|path| path.holds("unsafe"));
    if !UNSAFE.iter().any(|(listed, _)| *listed == file) {
        unsafes.for_each(|path| find(path.line, "`unsafe` in a file that is not listed in UNSAFE".to_owned()));
    } else if unsafes.next().is_none() {
        find(1, "the file is listed in UNSAFE, but holds no `unsafe`".to_owned());
    }
}

/// Reports imports of `module` that its row in `LAYERS` does not allow.
fn layers(module: &str, allowed: &[&str], paths: &[CodePath], find: &mut impl FnMut(usize, String)) {
    for path in paths {
        let Some(target) = path.inside_crate() else { continue };
        let within = |place: &str| target == place || target.starts_with(&format!("{place}::"));
        if !within(module) && !allowed.iter().any(|place| within(place)) {
            find(path.line, format!("`{module}` must not import `{target}`; it may import: {}", allowed.join(", ")));
        }
    }
}

/// Whether the whole file is test code.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.contains("/testing/")
}

/// Whether `file` belongs to `place`: a folder, a module such as `src/worker`, or one file.
fn stands_in(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest == ".rs")
}

/// The module of the root package that `file` belongs to.
fn root_module(file: &str) -> Option<&str> {
    file.strip_prefix("src/")?.split(['/', '.']).next()
}

/// The names of the modules above and of `file` itself: `src/net/pool.rs` is `net`, `pool`.
fn module_path(file: &str) -> Vec<String> {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside).trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    inside.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect()
}

/// Every path in the code of a file outside of tests; `super` and `self` are made absolute.
fn paths(file: &str, text: &str) -> Vec<CodePath> {
    let mut parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{file}: {e}"));
    WithoutTests.visit_file_mut(&mut parsed);
    parsed.attrs.clear();
    let mut found = Vec::new();
    read(parsed.into_token_stream(), &[], &mut found);
    let module = module_path(file);
    for path in &mut found {
        let climbs = path.names.iter().take_while(|name| *name == "super").count();
        // In `mod a { use super::b }` this is one level too far up, and so the stricter reading.
        let keep = module.len().saturating_sub(climbs);
        if climbs > 0 || (path.names[0] == "self" && path.names.len() > 1) {
            let rest = path.names.split_off(climbs.max(1));
            path.names =
                std::iter::once("crate".to_owned()).chain(module[..keep].iter().cloned()).chain(rest).collect();
        }
    }
    found
}

/// Takes out items, fields and statements whose `cfg` names `test`, and all documentation.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_gated(item));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        module.content.iter_mut().for_each(|(_, items)| items.retain(|item| !is_gated(item)));
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, block: &mut syn::ItemImpl) {
        block.items.retain(|item| !is_gated(item));
        visit_mut::visit_item_impl_mut(self, block);
    }

    fn visit_visibility_mut(&mut self, visibility: &mut syn::Visibility) {
        // `pub(super)` imports nothing.
        *visibility = syn::Visibility::Inherited;
    }

    fn visit_attributes_mut(&mut self, attributes: &mut Vec<syn::Attribute>) {
        attributes.retain(|attribute| !attribute.path().is_ident("doc"));
    }
}

/// Whether an item stands under `#[cfg(..)]` with `test` in it. Outer attributes come first.
fn is_gated(item: &impl ToTokens) -> bool {
    let mut tokens = item.to_token_stream().into_iter();
    while let Some(TokenTree::Punct(_)) = tokens.next() {
        let Some(TokenTree::Group(attribute)) = tokens.next() else { break };
        let text = attribute.stream().to_string();
        let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        if words[0] == "cfg" && words.contains(&"test") && !words.contains(&"not") {
            return true;
        }
    }
    false
}

/// Collects the paths of a stream, groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`. The
/// names in `prefix` go before each path that stands in this stream.
fn read(stream: TokenStream, prefix: &[String], found: &mut Vec<CodePath>) {
    let mut tokens = stream.into_iter().peekable();
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => read(group.stream(), &[], found),
            // The new name in `use a::{b as c}`; in an expression a type follows, read on its own.
            TokenTree::Ident(ident) if ident == "as" => {
                if !prefix.is_empty() {
                    tokens.next();
                }
            }
            TokenTree::Ident(ident) => {
                let mut names = prefix.to_vec();
                let mut last = ident;
                names.push(last.to_string());
                // A single colon stands before a type, and two before the next name.
                let group = loop {
                    let mut ahead = tokens.clone();
                    if !(colon(ahead.next().as_ref()) && colon(ahead.next().as_ref())) {
                        break None;
                    }
                    match ahead.next() {
                        Some(TokenTree::Ident(next)) => {
                            names.push(next.to_string());
                            last = next;
                        }
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            tokens = ahead;
                            break Some(group);
                        }
                        _ => break None,
                    }
                    tokens = ahead;
                };
                if names.len() > 1 && names.last().is_some_and(|name| name == "self") {
                    names.pop();
                }
                match group {
                    Some(group) => read(group.stream(), &names, found),
                    None => found.push(CodePath { names, line: last.span().start().line }),
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Which file imports which, by module path. A path leads to the deepest module that it names.
fn imports<'a>(files: impl Iterator<Item = (&'a String, &'a String)>) -> BTreeMap<String, BTreeSet<String>> {
    let files: Vec<_> = files.filter(|(file, _)| !is_test(file)).collect();
    let modules: BTreeSet<String> = files.iter().map(|(file, _)| module_path(file).join("::")).collect();
    let mut graph = BTreeMap::new();
    for (file, text) in files {
        let own = module_path(file).join("::");
        let mut edges = BTreeSet::new();
        for path in paths(file, text) {
            let target = path.inside_crate().unwrap_or_else(|| format!("{own}::{}", path.names.join("::")));
            let ends = target.match_indices("::").map(|(at, _)| at).chain([target.len()]);
            let Some(module) = ends.map(|end| &target[..end]).filter(|name| modules.contains(*name)).last() else {
                continue;
            };
            if module != own {
                edges.insert(module.to_owned());
            }
        }
        graph.insert(own, edges);
    }
    graph
}

/// Groups of modules that reach each other, each in order of their names.
fn cycles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, targets) in &reach {
        let group: Vec<_> = targets.iter().filter(|to| reach[*to].contains(*from)).cloned().collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

fn reachable(graph: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for target in &graph[next] {
            if seen.insert(target.clone()) {
                open.push(target);
            }
        }
    }
    seen
}

/// A test of a rule must show that the rule stops an offender.
mod offenders {
    use super::*;

    fn lines(file: &str, text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(file, text, &mut findings);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn are_found_on_their_line() {
        let none: &[usize] = &[];
        let rows: &[(&str, &str, &[usize])] = &[
            ("src/net/a.rs", "use llm_wire::json;\n\nuse crate::config::rows;", &[3]),
            ("src/net/a.rs", "use crate::{\n    shared::names,\n    proxy::Pool as P,\n};", &[3]),
            ("src/net/a.rs", "fn f() { g!(crate::config::x()) }", &[1]),
            ("src/net/a.rs", "use crate::shared::{self, names};", none),
            ("src/route/a.rs", "use crate::config::{models, prices};", &[1]),
            ("src/route/a.rs", "use crate::config::models2;", &[1]),
            ("src/proxy/a/b.rs", "use crate::proxy::x; use super::super::y; use super::super::super::net::x;", none),
            ("src/proxy/a/b.rs", "use super::super::super::cli::x;", &[1]),
            ("src/proxy/mod.rs", "use super::cli;", &[1]),
            ("src/nowhere/a.rs", "", &[1]),
            ("src/net/a.rs", "use tokio::net::TcpStream;", &[1]),
            ("src/control_plane/a.rs", "use tokio::net::TcpStream;", none),
            ("src/control_plane/a.rs", "use monoio::net::TcpStream;", &[1]),
            ("src/worker.rs", "fn f() { let x = crate::net::x();\nlet y = monoio::x(); }", &[2]),
            ("src/net/a.rs", "use std::sync::{Arc, RwLock};", &[1]),
            ("src/net/a.rs", "struct MyMutex; fn not_a_mutex() {} // Mutex", none),
            ("crates/llm-wire/src/a.rs", "fn f() { let now = Instant::now(); }", &[1]),
            ("crates/llm-wire/src/a.rs", "fn f() {\n    tracing::info!(\"x\")\n}", &[2]),
            ("crates/llm-wire/src/a.rs", "use std::{fmt, fs};", &[1]),
            ("src/proxy/a.rs", "fn f() { println!(\"x\") }", &[1]),
            ("src/limit/a.rs", "fn f() { unsafe { x() } }", &[1]),
            ("crates/llm-mock/src/conn.rs", "fn f() { unsafe { x() } }", none),
            ("crates/llm-mock/src/conn.rs", "", &[1]),
            ("src/limit/a.rs", "/// Is `unsafe`.\nfn f() { g(\"unsafe\"); } /* unsafe */", none),
            ("src/limit/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::net;\n}\nuse crate::net;", &[5]),
            ("src/limit/a.rs", "#[cfg(any(test, fuzzing))]\nuse crate::net;\n#[cfg(not(test))]\nuse crate::net;", &[4]),
            ("src/limit/a.rs", "impl A {\n    #[cfg(test)]\n    fn f() { crate::net::x() }\n}", none),
            ("src/limit/tests.rs", "use crate::net;", none),
        ];
        for (file, text, expected) in rows {
            assert_eq!(lines(file, text), *expected, "{file}: {text}");
        }
        assert_eq!(lines("src/limit/a.rs", &"\n".repeat(LONGEST)), [0; 0]);
        assert_eq!(lines("src/limit/a.rs", &"\n".repeat(LONGEST + 1)), [LONGEST + 1]);
    }

    #[test]
    fn in_a_cycle_are_found() {
        let rows = [
            ("src/proxy/mod.rs", "mod a; mod b; mod c; mod d;"),
            ("src/proxy/a.rs", "use crate::proxy::b::B;"),
            ("src/proxy/b.rs", "use super::{c, d};"),
            ("src/proxy/c/mod.rs", "fn f() { crate::proxy::a::f() }"),
            ("src/proxy/d.rs", "#[cfg(test)] use super::a;"),
        ];
        let files: Vec<_> = rows.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
        let graph = imports(files.iter().map(|(file, text)| (file, text)));
        assert_eq!(cycles(&graph), [["proxy::a", "proxy::b", "proxy::c"]]);
    }
}
