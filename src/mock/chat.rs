//! Chat completions, as JSON and as a stream.

use super::answer::{Answer, Call, Content, Finish, THOUGHTS, Text, Usage, escape};
use super::ask::Ask;
use super::script::Script;
use super::templates::{fill, json, section};

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

pub fn whole(ask: &Ask, answer: &Answer, out: &mut Vec<u8>) {
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
        model = ask.model,
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

pub fn stream(ask: &Ask, answer: &Answer, script: &mut Script) {
    let null_usage = if ask.include_usage { r#","usage":null"# } else { "" };
    let chunk = |script: &mut Script, template: &str, index: u64, call: &str, name: &str, text: &str| {
        fill!(
            &mut script.bytes,
            template,
            id = answer.id,
            model = ask.model,
            text = text,
            null_usage = null_usage,
            index = index,
            call = call,
            name = name,
            finish = finish(answer.finish),
        );
    };
    let each = |script: &mut Script, template: &str, index: u64, text: &Text| {
        for piece in text.pieces() {
            chunk(script, template, index, "", "", piece);
            script.content();
        }
    };

    chunk(script, ROLE, 0, "", "", "");
    script.event();
    if answer.reasoning.is_some() {
        for thought in THOUGHTS {
            chunk(script, REASONING, 0, "", "", thought);
            script.content();
        }
    }
    match &answer.content {
        Content::Text(text) => each(script, TEXT, 0, text),
        Content::Refusal(text) => each(script, REFUSAL, 0, text),
        Content::Calls(calls) => {
            for (index, call) in (0u64..).zip(calls) {
                chunk(script, CALL, index, &call.id, &call.name, "");
                script.content();
                each(script, ARGUMENTS, index, &call.pieces);
            }
        }
    }
    chunk(script, FINISH, 0, "", "", "");
    script.event();
    if ask.include_usage {
        let usage = usage(answer.usage);
        fill!(&mut script.bytes, LAST_USAGE, id = answer.id, model = ask.model, usage = usage);
        script.event();
    }
    fill!(&mut script.bytes, DONE);
    script.event();
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

pub fn thoughts() -> String {
    THOUGHTS.concat()
}

/// A refusal is said in words of its own and ends as any text does.
pub fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Refusal => "stop",
        Finish::Length => "length",
        Finish::Tools => "tool_calls",
    }
}
