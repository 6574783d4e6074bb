//! The generated parts of the reference.

use std::process::Command;

use llm_proxy::cli;
use llm_proxy::config::boot::table::VARIABLES;
use llm_proxy::metrics::names::{Counter, Family, Grid, Shape};
use llm_proxy::proxy::headers;
use llm_proxy::telemetry::stages::Stage;
use llm_wire::canonical::loss::{Loss, Repair};
use llm_wire::error::Kind;
use llm_wire::target::quirks::{Host, Quirk, Quirks};

use super::root;

/// Writes `expected` into the file, or compares it with what is there.
pub(super) fn check(file: &str, name: &str, found: &str, expected: &str, whole: impl Fn() -> String) {
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(file), whole()).unwrap();
        return;
    }
    let (line, differs) = (0..)
        .zip(found.lines().map(Some).chain(std::iter::repeat(None)).zip(expected.lines()))
        .find(|(_, (found, expected))| *found != Some(*expected))
        .unwrap_or_default();
    panic!(
        "{file} is out of date ({name}, line {line}: {differs:?}); \
         `UPDATE_DOCS=1 cargo test --test it docs` writes it"
    );
}

/// Versions of clients that the tests run are those of the tests.
#[test]
fn versions_of_clients() {
    let text = |file: &str| std::fs::read_to_string(root().join("tests/clients").join(file)).unwrap();
    let python = text("python/requirements.txt");
    let node = text("node/package.json") + &text("agents/package.json");
    let packages = [
        ("openai-python", "openai==", "\n"),
        ("anthropic-python", "anthropic==", "\n"),
        ("openai-node", "\"openai\": \"", "\""),
        ("anthropic-node", "\"@anthropic-ai/sdk\": \"", "\""),
        ("claude-code", "\"@anthropic-ai/claude-code\": \"", "\""),
        ("codex", "\"@openai/codex\": \"", "\""),
    ];
    for (name, begins, ends) in packages {
        let source = if begins.ends_with("==") { &python } else { &node };
        let version = source.split(begins).nth(1).unwrap().split(ends).next().unwrap();
        let client = cli::connect::CLIENTS.iter().find(|client| client.name == name).unwrap();
        assert!(
            matches!(client.tried, cli::connect::TestStatus::Automated(tried) if tried == version),
            "{name}: {version}"
        );
    }
}

/// The part of the page between `<!-- generated: NAME -->` and the next `<!-- end -->`.
fn generated(page: &str, name: &str, expected: &str) {
    let file = format!("docs/reference/{page}");
    let text = super::text(&file);
    let mark = format!("<!-- generated: {name} -->\n");
    let start = text.find(&mark).unwrap_or_else(|| panic!("{file} has no {mark}")) + mark.len();
    let end = start + text[start..].find("<!-- end -->").expect("a generated part that does not end");
    let expected = format!("\n{}\n\n", expected.trim());
    check(&file, name, &text[start..end], &expected, || format!("{}{expected}{}", &text[..start], &text[end..]));
}

fn table<const N: usize>(titles: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String; N]| {
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| if cell.is_empty() { " ".to_owned() } else { format!(" {} ", escaped(cell)) })
            .collect();
        format!("|{}|\n", cells.join("|"))
    };
    let mut text = line(&titles.map(str::to_owned));
    text.push_str(&format!("|{}\n", "---|".repeat(N)));
    rows.into_iter().for_each(|row| text.push_str(&line(&row)));
    text
}

/// A cell ends at a bar, even within code.
fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn codes<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(code).collect::<Vec<_>>().join(" ")
}

#[test]
fn settings() {
    let rows = VARIABLES.iter().map(|of| [code(of.name), code(of.default), of.description().into_owned()]);
    generated("settings.md", "settings", &table(["variable", "default", "meaning"], rows));
}

/// Every metric with its labels, in the order of the tables.
#[test]
fn metrics() {
    let row = |name: &str, kind: &str, labels: &[&str], help: &str| {
        [code(name), kind.to_owned(), codes(labels.iter().copied()), help.trim_end_matches('.').to_owned()]
    };
    let counters = Counter::ALL.iter().map(|counter| {
        let (name, help) = counter.describe();
        row(name, "counter", &[], help)
    });
    let families = Family::ALL.iter().map(|family| {
        let of = family.row();
        let kind = match of.shape {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram(_) => "histogram",
        };
        row(of.name, kind, of.labels, of.help)
    });
    let grids = Grid::ALL.iter().map(|grid| {
        let (name, label, help) = grid.describe();
        row(name, "counter", &[label, "from", "to"], help)
    });
    let rows = counters.chain(families).chain(grids);
    generated("metrics.md", "metrics", &table(["metric", "type", "labels", "meaning"], rows));
    let stages = Stage::ALL.map(|stage| [code(stage.label()), stage_meaning(stage).to_owned()]);
    generated("metrics.md", "stages", &table(["stage", "meaning"], stages));
}

fn stage_meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::HeadRead => "reading the request head, from its first byte",
        Stage::Auth => "checking the client's key",
        Stage::BodyRead => "reading and decompressing the request body; nothing where it came with the head",
        Stage::Route => "finding the model in the body, checking permission, choosing a provider",
        Stage::Limit => "asking the limits of the key, waiting for a place and for budgets",
        Stage::Translate => "making the provider's request from the client's, translated or not",
        Stage::Connect => "waiting for a connection to the provider; nothing with a pooled one",
        Stage::FirstByte => "from the first byte sent to the provider to the head of its response",
        Stage::FirstContent => "from the head of the response to its first content; nothing for whole responses",
        Stage::LastByte => "from the first content to the last byte",
        Stage::WriteStall => "waiting for the client to take bytes; not part of the other stages",
    }
}

#[test]
fn translation() {
    let losses = Loss::ALL.iter().map(|loss| [code(loss.label()), loss.description().to_owned()]);
    generated("losses-and-repairs.md", "losses", &table(["name", "reason"], losses));
    let repairs = Repair::ALL.iter().map(|repair| [code(repair.label()), repair.description().to_owned()]);
    generated("losses-and-repairs.md", "repairs", &table(["name", "what was changed"], repairs));
}

#[test]
fn quirks() {
    let quirks = Quirk::ALL.iter().map(|quirk| [code(quirk.name()), quirk.description().to_owned()]);
    generated("quirks.md", "quirks", &table(["quirk", "meaning"], quirks));
    let hosts = Host::ALL.iter().map(|host| [code(host.name()), codes(Quirks::of_host(*host).iter().map(Quirk::name))]);
    generated("quirks.md", "hosts", &table(["host", "quirks"], hosts));
}

#[test]
fn headers_that_are_forwarded() {
    let row = |direction: &str, names: &[&[&str]]| {
        let mut names = names.concat();
        names.sort_unstable();
        [direction.to_owned(), codes(names)]
    };
    let rows = [
        row("to a provider of the client's format", &[headers::TO_UPSTREAM, headers::TO_OWN_FORMAT]),
        row("to a provider of another format", &[headers::TO_UPSTREAM]),
        row("to a client of the provider's format", &[headers::TO_CLIENT]),
        row("to a client of another format", &[headers::TO_ANY_CLIENT]),
    ];
    generated("headers.md", "headers", &table(["direction", "headers"], rows));
}

#[test]
fn errors() {
    let mut kinds = Kind::ALL.to_vec();
    kinds.sort_by_key(|kind| kind.row().status);
    let rows = kinds.into_iter().map(|kind| {
        let row = kind.row();
        [
            row.status.to_string(),
            code(row.openai_code.unwrap_or_default()),
            code(row.openai_type),
            error_meaning(kind).to_owned(),
            row.messages_status.to_string(),
            code(row.messages_type),
        ]
    });
    let titles = ["status", "code", "type", "meaning", "status (Messages)", "type (Messages)"];
    generated("errors.md", "errors", &table(titles, rows));
}

fn error_meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest => "The provider, or the translation, refuses the request",
        Kind::InvalidJson => "The body is not JSON",
        Kind::InvalidType => "A field such as `model` or `stream` has the wrong type",
        Kind::Unsupported => {
            "The provider's format cannot express it, and without it the request would mean something else"
        }
        Kind::ContextTooLong => "The prompt is longer than the model's context",
        Kind::ContentFilter => "The provider's content filter refused the request",
        Kind::Auth => "There is no key in the request, or it is not a key of this gateway",
        Kind::Permission => "The provider does not permit the request",
        Kind::ModelForbidden => "The key may not use this model",
        Kind::Billing => "The provider's account has no credit left",
        Kind::Budget => "A budget of the key, its groups, a tag or a provider has too little left",
        Kind::BudgetRate => "The same with `BUDGET_STATUS=429`",
        Kind::ModelNotFound => "No provider serves the model, or the provider does not know it",
        Kind::NotFound => "There is no such path",
        Kind::NotSupported => {
            "The path needs state that the gateway does not keep, or no provider of the path's format serves the model"
        }
        Kind::MethodNotAllowed => "The path takes other methods, which `allow` names",
        Kind::RequestTimeout => "The client stopped sending its request",
        Kind::Conflict => "The request conflicts with the state of the object",
        Kind::TooLarge => "The body is larger than `MAX_BODY_BYTES`",
        Kind::UnsupportedEncoding => "The `content-encoding` or the content type of the body is not supported",
        Kind::UpgradeRequired => "WebSocket is not supported; send the request over HTTP",
        Kind::RateLimit => "A limit of the key, or of the provider's account, is reached",
        Kind::HeadTooLarge => "The request head is larger than `MAX_HEAD_BYTES`",
        Kind::ClientGone => "The client disconnected; only logs show this",
        Kind::Internal => "The gateway failed",
        Kind::NotImplemented => "This version does not serve the path (Vertex)",
        Kind::UpstreamFault => "The provider failed, closed the connection, or gave an invalid response",
        Kind::UpstreamConnect => "The provider cannot be reached",
        Kind::UpstreamAuth => "The provider refused the gateway's API key",
        Kind::UpstreamTruncated => "The provider's response broke off",
        Kind::Overloaded => "The provider is overloaded, or the gateway is shutting down",
        Kind::NoUpstream => "No provider of the model is in service",
        Kind::HttpVersion => "The version of HTTP is not supported",
        Kind::UpstreamTimeout => "The provider was silent for too long",
    }
}

#[test]
fn command_line() {
    let mut command = cli::command();
    command.build();
    let mut text = String::new();
    describe(&command, "llm-proxy", &mut text);
    generated("command-line.md", "command-line", &text);
}

/// One section for the command, then one for each below it.
fn describe(command: &clap::Command, path: &str, out: &mut String) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    out.push_str(&format!("## {path}\n\n{}\n\n```text\n{usage}\n```\n\n", wrapped(&about)));
    let rows: Vec<_> = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(argument).collect();
    if !rows.is_empty() {
        out.push_str(&table(["argument", "default", "meaning"], rows));
        out.push('\n');
    }
    // `serve` ends with the list of settings, which has a page of its own.
    match command.get_after_help() {
        Some(_) if path == "llm-proxy serve" => {
            out.push_str("The environment variables are in [settings](settings.md).\n\n");
        }
        Some(help) => out.push_str(&format!("```text\n{help}\n```\n\n")),
        None => {}
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        describe(below, &format!("{path} {}", below.get_name()), out);
    }
}

fn argument(arg: &clap::Arg) -> Option<[String; 3]> {
    if matches!(arg.get_id().as_str(), "help" | "version") {
        return None;
    }
    let value = arg.get_value_names().filter(|_| arg.get_action().takes_values()).map(|names| names.join(" "));
    let name = match (arg.get_short(), arg.get_long(), value) {
        (_, None, value) => value.unwrap_or_default(),
        (short, Some(long), value) => {
            let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
            format!("{short}--{long} {}", value.unwrap_or_default()).trim_end().to_owned()
        }
    };
    let is_shown = arg.get_action().takes_values() && !arg.is_hide_default_value_set();
    let default = arg.get_default_values().first().filter(|_| is_shown);
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    assert!(!help.is_empty(), "the argument {name} has no help text");
    Some([code(&name), code(&default.map(|text| text.to_string_lossy()).unwrap_or_default()), help])
}

/// Breaks the lines of a text at 100 columns.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for paragraph in text.split("\n\n") {
        if lines.len() > 1 || !lines[0].is_empty() {
            lines.extend([String::new(), String::new()]);
        }
        for word in paragraph.split_whitespace() {
            let line = lines.last_mut().unwrap();
            if line.len() + 1 + word.len() > 100 {
                lines.push(word.to_owned());
            } else {
                let gap = if line.is_empty() { "" } else { " " };
                line.push_str(gap);
                line.push_str(word);
            }
        }
    }
    lines.join("\n")
}

#[test]
fn configuration_file_schema() {
    let file = "docs/reference/gateway.schema.json";
    let output = Command::new(env!("CARGO_BIN_EXE_llm-proxy")).args(["check-config", "--schema"]).output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    assert!(expected.len() > 10_000, "{}", String::from_utf8_lossy(&output.stderr));
    let found = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    check(file, "schema", &found, &expected, || expected.clone());
}
