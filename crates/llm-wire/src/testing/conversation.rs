//! What providers demand of a conversation (`docs/internals/translation/requests.md`, "Turns"),
//! read from the request as it is sent.

use std::collections::HashSet;

use crate::format::Format;
use crate::json::RawValue;

/// Panics where a request breaks a rule that its provider would answer with a 400.
pub fn check(format: Format, request: RawValue<'_>) {
    match format {
        Format::Chat => chat(request),
        Format::Messages => messages(request),
        Format::Responses => responses(request),
    }
    if list(request, "tools").next().is_none() {
        assert!(request.find("tool_choice").is_none(), "a choice among no tools: {request:?}");
    }
}

fn list<'a>(object: RawValue<'a>, key: &str) -> impl Iterator<Item = RawValue<'a>> {
    object.find(key).into_iter().flat_map(RawValue::elements).map(|(element, _)| element)
}

fn text(object: RawValue<'_>, key: &str) -> String {
    object.find(key).and_then(RawValue::as_str).unwrap_or_default().unescape().into_owned()
}

/// Results follow their calls at once, one each.
fn chat(request: RawValue<'_>) {
    let mut owed = HashSet::new();
    for message in list(request, "messages") {
        let role = text(message, "role");
        if role == "tool" {
            let id = text(message, "tool_call_id");
            assert!(owed.remove(&id), "a result that nobody waits for: {id:?} in {request:?}");
            continue;
        }
        assert!(owed.is_empty(), "a call without a result: {owed:?} in {request:?}");
        // Calls of kinds that nobody knows go as they came, and nobody knows what they wait for.
        let known = |call: &RawValue<'_>| matches!(text(*call, "type").as_str(), "" | "function" | "custom");
        for call in list(message, "tool_calls").filter(known) {
            let id = text(call, "id");
            assert!(!id.is_empty() && id.len() <= 64, "{id:?}");
            assert!(owed.insert(id), "two calls of one id: {request:?}");
        }
    }
    assert!(owed.is_empty(), "a call without a result: {owed:?} in {request:?}");
}

/// Turns alternate, results stand first and in the order of their calls, and no text is blank.
fn messages(request: RawValue<'_>) {
    assert!(request.find("max_tokens").and_then(RawValue::as_u64).is_some(), "{request:?}");
    let (mut owed, mut last): (Vec<String>, String) = (Vec::new(), String::new());
    for block in list(request, "system") {
        assert!(!text(block, "text").trim().is_empty(), "a blank system block: {request:?}");
    }
    for message in list(request, "messages") {
        let role = text(message, "role");
        if role == "system" {
            assert!(owed.is_empty(), "a call without a result: {request:?}");
            continue;
        }
        assert_ne!(role, last, "two turns of one side: {request:?}");
        assert!(!last.is_empty() || role == "user", "the assistant begins: {request:?}");
        if let Some(content) = message.find("content").and_then(RawValue::as_str) {
            assert!(!content.unescape().trim().is_empty(), "a blank message: {request:?}");
        }
        let mut results = Vec::new();
        let mut other = false;
        let mut calls = Vec::new();
        for block in list(message, "content") {
            match text(block, "type").as_str() {
                "tool_result" => {
                    assert!(!other, "a result behind other content: {request:?}");
                    results.push(text(block, "tool_use_id"));
                    continue;
                }
                // One of the user's is the client's mistake, which goes as it came.
                "tool_use" if role == "assistant" => {
                    let id = text(block, "id");
                    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                    assert!(!id.is_empty() && id.bytes().all(legal), "{id:?}");
                    assert!(block.find("input").is_some_and(RawValue::is_object), "{request:?}");
                    calls.push(id);
                }
                "text" => assert!(!text(block, "text").trim().is_empty(), "a blank block: {request:?}"),
                _ => {}
            }
            other = true;
        }
        assert_eq!(results, owed, "calls and their results in {request:?}");
        (owed, last) = (calls, role);
    }
    assert!(owed.is_empty(), "a call without a result: {request:?}");
}

/// A result has its call, before it; `strict` is always written.
fn responses(request: RawValue<'_>) {
    let mut calls = HashSet::new();
    for item in list(request, "input") {
        match text(item, "type").as_str() {
            "function_call" | "custom_tool_call" => {
                let id = text(item, "call_id");
                assert!(!id.is_empty() && id.len() <= 64, "{id:?}");
                calls.insert(id);
            }
            "function_call_output" | "custom_tool_call_output" => {
                assert!(calls.contains(&text(item, "call_id")), "a result without a call: {request:?}");
            }
            _ => {}
        }
    }
    for tool in list(request, "tools").filter(|tool| tool.find("type").is_some_and(|kind| kind.eq_str("function"))) {
        assert!(tool.find("strict").is_some_and(|strict| strict.as_bool().is_some()), "{request:?}");
        assert!(tool.find("parameters").is_some(), "{request:?}");
    }
}
