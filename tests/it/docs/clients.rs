//! The guide to clients is generated from their table.

use llm_proxy::cli::connect::{CLIENTS, KEY, MODEL, TestStatus};

use super::reference::{check, wrapped};
use super::root;

const FILE: &str = "docs/guides/clients.md";

#[test]
fn clients() {
    let found = std::fs::read_to_string(root().join(FILE)).unwrap_or_default();
    let expected = guide();
    check(FILE, "the page", &found, &expected, || expected.clone());
}

fn guide() -> String {
    let mut out = INTRODUCTION.to_owned();
    for client in CLIENTS {
        let tried = match client.tried {
            TestStatus::Automated(version) => format!("The tests of this repository run version {version}."),
            TestStatus::Manual(version) => format!("Tried with version {version}."),
            TestStatus::Untested(why) => {
                format!("Untried: the settings are from its documentation, since {why}.")
            }
        };
        let summary = format!("`llm-proxy connect {}`. It speaks {}. {tried}", client.name, client.speaks);
        let settings = client.settings("http://127.0.0.1:18000", KEY, MODEL);
        out.push_str(&format!(
            "\n## {}\n\n{}\n\n{}\n\n```{}\n{settings}\n```\n",
            client.title,
            wrapped(&summary),
            wrapped(&format!("{}:", client.place)),
            client.language
        ));
        if !client.note.is_empty() {
            out.push_str(&format!("\n{}\n", wrapped(client.note)));
        }
    }
    out
}

const INTRODUCTION: &str = "\
# Clients

`llm-proxy connect CLIENT` prints the settings of a client for a gateway, with `--url`, `--key` and
`--model` filled in. This page is generated from the same table
(`UPDATE_DOCS=1 cargo test --test it docs`). Every client reaches every provider, whichever format
it speaks.

Two things explain most of what goes wrong: OpenAI's clients want a base that ends in `/v1`,
Anthropic's want one that does not; and a client that keeps a list of known models may have to be
told the name of yours.
";
