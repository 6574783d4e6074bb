//! Output in shapes of single hosts, and output that no other format shows.

use llm_wire::Format;
use llm_wire::canonical::event::Note;
use serde_json::{Value, json};

use crate::support::{stream, whole};

#[test]
fn reasoning_in_blocks_and_objects_is_reasoning() {
    let rows = [
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "why", "signature": "sig"}]}),
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "why"}, {"type": "redacted_thinking", "data": "d"}]}),
        json!({"reasoning_content": {"text": "why"}}),
        json!({"reasoning_content": {"text": "why", "signature": "sig"}}),
        json!({"reasoning_content": [{"type": "text", "text": "why"}]}),
        json!({"reasoning": {"content": "why"}}),
        json!({"reasoning_content": "why", "thinking_blocks": [{"type": "thinking", "thinking": "why", "signature": "s"}]}),
    ];
    for reasoning in rows {
        for client in [Format::Messages, Format::Responses] {
            let mut message = reasoning.clone();
            message["content"] = json!("Hi");
            let seen = whole(
                Format::Chat,
                client,
                &json!({"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]}),
            );
            assert_eq!((seen.reasoning.as_str(), seen.text.as_str()), ("why", "Hi"), "{client} {reasoning}");
            let chunk = |delta: &Value, finish: Value| {
                format!(
                    "data: {}\n\n",
                    json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
                )
            };
            let bytes = format!(
                "{}{}{}",
                chunk(&reasoning, Value::Null),
                chunk(&json!({"content": "Hi"}), Value::Null),
                chunk(&json!({}), json!("stop"))
            );
            let seen = stream(Format::Chat, client, &bytes);
            assert_eq!((seen.reasoning.as_str(), seen.text.as_str()), ("why", "Hi"), "{client} {reasoning}");
        }
    }
}

#[test]
fn a_picture_is_no_empty_answer() {
    let picture = json!({"type": "image_generation_call", "id": "ig", "status": "completed", "result": "AAAA"});
    let response = json!({"id": "r", "object": "response", "status": "completed", "output": [picture]});
    let events = format!("data: {}\n\n", json!({"type": "response.completed", "response": response}));
    for client in [Format::Chat, Format::Messages] {
        for seen in [whole(Format::Responses, client, &response), stream(Format::Responses, client, &events)] {
            assert!(!seen.clean && seen.error.is_some() && seen.has(Note::DroppedOutput), "{client}: {}", seen.raw);
        }
    }
    let message =
        json!({"role": "assistant", "content": null, "images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]});
    for client in [Format::Messages, Format::Responses] {
        let seen = whole(
            Format::Chat,
            client,
            &json!({"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]}),
        );
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
}

/// Chat may say `null` where Responses demands a list.
#[test]
fn log_probabilities_have_bytes() {
    let token = json!({"token": "Hi", "logprob": -0.5, "bytes": null, "top_logprobs": [{"token": "Hi", "logprob": -0.5, "bytes": null}]});
    let body = json!({"id": "c", "choices": [{"message": {"content": "Hi"}, "logprobs": {"content": [token]}, "finish_reason": "stop"}]});
    let seen = whole(Format::Chat, Format::Responses, &body);
    let response: Value = serde_json::from_str(&seen.raw).unwrap();
    let told = &response["output"][0]["content"][0]["logprobs"][0];
    assert_eq!((&told["bytes"], &told["top_logprobs"][0]["bytes"]), (&json!([]), &json!([])), "{}", seen.raw);
}
