//! A file that is full is set aside; some are kept, compressed if so wished.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::*;

fn aside(gateway: &Gateway, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(gateway.data_dir().join("logs")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    found.sort();
    found
}

fn text(path: &PathBuf) -> String {
    let mut text = String::new();
    let mut file = File::open(path).unwrap();
    match path.extension().is_some_and(|end| end == "gz") {
        true => flate2::read::GzDecoder::new(file).read_to_string(&mut text),
        false => file.read_to_string(&mut text),
    }
    .unwrap();
    text
}

#[test]
fn file_rotated_by_size() {
    for gzip in [false, true] {
        let provider = speaker(&sample::CHAT);
        let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true").env("JSONL_LOG_GZIP", gzip);
        let gateway = setup.env("JSONL_LOG_MAX_BYTES", 8192).env("JSONL_LOG_KEEP", 2).start();
        let mut client = gateway.client();
        for n in 0..60 {
            client.ask(&post("/v1/chat/completions").header("x-request-id", &format!("r{n}")).body(sample::CHAT.ask));
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(kinds(&story(&log_of(&gateway), "r59")).len(), 4);
        let end = if gzip { "Z.gz" } else { "Z" };
        let mut kept = Vec::new();
        eventually("two files are kept", || {
            // One look, since files come and go meanwhile.
            let all = aside(&gateway, "");
            kept = all.iter().filter(|path| path.to_str().unwrap().ends_with(end)).cloned().collect();
            (kept.len(), all.len()) == (2, 3)
        });
        // In the order of their names they are what stood before the file, without a gap; no
        // request is in two files.
        let all = kept.iter().map(text).chain([text(&log_of(&gateway))]);
        let ids = all.flat_map(|text| {
            assert!((1..=8192).contains(&text.len()) && text.ends_with('\n'));
            let ids: Vec<Value> = text.lines().map(|line| Line::read(line).is["request_id"].clone()).collect();
            assert!(ids.chunks(4).all(|four| four.len() == 4 && four.iter().all(|id| *id == four[0])), "{ids:?}");
            ids
        });
        let ids: Vec<String> = ids.step_by(4).map(|id| id.as_str().unwrap().to_owned()).collect();
        let expected: Vec<String> = (60 - ids.len()..60).map(|n| format!("r{n}")).collect();
        assert_eq!(ids, expected);
        eventually("all are counted", || passed(&gateway, "jsonl") == 60.0);
    }
}

/// Somebody else moves the file: the next lines go to a new one.
#[test]
fn file_rotated_by_another_process() {
    let provider = speaker(&sample::CHAT);
    let gateway = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true").start();
    let ask = |id: &str| {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
        story(&log_of(&gateway), id);
    };
    ask("before");
    std::fs::rename(log_of(&gateway), gateway.data_dir().join("moved")).unwrap();
    ask("after");
    assert!(lines(&log_of(&gateway)).iter().all(|line| line.is["request_id"] == "after"));
}
