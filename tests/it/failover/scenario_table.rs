//! The sixteen scenarios of the public failover benchmark as the table of
//! `docs/internals/failover-scenarios.md`: each a primary and a standby, whole and streamed, and
//! with `RESCUE_STREAMS`. `scenarios` has those that are requests in a row, and the conditions that
//! each must keep.

use super::matrix::compare;
use super::*;

const DOCUMENT: &str = "docs/internals/failover-scenarios.md";

/// A scenario: its title, the faults of the primary and the standby, and how many requests are
/// made.
struct Scenario {
    title: &'static str,
    primary: &'static str,
    standby: &'static str,
    requests: u64,
}

const fn scenario(title: &'static str, primary: &'static str) -> Scenario {
    Scenario { title, primary, standby: "", requests: 1 }
}

const SCENARIOS: [Scenario; 16] = [
    scenario("429 with `Retry-After`, then fine", "429:1"),
    Scenario { requests: 12, ..scenario("429 for ever", "no-retry-after") },
    scenario("one 500", "500:1"),
    Scenario { requests: 12, ..scenario("503 for ever", "503") },
    scenario("reset", "reset-head"),
    scenario("silence", "silent"),
    scenario("the first token comes too late", "silent-body"),
    scenario("a stream that is cut in the middle", "truncate"),
    scenario("a stall in the middle", "stall"),
    scenario("a malformed event", "bad-event"),
    scenario("no end mark", "no-end-mark"),
    scenario("context length", "context-length"),
    scenario("content filter", "content-filter"),
    Scenario { standby: "400", ..scenario("as 8, and the standby refuses prefill", "truncate") },
    Scenario { requests: 20, ..scenario("flapping", "flapping") },
    scenario("accounting: who answered, of which model", "500:1"),
];

/// What a client saw of a scenario, who answered last, and the tries of both.
fn outcome(scenario: &Scenario, stream: bool, rescue: &str) -> String {
    let env = [("TTFT_TIMEOUT_SECS", "2"), ("REQUEST_TIMEOUT_SECS", "2"), ("RESCUE_STREAMS", rescue)];
    let bench = scenarios::Bench::new(scenario.primary, scenario.standby, &env);
    let mut got = bench.ask(stream);
    for _ in 1..scenario.requests {
        let next = bench.ask(stream);
        assert_eq!(next.outcome(stream), got.outcome(stream), "{}", scenario.title);
        got = next;
    }
    let (primary, standby) = bench.tries();
    let tries = match scenario.requests {
        1 => format!("{primary}+{standby}"),
        // How many of them meet the primary is a matter of time; `scenarios` bounds it.
        requests => format!("all {requests}"),
    };
    format!("{}; {}; {tries}", got.outcome(stream), got.provider)
}

#[test]
fn the_table_of_scenarios() {
    let mut text = include_str!("scenarios.txt").to_owned();
    text += "\n| | scenario | whole | stream | stream, `RESCUE_STREAMS` |\n|---|---|---|---|---|\n";
    let rows: Vec<String> = std::thread::scope(|scope| {
        let half = |from: usize| {
            move || {
                let rows = SCENARIOS.iter().skip(from).step_by(2).map(|scenario| {
                    let rescue = if scenario.standby.is_empty() { "prompt" } else { "prefill" };
                    [(false, "off"), (true, "off"), (true, rescue)]
                        .map(|(stream, rescue)| outcome(scenario, stream, rescue))
                });
                rows.collect::<Vec<_>>()
            }
        };
        let [even, odd] = [0, 1].map(|from| scope.spawn(half(from)));
        let (even, odd) = (even.join().unwrap(), odd.join().unwrap());
        let rows = even.into_iter().zip(odd).flat_map(|(one, two)| [one, two]);
        let row = |(n, [whole, stream, rescued]): (usize, [String; 3])| {
            format!("| {} | {} | {whole} | {stream} | {rescued} |\n", n + 1, SCENARIOS[n].title)
        };
        rows.enumerate().map(row).collect()
    });
    text += &rows.concat();
    compare(DOCUMENT, "failover::scenario_table", &text);
}
