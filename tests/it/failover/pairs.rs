//! Two providers with faults in turn, and a third that has none: what the third can give, the
//! client gets, and nothing takes longer than the deadlines.
//!
//! What a pair must lead to follows from what each fault alone leads to, as the table of
//! `docs/internals/failover-matrix.md` has it for a provider and a standby. By default some faults
//! of each kind are paired; with `ALL_PAIRS` in the environment all are, which takes minutes.

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

/// The deadline of each wait, and the longest time of a request: a wait for the head, one for the
/// content and one in the middle, at each of two providers, and what a loaded machine adds.
const DEADLINE: f64 = 0.5;
const LONGEST: Duration = Duration::from_secs(12);

/// What a client gets of a fault if there is a standby, by the columns of the table: who responds,
/// and the outcome.
type Row = [(char, String); 4];

/// The rows of the table for a provider and a standby.
fn rows() -> BTreeMap<&'static str, Row> {
    let (_, table) = MATRIX.split_once("## A provider and a standby").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let fault = cells.next()?.strip_suffix('`')?;
        let cell = |text: &str| {
            let (who, rest) = text.split_once(": ").unwrap();
            (who.chars().next().unwrap(), rest.split_once("; ").unwrap().0.to_owned())
        };
        let cells: Vec<_> = cells.map(cell).collect();
        Some((fault, cells.try_into().unwrap()))
    };
    table.lines().filter_map(row).collect()
}

/// Rows for one fault in one place: `a` has the first half of a model's name, and `b` the second.
fn row(place: &str, fault: &str, mock: &MockHandle) -> ProviderRow {
    let (pattern, tier) = if place == "a" { (format!("{fault}--*"), 0) } else { (format!("*--{fault}"), 1) };
    let mid = if fault == "stall" { 4.0 * DEADLINE } else { DEADLINE };
    ProviderRow {
        model_mapping: format!(r#"{{"{pattern}":"mock-{fault}"}}"#),
        provider_params: format!(
            r#"{{"priority":{tier},"timeouts":{{"connect":{DEADLINE},"first_content":{mid},"silence":{mid}}}}}"#
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

    /// Who must respond, and with which outcome.
    fn expected(&self, rows: &BTreeMap<&str, Row>) -> (char, String) {
        for (place, fault) in ['a', 'b'].into_iter().zip(self.faults) {
            let (who, outcome) = &rows[fault][self.column];
            if *who == 'a' {
                return (place, outcome.clone());
            }
        }
        ('c', "answer".to_owned())
    }
}

#[test]
fn nothing_fails_that_a_third_provider_can_serve() {
    let rows = rows();
    let faults: Vec<&'static str> = match std::env::var_os("ALL_PAIRS") {
        Some(_) => rows.keys().copied().filter(|fault| !LEFT_OUT.contains(fault)).collect(),
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
    let third = ProviderRow {
        model_mapping: r#"{"*--*":"mock"}"#.into(),
        provider_params: r#"{"priority":2}"#.into(),
        ..provider("c", "openai", &format!("{}/v1", plain.url()))
    };
    let gateway = setup.provider(third).start();

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
                    let expected = case.expected(&rows);
                    if found != expected || time > LONGEST {
                        wrong.lock().unwrap().push(format!("{case:?}: {found:?} in {time:?}, not {expected:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} pairs:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
