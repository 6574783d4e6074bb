//! The first five minutes: `llm-proxy` without arguments, `init`, and what goes wrong then.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, Ran, ran};
use crate::support::{Fake, Setup, answer, get, post, socks::Socks};

const WELCOME: &str = "\
llm-proxy is a gateway between applications and LLM providers: clients speak
OpenAI Chat, Anthropic Messages or OpenAI Responses to it, whoever answers.
Nothing is configured here yet, so there is nothing to serve. To begin:
  llm-proxy demo      try it now: a mock provider, a key, and commands to copy
  llm-proxy init      set it up: asks for vendor, key and store, and checks them
  llm-proxy serve     serve all the same; providers may be added while it runs
  llm-proxy --help    all commands; `llm-proxy serve --help` lists all settings
A configuration is found by DATA_DIR, DB_URL or CONFIG_FILE, or in ./data.
";

/// Runs the binary on a terminal of this many columns, which util-linux's `script` makes; gives
/// what was shown.
fn on_a_terminal(place: &Place, columns: usize, args: &str, env: &[(&str, &str)]) -> Ran {
    let line = format!("stty cols {columns}; exec {} {args}", env!("CARGO_BIN_EXE_llm-proxy"));
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(place.0.path()).stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").envs(env.iter().copied());
    let seen = ran(command.output().unwrap());
    Ran { stdout: seen.stdout.replace('\r', ""), ..seen }
}

#[test]
fn a_terminal_without_a_configuration_shows_first_steps() {
    let place = Place::new();
    let ran = on_a_terminal(&place, 80, "", &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, WELCOME));
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0, "nothing is made");
    for columns in [30, 50] {
        let narrow = on_a_terminal(&place, columns, "", &[]);
        assert_eq!(narrow.code, 0);
        assert!(narrow.stdout.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{}", narrow.stdout);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&narrow.stdout), words(WELCOME));
    }
}

/// Each of these is a configuration, so that it serves; with a port that cannot be had, to see that
/// it tries.
#[test]
fn whatever_is_configured_is_served() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    let in_use = format!(
        "error: port {port} of 127.0.0.1 is in use by another process; stop that one, or choose another port with \
         --port or PORT\n"
    );
    let place = Place::new();
    let host = ("HOST", "127.0.0.1");
    let serves = |args: &str, env: &[(&str, &str)]| {
        let env = [env, &[host, ("PORT", &port)]].concat();
        let ran = on_a_terminal(&place, 200, args, &env);
        assert!(ran.code == 1 && ran.stdout.ends_with(&in_use), "{args} {env:?}: {}", ran.stdout);
        ran.stdout
    };
    serves("serve", &[]);
    serves("--workers 1", &[]);
    serves("", &[("OPENAI_API_KEY", "k"), ("DATA_DIR", "with-vendor")]);
    let ran = on_a_terminal(&place, 80, "", &[("DATA_DIR", "empty")]);
    assert_eq!(ran.stdout, WELCOME);
    place.good(&["provider", "add", "--key", "p", "--base", "https://x/v1", "--api-key", "k"]);
    let colours = serves("", &[]);
    assert!(colours.contains('\u{1b}'), "a log on a terminal has colours: {colours:?}");
    let plain = serves("", &[("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    // Into a pipe it serves as ever, and a configuration or none is no matter.
    let empty = Place::new();
    let mut command = empty.command(&[]);
    let ran = super::ran(command.env("HOST", "127.0.0.1").env("PORT", &port).output().unwrap());
    assert!(ran.code == 1 && ran.stderr.ends_with(&in_use) && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

/// A table that does not fit is written as blocks.
#[test]
fn tables_fit_a_narrow_terminal() {
    let place = Place::new();
    place.good(&["key", "create", "--name", "team-a", "--rate-limit", "5"]);
    let wide = place.good(&["key", "list"]);
    assert_eq!(wide.lines().count(), 2);
    let narrow = on_a_terminal(&place, 40, "key list", &[]).stdout;
    assert!(narrow.contains("NAME        team-a\n") && narrow.contains("RATE/S      5\n"), "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
}

fn listing() -> Fake {
    Fake::answering(|request| match request.target.as_str() {
        "/v1/models" => answer::json(200, r#"{"data":[{"id":"m-1"}]}"#),
        _ => answer::json(200, r#"{"id":"x"}"#),
    })
}

fn mode(place: &Place, file: &str) -> u32 {
    std::fs::metadata(place.0.path().join(file)).unwrap().permissions().mode() & 0o777
}

fn key_in(stdout: &str) -> &str {
    stdout.lines().find_map(|line| line.strip_prefix("key: ")).unwrap()
}

#[test]
fn init_makes_a_store_that_serves() {
    let (place, upstream) = (Place::new(), listing());
    let base = upstream.url("/v1");
    let init = ["init", "--vendor", "other", "--base", &base, "--api-key", "sk-vendor", "--store", "embedded"];
    let ran = place.run(&init);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("note: the provider lists 1 model, which would be served: m-1\n"));
    assert!(ran.stdout.contains("\"model\":\"m-1\"") && ran.stdout.contains("\nllm-proxy serve\n"), "{}", ran.stdout);
    assert_eq!(mode(&place, "data/llm-proxy.db"), 0o600);
    let data = place.0.path().join("data");
    let gateway = Setup::new().env("DATA_DIR", data.display()).start();
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").key(key_in(&ran.stdout)).body(r#"{"model":"m-1","messages":[]}"#));
    assert_eq!(client.response().status, 200);
}

#[test]
fn init_makes_a_file_that_serves() {
    let (place, upstream) = (Place::new(), listing());
    std::fs::write(place.0.path().join(".env"), "OTHER=1").unwrap();
    let init = ["init", "--base", &upstream.url("/v1"), "--api-key", "sk-$x\"y", "--store", "gateway.yaml"];
    let ran = place.run(&[&init[..], &["--name", "my vendor"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!((mode(&place, "gateway.yaml"), mode(&place, ".env")), (0o600, 0o600));
    let (file, env) = (read(&place, "gateway.yaml"), read(&place, ".env"));
    assert!(file.contains("api_key: ${MY_VENDOR_API_KEY}\n") && !file.contains("sk-"), "{file}");
    assert_eq!(env, "OTHER=1\nCONFIG_FILE=gateway.yaml\nMY_VENDOR_API_KEY=\"sk-\\$x\\\"y\"\nPORT=1\n");
    let checked = place.good(&["check-config", "gateway.yaml"]);
    assert!(checked.contains("1 of 1 providers and 1 of 1 credentials would be served"), "{checked}");
    place.good(&["provider", "test", "my vendor"]);
    assert_eq!(upstream.requests().last().unwrap().header("authorization"), Some("Bearer sk-$x\"y"));
}

fn read(place: &Place, file: &str) -> String {
    std::fs::read_to_string(place.0.path().join(file)).unwrap()
}

/// What is not given is asked for, on stderr; an empty line takes what stands in brackets.
#[test]
fn init_prompts_for_what_is_missing() {
    let (place, upstream) = (Place::new(), listing());
    let mut child =
        place.command(&["init"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let answers = format!("other\n{}\nsk-vendor\n\n", upstream.url("/v1"));
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("Vendor (openai, anthropic, "), "{}", ran.stderr);
    assert!(ran.stderr.contains("Store: embedded, a .yaml file or a postgresql:// address [embedded]: "));
    assert!(key_in(&ran.stdout).starts_with("sk-"));
    let unanswered = place.run(&["init"]);
    assert!(unanswered.code == 1 && unanswered.stderr.contains("there is no answer on stdin; give --vendor"));
}

/// The commonest ways for a start to fail, word by word.
#[test]
fn errors_of_the_first_five_minutes() {
    let place = Place::new();
    let exactly = |args: &[&str], displayed: &str| {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, displayed), "{args:?}");
        assert!(!place.0.path().join("data").exists(), "{args:?} wrote");
    };
    // No key of the vendor.
    exactly(
        &["init", "--vendor", "openai", "--api-key", "env:", "--store", "embedded"],
        "error: provider openai is not set up, for it would have a problem: api_key is `env:` without the name of a \
         variable; write it as env:NAME; the provider is not served\n",
    );
    exactly(
        &["init", "--vendor", "groq", "--api-key", "env:NOT_SET", "--store", "embedded"],
        "warning: the environment variable NOT_SET is not set here; the server needs it\n\
         error: nothing was written: api_key takes its value from the environment variable `NOT_SET`, which is not \
         set; the provider is not served; --no-check writes it without asking the provider\n",
    );
    exactly(
        &["init", "--vendor", "openai", "--api-key", "", "--store", "embedded"],
        "error: --api-key is empty, and openai needs a key; if a variable was meant, it is not set in this shell\n",
    );
    // A base that is not one.
    let missing = Fake::answering(|_| answer::json(404, "{}"));
    let base = missing.url("/api");
    exactly(
        &["init", "--base", &base, "--api-key", "k", "--store", "embedded"],
        &format!(
            "error: nothing was written: {base}/models answered with status 404; is the base right? Those of OpenAI's \
             kind mostly end with /v1; --no-check writes it without asking the provider\n"
        ),
    );
    exactly(
        &["init", "--vendor", "anthropic", "--base", &base, "--api-key", "k", "--store", "embedded"],
        &format!(
            "error: nothing was written: {base}/v1/models answered with status 404; is the base right? Anthropic's has no \
             /v1 at its end; --no-check writes it without asking the provider\n"
        ),
    );
    let refused = place.run(&["init", "--base", "http://127.0.0.1:1/v1", "--api-key", "k", "--store", "embedded"]);
    let displayed = "error: nothing was written: http://127.0.0.1:1 cannot be reached: connection refused; nothing \
                     listens there: start the provider, or correct the base's port; --no-check writes it without \
                     asking the provider\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (1, displayed));
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}/v1", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let no_tls = place.run(&["init", "--base", &base, "--api-key", "k", "--store", "embedded"]);
    let advice = "; no TLS is spoken there: write http:// if that is meant; --no-check";
    assert!(no_tls.code == 1 && no_tls.stderr.contains(advice), "{}", no_tls.stderr);
    let closed = Fake::answering(|_| answer::json(401, "{}"));
    let base = closed.url("/v1");
    exactly(
        &["init", "--base", &base, "--api-key", "k", "--store", "embedded"],
        &format!(
            "error: nothing was written: {base}/models answered with status 401; check the key; \
             --no-check writes it without asking the provider\n"
        ),
    );
    exactly(
        &["init", "--base", "http://::1:9/v1", "--api-key", "k", "--store", "embedded"],
        "error: provider other is not set up, for it would have a problem: api_base has `::1:9`; an IPv6 address is \
         written in brackets, such as [::1]; the provider is not served\n",
    );
    exactly(
        &["init", "--base", "api.openai.com", "--api-key", "k", "--store", "embedded"],
        "error: provider other is not set up, for it would have a problem: api_base `api.openai.com` has no scheme; \
         write it with https:// or http:// in front; the provider is not served\n",
    );
    let vendor = place.run(&["init", "--vendor", "opnai"]);
    assert!(vendor.code == 2 && vendor.stderr.contains("`opnai` is not a vendor that is known here; known are openai"));
    let store = place.run(&["init", "--vendor", "ollama", "--store", "mysql://x"]);
    let displayed = "error: `mysql://x` is no store; give embedded, a file that ends in .yaml, or \
                postgresql://USER@HOST/DATABASE\n";
    assert_eq!((store.code, store.stderr.as_str()), (2, displayed));

    // Places that cannot be written.
    let listed = listing();
    let init = ["init", "--base", &listed.url("/v1"), "--api-key", "k", "--store"];
    let missing = place.run(&[&init[..], &["no/gateway.yaml"]].concat());
    let displayed = "error: no/gateway.yaml can't be written: No such file or directory (os error 2); make its \
                     directory first\n";
    assert!(missing.code == 1 && missing.stderr.ends_with(displayed), "{}", missing.stderr);
    let mut command = place.command(&[&init[..], &["embedded"]].concat());
    let no_directory = ran(command.env("DATA_DIR", "/dev/null").output().unwrap());
    let displayed = "error: the data directory /dev/null cannot be made: File exists (os error 17); let DATA_DIR be a \
                     directory\n";
    assert!(no_directory.code == 1 && no_directory.stderr.ends_with(displayed), "{}", no_directory.stderr);
    let nowhere = place.run(&["serve", "--host", "192.0.2.1"]);
    let displayed = "error: this machine has no address 192.0.2.1, and so nothing can listen at 192.0.2.1:1; choose \
                     one of its own, or 0.0.0.0 or :: for all of them\n";
    assert!(nowhere.code == 1 && nowhere.stderr.ends_with(displayed), "{}", nowhere.stderr);

    // A gateway without keys or without providers.
    let gateway = Setup::new().no_credentials().start();
    let mut client = gateway.client();
    client.ask(&get("/v1/models").key("sk-any"));
    let response = client.response();
    assert_eq!(response.status, 401);
    let displayed = "this gateway has no credential yet, so nobody may use it; create one with `llm-proxy key create \
                --name NAME`, or set ALLOW_ANONYMOUS=true";
    assert!(response.text().contains(displayed), "{}", response.text());
    let gateway = Setup::new().start();
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").body(r#"{"model":"m","messages":[]}"#));
    let response = client.response();
    assert_eq!(response.status, 404);
    let displayed = "this gateway has no provider yet; add one with `llm-proxy init`, or with `llm-proxy provider add \
                --name NAME --type openai --base URL --api-key KEY`";
    assert!(response.text().contains(displayed), "{}", response.text());
}

/// Where providers are behind a proxy, `init` reaches them as the gateway will.
#[test]
fn init_reaches_a_provider_through_a_proxy() {
    let (place, upstream) = (Place::new(), listing());
    let base = format!("http://provider.invalid:{}/v1", upstream.addr.port());
    let init = |proxy: &str| {
        let args = ["init", "--base", &base, "--api-key", "k", "--store", "embedded"];
        ran(place.command(&args).env("ALL_PROXY", proxy).output().unwrap())
    };
    let refused = init("http://127.0.0.1:1");
    let displayed = format!(
        "error: nothing was written: http://provider.invalid:{} cannot be reached through the proxy 127.0.0.1:1: \
         connection refused; --no-check writes it without asking the provider\n",
        upstream.addr.port()
    );
    assert_eq!((refused.code, refused.stderr.as_str()), (1, displayed.as_str()));
    let no_url = init("ftp://proxy");
    let displayed = "error: provider other is not set up, for it would have a problem: ALL_PROXY has the scheme \
                     `ftp`; proxies are reached by http, socks5 or socks5h";
    assert!(no_url.code == 1 && no_url.stderr.starts_with(displayed), "{}", no_url.stderr);
    let proxy = Socks::start(upstream.addr, None, &[]);
    let reached = init(&format!("socks5h://{}", proxy.addr));
    assert_eq!(reached.code, 0, "{}", reached.stderr);
    assert_eq!(proxy.asked(), [format!("provider.invalid:{}", upstream.addr.port())]);
}

/// What fails leaves nothing that the next command would take for a configuration.
#[test]
fn init_without_its_database_writes_nothing() {
    let (place, upstream) = (Place::new(), listing());
    let base = upstream.url("/v1");
    let init = ["init", "--base", &base, "--api-key", "k", "--store", "postgresql://u:secret@127.0.0.1:1/d"];
    let ran = place.run(&init);
    let displayed = "error: the store PostgreSQL 127.0.0.1:1/d can't be reached: Connection refused (os error 111); is \
                     it running, and does DB_URL name its host and port?\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, displayed));
    assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 0);
}

/// Files and variables that are not what they should be, word by word.
#[test]
fn configurations_that_cannot_be_read() {
    let place = Place::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.0.path().join(name), bytes).unwrap();
    let refused = |args: &[&str], env: &[(&str, &str)], displayed: &str| {
        let ran = ran(place.command(args).env("HOST", "127.0.0.1").envs(env.iter().copied()).output().unwrap());
        let code = if displayed.contains("store") { 1 } else { 2 };
        assert_eq!((ran.code, ran.stderr.as_str()), (code, displayed), "{args:?} {env:?}");
    };
    let serve = ["serve", "--config", "gateway.yaml"];
    refused(
        &serve,
        &[],
        "error: the configuration file gateway.yaml can't be read: No such file or directory (os error 2); --config \
         or CONFIG_FILE must name another\n",
    );
    write("gateway.yaml", b"providers:\n  - provider_key: a\n   api_base: x\n");
    refused(
        &serve,
        &[],
        "error: gateway.yaml: line 3: this is no YAML: while parsing a block collection, did not find expected '-' \
         indicator\n",
    );
    write("gateway.yaml", b"\xff\xfe");
    let displayed = "error: the configuration file gateway.yaml is no text in UTF-8; --config or CONFIG_FILE must name \
                     another\n";
    refused(&serve, &[], displayed);
    write(
        "gateway.yaml",
        b"providerz: []\nproviders:\n  - {provider_key: a, api_base: 'https://x', api_key: '${OPENAI_KY}'}\n",
    );
    refused(
        &serve,
        &[],
        "error: gateway.yaml: line 1: `providerz` is not known here; known are providers, credentials, groups, models, \
         budgets, settings\n\
         error: gateway.yaml: line 3: the variable OPENAI_KY is not set or empty; set it, or write ${OPENAI_KY:-VALUE}\n",
    );
    refused(
        &["serve"],
        &[("PORT", "abc"), ("LOG_LEVEL", "loud")],
        "error: PORT in the environment: `abc` is invalid; it must be a port from 0 to 65535\n\
         error: LOG_LEVEL in the environment: `loud` is invalid; it must be off, error, warn, info, debug or trace\n",
    );
    std::fs::create_dir(place.0.path().join("data")).unwrap();
    write("data/llm-proxy.db", &b"no database, but long enough to be looked at".repeat(40));
    let store = place.0.path().join("data/llm-proxy.db").display().to_string();
    refused(
        &["serve"],
        &[],
        &format!("error: the store {store} is no SQLite file; move it away, or let DATA_DIR be another directory\n"),
    );
}

/// A person who mistypes is asked again, and need not type all the rest once more.
#[test]
fn init_on_a_terminal_asks_again() {
    let (place, upstream) = (Place::new(), listing());
    let init = format!("exec {} init", env!("CARGO_BIN_EXE_llm-proxy"));
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &init, "/dev/null"]).current_dir(place.0.path());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh").env("PORT", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let answers = format!("opnai\nother\nhost/v1\n{}\nk\nmysql://x\ngateway.yaml\n", upstream.url("/v1"));
    stdin.write_all(answers.as_bytes()).unwrap();
    let mut seen = String::new();
    child.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    assert!(child.wait().unwrap().success(), "{seen}");
    for error in [
        "error: `opnai` is not a vendor that is known here; known are openai",
        "error: the address `host/v1` has no scheme; write it with https:// or http:// in front",
        "error: `mysql://x` is no store; give embedded",
    ] {
        assert!(seen.contains(error), "{error}\n{seen}");
    }
    assert!(read(&place, "gateway.yaml").contains("provider_key: other"), "{seen}");
}

/// What ends a command while a key is typed, which does not appear, leaves a terminal that shows
/// what is typed, and the status that the signal has everywhere.
#[test]
fn a_hidden_question_that_is_interrupted_leaves_the_terminal_as_it_was() {
    interrupted("", 130, |stdin, _| stdin.write_all(b"\x03").unwrap());
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        interrupted("echo $$ > pid; exec ", code, |_, place| {
            let pid: i32 = std::fs::read_to_string(place.0.path().join("pid")).unwrap().trim().parse().unwrap();
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        });
    }
}

/// Runs `init` on a terminal, in a shell of its own behind `begin`, and ends it at the hidden
/// question.
fn interrupted(begin: &str, code: i32, end: impl Fn(&mut ChildStdin, &Place)) {
    let place = Place::new();
    let init = format!("sh -c '{begin}{} init --vendor openai'", env!("CARGO_BIN_EXE_llm-proxy"));
    // The shell in between gets Ctrl-C too, and goes on.
    let line =
        format!("trap : INT; stty -a | grep -o -e '-*echo '; {init}; echo code $?; stty -a | grep -o -e '-*echo '");
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(place.0.path());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut is_interrupted) = (String::new(), false);
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 {
        seen.push(char::from(byte[0]));
        if !is_interrupted && seen.ends_with("input is hidden): ") {
            is_interrupted = true;
            end(&mut stdin, &place);
        }
    }
    child.wait().unwrap();
    let lines: Vec<&str> = seen.lines().map(str::trim).collect();
    assert!(lines.first() == Some(&"echo") && lines.last() == Some(&"echo"), "{seen:?}");
    assert!(lines.contains(&format!("code {code}").as_str()), "{seen:?}");
}

/// Keys of which a shell has made nothing, or something else than was meant.
#[test]
fn keys_that_a_shell_did_not_fill_in() {
    let place = Place::new();
    for (key, displayed) in [
        (
            "",
            "warning: the API key is empty, and so none is sent; if a variable was meant, it is not set in this shell\n",
        ),
        (
            "$OPENAI_API_KEY",
            "warning: api_key `$OPENAI_API_KEY` looks like a variable that no shell has filled in, and is taken as it \
             stands; write env:NAME to have it read from the server's environment\n",
        ),
        (
            "OPENAI_API_KEY",
            "warning: api_key `OPENAI_API_KEY` looks like the name of a variable; write env:OPENAI_API_KEY to have it \
             read\n",
        ),
        ("env:EMPTY_API_KEY", "warning: the environment variable EMPTY_API_KEY is empty here; the server needs it\n"),
        ("env:OPENAI_API_KY", "warning: the environment variable OPENAI_API_KY is not set here; the server needs it\n"),
    ] {
        let name = format!("p-{}", key.replace(['$', ':'], "-"));
        let add = ["provider", "add", "--name", &name, "--base", "https://x/v1", "--api-key", key];
        let ran = ran(place.command(&add).env("EMPTY_API_KEY", "").output().unwrap());
        assert!(ran.code == 0 && ran.stderr.starts_with(displayed), "{key}: {}", ran.stderr);
    }
}
