use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::tokens::text;
use crate::tokens::vocabulary::{Vocabulary, of_model};

fn words(text: &str) -> u64 {
    text::count(Vocabulary::O200k, text).tokens
}

fn of(format: Format, model: &str, body: &str) -> (u64, bool) {
    count(format, body.as_bytes(), of_model(model), &DefaultPicture::default())
}

/// The example of OpenAI's cookbook, whose counts its API reports.
const EXAMPLE: &str = r#"{"messages":[
        {"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        {"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
        {"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
        {"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
        {"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
        {"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}]}"#;

#[test]
fn the_published_example() {
    for (model, expected) in [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)] {
        assert_eq!(of(Format::Chat, model, EXAMPLE), (expected, true), "{model}");
    }
    let with_parts = EXAMPLE.replace("\"content\":\"This", "\"content\":[{\"type\":\"text\",\"text\":\"This");
    assert_eq!(of(Format::Chat, "gpt-4o", &with_parts.replace("deliverable.\"", "deliverable.\"}]")), (124, true));
}

#[test]
fn the_same_conversation_in_every_format() {
    let chat = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello there"}]}"#;
    let messages =
        r#"{"system":"Be brief.","messages":[{"role":"user","content":[{"type":"text","text":"Hello there"}]}]}"#;
    let responses = r#"{"instructions":"Be brief.","input":"Hello there"}"#;
    let items = r#"{"instructions":"Be brief.","input":[{"role":"user","content":[{"type":"input_text","text":"Hello there"}]}]}"#;
    let expected = 4 + words("Be brief.") + 4 + words("Hello there") + 3;
    for (format, body) in
        [(Format::Chat, chat), (Format::Messages, messages), (Format::Responses, responses), (Format::Responses, items)]
    {
        assert_eq!(of(format, "gpt-4o", body), (expected, true), "{body}");
        assert_eq!(of(format, "gpt-5", body), (expected - 1, true), "{body}");
        // A guess, by another factor and without a frame of the system prompt.
        assert_eq!(of(format, "claude-sonnet-4-5", body), ((expected - 11 + 1) * 115 / 100 + 6, false), "{body}");
    }
}

/// What is added to a plain question, and that the sum is marked as a guess.
#[test]
fn what_is_guessed() {
    let png = "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAIAAAA="; // 1024 by 1024
    let pages = STANDARD.encode("%PDF-1.4\n1 0 obj\n<< /Type /Pages /Kids [2 0 R] /Count 3 >>\nendobj\n");
    let rows = [
        (Format::Chat, format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{png}"}}}}"#), 765),
        (
            Format::Chat,
            format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{png}","detail":"low"}}}}"#),
            85,
        ),
        (Format::Chat, r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#.to_owned(), 255),
        (
            Format::Chat,
            format!(r#"{{"type":"image_url","image_url":{{"url":"data:application/pdf;base64,{png}"}}}}"#),
            500,
        ),
        (Format::Responses, format!(r#"{{"type":"input_image","image_url":"data:image/png;base64,{png}"}}"#), 765),
        (
            Format::Messages,
            format!(r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{png}"}}}}"#),
            765,
        ),
        (
            Format::Messages,
            r#"{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}"#.to_owned(),
            255,
        ),
        (
            Format::Messages,
            r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"hello"}]}"#.to_owned(),
            5,
        ),
        (Format::Messages, r#"{"type":"tool_result","tool_use_id":"t","content":"hello"}"#.to_owned(), 5),
        (Format::Messages, r#"{"type":"document","source":{"type":"base64","data":"JVBERi0"}}"#.to_owned(), 500),
        // Three pages, each a picture of four tiles and its text.
        (
            Format::Messages,
            format!(r#"{{"type":"document","source":{{"type":"base64","data":"{pages}"}}}}"#),
            3 * (765 + 500),
        ),
        (Format::Responses, format!(r#"{{"type":"input_file","file_data":"{pages}"}}"#), 3 * (765 + 500)),
        (
            Format::Chat,
            format!(r#"{{"type":"file","file":{{"file_data":"data:application/pdf;base64,{pages}"}}}}"#),
            3 * (765 + 500),
        ),
        (Format::Messages, r#"{"type":"redacted_thinking","data":"xyz"}"#.to_owned(), 0),
        (Format::Chat, format!(r#"{{"type":"input_audio","input_audio":{{"data":"{}"}}}}"#, "AAAA".repeat(3200)), 2),
    ];
    for (format, part, expected) in rows {
        let key = format.profile().request.conversation;
        let text = if key == "input" { "input_text" } else { "text" };
        let body = |part: &str| {
            format!(r#"{{"{key}":[{{"role":"user","content":[{{"type":"{text}","text":"hi"}}{part}]}}]}}"#)
        };
        let (bare, exact) = of(format, "gpt-4o", &body(""));
        assert!(exact);
        assert_eq!(of(format, "gpt-4o", &body(&format!(",{part}"))), (bare + expected, false), "{part}");
    }
}

#[test]
fn tools_in_every_format() {
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}}}"#;
    let types = "namespace functions {\n\n// Weather\ntype weather = (_: {\ncity?: string,\n}) => any;\n\n} // namespace functions";
    let chat = format!(
        r#"{{"messages":[],"tools":[{{"type":"function","function":{{"name":"weather","description":"Weather","parameters":{schema}}}}}]}}"#
    );
    let messages =
        format!(r#"{{"messages":[],"tools":[{{"name":"weather","description":"Weather","input_schema":{schema}}}]}}"#);
    let responses = format!(
        r#"{{"input":[],"tools":[{{"type":"function","name":"weather","description":"Weather","parameters":{schema}}}]}}"#
    );
    assert_eq!(of(Format::Chat, "gpt-4o", &chat), (words(types) + 9 + 3, false));
    assert_eq!(of(Format::Messages, "gpt-4o", &messages), (words(types) + 9 + 3, false));
    assert_eq!(of(Format::Responses, "gpt-4o", &responses), (words(types) + 3 + 3, false));
    assert!(of(Format::Messages, "claude-sonnet-4-5", &messages).0 > 500);
    let forced =
        chat.replace("\"tools\"", r#""tool_choice":{"type":"function","function":{"name":"weather"}},"tools""#);
    assert_eq!(of(Format::Chat, "gpt-4o", &forced).0, words(types) + 9 + 3 + 7 + 1);
}

#[test]
fn other_bodies() {
    assert_eq!(of(Format::Chat, "text-embedding-3-small", r#"{"input":["hello world",[1,2,3]]}"#), (5, false));
    assert_eq!(of(Format::Chat, "gpt-3.5-turbo-instruct", r#"{"prompt":"hello world"}"#), (2, true));
    for body in ["", "{", "[]", "null", r#"{"messages":7,"tools":{},"input":{},"system":[[]]}"#] {
        for format in Format::ALL {
            let (tokens, _) = of(format, "gpt-4o", body);
            assert!(tokens <= 8, "{body}: {tokens}");
        }
    }
}
