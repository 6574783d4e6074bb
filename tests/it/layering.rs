//! The rules of the source tree, checked against the source itself: who may import whom inside the
//! root package, where external crates may be named, which names are forbidden where, and how long
//! a file may be. The library crates in `crates/` are kept apart by Cargo.
//!
//! A file is parsed with `syn`; items under a `cfg` that names `test` are left out, and every path
//! in the remaining tokens, also inside macro calls, is made absolute. A finding names the file,
//! the line and the rule. To change a rule, change its table here.

mod documentation;
mod offenders;
mod reading;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use documentation::undocumented;
use reading::{CodePath, cycles, imports, paths};

/// The modules of `src/` in layer order, each with the modules that it may import. A name with
/// `::` allows only what is behind that path. A module may always import itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("breaker", &[]),
    ("limit", &[]),
    ("tls", &[]),
    ("rfc3339", &[]),
    ("telemetry", &[]),
    // Prices apply to the tokens of a record.
    ("config", &["breaker", "limit", "rfc3339", "telemetry::record", "tls"]),
    ("metrics", &[]),
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
            "config::hedging",
            "config::prices",
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
            "config::hedging",
            "config::rescue",
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
    ("worker", &["config::boot", "metrics", "net", "proxy", "shared"]),
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
            "telemetry::record",
            "tls",
            "worker",
        ],
    ),
    // Of the binary alone.
    ("memory", &[]),
    ("allocator", &[]),
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
            "crates/llm-mock/src/tls_faults.rs",
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
    ("crates/llm-wire/src/json/vectors.rs", "calls what is compiled for AVX2, where the processor has it, and SSE2"),
    ("src/proxy/recorder/mod.rs", "takes the record out of what is dropped, to queue it where it lies"),
    ("src/net/fd_channel.rs", "takes descriptors that the kernel passes, which socket2 leaves as bytes"),
    ("src/net/inherited.rs", "takes descriptors that the parent process has opened for this one"),
    ("src/net/handoff.rs", "takes the socket of a monoio stream, which gives it as a number"),
    ("src/net/acked.rs", "asks the kernel for what a peer has acknowledged, which no crate offers"),
    ("src/net/receive.rs", "receives without waiting into memory that is not written yet"),
    ("src/net/send.rs", "sends without waiting on a socket that is not in that mode"),
    ("src/allocator.rs", "is the allocator of the process"),
    ("src/net/monotonic.rs", "reads the clock by a function that callgrind can follow"),
    ("src/memory.rs", "calls the allocator and the kernel, which have no safe function for it"),
    ("src/static_libc.rs", "calls a function of glibc that no crate offers"),
];

/// The highest number of lines in a file, tests included.
const LONGEST: usize = 700;

/// Folders whose files must not import each other in a cycle: all of them, since `LAYERS` keeps the
/// modules of `src` apart.
const ACYCLIC: &[&str] = &[
    "crates/llm-http/src",
    "crates/llm-mock/src",
    "crates/llm-wire/src",
    "src/breaker",
    "src/cli",
    "src/config",
    "src/control_plane",
    "src/limit",
    "src/metrics",
    "src/net",
    "src/proxy",
    "src/route",
    "src/shared",
    "src/telemetry",
    "src/tokens",
    "src/worker",
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

/// A fact about one format belongs into its profile, so that a new format answers for itself.
#[test]
fn no_format_is_compared_by_name() {
    let mut report = String::new();
    for (file, text) in tree().iter().filter(|(file, _)| !is_test(file) && !file.contains("/formats/")) {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| compares_a_format(line)) {
            writeln!(report, "{file}:{}: make this a field of `FormatProfile`: {}", at + 1, line.trim()).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

fn compares_a_format(line: &str) -> bool {
    ["== Format::", "!= Format::"].iter().any(|comparison| line.contains(comparison))
}

/// Whoever uses an item of another file must not have to read how it works.
#[test]
fn public_items_are_documented() {
    let mut report = String::new();
    for (file, text) in tree().iter().filter(|(file, _)| !is_test(file)) {
        for (line, name) in undocumented(file, text) {
            writeln!(report, "{file}:{line}: `{name}` has no documentation").unwrap();
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
