//! Tokens per minute: reserved before a provider is asked, settled with what was used, however the
//! request ends.

use super::*;

const LIMIT: i64 = 1000;
/// Of the request; the estimate of the prompt comes on top.
const MAX_TOKENS: u64 = 500;

fn ask(stream: bool) -> String {
    format!(
        r#"{{"model":"m-asked","stream":{stream},"max_tokens":{MAX_TOKENS},"messages":[{{"role":"user","content":"hi"}}]}}"#
    )
}

fn start(provider: &Fake) -> Gateway {
    Setup::new().provider(chat(provider)).credential(limited(|row| row.tokens_per_minute = Some(LIMIT))).start()
}

/// A gateway of which nothing was asked yet, and what its bucket holds while one request runs.
struct Rig {
    provider: Fake,
    gateway: Gateway,
    started: Instant,
}

impl Rig {
    fn new() -> Rig {
        let provider = Fake::start();
        let gateway = start(&provider);
        Rig { provider, gateway, started: Instant::now() }
    }

    /// Asks again, and says how many tokens the request before it has cost.
    ///
    /// The bucket regains some as time passes, so that a request may seem to have cost less.
    fn costs(&self, reserved: u64, expected: std::ops::RangeInclusive<u64>) {
        let mut client = self.gateway.client();
        client.ask(&post(PATH).body(ask(false)));
        // A refusal would come without a connection.
        let mut accepted = None;
        eventually("a connection or an answer", || {
            accepted = self.provider.try_accept();
            accepted.is_some() || !client.link.is_quiet()
        });
        if let Some(mut conn) = accepted {
            conn.request();
            conn.send(answer::json(200, sample::CHAT.answer));
        }
        let response = client.response();
        assert_eq!(response.status, 200, "{}", response.text());
        let left = number(&response, "x-ratelimit-remaining-tokens");
        let regained = (self.started.elapsed().as_secs_f64() * LIMIT as f64 / 60.0).ceil() as u64;
        let least = (LIMIT as u64 - reserved).saturating_sub(*expected.end());
        let most = LIMIT as u64 - reserved - expected.start() + regained;
        assert!((least..=most).contains(&left), "{left} left of {LIMIT}, {reserved} reserved, {expected:?} expected");
    }
}

/// What the gateway reserves for [`ask`].
fn reserve() -> u64 {
    let rig = Rig::new();
    let mut client = rig.gateway.client();
    client.ask(&post(PATH).body(ask(false)));
    let mut conn = rig.provider.accept();
    conn.request();
    conn.send(answer::json(200, sample::CHAT.answer));
    let response = client.response();
    assert_eq!(number(&response, "x-ratelimit-limit-tokens"), LIMIT as u64);
    assert!(response.header("x-ratelimit-limit-requests").is_none());
    let reserved = LIMIT as u64 - number(&response, "x-ratelimit-remaining-tokens");
    assert!((MAX_TOKENS + 5..MAX_TOKENS + 60).contains(&reserved), "{reserved}");
    reserved
}

#[test]
fn every_end_gives_back_what_was_not_used() {
    let reserved = reserve();

    // A whole answer, which tells 3 + 2.
    let rig = Rig::new();
    rig.costs(reserved, 0..=0);
    rig.costs(reserved, 5..=5);

    // A stream, which tells the same.
    let rig = Rig::new();
    let mut client = rig.gateway.client();
    client.ask(&post(PATH).body(ask(true)));
    let mut conn = rig.provider.accept();
    conn.request();
    conn.send(answer::sse(&sample::CHAT.events()));
    client.response();
    conn.close();
    rig.costs(reserved, 5..=5);

    // A provider that refuses, and one that sends nothing at all.
    let rig = Rig::new();
    let mut client = rig.gateway.client();
    client.ask(&post(PATH).body(ask(false)));
    let mut conn = rig.provider.accept();
    conn.request();
    conn.send(answer::json(400, r#"{"error":{"message":"no","type":"invalid_request_error"}}"#));
    assert_eq!(client.response().status, 400);
    client.ask(&post(PATH).body(ask(false)));
    conn.request();
    conn.close();
    // The connection was one of the pool, but the provider has the request: it is not sent again.
    assert_eq!(client.response().status, 502);
    rig.costs(reserved, 0..=0);

    // A client that leaves in the middle: the prompt, and what it was sent.
    let rig = Rig::new();
    let mut client = rig.gateway.client();
    client.ask(&post(PATH).body(ask(true)));
    let mut conn = rig.provider.accept();
    conn.request();
    conn.send(answer::SSE);
    conn.send(answer::chunk(sample::CHAT.content[0]));
    client.head();
    client.event();
    drop(client);
    conn.expect_closed();
    eventually("the record is filed", || rig.gateway.metric("llm_proxy_clients_gone_total") == Some(1.0));
    rig.costs(reserved, 5..=60);
}

#[test]
fn a_reserve_that_is_not_there_is_refused_and_costs_nothing() {
    let provider = Fake::start();
    let row = limited(|row| {
        row.tokens_per_minute = Some(LIMIT);
        row.rate_limit = Some(1);
        row.burst = Some(1000);
    });
    let gateway = Setup::new().provider(chat(&provider)).credential(row).start();
    let mut first = gateway.client();
    first.ask(&post(PATH).body(ask(false)));
    let mut conn = provider.accept();
    conn.request();

    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.call(PATH, ask(false));
        assert_eq!(response.status, 429);
        let error = &response.json()["error"];
        assert_eq!((&error["type"], &error["code"]), (&"rate_limit_error".into(), &"rate_limit_exceeded".into()));
        assert!(error["message"].as_str().unwrap().contains("1000 tokens per minute"), "{error}");
        let (seconds, ms) = (number(&response, "retry-after"), number(&response, "retry-after-ms"));
        assert!(seconds >= 1 && seconds == ms.div_ceil(1000), "{seconds} {ms}");
        // Only the first one has cost a request.
        assert_eq!(number(&response, "x-ratelimit-remaining-requests"), 999);
    }
    // A prompt that never fits gets an error in either format.
    let long = "word ".repeat(2000);
    let body = format!(r#"{{"model":"m-asked","max_tokens":1,"messages":[{{"role":"user","content":"{long}"}}]}}"#);
    let response = client.call("/v1/messages", body);
    assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
    assert_eq!(number(&response, "anthropic-ratelimit-tokens-limit"), LIMIT as u64);
    assert!(response.header("anthropic-ratelimit-tokens-reset").unwrap().ends_with('Z'));
    assert!(response.text().contains("shorten it"), "{}", response.text());

    conn.send(answer::json(200, sample::CHAT.answer));
    assert_eq!(first.response().status, 200);
}
