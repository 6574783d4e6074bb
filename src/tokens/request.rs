//! Counts what a request asks a model to read, in any format.
//!
//! Text is counted word for word. Files by id, a provider's own searches and kept conversations
//! can't be seen here; a request with any of them is a guess, as is one with tools, pictures or
//! documents, whose rules are nearly known.

use super::picture::{DefaultPicture, Detail};
use super::tally::TokenCounter;
use super::tools::{self, Function};
use super::vocabulary::{Model, Vendor};
use llm_wire::Format;
use llm_wire::json::{RawStr, RawValue};

/// Tools of which a request may have this many; more are not read.
const MAX_TOOLS: usize = 4096;

/// Returns the tokens of a request's body, and whether that is exact. A body that is no JSON has
/// none.
///
/// Of the format [`Format::Chat`] are also legacy completions and embeddings, whose `prompt` and
/// `input` count as they are.
pub fn count(format: Format, body: &[u8], model: Model, default_picture: &DefaultPicture) -> (u64, bool) {
    let Ok(body) = RawValue::parse(body) else { return (0, false) };
    let mut tally = TokenCounter::new(model, format, default_picture);
    match format {
        Format::Chat if body.find("messages").is_none() => {
            for key in ["prompt", "input"] {
                body.find(key).into_iter().for_each(|found| plain(found, &mut tally));
            }
            return tally.sum();
        }
        Format::Chat => chat(body, &mut tally),
        Format::Messages => messages(body, &mut tally),
        Format::Responses => responses(body, &mut tally),
    }
    tally.prompt()
}

/// A text, or a list of them; a list of numbers is tokens.
fn plain(value: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    if let Some(text) = value.as_str() {
        return tally.text(&text.unescape());
    }
    for (item, _) in value.elements() {
        match item.as_str() {
            Some(text) => tally.text(&text.unescape()),
            None if item.as_u64().is_some() => tally.guess(1),
            None => item.elements().for_each(|_| tally.guess(1)),
        }
    }
}

fn chat(body: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    for (message, _) in elements(body.find("messages")) {
        let role = word(message.find("role"));
        tally.message(&role);
        for (key, value, _) in message.members() {
            match &*key.unescape() {
                "name" => tally.name(&word(Some(value))),
                "content" | "reasoning_content" | "refusal" => content(value, tally),
                "function_call" => call(value, tally),
                "tool_calls" => {
                    for (item, _) in value.elements() {
                        item.find("function").or(item.find("custom")).into_iter().for_each(|made| call(made, tally));
                    }
                }
                "audio" if !value.is_null() => tally.guess(0),
                _ => {}
            }
        }
    }
    let functions: Vec<_> =
        elements(body.find("functions")).take(MAX_TOOLS).filter_map(|(item, _)| function(item)).collect();
    offered(body, &functions, tally);
    choice(body.find("tool_choice").or(body.find("function_call")), tally);
    schema(body.find("response_format"), tally);
    if body.find("web_search_options").is_some() || body.find("audio").is_some() {
        tally.guess(0);
    }
}

fn messages(body: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    if let Some(system) = body.find("system").filter(|system| !system.is_null()) {
        tally.message("system");
        content(system, tally);
    }
    for (message, _) in elements(body.find("messages")) {
        tally.message(&word(message.find("role")));
        message.find("content").into_iter().for_each(|value| content(value, tally));
    }
    offered(body, &[], tally);
    choice(body.find("tool_choice"), tally);
    schema(body.path(&["output_config", "format"]), tally);
}

fn responses(body: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    if let Some(text) = body.find("instructions").and_then(RawValue::as_str) {
        tally.message("system");
        tally.text(&text.unescape());
    }
    match body.find("input") {
        Some(input) if input.as_str().is_some() => {
            tally.message("user");
            plain(input, tally);
        }
        input => elements(input).for_each(|(item, _)| self::item(item, tally)),
    }
    offered(body, &[], tally);
    choice(body.find("tool_choice"), tally);
    schema(body.path(&["text", "format"]), tally);
    // What a provider has kept can't be counted here.
    if ["previous_response_id", "conversation", "prompt"].iter().any(|key| body.find(key).is_some_and(|v| !v.is_null()))
    {
        tally.guess(0);
    }
}

/// An item of Responses' `input`.
fn item(item: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    match &*word(item.find("type")) {
        "" | "message" => {
            tally.message(&word(item.find("role")));
            item.find("content").into_iter().for_each(|value| content(value, tally));
        }
        "function_call" | "custom_tool_call" => {
            tally.message("assistant");
            call(item, tally);
        }
        "function_call_output" | "custom_tool_call_output" => {
            tally.message("tool");
            item.find("output").into_iter().for_each(|value| content(value, tally));
        }
        // Reasoning is mostly not read again; others hold what the provider found.
        "reasoning" => tally.guess(0),
        _ => {
            tally.guess(0);
            tally.text(&String::from_utf8_lossy(item.bytes()));
        }
    }
}

/// What a message holds: a text, or a list of parts of any format.
fn content(value: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    if let Some(text) = value.as_str() {
        return tally.text(&text.unescape());
    }
    value.elements().for_each(|(item, _)| part(item, tally));
}

fn part(part: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    let say = |key: &str, tally: &mut TokenCounter<'_>| tally.text(&word(part.find(key)));
    match &*word(part.find("type")) {
        "text" | "input_text" | "output_text" | "summary_text" => say("text", tally),
        "refusal" => say("refusal", tally),
        "thinking" => say("thinking", tally),
        "image_url" => {
            // An object in Chat, and a plain URL with some hosts.
            let image = part.find("image_url");
            let url = image.and_then(|image| image.find("url")).or(image).and_then(RawValue::as_str);
            picture(url, detail(image), tally);
        }
        "input_image" => picture(part.find("image_url").and_then(RawValue::as_str), detail(Some(part)), tally),
        "image" if part.path(&["source", "media_type"]).is_some_and(|media| media.eq_str(PDF)) => document(part, tally),
        "image" => {
            tally.picture(part.path(&["source", "data"]).and_then(RawValue::as_str).map(RawStr::as_bytes), Detail::High)
        }
        "document" => document(part, tally),
        "file" | "input_file" => {
            let file = part.find("file").unwrap_or(part);
            let data = file.find("file_data").and_then(RawValue::as_str);
            // A data URL, or base64 alone.
            tally.document(data.map(|data| payload(data).unwrap_or(data.as_bytes())));
        }
        "input_audio" => {
            tally.audio(part.path(&["input_audio", "data"]).and_then(RawValue::as_str).map_or(0, RawStr::len))
        }
        "tool_use" | "server_tool_use" => call(part, tally),
        "tool_result" | "mcp_tool_result" => {
            tally.guess(4);
            // One level of parts: results hold text, pictures and documents.
            match part.find("content") {
                Some(inner) if inner.as_str().is_some() => content(inner, tally),
                inner => {
                    elements(inner).filter(|(item, _)| !is_result(*item)).for_each(|(item, _)| self::part(item, tally))
                }
            }
        }
        "search_result" => {
            tally.guess(4);
            say("title", tally);
            part.find("content")
                .into_iter()
                .filter(|inner| inner.as_str().is_some())
                .for_each(|inner| content(inner, tally));
        }
        // Sealed reasoning, containers, and what comes next year.
        _ => tally.guess(0),
    }
}

fn is_result(part: RawValue<'_>) -> bool {
    matches!(&*word(part.find("type")), "tool_result" | "mcp_tool_result")
}

/// A document of Messages: base64, text, or elsewhere.
fn document(part: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    let source = |key: &str| part.path(&["source", key]);
    let data = source("data").and_then(RawValue::as_str);
    match &*word(source("type")) {
        "text" => tally.text(&data.map(RawStr::unescape).unwrap_or_default()),
        _ => tally.document(data.map(RawStr::as_bytes)),
    }
}

/// A picture by its URL. Some clients send documents in its place, which are translated as such.
fn picture(url: Option<RawStr<'_>>, detail: Detail, tally: &mut TokenCounter<'_>) {
    let data = url.and_then(payload);
    let declared = url.is_some_and(|url| url.as_bytes()[5.min(url.len())..].starts_with(PDF.as_bytes()));
    match data {
        Some(data) if declared || data.starts_with(b"JVBERi") => tally.document(Some(data)),
        data => tally.picture(data, detail),
    }
}

/// The media type of documents.
const PDF: &str = "application/pdf";

/// A call, of any format: `arguments` is JSON in a string, `input` is JSON or a custom tool's text.
fn call(call: RawValue<'_>, tally: &mut TokenCounter<'_>) {
    let arguments = call.find("arguments").or(call.find("input"));
    let arguments = arguments.map(|value| match value.as_str() {
        Some(text) => text.unescape(),
        None => String::from_utf8_lossy(value.bytes()),
    });
    tally.call(&word(call.find("name")), &arguments.unwrap_or_default());
}

/// The tools of a request.
fn offered<'a>(body: RawValue<'a>, others: &[Function<'a>], tally: &mut TokenCounter<'_>) {
    let mut functions = others.to_vec();
    for (tool, _) in elements(body.find("tools")).take(MAX_TOOLS) {
        match function(tool.find("function").or(tool.find("custom")).unwrap_or(tool)) {
            // Tools of the provider have words of their own.
            None => tally.guess(0),
            Some(found) => functions.push(found),
        }
        // A namespace of Responses.
        elements(tool.find("tools"))
            .take(MAX_TOOLS)
            .filter_map(|(inner, _)| function(inner))
            .for_each(|inner| functions.push(inner));
    }
    if functions.is_empty() {
        return;
    }
    match tally.vendor() {
        Vendor::Anthropic => tally.tools(&tools::as_json(&functions)),
        _ => tally.tools(&tools::as_types(&functions)),
    }
}

fn function(tool: RawValue<'_>) -> Option<Function<'_>> {
    let name = tool.find("name").filter(|name| name.as_str().is_some())?;
    let parameters = tool.find("parameters").or(tool.find("input_schema")).filter(|schema| schema.is_object());
    Some(Function { name, description: tool.find("description"), parameters })
}

/// A choice of tools: a word, or one tool by its name.
fn choice(choice: Option<RawValue<'_>>, tally: &mut TokenCounter<'_>) {
    let Some(choice) = choice else { return };
    if choice.eq_str("none") {
        tally.guess(1);
    } else if choice.is_object() {
        let named = choice.path(&["function", "name"]).or(choice.find("name"));
        tally.text(&word(named));
        tally.guess(7);
    }
}

/// A demanded form of the answer, which is described to the model in some way.
fn schema(format: Option<RawValue<'_>>, tally: &mut TokenCounter<'_>) {
    let Some(format) = format.filter(|format| !matches!(&*word(format.find("type")), "" | "text")) else { return };
    tally.guess(0);
    if let Some(schema) = format.path(&["json_schema", "schema"]).or(format.find("schema")) {
        tally.text(&String::from_utf8_lossy(schema.bytes()));
    }
}

fn detail(image: Option<RawValue<'_>>) -> Detail {
    match image.and_then(|image| image.find("detail")) {
        Some(word) if word.eq_str("low") => Detail::Low,
        _ => Detail::High,
    }
}

/// Returns the base64 of a data URL. `None` for other URLs.
fn payload(url: RawStr<'_>) -> Option<&[u8]> {
    const MARK: &[u8] = b";base64,";
    let bytes = url.as_bytes();
    let head = &bytes[..bytes.len().min(256)];
    let at = memchr::memmem::find(head, MARK).filter(|_| head.starts_with(b"data:"))?;
    Some(&bytes[at + MARK.len()..])
}

fn word(value: Option<RawValue<'_>>) -> std::borrow::Cow<'_, str> {
    value.and_then(RawValue::as_str).map(RawStr::unescape).unwrap_or_default()
}

fn elements(value: Option<RawValue<'_>>) -> impl Iterator<Item = (RawValue<'_>, std::ops::Range<usize>)> {
    value.into_iter().flat_map(RawValue::elements)
}

#[cfg(test)]
mod tests;
