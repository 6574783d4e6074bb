//! Tables that are written by hand, and say nothing that is not so.

use std::collections::BTreeSet;

use llm_proxy::proxy::endpoint::{self, Endpoint};

use super::{rows, section, text};
use crate::support::*;

#[test]
fn endpoints() {
    let page = text("docs/reference/endpoints.md");
    let rows = rows(&page, "| path | format | notes |");
    assert!(rows.len() > 10);
    for row in rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (cell, format) = (cells.next().unwrap(), cells.next().unwrap());
        let (method, path) = cell.trim_matches('`').split_once(' ').unwrap();
        match endpoint::find(&path.replace("{id}", "an_id")) {
            Endpoint::ApiRoute(relay) => {
                let found = (method, relay.template, relay.format.to_string());
                assert_eq!(found, ("POST", path, format.to_owned()), "{row}");
            }
            Endpoint::Stored(_) => assert_eq!(format, "responses", "{row}"),
            Endpoint::EventSink => assert_eq!((method, format), ("POST", ""), "{row}"),
            Endpoint::Unknown | Endpoint::Stateful(_) | Endpoint::Vertex => {
                panic!("no such endpoint: {row}")
            }
            _ => assert_eq!((method, format), ("GET", ""), "{row}"),
        }
    }
}

#[test]
fn agents() {
    let page = text("docs/guides/translation.md");
    let found = rows(&page, "| agent | format | tested against | left out or moved |");
    let package = include_str!("../../clients/agents/package.json");
    let package: serde_json::Value = serde_json::from_str(package).unwrap();
    let agents = [("Claude Code", "@anthropic-ai/claude-code"), ("Codex", "@openai/codex")];
    assert_eq!(found.len(), agents.len());
    for (row, (name, key)) in found.iter().zip(agents) {
        let version = package["dependencies"][key].as_str().unwrap();
        let begin = format!("| {name} {version} | ");
        assert!(row.starts_with(&begin), "{name} is {version} in tests/clients, not {row}");
    }
}

/// The routes of the guide are those of the OpenAPI document, and the other way round.
#[test]
fn admin_routes() {
    let gateway = Setup::new().start();
    let mut client = gateway.client();
    client.ask(&get("/api-docs/openapi.json"));
    let document = client.response().json();
    let mut served = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/admin/v1") else { continue };
        let path = plain(path);
        let methods = operations.as_object().unwrap().keys();
        served.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let guide = text("docs/guides/admin-interface.md");
    let mut described = BTreeSet::new();
    for row in rows(section(&guide, "Routes"), "| method and path | purpose |") {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        for routes in cell.split('`').skip(1).step_by(2) {
            let (methods, path) = routes.rsplit_once(' ').unwrap();
            described.extend(methods.split(' ').map(|method| format!("{method} {path}")));
        }
    }
    assert!(served.len() > 30);
    assert_eq!(described, served);
}

/// `/providers/{provider_id}` as the guide writes it, `/providers/{id}`.
fn plain(path: &str) -> String {
    match path.split_once('{') {
        Some((start, rest)) => format!("{start}{{id{}", &rest[rest.find('}').unwrap()..]),
        None => path.to_owned(),
    }
}
