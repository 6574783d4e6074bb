//! Legacy completions, as JSON and as a stream. They have neither tools nor reasoning, and a
//! refusal is a text.

use super::answer::{Answer, Content, Text, Usage};
use super::chat::finish;
use super::event_script::Script;
use super::request::ParsedRequest;
use super::templates::{Repeated, fill, json, section};

const FILE: &str = include_str!("templates/completions.tmpl");
const WHOLE: &str = json(FILE, "whole");
const USAGE: &str = json(FILE, "usage");
const TEXT: &str = section(FILE, "text");
const FINISH: &str = section(FILE, "finish");
const LAST_USAGE: &str = section(FILE, "last_usage");
const DONE: &str = section(FILE, "done");

/// Writes a whole answer of the legacy completions.
pub(crate) fn whole(req: &ParsedRequest, answer: &Answer, out: &mut Vec<u8>) {
    fill!(
        out,
        WHOLE,
        id = answer.id,
        model = req.model,
        text = *text(answer),
        finish = finish(answer.finish),
        usage = usage(answer.usage),
    );
}

/// Writes the events of a stream of the legacy completions.
pub(crate) fn stream(req: &ParsedRequest, answer: &Answer, script: &mut Script) {
    let null_usage = if req.include_usage { r#","usage":null"# } else { "" };
    let event = Repeated::new(TEXT, &[("id", &answer.id), ("model", &req.model), ("null_usage", &null_usage)]);
    script.contents(&event, text(answer).pieces());
    let finish = finish(answer.finish);
    fill!(&mut script.bytes, FINISH, id = answer.id, model = req.model, finish = finish, null_usage = null_usage);
    script.event();
    if req.include_usage {
        let usage = usage(answer.usage);
        fill!(&mut script.bytes, LAST_USAGE, id = answer.id, model = req.model, usage = usage);
        script.event();
    }
    fill!(&mut script.bytes, DONE);
    script.event();
}

fn text(answer: &Answer) -> &Text {
    match &answer.content {
        Content::Text(text) | Content::Refusal(text) => text,
        Content::Calls(_) => const { &Text::Usual(0) },
    }
}

fn usage(usage: Usage) -> Vec<u8> {
    let (mut out, total) = (Vec::new(), usage.input + usage.output);
    fill!(&mut out, USAGE, input = usage.input, output = usage.output, total = total);
    out
}
