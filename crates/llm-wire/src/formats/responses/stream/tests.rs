//! Streams through the decoder, the shaping and the encoder of this one format, and events straight
//! into the encoder.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::canonical::codec::{Decode, Encode};
use crate::canonical::event::{Block, Cite, Event, Finish, Note, Reason, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::usage::Usage;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::formats::responses::stream::{Decoder, Encoder};
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::Seal;
use crate::sse::{Block as SseBlock, Frame, Framer};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use crate::target::quirks::{Host, Quirks};
use crate::translate::Translator;

fn reply(stream: bool) -> Reply {
    let target = Target::new(Format::Responses, Host::OpenAi, "gpt-5.2", "p", &Overrides::default());
    let mut plan = Plan::new(Format::Responses, RawValue::new(b"{}"), &Context::new(target, "asked"));
    plan.stream = stream;
    Reply::new(plan, Box::new(SequentialIds::default()), "req_1")
}

/// What a client gets of a provider's stream; `Err` if nothing was written before the failure.
fn translate(input: &str, stream: bool) -> Result<String, Kind> {
    let mut translator = Translator::new(reply(stream));
    let (mut out, mut framer, mut rest) = (Vec::new(), Framer::default(), input.as_bytes());
    let take = |block: SseBlock<'_>, translator: &mut Translator, out: &mut Vec<u8>| match block.frame {
        Some(frame) => translator.frame(frame, out).map_err(|e| e.kind),
        None => Ok(()),
    };
    while let Some(block) = framer.next(&mut rest).unwrap() {
        take(block, &mut translator, &mut out)?;
    }
    if let Some(block) = framer.finish() {
        take(block, &mut translator, &mut out)?;
    }
    translator.end(&mut out).map_err(|e| e.kind)?;
    Ok(String::from_utf8(out).unwrap())
}

/// The data of each event. Names repeat the types.
fn events(stream: &str) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let event = |block: &str| {
        let (name, data) = block.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let value: Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["type"], name);
        value
    };
    blocks.map(event).collect()
}

/// Returns the response of the terminal event.
fn grammar(stream: &str) -> Value {
    let events = events(stream);
    let mut added: Vec<Value> = Vec::new();
    let mut done: Vec<Option<Value>> = Vec::new();
    let mut deltas = std::collections::BTreeMap::<String, String>::new();
    let mut terminal = None;
    for (n, event) in events.iter().enumerate() {
        assert!(terminal.is_none(), "nothing follows the end: {event}");
        assert_eq!(event["sequence_number"], n, "{event}");
        let kind = event["type"].as_str().unwrap();
        let place = |kind: &str| {
            let part = if event["summary_index"].is_null() { &event["content_index"] } else { &event["summary_index"] };
            format!("{kind} {} {part}", event["output_index"])
        };
        match (n, kind) {
            (0, "response.created") | (1, "response.in_progress") => assert_eq!(event["response"]["output"], json!([])),
            (_, "response.output_item.added") => {
                assert_eq!(event["output_index"], added.len());
                added.push(event["item"].clone());
                done.push(None);
            }
            (_, "response.output_item.done") => {
                let at = event["output_index"].as_u64().unwrap() as usize;
                assert_eq!(added[at]["id"], event["item"]["id"]);
                assert!(done[at].replace(event["item"].clone()).is_none(), "{event}");
            }
            (_, "response.completed" | "response.incomplete" | "response.failed") => {
                assert_eq!(event["response"]["status"], kind.trim_start_matches("response."));
                let whole: Vec<Value> = done.iter().flatten().cloned().collect();
                assert_eq!(event["response"]["output"], json!(whole));
                assert!(kind == "response.failed" || done.iter().all(Option::is_some), "{event}");
                terminal = Some(event["response"].clone());
            }
            _ => {
                let at = event["output_index"].as_u64().unwrap() as usize;
                assert_eq!(event["item_id"], added[at]["id"]);
                assert!(done[at].is_none());
                if let Some(text) = kind.strip_suffix(".delta") {
                    deltas.entry(place(text)).or_default().push_str(event["delta"].as_str().unwrap());
                }
                let whole = ["text", "refusal", "arguments", "input"].iter().find_map(|key| event[*key].as_str());
                if let (Some(text), Some(whole)) = (kind.strip_suffix(".done"), whole) {
                    assert_eq!(deltas.get(&place(text)).map_or("", String::as_str), whole, "{event}");
                }
            }
        }
    }
    terminal.unwrap()
}

fn sse(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("event: {}\ndata: {row}\n\n", row["type"].as_str().unwrap())).collect()
}

/// An answer with every kind of item that crosses formats, as OpenAI streams it.
fn full() -> Vec<Value> {
    let usage = json!({"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":16});
    let reasoning = json!({"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"First"},{"type":"summary_text","text":"Then"}],"encrypted_content":"whole"});
    let message = json!({"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[
        {"type":"output_text","text":"Hi \u{1f600}","annotations":[{"type":"url_citation","url":"https://a","title":"A","start_index":0,"end_index":2}],"logprobs":[]}]});
    let call = json!({"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"w","arguments":"{\"c\":\"A\"}"});
    let custom = json!({"id":"ctc_1","type":"custom_tool_call","status":"completed","call_id":"call_2","name":"patch","input":"a\nb"});
    let tail = json!({"id":"resp_up","status":"completed","service_tier":"default","error":null,"usage":usage,
        "output":[reasoning.clone(),message.clone(),{"type":"web_search_call","id":"ws_1"},call.clone(),custom.clone()]});
    vec![
        json!({"type":"response.created","response":{"id":"resp_up","model":"gpt-5.2","error":null,"output":[]}}),
        json!({"type":"response.in_progress","response":{"id":"resp_up","error":null,"output":[]}}),
        json!({"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"half"}}),
        json!({"type":"response.reasoning_summary_part.added","output_index":0,"item_id":"rs_1","summary_index":0,"part":{}}),
        json!({"type":"response.reasoning_summary_text.delta","output_index":0,"item_id":"rs_1","summary_index":0,"delta":"First"}),
        json!({"type":"response.reasoning_summary_text.done","output_index":0,"item_id":"rs_1","summary_index":0,"text":"First"}),
        json!({"type":"response.reasoning_summary_text.delta","output_index":0,"item_id":"rs_1","summary_index":1,"delta":"Th"}),
        json!({"type":"response.reasoning_summary_text.done","output_index":0,"item_id":"rs_1","summary_index":1,"text":"Then"}),
        json!({"type":"response.output_item.done","output_index":0,"item":reasoning}),
        json!({"type":"response.output_item.added","output_index":1,"item":{"id":"msg_1","type":"message","content":[]}}),
        json!({"type":"response.content_part.added","output_index":1,"item_id":"msg_1","content_index":0,"part":{"type":"output_text","text":""}}),
        json!({"type":"response.output_text.delta","output_index":1,"item_id":"msg_1","content_index":0,"delta":"Hi ","logprobs":[],"obfuscation":"xx"}),
        json!({"type":"response.output_text.delta","output_index":1,"item_id":"msg_1","content_index":0,"delta":"\u{1f600}"}),
        json!({"type":"response.output_text.done","output_index":1,"item_id":"msg_1","content_index":0,"text":"Hi \u{1f600}"}),
        json!({"type":"response.content_part.done","output_index":1,"item_id":"msg_1","content_index":0,"part":{}}),
        json!({"type":"response.output_item.done","output_index":1,"item":message}),
        json!({"type":"keepalive"}),
        json!({"type":"response.output_item.added","output_index":2,"item":{"type":"web_search_call","id":"ws_1"}}),
        json!({"type":"response.web_search_call.searching","output_index":2,"item_id":"ws_1"}),
        json!({"type":"response.output_item.done","output_index":2,"item":{"type":"web_search_call","id":"ws_1"}}),
        json!({"type":"response.output_item.added","output_index":3,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"w","arguments":""}}),
        json!({"type":"response.output_item.added","output_index":4,"item":{"id":"ctc_1","type":"custom_tool_call","call_id":"call_2","name":"patch","input":""}}),
        json!({"type":"response.custom_tool_call_input.delta","output_index":4,"item_id":"ctc_1","delta":"a\n"}),
        json!({"type":"response.function_call_arguments.delta","output_index":3,"item_id":"fc_1","delta":"{\"c\":"}),
        json!({"type":"response.function_call_arguments.done","output_index":3,"item_id":"fc_1","arguments":"{\"c\":\"A\"}"}),
        json!({"type":"response.output_item.done","output_index":3,"item":call}),
        json!({"type":"response.output_item.done","output_index":4,"item":custom}),
        json!({"type":"response.completed","response":tail}),
    ]
}

/// The parts of an item that reach the client: everything but ids and the state, which becomes an
/// envelope.
fn bare(mut items: Value) -> Value {
    for item in items.as_array_mut().unwrap() {
        let item = item.as_object_mut().unwrap();
        item.remove("id");
        if let Some(state) = item.get_mut("encrypted_content") {
            assert!(state.as_str().unwrap().starts_with("llmp1.oa."), "{state}");
            *state = json!("sealed");
        }
    }
    items
}

fn expected() -> Value {
    json!([
        {"type":"reasoning","summary":[{"type":"summary_text","text":"First"},{"type":"summary_text","text":"Then"}],"encrypted_content":"sealed"},
        {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi \u{1f600}",
            "annotations":[{"type":"url_citation","start_index":0,"end_index":2,"url":"https://a","title":"A"}],"logprobs":[]}]},
        {"type":"function_call","status":"completed","call_id":"call_1","name":"w","arguments":"{\"c\":\"A\"}"},
        {"type":"custom_tool_call","status":"completed","call_id":"call_2","name":"patch","input":"a\nb"},
    ])
}

/// Streamed, folded and read as a whole, it is one answer.
#[test]
fn an_answer_is_the_same_however_it_comes() {
    let rows = full();
    let streamed = grammar(&translate(&sse(&rows), true).unwrap());
    assert_eq!(bare(streamed["output"].clone()), expected());
    assert_eq!(streamed["usage"]["total_tokens"], 16);
    assert_eq!(streamed["usage"]["input_tokens_details"]["cached_tokens"], 4);
    assert_eq!((&streamed["model"], &streamed["service_tier"]), (&json!("asked"), &json!("default")));
    let folded: Value = serde_json::from_str(&translate(&sse(&rows), false).unwrap()).unwrap();
    assert_eq!(folded, streamed);
    let whole = rows.last().unwrap()["response"].to_string();
    for stream in [true, false] {
        let (mut translator, mut out) = (Translator::new(reply(stream)), Vec::new());
        translator.body(whole.as_bytes(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let answer = if stream { grammar(&text) } else { serde_json::from_str(&text).unwrap() };
        assert_eq!(bare(answer["output"].clone()), expected());
    }
}

/// Oddities of hosts: the answer stays the same.
#[test]
fn variants_of_hosts_are_accepted() {
    let is = |row: &Value, end: &str| row["type"].as_str().unwrap().ends_with(end);
    let without = |ends: &[&str]| full().into_iter().filter(|row| !ends.iter().any(|end| is(row, end))).collect();
    let map = |change: fn(&mut Value)| {
        let mut rows = full();
        rows.iter_mut().for_each(change);
        rows
    };
    let rows: Vec<(&str, Vec<Value>)> = vec![
        ("no deltas", without(&[".delta"])),
        ("no done texts", without(&["_text.done", "arguments.done", "input.done"])),
        ("no parts", without(&["_part.added", "_part.done"])),
        ("items at their end alone", without(&[".delta", "_text.done", "arguments.done", "_part.added", "item.added"])),
        ("the end alone", without(&[".delta", ".done", ".added", ".in_progress", ".searching"])),
        ("no ids", map(|row| drop(row.as_object_mut().unwrap().remove("item_id")))),
        ("no indexes but ids", map(|row| drop(row.as_object_mut().unwrap().remove("output_index")))),
        (
            "parts counted over all items",
            map(|row| {
                if !row["content_index"].is_null() {
                    row["content_index"] = json!(1);
                }
            }),
        ),
        (
            "an empty end",
            map(|row| {
                if row["type"] == "response.completed" {
                    row["response"]["output"] = json!([]);
                }
            }),
        ),
        (
            "names at the end",
            map(|row| {
                if row["type"] == "response.output_item.added" && row["item"]["type"] == "custom_tool_call" {
                    row["item"]["name"] = json!("");
                }
            }),
        ),
    ];
    for (what, rows) in rows {
        let streamed = grammar(&translate(&sse(&rows), true).unwrap());
        let mut output = bare(streamed["output"].clone());
        // A call whose name comes late begins late.
        output.as_array_mut().unwrap().sort_by_key(|item| item["type"].to_string());
        let mut expected = expected();
        expected.as_array_mut().unwrap().sort_by_key(|item| item["type"].to_string());
        assert_eq!(output, expected, "{what}");
    }
    let unnamed: String = full().iter().map(|row| format!("data: {row}\n\n")).collect();
    assert_eq!(translate(&(unnamed + "data: [DONE]\n\n"), true), translate(&sse(&full()), true));
}

/// A call that never has a name cannot be made; the loss is reported once, however often the
/// provider repeats it.
#[test]
fn call_without_a_name_is_counted() {
    let call = json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "", "arguments": "{}"});
    let rows = [
        json!({"type": "response.created", "response": {"id": "r"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": call}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": call}),
        json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [call]}}),
    ];
    let (mut decoder, mut notes, mut opened) = (Decoder::new(Quirks::NONE), Vec::new(), false);
    for row in rows {
        let data = row.to_string();
        let frame = Frame { event: None, data: data.as_bytes() };
        let mut sink = |event: Event<'_>| match event {
            Event::Note(note) => notes.push(note),
            Event::Open { .. } => opened = true,
            _ => {}
        };
        decoder.frame(frame, &mut sink).unwrap();
    }
    assert_eq!((notes, opened), (vec![Note::DroppedOutput], false));
}

/// A stream that is cut anywhere ends with an error; nothing is made up.
#[test]
fn a_cut_stream_fails() {
    let rows = full();
    for n in 0..rows.len() {
        for tail in ["", "event: response.output_text.delta\ndata: {\"type\":\"resp"] {
            match translate(&(sse(&rows[..n]) + tail), true) {
                Err(kind) => assert!(matches!(kind, Kind::UpstreamTruncated | Kind::UpstreamFault) && n < 5, "{n}"),
                Ok(stream) => {
                    let response = grammar(&stream);
                    assert_eq!(response["status"], "failed");
                    assert_eq!(response["error"]["code"], "server_error");
                }
            }
            assert!(translate(&(sse(&rows[..n]) + tail), false).is_err());
        }
        for error in [
            json!({"type":"error","code":"rate_limit_exceeded","message":"slow"}),
            json!({"type":"error","error":{"type":"tokens","code":"rate_limit_exceeded","message":"slow"}}),
            json!({"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"slow"}}}),
        ] {
            let failed: Vec<Value> = rows[..n].iter().cloned().chain([error]).collect();
            match translate(&sse(&failed), true) {
                Err(kind) => assert!(kind == Kind::RateLimit && n < 5, "{n}"),
                Ok(stream) => {
                    assert_eq!(grammar(&stream)["error"], json!({"code":"rate_limit_exceeded","message":"slow"}))
                }
            }
        }
    }
}

#[test]
fn ends() {
    let cases = [
        (json!({"status":"completed"}), "completed", Value::Null),
        (
            json!({"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}),
            "incomplete",
            json!("max_output_tokens"),
        ),
        (
            json!({"status":"incomplete","incomplete_details":{"reason":"content_filter"}}),
            "incomplete",
            json!("content_filter"),
        ),
        (json!({"status":"incomplete"}), "incomplete", json!("max_output_tokens")),
        (json!({}), "completed", Value::Null),
    ];
    for (mut response, status, reason) in cases {
        response["output"] = json!([{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a"}]);
        let kind = if status == "completed" { "response.completed" } else { "response.incomplete" };
        let end = grammar(&translate(&sse(&[json!({"type":kind,"response":response})]), true).unwrap());
        assert_eq!((end["status"].as_str().unwrap(), &end["incomplete_details"]["reason"]), (status, &reason));
        assert_eq!(end["output"][0]["arguments"], "{\"a", "arguments are never completed");
    }
    for status in ["failed", "cancelled", "queued"] {
        let response = json!({"type":"response.completed","response":{"status":status,"output":[]}});
        assert_eq!(translate(&sse(&[response]), true), Err(Kind::UpstreamFault));
    }
}

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn encode(input: Vec<Event<'_>>) -> String {
    let (mut encoder, mut reply, mut out) = (Encoder::default(), reply(true), Vec::new());
    input.into_iter().for_each(|event| encoder.event(event, &mut reply, &mut out));
    String::from_utf8(out).unwrap()
}

/// One line for each event: its type without `response.`, and what it adds.
fn lines(stream: &str) -> Vec<String> {
    let line = |event: &Value| {
        let kind = event["type"].as_str().unwrap().trim_start_matches("response.");
        let text = ["delta", "text", "refusal", "arguments", "input", "item", "part", "annotation"]
            .iter()
            .find_map(|key| Some(&event[*key]).filter(|value| !value.is_null()));
        match (text, &event["response"]) {
            (Some(text), _) => format!("{kind} {} {text}", event["output_index"]),
            (None, response) => {
                format!("{kind} {} {}", response["status"], response["output"].as_array().unwrap().len())
            }
        }
    };
    events(stream).iter().map(line).collect()
}

/// Thinking, text, a tool, and then the provider breaks off.
#[test]
fn thinking_text_tool_cut() {
    let reason = |text| Event::Reason { ix: 0, part: 0, kind: ReasoningKind::Summary, raw: raw(text) };
    let tool = Block::Tool { kind: CallKind::Function, id: raw("t1"), name: raw("q"), namespace: None };
    let close = |ix| Event::Close { ix, status: Status::Complete };
    let stream = encode(vec![
        Event::Start { id: raw("msg_up"), model: raw("claude") },
        Event::Open { ix: 0, block: Block::Reasoning { id: raw("") } },
        reason("th"),
        reason("ink"),
        Event::Opaque { ix: 0, seal: Seal::Thinking, raw: raw("llmp1.an.1") },
        close(0),
        Event::Open { ix: 1, block: Block::Text },
        Event::Text { ix: 1, raw: raw("Hi") },
        close(1),
        Event::Open { ix: 2, block: tool },
        Event::Args { ix: 2, raw: raw(r#"{\"q\":"#) },
        Event::Fail(Error::upstream(Kind::UpstreamTruncated, "upstream stream ended early")),
    ]);
    let id = |n: u32| format!("{n:026}");
    let expected = [
        r#"created "in_progress" 0"#.to_owned(),
        r#"in_progress "in_progress" 0"#.to_owned(),
        format!(r#"output_item.added 0 {{"id":"rs_{}","summary":[],"type":"reasoning"}}"#, id(2)),
        r#"reasoning_summary_part.added 0 {"text":"","type":"summary_text"}"#.to_owned(),
        r#"reasoning_summary_text.delta 0 "th""#.to_owned(),
        r#"reasoning_summary_text.delta 0 "ink""#.to_owned(),
        r#"reasoning_summary_text.done 0 "think""#.to_owned(),
        r#"reasoning_summary_part.done 0 {"text":"think","type":"summary_text"}"#.to_owned(),
        format!(
            r#"output_item.done 0 {{"encrypted_content":"llmp1.an.1","id":"rs_{}","summary":[{{"text":"think","type":"summary_text"}}],"type":"reasoning"}}"#,
            id(2)
        ),
        format!(
            r#"output_item.added 1 {{"content":[],"id":"msg_{}","role":"assistant","status":"in_progress","type":"message"}}"#,
            id(3)
        ),
        r#"content_part.added 1 {"annotations":[],"logprobs":[],"text":"","type":"output_text"}"#.to_owned(),
        r#"output_text.delta 1 "Hi""#.to_owned(),
        r#"output_text.done 1 "Hi""#.to_owned(),
        r#"content_part.done 1 {"annotations":[],"logprobs":[],"text":"Hi","type":"output_text"}"#.to_owned(),
        format!(
            r#"output_item.done 1 {{"content":[{{"annotations":[],"logprobs":[],"text":"Hi","type":"output_text"}}],"id":"msg_{}","role":"assistant","status":"completed","type":"message"}}"#,
            id(3)
        ),
        format!(
            r#"output_item.added 2 {{"arguments":"","call_id":"t1","id":"fc_{}","name":"q","status":"in_progress","type":"function_call"}}"#,
            id(4)
        ),
        r#"function_call_arguments.delta 2 "{\"q\":""#.to_owned(),
        r#"failed "failed" 2"#.to_owned(),
    ];
    assert_eq!(lines(&stream), expected);
    assert_eq!(grammar(&stream)["error"], json!({"code":"server_error","message":"upstream stream ended early"}));
}

/// The stream of a custom tool, with its input copied as it is.
#[test]
fn a_custom_tool() {
    let tool =
        Block::Tool { kind: CallKind::Custom, id: raw("c"), name: raw("apply_patch"), namespace: Some(raw("ns")) };
    let stream = encode(vec![
        Event::Open { ix: 0, block: tool },
        Event::Args { ix: 0, raw: raw(r"*** Begin\n") },
        Event::Args { ix: 0, raw: raw(r"+x\n") },
        Event::Close { ix: 0, status: Status::Complete },
        Event::Finish(Finish::of(Reason::ToolCalls)),
        Event::Usage(Usage { input_total: 3, output_total: 2, ..Usage::default() }),
        Event::End,
    ]);
    assert_eq!(
        lines(&stream)[2..7],
        [
            r#"output_item.added 0 {"call_id":"c","id":"ctc_00000000000000000000000002","input":"","name":"apply_patch","namespace":"ns","status":"in_progress","type":"custom_tool_call"}"#,
            r#"custom_tool_call_input.delta 0 "*** Begin\n""#,
            r#"custom_tool_call_input.delta 0 "+x\n""#,
            r#"custom_tool_call_input.done 0 "*** Begin\n+x\n""#,
            r#"output_item.done 0 {"call_id":"c","id":"ctc_00000000000000000000000002","input":"*** Begin\n+x\n","name":"apply_patch","namespace":"ns","status":"completed","type":"custom_tool_call"}"#,
        ]
    );
    assert_eq!(grammar(&stream)["usage"]["total_tokens"], 5, "usage after the finish counts");
}

/// What stands only at the end: halves of a surrogate pair, links over all of a text, log
/// probabilities, several states, an explanation.
#[test]
fn terminal_event_completes_what_was_missing() {
    let text = |raw| Event::Text { ix: 0, raw };
    let cite = Cite { url: raw("https://a"), title: raw(""), range: None };
    let opaque = |state| Event::Opaque { ix: 1, seal: Seal::Redacted, raw: raw(state) };
    let refusal = Finish { explanation: Some(raw("why")), ..Finish::of(Reason::Refusal) };
    let stream = encode(
        vec![
            Event::Open { ix: 0, block: Block::Text },
            Event::Cite { ix: 0, cite },
            text(raw(r"\ud83d")),
            text(raw(r"\ude00")),
            Event::Logprobs { ix: 0, raw: RawValue::new(br#"[{"token":"a"}]"#) },
            Event::Open { ix: 1, block: Block::Reasoning { id: raw("") } },
            opaque("s1"),
            opaque("s2"),
            Event::Close { ix: 1, status: Status::Complete },
            Event::Close { ix: 0, status: Status::Incomplete },
            Event::Open { ix: 2, block: Block::Text },
            Event::Close { ix: 2, status: Status::Complete },
            Event::Finish(refusal),
            Event::End,
        ]
        .into_iter()
        .collect(),
    );
    // Halves of a pair are no text of their own to this reader of JSON.
    let stream =
        stream.replace(r#""delta":"\ud83d""#, r#""delta":"X""#).replace(r#""delta":"\ude00""#, r#""delta":"Y""#);
    let all = events(&stream);
    let response = &all.last().unwrap()["response"];
    assert_eq!(response["incomplete_details"]["reason"], "content_filter");
    let output = response["output"].as_array().unwrap();
    assert_eq!(output.len(), 4, "the blank text is none");
    let part = &output[0]["content"][0];
    assert_eq!((&output[0]["status"], &part["text"]), (&json!("incomplete"), &json!("\u{1f600}")));
    assert_eq!(
        (&part["annotations"][0]["end_index"], &part["logprobs"]),
        (&json!(1), &json!([{"token":"a","bytes":[],"top_logprobs":[]}]))
    );
    assert_eq!((&output[1]["encrypted_content"], &output[2]["encrypted_content"]), (&json!("s1"), &json!("s2")));
    assert_eq!(output[3]["content"], json!([{"type":"refusal","refusal":"why"}]));
}

/// The head goes out with the first content or the first wait, once; later waits are comments.
#[test]
fn waiting() {
    let (mut encoder, mut reply, mut out) = (Encoder::default(), reply(true), Vec::new());
    encoder.event(Event::Start { id: raw("x"), model: raw("m") }, &mut reply, &mut out);
    encoder.event(Event::Open { ix: 0, block: Block::Text }, &mut reply, &mut out);
    assert!(out.is_empty());
    encoder.wait(&mut reply, &mut out);
    assert_eq!(lines(std::str::from_utf8(&out).unwrap()).len(), 2);
    let head = out.len();
    encoder.wait(&mut reply, &mut out);
    assert_eq!(&out[head..], b": keep-alive\n\n");
    encoder.event(Event::Text { ix: 0, raw: raw("a") }, &mut reply, &mut out);
    encoder.event(Event::End, &mut reply, &mut out);
    grammar(std::str::from_utf8(&out).unwrap());
}

fn any_frame() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(json!(null)),
        (0u64..4).prop_map(|n| json!(n)),
        "[a-c\\\\\"]{0,3}".prop_map(|s| json!(s)),
        Just(
            json!({"type":"message","id":"a","content":[{"type":"output_text","text":"abc"},{"type":"refusal","refusal":"n"}]})
        ),
        Just(json!({"type":"reasoning","summary":[{"text":"a"}],"encrypted_content":"e"})),
        Just(json!({"type":"function_call","call_id":"c","name":"f","arguments":{"a":1}})),
        Just(json!({"type":"custom_tool_call","name":"","input":"i"})),
        Just(json!({"type":"output_text"})),
        Just(json!([{"token":"a"}])),
    ];
    let kind = prop::sample::select(full().iter().map(|row| row["type"].to_string()).collect::<Vec<_>>());
    let key = prop::sample::select(vec![
        "output_index",
        "content_index",
        "summary_index",
        "delta",
        "text",
        "item",
        "part",
        "logprobs",
        "arguments",
        "item_id",
    ]);
    (kind, prop::collection::vec((key, value), 0..5)).prop_map(|(kind, members)| {
        let members: String = members.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        format!("{{\"type\":{kind}{members}}}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any events in any order. What comes out, if anything, is a stream of the format.
    #[test]
    fn any_events(frames in prop::collection::vec(any_frame(), 0..24), tail in ".{0,20}") {
        let input: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
        if let Ok(stream) = translate(&input, true) {
            grammar(&stream);
        }
        let mut decoder = Decoder::new(Quirks::NONE);
        let _ = decoder.frame(Frame { event: None, data: tail.as_bytes() }, &mut |_| {});
        decoder.end(&mut |_| {});
    }
}
