//! Files that the gateway reads and writes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Conversations are for their owner's eyes, also once they are compressed.
#[test]
fn log_files_are_private() {
    for (setting, expected) in [(None, 0o600), (Some("0640"), 0o640)] {
        let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
        let setup =
            Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true").env("JSONL_LOG_GZIP", "true");
        let setup =
            setup.env("JSONL_LOG_MAX_BYTES", 8192).env("JSONL_LOG_KEEP", 100).env("ADMIN_KEY", "a-long-admin-key");
        let setup = setting.into_iter().fold(setup, |setup, mode| setup.env("LOG_FILE_MODE", mode));
        let gateway = setup.start();
        let mut client = gateway.client();
        for _ in 0..20 {
            assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
        }
        client.ask(&post("/admin/v1/credentials").key("a-long-admin-key").body(r#"{"name":"n"}"#));
        assert_eq!(client.response().status, 201);
        let logs = gateway.data_dir().join("logs");
        let files = || -> Vec<_> {
            let entries = std::fs::read_dir(&logs).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| !path.to_str().unwrap().ends_with(".part")).collect()
        };
        eventually("one is compressed", || files().iter().any(|path| path.extension().is_some_and(|end| end == "gz")));
        for path in files().into_iter().chain([gateway.data_dir().join("audit.jsonl")]) {
            // It may be gone by now, replaced by its compressed form.
            if path.exists() {
                assert_eq!(mode(&path), expected, "{}", path.display());
            }
        }
    }
}

#[test]
fn an_existing_log_file_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).env("JSONL_LOG_ENABLED", "true");
    let gateway = setup.env("JSONL_LOG_PATH", path.display()).start();
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    eventually("it is written", || std::fs::metadata(&path).unwrap().len() > 0);
    assert_eq!(mode(&path), 0o644);
}

/// A device never ends.
#[test]
fn a_configuration_file_without_an_end_is_refused() {
    for path in ["/dev/zero", "/dev/urandom"] {
        let ended = Setup::new().env("CONFIG_FILE", path).try_start().err().unwrap();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(path) && ended.stderr.contains("is a device"), "{}", ended.stderr);
    }
}

/// A store that can be read is served, on a disk that is full or read-only.
#[test]
fn reads_need_no_room_on_the_disk() {
    // No file may grow: the shell's children inherit that the signal for it is ignored.
    let full = format!("{CLOSED}; trap '' XFSZ; ulimit -f 0; exec \"$@\"");
    let full = ["/bin/sh", "-c", &full, "sh"];
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(chat(&provider)).env("ADMIN_KEY", ADMIN).through(&full).start();
    serves_reads_alone(&gateway);
}

/// The same with a directory and a file that nobody may write to.
#[test]
fn a_read_only_directory_is_served() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).env("ADMIN_KEY", ADMIN);
    let read_only = format!("{CLOSED}; {READ_ONLY}");
    let gateway = setup.through(&["/bin/sh", "-c", &read_only, "sh"]).start();
    serves_reads_alone(&gateway);
    // Once it can be written, it is, without a restart.
    for (path, mode) in [(gateway.data_dir().join("llm-proxy.db"), 0o666), (gateway.data_dir().to_owned(), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(make_credential(&gateway).status, 201);
}

const ADMIN: &str = "a-long-admin-key";

/// Waits until the test has closed the store.
const CLOSED: &str = "while [ -e \"$DATA_DIR\"/llm-proxy.db-wal ]; do sleep 0.01; done";

/// Takes the right to write away, and the privileges of root with it.
const READ_ONLY: &str = "chmod a+rX,a-w \"$DATA_DIR\" \"$DATA_DIR\"/*; \
    if [ \"$(id -u)\" = 0 ]; then exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; fi; exec \"$@\"";

fn make_credential(gateway: &Gateway) -> Response {
    let mut client = gateway.client();
    client.ask(&post("/admin/v1/credentials").key(ADMIN).body(r#"{"name":"n"}"#));
    client.response()
}

fn serves_reads_alone(gateway: &Gateway) {
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    let mut client = gateway.client();
    client.ask(&get("/admin/v1/config/problems").key(ADMIN));
    let problems = client.response();
    assert!(problems.text().contains("can only be read"), "{}", problems.text());
    let refused = make_credential(gateway);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
}

/// A key that may be guessed is served, and warned of.
#[test]
fn weak_keys_in_files_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.yaml");
    std::fs::write(&path, "credentials:\n- {name: short, key: abc}\n- {name: long, key: sk-0123456789abcdef}\n")
        .unwrap();
    let gateway = Setup::new().env("CONFIG_FILE", path.display()).start();
    let warned = |name: &str| {
        let sentence = format!("credential {name}: key has fewer than 16 characters");
        gateway.log().iter().any(|line| line.contains(&sentence))
    };
    eventually("the short one is warned of", || warned("short"));
    assert!(!warned("long"));
    let checked = gateway.cli(&["check-config", path.to_str().unwrap()]);
    assert!(checked.status.success());
    let reported_text = String::from_utf8(checked.stderr).unwrap();
    assert!(reported_text.contains("line 2: credential short: key has fewer than 16 characters"), "{reported_text}");
}

/// No other process of the same user can read its memory, with keys and conversations in it.
#[test]
fn the_process_cannot_be_dumped() {
    let user = "if [ \"$(id -u)\" = 0 ]; then chown -R 65534 \"$DATA_DIR\"; \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; fi; exec \"$@\"";
    let owner_of_memory = |setup: Setup| {
        let gateway = setup.through(&["/bin/sh", "-c", user, "sh"]).start();
        assert!(gateway.metric("llm_proxy_process_open_fds") > Some(3.0));
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/mem", gateway.pid())).unwrap())
    };
    assert_eq!(owner_of_memory(Setup::new()), 0);
    assert_ne!(owner_of_memory(Setup::new().env("CORE_DUMPS", true)), 0);
}
