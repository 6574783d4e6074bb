//! Reads the paths in a source file, and the imports among files.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};

use super::is_test;

/// One path of the code, such as `std::fs::read`, with the line on which its last name stands.
pub(super) struct CodePath {
    pub(super) names: Vec<String>,
    pub(super) line: usize,
}

impl CodePath {
    /// Whether `names`, written with `::`, follow each other somewhere in this path.
    pub(super) fn holds(&self, names: &str) -> bool {
        let wanted: Vec<_> = names.split("::").collect();
        self.names.windows(wanted.len()).any(|window| window.iter().eq(&wanted))
    }

    /// The path behind `crate`, if it is one.
    pub(super) fn inside_crate(&self) -> Option<String> {
        (self.names.len() > 1 && self.names[0] == "crate").then(|| self.names[1..].join("::"))
    }
}

/// The names of the modules above and of `file` itself: `src/net/pool.rs` is `net`, `pool`.
pub(super) fn module_path(file: &str) -> Vec<String> {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside).trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    inside.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect()
}

/// Every path in the code of a file outside of tests; `super` and `self` are made absolute.
pub(super) fn paths(file: &str, text: &str) -> Vec<CodePath> {
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
pub(super) fn imports<'a>(files: impl Iterator<Item = (&'a String, &'a String)>) -> BTreeMap<String, BTreeSet<String>> {
    let files: Vec<_> = files.filter(|(file, _)| !is_test(file)).collect();
    let modules: BTreeSet<String> = files.iter().map(|(file, _)| module_path(file).join("::")).collect();
    let mut graph = BTreeMap::new();
    for (file, text) in files {
        let own = module_path(file).join("::");
        let mut edges = BTreeSet::new();
        for path in paths(file, text) {
            let inside = || if own.is_empty() { String::new() } else { format!("{own}::") };
            let target = path.inside_crate().unwrap_or_else(|| inside() + &path.names.join("::"));
            let ends = target.match_indices("::").map(|(at, _)| at).chain([target.len()]);
            let module = ends.map(|end| &target[..end]).filter(|name| modules.contains(*name)).last();
            // What is behind `crate` and in no module stands in `lib.rs`, whose module is the empty
            // name.
            let root = Some("").filter(|name| path.inside_crate().is_some() && modules.contains(*name));
            let Some(module) = module.or(root) else { continue };
            if module != own {
                edges.insert(module.to_owned());
            }
        }
        graph.insert(own, edges);
    }
    graph
}

/// Groups of modules that reach each other, each in order of their names.
pub(super) fn cycles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
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
