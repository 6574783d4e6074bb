//! Anthropic messages, as JSON and as a stream.

use super::answer::{Answer, Content, Finish, THOUGHTS};
use super::chat::thoughts;
use super::event_script::Script;
use super::request::{ParsedRequest, Reasoning};
use super::templates::{Repeated, fill, json, section};

const FILE: &str = include_str!("templates/messages.tmpl");
const WHOLE: &str = json(FILE, "whole");
const WHOLE_TEXT: &str = json(FILE, "whole_text");
const WHOLE_THINKING: &str = json(FILE, "whole_thinking");
const WHOLE_TOOL: &str = json(FILE, "whole_tool");
const REFUSAL_DETAILS: &str = json(FILE, "refusal_details");
const SIGNATURE: &str = json(FILE, "signature");
const START: &str = section(FILE, "start");
const TEXT_START: &str = section(FILE, "text_start");
const THINKING_START: &str = section(FILE, "thinking_start");
const TOOL_START: &str = section(FILE, "tool_start");
const PING: &str = section(FILE, "ping");
const TEXT: &str = section(FILE, "text");
const THINKING: &str = section(FILE, "thinking");
const SIGNATURE_DELTA: &str = section(FILE, "signature_delta");
const ARGUMENTS: &str = section(FILE, "arguments");
const STOP: &str = section(FILE, "stop");
const DELTA: &str = section(FILE, "delta");
const END: &str = section(FILE, "end");

/// Writes a whole answer of Messages.
pub(crate) fn whole(req: &ParsedRequest, answer: &Answer, out: &mut Vec<u8>) {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut block = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut block = Vec::new();
        write(&mut block);
        blocks.push(block);
    };
    if let Some(reasoning) = answer.reasoning {
        let text = if reasoning.shown { thoughts() } else { String::new() };
        block(&|out| fill!(out, WHOLE_THINKING, text = text, signature = signature(answer)));
    }
    match &answer.content {
        Content::Text(text) => block(&|out| fill!(out, WHOLE_TEXT, text = *text)),
        // The explanation is in the stop details.
        Content::Refusal(_) => {}
        Content::Calls(calls) => {
            for call in calls {
                block(&|out| fill!(out, WHOLE_TOOL, id = call.id, name = call.name, arguments = call.input));
            }
        }
    }
    fill!(
        out,
        WHOLE,
        id = answer.id,
        model = req.model,
        blocks = blocks.join(&b','),
        stop = stop_reason(answer.finish),
        details = stop_details(answer),
        input = answer.usage.input - answer.usage.cached,
        cached = answer.usage.cached,
        output = answer.usage.output,
        thinking = answer.usage.reasoning,
    );
}

/// Writes the events of a stream of Messages.
pub(crate) fn stream(req: &ParsedRequest, answer: &Answer, script: &mut Script) {
    let usage = answer.usage;
    fill!(
        &mut script.bytes,
        START,
        id = answer.id,
        model = req.model,
        input = usage.input - usage.cached,
        cached = usage.cached,
    );
    script.event();
    let mut blocks = Blocks { script, index: 0 };
    if let Some(reasoning) = answer.reasoning {
        blocks.thinking(reasoning, &signature(answer));
    }
    match &answer.content {
        Content::Text(text) => {
            blocks.start(TEXT_START, "", "");
            blocks.deltas(TEXT, text.pieces());
            blocks.stop();
        }
        Content::Refusal(_) => {}
        Content::Calls(calls) => {
            for call in calls {
                blocks.start(TOOL_START, &call.id, &call.name);
                // Anthropic's first delta of a tool is empty.
                blocks.deltas(ARGUMENTS, std::iter::once("").chain(call.pieces.pieces()));
                blocks.stop();
            }
        }
    }
    fill!(
        &mut script.bytes,
        DELTA,
        stop = stop_reason(answer.finish),
        details = stop_details(answer),
        input = usage.input - usage.cached,
        cached = usage.cached,
        output = usage.output,
        thinking = usage.reasoning,
    );
    script.event();
    fill!(&mut script.bytes, END);
    script.event();
}

/// The content blocks of a stream, one after the other.
struct Blocks<'a> {
    script: &'a mut Script,
    index: u64,
}

impl Blocks<'_> {
    fn start(&mut self, template: &str, id: &str, name: &str) {
        fill!(&mut self.script.bytes, template, index = self.index, id = id, name = name);
        self.script.event();
        if self.index == 0 {
            fill!(&mut self.script.bytes, PING);
            self.script.event();
        }
    }

    fn deltas<'b>(&mut self, template: &str, pieces: impl Iterator<Item = &'b str>) {
        let event = Repeated::new(template, &[("index", &self.index)]);
        self.script.contents(&event, pieces);
    }

    fn thinking(&mut self, reasoning: Reasoning, signature: &str) {
        self.start(THINKING_START, "", "");
        if reasoning.shown {
            self.deltas(THINKING, THOUGHTS.into_iter());
        }
        fill!(&mut self.script.bytes, SIGNATURE_DELTA, index = self.index, signature = signature);
        self.script.content();
        self.stop();
    }

    fn stop(&mut self) {
        fill!(&mut self.script.bytes, STOP, index = self.index);
        self.script.event();
        self.index += 1;
    }
}

fn signature(answer: &Answer) -> String {
    SIGNATURE.replace("$id$", &answer.id)
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tools => "tool_use",
        Finish::Refusal => "refusal",
    }
}

fn stop_details(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::new();
    match &answer.content {
        Content::Refusal(text) => fill!(&mut out, REFUSAL_DETAILS, text = *text),
        _ => out.extend_from_slice(b"null"),
    }
    out
}
