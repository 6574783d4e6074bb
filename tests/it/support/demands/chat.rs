//! Chat Completions.

use serde_json::Value;

use super::{Check, list, text};

/// What OpenAI takes at the top.
const NATIVE: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "tools",
    "tool_choice",
    "response_format",
    "parallel_tool_calls",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "n",
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "reasoning_effort",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
    "web_search_options",
];

/// What imitators take, all of them or the one whose switch it is.
const IMITATOR: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "tools",
    "tool_choice",
    "response_format",
    "top_k",
    "thinking",
    "reasoning",
    "reasoning_effort",
    "continue_final_message",
    "add_generation_prompt",
    "chat_template_kwargs",
];

pub fn request(body: &Value, check: &mut Check) {
    check.names(body, "body", if check.native { NATIVE } else { IMITATOR });
    check.string(&body["model"], "model");
    check.number(body, "temperature", 0.0..=2.0);
    check.number(body, "top_p", 0.0..=1.0);
    check.number(body, "max_tokens", 1.0..=1e9);
    check.number(body, "max_completion_tokens", 1.0..=1e9);
    check.demand(list(&body["stop"]).len() <= 4, "stop", "has more than 4");
    check.demand(body.get("stream_options").is_none() || body["stream"] == true, "stream_options", "without a stream");
    if let Some(id) = body.get("user").or(body.get("safety_identifier")) {
        check.demand(
            text(id).len() <= 64 || body.get("user").is_some(),
            "safety_identifier",
            "has more than 64 characters",
        );
    }
    messages(&body["messages"], check);
    tools(body, check);
    format(body, check);
}

fn messages(all: &Value, check: &mut Check) {
    check.demand(!list(all).is_empty(), "messages", "is empty");
    // Calls of the last assistant message that wait for their result.
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in list(all).iter().enumerate() {
        let path = format!("messages.{at}");
        let role = text(&message["role"]);
        if role != "tool" && !open.is_empty() {
            check.fault(&path, format!("the calls {open:?} have no result"));
            open.clear();
        }
        match role {
            "system" | "developer" => {
                check.names(message, &path, &["role", "content", "name"]);
                content(message, &path, &["text"], check);
                check.demand(role != "developer" || check.native, &path, "a developer at a host that has none");
            }
            "user" => {
                check.names(message, &path, &["role", "content", "name"]);
                content(message, &path, &["text", "image_url", "input_audio", "file"], check);
            }
            "tool" => {
                check.names(message, &path, &["role", "content", "tool_call_id"]);
                content(message, &path, &["text"], check);
                let id = text(&message["tool_call_id"]);
                match open.iter().position(|open| *open == id) {
                    Some(at) => drop(open.remove(at)),
                    None => check.fault(&path, format!("`{id}` is no open call")),
                }
            }
            "assistant" => open = assistant(message, &path, check),
            other => check.fault(&path, format!("role `{other}`")),
        }
    }
    check.demand(open.is_empty(), "messages", "the last calls have no result");
}

fn content(message: &Value, path: &str, kinds: &[&str], check: &mut Check) {
    match &message["content"] {
        Value::String(_) => {}
        Value::Array(parts) if !parts.is_empty() => {
            for (at, part) in parts.iter().enumerate() {
                let path = format!("{path}.content.{at}");
                check.one_of(&part["type"], &path, kinds);
                match text(&part["type"]) {
                    "text" => check.string(&part["text"], &path),
                    "refusal" => check.string(&part["refusal"], &path),
                    "image_url" => {
                        check.names(&part["image_url"], &path, &["url", "detail"]);
                        check.url(&part["image_url"]["url"], &path);
                    }
                    "input_audio" => check.one_of(&part["input_audio"]["format"], &path, &["wav", "mp3"]),
                    "file" => {
                        check.names(&part["file"], &path, &["file_data", "filename", "file_id"]);
                        let one = part["file"]["file_data"].is_string() != part["file"]["file_id"].is_string();
                        check.demand(one, &path, "needs either file_data or file_id");
                    }
                    _ => {}
                }
            }
        }
        other => check.fault(path, format!("content {other}")),
    }
}

/// Gives the ids of its calls.
fn assistant<'v>(message: &'v Value, path: &str, check: &mut Check) -> Vec<&'v str> {
    let own = ["role", "content", "name", "refusal", "tool_calls"];
    let more = ["reasoning_content", "reasoning", "reasoning_details"];
    let known: Vec<&str> = own.into_iter().chain(more.into_iter().filter(|_| !check.native)).collect();
    let mut shown = message.clone();
    // A message of calls alone has `content: null`.
    let silent = message["content"].is_null();
    shown.as_object_mut().unwrap().remove("content");
    check.names(&shown, path, &known);
    let calls = list(&message["tool_calls"]);
    if silent {
        check.demand(!calls.is_empty() || message["refusal"].is_string(), path, "says nothing");
    } else {
        content(message, path, &["text", "refusal"], check);
    }
    check.demand(message.get("tool_calls").is_none() || !calls.is_empty(), path, "an empty list of calls");
    for (at, call) in calls.iter().enumerate() {
        let path = format!("{path}.tool_calls.{at}");
        let kind = text(&call["type"]);
        check.names(call, &path, &["id", "type", "function", "custom", "extra_content"]);
        check.one_of(&call["type"], &path, if check.native { &["function", "custom"] } else { &["function"] });
        check.demand((1..=64).contains(&text(&call["id"]).len()), &path, "an id of 1 to 64 characters");
        check.name(&call[kind]["name"], &path, 64);
        let input = if kind == "custom" { "input" } else { "arguments" };
        check.string(&call[kind][input], &path);
    }
    let ids: Vec<&str> = calls.iter().map(|call| text(&call["id"])).collect();
    check.once(ids.iter().map(|id| (*id).to_owned()), path);
    ids
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
        check.names(tool, &path, &["type", "function", "custom"]);
        let kind = text(&tool["type"]);
        check.one_of(&tool["type"], &path, if check.native { &["function", "custom"] } else { &["function"] });
        check.name(&tool[kind]["name"], &path, 64);
        names.push(text(&tool[kind]["name"]).to_owned());
        if kind == "function" {
            let known: &[&str] = if check.native {
                &["name", "description", "parameters", "strict"]
            } else {
                &["name", "description", "parameters"]
            };
            check.names(&tool["function"], &path, known);
            if let Some(schema) = tool["function"].get("parameters") {
                check.schema(schema, &path);
            }
        }
    }
    check.once(names.iter().cloned(), "tools");
    match body.get("tool_choice") {
        None => {}
        Some(Value::String(word)) => {
            check.demand(["auto", "none", "required"].contains(&word.as_str()), "tool_choice", word)
        }
        Some(choice) if choice["type"] == "allowed_tools" => {
            check.demand(check.native, "tool_choice", "allowed_tools at an imitator");
            check.one_of(&choice["allowed_tools"]["mode"], "tool_choice", &["auto", "required"]);
        }
        Some(choice) => {
            let kind = text(&choice["type"]);
            check.one_of(&choice["type"], "tool_choice", &["function", "custom"]);
            check.demand(names.iter().any(|name| choice[kind]["name"] == **name), "tool_choice", "names no tool");
        }
    }
}

fn format(body: &Value, check: &mut Check) {
    let Some(format) = body.get("response_format") else { return };
    check.one_of(&format["type"], "response_format", &["text", "json_object", "json_schema"]);
    if format["type"] == "json_schema" {
        check.names(&format["json_schema"], "response_format", &["name", "description", "schema", "strict"]);
        check.name(&format["json_schema"]["name"], "response_format", 64);
        check.demand(format["json_schema"]["schema"].is_object(), "response_format", "has no schema");
    }
}
