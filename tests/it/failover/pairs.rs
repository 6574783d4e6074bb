//! Two providers with faults in turn. If there is a third that has none, the client gets what that
//! can give; if there is none, the more useful of both failures, in its own format. Nothing takes
//! longer than the deadlines.
//!
//! What a pair must lead to follows from what each fault alone leads to, as the tables of
//! `docs/internals/failover-matrix.md` have it for one provider, and for a provider and a standby.
//! By default some faults of each kind are paired; with `ALL_PAIRS` in the environment all are,
//! which takes minutes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;

const MATRIX: &str = include_str!("../../../docs/internals/failover-matrix.md");

/// One or two of each kind.
const SOME: [&str; 22] = [
    "refused",
    "reset-head",
    "silent",
    "silent-body",
    "bad-head",
    "truncate",
    "gzip",
    "unfinished",
    "bad-first",
    "lying-type",
    "empty",
    "error-object",
    "no-content",
    "redirect",
    "quota",
    "context-length",
    "401",
    "404",
    "429",
    "500",
    "503",
    "error-first",
];

/// Faults of the whole process, or of names, which no row of this test can have; and two that move
/// 17 MiB or flap by the number of requests.
const LEFT_OUT: [&str; 4] = ["dns-failure", "dns-change", "endless-event", "flapping"];

/// Faults that need a mock of their own.
const OF_THE_PROCESS: [&str; 4] = ["refused", "black-hole", "tls-failure", "expired-certificate"];

const THREADS: usize = 8;

/// The seconds of a wait that comes to its end, and of one that does not.
const DEADLINE: f64 = 0.5;
const LONG: f64 = 60.0;

/// The longest time of a request: four times the deadline in the middle of each of two streams, and
/// what a loaded machine adds. A wait that does not come to its end would be longer.
const LONGEST: Duration = Duration::from_secs(45);

/// What a client gets of a fault if there is a standby, by the columns of the table: who responds,
/// and the outcome.
type Row = [(char, String); 4];

/// The rows of the table under this title.
fn rows(title: &str) -> BTreeMap<&'static str, Row> {
    let (_, table) = MATRIX.split_once(&format!("## {title}")).unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let fault = cells.next()?.strip_suffix('`')?;
        let cell = |text: &str| {
            // Where there is one provider, the table does not name it.
            let (who, rest) = text.split_once(": ").unwrap_or(("a", text));
            (who.chars().next().unwrap(), rest.split_once("; ").unwrap().0.to_owned())
        };
        let cells: Vec<_> = cells.map(cell).collect();
        Some((fault, cells.try_into().unwrap()))
    };
    table.lines().filter_map(row).collect()
}

/// What each fault leads to.
struct Tables {
    alone: BTreeMap<&'static str, Row>,
    with_standby: BTreeMap<&'static str, Row>,
}

/// How useful a failure is for the client, which gets the first of the most useful ones: a limit
/// says when to come back, the provider's own error, in a response of its own or under status 200,
/// says more than the gateway's words about a status, those more than that the answer was none, and
/// that more than that nobody was there. A request that is at fault ends at once.
fn usefulness(fault: &str) -> u8 {
    match fault {
        "429" | "no-retry-after" => 6,
        "408" | "500" | "502" | "503" | "504" | "529" | "error-object" | "error-first" => 5,
        "quota" => 4,
        "401" | "403" | "no-content" | "redirect" => 3,
        "refused" | "black-hole" | "tls-failure" | "expired-certificate" => 1,
        _ => 2,
    }
}

/// Rows for one fault in one place: `a` has the first half of a model's name, and `b` the second.
fn row(place: &str, fault: &str, mock: &MockHandle) -> ProviderRow {
    let (pattern, tier) = if place == "a" { (format!("{fault}--*"), 0) } else { (format!("*--{fault}"), 1) };
    // Where nothing is waited for, a slow machine must not end the wait either.
    let (connect, mid) = match fault {
        "black-hole" => (DEADLINE, LONG),
        "silent" | "silent-body" => (LONG, DEADLINE),
        "stall" | "reset" => (LONG, 4.0 * DEADLINE),
        _ => (LONG, LONG),
    };
    ProviderRow {
        model_mapping: format!(r#"{{"{pattern}":"mock-{fault}"}}"#),
        provider_params: format!(
            r#"{{"priority":{tier},"timeouts":{{"connect":{connect},"first_content":{mid},"silence":{mid}}}}}"#
        ),
        ..provider(&format!("{place}-{fault}"), "openai", &format!("{}/v1", mock.url()))
    }
}

/// A request by a pair of faults.
#[derive(Debug, Clone, Copy)]
struct Case {
    faults: [&'static str; 2],
    column: usize,
}

impl Case {
    fn streams(&self) -> bool {
        self.column % 2 == 1
    }

    fn request(&self) -> Outgoing {
        let (path, extra) = match self.column {
            0 | 1 => ("/v1/chat/completions", ""),
            _ => ("/v1/messages", r#","max_tokens":99"#),
        };
        let ([a, b], stream) = (self.faults, self.streams());
        let messages = r#"[{"role":"user","content":"hi"}]"#;
        post(path).body(format!(r#"{{"model":"{a}--{b}","stream":{stream}{extra},"messages":{messages}}}"#))
    }

    /// Who must respond, and with which outcome, if there is a third provider or none.
    fn expected(&self, tables: &Tables, has_third: bool) -> (char, String) {
        let of_pair = || ['a', 'b'].into_iter().zip(self.faults);
        for (place, fault) in of_pair() {
            let (who, outcome) = &tables.with_standby[fault][self.column];
            if *who == 'a' {
                return (place, outcome.clone());
            }
        }
        if has_third {
            return ('c', "answer".to_owned());
        }
        let [first, second] = self.faults;
        let is_first = usefulness(first) >= usefulness(second);
        let (place, fault) = if is_first { ('a', first) } else { ('b', second) };
        (place, tables.alone[fault][self.column].1.clone())
    }

    /// Returns whether an error has the form of the client's format.
    fn is_in_format(&self, got: &Got) -> bool {
        let Ok(body) = serde_json::from_str::<serde_json::Value>(&got.text) else { return false };
        let of_messages = body["type"] == "error" && body["error"]["type"].is_string();
        body["error"]["message"].is_string() && of_messages == (self.column > 1)
    }
}

/// Asks for each pair, and compares what comes with what must.
fn check(has_third: bool) {
    let tables = Tables { alone: rows("One provider"), with_standby: rows("A provider and a standby") };
    let faults: Vec<&'static str> = match std::env::var_os("ALL_PAIRS") {
        Some(_) => tables.alone.keys().copied().filter(|fault| !LEFT_OUT.contains(fault)).collect(),
        None => SOME.to_vec(),
    };
    let plain = mock("");
    let own: BTreeMap<&str, MockHandle> =
        faults.iter().filter(|fault| OF_THE_PROCESS.contains(fault)).map(|fault| (*fault, mock(fault))).collect();
    let mut setup = Setup::new().env("RETRY_MAX_WAIT_SECS", 0.05);
    for fault in &faults {
        let mock = own.get(fault).unwrap_or(&plain);
        setup = setup.provider(row("a", fault, mock)).provider(row("b", fault, mock));
    }
    if has_third {
        setup = setup.provider(ProviderRow {
            model_mapping: r#"{"*--*":"mock"}"#.into(),
            provider_params: r#"{"priority":2}"#.into(),
            ..provider("c", "openai", &format!("{}/v1", plain.url()))
        });
    }
    let gateway = setup.start();

    let pairs = faults.iter().flat_map(|a| faults.iter().map(move |b| [*a, *b]));
    let cases: Vec<Case> = pairs.flat_map(|faults| (0..4).map(move |column| Case { faults, column })).collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut client = gateway.client();
                    let began = Instant::now();
                    client.ask(&case.request());
                    let got = Got::of(&mut client);
                    let time = began.elapsed();
                    let found = (got.provider.chars().next().unwrap_or('-'), got.outcome(case.streams()));
                    let expected = case.expected(&tables, has_third);
                    let is_right = found == expected && (got.status == 200 || case.is_in_format(&got));
                    if !is_right || time > LONGEST {
                        let text = &got.text;
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{case:?}: {found:?} in {time:?}, not {expected:?}: {text:.200}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} pairs:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn nothing_fails_that_a_third_provider_can_serve() {
    check(true);
}

/// The client learns of the failure with which it can do most.
#[test]
fn without_a_third_provider_the_more_useful_failure_is_the_response() {
    check(false);
}
