//! Whole answers of compatible hosts that take the types and members of a format less strictly than
//! its vendor: what they say arrives at clients of both other formats.

use llm_wire::Format;
use serde_json::{Value, json};

use crate::support::whole;

/// An answer whose text is `Hi`, as the vendor writes it.
fn plain(format: Format) -> Value {
    match format {
        Format::Chat => json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Hi", "refusal": null },
                "logprobs": null, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 } }),
        Format::Messages => json!({ "id": "m", "type": "message", "role": "assistant", "model": "m",
            "content": [{ "type": "text", "text": "Hi" }], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": 3, "output_tokens": 2 } }),
        Format::Responses => json!({ "id": "r", "object": "response", "created_at": 1, "status": "completed",
            "model": "m", "output": [{ "type": "message", "id": "i", "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": "Hi", "annotations": [] }] }],
            "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 } }),
    }
}

/// An answer with one call of `f`.
fn calling(format: Format) -> Value {
    let mut answer = plain(format);
    match format {
        Format::Chat => {
            answer["choices"][0] = json!({ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant",
                "content": null, "tool_calls": [{ "id": "a", "type": "function",
                    "function": { "name": "f", "arguments": "{\"a\":1}" } }] } });
        }
        Format::Messages => {
            answer["content"] = json!([{ "type": "tool_use", "id": "a", "name": "f", "input": { "a": 1 } }]);
            answer["stop_reason"] = json!("tool_use");
        }
        Format::Responses => {
            answer["output"] = json!([{ "type": "function_call", "id": "i", "call_id": "a", "name": "f",
                "arguments": "{\"a\":1}", "status": "completed" }]);
        }
    }
    answer
}

/// The answer with another value at a JSON pointer, or without what is there.
fn with(mut answer: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = answer.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(object), Some(value)) => _ = object.insert(name.to_owned(), value),
        (Value::Object(object), None) => _ = object.remove(name),
        (Value::Array(list), Some(value)) => list[name.parse::<usize>().unwrap()] = value,
        (parent, _) => panic!("{pointer} in {parent}"),
    }
    answer
}

fn others(format: Format) -> impl Iterator<Item = Format> {
    [Format::Chat, Format::Messages, Format::Responses].into_iter().filter(move |client| *client != format)
}

#[test]
fn the_text_arrives() {
    let rows: &[(Format, &str, &[Option<Value>])] = &[
        (Format::Chat, "/id", &[None, Some(json!(null)), Some(json!(7)), Some(json!(""))]),
        (Format::Chat, "/object", &[None, Some(json!("text_completion"))]),
        (Format::Chat, "/created", &[None, Some(json!("2026-01-01")), Some(json!(1.5)), Some(json!(-1))]),
        (Format::Chat, "/model", &[None, Some(json!(null)), Some(json!(""))]),
        (Format::Chat, "/own", &[Some(json!({ "a": [1] }))]),
        (Format::Chat, "/choices/0/index", &[None, Some(json!("0")), Some(json!(3))]),
        (Format::Chat, "/choices/0/finish_reason", &[None, Some(json!(null)), Some(json!("eos")), Some(json!("STOP"))]),
        (Format::Chat, "/choices/0/message/role", &[None, Some(json!("model"))]),
        (Format::Chat, "/choices/0/message/tool_calls", &[Some(json!(null)), Some(json!([]))]),
        (Format::Chat, "/choices/0/message/function_call", &[Some(json!(null))]),
        (Format::Chat, "/choices/0/message/refusal", &[None, Some(json!(""))]),
        (
            Format::Chat,
            "/choices/0/message/content",
            &[Some(json!(["Hi"])), Some(json!([{ "type": "text", "text": "Hi" }])), Some(json!({ "text": "Hi" }))],
        ),
        (
            Format::Chat,
            "/usage",
            &[
                None,
                Some(json!(null)),
                Some(json!({})),
                Some(json!({ "prompt_tokens": 3.0, "completion_tokens": "2" })),
                Some(json!({ "prompt_tokens": null, "completion_tokens": -1 })),
            ],
        ),
        (Format::Messages, "/id", &[None, Some(json!(null)), Some(json!(7))]),
        (Format::Messages, "/role", &[None]),
        (Format::Messages, "/model", &[None, Some(json!(null))]),
        (Format::Messages, "/stop_reason", &[None, Some(json!(null)), Some(json!("eos"))]),
        (
            Format::Messages,
            "/content",
            &[Some(json!("Hi")), Some(json!(["Hi"])), Some(json!({ "type": "text", "text": "Hi" }))],
        ),
        (Format::Messages, "/content/0", &[Some(json!({ "text": "Hi" }))]),
        (
            Format::Messages,
            "/usage",
            &[None, Some(json!(null)), Some(json!({})), Some(json!({ "input_tokens": 3.0, "output_tokens": "2" }))],
        ),
        (Format::Responses, "/id", &[None, Some(json!(null)), Some(json!(7))]),
        (Format::Responses, "/status", &[None, Some(json!(null)), Some(json!("done"))]),
        (Format::Responses, "/created_at", &[None, Some(json!(1.5))]),
        (Format::Responses, "/error", &[Some(json!(null))]),
        (Format::Responses, "/output/0/id", &[None, Some(json!(null))]),
        (Format::Responses, "/output/0/status", &[None]),
        (Format::Responses, "/output/0/role", &[None]),
        (Format::Responses, "/output/0/content/0/annotations", &[None, Some(json!(null))]),
        (Format::Responses, "/output/0/content", &[Some(json!("Hi")), Some(json!([{ "type": "text", "text": "Hi" }]))]),
        (
            Format::Responses,
            "/usage",
            &[None, Some(json!(null)), Some(json!({})), Some(json!({ "input_tokens": 3.0, "output_tokens": "2" }))],
        ),
    ];
    let mut wrong = Vec::new();
    for (format, pointer, values) in rows {
        for value in *values {
            let answer = with(plain(*format), pointer, value.clone());
            for client in others(*format) {
                let seen = whole(*format, client, &answer);
                if (&*seen.text, &seen.error) != ("Hi", &None) {
                    wrong.push(format!("{format} to {client}: {pointer} {value:?}: {:?} {}", seen.error, seen.raw));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_call_arrives() {
    let at = "/choices/0/message/tool_calls/0";
    let rows: &[(Format, String, &[Option<Value>])] = &[
        (Format::Chat, format!("{at}/id"), &[None, Some(json!(null)), Some(json!("")), Some(json!(7))]),
        (Format::Chat, format!("{at}/type"), &[None, Some(json!(null))]),
        (Format::Chat, format!("{at}/index"), &[Some(json!(0))]),
        (Format::Chat, format!("{at}/function/arguments"), &[Some(json!({ "a": 1 })), Some(json!(" {\"a\":1}\n"))]),
        (Format::Chat, "/choices/0/finish_reason".into(), &[None, Some(json!("stop")), Some(json!("function_call"))]),
        (Format::Chat, "/choices/0/message/content".into(), &[None, Some(json!("")), Some(json!([]))]),
        (Format::Messages, "/content/0/id".into(), &[None, Some(json!(null)), Some(json!(""))]),
        (Format::Messages, "/content/0/input".into(), &[Some(json!("{\"a\":1}"))]),
        (Format::Messages, "/stop_reason".into(), &[None, Some(json!("end_turn")), Some(json!("tool_calls"))]),
        (Format::Responses, "/output/0/id".into(), &[None, Some(json!(null))]),
        (Format::Responses, "/output/0/call_id".into(), &[None, Some(json!(null)), Some(json!(""))]),
        (Format::Responses, "/output/0/status".into(), &[None]),
        (Format::Responses, "/output/0/arguments".into(), &[Some(json!({ "a": 1 }))]),
    ];
    for (format, pointer, values) in rows {
        for value in *values {
            let answer = with(calling(*format), pointer, value.clone());
            for client in others(*format) {
                let seen = whole(*format, client, &answer);
                let what = format!("{format} to {client}: {answer}: {} {:?}", seen.raw, seen.error);
                let [(id, name, input)] = seen.calls.as_slice() else { panic!("{what}") };
                let input: Value = serde_json::from_str(input).unwrap_or_else(|_| panic!("{what}"));
                assert!(!id.is_empty() && name == "f" && input == json!({ "a": 1 }), "{what}");
            }
        }
    }
}
