//! Budgets over gateways with stores of their own, whose sums are at the server of `LIMITS_URL`.

use llm_proxy::config::boot::{Boot, Environment};
use llm_proxy::control_plane::open_store;
use llm_proxy::control_plane::store::SumsKey;
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::limit::budget::{Claim, Sums};
use proptest::prelude::*;
use serde_json::json;

use super::budgets::{ADMIN, DOLLAR, ask, budget, priced, spend_a_dollar, spent, state, tokens, using};
use super::*;
use crate::support::redis::Redis;

fn node(fake: &Fake, redis: &Redis, row: llm_proxy::config::rows::BudgetRow) -> Gateway {
    let setup = Setup::new().provider(priced("p", fake)).budget(row).env("LIMITS_URL", redis.url());
    setup.env("ADMIN_KEY", ADMIN).start()
}

/// As over one database: 64 clients on two gateways.
#[test]
fn many_clients_on_two_gateways_spend_a_dollar_and_no_more() {
    let (fake, redis) = (using(10, 10), Redis::start());
    let start = || {
        let setup = Setup::new().provider(super::budgets::cheap(&fake)).budget(budget("b", "credential", KEY, DOLLAR));
        setup.env("LIMITS_URL", redis.url()).env("ADMIN_KEY", ADMIN).workers(2).start()
    };
    spend_a_dollar(&[start(), start()]);
}

#[test]
fn a_reset_and_a_top_up_are_for_all_gateways() {
    let (fake, redis) = (using(10, 20), Redis::start());
    let row = || budget("b", "credential", KEY, DOLLAR / 10);
    let nodes = [node(&fake, &redis, row()), node(&fake, &redis, row())];
    let change = |gateway: &Gateway, action: &str, body: serde_json::Value| {
        let mut client = gateway.client();
        client.ask(&get(&format!("/admin/v1/budgets/1/{action}")).method("POST").key(ADMIN).body(body.to_string()));
        let response = client.response();
        assert_eq!(response.status, 200, "{}", response.text());
    };
    assert_eq!(ask(&nodes[0], 20).status, 200);
    spent(&nodes[1], "b", 0.05);
    assert_eq!(ask(&nodes[1], 30).status, 402);
    change(&nodes[0], "top-up", json!({ "amount": 0.1 }));
    eventually("the other gateway can spend it", || ask(&nodes[1], 30).status == 200);
    spent(&nodes[0], "b", 0.1);
    change(&nodes[1], "reset", json!({}));
    spent(&nodes[0], "b", 0.0);
    eventually("the first gateway begins anew", || ask(&nodes[0], 20).status == 200);
    spent(&nodes[1], "b", 0.05);
}

/// A server that comes back empty is told what the gateways have heard last.
#[test]
fn sums_outlive_the_data_of_the_server() {
    let (fake, mut redis) = (using(10, 20), Redis::start());
    let row = || tokens("b", "credential", KEY, 10_000);
    let nodes = [node(&fake, &redis, row()), node(&fake, &redis, row())];
    for gateway in &nodes {
        assert_eq!(ask(gateway, 20).status, 200);
    }
    for gateway in &nodes {
        spent(gateway, "b", 60.0);
    }
    redis.stop();
    redis.resume();
    for gateway in &nodes {
        eventually("the server is asked again", || {
            let mut client = gateway.client();
            client.ask(&get("/admin/v1/budgets").key(ADMIN));
            client.response().status == 200
        });
        spent(gateway, "b", 60.0);
    }
    eventually("more is spent", || ask(&nodes[1], 20).status == 200);
    spent(&nodes[0], "b", 90.0);
    let state = state(&nodes[0], "b");
    assert!(state["left"].as_f64().unwrap() <= 9910.0, "{state}");
}

#[test]
fn without_the_server_a_hard_budget_is_not_spent() {
    let (fake, mut redis) = (using(10, 20), Redis::start());
    redis.stop();
    let gateway = node(&fake, &redis, budget("b", "credential", KEY, DOLLAR));
    let refused = ask(&gateway, 20);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("budget `b` of this request can't be read now"), "{}", refused.text());
    assert!(gateway.metric("llm_proxy_budget_store_failures_total") >= Some(1.0));
    redis.resume();
    eventually("the server is asked again", || ask(&gateway, 20).status == 200);
}

fn claims() -> impl Strategy<Value = Vec<(bool, Claim)>> {
    let epoch = prop_oneof![Just(None), Just(Some(0)), Just(Some(1))];
    let claim = (any::<bool>(), epoch, 0..1_000_000_000_000_000i64, -500..1000i64, 0..1000i64, 0..500i64);
    let claim = claim.prop_map(|(is_first, epoch, amount, give, want, spent)| {
        let amount = if is_first { 1500 } else { amount };
        (is_first, Claim { epoch, amount, give, want, spent })
    });
    prop::collection::vec(claim, 1..12)
}

/// The script does what `Sums::apply` does, of which the simulation in `limit::budget` proves that no
/// more is spent than the amount, whatever happens to nodes and answers.
#[test]
fn the_script_is_the_law() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let boot = Boot { data_dir: dir.path().into(), limits_url: Some(redis.url().into()), ..Boot::default() };
    let store = Blocking::new(open_store(&boot, &Environment::default()).unwrap()).unwrap();
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let rounds = AtomicU64::new(0);
    proptest!(config, |(claims in claims())| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let keys = [0, 1].map(|window| SumsKey {
            name: format!("budget {round}"),
            kind: "usd/total".into(),
            starts_at: window,
        });
        let mut sums = [Sums::default(), Sums::default()];
        let expected: Vec<_> = claims.iter().map(|(is_first, claim)| sums[usize::from(*is_first)].apply(claim)).collect();
        let asked = claims.iter().map(|(is_first, claim)| (keys[usize::from(*is_first)].clone(), *claim)).collect();
        let shared = store.store();
        prop_assert_eq!(store.wait(shared.claim(asked)).unwrap(), expected);
    });
}
