//! JSON and headers for rows of a log: secrets masked, long texts cut.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::telemetry::capture::{Body, CappedBytes};

/// Headers whose values are keys.
const SECRET: &[&str] =
    &["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "set-cookie", "proxy-authorization"];
const MASK: &str = "***";

/// Bytes of a text that are kept.
const LONGEST: usize = 200;
/// How deeply JSON may be nested in texts of JSON.
const DEPTH: usize = 10;

/// Returns the fields of a request's head, by name in lower case. Values of one name are joined, as
/// HTTP allows.
pub(super) fn headers(head: &[u8]) -> Map<String, Value> {
    let mut all = Map::new();
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = String::from_utf8_lossy(&line[..colon]).trim().to_ascii_lowercase();
        let value = String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned();
        let value = if SECRET.contains(&name.as_str()) { MASK.to_owned() } else { value };
        match all.get_mut(&name) {
            Some(Value::String(before)) if before.as_str() != MASK => {
                before.push_str(", ");
                before.push_str(&value);
            }
            Some(_) => {}
            None => {
                all.insert(name, Value::String(value));
            }
        }
    }
    all.values_mut().for_each(|value| shorten(value, 0));
    all
}

/// Adds the names of complete header lines, with masked values.
pub(super) fn masked(lines: &[u8], into: &mut Map<String, Value>) {
    for line in lines.split(|byte| *byte == b'\n') {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            into.insert(String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), MASK.into());
        }
    }
}

/// Returns a request's body.
pub(super) fn body(cut: &CappedBytes) -> Value {
    let whole = cut.is_whole().then(|| document(&cut.bytes)).flatten();
    let mut value = whole.unwrap_or_else(|| text(&cut.bytes, cut.total));
    shorten(&mut value, DEPTH);
    value
}

/// Returns a response's body: for a stream, a list of its events' data.
pub(super) fn answer(answer: &Body) -> Value {
    if !answer.stream {
        return body(&answer.cut);
    }
    let mut events: Vec<Value> = answer.events().flat_map(data).collect();
    events.iter_mut().for_each(|event| shorten(event, DEPTH));
    if !answer.cut.is_whole() {
        events.push(format!("... [truncated, {} bytes total]", answer.cut.total).into());
    }
    Value::Array(events)
}

/// Returns the data of a piece, which may hold several events.
fn data(piece: &[u8]) -> Vec<Value> {
    let lines = piece.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
    let lines = lines.map(<[u8]>::trim_ascii);
    lines.map(|line| document(line).unwrap_or_else(|| text(line, line.len() as u64))).collect()
}

fn document(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// Returns a text that is no JSON, or incomplete.
fn text(bytes: &[u8], total: u64) -> Value {
    Value::String(match total as usize > bytes.len() {
        true => cut(&String::from_utf8_lossy(bytes), total),
        false => String::from_utf8_lossy(bytes).into_owned(),
    })
}

fn cut(text: &str, total: u64) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}... [truncated, {total} bytes total]", &text[..end])
}

/// Cuts every long text, also within texts that are JSON themselves, `depth` levels down. Removes
/// U+0000, which no column of PostgreSQL accepts.
fn shorten(value: &mut Value, depth: usize) {
    match value {
        Value::String(text) => {
            if text.contains('\0') {
                *text = plain(text).into_owned();
            }
            if text.len() <= LONGEST {
                return;
            }
            let within = text.starts_with(['{', '[']) && depth > 0;
            *text = match within.then(|| document(text.as_bytes())).flatten() {
                Some(mut inner) => {
                    shorten(&mut inner, depth - 1);
                    inner.to_string()
                }
                // A text that was cut before is not cut again.
                None if text.ends_with(" bytes total]") && text.len() <= LONGEST + 64 => return,
                None => cut(text, text.len() as u64),
            };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, depth)),
        Value::Object(members) => {
            if members.keys().any(|key| key.contains('\0')) {
                *members =
                    std::mem::take(members).into_iter().map(|(key, value)| (plain(&key).into_owned(), value)).collect();
            }
            members.values_mut().for_each(|member| shorten(member, depth));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the text without U+0000.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole(bytes: &[u8]) -> CappedBytes {
        CappedBytes { bytes: bytes.to_vec(), total: bytes.len() as u64 }
    }

    #[test]
    fn keys_are_masked() {
        let head = b"POST /v1 HTTP/1.1\r\nAuthorization: Bearer sk-secret\r\nX-Api-Key: sk-secret\r\napi-key:sk-secret\r\nCookie: a=secret\r\n\
                     Cookie: b=secret\r\nUser-Agent: curl/8\r\nAccept: a\r\naccept: b\r\n\r\n";
        let headers = Value::Object(headers(head));
        assert!(!headers.to_string().contains("secret"), "{headers}");
        assert_eq!((&headers["authorization"], &headers["cookie"]), (&json!("***"), &json!("***")));
        assert_eq!((&headers["user-agent"], &headers["accept"]), (&json!("curl/8"), &json!("a, b")));
        let mut named = Map::new();
        masked(b"x-key: sk-secret\r\nOther: 1\r\n", &mut named);
        assert_eq!(Value::Object(named), json!({ "x-key": "***", "other": "***" }));
    }

    #[test]
    fn long_texts_are_cut_at_any_depth() {
        let long = "é".repeat(150);
        let short = format!("{}... [truncated, 300 bytes total]", "é".repeat(100));
        let inner = json!({ "q": long }).to_string();
        let seen = body(&whole(json!({ "a": [long], "b": "x", "arguments": inner }).to_string().as_bytes()));
        assert_eq!(seen, json!({ "a": [short], "b": "x", "arguments": json!({ "q": short }).to_string() }));
        // An odd length: the cut falls into a character.
        let odd = body(&whole(json!(format!("x{long}")).to_string().as_bytes()));
        assert_eq!(odd, format!("x{}... [truncated, 301 bytes total]", "é".repeat(99)));
    }

    #[test]
    fn what_is_no_json_or_not_whole_is_text() {
        assert_eq!(body(&whole(b"<html>")), "<html>");
        assert_eq!(body(&whole(b"\xff")), "\u{fffd}");
        assert_eq!(
            body(&CappedBytes { bytes: b"{\"a\":".to_vec(), total: 5000 }),
            "{\"a\":... [truncated, 5000 bytes total]"
        );
        let long = CappedBytes { bytes: vec![b'x'; 1000], total: 5000 };
        assert_eq!(body(&long), format!("{}... [truncated, 5000 bytes total]", "x".repeat(200)));
        assert_eq!(body(&whole(br#"{"a\u0000":"b\u0000"}"#)), json!({ "a\u{fffd}": "b\u{fffd}" }));
        // Half of a pair is no text, and neither store would take it as one.
        assert_eq!(body(&whole(br#""\ud800""#)), r#""\ud800""#);
    }

    #[test]
    fn events_of_a_stream() {
        let bytes = b"event: a\ndata: {\"n\":1}\n\ndata: [DONE]\n\n".to_vec();
        let stream = Body { cut: CappedBytes { total: bytes.len() as u64, bytes }, ends: vec![24, 38], stream: true };
        assert_eq!(answer(&stream), json!([{ "n": 1 }, "[DONE]"]));
        let cut = Body { cut: CappedBytes { total: 99, ..stream.cut }, ..stream };
        assert_eq!(answer(&cut), json!([{ "n": 1 }, "[DONE]", "... [truncated, 99 bytes total]"]));
    }
}
