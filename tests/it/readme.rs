//! The README says what the program does: its tables are the program's own, its commands are understood, its links lead somewhere.

use std::path::Path;
use std::process::Command;

use llm_proxy::config::boot::table::VARIABLES;
use llm_proxy::metrics::names::{Counter, Family, Grid};
use llm_proxy::proxy::endpoint::{self, Endpoint};
use llm_proxy::proxy::headers::{self, Fate};
use llm_proxy::wire::loss::{Loss, Repair};
use llm_proxy::wire::quirks::Quirk;

const README: &str = include_str!("../../README.md");

/// The text under a heading of level two.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let (_, after) = README.split_once(&heading).unwrap_or_else(|| panic!("the README has no section `{title}`"));
    after.split("\n## ").next().unwrap()
}

/// The rows of the table under these column titles, as written.
fn rows(section: &'static str, titles: &str) -> Vec<&'static str> {
    let mut lines = section.lines().skip_while(|line| *line != titles);
    assert_eq!(lines.next(), Some(titles), "no such table in: {section}");
    lines.skip(1).take_while(|line| line.starts_with('|')).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn assert_table(found: &[&str], expected: &[String]) {
    assert!(found == expected, "write the table in README.md like this:\n{}\n", expected.join("\n"));
}

#[test]
fn settings() {
    let found = rows(section("Settings"), "| variable | default | |");
    let expected: Vec<String> = VARIABLES
        .iter()
        .map(|variable| {
            let default = if variable.default.is_empty() { String::new() } else { format!(" `{}`", variable.default) };
            format!("| `{}` |{default} | {} |", variable.name, variable.help)
        })
        .collect();
    assert_table(&found, &expected);
}

/// Every metric with its labels, in the order of the tables.
#[test]
fn metrics() {
    let found = rows(section("Watching"), "| metric | labels | |");
    let row = |name: &str, labels: &[&str], help: &str| {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!(" {}", labels.join(" ")) };
        format!("| `{name}` |{labels} | {} |", help.trim_end_matches('.'))
    };
    let counters = Counter::ALL.iter().map(|counter| counter.describe()).map(|(name, help)| row(name, &[], help));
    let families = Family::ALL.iter().map(|family| family.row()).map(|of| row(of.name, of.labels, of.help));
    let grids = Grid::ALL.iter().map(|grid| grid.describe());
    let grids = grids.map(|(name, label, help)| row(name, &[label, "from", "to"], help));
    assert_table(&found, &counters.chain(families).chain(grids).collect::<Vec<_>>());
}

/// Every loss and repair that a header may name, and every word for `quirks`.
#[test]
fn translation() {
    let row = |name: &str, why: &str| format!("| `{name}` | {why} |");
    let losses: Vec<String> = Loss::ALL.iter().map(|loss| row(loss.label(), loss.why())).collect();
    assert_table(&rows(section("Translation"), "| name | why |"), &losses);
    let repairs: Vec<String> = Repair::ALL.iter().map(|repair| row(repair.label(), repair.why())).collect();
    assert_table(&rows(section("Translation"), "| name | what was mended |"), &repairs);
    let quirks: Vec<String> = Quirk::ALL.iter().map(|quirk| row(quirk.name(), quirk.why())).collect();
    assert_table(&rows(section("Translation"), "| word | what it says of the provider |"), &quirks);
}

#[test]
fn endpoints() {
    let rows = rows(section("Endpoints"), "| path | format of the provider | |");
    assert!(rows.len() > 10);
    for row in rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (cell, format) = (cells.next().unwrap(), cells.next().unwrap());
        let (method, path) = cell.trim_matches('`').split_once(' ').unwrap();
        match endpoint::find(path) {
            Endpoint::Relay(relay) => {
                assert_eq!((method, relay.route, relay.format.to_string().as_str()), ("POST", path, format), "{row}");
            }
            Endpoint::EventSink => assert_eq!((method, format), ("POST", ""), "{row}"),
            Endpoint::Unknown | Endpoint::Stateful(_) | Endpoint::Vertex => panic!("no such endpoint: {row}"),
            _ => assert_eq!((method, format), ("GET", ""), "{row}"),
        }
    }
}

#[test]
fn headers_that_cross() {
    let rows = rows(section("What crosses the gateway"), "| direction | headers |");
    let [to_provider, to_client] = rows.as_slice() else { panic!("{rows:?}") };
    for name in quoted(to_provider) {
        assert!(headers::to_upstream(name.as_bytes(), true), "{name} does not reach the provider");
    }
    for name in quoted(to_client) {
        assert_eq!(headers::to_client(name.as_bytes()), Fate::Forward, "{name}");
    }
}

/// Every command line of this program, given `--help` besides: it is understood, but does nothing.
#[test]
fn agents() {
    let found = rows(section("Point clients at it"), "| agent | speaks | tried with | left out or moved |");
    let package = include_str!("../clients/agents/package.json");
    let package: serde_json::Value = serde_json::from_str(package).unwrap();
    for (row, (name, key)) in
        found.iter().zip([("Claude Code", "@anthropic-ai/claude-code"), ("Codex", "@openai/codex")])
    {
        let version = package["dependencies"][key].as_str().unwrap();
        assert!(row.starts_with(&format!("| {name} {version} | ")), "{name} is {version} in tests/clients, not {row}");
    }
}

#[test]
fn commands() {
    let mut count = 0;
    let guide = include_str!("../../docs/guides/command-line.md");
    for block in README.split("```sh\n").skip(1).chain(guide.split("```sh\n").skip(1)) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines().filter_map(|line| line.strip_prefix("llm-proxy ")) {
            let command = line.split(" < ").next().unwrap();
            let args = command.split_whitespace().map(|arg| arg.trim_matches('\''));
            let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy")).args(args).arg("--help").output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            count += 1;
        }
    }
    assert!(count >= 5);
}

#[test]
fn links() {
    for link in README.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
        assert!(link.contains("://") || path.exists(), "{link} leads nowhere");
    }
}
