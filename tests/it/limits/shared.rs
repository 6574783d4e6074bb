//! Two gateways that share a limit through Redis, as two processes.

use super::*;
use crate::support::redis::Redis;

const LIMIT: i64 = 200;
/// An eighth of the capacity: what a node holds. And half of it: what it may owe.
const AHEAD: f64 = 25.0 + 100.0;

fn node(provider: &MockHandle, url: &str) -> Gateway {
    let upstream = crate::support::provider("mock", "openai", &format!("{}/v1", provider.url()));
    let row = limited(|row| row.rate_limit = Some(LIMIT));
    Setup::new().provider(upstream).credential(row).env("LIMITS_URL", url).start()
}

fn leases(node: &Gateway) -> f64 {
    node.metric("llm_proxy_limit_leases_total").unwrap()
}

fn logged(node: &Gateway, text: &str) -> bool {
    node.log().iter().any(|line| line.contains(text))
}

#[test]
fn nodes_together_admit_at_most_the_limit_and_their_debts() {
    let (provider, redis) = (quick(), Redis::start());
    let nodes = [node(&provider, &redis.url()), node(&provider, &redis.url())];
    let [one, two] = &nodes;
    // The store knows of the slices that both have taken in advance.
    eventually("the store knows of both", || nodes.iter().all(|node| leases(node) >= 1.0));
    let Seen { admitted, elapsed, .. } = closed_loop(&[one, two], 16, 2.0);
    let most = LIMIT as f64 * (elapsed + 1.0) + 2.0 * AHEAD;
    assert!(admitted as f64 <= most, "{admitted} admitted in {elapsed:.2} s, {most:.0} allowed");
    // Each alone would admit as much, so together they would have gone far beyond. That they lose
    // little is not for a busy machine to prove, only that each connection has one at least.
    assert!(admitted >= 16, "{admitted} admitted in {elapsed:.2} s");
    println!("{admitted} admitted in {elapsed:.2} s, {most:.0} allowed");

    // The units that one gateway uses are missing at the other, which reports that.
    let spent = closed_loop(&[one], 8, 1.0);
    assert!(spent.admitted > 0);
    let response = two.client().call(PATH, sample::CHAT.ask);
    let left = number(&response, "x-ratelimit-remaining-requests");
    assert!(left <= LIMIT as u64, "{left}");
    for node in &nodes {
        assert_eq!(node.metric("llm_proxy_limit_store_failures_total"), Some(0.0));
        assert!(!node.log().iter().any(|line| line.contains("LIMITS_URL can't be asked")));
    }
}

/// An unused limit of ten admits a burst of most of it at one node, and not an eighth.
#[test]
fn a_small_limit_admits_requests_at_once() {
    let (provider, redis) = (quick(), Redis::start());
    let upstream = crate::support::provider("mock", "openai", &format!("{}/v1", provider.url()));
    // None comes back while this runs.
    let row = limited(|row| (row.rate_limit, row.burst) = (Some(1), Some(40)));
    let node = Setup::new().provider(upstream).credential(row).env("LIMITS_URL", redis.url()).start();
    eventually("the store was heard", || leases(&node) >= 1.0);
    let mut client = node.client();
    let admitted = (0..20).take_while(|_| client.call(PATH, sample::CHAT.ask).status == 200).count();
    // The slice is five, and half of what is left seventeen.
    assert_eq!(admitted, 20);
}

#[test]
fn without_redis_each_node_limits_alone() {
    let (provider, mut redis) = (quick(), Redis::start());
    let node = node(&provider, &redis.url());
    eventually("the store knows of it", || leases(&node) >= 1.0);
    redis.stop();
    // It is asked when something is spent.
    eventually("the loss is noticed", || {
        node.client().call(PATH, sample::CHAT.ask);
        node.metric("llm_proxy_limit_store_failures_total") >= Some(1.0)
    });
    node.expect_log(&["each node keeps its limits for itself"]);
    let Seen { admitted, elapsed, .. } = closed_loop(&[&node], 8, 1.0);
    assert!(admitted as f64 <= LIMIT as f64 * (elapsed + 1.0), "{admitted}");
    assert!(admitted >= 8, "{admitted}");

    redis.resume();
    let before = leases(&node);
    eventually("limits are shared again", || logged(&node, "limits are shared") && leases(&node) > before);
    assert_eq!(node.client().call(PATH, sample::CHAT.ask).status, 200);
}

#[test]
fn missing_redis_refuses_no_request() {
    let provider = quick();
    let nobody = Nobody::new();
    let node = node(&provider, &format!("redis://user:s3cret@{}", nobody.addr()));
    assert_eq!(node.client().call(PATH, sample::CHAT.ask).status, 200);
    eventually("it is logged", || logged(&node, "each node keeps its limits for itself"));
    assert!(!logged(&node, "s3cret"));
}
