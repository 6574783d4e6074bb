//! Gateways that tell one another of a provider's cooldown through Redis, as processes of their
//! own.

use llm_proxy::config::rows::ProviderRow;

use super::*;
use crate::support::redis::Redis;

const COOLDOWNS: &str = "llm_proxy_shared_cooldowns_total";

/// A provider that answers its first request with a 429 and this wait in seconds.
fn throttled_once(seconds: &'static str) -> Fake {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Fake::answering(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => answer::with(429, &[("retry-after", seconds)], r#"{"error":{"message":"slow down"}}"#),
        _ => answer::json(200, sample::CHAT.answer),
    })
}

fn node(first: &Fake, standby: &Fake, url: &str, api_key: &str) -> Gateway {
    let row = ProviderRow { api_key: api_key.into(), ..sample::CHAT.provider("first", first) };
    let standby = ProviderRow { weight: 0, ..sample::CHAT.provider("standby", standby) };
    let setup = Setup::new().env("LIMITS_URL", url).env("ADAPTIVE_ROUTING_ENABLED", true);
    setup.provider(row).provider(standby).start()
}

fn by(gateway: &Gateway) -> String {
    let response = gateway.client().call(PATH, sample::CHAT.ask);
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("x-llm-proxy-provider").unwrap().to_owned()
}

#[test]
fn a_429_of_one_gateway_keeps_the_others_away() {
    let (redis, first) = (Redis::start(), throttled_once("120"));
    let standby = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
    let [one, two] = [(); 2].map(|()| node(&first, &standby, &redis.url(), "pk-one"));
    let other_account = node(&first, &standby, &redis.url(), "pk-two");
    assert_eq!(by(&one), "standby");
    eventually("the other gateway knows", || two.metric(COOLDOWNS) == Some(1.0));
    for _ in 0..5 {
        assert_eq!((by(&one), by(&two)), ("standby".to_owned(), "standby".to_owned()));
    }
    assert_eq!(first.requests().len(), 1, "only the 429 reached it");
    // Neither learns its own cooldown, nor one lengthens the other, and another key is another
    // account.
    assert_eq!((one.metric(COOLDOWNS), other_account.metric(COOLDOWNS)), (Some(0.0), Some(0.0)));
    assert_eq!(by(&other_account), "first");
    two.expect_metric(COOLDOWNS, 1.0);
    assert_eq!(one.metric("llm_proxy_limit_store_failures_total"), Some(0.0));
    // A gateway that starts later learns of it too.
    let late = node(&first, &standby, &redis.url(), "pk-one");
    eventually("the late one knows", || late.metric(COOLDOWNS) == Some(1.0));
    assert_eq!(by(&late), "standby");
}

#[test]
fn a_cooldown_ends_for_all() {
    let (redis, first) = (Redis::start(), throttled_once("8"));
    let standby = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
    let [one, two] = [(); 2].map(|()| node(&first, &standby, &redis.url(), "pk-one"));
    assert_eq!(by(&one), "standby");
    eventually("the other gateway knows", || two.metric(COOLDOWNS) == Some(1.0));
    for gateway in [&one, &two] {
        eventually("its time is over", || by(gateway) == "first");
    }
}

/// Without a store requests go on, and each gateway knows its own cooldowns.
#[test]
fn a_store_that_is_away_costs_nothing() {
    let first = throttled_once("120");
    let standby = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
    let nobody = Nobody::new();
    let gateway = node(&first, &standby, &format!("redis://user:s3cret@{}", nobody.addr()), "pk-one");
    eventually("it is noticed", || gateway.metric("llm_proxy_limit_store_failures_total") >= Some(1.0));
    assert_eq!([by(&gateway), by(&gateway)], ["standby", "standby"]);
    assert!(!gateway.log().iter().any(|line| line.contains("s3cret")));
}
