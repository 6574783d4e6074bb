//! Bodies: what is no JSON, and JSON that is no request.

use super::codings::gzip;
use super::*;

/// For every format the same, since no format is looked at before the model is known.
#[test]
fn malformed_bodies_are_refused_in_each_format() {
    let not = |fault: &str| bad_json(&format!("the request body is not valid JSON: {fault}"));
    let is = |what: &str| bad_json(&format!("the request body is {what}"));
    let empty = bad_json("the request body is empty; send a JSON object");
    let other = |what: &str| bad_type(&format!("the request body must be a JSON object, but it is {what}"));
    let two_models = || {
        expected_error("the request names `model` more than once; name one model, in one field `model`").param("model")
    };
    let model = |what: &str| bad_type(&format!("`model` must be a string, but it is {what}")).param("model");
    let stream = |what: &str| bad_type(&format!("`stream` must be a boolean, but it is {what}")).param("stream");
    let deep = |open: &str, close: &str, levels: usize| {
        format!(r#"{{"model":"m-asked","x":{}1{}}}"#, open.repeat(levels), close.repeat(levels)).into_bytes()
    };
    let rows: Vec<(&str, Vec<u8>, ExpectedError)> = vec![
        ("empty", b"".into(), empty.clone()),
        ("blank", b" \t\r\n".into(), empty),
        ("a form", b"model=m-asked&stream=1".into(), is("a form; send a JSON object")),
        ("a form with nested names", b"messages[0][role]=user".into(), is("a form; send a JSON object")),
        (
            "a form of several parts",
            b"--x\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--x--\r\n".into(),
            is("a form of several parts; send a JSON object"),
        ),
        (
            "the name of a file",
            b"@body.json".into(),
            bad_json(
                "the request body begins with `@`; send a JSON object (curl reads a file with `--data-binary @FILE`)",
            ),
        ),
        ("a page", b"<html>".into(), not("a value was expected at byte 0")),
        ("UTF-16", b"\xff\xfe{\0}\0".into(), is("UTF-16; send a JSON object in UTF-8")),
        ("UTF-16 without a mark", b"{\0\"\0".into(), is("UTF-16; send a JSON object in UTF-8")),
        ("Latin-1", b"{\"model\":\"m\xe9\"}".into(), not("invalid UTF-8 at byte 11")),
        ("overlong", b"{\"model\":\"\xc0\xae\"}".into(), not("invalid UTF-8 at byte 10")),
        ("a surrogate in UTF-8", b"{\"model\":\"\xed\xa0\x80\"}".into(), not("invalid UTF-8 at byte 10")),
        ("cut in a value", b"{\"model\":".into(), not("the document ends inside a value at byte 9")),
        ("cut in a string", b"{\"model\":\"m-as".into(), not("the document ends inside a value at byte 14")),
        ("cut before the end", b"{\"model\":\"m-asked\"".into(), not("the document ends inside a value at byte 18")),
        ("followed", b"{\"model\":\"m-asked\"} x".into(), not("something follows the end of the document at byte 20")),
        ("two", b"{\"model\":\"m-asked\"}{}".into(), not("something follows the end of the document at byte 19")),
        (
            "NUL behind",
            b"{\"model\":\"m-asked\"}\0".into(),
            not("something follows the end of the document at byte 19"),
        ),
        ("single quotes", b"{'model':'m-asked'}".into(), not("a key in double quotes was expected at byte 1")),
        ("a bare key", b"{model:\"m-asked\"}".into(), not("a key in double quotes was expected at byte 1")),
        ("a comma at the end", b"{\"model\":\"m\",}".into(), not("a key in double quotes was expected at byte 13")),
        ("a comment", b"{\"model\":\"m\"/**/}".into(), not("a comma or a closing bracket was expected at byte 12")),
        ("no colon", b"{\"model\" \"m\"}".into(), not("a colon was expected at byte 9")),
        ("a control character", b"{\"model\":\"m\nm\"}".into(), not("control character in a string at byte 11")),
        ("NUL in a string", b"{\"model\":\"m\0\"}".into(), not("control character in a string at byte 11")),
        ("an escape", b"{\"model\":\"\\x41\"}".into(), not("malformed escape in a string at byte 10")),
        ("a short escape", b"{\"model\":\"\\u12\"}".into(), not("malformed escape in a string at byte 10")),
        ("not a number", b"{\"x\":NaN,\"model\":\"m\"}".into(), not("a value was expected at byte 5")),
        ("a number", b"{\"x\":1.,\"model\":\"m\"}".into(), not("malformed number at byte 5")),
        ("arrays in arrays", deep("[", "]", 128), not("nested deeper than 128 levels at byte 150")),
        ("objects in objects", deep(r#"{"a":"#, "}", 128), not("nested deeper than 128 levels at byte 658")),
        ("arrays without end", "[".repeat(60_000).into(), not("nested deeper than 128 levels at byte 128")),
        ("an array", b"[{\"model\":\"m-asked\"}]".into(), other("an array")),
        ("a string", b"\"m-asked\"".into(), other("a string")),
        ("a number alone", b"1".into(), other("a number")),
        ("null", b"null".into(), other("null")),
        ("a boolean", b"true".into(), other("a boolean")),
        ("no model", b"{}".into(), expected_error("the request has no `model`; name the model to use").param("model")),
        (
            "a model elsewhere",
            br#"{"Model":"m-asked","x":{"model":"m-asked"}}"#.into(),
            expected_error("the request has no `model`; name the model to use").param("model"),
        ),
        (
            "an empty model",
            br#"{"model":""}"#.into(),
            expected_error("`model` is empty; name the model to use").param("model"),
        ),
        ("model null", br#"{"model":null}"#.into(), model("null")),
        ("model a number", br#"{"model":4}"#.into(), model("a number")),
        ("model a list", br#"{"model":["m-asked"]}"#.into(), model("an array")),
        ("model an object", br#"{"model":{"id":"m-asked"}}"#.into(), model("an object")),
        ("two models", br#"{"model":"m-asked","model":"m-asked"}"#.into(), two_models()),
        ("two models, one of no type", br#"{"model":"m-asked","model":7}"#.into(), two_models()),
        ("the same key escaped", br#"{"model":"m-asked","mod\u0065l":"other"}"#.into(), two_models()),
        ("the same key in another case", br#"{"model":"m-asked","Model":"other"}"#.into(), two_models()),
        ("stream a string", br#"{"model":"m-asked","stream":"yes"}"#.into(), stream("a string")),
        ("stream a number", br#"{"model":"m-asked","stream":1}"#.into(), stream("a number")),
        ("stream a list", br#"{"model":"m-asked","stream":[]}"#.into(), stream("an array")),
    ];
    let mut bench = Bench::new();
    for (name, body, expected_error) in &rows {
        for sample in FORMATS {
            bench.refused(name, &asking(sample, body), sample.shape(), expected_error, Then::Kept);
        }
    }
    // Without a length there is no body at all.
    let none = bad_json("the request body is empty; send a JSON object");
    bench.refused("no body", &post(CHAT.path).bytes(), Shape::OpenAi, &none, Then::Kept);
    bench.refused("no body", &post(MESSAGES.path).bytes(), Shape::Messages, &none, Then::Kept);
    bench.finish();
}

#[test]
fn bodies_of_other_media_types_are_refused() {
    let multipart = unsupported_encoding("multipart bodies are not relayed by this version; send JSON");
    let mut bench = Bench::new();
    for (path, shape) in [
        ("/v1/audio/transcriptions", Shape::OpenAi),
        ("/v1/images/edits", Shape::OpenAi),
        (CHAT.path, Shape::OpenAi),
        (MESSAGES.path, Shape::Messages),
    ] {
        let request = post(path).header("content-type", "multipart/form-data; boundary=x").body("--x--\r\n").bytes();
        bench.refused(path, &request, shape, &multipart, Then::Kept);
    }
    bench.finish();
}

/// What looks odd and is right: it passes as it is.
#[test]
fn valid_bodies_are_accepted() {
    let bench = Bench::new();
    let deep = format!(r#"{{"model":"m-asked","x":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    let rows = [
        r#"{"model":"m-asked","x":"\ud83d"}"#,
        r#"{"model":"m-asked","x":1e400,"x":-0,"y":0.1e-7}"#,
        r#"{"\u006dodel":"m\u002dasked","stream":null}"#,
        " \r\n{\t\"model\" : \"m-asked\" }\n",
        &deep,
    ];
    for body in rows {
        let mut client = bench.gateway.client();
        assert_eq!(client.call(CHAT.path, body).status, 200, "{body}");
        assert_eq!(bench.provider.requests().pop().unwrap().text(), body);
    }
}

/// What editors and shells of Windows write before a file's first byte, in a body that came with
/// its head and in one that was decoded.
#[test]
fn a_byte_order_mark_is_left_out() {
    let bench = Bench::new();
    let body = r#"{"model":"m-asked"}"#;
    let marked = format!("\u{feff}{body}");
    for sample in FORMATS {
        let plain = asking(sample, marked.as_bytes());
        let coded = post(sample.path).header("content-encoding", "gzip").body(gzip(marked.as_bytes())).bytes();
        for request in [plain, coded] {
            let mut client = bench.gateway.client();
            client.send(&request);
            assert_eq!(client.response().status, 200, "{}", sample.path);
            assert_eq!(bench.provider.requests().pop().unwrap().text(), body, "{}", sample.path);
        }
    }
}
