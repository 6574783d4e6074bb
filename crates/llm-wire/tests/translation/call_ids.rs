//! Tool calls that share an id, and whose each result is.

use std::collections::{HashMap, HashSet};

use llm_wire::Format;
use serde_json::{Value, json};

use crate::support::{PAIRS, request};

/// A step of a conversation: a turn of the assistant with its calls, or results of the user.
enum Step {
    /// Id and name of each call.
    Calls(&'static [(&'static str, &'static str)]),
    /// Id and text of each result.
    Results(&'static [(&'static str, &'static str)]),
    User(&'static str),
}

use Step::{Calls, Results, User};

fn body(format: Format, steps: &[Step]) -> Value {
    let mut items = Vec::new();
    for step in steps {
        match (format, step) {
            (Format::Responses, User(text)) => items.push(json!({"type": "message", "role": "user", "content": text})),
            (_, User(text)) => items.push(json!({"role": "user", "content": text})),
            (Format::Chat, Calls(calls)) => {
                let calls: Vec<Value> = calls.iter().map(|(id, name)| {
                    json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}})
                }).collect();
                items.push(json!({"role": "assistant", "content": null, "tool_calls": calls}));
            }
            (Format::Chat, Results(results)) => items
                .extend(results.iter().map(|(id, text)| json!({"role": "tool", "tool_call_id": id, "content": text}))),
            (Format::Messages, Calls(calls)) => {
                let calls: Vec<Value> = calls
                    .iter()
                    .map(|(id, name)| json!({"type": "tool_use", "id": id, "name": name, "input": {}}))
                    .collect();
                items.push(json!({"role": "assistant", "content": calls}));
            }
            (Format::Messages, Results(results)) => {
                let results: Vec<Value> = results
                    .iter()
                    .map(|(id, text)| json!({"type": "tool_result", "tool_use_id": id, "content": text}))
                    .collect();
                items.push(json!({"role": "user", "content": results}));
            }
            (Format::Responses, Calls(calls)) => items.extend(
                calls
                    .iter()
                    .map(|(id, name)| json!({"type": "function_call", "call_id": id, "name": name, "arguments": "{}"})),
            ),
            (Format::Responses, Results(results)) => items.extend(
                results.iter().map(|(id, text)| json!({"type": "function_call_output", "call_id": id, "output": text})),
            ),
        }
    }
    let list = if format == Format::Responses { "input" } else { "messages" };
    let mut body = json!({"model": "m", list: items});
    if format == Format::Messages {
        body["max_tokens"] = json!(100);
    }
    body
}

/// `name=text` of each call and its result, in the order of the calls. Fails where an id stands
/// twice.
fn answered(format: Format, body: &Value) -> Vec<String> {
    let (mut calls, mut results) = (Vec::new(), HashMap::new());
    let own = |value: &Value| value.as_str().unwrap().to_owned();
    for item in body[if format == Format::Responses { "input" } else { "messages" }].as_array().unwrap() {
        match format {
            Format::Chat => {
                for call in item["tool_calls"].as_array().into_iter().flatten() {
                    calls.push((own(&call["id"]), own(&call["function"]["name"])));
                }
                if item["role"] == "tool" {
                    results.insert(own(&item["tool_call_id"]), own(&item["content"]));
                }
            }
            Format::Messages => {
                for block in item["content"].as_array().into_iter().flatten() {
                    if block["type"] == "tool_use" {
                        calls.push((own(&block["id"]), own(&block["name"])));
                    }
                    if block["type"] == "tool_result" {
                        results.insert(own(&block["tool_use_id"]), own(&block["content"]));
                    }
                }
            }
            Format::Responses => {
                if item["type"] == "function_call" {
                    calls.push((own(&item["call_id"]), own(&item["name"])));
                }
                if item["type"] == "function_call_output" {
                    results.insert(own(&item["call_id"]), own(&item["output"]));
                }
            }
        }
    }
    let ids: HashSet<&String> = calls.iter().map(|(id, _)| id).collect();
    assert_eq!((ids.len(), results.len()), (calls.len(), calls.len()), "{body}");
    calls.iter().map(|(id, name)| format!("{name}={}", results[id])).collect()
}

#[test]
fn each_result_reaches_its_call() {
    let rows: &[(&[Step], &str)] = &[
        (&[Calls(&[("call_0", "f"), ("call_0", "g")]), Results(&[("call_0", "r1"), ("call_0", "r2")])], "f=r1 g=r2"),
        (&[Calls(&[("", "f"), ("", "g")]), Results(&[("", "r1"), ("", "r2")])], "f=r1 g=r2"),
        (
            &[Calls(&[("c", "f"), ("c", "g"), ("c", "h")]), Results(&[("c", "1"), ("c", "2"), ("c", "3")])],
            "f=1 g=2 h=3",
        ),
        (
            &[Calls(&[("c", "f"), ("d", "x"), ("c", "g")]), Results(&[("d", "rx"), ("c", "rf"), ("c", "rg")])],
            "f=rf x=rx g=rg",
        ),
        (
            &[Calls(&[("c", "f"), ("c_2", "x"), ("c", "g")]), Results(&[("c", "rf"), ("c_2", "rx"), ("c", "rg")])],
            "f=rf x=rx g=rg",
        ),
        (
            &[Calls(&[("c", "f"), ("c", "g"), ("c_2", "x")]), Results(&[("c", "rf"), ("c", "rg"), ("c_2", "rx")])],
            "f=rf g=rg x=rx",
        ),
        (
            &[
                Calls(&[("call_0", "f"), ("call_0", "g")]),
                Results(&[("call_0", "1"), ("call_0", "2")]),
                User("more"),
                Calls(&[("call_0", "f"), ("call_0", "g")]),
                Results(&[("call_0", "3"), ("call_0", "4")]),
            ],
            "f=1 g=2 f=3 g=4",
        ),
        // A turn that was left open: the results behind the next are that one's first.
        (
            &[
                Calls(&[("c", "f")]),
                User("?"),
                Calls(&[("c", "g"), ("c", "h")]),
                Results(&[("c", "1"), ("c", "2"), ("c", "3")]),
            ],
            "f=3 g=1 h=2",
        ),
        // Empty ids beside others.
        (&[Calls(&[("", "f"), ("x", "g"), ("", "h")]), Results(&[("x", "2"), ("", "1"), ("", "3")])], "f=1 g=2 h=3"),
        // Results without an id behind calls that have one.
        (&[Calls(&[("a", "f"), ("b", "g")]), Results(&[("", "1"), ("", "2")])], "f=1 g=2"),
    ];
    for (from, to) in PAIRS {
        for (steps, expected) in rows {
            let mut all: Vec<Step> = vec![User("start")];
            all.extend(steps.iter().map(|step| match step {
                Calls(list) => Calls(list),
                Results(list) => Results(list),
                User(text) => User(text),
            }));
            let sent = request(from, to, &body(from, &all));
            assert_eq!(answered(to, &sent).join(" "), *expected, "{from} to {to}: {sent}");
        }
    }
}

/// The new id of a duplicate depends on what precedes it alone.
#[test]
fn a_longer_conversation_begins_with_the_shorter_one() {
    let turn = |ids: &'static [(&'static str, &'static str)]| [Calls(ids), Results(ids), User("more")];
    for (from, to) in PAIRS {
        let mut steps = vec![User("start")];
        let mut before: Vec<Value> = Vec::new();
        for ids in [&[("c", "f"), ("c_2", "g"), ("c", "h")][..], &[("c", "f"), ("c_3", "g")], &[("", "f"), ("", "g")]] {
            steps.extend(turn(ids));
            let sent = request(from, to, &body(from, &steps));
            let list = sent[if to == Format::Responses { "input" } else { "messages" }].as_array().unwrap().clone();
            assert_eq!(list[..before.len()], before, "{from} to {to}");
            before = list;
        }
    }
}

/// In Responses the type of a result names the type of its call.
#[test]
fn results_of_custom_calls_reach_custom_calls() {
    let body = |first: Value, second: Value| {
        json!({"model": "m", "tools": [{"type": "custom", "name": "g"}, {"type": "function", "name": "f", "parameters": {}}],
            "input": [{"role": "user", "content": "start"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "x"}, first, second]})
    };
    let function = json!({"type": "function_call_output", "call_id": "c", "output": "rf"});
    let custom = json!({"type": "custom_tool_call_output", "call_id": "c", "output": "rg"});
    for to in [Format::Chat, Format::Messages] {
        for body in [body(function.clone(), custom.clone()), body(custom.clone(), function.clone())] {
            let sent = request(Format::Responses, to, &body);
            assert_eq!(answered(to, &sent).join(" "), "f=rf g=rg", "{to}: {sent}");
        }
    }
}
