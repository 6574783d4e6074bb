//! Streams of Responses hosts that are careless about the events of items.

use llm_wire::Format;
use serde_json::{Value, json};

use crate::support::{ClientView, folded, stream};

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "m1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn call(id: &str, name: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": name, "arguments": "{\"a\":1}"})
}

fn created() -> Value {
    json!({"type": "response.created", "response": {"id": "r", "model": "x", "status": "in_progress", "output": []}})
}

fn completed(output: &[Value]) -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "model": "x", "status": "completed",
        "output": output, "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}})
}

fn event(kind: &str, index: u64, more: Value) -> Value {
    let mut event = json!({"type": format!("response.{kind}"), "output_index": index});
    more.as_object().unwrap().iter().for_each(|(key, value)| event[key] = value.clone());
    event
}

fn added(index: u64, item: &Value) -> Value {
    let mut item = item.clone();
    if item["type"] == "message" {
        item["content"] = json!([]);
    } else {
        item["arguments"] = json!("");
    }
    event("output_item.added", index, json!({"item": item}))
}

fn done(index: u64, item: &Value) -> Value {
    event("output_item.done", index, json!({"item": item}))
}

fn delta(index: u64, id: &str, text: &str) -> Value {
    event("output_text.delta", index, json!({"item_id": id, "content_index": 0, "delta": text}))
}

fn text_done(index: u64, id: &str, text: &str) -> Value {
    event("output_text.done", index, json!({"item_id": id, "content_index": 0, "text": text}))
}

fn arguments(index: u64, id: &str, delta: &str) -> Value {
    event("function_call_arguments.delta", index, json!({"item_id": id, "delta": delta}))
}

fn run(events: &[Value]) -> Vec<(Format, ClientView)> {
    let bytes: String = std::iter::once(&created()).chain(events).map(|event| format!("data: {event}\n\n")).collect();
    let clients = [Format::Chat, Format::Messages];
    clients
        .into_iter()
        .flat_map(|client| {
            [(client, stream(Format::Responses, client, &bytes)), (client, folded(Format::Responses, client, &bytes))]
        })
        .collect()
}

#[test]
fn item_events_lose_and_repeat_nothing() {
    let (hello, part) = (message("Hello"), message("H"));
    let (f, g) = (call("a", "f"), call("b", "g"));
    let renamed = |mut item: Value, id: &str| {
        item["id"] = json!(id);
        item
    };
    let mut empty_call = f.clone();
    empty_call["arguments"] = json!("{}");
    let part_event = |kind: &str, text: &str| {
        let part = json!({"type": "output_text", "text": text, "annotations": []});
        event(&format!("content_part.{kind}"), 0, json!({"item_id": "m1", "content_index": 0, "part": part}))
    };
    let arguments_done = |index, id: &str| {
        event("function_call_arguments.done", index, json!({"item_id": id, "arguments": "{\"a\":1}"}))
    };
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<Value>, &str, &[&str])> = vec![
        ("as it should be", vec![added(0, &hello), delta(0, "m1", "Hel"), delta(0, "m1", "lo"), text_done(0, "m1", "Hello"),
            done(0, &hello), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("done before the last deltas", vec![added(0, &hello), delta(0, "m1", "H"), text_done(0, "m1", "H"), done(0, &part),
            delta(0, "m1", "el"), delta(0, "m1", "lo"), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("the part is done before the last deltas", vec![added(0, &hello), delta(0, "m1", "H"), text_done(0, "m1", "H"),
            delta(0, "m1", "ello"), done(0, &hello), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("deltas alone", vec![delta(0, "m1", "Hel"), delta(0, "m1", "lo"), completed(&[])], "Hello", &[]),
        ("deltas without ids or indexes", vec![json!({"type": "response.output_text.delta", "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "delta": "lo"}), completed(&[])], "Hello", &[]),
        ("deltas, and the list", vec![delta(0, "m1", "Hel"), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("deltas, and the list under another id", vec![delta(0, "m1", "Hel"), completed(&[renamed(hello.clone(), "other")])], "Hello", &[]),
        ("added behind the first delta", vec![delta(0, "m1", "Hel"), added(0, &hello), delta(0, "m1", "lo"), done(0, &hello),
            completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("done events alone", vec![text_done(0, "m1", "Hello"), completed(&[])], "Hello", &[]),
        ("done events of both kinds", vec![text_done(0, "m1", "Hello"), done(0, &hello), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("items that are done alone", vec![done(0, &hello), done(1, &f), completed(&[])], "Hello", &["f"]),
        ("the list alone", vec![completed(&[hello.clone(), f.clone(), g.clone()])], "Hello", &["f", "g"]),
        ("one item streamed, the others in the list", vec![added(0, &hello), delta(0, "m1", "Hello"), done(0, &hello),
            completed(&[hello.clone(), f.clone(), g.clone()])], "Hello", &["f", "g"]),
        ("a call streamed, the text in the list", vec![added(1, &f), done(1, &f), completed(&[hello.clone(), f.clone()])], "Hello", &["f"]),
        ("arguments without an item, then the item", vec![arguments(0, "fc_a", "{\"a\""), arguments(0, "fc_a", ":1}"), done(0, &f),
            completed(std::slice::from_ref(&f))], "", &["f"]),
        ("arguments without an item, then the list", vec![arguments(0, "fc_a", "{\"a\""), completed(std::slice::from_ref(&f))], "", &["f"]),
        ("arguments.done with a name", vec![event("function_call_arguments.done", 0,
            json!({"item_id": "fc_a", "name": "f", "arguments": "{\"a\":1}"})), completed(&[])], "", &["f"]),
        ("one index for all", vec![added(0, &hello), delta(0, "m1", "Hello"), done(0, &hello), added(0, &f), done(0, &f), added(0, &g),
            done(0, &g), completed(&[hello.clone(), f.clone(), g.clone()])], "Hello", &["f", "g"]),
        ("another id in each event", vec![added(0, &renamed(hello.clone(), "x1")), delta(0, "x2", "Hel"), delta(0, "x3", "lo"),
            done(0, &renamed(hello.clone(), "x4")), added(1, &renamed(f.clone(), "x5")), done(1, &renamed(f.clone(), "x6")),
            completed(&[renamed(hello.clone(), "x7"), renamed(f.clone(), "x8")])], "Hello", &["f"]),
        ("the whole text before the last deltas", vec![added(0, &hello), delta(0, "m1", "H"), text_done(0, "m1", "Hello"),
            delta(0, "m1", "el"), delta(0, "m1", "lo"), done(0, &hello), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("the whole item before the last deltas", vec![added(0, &hello), delta(0, "m1", "H"), done(0, &hello),
            delta(0, "m1", "ello"), completed(&[])], "Hello", &[]),
        ("a part that is done alone", vec![part_event("done", "Hello"), completed(&[])], "Hello", &[]),
        ("a part that begins with text", vec![part_event("added", "Hel"), delta(0, "m1", "lo"), completed(&[])], "Hello", &[]),
        ("an item that begins with text", vec![event("output_item.added", 0, json!({"item": message("Hel")})),
            delta(0, "m1", "lo"), done(0, &hello), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("an item that begins with all of its text", vec![event("output_item.added", 0, json!({"item": hello})),
            delta(0, "m1", "Hel"), delta(0, "m1", "lo"), completed(std::slice::from_ref(&hello))], "Hello", &[]),
        ("text in the place of its parts", vec![completed(&[json!({"type": "message", "id": "m1", "content": "Hello"})])], "Hello", &[]),
        ("a call that begins with its arguments", vec![event("output_item.added", 0, json!({"item": f})), completed(&[])], "", &["f"]),
        ("a call that begins with empty arguments", vec![event("output_item.added", 0, json!({"item": empty_call})),
            arguments(0, "fc_a", "{\"a\":1}"), done(0, &f), completed(std::slice::from_ref(&f))], "", &["f"]),
        ("whole arguments before the last deltas", vec![added(0, &f), arguments(0, "fc_a", "{\"a\""), arguments_done(0, "fc_a"),
            arguments(0, "fc_a", ":1}"), done(0, &f), completed(std::slice::from_ref(&f))], "", &["f"]),
        ("whole arguments before the name", vec![arguments_done(0, "fc_a"), arguments(0, "fc_a", ":1}"), done(0, &f),
            completed(std::slice::from_ref(&f))], "", &["f"]),
    ];
    for (name, events, text, calls) in rows {
        for (client, seen) in run(&events) {
            assert_eq!((seen.text.as_str(), seen.names()), (text, calls.to_vec()), "{name}, {client}: {}", seen.raw);
            assert!(seen.clean && seen.error.is_none(), "{name}, {client}: {:?}", seen.error);
            for (_, _, arguments) in &seen.calls {
                assert_eq!(arguments, "{\"a\":1}", "{name}, {client}");
            }
        }
    }
}

/// Arguments that come when their call has ended cannot be written any more.
#[test]
fn a_call_that_is_not_whole_is_no_clean_end() {
    let mut short = call("a", "f");
    short["arguments"] = json!("{\"a\"");
    let events = [added(0, &short), done(0, &short), arguments(0, "fc_a", ":1}"), completed(&[call("a", "f")])];
    for (client, seen) in run(&events) {
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
}

/// A text that is escaped in one way in its deltas and in another where it is repeated.
#[test]
fn spellings_of_one_text_are_one_text() {
    let delta = r#"{"type":"response.output_text.delta","output_index":0,"item_id":"m1","delta":"\u0048\/\u00e9"}"#;
    let bytes = format!("data: {delta}\n\ndata: {}\n\n", completed(&[message("H/\u{e9}llo")]));
    for client in [Format::Chat, Format::Messages] {
        for seen in [stream(Format::Responses, client, &bytes), folded(Format::Responses, client, &bytes)] {
            assert_eq!((seen.text.as_str(), seen.clean), ("H/\u{e9}llo", true), "{client}: {}", seen.raw);
        }
    }
}
