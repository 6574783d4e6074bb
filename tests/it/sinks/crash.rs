//! A process that is killed loses what it held back, which is a second's lines, and leaves no mess
//! to the next one.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn killed_process_leaves_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log/of requests.jsonl");
    let provider = speaker(&sample::CHAT);
    let start = || {
        let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true");
        setup.env("JSONL_LOG_PATH", path.display()).start()
    };
    let mut gateway = start();
    let ask = |gateway: &Gateway, id: &str| {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
    };
    // One request is far from a full batch: only the interval writes it.
    ask(&gateway, "alone");
    let received = Instant::now();
    story(&path, "alone");
    // An interval of a second, and the patience of a busy machine.
    assert!(received.elapsed() < Duration::from_secs(10), "{:?}", received.elapsed());
    (0..30).for_each(|n| ask(&gateway, &format!("r{n}")));
    gateway.signal("KILL");
    gateway.wait();
    let kept = lines(&path).len();
    drop(gateway);

    // As if it had been killed in the middle of a write.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"type\":\"request\",\"timest").unwrap();
    let gateway = start();
    ask(&gateway, "next");
    story(&path, "next");
    let text = std::fs::read_to_string(&path).unwrap();
    let all: Vec<Line> = text.lines().map(Line::read).collect();
    assert_eq!(all.len(), kept + 4);
    assert_eq!(kinds(&all[..4]), ["request", "provider_request", "provider_response", "response"]);
    assert_eq!(all[kept].is["request_id"], "next");
}

/// At a stop in good order nothing is lost.
#[test]
fn nothing_is_lost_at_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    let provider = speaker(&sample::CHAT);
    let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true");
    let mut gateway = setup.env("JSONL_LOG_PATH", path.display()).workers(2).start();
    for _ in 0..40 {
        let mut client = gateway.client();
        assert_eq!(client.call("/v1/chat/completions", sample::CHAT.ask).status, 200);
    }
    gateway.term();
    assert!(gateway.wait().success());
    assert_eq!(lines(&path).len(), 160);
}
