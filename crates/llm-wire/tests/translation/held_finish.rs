//! Content behind a finish reason.

use llm_wire::Format;
use llm_wire::canonical::event::Note;

use crate::support::{ClientView, client_view, feed, folded, stream, translator};

/// A chunk with this delta and finish reason.
fn chunk(delta: &str, finish: &str) -> String {
    let finish = if finish.is_empty() { "null".to_owned() } else { format!("\"{finish}\"") };
    format!(r#"{{"id":"c1","model":"x","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
}

fn text(text: &str, finish: &str) -> String {
    chunk(&format!(r#"{{"content":"{text}"}}"#), finish)
}

fn call(index: usize, id: &str, name: &str, arguments: &str) -> String {
    let arguments = serde_json::Value::from(arguments);
    chunk(
        &format!(
            r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":{arguments}}}}}]}}"#
        ),
        "",
    )
}

const USAGE: &str = r#"{"id":"c1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}"#;

/// Events of a stream, with either line end.
fn lines(data: &[String], end: &str) -> String {
    data.iter().map(|data| format!("data: {data}{end}{end}")).collect()
}

fn both(data: &[&str]) -> Vec<(Format, ClientView)> {
    let data: Vec<String> = data.iter().map(|data| (*data).to_owned()).collect();
    let mut out = Vec::new();
    for client in [Format::Messages, Format::Responses] {
        out.push((client, stream(Format::Chat, client, &lines(&data, "\n"))));
        out.push((client, stream(Format::Chat, client, &lines(&data, "\r\n"))));
        out.push((client, folded(Format::Chat, client, &lines(&data, "\n"))));
    }
    out
}

#[test]
fn content_behind_a_finish_goes_on() {
    let done = "[DONE]";
    let (finish, stop) = (chunk("{}", "tool_calls"), chunk("{}", "stop"));
    #[rustfmt::skip]
    let rows: &[(&[&str], &str, &[&str], bool)] = &[
        // A finish behind each piece, on each piece, and in front of the usage.
        (&[&text("Hel", ""), &stop, &text("lo", ""), &stop, done], "Hello", &[], false),
        (&[&text("Hel", "stop"), &text("l", "stop"), &text("o", "stop"), done], "Hello", &[], false),
        (&[&text("Hel", "stop"), &text("lo", "stop")], "Hello", &[], false),
        (&[&text("Hel", "stop"), &text("lo", ""), done], "Hello", &[], false),
        (&[&text("Hel", "stop"), &text("lo", "stop"), USAGE, done], "Hello", &[], false),
        (&[&text("Hello", ""), &stop, &chunk("{}", ""), &chunk(r#"{"content":""}"#, "")], "Hello", &[], false),
        // Each call with its own finish, with indexes and with none that differ.
        (&[&call(0, "a", "f", "{}"), &finish, &call(1, "b", "g", "{}"), &finish, done], "", &["f", "g"], true),
        (&[&call(0, "a", "f", "{}"), &finish, &call(0, "b", "g", "{}"), &finish, done], "", &["f", "g"], true),
        (&[&call(0, "a", "f", "{}"), &finish, &call(1, "b", "g", "{}"), &finish, USAGE, done], "", &["f", "g"], true),
        (&[&text("Hi", ""), &stop, &call(0, "a", "f", "{}"), &finish, done], "Hi", &["f"], true),
    ];
    for (data, expected, calls, tools) in rows {
        for (client, seen) in both(data) {
            let finish = match (client, tools) {
                (Format::Messages, true) => "tool_use",
                (Format::Messages, false) => "end_turn",
                _ => "completed",
            };
            assert_eq!((seen.text.as_str(), seen.names()), (*expected, calls.to_vec()), "{client} {data:?}");
            assert_eq!((seen.clean, seen.finish.as_deref()), (true, Some(finish)), "{client} {data:?}");
            assert!(seen.error.is_none(), "{client} {data:?} {:?}", seen.error);
        }
    }
}

/// A reason that something followed is no end of its own, and what follows the usage is lost.
#[test]
fn a_provisional_end_is_not_reported() {
    let (open, stop) = (text("lo", ""), chunk("{}", "stop"));
    for (client, seen) in both(&[&text("Hel", "stop"), &open]) {
        assert!(!seen.clean && seen.error.is_some(), "{client}: {}", seen.raw);
    }
    for (client, seen) in both(&[&text("Hel", ""), &stop, USAGE, &open, &stop, "[DONE]"]) {
        let error = seen.error.as_deref().unwrap_or_default();
        assert!(!seen.clean && error.contains("was dropped"), "{client}: {error} {}", seen.raw);
    }
}

/// Silence behind the reason: the caller has it pushed, and what follows is a fault.
#[test]
fn silence_ends_the_wait() {
    let frames = |data: &[&str]| lines(&data.iter().map(|data| (*data).to_owned()).collect::<Vec<_>>(), "\n");
    for client in [Format::Messages, Format::Responses] {
        let mut quiet = translator(Format::Chat, client, true);
        let mut out = Vec::new();
        feed(&mut quiet, &frames(&[&text("Hi", "stop")]), &mut out).unwrap();
        assert!(quiet.holds_finish() && quiet.is_finished());
        quiet.flush_finish(&mut out).unwrap();
        assert!(!quiet.holds_finish() && quiet.is_finished());
        feed(&mut quiet, &frames(&[USAGE]), &mut out).unwrap();
        quiet.end(&mut out).unwrap();
        let seen_again = client_view(client, &quiet, &out, None);
        assert!(
            seen_again.clean
                && seen_again.text == "Hi"
                && seen_again.usage.is_some_and(|usage| usage["output_tokens"] == 9)
        );

        let mut late = translator(Format::Chat, client, true);
        let mut out = Vec::new();
        feed(&mut late, &frames(&[&text("Hi", "stop")]), &mut out).unwrap();
        late.flush_finish(&mut out).unwrap();
        feed(&mut late, &frames(&[&text("more", "stop"), "[DONE]"]), &mut out).unwrap();
        let seen_again = client_view(client, &late, &out, None);
        assert!(!seen_again.clean && seen_again.error.is_some_and(|error| error.contains("was dropped")), "{client}");
    }
}

fn messages(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn deltas_behind_message_delta_are_kept() {
    let start =
        r#"{"type":"message_start","message":{"id":"m","model":"x","usage":{"input_tokens":7,"output_tokens":1}}}"#;
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let delta = |text: &str| {
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#)
    };
    let stop_block = r#"{"type":"content_block_stop","index":0}"#;
    let finish = |reason: &str| {
        format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":9}}}}"#)
    };
    let tool = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#;
    let input = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    let (hel, lo, end, calls) = (delta("Hel"), delta("lo"), finish("end_turn"), finish("tool_use"));
    let stop = r#"{"type":"message_stop"}"#;
    #[rustfmt::skip]
    let rows: &[(&[&str], &str, &[&str], bool)] = &[
        (&[start, block, &hel, &end, &lo, stop], "Hello", &[], true),
        (&[start, block, &hel, stop_block, &end, &lo, stop], "Hello", &[], true),
        (&[start, block, &hel, &end, &lo, &end], "Hello", &[], true),
        (&[start, block, &hel, &lo, stop_block, &end, tool, &calls, stop], "Hello", &["f"], true),
        (&[start, block, &hel, &lo, &end, stop], "Hello", &[], true),
        (&[start, block, &hel, &end, &lo], "Hello", &[], false),
        // Input behind the end of its block cannot be written any more.
        (&[start, block, &hel, &lo, stop_block, tool, r#"{"type":"content_block_stop","index":1}"#, &calls, input, stop],
         "Hello", &["f"], false),
    ];
    for (events, text, calls, clean) in rows {
        for client in [Format::Chat, Format::Responses] {
            let seen = stream(Format::Messages, client, &messages(events));
            // What was shown of an answer that failed is in its deltas alone.
            if *clean {
                assert_eq!((seen.text.as_str(), seen.names()), (*text, calls.to_vec()), "{client} {events:?}");
            }
            assert_eq!((seen.clean, seen.error.is_none()), (*clean, *clean), "{client} {events:?} {:?}", seen.error);
        }
    }
}

/// Oddities that are none of this kind stay what they were.
#[test]
fn an_answer_without_a_reason_ends_at_its_mark() {
    for (client, seen) in both(&[&text("Hi", ""), "[DONE]"]) {
        assert!(seen.clean && seen.has(Note::MissingFinish), "{client}");
    }
}

/// Of several reasons in a row the one counts that says more than `stop`.
#[test]
fn a_reason_that_says_more_counts() {
    let hi = text("Hi", "stop");
    let rows = [("length", "max_tokens"), ("content_filter", "refusal"), ("stop", "end_turn")];
    for (word, expected) in rows {
        let late = chunk("{}", word);
        let seen = stream(Format::Chat, Format::Messages, &lines(&[hi.clone(), late.clone(), "[DONE]".into()], "\n"));
        assert_eq!((seen.finish.as_deref(), seen.clean), (Some(expected), true), "{word}: {}", seen.raw);
        let seen = stream(Format::Chat, Format::Messages, &lines(&[text("Hi", word), chunk("{}", "stop")], "\n"));
        assert_eq!((seen.finish.as_deref(), seen.clean), (Some(expected), true), "{word}: {}", seen.raw);
    }
    let finish = |reason: &str| {
        format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":9}}}}"#)
    };
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}"#;
    let seen = stream(Format::Messages, Format::Chat, &messages(&[block, &finish("end_turn"), &finish("max_tokens")]));
    assert_eq!(seen.finish.as_deref(), Some("length"), "{}", seen.raw);
}
