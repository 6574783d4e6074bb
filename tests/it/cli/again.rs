//! Commands that are given twice, or for several objects, and where what they change is a file.

use super::{ADD, Place, holds};
use crate::support::{Fake, Setup, answer, post};

fn vendor(models: &'static str) -> Fake {
    Fake::answering(move |request| match request.target.as_str() {
        "/v1/models" => answer::json(200, models),
        _ => answer::json(200, r#"{"id":"x"}"#),
    })
}

/// A second vendor joins what the first run has written, and the key stays.
#[test]
fn init_adds_a_second_vendor() {
    let (one, two) = (vendor(r#"{"data":[{"id":"m-1"}]}"#), vendor(r#"{"data":[{"id":"m-2"}]}"#));
    for store in ["embedded", "gateway.yaml"] {
        let place = Place::new();
        let init = |upstream: &Fake, name: &str, key: &str| {
            let ran = place.run(&[
                "init",
                "--base",
                &upstream.url("/v1"),
                "--api-key",
                key,
                "--name",
                name,
                "--store",
                store,
            ]);
            assert_eq!(ran.code, 0, "{store}: {}", ran.stderr);
            ran.stdout
        };
        let first = init(&one, "first", "sk-1");
        let key = first.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
        let second = init(&two, "second", "sk-2");
        assert!(!second.contains("key: ") && second.contains("Bearer YOUR_KEY'"), "{second}");
        let named = ["init", "--base", &one.url("/v1"), "--api-key", "k", "--name", "third", "--store", store];
        place.bad(&[&named[..], &["--key-name", "me"]].concat(), 1, "a key named `me` exists (id 1); give this one");
        let again = ["init", "--base", &one.url("/v1"), "--api-key", "k", "--name", "first", "--store", store];
        let displayed = match store {
            "embedded" => {
                "a provider named `first` exists in ./data/llm-proxy.db; choose another --name, or change it with \
                 `llm-proxy provider set first`"
            }
            _ => "a provider named `first` exists in gateway.yaml; choose another --name, or change it there",
        };
        place.bad(&again, 1, displayed);
        // Without a name another address is another provider, and the same one is the same.
        if store == "embedded" {
            let nameless = |upstream: &Fake| {
                place.run(&["init", "--base", &upstream.url("/v1"), "--api-key", "sk-3", "--store", store])
            };
            let (other, more) = (vendor(r#"{"data":[]}"#), vendor(r#"{"data":[]}"#));
            assert_eq!(nameless(&other).code, 0);
            let ran = nameless(&more);
            let displayed = "note: another provider is named `other`; this one is `other-2`\n";
            assert!(ran.code == 0 && ran.stderr.starts_with(displayed), "{}", ran.stderr);
            let ran = nameless(&other);
            assert!(ran.code == 1 && ran.stderr.contains("a provider named `other` exists"), "{}", ran.stderr);
            place.good(&["provider", "remove", "other", "other-2"]);
        }

        let mut setup = Setup::new().no_credentials();
        let path = |name: &str| place.0.path().join(name).display().to_string();
        setup = match store {
            "embedded" => setup.env("DATA_DIR", path("data")),
            _ => setup
                .env("CONFIG_FILE", path("gateway.yaml"))
                .env("FIRST_API_KEY", "sk-1")
                .env("SECOND_API_KEY", "sk-2"),
        };
        let gateway = setup.start();
        for (upstream, model, sent) in [(&one, "m-1", "Bearer sk-1"), (&two, "m-2", "Bearer sk-2")] {
            crate::support::eventually("its models are listed", || {
                let mut client = gateway.client();
                let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
                client.ask(&post("/v1/chat/completions").key(key).body(&body));
                let is_answered = client.response().status == 200;
                let last = upstream.requests().into_iter().rfind(|request| request.method == "POST");
                is_answered && last.is_some_and(|request| request.header("authorization") == Some(sent))
            });
        }
    }
}

/// What was written by hand stays, and what can't be added to is shown.
#[test]
fn init_keeps_the_text_of_a_file() {
    let (place, upstream) = (Place::new(), vendor(r#"{"data":[]}"#));
    let path = place.0.path().join("mine.yaml");
    let written = "# all of it\nproviders:\n- provider_key: a # the first\n  api_base: https://a/v1\n\n# nobody yet\ncredentials: []\n";
    std::fs::write(&path, written).unwrap();
    let base = upstream.url("/v1");
    let init = ["init", "--base", &base, "--api-key", "env:B_KEY", "--name", "b", "--store", "mine.yaml", "--no-check"];
    let ran = place.run(&init);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!(
        "# all of it\nproviders:\n- provider_key: a # the first\n  api_base: https://a/v1\n- provider_key: b\n  \
         provider_type: openai\n  api_base: \"{base}\"\n  api_key: \"env:B_KEY\"\n"
    );
    assert!(text.starts_with(&begin) && text.contains("\n\n# nobody yet\ncredentials:\n  - name: me\n"), "{text}");
    assert_eq!(std::fs::read_to_string(place.0.path().join(".env")).unwrap(), "CONFIG_FILE=mine.yaml\nPORT=1\n");

    let flow = "providers: [{provider_key: a, api_base: 'https://a/v1'}]\n";
    std::fs::write(&path, flow).unwrap();
    let ran = place.run(&init);
    let displayed = "error: nothing was written: mine.yaml is not written line by line as `llm-proxy export` does, and \
                     so nothing can be added to it here; add this yourself:\nproviders:\n  - provider_key: b\n";
    assert!(ran.code == 1 && ran.stderr.contains(displayed), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), flow);
}

/// The file that is named is the one that was given, and not the one that takes its place.
#[test]
fn a_file_that_cannot_be_replaced_is_named() {
    let place = Place::new();
    let path = place.0.path().join("mine.yaml");
    std::fs::write(&path, "providers: []\n").unwrap();
    std::fs::create_dir(place.0.path().join("mine.yaml.new")).unwrap();
    let init = ["init", "--base", "http://127.0.0.1:9/v1", "--api-key", "env:K", "--store", "mine.yaml", "--no-check"];
    let ran = place.run(&init);
    let displayed = "error: mine.yaml can't be replaced: its new text, which is first written beside it, can't be \
                     kept: File exists (os error 17)\n";
    assert!(ran.code == 1 && ran.stderr.ends_with(displayed), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "providers: []\n");
}

/// A command that fails makes no store where there was none.
#[test]
fn what_fails_leaves_no_store() {
    let (place, closed) = (Place::new(), Fake::answering(|_| answer::json(401, "{}")));
    let write = |name: &str, text: &str| std::fs::write(place.0.path().join(name), text).unwrap();
    write("bad.yaml", "providers: [{provider_key: a}]\n");
    write("litellm.yaml", "general_settings: {master_key: os.environ/NOT_SET}\n");
    let base = closed.url("/v1");
    let rows: &[&[&str]] = &[
        &["provider", "add", "a", "--base", "x"],
        &["provider", "add", "a", "--base", &base, "--api-key", "k", "--check"],
        &["provider", "set", "a", "--weight", "1"],
        &["provider", "disable", "a"],
        &["provider", "remove", "a"],
        &["provider", "reencrypt"],
        &["key", "create", "a", "--group", "none"],
        &["key", "set", "a", "--rate-limit", "1"],
        &["key", "revoke", "a"],
        &["key", "rotate", "a"],
        &["group", "remove", "a"],
        &["model", "remove", "a"],
        &["budget", "reset", "a"],
        &["budget", "remove", "a"],
        &["import", "none.yaml"],
        &["import", "bad.yaml"],
        &["import-litellm", "none.yaml", "--write"],
        &["import-litellm", "litellm.yaml", "--write"],
        &["import-bifrost", "none.json", "--write"],
    ];
    for args in rows {
        let ran = place.run(args);
        assert!(ran.code != 0 && ran.stderr.contains("error: "), "{args:?}: {} {}", ran.code, ran.stderr);
        assert!(!place.0.path().join("data").exists(), "{args:?} made a store: {}", ran.stderr);
    }
    // What succeeds makes it, and reads the same there.
    place.good(&["key", "create", "a"]);
    place.bad(&["key", "create", "a"], 1, "a key named `a` exists");
}

/// The store that `serve` would take is the one that is written.
#[test]
fn init_does_not_write_beside_the_store_that_is_set() {
    let place = Place::new();
    let init =
        |store: &'static str| ["init", "--base", "https://x/v1", "--api-key", "k", "--store", store, "--no-check"];
    std::fs::write(place.0.path().join(".env"), "CONFIG_FILE=gateway.yaml\n").unwrap();
    let displayed = "CONFIG_FILE is set (perhaps in .env), and so `llm-proxy serve` would take gateway.yaml; unset it, or \
                     add the provider there with --store gateway.yaml";
    place.bad(&init("embedded"), 1, displayed);
    place.bad(&init("other.yaml"), 1, displayed);
    let asked = place.run(&["init", "--base", "https://x/v1", "--api-key", "k", "--no-check"]);
    assert!(asked.stderr.contains("or a postgresql:// address [gateway.yaml]: "), "{}", asked.stderr);
    place.good(&init("./gateway.yaml"));
    std::fs::write(place.0.path().join(".env"), "DB_URL=postgresql://u:secret@h/d\n").unwrap();
    let displayed = "DB_URL is set (perhaps in .env), and so `llm-proxy serve` would take that database; unset it, or add \
                     the provider there with --store and the database's address";
    place.bad(&init("embedded"), 1, displayed);
}

#[test]
fn several_objects_are_removed_or_none() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.good(&["provider", "add", name, "--base", "https://x/v1", "--api-key", "k"]);
        place.good(&["key", "create", name]);
        place.good(&["group", "create", name]);
        place.good(&["budget", "create", name, "--tag", name, "--amount", "1"]);
        place.good(&["model", "add", name, "--member", "m"]);
    }
    for (what, remove, done) in [
        ("provider", "remove", "removed provider"),
        ("key", "revoke", "revoked key"),
        ("group", "remove", "removed group"),
        ("budget", "remove", "removed budget"),
        ("model", "remove", "removed virtual model"),
    ] {
        let shown = if what == "model" { "virtual model" } else { what };
        place.bad(&[what, remove, "a", "x"], 1, &format!("there is no {shown} with the name or id `x`"));
        let text = place.good(&[what, remove, "a", "c", "1"]);
        assert_eq!(text, format!("{done} a with id 1\n{done} c with id 3\n"));
        assert!(place.good(&[what, "list"]).contains(" b "), "{what}");
    }
}

/// A name is an argument or `--name`, not both and not neither.
#[test]
fn a_name_is_an_argument_or_an_option() {
    let place = Place::new();
    place.good(&["provider", "add", "one", "--base", "https://x/v1"]);
    place.good(&["provider", "add", "--name", "two", "--base", "https://x/v1"]);
    for args in [
        &["key", "create"][..],
        &["group", "create"],
        &["model", "add", "--member", "m"],
        &["provider", "add", "--base", "https://x"],
    ] {
        place.bad(args, 2, "the following required arguments were not provided");
        place.bad(&[args, &["a", "--name", "b"]].concat(), 2, "cannot be used with");
    }
    place.bad(&["key", "create", " x"], 2, "a name is not empty");
    let seen = place.json(&["provider", "list", "--json"]);
    holds(&seen["providers"][1], serde_json::json!({ "provider_key": "two" }));
}

#[test]
fn a_provider_that_exists_can_be_changed() {
    let place = Place::new();
    place.good(ADD);
    let displayed = "a provider named `openai` exists; change it with `llm-proxy provider set openai`, or choose another \
                     name";
    place.bad(ADD, 1, displayed);
}

/// One note of keys for the first provider, and what a key's variable still needs.
#[test]
fn what_is_missing_is_said_once() {
    let place = Place::new();
    let add = |name: &str, key: &str| place.run(&["provider", "add", name, "--base", "https://x/v1", "--api-key", key]);
    let first = add("a", "env:A_KEY");
    assert_eq!(
        first.stdout,
        "added provider a with id 1; with A_KEY set where the gateway runs, it serves every model\n"
    );
    assert!(first.stderr.contains("note: no client has a key yet"), "{}", first.stderr);
    let check = ["provider", "add", "c", "--base", "https://x/v1", "--api-key", "env:C_KEY", "--check"];
    let displayed = "warning: the environment variable C_KEY is not set here; the server needs it\nerror: provider c is \
                     not added: --check asks the provider from here, where C_KEY is not set; set it, or leave --check \
                     out\n";
    let ran = place.run(&check);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, displayed));
    let second = add("b", "k");
    assert_eq!(second.stdout, "added provider b with id 2; it serves every model\n");
    assert!(!second.stderr.contains("no client has a key yet"), "{}", second.stderr);
}

/// Providers whose variables only the gateway has: every command says the same of them.
#[test]
fn variables_of_the_gateway_are_not_missed_in_another_shell() {
    let (place, upstream) = (Place::new(), vendor(r#"{"data":[{"id":"m-1"}]}"#));
    let base = upstream.url("/v1");
    place.good(&["provider", "add", "of-env", "--base", &base, "--api-key", "env:OF_ENV_API_KEY"]);
    let status = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        line.rsplit("  ").next().unwrap().trim().to_owned()
    };
    let list = place.run(&["provider", "list"]);
    assert_eq!(status(&list.stdout, "of-env"), "needs OF_ENV_API_KEY");
    let note = "note: not set in this shell, and needed where the gateway runs: OF_ENV_API_KEY\n";
    assert!(list.stderr.contains(note) && !list.stderr.contains("of-env:"), "{}", list.stderr);
    let explained = place.run(&["explain", "--model", "m-1"]);
    assert!(explained.stdout.contains("of-env"), "{}", explained.stdout);
    let lists = "note: a gateway alone knows which models its providers list; --url asks one
";
    assert_eq!(explained.stderr, format!("{note}{lists}"));

    let data = place.0.path().join("data");
    for (key, expected) in [("k", "served"), ("", "not served")] {
        let setup = Setup::new().env("DATA_DIR", data.display()).env("ADMIN_KEY", "admin-key-of-sixteen");
        let gateway = setup.env("OF_ENV_API_KEY", key).start();
        let url = format!("http://{}", gateway.addr);
        let mut command = place.command(&["provider", "list", "--url", &url]);
        let list = super::ran(command.env("ADMIN_KEY", "admin-key-of-sixteen").output().unwrap());
        assert_eq!(status(&list.stdout, "of-env"), expected, "{}", list.stdout);
    }
}

/// With a configuration file, what to write where; nothing else comes first.
#[test]
fn a_configuration_file_is_changed_by_its_editor() {
    let place = Place::new();
    let file = "providers: []\ncredentials:\n- {name: me, key: sk-0123456789abcdef0123456789abcdef}\n";
    std::fs::write(place.0.path().join("g.yaml"), file).unwrap();
    std::fs::write(place.0.path().join(".env"), "CONFIG_FILE=g.yaml\n").unwrap();
    place.bad(
        &["key", "create", "me"],
        1,
        "the keys of clients are those of the file g.yaml; change them there, the server takes it up within a second; \
         this line under `credentials` makes the key: - {name: \"me\", key: sk-",
    );
    let displayed = "error: providers, credentials, groups, models and budgets are those of the file g.yaml; change them \
                     there, the server takes it up within a second\n";
    for args in [
        &["provider", "add", "a", "--base", "https://x/v1", "--api-key", "env:NOT_SET"][..],
        &["provider", "remove", "nobody"],
        &["key", "rotate", "me"],
        &["model", "add", "m", "--member", "n"],
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, displayed), "{args:?}");
    }
}

/// Where the key of a gateway without ADMIN_KEY is.
#[test]
fn a_missing_admin_key_is_found() {
    let place = Place::new();
    let url = "http://127.0.0.1:1";
    let list = ["key", "list", "--url", url];
    place.bad(
        &list,
        1,
        "ADMIN_KEY is not set here, and the admin interface at http://127.0.0.1:1 requires it; set it to the ADMIN_KEY of \
         that gateway; one that was started on a terminal without any has its key in the file admin.key of its DATA_DIR",
    );
    std::fs::create_dir(place.0.path().join("data")).unwrap();
    std::fs::write(place.0.path().join("data/admin.key"), "k").unwrap();
    place.bad(
        &list,
        1,
        "requires it; the gateway of this directory has its key in ./data/admin.key: set ADMIN_KEY=$(cat \
         ./data/admin.key)",
    );
}

#[test]
fn start_is_serve() {
    let place = Place::new();
    let ran = place.run(&["start"]);
    assert!(ran.code == 2 && ran.stderr.ends_with("tip: `llm-proxy serve` starts the gateway\n"), "{}", ran.stderr);
}
