//! Every fault in every setting, as the table of `docs/internals/failover-matrix.md`.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use llm_mock::Fault;
use llm_proxy::config::rows::ModelRow;
use llm_proxy::shared::names::NEW_FOR;
use serde_json::Value;

use super::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";
const DOCUMENT: &str = "docs/internals/failover-matrix.md";

/// Threads that ask at the same time: most of a case is waiting.
const THREADS: usize = 6;

/// Faults of the table that are statuses, or are made by the test.
const STATUSES: [&str; 15] =
    ["400", "401", "403", "404", "408", "409", "413", "422", "429", "500", "502", "503", "504", "529", "error-first"];
const OF_THE_TEST: [&str; 3] = ["error-mid", "dns-failure", "dns-change"];

/// Gives the gateway a table of hosts of its own, which a namespace of its own allows without
/// privilege.
const OWN_HOSTS: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;

/// Faults that break a stream behind its first content.
const BREAKS: [&str; 9] =
    ["reset", "stall", "truncate", "wrong-length", "garbage", "unfinished", "bad-event", "bad-utf8", "error-mid"];

/// Who serves a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Setting {
    Alone,
    Standby,
    /// With a standby that goes on with streams that break off.
    Rescue,
}

/// A fault in one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    fault: usize,
    setting: Setting,
    is_translated: bool,
    streams: bool,
}

impl Case {
    fn all(faults: &[&str]) -> Vec<Case> {
        let of_fault = |fault: usize| {
            let plain = [Setting::Alone, Setting::Standby].into_iter().flat_map(|setting| {
                [(false, false), (false, true), (true, false), (true, true)].map(|forms| (setting, forms))
            });
            let rescues = BREAKS.contains(&faults[fault]).then_some([false, true]).into_iter().flatten();
            plain
                .chain(rescues.map(|is_translated| (Setting::Rescue, (is_translated, true))))
                .map(move |(setting, (is_translated, streams))| Case { fault, setting, is_translated, streams })
                .collect::<Vec<_>>()
        };
        (0..faults.len()).flat_map(of_fault).collect()
    }

    fn has_standby(&self) -> bool {
        self.setting != Setting::Alone
    }

    /// The model that the client asks for, which no other case does.
    fn model(&self) -> String {
        format!("f{}-{}-{}-{}", self.fault, self.setting as u8, u8::from(self.is_translated), u8::from(self.streams))
    }

    /// The name of the provider's host, where that changes.
    fn host(&self) -> String {
        format!("{}.test", self.model())
    }

    /// The model that the providers know it by.
    fn member(&self) -> String {
        if self.setting == Setting::Rescue { format!("{}-member", self.model()) } else { self.model() }
    }

    fn request(&self) -> Outgoing {
        let (path, extra) = match self.is_translated {
            false => ("/v1/chat/completions", ""),
            true => ("/v1/messages", r#","max_tokens":99"#),
        };
        let (model, stream) = (self.model(), self.streams);
        post(path).body(format!(
            r#"{{"model":"{model}","stream":{stream}{extra},"messages":[{{"role":"user","content":"hi"}}]}}"#
        ))
    }
}

/// The upstreams of one thread of the test.
struct Place {
    plain: MockHandle,
    standby: MockHandle,
}

/// A provider of one case.
fn row(case: &Case, name: &str, base: &str, model: &str, params: &str) -> ProviderRow {
    ProviderRow {
        model_mapping: format!(r#"{{"{}":"{model}"}}"#, case.member()),
        provider_params: params.into(),
        ..provider(&format!("{}-{name}", case.model()), "openai", base)
    }
}

/// The parameters of a provider with a fault: where that is silence, it may not be silent for long.
fn params(fault: &str) -> &'static str {
    match fault {
        // Its first half must come within the time.
        "stall" => r#"{"timeouts":{"first_content":60,"silence":2}}"#,
        "black-hole" | "silent" | "silent-body" => r#"{"timeouts":{"connect":1,"first_content":1,"silence":1}}"#,
        // Its bytes come for some time.
        "endless-event" => r#"{"timeouts":{"first_content":60,"silence":2}}"#,
        _ => "{}",
    }
}

#[test]
fn the_table_of_faults() {
    let faults: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).chain(STATUSES).chain(OF_THE_TEST).collect();
    let places: Vec<Place> = (0..THREADS).map(|_| Place { plain: mock(""), standby: mock("") }).collect();
    // These are of the process and not of one request.
    let own: BTreeMap<&str, MockHandle> = ["refused", "black-hole", "flapping", "tls-failure", "expired-certificate"]
        .into_iter()
        .map(|fault| (fault, mock(fault)))
        .collect();
    let cases = Case::all(&faults);
    let moved = cases.iter().filter(|case| faults[case.fault] == "dns-change");
    let hosts = tempfile::NamedTempFile::new().unwrap();
    // Nobody listens at the old address.
    let write_hosts = |address: &str| {
        let lines: String = moved.clone().map(|case| format!("{address} {}\n", case.host())).collect();
        std::fs::write(hosts.path(), lines).unwrap();
    };
    write_hosts("127.0.0.9");

    let mut setup = Setup::new()
        .env("ADMIN_KEY", ADMIN_KEY)
        .env("ADAPTIVE_ROUTING_ENABLED", true)
        // Waits that providers ask for are too long, and those of the gateway's own are short.
        .env("RETRY_MAX_WAIT_SECS", 0.05)
        .through(&["unshare", "-rm", "sh", "-c", OWN_HOSTS, hosts.path().to_str().unwrap()]);
    for case in &cases {
        let (fault, place) = (faults[case.fault], &places[case.fault % THREADS]);
        let plain = || format!("{}/v1", place.plain.url());
        let base = match fault {
            "dns-change" => plain().replace("127.0.0.1", &case.host()),
            // No label of a name may be so long, so that no server is asked for it.
            "dns-failure" => format!("http://{}.invalid/v1", "x".repeat(64)),
            _ => own.get(fault).map_or_else(plain, |mock| format!("{}/v1", mock.url())),
        };
        setup = setup.provider(row(case, "a", &base, &format!("mock-{fault}"), params(fault)));
        if case.has_standby() {
            let standby = row(case, "b", &format!("{}/v1", place.standby.url()), "mock", "{}");
            setup = setup.provider(ProviderRow { weight: 0, ..standby });
        }
        if case.setting == Setting::Rescue {
            setup = setup.model(ModelRow {
                name: case.model(),
                members: format!(r#"["{}"]"#, case.member()),
                overrides: "{}".into(),
                options: r#"{"rescue":"prompt"}"#.into(),
                is_enabled: true,
                ..ModelRow::default()
            });
        }
    }
    let gateway = setup.start();
    let started = Instant::now();
    write_hosts("127.0.0.1");

    let results: Mutex<BTreeMap<Case, String>> = Mutex::default();
    let run = |cases: &[Case]| {
        std::thread::scope(|scope| {
            for (n, place) in places.iter().enumerate() {
                let (gateway, results, own, faults) = (&gateway, &results, &own, &faults);
                scope.spawn(move || {
                    for case in cases.iter().filter(|case| case.fault % THREADS == n) {
                        let fault = faults[case.fault];
                        let first = own.get(fault).unwrap_or(&place.plain);
                        let seen = || (first.counts().requests(), place.standby.counts().requests());
                        let before = seen();
                        let mut client = gateway.client();
                        client.ask(&case.request());
                        // A client that waits without end is a result too, and the worst of all.
                        let got = std::panic::catch_unwind(AssertUnwindSafe(|| Got::of(&mut client)));
                        let Ok(got) = got else {
                            results.lock().unwrap().insert(*case, "HANGS".to_owned());
                            continue;
                        };
                        let after = seen();
                        let (a, b) = (after.0 - before.0, after.1 - before.1);
                        // Where the provider was not reached, the gateway's own count of attempts is
                        // used.
                        let a = if a == 0 { got.attempts - b } else { a };
                        let who = got.provider.rsplit('-').next().unwrap_or_default();
                        let tries = if case.has_standby() { format!("{a}+{b}") } else { a.to_string() };
                        let who = if case.has_standby() { format!("{who}: ") } else { String::new() };
                        results.lock().unwrap().insert(*case, format!("{who}{}; {tries}", got.outcome(case.streams)));
                    }
                });
            }
        })
    };
    // A name that was resolved just now is not resolved again. Those of hosts that change come last,
    // when the gateway has let deadlines of as long expire (`silent`).
    let (last, first): (Vec<Case>, Vec<Case>) = cases.iter().partition(|case| faults[case.fault] == "dns-change");
    run(&first);
    assert!(started.elapsed() >= NEW_FOR);
    run(&last);
    let mut results = results.into_inner().unwrap();
    for (case, result) in results.iter_mut().filter(|(_, result)| *result != "HANGS") {
        *result += &format!("; {}", record(&gateway, case));
    }
    compare(DOCUMENT, "failover::matrix", &document(&faults, &results));
}

/// The row of a case in the log of requests: status, and category of the error or what was wrong
/// with the stream.
fn record(gateway: &Gateway, case: &Case) -> String {
    let mut row = Value::Null;
    eventually(&format!("{} is in the log", case.model()), || {
        let mut client = gateway.client();
        client.ask(&get(&format!("/admin/v1/logs?model={}", case.model())).key(ADMIN_KEY));
        row = client.response().json()["items"][0].clone();
        row.is_object()
    });
    let status = row["status_code"].as_i64().unwrap_or_default();
    let named = row["error_category"].as_str().map(str::to_owned).or_else(|| defect(gateway, case, &row["id"]));
    match named {
        Some(name) => format!("{status} {name}"),
        None => status.to_string(),
    }
}

/// What the log says was wrong with a stream that came to its end. Of whole answers it says
/// nothing.
fn defect(gateway: &Gateway, case: &Case, id: &Value) -> Option<String> {
    if !case.streams {
        return None;
    }
    let mut client = gateway.client();
    client.ask(&get(&format!("/admin/v1/logs/{id}")).key(ADMIN_KEY));
    client.response().json()["trace"]["stream_defect"].as_str().map(str::to_owned)
}

fn document(faults: &[&str], results: &BTreeMap<Case, String>) -> String {
    let mut text = include_str!("matrix.txt").to_owned();
    let about = |name: &str| match name {
        "error-first" => "An error event before any content; in a whole answer an error object under status 200.",
        "error-mid" => "An error event half way; in a whole answer an error object under status 200.",
        "dns-failure" => "The name of the provider's host does not exist.",
        "dns-change" => "The name of the provider's host has a new address, and nobody listens at the old one.",
        _ => Fault::ALL.iter().find(|fault| fault.name() == name).map_or("", |fault| fault.about()),
    };
    text += "\n## Faults\n\n| fault | what happens |\n|---|---|\n";
    for fault in faults.iter().filter(|fault| !about(fault).is_empty()) {
        text += &format!("| `{fault}` | {} |\n", about(fault));
    }
    text += "\nA number is the status of an error response. 429, 503 and 529 come with `retry-after: 1`.\n";
    for (title, setting) in [("One provider", Setting::Alone), ("A provider and a standby", Setting::Standby)] {
        text += &format!("\n## {title}\n\n| fault | whole | stream | whole, translated | stream, translated |\n");
        text += "|---|---|---|---|---|\n";
        for (fault, name) in faults.iter().enumerate() {
            let cell = |is_translated, streams| &results[&Case { fault, setting, is_translated, streams }];
            let [one, two, three, four] = [cell(false, false), cell(false, true), cell(true, false), cell(true, true)];
            text += &format!("| `{name}` | {one} | {two} | {three} | {four} |\n");
        }
    }
    text += "\n## A standby that goes on with streams that break off\n\nThe same with `RESCUE_STREAMS=prompt`. The head \
             of the response names who began.\n\n| fault | stream | stream, translated |\n|---|---|---|\n";
    for name in BREAKS {
        let fault = faults.iter().position(|fault| *fault == name).unwrap_or_default();
        let cell = |is_translated| &results[&Case { fault, setting: Setting::Rescue, is_translated, streams: true }];
        text += &format!("| `{name}` | {} | {} |\n", cell(false), cell(true));
    }
    text
}

/// Compares a document with what was found by a test, or writes it.
pub(super) fn compare(document: &str, test: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(path, found).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    let differing = found.lines().filter(|line| !known.lines().any(|known| known == *line));
    let differing: Vec<&str> = differing.collect();
    assert!(
        known == found,
        "{document} differs; `UPDATE_DOCS=1 cargo test --test it {test}` writes it:\n{}",
        differing.join("\n")
    );
}
