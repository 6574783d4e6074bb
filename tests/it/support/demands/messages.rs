//! Messages.

use serde_json::Value;

use super::{Check, list, text};

const TOP: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "system",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "service_tier",
    "cache_control",
    "mcp_servers",
];

pub fn request(body: &Value, check: &mut Check) {
    check.names(body, "body", TOP);
    check.string(&body["model"], "model");
    check.demand(body["max_tokens"].as_u64().is_some_and(|n| n > 0), "max_tokens", "is required");
    check.number(body, "temperature", 0.0..=1.0);
    check.number(body, "top_p", 0.0..=1.0);
    for (at, block) in list(&body["system"]).iter().enumerate() {
        words(block, &format!("system.{at}"), check);
    }
    check.demand(body.get("system").is_none() || !list(&body["system"]).is_empty(), "system", "is empty");
    for stop in list(&body["stop_sequences"]) {
        check.demand(!text(stop).trim().is_empty(), "stop_sequences", "a blank one");
    }
    if let Some(metadata) = body.get("metadata") {
        check.names(metadata, "metadata", &["user_id"]);
    }
    thinking(body, check);
    tools(body, check);
    messages(body, check);
    let points = body.to_string().matches("\"cache_control\":{").count();
    check.demand(points <= 4, "cache_control", &format!("{points} breakpoints, of 4"));
}

fn thinking(body: &Value, check: &mut Check) {
    let thinking = &body["thinking"];
    let Some(kind) = thinking["type"].as_str() else {
        return check.demand(thinking.is_null(), "thinking", "has no type");
    };
    check.one_of(&thinking["type"], "thinking", &["enabled", "adaptive", "disabled"]);
    if kind == "enabled" {
        let (budget, most) =
            (thinking["budget_tokens"].as_u64().unwrap_or(0), body["max_tokens"].as_u64().unwrap_or(0));
        check.demand((1024..most).contains(&budget), "thinking", &format!("a budget of {budget} within {most}"));
        let forced = matches!(text(&body["tool_choice"]["type"]), "any" | "tool");
        check.demand(!forced, "thinking", "together with a forced tool");
    }
    if kind != "disabled" {
        check.demand(body.get("temperature").is_none(), "temperature", "while thinking");
        check.demand(body.get("top_k").is_none(), "top_k", "while thinking");
    }
    if let Some(effort) = body["output_config"].get("effort") {
        check.one_of(effort, "output_config.effort", &["low", "medium", "high", "xhigh", "max"]);
    }
}

fn tools(body: &Value, check: &mut Check) {
    let tools = list(&body["tools"]);
    let mut names = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let path = format!("tools.{at}");
        names.push(text(&tool["name"]).to_owned());
        match tool.get("type").map(text) {
            None | Some("custom") => {
                let known = [
                    "type",
                    "name",
                    "description",
                    "input_schema",
                    "strict",
                    "cache_control",
                    "defer_loading",
                    "input_examples",
                    "allowed_callers",
                    "eager_input_streaming",
                ];
                check.names(tool, &path, &known);
                check.name(&tool["name"], &path, 128);
                check.schema(&tool["input_schema"], &path);
            }
            Some(kind) => {
                check.demand(kind.starts_with("web_search_") || kind == "mcp_toolset", &path, &format!("type `{kind}`"))
            }
        }
    }
    check.once(names.iter().filter(|name| !name.is_empty()).cloned(), "tools");
    let Some(choice) = body.get("tool_choice") else { return };
    check.demand(!tools.is_empty(), "tool_choice", "without tools");
    check.one_of(&choice["type"], "tool_choice", &["auto", "any", "tool", "none"]);
    check.names(
        choice,
        "tool_choice",
        match text(&choice["type"]) {
            "none" => &["type"],
            "tool" => &["type", "name", "disable_parallel_tool_use"],
            _ => &["type", "disable_parallel_tool_use"],
        },
    );
    if choice["type"] == "tool" {
        check.demand(names.iter().any(|name| choice["name"] == **name), "tool_choice", "names no tool");
    }
}

fn messages(body: &Value, check: &mut Check) {
    let all = list(&body["messages"]);
    check.demand(all.first().is_some_and(|first| first["role"] == "user"), "messages", "does not begin with a user");
    let mut open: Vec<&str> = Vec::new();
    let mut last = "";
    for (at, message) in all.iter().enumerate() {
        let path = format!("messages.{at}");
        check.names(message, &path, &["role", "content", "output_config"]);
        let role = text(&message["role"]);
        check.one_of(&message["role"], &path, &["user", "assistant", "system"]);
        check.demand(role != last, &path, "the speaker before speaks again");
        let blocks = match &message["content"] {
            Value::Array(blocks) if !blocks.is_empty() => blocks.as_slice(),
            Value::String(words) if !words.trim().is_empty() => &[],
            other => {
                check.fault(&path, format!("content {other}"));
                &[]
            }
        };
        match role {
            "assistant" => {
                check.demand(open.is_empty(), &path, "calls before it have no result");
                open = assistant(blocks, &path, check);
            }
            "user" => {
                results(blocks, &mut open, &path, check);
                blocks
                    .iter()
                    .enumerate()
                    .for_each(|(at, block)| check_block(block, &format!("{path}.content.{at}"), check));
            }
            _ => {
                check.demand(last == "user", &path, "a system message behind no user");
                let next = all.get(at + 1).map(|next| text(&next["role"]));
                check.demand(next.is_none_or(|next| next == "assistant"), &path, "a system message before a user");
                blocks.iter().for_each(|block| words(block, &path, check));
            }
        }
        last = role;
    }
    check.demand(open.is_empty(), "messages", "the last calls have no result");
    let has_calls = all.iter().any(|m| list(&m["content"]).iter().any(|block| block["type"] == "tool_use"));
    check.demand(!has_calls || !list(&body["tools"]).is_empty(), "tools", "calls in history, and no tools");
    if let Some(end) = all.last().filter(|last| last["role"] == "assistant") {
        let end = list(&end["content"]).last().map(|block| text(&block["text"])).unwrap_or_default();
        check.demand(end == end.trim_end(), "messages", "ends in white space");
    }
}

/// Gives the ids of its calls.
fn assistant<'v>(blocks: &'v [Value], path: &str, check: &mut Check) -> Vec<&'v str> {
    let mut ids = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let path = format!("{path}.content.{at}");
        match text(&block["type"]) {
            "text" => words(block, &path, check),
            "thinking" => check.demand(!text(&block["signature"]).is_empty(), &path, "without a signature"),
            "redacted_thinking" => check.demand(!text(&block["data"]).is_empty(), &path, "without data"),
            "tool_use" => {
                check.names(block, &path, &["type", "id", "name", "input", "cache_control"]);
                check.name(&block["id"], &path, usize::MAX);
                check.name(&block["name"], &path, 128);
                check.demand(block["input"].is_object(), &path, "input is no object");
                ids.push(text(&block["id"]));
            }
            other => check.fault(&path, format!("an assistant's block `{other}`")),
        }
    }
    check.once(ids.iter().map(|id| (*id).to_owned()), path);
    ids
}

/// One for each open call, before all else.
fn results<'v>(blocks: &'v [Value], open: &mut Vec<&'v str>, path: &str, check: &mut Check) {
    let mut others = false;
    for block in blocks {
        if block["type"] != "tool_result" {
            others = true;
            continue;
        }
        check.demand(!others, path, "a result behind other blocks");
        match open.iter().position(|open| block["tool_use_id"] == **open) {
            Some(at) => drop(open.remove(at)),
            None => check.fault(path, format!("{} is no open call", block["tool_use_id"])),
        }
    }
    check.demand(open.is_empty(), path, &format!("the calls {open:?} have no result"));
    open.clear();
}

fn check_block(block: &Value, path: &str, check: &mut Check) {
    match text(&block["type"]) {
        "text" => words(block, path, check),
        "image" => {
            let source = &block["source"];
            match text(&source["type"]) {
                "base64" => {
                    check.one_of(&source["media_type"], path, &["image/jpeg", "image/png", "image/gif", "image/webp"]);
                    check.demand(!text(&source["data"]).is_empty(), path, "no data");
                }
                "url" => check.url(&source["url"], path),
                "file" => check.string(&source["file_id"], path),
                other => check.fault(path, format!("source `{other}`")),
            }
        }
        "document" => {
            check.names(block, path, &["type", "source", "title", "context", "citations", "cache_control"]);
            check.one_of(&block["source"]["type"], path, &["base64", "url", "text", "file", "content"]);
        }
        "tool_result" => {
            check.names(block, path, &["type", "tool_use_id", "content", "is_error", "cache_control"]);
            match &block["content"] {
                Value::Null | Value::String(_) => {}
                Value::Array(parts) if !parts.is_empty() => {
                    parts.iter().for_each(|part| check_block(part, path, check))
                }
                other => check.fault(path, format!("content {other}")),
            }
        }
        other => check.fault(path, format!("a user's block `{other}`")),
    }
}

fn words(block: &Value, path: &str, check: &mut Check) {
    check.names(block, path, &["type", "text", "cache_control", "citations"]);
    check.demand(block["type"] == "text" && !text(&block["text"]).trim().is_empty(), path, "blank text");
}
