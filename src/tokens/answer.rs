//! Counts what a model wrote, from its answer in any format, whole or as a stream of events: text,
//! reasoning, and the names and arguments of calls.
//!
//! What a stream sends in pieces is put together first, since a text has other tokens than its
//! pieces.

use std::collections::BTreeMap;

use super::picture::DefaultPicture;
use super::tally::TokenCounter;
use super::vocabulary::Model;
use llm_wire::Format;
use llm_wire::json::RawValue;
use llm_wire::sse::Framer;

/// An answer, as much of it as was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Only its words.
    Text(String),
    /// One JSON document.
    Whole(Vec<u8>),
    /// Server-sent events.
    Stream(Vec<u8>),
}

impl Answer {
    /// Returns how many bytes it holds.
    pub fn len(&self) -> usize {
        match self {
            Answer::Text(text) => text.len(),
            Answer::Whole(bytes) | Answer::Stream(bytes) => bytes.len(),
        }
    }

    /// Returns whether there is no text to count.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the tokens of an answer, and whether that is exact. Reasoning that was not shown can't
/// be seen.
pub fn count(format: Format, answer: &Answer, model: Model) -> (u64, bool) {
    let mut parts = AnswerParts::default();
    match answer {
        Answer::Text(text) => parts.add(0, Part::Text, text),
        Answer::Whole(body) => {
            if let Ok(body) = RawValue::parse(body) {
                parts.read(format, body);
            }
        }
        Answer::Stream(bytes) => parts.stream(format, bytes),
    }
    let default_picture = DefaultPicture::default();
    let mut tally = TokenCounter::new(model, format, &default_picture);
    if model.reasons {
        tally.guess(0);
    }
    parts.tally(&mut tally);
    if parts.0.is_empty() { tally.sum() } else { tally.answer() }
}

/// Which words of a choice, block or item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text,
    Reasoning,
    /// A call's name and arguments, by its number.
    Name(u64),
    Arguments(u64),
}

/// The text, put together, by the number of the choice, block or item.
#[derive(Debug, Default)]
struct AnswerParts(BTreeMap<(u64, Part), String>);

impl AnswerParts {
    fn add(&mut self, number: u64, part: Part, text: &str) {
        if !text.is_empty() {
            self.0.entry((number, part)).or_default().push_str(text);
        }
    }

    fn string(&mut self, number: u64, part: Part, value: Option<RawValue<'_>>) {
        if let Some(text) = value.and_then(RawValue::as_str) {
            self.add(number, part, &text.unescape());
        }
    }

    /// The text of a string, or the JSON of an object that is not empty.
    fn arguments(&mut self, number: u64, part: Part, value: Option<RawValue<'_>>) {
        match value {
            Some(value) if value.is_object() && value.members().next().is_some() => {
                self.add(number, part, &String::from_utf8_lossy(value.bytes()));
            }
            value => self.string(number, part, value),
        }
    }

    fn tally(&self, tally: &mut TokenCounter<'_>) {
        for ((_, part), text) in &self.0 {
            match part {
                Part::Text | Part::Reasoning => tally.text(text),
                Part::Name(_) => tally.call(text, ""),
                Part::Arguments(_) => tally.text(text),
            }
        }
    }

    fn stream(&mut self, format: Format, mut bytes: &[u8]) {
        let mut framer = Framer::default();
        // What is too long to follow ends the count.
        while let Ok(Some(block)) = framer.next(&mut bytes) {
            if let Some(data) = block.frame.and_then(|frame| RawValue::parse(frame.data).ok()) {
                self.read(format, data);
            }
        }
        if let Some(data) =
            framer.finish().and_then(|block| block.frame).and_then(|frame| RawValue::parse(frame.data).ok())
        {
            self.read(format, data);
        }
    }

    /// A whole answer or one event.
    fn read(&mut self, format: Format, body: RawValue<'_>) {
        match format {
            Format::Chat => self.chat(body),
            Format::Messages => self.messages(body),
            Format::Responses => self.responses(body),
        }
    }

    fn chat(&mut self, body: RawValue<'_>) {
        for (at, (choice, _)) in elements(body.find("choices")).enumerate() {
            let n = choice.find("index").and_then(RawValue::as_u64).unwrap_or(at as u64);
            // Legacy completions have the text in the choice itself.
            self.string(n, Part::Text, choice.find("text"));
            let Some(message) = choice.find("message").or(choice.find("delta")) else { continue };
            match message.find("content") {
                Some(content) if content.as_str().is_some() => self.string(n, Part::Text, Some(content)),
                content => {
                    for (part, _) in elements(content) {
                        self.string(n, Part::Text, part.find("text"));
                        elements(part.find("thinking"))
                            .for_each(|(t, _)| self.string(n, Part::Reasoning, t.find("text")));
                    }
                }
            }
            self.string(n, Part::Text, message.find("refusal"));
            // Some hosts say it twice.
            let reasoning = message.find("reasoning_content").filter(|v| !v.is_null()).or(message.find("reasoning"));
            self.string(n, Part::Reasoning, reasoning);
            if let Some(call) = message.find("function_call") {
                self.string(n, Part::Name(0), call.find("name"));
                self.string(n, Part::Arguments(0), call.find("arguments"));
            }
            for (at, (call, _)) in elements(message.find("tool_calls")).enumerate() {
                let c = call.find("index").and_then(RawValue::as_u64).unwrap_or(at as u64);
                let made = call.find("function").or(call.find("custom")).unwrap_or(call);
                self.string(n, Part::Name(c), made.find("name"));
                self.arguments(n, Part::Arguments(c), made.find("arguments").or(made.find("input")));
            }
        }
    }

    fn messages(&mut self, body: RawValue<'_>) {
        let index = body.find("index").and_then(RawValue::as_u64).unwrap_or(0);
        if let Some(block) = body.find("content_block") {
            return self.block(index, block);
        }
        if let Some(delta) = body.find("delta") {
            self.string(index, Part::Text, delta.find("text"));
            self.string(index, Part::Reasoning, delta.find("thinking"));
            return self.string(index, Part::Arguments(0), delta.find("partial_json"));
        }
        for (at, (block, _)) in elements(body.find("content")).enumerate() {
            self.block(at as u64, block);
        }
    }

    fn block(&mut self, index: u64, block: RawValue<'_>) {
        match block.find("type").and_then(RawValue::as_str) {
            Some(kind) if kind.eq_str("text") => self.string(index, Part::Text, block.find("text")),
            Some(kind) if kind.eq_str("thinking") => self.string(index, Part::Reasoning, block.find("thinking")),
            Some(kind) if kind.eq_str("tool_use") || kind.eq_str("server_tool_use") => {
                self.string(index, Part::Name(0), block.find("name"));
                self.arguments(index, Part::Arguments(0), block.find("input"));
            }
            // Results of the provider's tools are not written by the model.
            _ => {}
        }
    }

    fn responses(&mut self, body: RawValue<'_>) {
        let Some(kind) = body.find("type").and_then(RawValue::as_str) else {
            return elements(body.find("output")).enumerate().for_each(|(at, (item, _))| self.item(at as u64, item));
        };
        let n = body.find("output_index").and_then(RawValue::as_u64).unwrap_or(0);
        let delta = body.find("delta");
        match &*kind.unescape() {
            "response.output_text.delta" | "response.refusal.delta" => self.string(n, Part::Text, delta),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.string(n, Part::Reasoning, delta);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.string(n, Part::Arguments(0), delta);
            }
            "response.output_item.added" => {
                self.string(n, Part::Name(0), body.path(&["item", "name"]));
            }
            _ => {}
        }
    }

    /// An item of a whole answer.
    fn item(&mut self, n: u64, item: RawValue<'_>) {
        for (part, _) in elements(item.find("content")) {
            let is_reasoning = part.find("type").is_some_and(|kind| kind.eq_str("reasoning_text"));
            self.string(n, if is_reasoning { Part::Reasoning } else { Part::Text }, part.find("text"));
            self.string(n, Part::Text, part.find("refusal"));
        }
        elements(item.find("summary")).for_each(|(part, _)| self.string(n, Part::Reasoning, part.find("text")));
        if item.find("type").is_some_and(|kind| kind.eq_str("function_call") || kind.eq_str("custom_tool_call")) {
            self.string(n, Part::Name(0), item.find("name"));
            self.string(n, Part::Arguments(0), item.find("arguments").or(item.find("input")));
        }
    }
}

fn elements(value: Option<RawValue<'_>>) -> impl Iterator<Item = (RawValue<'_>, std::ops::Range<usize>)> {
    value.into_iter().flat_map(RawValue::elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::vocabulary::of_model;

    fn of(format: Format, answer: Answer) -> (u64, bool) {
        count(format, &answer, of_model("gpt-4o"))
    }

    fn stream(events: &[&str]) -> Answer {
        Answer::Stream(events.iter().flat_map(|data| format!("data: {data}\n\n").into_bytes()).collect())
    }

    /// Pieces of a word are put together before they are counted, and streamed and whole answers
    /// are the same.
    #[test]
    fn whole_and_streamed() {
        let rows = [
            (
                Format::Chat,
                r#"{"choices":[{"message":{"content":"hello world"}}]}"#,
                &[
                    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"hel"}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"content":"lo wor"}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"content":"ld"}}]}"#,
                    "[DONE]",
                ][..],
                2,
            ),
            (
                Format::Messages,
                r#"{"content":[{"type":"text","text":"hello world"}]}"#,
                &[
                    r#"{"type":"message_start","message":{"content":[]}}"#,
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello wor"}}"#,
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ld"}}"#,
                ][..],
                2,
            ),
            (
                Format::Responses,
                r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"hello world"}]}]}"#,
                &[
                    r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","content":[]}}"#,
                    r#"{"type":"response.output_text.delta","output_index":0,"delta":"hello w"}"#,
                    r#"{"type":"response.output_text.delta","output_index":0,"delta":"orld"}"#,
                    r#"{"type":"response.completed","response":{"output":[{"type":"message"}]}}"#,
                ][..],
                3,
            ),
        ];
        for (format, whole, events, expected) in rows {
            assert_eq!(of(format, Answer::Whole(whole.into())), (expected, true), "{whole}");
            assert_eq!(of(format, stream(events)), (expected, true), "{whole}");
        }
    }

    #[test]
    fn reasoning_and_calls() {
        let chat = r#"{"choices":[{"message":{"content":null,"reasoning_content":"hello world","reasoning":"hello world",
            "tool_calls":[{"function":{"name":"hello","arguments":"hello world"}}]}}]}"#;
        let chat_events = [
            r#"{"choices":[{"delta":{"reasoning":"hello world"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"hello","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"hello wor"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ld"}}]}}]}"#,
        ];
        let messages = r#"{"content":[{"type":"thinking","thinking":"hello world"},{"type":"tool_use","name":"hello","input":{}}]}"#;
        let messages_events = [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"thinking":"hello world"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"hello","input":{}}}"#,
        ];
        let responses = r#"{"output":[{"type":"reasoning","summary":[{"text":"hello world"}]},
            {"type":"function_call","name":"hello","arguments":"hello world"}]}"#;
        let responses_events = [
            r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"hello world"}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","name":"hello"}}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"hello world"}"#,
        ];
        for (format, whole, events, words) in [
            (Format::Chat, chat, &chat_events[..], 5),
            (Format::Messages, messages, &messages_events[..], 3),
            (Format::Responses, responses, &responses_events[..], 5 + 1),
        ] {
            assert_eq!(of(format, Answer::Whole(whole.into())), (words + 7, false), "{whole}");
            assert_eq!(of(format, stream(events)), (words + 7, false), "{whole}");
        }
    }

    #[test]
    fn nothing_and_nonsense() {
        for bytes in ["", "{", "null", "data: {\n\n", r#"{"choices":{},"content":7,"output":"x"}"#] {
            for format in Format::ALL {
                assert_eq!(of(format, Answer::Whole(bytes.into())), (0, true), "{bytes}");
                assert_eq!(of(format, Answer::Stream(bytes.into())), (0, true), "{bytes}");
            }
        }
        let thinker = count(Format::Chat, &Answer::Text("hello world".to_owned()), of_model("gpt-5"));
        assert_eq!(thinker, (5, false));
    }
}
