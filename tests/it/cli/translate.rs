//! `llm-proxy translate`: inputs, outputs, and the notes on stderr.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Place, Ran, ran};

const ASKED: &str =
    r#"{"model":"m","seed":7,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]}"#;
const SPREAD: &str = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\n\"type\":\"object\",\r\n\"properties\":{}}}}]}";
const SAID: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}"#;

fn translate(args: &[&str], stdin: &str) -> Ran {
    let place = Place::new();
    let mut command = place.command(&[&["translate"], args].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert!(std::fs::read_dir(place.0.path()).unwrap().next().is_none(), "no store is made");
    ran
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr))
}

#[test]
fn a_request_and_what_it_loses() {
    let args = ["request", "--from", "chat", "--to", "messages", "--model", "claude-opus-5"];
    let good = translate(&args, ASKED);
    let body = json_of(&good);
    assert_eq!((good.code, &body["model"]), (0, &json!("claude-opus-5")));
    assert_eq!(body["system"], json!([{"type": "text", "text": "Be brief."}]));
    assert_eq!(good.stderr, "dropped: seed (no equivalent in Messages and Responses)\n");

    let strict = translate(&[&args[..], &["--strict"]].concat(), ASKED);
    assert_eq!((strict.code, &json_of(&strict)["error"]["param"]), (1, &json!("seed")));
    assert!(strict.stderr.starts_with("error: 400 client: `seed` cannot be sent"), "{}", strict.stderr);

    // The host decides what it takes: this one knows no role `developer` and no `seed`.
    let unknown = translate(
        &["request", "--from", "responses", "--to", "chat", "--host", "unknown"],
        r#"{"model":"m","instructions":"Be brief.","input":"hi","text":{"verbosity":"low"}}"#,
    );
    assert_eq!(json_of(&unknown)["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert!(unknown.stderr.starts_with("dropped: verbosity"), "{}", unknown.stderr);

    let nonsense = translate(&args, "[]");
    assert_eq!((nonsense.code, &json_of(&nonsense)["error"]["code"]), (1, &json!("invalid_type")));
}

#[test]
fn a_whole_answer() {
    let good = translate(&["response", "--from", "messages", "--to", "chat"], SAID);
    let body = json_of(&good);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    assert_eq!(body["choices"][0]["message"]["content"], "Hello");
    assert_eq!(body["usage"]["total_tokens"], 5);

    let place = Place::new();
    let file = place.0.path().join("request.json");
    std::fs::write(&file, r#"{"model":"mine","input":"hi","temperature":0.25}"#).unwrap();
    let file = file.to_str().unwrap();
    let echoed = json_of(&translate(&["response", "--from", "messages", "--to", "responses", "--request", file], SAID));
    assert_eq!((&echoed["model"], &echoed["temperature"]), (&json!("mine"), &json!(0.25)));

    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let failed = translate(&["response", "--from", "messages", "--to", "chat", "--status", "529"], overloaded);
    assert_eq!((failed.code, &json_of(&failed)["error"]["code"]), (1, &json!("server_is_overloaded")));
    assert!(failed.stderr.starts_with("error: 503 upstream: busy"), "{}", failed.stderr);

    let missing = translate(&["response", "--from", "messages", "--to", "chat", "--request", "/nowhere"], SAID);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""));
    assert!(missing.stderr.starts_with("error: /nowhere cannot be read"), "{}", missing.stderr);
}

#[test]
fn a_stream() {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let begun = chunk(r#"{"role":"assistant","content":"Hel"}"#, "null") + &chunk(r#"{"content":"lo"}"#, "null");
    let whole = format!("{begun}{}data: [DONE]\n\n", chunk("{}", "\"stop\""));
    let args = ["stream", "--from", "chat", "--to", "messages"];
    let good = translate(&args, &whole);
    assert_eq!(good.code, 0);
    let names: Vec<_> = good.stdout.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let deltas = ["content_block_delta", "content_block_delta"];
    let (head, tail) =
        (["message_start", "content_block_start"], ["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(names, [&head[..], &deltas, &tail].concat());
    assert_eq!(good.stderr, "note: estimated_usage=1\n");

    let folded = translate(&[&args[..], &["--out", "whole"]].concat(), &whole);
    assert_eq!(json_of(&folded)["content"], json!([{"type": "text", "text": "Hello", "citations": null}]));

    let cut = translate(&args, &begun);
    assert_eq!(cut.code, 1);
    assert!(cut.stdout.contains("event: error\n") && !cut.stdout.contains("message_stop"), "{}", cut.stdout);
    assert!(cut.stderr.starts_with("error: 200 upstream: the upstream closed the stream"), "{}", cut.stderr);
    let empty = translate(&args, "");
    assert_eq!((empty.code, &json_of(&empty)["error"]["type"]), (1, &json!("api_error")));
}

#[test]
fn many_at_once() {
    let received: Value = serde_json::from_str(ASKED).unwrap();
    let lines = [
        json!({"id": "a", "kind": "request", "from": "chat", "to": "responses", "body": received}),
        json!({"id": 2, "kind": "request", "from": "chat", "to": "messages", "strict": true, "body": ASKED}),
        json!({"kind": "response", "from": "messages", "to": "chat", "out": "stream", "body": SAID}),
        json!({"kind": "response", "from": "messages", "to": "chat", "status": 500, "body": "<html>"}),
        json!({"kind": "stream", "from": "chat", "to": "messages", "host": "vllm", "body": "", "right": "an error"}),
        // Schemas go on as they are, but not over the end of a line.
        json!({"kind": "request", "from": "chat", "to": "messages", "body": SPREAD}),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let ran = translate(&["batch"], &input);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let got: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(got.len(), lines.len());
    assert_eq!(
        (&got[0]["id"], &got[0]["status"], &got[0]["losses"]),
        (&json!("a"), &json!(200), &json!(["seed;dropped"]))
    );
    assert_eq!(got[0]["body"]["instructions"], "Be brief.");
    assert_eq!(
        (&got[1]["id"], &got[1]["status"], &got[1]["body"]["error"]["param"]),
        (&json!(2), &json!(400), &json!("seed"))
    );
    assert!(got[2]["body"].as_str().unwrap().ends_with("data: [DONE]\n\n"));
    assert_eq!((&got[3]["status"], &got[3]["error"]), (&json!(502), &json!("upstream: upstream returned 500")));
    assert_eq!(got[5]["body"]["tools"][0]["input_schema"]["properties"], json!({}));
    assert_eq!((&got[4]["status"], &got[4]["body"]["type"]), (&json!(502), &json!("error")));

    for (line, message) in [
        ("{", "line 2: "),
        (r#"{"kind":"x","from":"chat","to":"chat","body":{}}"#, "line 2: kind `x` is none of"),
        (r#"{"kind":"request","from":"gemini","to":"chat","body":{}}"#, "line 2: `gemini` is not a format"),
        (r#"{"kind":"request","from":"chat","to":"chat","host":"h","body":{}}"#, "line 2: `h` is not a known host"),
    ] {
        let ran = translate(&["batch"], &format!("\n{line}\n{}\n", lines[0]));
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(message), "{}", ran.stderr);
        let got: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(got[0]["status"] == 400 && got[0]["error"].as_str().unwrap().contains(message), "{}", got[0]);
        assert_eq!((got.len(), &got[1]["status"]), (2, &json!(200)), "the next line is read");
    }
    Place::new().bad(&["translate", "request", "--from", "chat"], 2, "--to");
    Place::new().bad(&["translate", "stream", "--from", "gemini", "--to", "chat"], 2, "`gemini` is not a format");
}
