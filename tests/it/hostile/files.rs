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
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        assert!(ended.said.contains(path) && ended.said.contains("is a device"), "{}", ended.said);
    }
}
