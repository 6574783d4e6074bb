//! The client's cache breakpoints by their path, so that those which a target does not take are
//! named one by one.
//!
//! The body is walked only when some are lost; decoders keep of a breakpoint no more than that it
//! is there.

use crate::canonical::loss::{Ledger, Loss, LossKind};
use crate::canonical::request::Request;
use crate::error::Error;
use crate::format::Format;
use crate::json::RawValue;

/// What a breakpoint stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// A part of the system prompt or of a user's message.
    Input,
    /// A part of an assistant's message.
    Assistant,
    /// A tool.
    Tool,
    /// A tool call.
    Call,
    /// A tool result, or a part of one.
    Result,
}

/// Names the breakpoints that are lost: those that have no place at the target, and of the others
/// the first `skip`.
///
/// # Errors
///
/// Fails in strict mode, at the first one.
pub(crate) fn name_lost(
    request: &Request<'_>,
    has_place: impl Fn(On) -> bool,
    mut skip: usize,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let mut named = false;
    for (on, path) in request.cache.body.map(|body| points(request.from, body)).unwrap_or_default() {
        if has_place(on) {
            if skip == 0 {
                continue;
            }
            skip -= 1;
        }
        named = true;
        ledger.record(Loss::CacheControl, LossKind::Dropped, Some(path))?;
    }
    // A request that was not read from a body.
    if named { Ok(()) } else { ledger.drop(Loss::CacheControl) }
}

/// Returns the breakpoints of a body, in the order in which encoders write them: the system prompt,
/// tools, the conversation.
fn points(from: Format, body: RawValue<'_>) -> Vec<(On, String)> {
    let mut walk = Walk { out: Vec::new() };
    let list = |key: &str| body.find(key).into_iter().flat_map(RawValue::elements).map(|(value, _)| value).enumerate();
    let profile = &from.profile().request;
    let conversation = profile.conversation;
    let is_system = |message: RawValue<'_>| !profile.has_system_items && has_system_role(message);
    if let Some(system) = profile.cached_system {
        walk.parts(body.find(system), On::Input, system);
    }
    for (n, message) in list(conversation).filter(|(_, message)| is_system(*message)) {
        walk.parts(message.find("content"), On::Input, &format!("{conversation}.{n}.content"));
    }
    for (n, tool) in list("tools") {
        walk.point(tool, On::Tool, &format!("tools.{n}"));
    }
    for (n, message) in list(conversation).filter(|(_, message)| !is_system(*message)) {
        let role = message.find("role");
        let is = |role: Option<RawValue<'_>>, name: &str| role.is_some_and(|role| role.eq_str(name));
        let on = match role {
            role if is(role, "assistant") => On::Assistant,
            role if is(role, "tool") || is(role, "function") => On::Result,
            _ => On::Input,
        };
        let path = format!("{conversation}.{n}");
        walk.parts(message.find("content"), on, &format!("{path}.content"));
        walk.parts(message.find("output"), On::Result, &format!("{path}.output"));
    }
    walk.out
}

/// A system message of Chat is part of the system prompt.
fn has_system_role(message: RawValue<'_>) -> bool {
    message.find("role").is_some_and(|role| role.eq_str("system") || role.eq_str("developer"))
}

struct Walk {
    out: Vec<(On, String)>,
}

impl Walk {
    fn parts(&mut self, parts: Option<RawValue<'_>>, on: On, path: &str) {
        for (n, (part, _)) in parts.into_iter().flat_map(RawValue::elements).enumerate() {
            let kind = part.find("type");
            let is = |name: &str| kind.is_some_and(|kind| kind.eq_str(name));
            let path = format!("{path}.{n}");
            let on = match on {
                _ if is("tool_use") => On::Call,
                _ if is("tool_result") => On::Result,
                on => on,
            };
            if is("tool_result") {
                self.parts(part.find("content"), on, &format!("{path}.content"));
            }
            self.point(part, on, &path);
        }
    }

    fn point(&mut self, holder: RawValue<'_>, on: On, path: &str) {
        for key in ["cache_control", "prompt_cache_breakpoint"] {
            if holder.find(key).is_some_and(RawValue::is_object) {
                return self.out.push((on, format!("{path}.{key}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_breakpoints() {
        let c = r#""cache_control":{"type":"ephemeral"}"#;
        let body = format!(
            r#"{{"tools":[{{"name":"f",{c}}},{{"name":"g"}}],"messages":[
            {{"role":"user","content":[{{"type":"text","text":"a"}},{{"type":"text","text":"b",{c}}}]}},
            {{"role":"assistant","content":[{{"type":"text","text":"c",{c}}},{{"type":"tool_use","id":"t",{c}}}]}},
            {{"role":"user","content":[{{"type":"tool_result","content":[{{"type":"text","text":"r",{c}}}],{c}}}]}}],
            "system":[{{"type":"text","text":"s",{c}}}]}}"#
        );
        let shown = |from, body: &str| {
            let points = points(from, RawValue::parse(body.as_bytes()).unwrap());
            points.into_iter().map(|(on, path)| format!("{on:?} {path}")).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(Format::Messages, &body),
            [
                "Input system.0.cache_control",
                "Tool tools.0.cache_control",
                "Input messages.0.content.1.cache_control",
                "Assistant messages.1.content.0.cache_control",
                "Call messages.1.content.1.cache_control",
                "Result messages.2.content.0.content.0.cache_control",
                "Result messages.2.content.0.cache_control",
            ]
        );
        let body = r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}]}]}"#;
        assert_eq!(shown(Format::Responses, body), ["Input input.0.content.0.prompt_cache_breakpoint"]);
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"a",{c}}}]}},
            {{"role":"system","content":[{{"type":"text","text":"s",{c}}}]}},
            {{"role":"tool","content":[{{"type":"text","text":"r",{c}}}]}}]}}"#
        );
        assert_eq!(
            shown(Format::Chat, &body),
            [
                "Input messages.1.content.0.cache_control",
                "Input messages.0.content.0.cache_control",
                "Result messages.2.content.0.cache_control",
            ]
        );
    }
}
