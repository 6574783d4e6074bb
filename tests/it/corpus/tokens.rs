//! Counts of tokens against those that providers reported.

use std::collections::BTreeMap;
use std::fmt::Write;

use llm_proxy::tokens::answer::{self, Answer};
use llm_proxy::tokens::picture::DefaultPicture;
use llm_proxy::tokens::vocabulary::{Vendor, of_model};
use llm_proxy::tokens::{request, text};
use serde_json::Value;

use super::row::Row;
use super::{corpus, say};

/// What a provider reported.
struct Usage {
    input: u64,
    output: u64,
    reasoning: u64,
}

/// Of the last event that has one; Messages reports in two.
fn usage(row: &Row) -> Option<Usage> {
    let text = String::from_utf8(row.answer()).ok()?;
    let mut found = serde_json::Map::new();
    let documents = match row.is_event_stream() || row.stream {
        true => text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect(),
        false => vec![text.as_str()],
    };
    for document in documents {
        let Ok(document) = serde_json::from_str::<Value>(document) else { continue };
        for at in ["/usage", "/message/usage", "/response/usage"] {
            if let Some(usage) = document.pointer(at).and_then(Value::as_object) {
                found.extend(usage.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
            }
        }
    }
    let number = |key: &str| found.get(key).and_then(Value::as_u64);
    let detail = |key: &str| found.get(key).and_then(|details| details["reasoning_tokens"].as_u64()).unwrap_or(0);
    let cached = number("cache_read_input_tokens").unwrap_or(0) + number("cache_creation_input_tokens").unwrap_or(0);
    Some(Usage {
        input: match number("prompt_tokens") {
            Some(prompt) => prompt,
            None => number("input_tokens")? + cached,
        },
        output: number("completion_tokens").or(number("output_tokens")).unwrap_or(0),
        reasoning: detail("completion_tokens_details") + detail("output_tokens_details"),
    })
}

/// Counted and reported, of each row of a group.
#[derive(Default)]
struct Group(Vec<(u64, u64)>);

impl Group {
    fn within(&self, tokens: u64) -> usize {
        self.0.iter().filter(|(counted, reported)| counted.abs_diff(*reported) <= tokens).count()
    }

    /// The error that so many of a hundred rows stay below, in tokens and in percent of what was
    /// reported.
    fn quantile(&self, percent: usize) -> (i64, i64) {
        let mut errors: Vec<_> = self.0.iter().map(|(c, r)| (*c as i64 - *r as i64, *r as i64)).collect();
        errors.sort_by_key(|(error, reported)| (error.abs() * 1000 / (*reported).max(1), *error));
        let (error, reported) = errors[(errors.len() * percent / 100).min(errors.len() - 1)];
        (error, error * 100 / reported.max(1))
    }
}

/// Groups by what they are of, with a line for each.
#[derive(Default)]
struct Table(BTreeMap<String, Group>);

impl Table {
    fn add(&mut self, group: String, counted: u64, reported: u64) {
        self.0.entry(group).or_default().0.push((counted, reported));
    }

    fn print(&self, title: &str) {
        let mut out = format!("{title}: rows, within 2, error at the median and of the worst tenth\n");
        for (name, group) in &self.0 {
            let ((half, half_percent), (tenth, tenth_percent)) = (group.quantile(50), group.quantile(90));
            let (rows, near) = (group.0.len(), group.within(2));
            writeln!(out, "{name:60} {rows:4} {near:4} {half:+6} {half_percent:+4} % {tenth:+7} {tenth_percent:+4} %")
                .unwrap();
        }
        say(&out);
    }
}

/// Whether a request is text alone, which the published rule for messages is about.
fn is_plain(request: &Value) -> bool {
    let others = ["tools", "functions", "response_format", "web_search_options", "audio", "modalities", "prediction"];
    let is_text = |content: &Value| match content {
        Value::Array(parts) => parts.iter().all(|part| part["type"] == "text"),
        content => content.is_string(),
    };
    let is_turn = |message: &Value| is_text(&message["content"]) && message["tool_calls"].is_null();
    others.iter().all(|key| request.get(key).is_none_or(Value::is_null))
        && request["messages"].as_array().is_some_and(|messages| messages.iter().all(is_turn))
}

/// Rows of plain chat with a model of OpenAI, in the corpus as it is today: fewer tried means that
/// something was lost.
const PLAIN: usize = 128;

#[test]
fn counts_against_what_providers_reported() {
    let Some(dir) = corpus() else { return };
    let (mut input, mut output) = (Table::default(), Table::default());
    let mut plain = Group::default();
    for row in Row::all(&dir.join("dev.jsonl")).iter().filter(|row| row.status == 200) {
        let (Some(protocol), Some(usage)) = (row.protocol(), usage(row)) else { continue };
        let body = row.request(protocol);
        let request: Value = serde_json::from_str(&body).unwrap();
        let (Some(name), true) = (request["model"].as_str(), row.was_recorded()) else { continue };
        let model = of_model(name);
        let (counted, _) = request::count(protocol.format, body.as_bytes(), model, &DefaultPicture::default());
        let group = |what: &str| format!("{} {} {name}{what}", row.upstream, row.protocol);
        let is_openai = matches!(row.upstream.as_str(), "openai" | "azure") && model.vendor == Vendor::OpenAi;
        let is_plain = is_plain(&request);
        input.add(group(if is_plain { ", text" } else { "" }), counted, usage.input);
        if row.protocol == "chat" && is_openai && is_plain && !name.contains("search") {
            plain.0.push((counted, usage.input));
            if counted.abs_diff(usage.input) > 2 {
                say(&format!("{}: {name}: counted {counted}, reported {}", row.id, usage.input));
            }
        }
        let bytes = row.answer();
        let answer = if row.is_event_stream() || row.stream { Answer::Stream(bytes) } else { Answer::Whole(bytes) };
        let (written, _) = answer::count(protocol.format, &answer, model);
        let reasons = if usage.reasoning > 0 { ", reasoning" } else { "" };
        output.add(group(reasons), written + usage.reasoning, usage.output);
    }
    input.print("input");
    output.print("output");
    let (rows, near) = (plain.0.len(), plain.within(2));
    say(&format!("plain chat with models of OpenAI: {near} of {rows} rows within 2"));
    assert!(rows >= PLAIN, "{rows} rows of plain chat");
    assert!(near * 100 >= rows * 95, "{near} of {rows} rows within 2");
}

/// Every recorded body, taken as text, is counted as by tiktoken-rs at once.
#[test]
fn recorded_texts_are_counted_as_tiktoken_rs_does() {
    use llm_proxy::tokens::vocabulary::Vocabulary;
    let Some(dir) = corpus() else { return };
    let pairs = [
        (Vocabulary::O200k, tiktoken_rs::o200k_base_singleton()),
        (Vocabulary::Cl100k, tiktoken_rs::cl100k_base_singleton()),
    ];
    let rows = Row::all(&dir.join("dev.jsonl"));
    for (at, row) in rows.iter().enumerate() {
        let body = String::from_utf8_lossy(&row.answer()).into_owned();
        // Every row by one of the two.
        let (vocabulary, whole) = pairs[at % 2];
        let found = text::count(vocabulary, &body);
        assert_eq!(found.tokens, whole.count_ordinary(&body) as u64, "{}", row.id);
        assert!(found.exact, "{}", row.id);
    }
    assert!(rows.len() > 1800);
}
