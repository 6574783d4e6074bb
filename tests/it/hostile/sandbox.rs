//! `SANDBOX`: what a gateway that restricts itself still does, and what it does not any more. Each
//! test knows what this kernel offers, and holds the gateway's log to it.

use std::path::Path;
use std::process::Command;

use llm_proxy::config::rows::ProviderRow;

use super::*;

const ADMIN: &str = "a-long-admin-key";

/// The version of this kernel's Landlock, 0 if it has none: landlock_create_ruleset(2), whose
/// number is the same on all architectures, says it.
fn landlock() -> i32 {
    let asked = Command::new("perl").args(["-e", "print syscall(444, 0, 0, 1)"]).output().unwrap();
    String::from_utf8(asked.stdout).unwrap().parse::<i32>().unwrap().max(0)
}

/// Starts the rest of its arguments on what looks like a kernel without Landlock: a seccomp filter
/// answers that system call with ENOSYS.
const WITHOUT_LANDLOCK: [&str; 3] = [
    "perl",
    "-e",
    r#"my $prctl = `uname -m` =~ /x86_64/ ? 157 : 167;
    my $filter = pack("SCCL" x 4, 0x20, 0, 0, 0, 0x15, 0, 1, 444, 0x06, 0, 0, 0x00050026, 0x06, 0, 0, 0x7fff0000);
    syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
    syscall($prctl, 22, 2, pack("Sx6P", 4, $filter)) == 0 or die "seccomp: $!";
    exec @ARGV or die "exec: $!""#,
];

fn logged(gateway: &Gateway, text: &str) -> bool {
    gateway.log().iter().any(|line| line.contains(text))
}

/// The gateway says what is in force.
fn is_honest(gateway: &Gateway) {
    let expected = match landlock() {
        0 => "SANDBOX is set, but this process is not restricted",
        1..6 => "is not restricted",
        _ => "no program is run; any port is listened on",
    };
    assert!(logged(gateway, expected), "no line with `{expected}`");
}

fn with_authority(provider: &Fake, file: &Path) -> ProviderRow {
    let params = serde_json::json!({"tls": {"ca_file": file}});
    ProviderRow { provider_params: params.to_string(), ..chat(provider) }
}

/// Requests, changes, logs, and files that are read again when they are replaced.
#[test]
fn a_gateway_in_the_sandbox_serves() {
    let secrets = tempfile::tempdir().unwrap();
    let key = secrets.path().join("key");
    std::fs::write(&key, "sk-first\n").unwrap();
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let row = ProviderRow { api_key: format!("file:{}", key.display()).as_str().into(), ..chat(&provider) };
    let setup = Setup::new().provider(row).env("SANDBOX", true).env("ADMIN_KEY", ADMIN);
    let setup = setup.env("JSONL_LOG_ENABLED", true).env("JSONL_LOG_MAX_BYTES", 8192).env("JSONL_LOG_GZIP", true);
    let gateway = setup.env("SECRET_FILE_DIRS", secrets.path().display()).start();
    is_honest(&gateway);
    let mut client = gateway.client();
    let mut sent = || {
        assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
        provider.requests().last().unwrap().header("authorization").unwrap().to_owned()
    };
    assert_eq!(sent(), "Bearer sk-first");
    std::fs::write(key.with_extension("new"), "sk-second\n").unwrap();
    std::fs::rename(key.with_extension("new"), &key).unwrap();
    eventually("the new key is sent", || sent() == "Bearer sk-second");
    let mut admin = gateway.client();
    admin.ask(&post("/admin/v1/credentials").key(ADMIN).body(r#"{"name":"n"}"#));
    assert_eq!(admin.response().status, 201);
    assert!(gateway.data_dir().join("audit.jsonl").exists());
    let logs = gateway.data_dir().join("logs");
    let is_compressed = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "gz");
    eventually("a log file was renamed and compressed", || {
        sent();
        std::fs::read_dir(&logs).unwrap().flatten().any(is_compressed)
    });
    // The other process that there is only starts successors, and holds as little.
    assert!(gateway.metric("llm_proxy_process_open_fds") > Some(3.0));
    assert!(!logged(&gateway, "ermission denied"), "{:?}", gateway.log());
}

/// A file elsewhere is read only where the operator names it.
#[test]
fn other_files_cannot_be_read() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("authority.pem");
    std::fs::copy(cert::Cert::new().file(), &file).unwrap();
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let status = |setup: Setup| {
        let gateway = setup.provider(with_authority(&provider, &file)).start();
        (gateway.client().call(CHAT.path, CHAT.ask).status, logged(&gateway, "Permission denied"))
    };
    assert_eq!(status(Setup::new()), (200, false));
    let paths = elsewhere.path().display();
    assert_eq!(status(Setup::new().env("SANDBOX", true).env("SANDBOX_READ_PATHS", &paths)), (200, false));
    let expected = if landlock() > 0 { (404, true) } else { (200, false) };
    assert_eq!(status(Setup::new().env("SANDBOX", true)), expected);
}

/// A kernel without it is served all the same, and the log says so.
#[test]
fn a_kernel_without_landlock() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).env("SANDBOX", true);
    let gateway = setup.through(&WITHOUT_LANDLOCK).start();
    assert!(logged(&gateway, "SANDBOX is set, but this process is not restricted: this kernel has no Landlock"));
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
}

/// The sandbox opens directories. That of a file in `/` would be everything.
#[test]
fn the_root_is_not_opened() {
    let ended = Setup::new().env("SANDBOX", true).env("MODELS_FILE", "/models.json").try_start().err().unwrap();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("MODELS_FILE is at the root of the file system"), "{}", ended.stderr);
}
