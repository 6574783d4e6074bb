//! Tools as they are described to OpenAI's models: types in the manner of TypeScript, as published
//! by those who counted them.
//!
//! ```text
//! namespace functions {
//!
//! // Weather of a city
//! type weather = (_: {
//! // Its name
//! city: string,
//! unit?: "c" | "f",
//! }) => any;
//!
//! } // namespace functions
//! ```

use llm_wire::json::RawValue;

/// Types within types that are written; deeper ones are `any`.
const DEEPEST: usize = 6;

/// A function that a request offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function<'a> {
    pub(super) name: RawValue<'a>,
    pub(super) description: Option<RawValue<'a>>,
    /// Its JSON schema.
    pub(super) parameters: Option<RawValue<'a>>,
}

/// Returns the text for all functions of a request.
pub(super) fn as_types(functions: &[Function<'_>]) -> String {
    let mut out = String::from("namespace functions {\n\n");
    for function in functions {
        comment(function.description, &mut out);
        out.push_str("type ");
        push(Some(function.name), &mut out);
        let properties = function
            .parameters
            .filter(|schema| schema.find("properties").is_some_and(|found| found.members().next().is_some()));
        match properties {
            Some(schema) => {
                out.push_str(" = (_: {\n");
                members(schema, 0, &mut out);
                out.push_str("}) => any;\n\n");
            }
            None => out.push_str(" = () => any;\n\n"),
        }
    }
    out.push_str("} // namespace functions");
    out
}

/// Returns the text for the tools of a vendor that describes them in JSON, about.
pub(super) fn as_json(functions: &[Function<'_>]) -> String {
    let mut out = String::new();
    for function in functions {
        out.push_str("{\"name\":\"");
        push(Some(function.name), &mut out);
        out.push_str("\",\"description\":\"");
        push(function.description, &mut out);
        out.push_str("\",\"parameters\":");
        out.push_str(&function.parameters.map(|schema| String::from_utf8_lossy(schema.bytes())).unwrap_or_default());
        out.push_str("}\n");
    }
    out
}

/// Writes the properties of an object, one a line.
fn members(schema: RawValue<'_>, depth: usize, out: &mut String) {
    let required = schema.find("required");
    let is_required =
        |name: &str| required.is_some_and(|list| list.elements().take(64).any(|(item, _)| item.eq_str(name)));
    let Some(properties) = schema.find("properties") else { return };
    for (name, property, _) in properties.members() {
        let name = name.unescape();
        comment(property.find("description"), out);
        out.push_str(&name);
        out.push_str(if is_required(&name) { ": " } else { "?: " });
        kind(property, depth, out);
        out.push_str(",\n");
    }
}

/// Writes the type of one property.
fn kind(schema: RawValue<'_>, depth: usize, out: &mut String) {
    if depth == DEEPEST {
        return out.push_str("any");
    }
    if let Some(words) = schema.find("enum") {
        let quoted = |word: RawValue<'_>, out: &mut String| match word.as_str() {
            Some(text) => {
                out.push('"');
                out.push_str(&text.unescape());
                out.push('"');
            }
            None => out.push_str(&String::from_utf8_lossy(word.bytes())),
        };
        return among(words.elements().map(|(word, _)| word), out, quoted);
    }
    if let Some(options) = schema.find("anyOf") {
        return among(options.elements().map(|(option, _)| option), out, |option, out| kind(option, depth + 1, out));
    }
    let Some(named) = schema.find("type") else { return out.push_str("any") };
    match named.as_str() {
        Some(name) if name.eq_str("object") => {
            out.push_str("{\n");
            members(schema, depth + 1, out);
            out.push('}');
        }
        Some(name) if name.eq_str("array") => {
            match schema.find("items") {
                Some(items) => kind(items, depth + 1, out),
                None => out.push_str("any"),
            }
            out.push_str("[]");
        }
        Some(name) if name.eq_str("integer") => out.push_str("number"),
        Some(name) => out.push_str(&name.unescape()),
        None => among(named.elements().map(|(name, _)| name), out, |name, out| push(Some(name), out)),
    }
}

fn among<'a>(
    options: impl Iterator<Item = RawValue<'a>>,
    out: &mut String,
    mut write: impl FnMut(RawValue<'a>, &mut String),
) {
    for (at, option) in options.enumerate() {
        out.push_str(if at > 0 { " | " } else { "" });
        write(option, out);
    }
}

fn comment(text: Option<RawValue<'_>>, out: &mut String) {
    if let Some(text) = text.and_then(RawValue::as_str).filter(|text| !text.is_empty()) {
        out.push_str("// ");
        out.push_str(&text.unescape());
        out.push('\n');
    }
}

fn push(text: Option<RawValue<'_>>, out: &mut String) {
    out.push_str(&text.and_then(RawValue::as_str).map(|text| text.unescape()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(name: &str, description: Option<&str>, schema: &str) -> String {
        let name = format!("\"{name}\"");
        let description = description.map(|text| serde_json::to_string(text).unwrap());
        let function = Function {
            name: RawValue::new(name.as_bytes()),
            description: description.as_ref().map(|text| RawValue::new(text.as_bytes())),
            parameters: Some(RawValue::new(schema.as_bytes())),
        };
        as_types(&[function])
    }

    #[test]
    fn as_typescript() {
        let schema = r#"{"type":"object","required":["city","a"],"properties":{
            "city":{"type":"string","description":"Its \"name\""},
            "unit":{"type":"string","enum":["c","f",1]},
            "a":{"type":"array","items":{"type":"integer"}},
            "o":{"type":"object","properties":{"x":{"type":["string","null"]}}},
            "n":{"anyOf":[{"type":"number"},{"type":"null"}]},
            "any":{}}}"#;
        let expected = "namespace functions {\n\n// Weather\ntype weather = (_: {\n// Its \"name\"\ncity: string,\n\
            unit?: \"c\" | \"f\" | 1,\na: number[],\no?: {\nx?: string | null,\n},\nn?: number | null,\nany?: any,\n\
            }) => any;\n\n} // namespace functions";
        assert_eq!(types("weather", Some("Weather"), schema), expected);
        let bare = "namespace functions {\n\ntype now = () => any;\n\n} // namespace functions";
        assert_eq!(types("now", None, r#"{"type":"object","properties":{}}"#), bare);
        assert_eq!(types("now", Some(""), "null"), bare);
    }

    #[test]
    fn schemas_without_end() {
        let deep = r#"{"type":"object","properties":{"a":"#.repeat(30) + "1" + &"}}".repeat(30);
        assert!(types("f", None, &deep).contains("a?: any"));
    }
}
