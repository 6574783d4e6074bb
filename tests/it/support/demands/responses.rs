//! Responses.

use serde_json::Value;

use super::{Check, list, text};

const TOP: &[&str] = &[
    "model",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "store",
    "include",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "metadata",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
    "top_logprobs",
    "truncation",
    "max_tool_calls",
];

pub fn request(body: &Value, check: &mut Check) {
    check.names(body, "body", TOP);
    check.string(&body["model"], "model");
    check.number(body, "max_output_tokens", 16.0..=1e9);
    check.number(body, "temperature", 0.0..=2.0);
    check.number(body, "top_p", 0.0..=1.0);
    check.demand(body["store"] == false, "store", "a client of another format keeps nothing there");
    for name in ["safety_identifier", "prompt_cache_key"] {
        check.demand(text(&body[name]).len() <= 64, name, "has more than 64 characters");
    }
    for entry in list(&body["include"]) {
        check.one_of(entry, "include", &["reasoning.encrypted_content", "message.output_text.logprobs"]);
    }
    if let Some(effort) = body["reasoning"].get("effort") {
        check.one_of(effort, "reasoning.effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"]);
    }
    format(&body["text"], check);
    tools(body, check);
    input(&body["input"], check);
}

fn format(given: &Value, check: &mut Check) {
    if given.is_null() {
        return;
    }
    check.names(given, "text", &["format", "verbosity"]);
    let Some(format) = given.get("format") else { return };
    check.one_of(&format["type"], "text.format", &["text", "json_object", "json_schema"]);
    if format["type"] == "json_schema" {
        check.names(format, "text.format", &["type", "name", "description", "schema", "strict"]);
        check.name(&format["name"], "text.format", 64);
        check.demand(format["schema"].is_object(), "text.format", "has no schema");
        // Left out, the schema would be rewritten.
        check.demand(format["strict"].is_boolean(), "text.format", "does not say whether it is strict");
    }
}

fn tools(body: &Value, check: &mut Check) {
    let tools = list(&body["tools"]);
    check.demand(body.get("tools").is_none() || !tools.is_empty(), "tools", "is empty");
    if tools.is_empty() {
        check.demand(body.get("tool_choice").is_none(), "tool_choice", "without tools");
        check.demand(body.get("parallel_tool_calls").is_none(), "parallel_tool_calls", "without tools");
    }
    let mut names = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let path = format!("tools.{at}");
        match text(&tool["type"]) {
            "function" => {
                check.names(tool, &path, &["type", "name", "description", "parameters", "strict", "defer_loading"]);
                check.name(&tool["name"], &path, 64);
                check.schema(&tool["parameters"], &path);
                check.demand(tool["strict"].is_boolean(), &path, "does not say whether it is strict");
                names.push(text(&tool["name"]).to_owned());
            }
            "custom" => {
                check.names(tool, &path, &["type", "name", "description", "format"]);
                check.name(&tool["name"], &path, 64);
                names.push(text(&tool["name"]).to_owned());
            }
            "web_search" | "web_search_preview" => {}
            "mcp" => check.string(&tool["server_label"], &path),
            other => check.fault(&path, format!("type `{other}`")),
        }
    }
    check.once(names.iter().cloned(), "tools");
    match body.get("tool_choice") {
        None => {}
        Some(Value::String(word)) => {
            check.demand(["auto", "none", "required"].contains(&word.as_str()), "tool_choice", word)
        }
        Some(choice) => match text(&choice["type"]) {
            "function" | "custom" => {
                check.demand(names.iter().any(|name| choice["name"] == **name), "tool_choice", "names no tool");
            }
            "allowed_tools" => check.one_of(&choice["mode"], "tool_choice", &["auto", "required"]),
            "web_search" | "web_search_preview" | "mcp" => {}
            other => check.fault("tool_choice", format!("type `{other}`")),
        },
    }
}

fn input(input: &Value, check: &mut Check) {
    if input.is_string() {
        return;
    }
    check.demand(!list(input).is_empty(), "input", "is empty");
    // Calls so far, and those that have their result.
    let (mut calls, mut answered): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (at, item) in list(input).iter().enumerate() {
        let path = format!("input.{at}");
        let id = text(&item["call_id"]);
        // With `store: false` the provider knows no ids.
        check.demand(item.get("id").is_none(), &path, "has an id");
        match item.get("type").map_or("message", text) {
            "message" => message(item, &path, check),
            "function_call" | "custom_tool_call" => {
                let custom = item["type"] == "custom_tool_call";
                check.names(item, &path, &["type", "call_id", "name", if custom { "input" } else { "arguments" }]);
                check.demand((1..=64).contains(&id.len()), &path, "a call_id of 1 to 64 characters");
                check.name(&item["name"], &path, 64);
                check.string(&item[if custom { "input" } else { "arguments" }], &path);
                check.demand(!calls.contains(&id), &path, "a call_id that was used before");
                calls.push(id);
            }
            "function_call_output" | "custom_tool_call_output" => {
                check.names(item, &path, &["type", "call_id", "output"]);
                check.demand(calls.contains(&id), &path, "answers no call");
                check.demand(!answered.contains(&id), &path, "answers a call twice");
                answered.push(id);
                if !item["output"].is_string() {
                    parts(&item["output"], &path, &["input_text", "input_image", "input_file"], check);
                }
            }
            "reasoning" => {
                check.names(item, &path, &["type", "summary", "content", "encrypted_content"]);
                check.demand(item["summary"].is_array(), &path, "has no summary");
            }
            other => check.fault(&path, format!("type `{other}`")),
        }
    }
    let waiting: Vec<_> = calls.iter().filter(|id| !answered.contains(id)).collect();
    check.demand(waiting.is_empty(), "input", &format!("the calls {waiting:?} have no result"));
}

fn message(item: &Value, path: &str, check: &mut Check) {
    check.names(item, path, &["type", "role", "content", "status"]);
    let kinds: &[&str] = match text(&item["role"]) {
        "assistant" => &["output_text", "refusal"],
        "user" | "system" | "developer" => &["input_text", "input_image", "input_file"],
        other => return check.fault(path, format!("role `{other}`")),
    };
    if !item["content"].is_string() {
        parts(&item["content"], path, kinds, check);
    }
}

fn parts(parts: &Value, path: &str, kinds: &[&str], check: &mut Check) {
    check.demand(!list(parts).is_empty(), path, "no content");
    for (at, part) in list(parts).iter().enumerate() {
        let path = format!("{path}.content.{at}");
        check.one_of(&part["type"], &path, kinds);
        match text(&part["type"]) {
            "input_text" | "output_text" => check.string(&part["text"], &path),
            "refusal" => check.string(&part["refusal"], &path),
            "input_image" => {
                check.one_of(&part["detail"], &path, &["low", "high", "auto", "original"]);
                match part.get("file_id") {
                    Some(id) => check.string(id, &path),
                    None => check.url(&part["image_url"], &path),
                }
            }
            "input_file" => {
                let sources =
                    ["file_data", "file_url", "file_id"].iter().filter(|name| part[**name].is_string()).count();
                check.demand(sources == 1, &path, "needs one of file_data, file_url, file_id");
            }
            _ => {}
        }
    }
}
