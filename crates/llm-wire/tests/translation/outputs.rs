//! Output in shapes of single hosts, and output that no other format shows.

use llm_wire::Format;
use llm_wire::canonical::event::Note;
use llm_wire::canonical::loss::Loss;
use serde_json::{Value, json};

use crate::support::{folded, stream, whole};

#[test]
fn reasoning_in_blocks_and_objects_is_reasoning() {
    let rows = [
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "why", "signature": "sig"}]}),
        json!({"thinking_blocks": [{"type": "thinking", "thinking": "why"}, {"type": "redacted_thinking", "data": "d"}]}),
        json!({"reasoning_content": {"text": "why"}}),
        json!({"reasoning_content": {"text": "why", "signature": "sig"}}),
        json!({"reasoning_content": [{"type": "text", "text": "why"}]}),
        json!({"reasoning": {"content": "why"}}),
        json!({"reasoning_content": {"reasoningText": {"text": "why", "signature": "sig"}}}),
        json!({"reasoning_content": {"reasoningContent": {"reasoningText": {"text": "why"}}}}),
        json!({"provider_specific_fields": {"thinking_blocks": [{"type": "thinking", "thinking": "why", "signature": "s"}]}}),
        json!({"provider_specific_fields": {"reasoning_content": "why"}}),
        json!({"thinking": "why"}),
        json!({"reasoning_text": "why"}),
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

/// What is hidden of the reasoning of other gateways is kept, sealed.
#[test]
fn redacted_reasoning_is_kept() {
    for message in [
        json!({"reasoning_content": {"redactedContent": "AAAA"}, "content": "Hi"}),
        json!({"thinking_blocks": [{"type": "redacted_thinking", "data": "AAAA"}], "content": "Hi"}),
        json!({"content": [{"type": "redacted_thinking", "data": "AAAA"}, {"type": "text", "text": "Hi"}]}),
    ] {
        let body = json!({"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]});
        let seen = whole(Format::Chat, Format::Messages, &body);
        assert!(seen.raw.contains(r#""type":"redacted_thinking","data":"llmp1."#) && seen.text == "Hi", "{}", seen.raw);
    }
}

/// Nor is one beside thoughts, or beside a message that says nothing.
#[test]
fn output_that_cannot_be_shown_is_no_empty_answer() {
    let picture = json!({"type": "image_generation_call", "id": "ig", "status": "completed", "result": "AAAA"});
    let thought = json!({"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]});
    let silent = json!({"type": "message", "id": "m", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "", "annotations": []}]});
    let approval =
        json!({"type": "mcp_approval_request", "id": "a", "name": "n", "arguments": "{}", "server_label": "s"});
    let search = json!({"type": "web_search_call", "id": "w", "status": "completed"});
    for output in [json!([thought, picture]), json!([picture, silent]), json!([approval]), json!([search])] {
        let response = json!({"id": "r", "object": "response", "status": "completed", "output": output});
        let events = format!("data: {}\n\n", json!({"type": "response.completed", "response": response}));
        for client in [Format::Chat, Format::Messages] {
            for seen in [whole(Format::Responses, client, &response), stream(Format::Responses, client, &events)] {
                assert!(!seen.clean && seen.error.is_some(), "{client} {output}: {}", seen.raw);
            }
        }
    }
    // A search that the limit of tokens has cut ends with that reason.
    let cut = json!({"id": "r", "object": "response", "status": "incomplete", "output": [search],
        "incomplete_details": {"reason": "max_output_tokens"}});
    assert_eq!(whole(Format::Responses, Format::Chat, &cut).finish.as_deref(), Some("length"));
    let uploads = json!([{"type": "container_upload", "file_id": "f"}]);
    let message = |reason: &str| {
        json!({"id": "m", "type": "message", "role": "assistant", "content": uploads,
        "stop_reason": reason, "usage": {"input_tokens": 1, "output_tokens": 5}})
    };
    for client in [Format::Chat, Format::Responses] {
        let seen = whole(Format::Messages, client, &message("end_turn"));
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
        assert!(whole(Format::Messages, client, &message("pause_turn")).clean, "{client}");
    }
    let images = json!({"content": null, "reasoning_content": "hm", "images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]});
    let body = json!({"id": "c", "choices": [{"message": images, "finish_reason": "stop"}]});
    for client in [Format::Messages, Format::Responses] {
        let seen = whole(Format::Chat, client, &body);
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
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

/// Beside text a picture is a loss that is named.
#[test]
fn a_picture_beside_text_is_a_named_loss() {
    let picture = json!({"type": "image_generation_call", "id": "ig", "status": "completed", "result": "AAAA"});
    let message = json!({"type": "message", "id": "m", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "Here", "annotations": []}]});
    for output in [json!([picture, message]), json!([message, picture])] {
        let response = json!({"id": "r", "object": "response", "status": "completed", "output": output});
        for client in [Format::Chat, Format::Messages] {
            let seen = whole(Format::Responses, client, &response);
            assert!(seen.clean && seen.text == "Here" && seen.has(Note::DroppedOutput), "{client}: {}", seen.raw);
            assert_eq!(Note::DroppedOutput.loss(), Some(Loss::ResponseOutput));
        }
    }
}

fn chat_stream(deltas: &[Value]) -> String {
    let chunk = |delta: &Value, finish: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}))
    };
    let mut out: String = deltas.iter().map(|delta| chunk(delta, Value::Null)).collect();
    out += &chunk(&json!({}), json!("stop"));
    out + "data: [DONE]\n\n"
}

/// The transcript of audio is the text; the audio itself is lost.
#[test]
fn the_transcript_of_audio_is_text() {
    let audio = json!({"id": "a", "data": "UklGRg==", "transcript": "Hi there", "expires_at": 1});
    let rows = [
        json!({"role": "assistant", "content": null, "audio": audio}),
        json!({"role": "assistant", "content": "", "audio": audio}),
        json!({"role": "assistant", "content": "Hi there", "audio": audio}),
    ];
    let deltas = [
        json!({"role": "assistant", "content": null, "refusal": null}),
        json!({"audio": {"id": "a", "transcript": "Hi"}}),
        json!({"audio": {"id": "a", "data": "UklG"}}),
        json!({"audio": {"transcript": " there"}}),
        json!({"audio": {"data": "Rg=="}}),
        json!({"audio": {"id": "a", "expires_at": 1}}),
    ];
    for client in [Format::Messages, Format::Responses] {
        for message in &rows {
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            let seen = whole(Format::Chat, client, &json!({"id": "c", "choices": [choice]}));
            assert_eq!((seen.text.as_str(), seen.clean), ("Hi there", true), "{client} {message} {:?}", seen.error);
            assert!(seen.notes.contains(&(Note::DroppedAudio, 1)), "{:?}", seen.notes);
        }
        for seen in
            [stream(Format::Chat, client, &chat_stream(&deltas)), folded(Format::Chat, client, &chat_stream(&deltas))]
        {
            assert_eq!((seen.text.as_str(), seen.clean), ("Hi there", true), "{client} {:?}", seen.error);
            assert!(seen.notes.contains(&(Note::DroppedAudio, 1)), "{:?}", seen.notes);
        }
        // Without words there is nothing to show.
        let silent = json!({"role": "assistant", "content": null, "audio": {"id": "a", "data": "UklG"}});
        let choice = json!({"index": 0, "message": silent, "finish_reason": "stop"});
        let seen = whole(Format::Chat, client, &json!({"id": "c", "choices": [choice]}));
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
}

fn blocks_stream(blocks: &[Value]) -> String {
    let mut events = vec![json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1}}})];
    for (n, block) in blocks.iter().enumerate() {
        let mut start = block.clone();
        start["text"] = json!("");
        let citations = start.as_object_mut().unwrap().remove("citations").unwrap_or_default();
        events.push(json!({"type": "content_block_start", "index": n, "content_block": start}));
        if block["type"] == "text" {
            let delta = json!({"type": "text_delta", "text": block["text"]});
            events.push(json!({"type": "content_block_delta", "index": n, "delta": delta}));
        }
        for citation in citations.as_array().into_iter().flatten() {
            let delta = json!({"type": "citations_delta", "citation": citation});
            events.push(json!({"type": "content_block_delta", "index": n, "delta": delta}));
        }
        events.push(json!({"type": "content_block_stop", "index": n}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}));
    events.push(json!({"type": "message_stop"}));
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

/// Citations cut a text of Messages into blocks: it is one message all the same.
#[test]
fn a_text_cut_by_citations_is_one_message() {
    let link = json!({"type": "web_search_result_location", "url": "https://x", "title": "X", "cited_text": "b",
        "encrypted_index": "e"});
    let (plain, cited) = (
        |text: &str| json!({"type": "text", "text": text}),
        |text: &str| json!({"type": "text", "text": text, "citations": [link]}),
    );
    let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
    let search = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    // The blocks, and how many parts each output item has: 0 is a call.
    let rows: [(Vec<Value>, &[usize]); 5] = [
        (vec![plain("a "), cited("b"), plain(" c")], &[3]),
        (vec![plain("a "), cited("b"), cited(" c"), call.clone()], &[3, 0]),
        (vec![plain("a"), call.clone(), plain("b"), cited("c")], &[1, 0, 2]),
        (vec![plain("a"), search, plain("b")], &[2]),
        (vec![plain("a"), plain(""), cited("b")], &[2]),
    ];
    for (blocks, shape) in rows {
        let body = json!({"id": "m", "type": "message", "role": "assistant", "content": blocks, "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 5}});
        let bytes = blocks_stream(&blocks);
        let parts = |response: &Value| -> Vec<usize> {
            let items = response["output"].as_array().unwrap().iter();
            items.map(|item| item["content"].as_array().map_or(0, Vec::len)).collect()
        };
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        for seen in
            [whole(Format::Messages, Format::Responses, &body), folded(Format::Messages, Format::Responses, &bytes)]
        {
            assert_eq!((parts(&serde_json::from_str(&seen.raw).unwrap()), &seen.text), (shape.to_vec(), &text));
        }
        let seen = stream(Format::Messages, Format::Responses, &bytes);
        let events: Vec<Value> = seen
            .raw
            .lines()
            .filter_map(|l| l.strip_prefix("data: "))
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(parts(&events.last().unwrap()["response"]), shape, "{}", seen.raw);
        // Each item is added and done once, in order, and what is done is what the end repeats.
        let of =
            |kind: &str| events.iter().filter(|e| e["type"] == kind).map(|e| e["item"].clone()).collect::<Vec<_>>();
        assert_eq!(of("response.output_item.added").len(), shape.len());
        assert_eq!(json!(of("response.output_item.done")), events.last().unwrap()["response"]["output"]);
        let chat = whole(Format::Messages, Format::Chat, &body);
        assert_eq!(chat.text, text);
    }
}

/// Chat may say `null` where Responses demands a list.
#[test]
fn log_probabilities_have_bytes() {
    let of = |token: Value| {
        let choice = json!({"message": {"content": "Hi"}, "logprobs": {"content": [token]}, "finish_reason": "stop"});
        let seen = whole(Format::Chat, Format::Responses, &json!({"id": "c", "choices": [choice]}));
        let response: Value = serde_json::from_str(&seen.raw).unwrap();
        response["output"][0]["content"][0]["logprobs"][0].clone()
    };
    let top = |top: Value| json!({"token": "Hi", "logprob": -0.5, "bytes": [72], "top_logprobs": [top]});
    let full = json!({"token": "Hi", "logprob": -0.5, "bytes": [], "top_logprobs": []});
    for token in [
        json!({"token": "Hi", "logprob": -0.5, "bytes": null, "top_logprobs": []}),
        json!({"token": "Hi", "logprob": -0.5, "top_logprobs": null}),
        json!({"token": "Hi", "logprob": -0.5}),
    ] {
        assert_eq!(of(token.clone()), full, "{token}");
    }
    for bytes in [json!({"token": "x", "logprob": -1, "bytes": null}), json!({"token": "x", "logprob": -1})] {
        assert_eq!(of(top(bytes)), top(json!({"token": "x", "logprob": -1, "bytes": []})));
    }
    assert_eq!(
        of(top(json!({"token": "x", "logprob": -1, "bytes": [1]}))),
        top(json!({"token": "x", "logprob": -1, "bytes": [1]}))
    );
}

/// A Messages provider closes the block of a tool call before it reports that the output limit was
/// reached.
#[test]
fn a_call_that_breaks_off_is_incomplete() {
    let rows = [
        (vec!["{\"a\":1}"], "completed"),
        (vec![], "completed"),
        (vec!["no object"], "completed"),
        (vec!["{\"a\":"], "incomplete"),
        (vec!["{\"a\"", ":\"}"], "incomplete"),
    ];
    for (deltas, status) in rows {
        let event = |name: &str, mut data: Value| {
            data["type"] = name.into();
            format!("event: {name}\ndata: {data}\n\n")
        };
        let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
        let deltas = deltas.iter().map(|delta| {
            let delta = json!({"type": "input_json_delta", "partial_json": delta});
            event("content_block_delta", json!({"index": 0, "delta": delta}))
        });
        let usage = json!({"input_tokens": 1, "output_tokens": 1});
        let bytes = [
            event("message_start", json!({"message": {"id": "m", "role": "assistant", "content": [], "usage": usage}})),
            event("content_block_start", json!({"index": 0, "content_block": call})),
            deltas.collect(),
            event("content_block_stop", json!({"index": 0})),
            event("message_delta", json!({"delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 9}})),
            event("message_stop", json!({})),
        ]
        .concat();
        let seen = stream(Format::Messages, Format::Responses, &bytes);
        let found: Vec<_> = seen.raw.matches(&format!("\"status\":\"{status}\",\"call_id\":\"t\"")).collect();
        assert_eq!(found.len(), 2, "in its own event and in the last: {}", seen.raw);
    }
}
