//! What commands say of a port that somebody has: a demo, a gateway, another program.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, Ran, ran};
use crate::support::cert::Cert;
use crate::support::{Fake, Setup, answer};

/// `llm-proxy demo` on a port of its own. It ends with the test, and so does what it has stored.
struct Demo {
    child: Child,
    port: u16,
}

impl Demo {
    fn start(place: &Place) -> Demo {
        let mut command = place.command(&["demo", "--port", "0"]);
        command.env("TMPDIR", place.0.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("listening: ").map(str::to_owned)).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Demo { child, port: url.rsplit_once(':').unwrap().1.parse().unwrap() }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

fn at_port(place: &Place, port: u16, args: &[&str]) -> Ran {
    ran(place.command(args).env("PORT", port.to_string()).output().unwrap())
}

fn listing() -> Fake {
    Fake::answering(|request| match request.target.as_str() {
        "/v1/models" => answer::json(200, r#"{"data":[{"id":"m-1"}]}"#),
        _ => answer::json(200, r#"{"id":"x"}"#),
    })
}

/// Word by word, since these are errors of the first minutes.
#[test]
fn a_demo_is_named() {
    let (demo, place, upstream) = (Demo::start(&Place::new()), Place::new(), listing());
    let port = demo.port;
    let serve = ran(place.command(&["serve", "--host", "127.0.0.1"]).env("PORT", port.to_string()).output().unwrap());
    let displayed = format!(
        "error: port {port} of 127.0.0.1 is in use by `llm-proxy demo`; stop the demo with Ctrl-C in its terminal, or \
         choose another port with --port or PORT\n"
    );
    assert!(serve.code == 1 && serve.stderr.ends_with(&displayed), "{}", serve.stderr);

    let place = Place::new();
    let add = at_port(&place, port, &["provider", "add", "p", "--base", "https://x/v1", "--api-key", "k"]);
    let displayed = format!(
        "error: `llm-proxy demo` runs at http://127.0.0.1:{port}, and keeps nothing that is written to it; stop it with \
         Ctrl-C in its terminal, or write into this store all the same (./data/llm-proxy.db) with --new-store and serve \
         it at another port\n"
    );
    assert_eq!((add.code, add.stderr.as_str()), (1, displayed.as_str()));

    let base = upstream.url("/v1");
    let init = at_port(&place, port, &["init", "--base", &base, "--api-key", "k", "--store", "embedded"]);
    assert_eq!(init.code, 0, "{}", init.stderr);
    let line = init.stderr.lines().find(|line| line.contains("is in use")).unwrap();
    let free: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let displayed = format!("note: port {port} is in use by `llm-proxy demo`; this gateway gets port {free}");
    assert!(free > port && line == displayed, "{line}");
    // It is in `.env` for the next shell, and before the command for this one, which has PORT.
    assert_eq!(std::fs::read_to_string(place.0.path().join(".env")).unwrap(), format!("PORT={free}\n"));
    assert!(
        init.stderr.contains("note: written to .env, which `llm-proxy serve` reads here: PORT\n"),
        "{}",
        init.stderr
    );
    assert!(init.stdout.contains(&format!("\nPORT={free} llm-proxy serve\n")), "{}", init.stdout);
    assert!(init.stdout.contains(&format!("\ncurl -s http://127.0.0.1:{free}/v1/")), "{}", init.stdout);
}

/// A variable that is empty is none, for the demo as for all other commands.
#[test]
fn the_port_of_a_demo_is_that_of_its_directory() {
    let place = Place::new();
    let invalid = ran(place.command(&["demo"]).env("PORT", "abc").output().unwrap());
    let displayed = "error: PORT in the environment: `abc` is invalid; it must be a port from 0 to 65535\n";
    assert_eq!((invalid.code, invalid.stderr.as_str()), (2, displayed));
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    std::fs::write(place.0.path().join(".env"), format!("PORT={port}\n")).unwrap();
    // The demo listens on loopback, whatever address a server would have.
    let taken = ran(place.command(&["demo"]).env("PORT", "").env("HOST", "no address").output().unwrap());
    let displayed = format!("error: port {port} of 127.0.0.1 is in use by another process; stop that one, or ");
    assert!(taken.code == 1 && taken.stderr.starts_with(&displayed), "{}", taken.stderr);
    let no_room = ran(place.command(&["demo", "--port", "0"]).env("TMPDIR", "/no/such").output().unwrap());
    let advice = "; let TMPDIR be a directory that this user may write to\n";
    assert!(no_room.code == 1 && no_room.stderr.ends_with(advice), "{}", no_room.stderr);
}

/// `init` beside the gateway that serves its store needs no other port, and no start.
#[test]
fn a_gateway_that_serves_the_store_is_known() {
    let (gateway, place, upstream) = (Setup::new().start(), Place::new(), listing());
    let port = gateway.addr.port();
    let base = upstream.url("/v1");
    let init = |dir: &std::path::Path, more: &[&str]| {
        let args = [&["init", "--base", &base, "--api-key", "k", "--store", "embedded"], more].concat();
        let mut command = place.command(&args);
        ran(command.env("PORT", port.to_string()).env("DATA_DIR", dir).output().unwrap())
    };
    let own = init(gateway.data_dir(), &[]);
    assert_eq!(own.code, 0, "{}", own.stderr);
    let displayed = format!("The gateway at http://127.0.0.1:{port} serves it from now on. Ask it something:\n");
    assert!(own.stdout.starts_with(&displayed), "{}", own.stdout);
    // The store has a key, and so this one makes none.
    assert!(own.stdout.contains("Bearer YOUR_KEY'"), "{}", own.stdout);
    let other = init(&place.0.path().join("mine"), &[]);
    let displayed = format!("note: port {port} is in use by another gateway; this gateway gets port ");
    assert!(other.code == 0 && other.stderr.contains(&displayed), "{}", other.stderr);
    let env = std::fs::read_to_string(place.0.path().join(".env")).unwrap();
    assert!(env.contains(&format!("DATA_DIR={}/mine\n", place.0.path().display())), "{env}");
}

/// One with a certificate, which need not name this machine, is known by TLS.
#[test]
fn a_gateway_with_a_certificate_is_known() {
    let (cert, place, upstream) = (Cert::new(), Place::new(), listing());
    let tls = [("TLS_CERT", cert.file()), ("TLS_KEY", cert.key_file())];
    let setup = tls.iter().fold(Setup::new(), |setup, (name, path)| setup.env(name, path.display()));
    let gateway = setup.start();
    let port = gateway.addr.port();
    let init = ["init", "--base", &upstream.url("/v1"), "--api-key", "k", "--store", "embedded"];
    let mut command = place.command(&init);
    command.env("PORT", port.to_string()).env("DATA_DIR", gateway.data_dir()).envs(tls);
    let init = ran(command.output().unwrap());
    let displayed = format!("The gateway at https://127.0.0.1:{port} serves it from now on. Ask it something:\n");
    assert!(init.code == 0 && init.stdout.starts_with(&displayed), "{} {}", init.stdout, init.stderr);
}

/// A gateway that serves a file is taken for the one of this file alone.
#[test]
fn a_gateway_that_serves_the_file_is_known() {
    let (theirs, mine, upstream) = (Place::new(), Place::new(), listing());
    let text = "providers:\n  - provider_key: a\n    api_base: https://a/v1\n";
    for place in [&theirs, &mine] {
        std::fs::write(place.0.path().join("gateway.yaml"), text).unwrap();
    }
    let path = theirs.0.path().join("gateway.yaml");
    let gateway = Setup::new().no_credentials().env("CONFIG_FILE", path.display()).start();
    let port = gateway.addr.port();
    let base = upstream.url("/v1");
    let init =
        ["init", "--base", &base, "--api-key", "env:B_KEY", "--name", "b", "--store", "gateway.yaml", "--no-check"];
    let own = at_port(&theirs, port, &init);
    let displayed = format!("The gateway at http://127.0.0.1:{port} serves it from now on, if B_KEY is set");
    assert!(own.code == 0 && own.stdout.contains(&displayed), "{} {}", own.stdout, own.stderr);
    let other = at_port(&mine, port, &init);
    let displayed = format!("note: port {port} is in use by another gateway; this gateway gets port ");
    assert!(other.code == 0 && other.stderr.contains(&displayed), "{} {}", other.stdout, other.stderr);
}

/// A gateway that listens at one address alone is found there, by `init` and by what it prints.
#[test]
fn a_gateway_on_one_address_is_known() {
    let (place, upstream) = (Place::new(), listing());
    let held = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let base = upstream.url("/v1");
    let at_host = |args: &[&str]| {
        ran(place.command(args).env("HOST", "127.0.0.2").env("PORT", port.to_string()).output().unwrap())
    };
    let init = at_host(&["init", "--base", &base, "--api-key", "k", "--store", "embedded"]);
    let displayed = format!("note: port {port} is in use by another process; this gateway gets port ");
    assert!(init.code == 0 && init.stderr.contains(&displayed), "{}", init.stderr);
    let env = std::fs::read_to_string(place.0.path().join(".env")).unwrap();
    let free = env.strip_prefix("HOST=127.0.0.2\nPORT=").unwrap().trim_end();
    assert!(init.stdout.contains(&format!("\ncurl -s http://127.0.0.2:{free}/v1/")), "{}", init.stdout);
    let connect = at_host(&["connect", "curl"]);
    assert!(connect.stdout.starts_with(&format!("curl -s http://127.0.0.2:{port}/v1/")), "{}", connect.stdout);
    // That of a configuration file counts where nothing goes before it.
    std::fs::write(place.0.path().join("g.yaml"), "settings: {host: '::1', port: 7}\n").unwrap();
    let mut command = place.command(&["connect", "curl"]);
    let connect =
        ran(command.env_remove("PORT").current_dir(place.0.path()).env("CONFIG_FILE", "g.yaml").output().unwrap());
    assert!(connect.stdout.starts_with(&format!("curl -s http://127.0.0.2:{free}/v1/")), "{}", connect.stdout);
    std::fs::remove_file(place.0.path().join(".env")).unwrap();
    let mut command = place.command(&["connect", "curl"]);
    let connect = ran(command.env_remove("PORT").env("CONFIG_FILE", "g.yaml").output().unwrap());
    assert!(connect.stdout.starts_with("curl -s http://[::1]:7/v1/"), "{} {}", connect.stdout, connect.stderr);
}

#[test]
fn another_program_is_not_taken_for_a_gateway() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let (place, upstream) = (Place::new(), listing());
    let init = ["init", "--base", &upstream.url("/v1"), "--api-key", "k", "--store", "g.yaml"];
    let ran = at_port(&place, port, &init);
    let displayed = format!("note: port {port} is in use by another process; this gateway gets port ");
    assert!(ran.code == 0 && ran.stderr.contains(&displayed), "{}", ran.stderr);
    let env = std::fs::read_to_string(place.0.path().join(".env")).unwrap();
    assert!(env.contains("CONFIG_FILE=g.yaml\n") && env.contains("\nPORT="), "{env}");
}

/// A shell starts what runs in its background with SIGINT ignored.
#[test]
fn a_mock_in_the_background_ends_at_sigint() {
    let line = format!("{} mock & echo $!; wait $!; echo ended with $?", env!("CARGO_BIN_EXE_llm-proxy"));
    let mut shell = Command::new("sh").args(["-c", &line]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut pid, mut is_listening) = (None, false);
    while pid.is_none() || !is_listening {
        let line = lines.next().unwrap();
        is_listening |= line.starts_with("listening: ");
        pid = pid.or(line.parse().ok());
    }
    kill_process(Pid::from_raw(pid.unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(lines.next().as_deref(), Some("ended with 0"));
    assert!(shell.wait().unwrap().success());
}
