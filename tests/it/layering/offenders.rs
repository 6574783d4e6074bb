//! A test of a rule must show that the rule stops an offender.

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
        ("src/route/a.rs", "use crate::config::{models, timeouts};", &[1]),
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
fn that_compare_a_format_are_found() {
    assert!(compares_a_format("if format == Format::Chat {") && compares_a_format("a != Format::Messages"));
    assert!(!compares_a_format("Format::Chat => true,") && !compares_a_format("format == other"));
}

#[test]
fn without_documentation_are_found() {
    let text = "pub fn a() {}\n/// B.\npub(crate) struct B;\nimpl B {\n    pub(crate) const C: u8 = 1;\n    fn d() {}\n}\n\
                #[derive(Debug, clap::Args)]\npub struct E;\npub(super) fn f() {}\n#[cfg(test)]\nmod tests {\n    pub fn g() {}\n}\n\
                pub mod h {\n    pub type I = u8;\n}\n";
    let found = undocumented("src/a.rs", text);
    assert_eq!(found, [(1, "a".to_owned()), (5, "C".to_owned()), (16, "I".to_owned())]);
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

#[test]
fn in_a_cycle_through_lib_rs_are_found() {
    let rows = [("crates/x/src/lib.rs", "mod a; pub enum E {}"), ("crates/x/src/a.rs", "use crate::E;")];
    let files: Vec<_> = rows.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
    let graph = imports(files.iter().map(|(file, text)| (file, text)));
    assert_eq!(cycles(&graph), [["", "a"]]);
}
