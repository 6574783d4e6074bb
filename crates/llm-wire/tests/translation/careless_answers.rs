//! Answers of hosts that are careless about the forms of their format: what they say arrives, or
//! the answer fails; none of it ends cleanly without it.

use std::collections::HashSet;

use llm_wire::Format;
use llm_wire::canonical::event::Note;
use serde_json::{Value, json};

use crate::support::{ClientView, feed, folded, stream, translator, whole};

/// A Chat answer with this choice, whole and as a stream of one chunk, for each client.
fn chat(choice: &Value) -> Vec<(String, ClientView)> {
    let answer = json!({"id": "c", "choices": [choice]});
    let bytes = format!("data: {answer}\n\ndata: [DONE]\n\n");
    let clients = [Format::Messages, Format::Responses].into_iter();
    let all = clients.flat_map(|client| {
        let seen = [
            ("whole", whole(Format::Chat, client, &answer)),
            ("stream", stream(Format::Chat, client, &bytes)),
            ("folded", folded(Format::Chat, client, &bytes)),
        ];
        seen.map(|(form, seen)| (format!("{client} {form} {choice}"), seen))
    });
    all.collect()
}

#[test]
fn text_in_other_places_arrives() {
    for choice in [
        json!({"index": 0, "text": "Hi", "finish_reason": "stop"}),
        json!({"index": 0, "message": {"content": ["H", "i"]}, "finish_reason": "stop"}),
        json!({"index": 0, "message": {"content": [{"text": "H"}, {"type": "output_text", "text": "i"}]}, "finish_reason": "stop"}),
    ] {
        for (what, seen) in chat(&choice) {
            assert!(seen.clean && seen.text == "Hi", "{what}: {}", seen.raw);
        }
    }
}

#[test]
fn a_call_without_a_list_arrives() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    for (what, seen) in chat(&json!({"index": 0, "message": {"tool_calls": call}, "finish_reason": "tool_calls"})) {
        assert!(seen.clean && seen.names() == ["f"], "{what}: {}", seen.raw);
    }
}

/// Blank arguments are none: the client gets an object.
#[test]
fn blank_arguments_are_an_object() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": " \n"}});
    for (what, seen) in chat(&json!({"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"})) {
        let input = seen.calls.first().map(|(_, _, input)| input.trim().to_owned());
        assert_eq!(input.as_deref(), Some("{}"), "{what}: {}", seen.raw);
    }
}

#[test]
fn an_end_before_the_end_is_no_stop() {
    for word in ["max_tokens", "MAX_TOKENS", "model_length"] {
        for (what, seen) in chat(&json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": word})) {
            let is_reported = seen.raw.contains("\"max_tokens\"") || seen.raw.contains("\"max_output_tokens\"");
            assert!(seen.clean && is_reported, "{what}: {}", seen.raw);
        }
    }
    for word in ["SAFETY", "sensitive", "content_filter: SPII", "CONTENT_FILTER: SPII", "OTHER"] {
        for (what, seen) in chat(&json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": word})) {
            let is_reported = seen.raw.contains("\"refusal\"") || seen.raw.contains("\"content_filter\"");
            assert!(seen.clean && is_reported, "{what}: {}", seen.raw);
        }
    }
    for word in ["abort", "network_error", "error", "function_call_filter: MALFORMED_FUNCTION_CALL"] {
        for (what, seen) in chat(&json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": word})) {
            assert!(!seen.clean && seen.error.is_some(), "{what}: {}", seen.raw);
        }
    }
}

#[test]
fn an_answer_without_a_message_fails() {
    for choice in [json!({"index": 0, "finish_reason": "stop"}), json!({"index": 0, "message": null})] {
        let answer = json!({"id": "c", "choices": [choice]});
        for client in [Format::Messages, Format::Responses] {
            let seen = whole(Format::Chat, client, &answer);
            assert!(seen.error.is_some_and(|error| error.contains("no message")), "{client}: {}", seen.raw);
        }
    }
    // Azure's filter has taken it, or the limit left no room for it.
    for word in ["content_filter", "length", "ERROR_LIMIT"] {
        for (what, seen) in chat(&json!({"index": 0, "finish_reason": word})) {
            assert!(seen.clean && seen.error.is_none(), "{what}: {}", seen.raw);
        }
    }
}

/// A budget is settled by what was used, whether or not the answer could be shown.
#[test]
fn an_answer_that_fails_has_its_usage() {
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
    let call = json!({"id": "a", "type": "function", "function": {"arguments": "{\"a\":1}"}});
    for choice in [
        json!({"index": 0, "finish_reason": "stop"}),
        json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": "error"}),
        json!({"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}),
    ] {
        let answer = json!({"id": "c", "choices": [choice], "usage": usage});
        for client in [Format::Messages, Format::Responses] {
            let mut translator = translator(Format::Chat, client, false);
            let result = translator.body(answer.to_string().as_bytes(), &mut Vec::new());
            assert!(result.is_err() || translator.failure().is_some(), "{answer}");
            let counted = translator.usage().map(|usage| (usage.input_total, usage.output_total));
            assert_eq!(counted, Some((7, 3)), "{client}: {answer}");
        }
    }
    let counted = json!({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10});
    let error = json!({"code": "server_error", "message": "no luck"});
    for response in [
        json!({"status": "failed", "error": error, "output": []}),
        json!({"status": "failed", "error": error}),
        json!({"status": "failed", "output": []}),
        json!({"status": "completed", "output": [{"type": "function_call", "arguments": "{\"a\":1}"}]}),
        json!({"status": "completed", "output": [{"type": "image_generation_call", "id": "i", "result": "AAAA"}]}),
    ] {
        let mut answer = json!({"id": "r", "object": "response", "model": "m", "usage": counted});
        answer.as_object_mut().unwrap().extend(response.as_object().unwrap().clone());
        for client in [Format::Chat, Format::Messages] {
            let mut translator = translator(Format::Responses, client, false);
            let result = translator.body(answer.to_string().as_bytes(), &mut Vec::new());
            assert!(result.is_err() || translator.failure().is_some(), "{client}: {answer}");
            let counted = translator.usage().map(|usage| (usage.input_total, usage.output_total));
            assert_eq!(counted, Some((7, 3)), "{client}: {answer}");
        }
    }
    // In a stream it comes behind the reason of the end, with which the answer fails.
    let choice = json!({"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"});
    let end = json!({"id": "c", "choices": [], "usage": usage});
    let bytes = format!("data: {}\n\ndata: {end}\n\n", json!({"id": "c", "choices": [choice]}));
    for client in [Format::Messages, Format::Responses] {
        let mut translator = translator(Format::Chat, client, true);
        let result = feed(&mut translator, &bytes, &mut Vec::new());
        assert!(result.is_err() || translator.failure().is_some(), "{client}");
        assert_eq!(translator.usage().map(|usage| usage.input_total), Some(7), "{client}");
    }
}

/// The reason of the end may be repeated beside it; only beside `stop` it is a stop sequence.
#[test]
fn a_reason_beside_the_reason_is_no_stop_sequence() {
    for word in ["end_turn", "eos", "COMPLETE"] {
        let choice = json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": word, "stop_reason": word});
        for (what, seen) in chat(&choice) {
            assert!(seen.clean && !seen.raw.contains("\"stop_sequence\":\""), "{what}: {}", seen.raw);
            assert_ne!(seen.finish.as_deref(), Some("stop_sequence"), "{what}");
        }
    }
    let choice = json!({"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop", "stop_reason": "END"});
    let answer = json!({"id": "c", "choices": [choice]});
    let seen = whole(Format::Chat, Format::Messages, &answer);
    assert!(seen.raw.contains(r#""stop_sequence":"END""#), "{}", seen.raw);
}

/// Some hosts fill the list of calls with an empty element where there is no call.
#[test]
fn an_empty_element_is_no_call() {
    for input in ["{}", " ", "{}\n", "null"] {
        let call = json!({"index": 0, "id": "", "function": {"name": "", "arguments": input}});
        for finish in ["stop", "length"] {
            let choice =
                json!({"index": 0, "message": {"content": "Hi", "tool_calls": [call]}, "finish_reason": finish});
            for (what, seen) in chat(&choice) {
                assert!(seen.clean && seen.text == "Hi" && seen.calls.is_empty(), "{what}: {}", seen.raw);
                assert!(seen.has(Note::DroppedOutput), "{what}");
            }
        }
        // The answer ended for a call, and has none that can be made.
        let choice =
            json!({"index": 0, "message": {"content": "Hi", "tool_calls": [call]}, "finish_reason": "tool_calls"});
        for (what, seen) in chat(&choice) {
            assert!(!seen.clean && seen.error.is_some(), "{what}: {}", seen.raw);
        }
    }
}

#[test]
fn the_input_of_a_call_without_a_name_fails_the_answer() {
    let call = json!({"id": "a", "type": "function", "function": {"arguments": "{\"a\":1}"}});
    for (what, seen) in chat(&json!({"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "tool_calls"})) {
        assert!(!seen.clean && seen.error.is_some(), "{what}: {}", seen.raw);
    }
    let delta =
        json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 0, "delta": "{}"});
    let end = json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}});
    let bytes = format!("data: {delta}\n\ndata: {end}\n\n");
    for client in [Format::Chat, Format::Messages] {
        let seen = stream(Format::Responses, client, &bytes);
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
}

fn responses(response: &Value) -> Vec<(String, ClientView)> {
    let bytes = format!("data: {}\n\n", json!({"type": "response.completed", "response": response}));
    let clients = [Format::Chat, Format::Messages].into_iter();
    let all = clients.flat_map(|client| {
        let seen = [
            ("whole", whole(Format::Responses, client, response)),
            ("stream", stream(Format::Responses, client, &bytes)),
            ("folded", folded(Format::Responses, client, &bytes)),
        ];
        seen.map(|(form, seen)| (format!("{client} {form}"), seen))
    });
    all.collect()
}

/// Each item of a list is one of its own, whatever its ids.
#[test]
fn items_with_the_same_ids_are_all_there() {
    let call =
        |name: &str| json!({"type": "function_call", "id": "fc", "call_id": "call_0", "name": name, "arguments": "{}"});
    let message = |text: &str| {
        json!({"type": "message", "id": "m", "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let response = json!({"id": "r", "object": "response", "status": "completed",
        "output": [message("A"), message("B"), call("f"), call("g"), call("f")]});
    for (what, seen) in responses(&response) {
        assert_eq!((seen.text.as_str(), seen.names()), ("AB", vec!["f", "g", "f"]), "{what}: {}", seen.raw);
        let mut ids: Vec<&str> = seen.calls.iter().map(|(id, ..)| id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{what}: {}", seen.raw);
    }
    // The stream has shown the first of them alone.
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": call("f")});
    let end = json!({"type": "response.completed", "response": {"id": "r", "status": "completed",
        "output": [call("f"), call("g")]}});
    let bytes = format!("data: {done}\n\ndata: {end}\n\n");
    for client in [Format::Chat, Format::Messages] {
        assert_eq!(stream(Format::Responses, client, &bytes).names(), ["f", "g"], "{client}");
    }
}

/// Thousands of calls with one id take no longer than others, and each gets an id of its own.
#[test]
fn many_calls_with_the_same_id_are_all_there() {
    let call = json!({"type": "function_call", "id": "fc", "call_id": "call_0", "name": "f", "arguments": "{}"});
    let response = |count| json!({"id": "r", "status": "completed", "output": vec![&call; count]});
    for (what, seen) in responses(&response(4096)) {
        let ids: HashSet<&str> = seen.calls.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!((ids.len(), seen.clean), (4096, true), "{what}");
    }
    for (what, seen) in responses(&response(4097)) {
        assert!(seen.error.is_some_and(|error| error.contains("more than 4096 items")), "{what}");
    }
}

#[test]
fn text_beside_an_empty_list_arrives() {
    let response = json!({"id": "r", "object": "response", "status": "completed", "output": [], "output_text": "Hi"});
    for (what, seen) in responses(&response) {
        assert!(seen.clean && seen.text == "Hi", "{what}: {}", seen.raw);
    }
}

/// A host of Messages may put all that it has to say into the first event of its stream.
#[test]
fn content_of_the_first_event_arrives() {
    let start = json!({"type": "message_start", "message": {"id": "m", "model": "x", "usage": {"input_tokens": 1},
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "a", "name": "f", "input": {}}]}});
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Ho"}});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}});
    let stop = json!({"type": "message_stop"});
    let bytes = |events: &[&Value]| events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
    for client in [Format::Chat, Format::Responses] {
        for events in [&[&start, &end, &stop][..], &[&start, &stop], &[&start, &end]] {
            let seen = stream(Format::Messages, client, &bytes(events));
            assert!(seen.clean && seen.text == "Hi" && seen.names() == ["f"], "{client}: {}", seen.raw);
        }
        // The blocks that follow are what counts.
        let seen = stream(Format::Messages, client, &bytes(&[&start, &block, &end, &stop]));
        assert!(seen.clean && seen.text == "Ho" && seen.calls.is_empty(), "{client}: {}", seen.raw);
    }
}

/// Letters of names may be escaped without need.
#[test]
fn names_of_members_are_read_through_their_escapes() {
    let streams = [
        (
            Format::Chat,
            vec![
                r#"{"id":"c","ch\u006fices":[{"index":0,"delta":{"con\u0074ent":"Hi"}}]}"#,
                r#"{"id":"c","choices":[{"index":0,"delta":{},"finish\u005freason":"stop"}]}"#,
                "[DONE]",
            ],
        ),
        (
            Format::Messages,
            vec![
                r#"{"type":"message_start","mess\u0061ge":{"id":"m","model":"m","content":[],"usage":{"input_tokens":1}}}"#,
                r#"{"t\u0079pe":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","te\u0078t":"Hi"}}"#,
                r#"{"type":"content_block_stop","\u0069ndex":0}"#,
                r#"{"type":"message_delta","delta":{"stop\u005freason":"end_turn"},"usage":{"output_tokens":1}}"#,
                r#"{"type":"message_stop"}"#,
            ],
        ),
        (
            Format::Responses,
            vec![
                r#"{"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","output":[]}}"#,
                r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"d\u0065lta":"Hi"}"#,
                r#"{"t\u0079pe":"response.completed","response":{"id":"r","object":"response","st\u0061tus":"completed","output":[]}}"#,
            ],
        ),
    ];
    let answers = [
        r#"{"id":"c","object":"chat.completion","ch\u006fices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}"#,
        r#"{"type":"message","c\u006fntent":[{"type":"text","t\u0065xt":"Hi"}],"stop_reason":"end_turn","usage":{}}"#,
        r#"{"object":"response","status":"completed","\u006futput":[{"type":"message","content":[{"type":"output_text","te\u0078t":"Hi"}]}]}"#,
    ];
    for ((provider, events), answer) in streams.into_iter().zip(answers) {
        let bytes: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        for client in Format::ALL.into_iter().filter(|client| *client != provider) {
            for seen in [stream(provider, client, &bytes), folded(provider, client, &bytes)] {
                assert!(seen.clean && seen.text == "Hi", "{provider} to {client}: {}", seen.raw);
            }
            let (mut translator, mut out) = (translator(provider, client, false), Vec::new());
            translator.body(answer.as_bytes(), &mut out).unwrap();
            assert!(String::from_utf8_lossy(&out).contains("\"Hi\""), "{provider} to {client}");
        }
    }
}
