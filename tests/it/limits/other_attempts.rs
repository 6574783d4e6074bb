//! Who pays for an attempt that is not the answer: a stream that broke off and that another
//! provider went on with, and the attempt that lost a race.

use llm_proxy::config::rows::{BudgetRow, ModelRow, ProviderRow};
use serde_json::{Value, json};

use super::budgets::{ADMIN, DOLLAR, budget, spent, state, tokens};
use super::*;

/// Tokens of the prompt, as the first provider reports them at the beginning of its stream.
const PROMPT: u64 = 5000;

/// What a token of the prompt and one of the response cost, in dollars.
const PRICES: [f64; 2] = [0.001, 0.002];

/// A provider with these prices, in a tier of its own, that may be sent [`PROMPT`] tokens in a
/// minute.
fn row(name: &str, sample: &sample::Sample, fake: &Fake, tier: usize) -> ProviderRow {
    let [input, output] = PRICES;
    let mapping = json!({ sample::MODEL: { "mapped_model": sample::MODEL, "input_cost_per_token": input,
                                           "output_cost_per_token": output } });
    let params = json!({ "priority": tier, "limits": { "tokens_per_minute": PROMPT } });
    ProviderRow {
        model_mapping: mapping.to_string(),
        provider_params: params.to_string(),
        ..sample.provider(name, fake)
    }
}

/// A provider of Messages, which reports the prompt at the beginning, and one of Chat.
struct Two {
    first: Fake,
    second: Fake,
    gateway: Gateway,
}

impl Two {
    fn new(budgets: Vec<BudgetRow>, options: Value) -> Two {
        Two::start(budgets, options, |first, second| {
            [row("first", &sample::MESSAGES, first, 0), row("second", &sample::CHAT, second, 1)]
        })
    }

    /// Two of Chat that answer with streams alone.
    fn streaming(options: Value) -> Two {
        let streams = |row: ProviderRow| {
            let mut params: Value = serde_json::from_str(&row.provider_params).unwrap();
            params["quirks"] = json!(["always_stream"]);
            ProviderRow { provider_params: params.to_string(), ..row }
        };
        Two::start(Vec::new(), options, |first, second| {
            [row("first", &sample::CHAT, first, 0), row("second", &sample::CHAT, second, 1)].map(streams)
        })
    }

    fn start(budgets: Vec<BudgetRow>, options: Value, rows: impl Fn(&Fake, &Fake) -> [ProviderRow; 2]) -> Two {
        let (first, second) = (Fake::start(), Fake::start());
        let smart = ModelRow {
            name: "smart".into(),
            members: json!([sample::MODEL]).to_string(),
            overrides: "{}".into(),
            options: options.to_string(),
            is_enabled: true,
            ..ModelRow::default()
        };
        let setup = Setup::new().env("ADMIN_KEY", ADMIN).model(smart);
        let setup = rows(&first, &second).into_iter().fold(setup, Setup::provider);
        let gateway = budgets.into_iter().fold(setup, Setup::budget).start();
        Two { first, second, gateway }
    }

    /// Has a request served while others run.
    fn served_meanwhile(&self) {
        let mut client = self.gateway.client();
        for _ in 0..2 {
            client.ask(&get("/health"));
            assert_eq!(client.response().status, 200);
        }
    }

    fn ask(&self) -> Client {
        let mut client = self.gateway.client();
        let body = sample::CHAT.ask_stream.replace(sample::MODEL, "smart").replacen('{', r#"{"max_tokens":50,"#, 1);
        client.ask(&post(PATH).key(KEY).body(body));
        client
    }

    /// Begins the stream of the first provider, and sends so many of its events with content.
    fn begin(&self, content: usize) -> fake::Conn {
        let mut conn = self.first.accept();
        conn.request();
        let [start, rest @ ..] = sample::MESSAGES.opening else { panic!("no events") };
        conn.send(answer::SSE);
        conn.send(answer::chunk(start.replace("\"input_tokens\":3", &format!("\"input_tokens\":{PROMPT}"))));
        conn.send(answer::chunk([rest, &sample::MESSAGES.content[..content]].concat().concat()));
        conn
    }

    /// Answers the request that the second provider gets, with 3 and 2 tokens.
    fn answer_by_second(&self) {
        let mut conn = self.second.accept();
        conn.request();
        conn.send(answer::sse(&sample::CHAT.events()));
    }

    /// Requests, tokens of the prompt and thousandths of a dollar of each provider, by name.
    fn spend(&self) -> Vec<(String, u64, u64, u64)> {
        let mut client = self.gateway.client();
        client.ask(&get("/admin/v1/spend?by=provider").key(ADMIN));
        let rows = client.response().json()["rows"].as_array().unwrap().clone();
        let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
        let row = |row: &Value| {
            let cost = (row["cost"].as_f64().unwrap() * 1000.0).round() as u64;
            (row["group"].as_str().unwrap().to_owned(), number(row, "requests"), number(row, "input_tokens"), cost)
        };
        let mut rows: Vec<_> = rows.iter().map(row).collect();
        rows.sort();
        rows
    }

    /// The cost of the only request, in thousandths of a dollar, once the log has it.
    fn logged_cost(&self) -> u64 {
        let mut cost = None;
        eventually("the request is in the log", || {
            let mut client = self.gateway.client();
            client.ask(&get("/admin/v1/logs?model=smart").key(ADMIN));
            cost = client.response().json()["items"][0]["cost"].as_f64();
            cost.is_some()
        });
        (cost.unwrap_or_default() * 1000.0).round() as u64
    }
}

/// Each provider is paid for its part, and the caller pays for both.
#[test]
fn a_stream_that_is_continued_is_paid_twice() {
    let two = Two::new(
        vec![
            tokens("first", "provider", "first", 1_000_000),
            tokens("second", "provider", "second", 1_000_000),
            tokens("key", "credential", KEY, 1_000_000),
            budget("money", "credential", KEY, 1000 * DOLLAR),
        ],
        json!({ "rescue": "prompt" }),
    );
    let mut client = two.ask();
    two.begin(1).close();
    two.answer_by_second();
    assert!(client.response().text().ends_with("data: [DONE]\n\n"));
    // The output of the first is estimated by what the client got.
    let of = |name: &str| state(&two.gateway, name)["spent"].as_f64().unwrap();
    eventually("all budgets are settled", || of("first") > 0.0 && of("second") > 0.0 && of("key") > 0.0);
    let (first, second) = (of("first"), of("second"));
    assert!((5001.0..5200.0).contains(&first), "{first}");
    assert_eq!((second, of("key")), (5.0, first + second));
    let of_first = 5.0 + (first - 5000.0) * 0.002;
    spent(&two.gateway, "money", of_first + 0.007);
    let (first_cost, second_cost) = ((of_first * 1000.0).round() as u64, 7);
    eventually("it is summed up", || two.spend().len() == 2);
    let expected = [("first".to_owned(), 0, PROMPT, first_cost), ("second".to_owned(), 1, 3, second_cost)];
    assert_eq!(two.spend(), expected);
    assert_eq!(two.logged_cost(), first_cost + second_cost);
}

/// If nobody can go on, the stream that broke off is the answer, and is paid once.
#[test]
fn a_stream_that_nobody_continues_is_paid_once() {
    let budgets = vec![
        tokens("first", "provider", "first", 1_000_000),
        tokens("second", "provider", "second", 1_000_000),
        tokens("key", "credential", KEY, 1_000_000),
    ];
    let two = Two::new(budgets, json!({ "rescue": "prompt" }));
    let mut client = two.ask();
    two.begin(1).close();
    let mut conn = two.second.accept();
    conn.request();
    conn.send(answer::json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#));
    client.head();
    assert_eq!(client.rest_text().1, End::Truncated);
    let of = |name: &str| state(&two.gateway, name)["spent"].as_f64().unwrap();
    eventually("the budgets are settled", || of("first") > 0.0 && of("key") > 0.0);
    assert_eq!(of("second"), 0.0);
    // The client has got the error event too, by which its part is estimated.
    let more = of("key") - of("first");
    assert!((0.0..20.0).contains(&more), "{more}");
    eventually("it is summed up", || !two.spend().is_empty());
    let spend = two.spend();
    assert_eq!((spend.len(), spend[0].0.as_str(), spend[0].1), (1, "first", 1), "{spend:?}");
}

/// The loser of a race is paid for the prompt that it has read, be it the first attempt or the
/// second.
#[test]
fn the_loser_of_a_race_is_paid() {
    let hedged = || Two::new(Vec::new(), json!({ "hedge": { "after_ms": 50, "percent": 100 } }));
    let two = hedged();
    let mut client = two.ask();
    let mut slow = two.begin(0);
    two.answer_by_second();
    assert!(client.response().text().ends_with("data: [DONE]\n\n"));
    slow.expect_closed();
    eventually("it is summed up", || two.spend().len() == 2);
    let expected = [("first".to_owned(), 0, PROMPT, 5002), ("second".to_owned(), 1, 3, 7)];
    assert_eq!(two.spend(), expected);
    assert_eq!(two.logged_cost(), 5009);

    let two = hedged();
    let mut client = two.ask();
    let mut quick = two.begin(0);
    let mut slow = two.second.accept();
    slow.request();
    slow.send(answer::SSE);
    quick.send(answer::chunk(sample::MESSAGES.content.concat()));
    quick.send(answer::LAST_CHUNK);
    assert!(client.response().text().ends_with("data: [DONE]\n\n"));
    slow.expect_closed();
    eventually("it is summed up", || two.spend().len() == 2);
    let spend = two.spend();
    // It has reported nothing, and its prompt is estimated.
    assert_eq!((spend[0].1, spend[1].1), (1, 0), "{spend:?}");
    assert!((1..1000).contains(&spend[1].2), "{spend:?}");
}

/// A loser that streams for a client of whole answers is paid for its prompt and for the events
/// that have come, a token each, be it the first attempt or the second: 100 bytes of events are
/// about one token, and not the 25 that they would be in a whole answer.
#[test]
fn a_loser_that_streams_for_a_whole_answer_is_paid_by_its_events() {
    const EVENTS: usize = 40;
    for loser in ["first", "second"] {
        let two = Two::streaming(json!({ "hedge": { "whole_after_ms": 50, "percent": 100 } }));
        let mut client = two.gateway.client();
        client.ask(&post(sample::MESSAGES.path).body(sample::MESSAGES.ask.replace(sample::MODEL, "smart")));
        let begin = |fake: &Fake| {
            let mut conn = fake.accept();
            assert_eq!(conn.request().json()["stream"], json!(true));
            conn.send(answer::SSE);
            conn
        };
        let events = [sample::CHAT.opening[0], &sample::CHAT.content[0].repeat(EVENTS)].concat();
        let (mut first, mut second) = (begin(&two.first), begin(&two.second));
        if loser == "first" { &mut first } else { &mut second }.send(answer::chunk(&events));
        // Turns of the worker, in which it reads what has come.
        two.served_meanwhile();
        let (winner, other) = if loser == "first" { (&mut second, &mut first) } else { (&mut first, &mut second) };
        winner.send(answer::chunk(sample::CHAT.events().concat()));
        winner.send(answer::LAST_CHUNK);
        let response = client.response();
        let by = if loser == "first" { "second" } else { "first" };
        assert_eq!((response.status, response.header("x-llm-proxy-provider")), (200, Some(by)), "{}", response.text());
        assert_eq!(response.json()["content"][0]["text"], json!("Hello"));
        other.expect_closed();
        eventually("it is summed up", || two.spend().len() == 2);
        let spend = two.spend();
        let (_, requests, input, cost) = spend.iter().find(|(name, ..)| name == loser).unwrap();
        // A token of the response costs twice one of the prompt.
        let output = (cost - input) / 2;
        assert_eq!(*requests, 0, "{spend:?}");
        assert!((1..1000).contains(input), "{spend:?}");
        assert!((EVENTS as u64 / 2..=EVENTS as u64 * 2).contains(&output), "{loser}: {output} of {spend:?}");
    }
}
