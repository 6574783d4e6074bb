//! A disk that is full, and a path that leads nowhere: lines are lost and counted, requests are
//! not.

use std::cell::Cell;

use super::*;

/// A file system of 128 KiB in which `filler` takes 64, seen by the gateway alone: a namespace of
/// its own needs no privilege.
const SMALL: &str = r#"mount -t tmpfs -o size=128k none "$0" && head -c 65536 /dev/zero > "$0/filler" && exec "$@""#;

#[test]
fn full_disk_loses_records_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let provider = speaker(&sample::CHAT);
    let setup = Setup::new().provider(chat(&provider)).through(&["unshare", "-rm", "sh", "-c", SMALL, at]);
    let setup = setup.env("JSONL_LOG_ENABLED", "true").env("JSONL_LOG_PATH", format!("{at}/requests.jsonl"));
    let gateway = setup.start();
    // As the gateway sees it.
    let inside = PathBuf::from(format!("/proc/{}/root{at}", gateway.pid()));
    let path = inside.join("requests.jsonl");
    let mut client = gateway.client();
    let received = Cell::new(0);
    let ask = |client: &mut Client, id: &str| {
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
        received.set(received.get() + 1);
    };
    eventually("records are lost", || {
        (0..50).for_each(|_| ask(&mut client, "many"));
        lost(&gateway, "jsonl", "disk") > 0.0
    });
    // What still waits would fill the room that is made below.
    let displayed = || {
        let losses = lost(&gateway, "jsonl", "disk") + lost(&gateway, "jsonl", "full");
        passed(&gateway, "jsonl") + losses
    };
    eventually("nothing waits any more", || displayed() == f64::from(received.get()));
    // The file ends with a whole line, and is shorter than the disk.
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.is_empty() && text.ends_with('\n') && text.len() <= 65536, "{} bytes", text.len());
    text.lines().map(Line::read).for_each(drop);
    gateway.expect_log(&["JSONL_LOG_PATH", "lost"]);

    std::fs::remove_file(inside.join("filler")).unwrap();
    let mut n = 0;
    eventually("it is written again", || {
        n += 1;
        ask(&mut client, &format!("again{n}"));
        lines(&path).iter().any(|line| line.is["request_id"].as_str().unwrap().starts_with("again"))
    });
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(Line::read).for_each(drop);
    eventually("each record is counted once", || displayed() == f64::from(received.get()));
}

/// A directory stands where the file should be. When it is gone, what waited is written.
#[test]
fn not_to_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    std::fs::create_dir(&path).unwrap();
    let provider = speaker(&sample::CHAT);
    let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true");
    let gateway = setup.env("JSONL_LOG_PATH", path.display()).env("JSONL_LOG_BUFFER_SIZE", 10).start();
    let mut client = gateway.client();
    for n in 0..30 {
        client.ask(&post("/v1/chat/completions").header("x-request-id", &format!("r{n}")).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
    }
    eventually("a full queue loses", || lost(&gateway, "jsonl", "full") == 20.0);
    std::fs::remove_dir(&path).unwrap();
    story(&path, "r9");
    assert_eq!(lines(&path).len(), 40);
}

/// Two gateways with one file: the second waits until the first is gone.
#[test]
fn second_gateway_waits_for_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    let provider = speaker(&sample::CHAT);
    let start = || {
        let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true");
        setup.env("JSONL_LOG_PATH", path.display()).start()
    };
    let ask = |gateway: &Gateway, id: &str| {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
    };
    let mut old = start();
    ask(&old, "old");
    story(&path, "old");
    let new = start();
    ask(&new, "new");
    eventually("the second says why it waits", || {
        new.log().iter().any(|line| line.contains("another process writes to it"))
    });
    ask(&old, "last");
    old.term();
    assert!(old.wait().success());
    story(&path, "new");
    story(&path, "last");
}
