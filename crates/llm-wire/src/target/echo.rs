//! The fields of a Responses request that its response repeats.

use std::borrow::Cow;

use crate::json::{RawKind, RawValue, write};

/// Raw values of a Responses request that its answer repeats, whatever was sent to the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echo {
    fields: Vec<(&'static str, Box<[u8]>)>,
}

/// `(field, the value in the response if the request has none)`, in the order in which the
/// SDK's type lists them. `store` and `previous_response_id` are not echoed: this gateway keeps
/// nothing, and reports that.
const ECHOED: &[(&str, &[u8])] = &[
    ("background", b"false"),
    ("frequency_penalty", b"0.0"),
    ("instructions", b"null"),
    ("max_output_tokens", b"null"),
    ("max_tool_calls", b"null"),
    ("metadata", b"{}"),
    ("parallel_tool_calls", b"true"),
    ("presence_penalty", b"0.0"),
    ("prompt_cache_key", b"null"),
    ("reasoning", br#"{"effort":null,"summary":null}"#),
    ("safety_identifier", b"null"),
    ("temperature", b"1.0"),
    ("text", br#"{"format":{"type":"text"}}"#),
    ("tool_choice", br#""auto""#),
    ("tools", b"[]"),
    ("top_logprobs", b"0"),
    ("top_p", b"1.0"),
    ("truncation", br#""disabled""#),
    ("user", b"null"),
];

impl Echo {
    /// Takes the values from the body of a request.
    pub(crate) fn of(body: RawValue<'_>) -> Echo {
        let mut fields = Vec::new();
        for (key, value, _) in body.members() {
            let name = ECHOED.iter().find(|(name, _)| key.eq_str(name)).map(|(name, _)| *name);
            if let Some(name) = name.filter(|_| !value.is_null()) {
                fields.retain(|(other, _)| *other != name);
                fields.push((name, one_line(&completed(name, value)).into()));
            }
        }
        Echo { fields }
    }

    /// Returns the client's value, or the default of the field. `null` for a name that is not in
    /// [`ECHOED`].
    pub fn get(&self, name: &str) -> RawValue<'_> {
        let own = self.fields.iter().find(|(key, _)| *key == name).map(|(_, raw)| raw.as_ref());
        let default = || ECHOED.iter().find(|(key, _)| *key == name).map(|(_, raw)| *raw);
        RawValue::new(own.or_else(default).unwrap_or(b"null"))
    }

    /// Writes every field of [`ECHOED`] as members of a `response` object.
    pub fn write(&self, o: &mut write::Object<'_>) {
        ECHOED.iter().for_each(|(name, _)| o.value(name, self.get(name)));
    }
}

/// A value with the members that a response must have of it, where the request may leave them out
/// (Open Responses, `ResponseResource`, 2026). The gateway sends functions without `strict` as not
/// strict.
fn completed<'a>(name: &str, value: RawValue<'a>) -> Cow<'a, [u8]> {
    const FUNCTION: &[(&str, &[u8])] = &[("description", b"null"), ("parameters", b"null"), ("strict", b"false")];
    const SCHEMA: &[(&str, &[u8])] = &[("description", b"null"), ("strict", b"false")];
    let is_type = |value: RawValue<'_>, word: &str| value.find("type").is_some_and(|kind| kind.eq_str(word));
    match name {
        "reasoning" => with_members(value, &[("effort", b"null"), ("summary", b"null")]),
        "tools" if value.kind() == RawKind::Array => {
            let mut out = Vec::with_capacity(value.bytes().len() + 64);
            write::array(&mut out, |list| {
                for (tool, _) in value.elements() {
                    let members = if is_type(tool, "function") { FUNCTION } else { &[] };
                    list.element().extend_from_slice(&with_members(tool, members));
                }
            });
            Cow::Owned(out)
        }
        "text" => match value.find("format").filter(|format| is_type(*format, "json_schema")) {
            Some(format) => {
                let mut out = Vec::with_capacity(value.bytes().len() + 64);
                write::object(&mut out, |o| {
                    for (key, value, _) in value.members().filter(|(key, ..)| !key.eq_str("format")) {
                        o.value(&key.unescape(), value);
                    }
                    o.value("format", RawValue::new(&with_members(format, SCHEMA)));
                });
                Cow::Owned(out)
            }
            None => with_members(value, &[("format", br#"{"type":"text"}"#)]),
        },
        _ => Cow::Borrowed(value.bytes()),
    }
}

/// Returns an object with those of `members` that it lacks, at its end. Other values stay.
fn with_members<'a>(value: RawValue<'a>, members: &[(&str, &[u8])]) -> Cow<'a, [u8]> {
    let missing = |(name, _): &&(&str, &[u8])| value.find(name).is_none();
    if !value.is_object() || !members.iter().any(|member| missing(&member)) {
        return Cow::Borrowed(value.bytes());
    }
    let mut out = Vec::with_capacity(value.bytes().len() + 64);
    write::object(&mut out, |o| {
        value.members().for_each(|(key, value, _)| o.value(&key.unescape(), value));
        members.iter().filter(missing).for_each(|(name, raw)| o.value(name, RawValue::new(raw)));
    });
    Cow::Owned(out)
}

/// JSON without line breaks, which would end an event in the midst of its data. They can stand
/// between values alone.
pub(crate) fn one_line(json: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr2(b'\n', b'\r', json) {
        None => Cow::Borrowed(json),
        Some(_) => Cow::Owned(json.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_echoes_the_clients_values() {
        let echo =
            Echo::of(RawValue::new(br#"{"tools":[{"type":"custom"}],"temperature":0.50,"top_p":null,"input":"x"}"#));
        assert_eq!(echo.get("tools").bytes(), br#"[{"type":"custom"}]"#);
        assert_eq!(echo.get("temperature").bytes(), b"0.50");
        assert_eq!(echo.get("top_p").bytes(), b"1.0");
        let spread = Echo::of(RawValue::new(b"{\"tools\":[\r\n{\"type\":\n\"custom\"}]}"));
        assert_eq!(spread.get("tools").bytes(), br#"[{"type": "custom"}]"#, "events are lines");
        let lines = Echo::of(RawValue::new(b"{\"metadata\":{\n\"a\":\"b\"}}"));
        assert_eq!(lines.get("metadata").bytes(), br#"{ "a":"b"}"#, "events are lines");
        let rows = [
            (
                "tools",
                r#"[{"type":"function","name":"f"}]"#,
                r#"[{"type":"function","name":"f","description":null,"parameters":null,"strict":false}]"#,
            ),
            ("reasoning", r#"{"effort":"low"}"#, r#"{"effort":"low","summary":null}"#),
            ("text", r#"{"verbosity":"low"}"#, r#"{"verbosity":"low","format":{"type":"text"}}"#),
            (
                "text",
                r#"{"format":{"type":"json_schema","name":"n","schema":{}}}"#,
                r#"{"format":{"type":"json_schema","name":"n","schema":{},"description":null,"strict":false}}"#,
            ),
        ];
        for (name, sent, shown) in rows {
            let body = format!("{{\"{name}\":{sent}}}");
            let echo = Echo::of(RawValue::new(body.as_bytes()));
            assert_eq!(std::str::from_utf8(echo.get(name).bytes()).unwrap(), shown);
        }
        let mut out = Vec::new();
        write::object(&mut out, |o| echo.write(o));
        assert_eq!(RawValue::parse(&out).unwrap().members().count(), ECHOED.len());
    }
}
