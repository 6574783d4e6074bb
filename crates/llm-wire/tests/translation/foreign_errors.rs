//! Errors in shapes of their own, in the middle of a stream and as whole answers under 200.

use llm_wire::Format;
use serde_json::{Value, json};

use crate::support::{ClientView, PAIRS, stream, whole};

/// The events of a provider of this format before it fails.
fn begin(provider: Format) -> Vec<String> {
    let events = match provider {
        Format::Chat => vec![json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": "Hi"}}]})],
        Format::Messages => vec![
            json!({"type": "message_start", "message": {"id": "m", "model": "x", "usage": {"input_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi"}}),
        ],
        Format::Responses => vec![
            json!({"type": "response.created", "response": {"id": "r", "output": []}}),
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "m", "delta": "Hi"}),
        ],
    };
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn shapes() -> Vec<Value> {
    vec![
        json!({"detail": "it broke"}),
        json!({"detail": [{"loc": ["body"], "msg": "it broke"}]}),
        json!({"message": "it broke", "code": "internal"}),
        json!({"message": "it broke", "code": 500}),
        json!({"errors": [{"message": "it broke"}]}),
        json!({"errors": ["it broke"]}),
        json!({"error_msg": "it broke", "error_code": 336}),
        json!({"error": "it broke"}),
        json!({"error": {"message": "it broke"}}),
        json!({"error": true, "message": "it broke"}),
        json!({"type": "error", "message": "it broke"}),
        json!({"status": "error", "msg": "it broke"}),
        json!({"message": "it broke", "type": "server_error"}),
        json!({"type": "error", "detail": "it broke"}),
        json!({"type": "exception", "exception": "it broke"}),
        json!({"errors": {"model": ["it broke"]}}),
        json!({"data": {"error": "it broke"}}),
        json!({"base_resp": {"status_code": 1004, "status_msg": "it broke"}}),
        json!({"statusCode": 500, "error": "Fault", "message": "it broke"}),
        json!({"error": "fault", "error_description": "it broke"}),
        json!({"ResponseMetadata": {"Error": {"Code": "Fault", "Message": "it broke"}}}),
        json!({"header": {"code": 10013, "message": "it broke"}}),
        json!({"internalServerException": {"message": "it broke"}}),
    ]
}

fn check(seen: &ClientView, what: &str) {
    let error = seen.error.as_deref().unwrap_or_default();
    assert!(!seen.clean && error.contains("it broke"), "{what}: {error} {}", seen.raw);
}

#[test]
fn an_error_in_a_stream_is_passed_on() {
    for (client, provider) in PAIRS {
        for shape in shapes() {
            for end in ["", "data: [DONE]\n\n"] {
                for (name, begun) in [("", true), ("", false), ("event: error\n", true), ("event: error\n", false)] {
                    let begin = if begun { begin(provider).concat() } else { String::new() };
                    let bytes = format!("{begin}{name}data: {shape}\n\n{end}");
                    let seen = stream(provider, client, &bytes);
                    check(&seen, &format!("{provider} to {client}: {bytes}"));
                    if begun {
                        assert!(seen.raw.contains("it broke") && seen.raw.contains("Hi"), "{client}: {}", seen.raw);
                    }
                }
            }
        }
    }
}

/// An `error` event whose data is no JSON.
#[test]
fn an_error_in_plain_text_is_passed_on() {
    for (client, provider) in PAIRS {
        let bytes = format!("{}event: error\ndata: it broke\n\n", begin(provider).concat());
        check(&stream(provider, client, &bytes), &format!("{provider} to {client}"));
    }
}

/// Gateways in front of a provider that is gone write what they have to say as it is.
#[test]
fn plain_text_in_a_stream_is_passed_on() {
    for (client, provider) in PAIRS {
        for end in ["", "data: [DONE]\n\n"] {
            let bytes = format!("{}data: Error: it broke\n\n{end}", begin(provider).concat());
            check(&stream(provider, client, &bytes), &format!("{provider} to {client}"));
        }
        let bytes = format!("{}data: <html>it broke</html>\n\n", begin(provider).concat());
        let seen = stream(provider, client, &bytes);
        assert!(!seen.clean && seen.error.is_some() && !seen.raw.contains("it broke"), "{client}: {}", seen.raw);
    }
}

/// The text of an event that is named an error may stand anywhere.
#[test]
fn an_error_event_of_any_shape_is_passed_on() {
    for (client, provider) in PAIRS {
        for data in [json!("it broke"), json!({"data": "it broke"}), json!({"id": 7, "texts": ["it broke"]})] {
            let bytes = format!("{}event: error\ndata: {data}\n\n", begin(provider).concat());
            check(&stream(provider, client, &bytes), &format!("{provider} to {client}: {data}"));
        }
    }
}

/// Without a message the code is what there is.
#[test]
fn the_code_of_an_error_without_a_message_is_passed_on() {
    for (client, provider) in PAIRS {
        let bytes = format!("{}data: {}\n\n", begin(provider).concat(), json!({"error": {"code": "it broke"}}));
        check(&stream(provider, client, &bytes), &format!("{provider} to {client}"));
    }
}

/// Without a message and a code the type is.
#[test]
fn the_type_of_an_error_without_a_message_is_its_kind() {
    for (client, provider) in PAIRS {
        let error = json!({"type": "error", "error": {"type": "overloaded_error"}, "request_id": "req_7"});
        let bytes = format!("{}event: error\ndata: {error}\n\n", begin(provider).concat());
        let seen = stream(provider, client, &bytes);
        assert!(!seen.clean && seen.error.is_some_and(|error| error.contains("(overloaded_error)")), "{}", seen.raw);
        let kind = if client == Format::Messages { "overloaded_error" } else { "server_is_overloaded" };
        assert!(seen.raw.contains(&format!("\"{kind}\"")), "{provider} to {client}: {}", seen.raw);
    }
}

#[test]
fn an_error_under_200_is_no_answer() {
    let problem = json!({"type": "about:blank", "title": "Fault", "status": 500, "detail": "it broke"});
    for (client, provider) in PAIRS {
        for shape in shapes().into_iter().chain([problem.clone()]) {
            check(&whole(provider, client, &shape), &format!("{provider} to {client}: {shape}"));
        }
    }
}

/// What is not understood is no clean end, unless the provider has sent its finish reason.
#[test]
fn an_unknown_object_without_a_finish_is_no_clean_end() {
    let unknown = "data: {\"novel\":[1]}\n\ndata: [DONE]\n\n";
    let finish = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    for client in [Format::Messages, Format::Responses] {
        let begin = begin(Format::Chat).concat();
        let seen = stream(Format::Chat, client, &format!("{begin}{unknown}"));
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
        let seen = stream(Format::Chat, client, &format!("{begin}{finish}{unknown}"));
        assert!(seen.clean && seen.error.is_none(), "{client}: {}", seen.raw);
    }
    for client in [Format::Chat, Format::Responses] {
        let bytes = format!(
            "{}data: {{\"novel\":1}}\n\ndata: {{\"type\":\"message_stop\"}}\n\n",
            begin(Format::Messages).concat()
        );
        let seen = stream(Format::Messages, client, &bytes);
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
}
