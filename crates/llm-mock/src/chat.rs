//! Chat completions, as JSON and as a stream.

use super::answer::{Answer, Call, Content, Finish, THOUGHTS, Usage, escape};
use super::event_script::Script;
use super::request::ParsedRequest;
use super::templates::{Holes, Repeated, Splice, fill, fill_holes, json, section};

const FILE: &str = include_str!("templates/chat.tmpl");
const WHOLE: &str = json(FILE, "whole");
const WHOLE_TEXT: &str = json(FILE, "whole_text");
const WHOLE_REFUSAL: &str = json(FILE, "whole_refusal");
const WHOLE_CALLS: &str = json(FILE, "whole_calls");
const WHOLE_CALL: &str = json(FILE, "whole_call");
const WHOLE_REASONING: &str = json(FILE, "whole_reasoning");
const USAGE: &str = json(FILE, "usage");
const ROLE: &str = section(FILE, "role");
const REASONING: &str = section(FILE, "reasoning");
const TEXT: &str = section(FILE, "text");
const REFUSAL: &str = section(FILE, "refusal");
const CALL: &str = section(FILE, "call");
const ARGUMENTS: &str = section(FILE, "arguments");
const FINISH: &str = section(FILE, "finish");
const LAST_USAGE: &str = section(FILE, "last_usage");
const DONE: &str = section(FILE, "done");

/// Writes a whole answer of Chat Completions.
pub(crate) fn whole(req: &ParsedRequest, answer: &Answer, out: &mut Vec<u8>) {
    let mut message = Vec::new();
    match &answer.content {
        Content::Text(text) => fill!(&mut message, WHOLE_TEXT, text = *text),
        Content::Refusal(text) => fill!(&mut message, WHOLE_REFUSAL, text = *text),
        Content::Calls(calls) => {
            fill!(&mut message, WHOLE_CALLS, calls = whole_calls(calls));
        }
    }
    if answer.reasoning.is_some() {
        let inner = std::mem::take(&mut message);
        fill!(&mut message, WHOLE_REASONING, text = thoughts(), message = inner);
    }
    fill!(
        out,
        WHOLE,
        id = answer.id,
        model = req.model,
        message = message,
        finish = finish(answer.finish),
        usage = usage(answer.usage),
    );
}

fn whole_calls(calls: &[Call]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b", " } else { b"" });
        let arguments = escape(&call.input);
        fill!(&mut out, WHOLE_CALL, id = call.id, name = call.name, arguments = arguments);
    }
    out
}

/// Writes the events of a stream of Chat Completions.
pub(crate) fn stream(req: &ParsedRequest, answer: &Answer, script: &mut Script) {
    let mut chunks = Chunks { script, req, answer };
    chunks.event(ROLE, &[]);
    if answer.reasoning.is_some() {
        chunks.contents(REASONING, &[], THOUGHTS.into_iter());
    }
    match &answer.content {
        Content::Text(text) => chunks.contents(TEXT, &[], text.pieces()),
        Content::Refusal(text) => chunks.contents(REFUSAL, &[], text.pieces()),
        Content::Calls(calls) => {
            for (index, call) in (0u64..).zip(calls) {
                let start: &Holes = &[("index", &index), ("call", &call.id), ("name", &call.name)];
                chunks.contents(CALL, start, std::iter::once(""));
                chunks.contents(ARGUMENTS, &[("index", &index)], call.pieces.pieces());
            }
        }
    }
    chunks.event(FINISH, &[("finish", &finish(answer.finish))]);
    if req.include_usage {
        chunks.event(LAST_USAGE, &[("usage", &usage(answer.usage))]);
    }
    chunks.event(DONE, &[]);
}

/// The chunks of a stream, which all have the id and the model.
struct Chunks<'a> {
    script: &'a mut Script,
    req: &'a ParsedRequest<'a>,
    answer: &'a Answer,
}

impl Chunks<'_> {
    fn event(&mut self, template: &str, own: &Holes) {
        fill_holes(&mut self.script.bytes, template, &holes(self.req, self.answer, own));
        self.script.event();
    }

    fn contents<'b>(&mut self, template: &str, own: &Holes, pieces: impl Iterator<Item = &'b str>) {
        let event = Repeated::new(template, &holes(self.req, self.answer, own));
        self.script.contents(&event, pieces);
    }
}

fn holes<'a>(req: &'a ParsedRequest, answer: &'a Answer, own: &Holes<'a>) -> Vec<(&'a str, &'a dyn Splice)> {
    let null_usage: &dyn Splice = if req.include_usage { &r#","usage":null"# } else { &"" };
    let mut holes: Vec<(&str, &dyn Splice)> =
        vec![("id", &answer.id), ("model", &req.model), ("null_usage", null_usage)];
    holes.extend_from_slice(own);
    holes
}

fn usage(usage: Usage) -> Vec<u8> {
    let mut out = Vec::new();
    fill!(
        &mut out,
        USAGE,
        input = usage.input,
        cached = usage.cached,
        output = usage.output,
        reasoning = usage.reasoning,
        total = usage.input + usage.output,
    );
    out
}

/// Returns the text of the reasoning, which is always the same.
pub(crate) fn thoughts() -> String {
    THOUGHTS.concat()
}

/// A refusal has a field of its own and ends as any text does.
pub(crate) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Refusal => "stop",
        Finish::Length => "length",
        Finish::Tools => "tool_calls",
    }
}
