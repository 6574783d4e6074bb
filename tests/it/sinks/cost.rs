//! What a sink costs a worker: a copy of the bodies, and nothing that reads them.
//!
//! Each gateway has one worker; compared is the time that its thread was on a processor, as the
//! kernel counts it. As part of the tests the rounds are short, and only work of another kind on
//! the worker would be seen. With `SINKS_COST_REQUESTS=5000` each round is so long and 10 % is the
//! bound; that is for a release build.

use super::*;

const ROUNDS: usize = 5;
/// Rounds at most, where others take the processor: each may be the first without them.
const MOST_ROUNDS: usize = 60;

#[test]
fn cost_of_lines_of_one_kilobyte() {
    let requests = std::env::var("SINKS_COST_REQUESTS").ok().map(|text| text.parse::<usize>().unwrap());
    let words = "word ".repeat(200);
    let answered = format!(
        r#"{{"id":"c","object":"chat.completion","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}}}"#
    );
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{words}"}}]}}"#);
    let provider = Fake::answering(move |_| answer::json(200, &answered));
    let start = |lines: bool| {
        // Without the others that want to know of requests.
        let setup = Setup::new()
            .provider(chat(&provider))
            .env("REQUEST_LOG_ENABLED", "false")
            .env("RUST_LOG", "info,llm_proxy::access=off");
        setup.env("JSONL_LOG_ENABLED", lines).start()
    };
    let gateways = [start(false), start(true)];
    let mut clients = gateways.each_ref().map(Gateway::client);
    let most = requests.map_or(2.0, |_| 1.1);
    // What else runs on the processor adds to a round, and takes nothing from it.
    let mut least = [f64::INFINITY; 2];
    for round in 0..=MOST_ROUNDS {
        for at in [0, 1] {
            let before = on_processor(&gateways[at]);
            for _ in 0..requests.unwrap_or(200) {
                assert_eq!(clients[at].call("/v1/chat/completions", &body).status, 200);
            }
            // The first round warms up.
            if round > 0 {
                least[at] = least[at].min(on_processor(&gateways[at]) - before);
            }
        }
        if round >= ROUNDS && least[1] / least[0] < most {
            break;
        }
    }
    let [off, on] = least;
    println!("a worker's time with JSONL, against that without: {:.3}", on / off);
    assert!(on / off < most, "{:.3}", on / off);
}

/// Nanoseconds that the worker's thread has been on a processor.
fn on_processor(gateway: &Gateway) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let worker = threads
        .map(|thread| thread.unwrap().path())
        .find(|thread| std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("worker")));
    let stat = std::fs::read_to_string(worker.expect("no thread of a worker").join("schedstat")).unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}
