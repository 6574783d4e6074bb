//! Budgets over gateways with stores of their own, whose sums are at the server of `LIMITS_URL`.

use llm_proxy::config::boot::{Boot, Environment};
use llm_proxy::control_plane::open_store;
use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::{Error, SumsKey};
use llm_proxy::limit::budget::{Claim, Grant, Sums};
use proptest::prelude::*;
use serde_json::json;

use super::budgets::{ADMIN, DOLLAR, ask, ask_once, budget, priced, spend_a_dollar, spent, state, tokens, using};
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
    let refused = ask_once(&gateway, 20);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("budget `b` of this request can't be read now"), "{}", refused.text());
    assert!(gateway.metric("llm_proxy_budget_store_failures_total") >= Some(1.0));
    redis.resume();
    eventually("the server is asked again", || ask(&gateway, 20).status == 200);
}

/// The store of a gateway of its own.
fn store(redis: &Redis, dir: &tempfile::TempDir) -> Blocking {
    let boot = Boot { data_dir: dir.path().into(), limits_url: Some(redis.url().into()), ..Boot::default() };
    Blocking::new(open_store(&boot, &Environment::default()).unwrap()).unwrap()
}

fn claim(store: &Blocking, claim: Claim) -> Result<Grant, Error> {
    let key = SumsKey { name: "b".into(), kind: "tokens/total".into(), starts_at: 0 };
    let shared = store.store();
    store.wait(shared.claim(vec![(key, Claim { amount: 1000, ..claim })])).map(|grants| grants[0])
}

/// The sums, once the server can be asked again.
fn sums(store: &Blocking) -> Sums {
    let mut found = Sums::default();
    eventually("the sums can be read", || match claim(store, Claim::default()) {
        Ok(grant) => {
            found = grant.sums;
            true
        }
        Err(_) => false,
    });
    found
}

/// A server that comes back with an old snapshot is told what the gateways have heard since, also
/// by one that comes after others have used the old data.
#[test]
fn sums_outlive_older_data_of_the_server() {
    let (mut redis, dirs) = (Redis::start(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let [first, second] = [0, 1].map(|at| store(&redis, &dirs[at]));
    claim(&first, Claim { want: 100, ..Claim::default() }).unwrap();
    assert_eq!(redis.ask("SAVE").unwrap(), "");
    claim(&first, Claim { want: 50, spent: 20, ..Claim::default() }).unwrap();
    claim(&second, Claim { want: 200, spent: 30, ..Claim::default() }).unwrap();
    redis.stop();
    redis.resume();
    for _ in 0..5 {
        assert_eq!(sums(&first), Sums { taken: 150, spent: 20, ..Sums::default() });
    }
    for store in [&second, &first, &second] {
        assert_eq!(sums(store), Sums { taken: 350, spent: 50, ..Sums::default() });
    }
    let given = claim(&second, Claim { give: 200, ..Claim::default() }).unwrap();
    assert_eq!(given.sums.taken, 150, "what was heard is old");
}

/// A change that did not reach the server is made when it is repeated, and one whose answer came
/// too late is not made again.
#[test]
fn a_change_that_failed_is_made_once_when_it_is_repeated() {
    let (fake, mut redis) = (using(10, 20), Redis::start());
    let gateway = node(&fake, &redis, tokens("b", "credential", KEY, 1000));
    let top_up = |key: &str| {
        let request = get("/admin/v1/budgets/1/top-up").method("POST").key(ADMIN).header("idempotency-key", key);
        let mut client = gateway.client();
        client.ask(&request.body(json!({ "amount": 100 }).to_string()));
        client.response().status
    };
    let extra = || state(&gateway, "b")["extra"].as_f64().unwrap();
    redis.stop();
    assert_eq!(top_up("one"), 503);
    redis.resume();
    for _ in 0..2 {
        eventually("the server is asked again", || top_up("one") == 200);
        assert_eq!(extra(), 100.0);
    }
    redis.pause();
    assert_eq!(top_up("two"), 503);
    redis.go_on();
    for _ in 0..2 {
        eventually("the server is asked again", || top_up("two") == 200);
        assert_eq!(extra(), 200.0);
    }
    assert_eq!(top_up("one"), 200);
    assert_eq!(extra(), 200.0);
}

/// What a server grants to calls that were given up is nobody's, and is taken back.
#[test]
fn a_server_that_stalls_does_not_empty_a_budget() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let store = store(&redis, &dir);
    let held = claim(&store, Claim { want: 300, ..Claim::default() }).unwrap();
    assert_eq!(held.units, 300);
    for round in 0..3 {
        redis.pause();
        let wanted = Claim { epoch: Some(0), give: 10, want: 200, spent: 7, ..Claim::default() };
        assert!(claim(&store, wanted).is_err(), "round {round}");
        redis.go_on();
        // What it gives counts once.
        let expected = Sums { taken: 300 - 10 * (2 * round + 1), ..Sums::default() };
        assert_eq!(sums(&store), expected, "round {round}");
        redis.pause();
        let owed = Claim { epoch: Some(0), give: -50, spent: 50, ..Claim::default() };
        assert!(claim(&store, owed).is_err(), "round {round}");
        assert!(claim(&store, owed).is_err(), "round {round}");
        redis.go_on();
        assert_eq!(sums(&store), expected, "round {round}");
        claim(&store, Claim { epoch: Some(0), give: 10, ..Claim::default() }).unwrap();
    }
    let last = claim(&store, Claim { epoch: Some(0), want: 1000, ..Claim::default() }).unwrap();
    assert_eq!((last.units, last.sums.taken), (760, 1000));
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

/// The script does what `Sums::apply` does, of which the simulation in `limit::budget` proves that
/// no more is spent than the amount, whatever happens to nodes and answers.
#[test]
fn the_script_is_the_law() {
    let (redis, dir) = (Redis::start(), tempfile::tempdir().unwrap());
    let store = store(&redis, &dir);
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() };
    let rounds = AtomicU64::new(0);
    proptest!(config, |(claims in claims())| {
        let mut sums = [Sums::default(), Sums::default()];
        let expected: Vec<_> = claims.iter().map(|(is_first, claim)| sums[usize::from(*is_first)].apply(claim)).collect();
        let mut found = None;
        eventually("the server answers in time", || {
            // A call that was given up may have been made, so that each is of a budget of its own.
            let round = rounds.fetch_add(1, Ordering::Relaxed);
            let keys = [0, 1].map(|window| SumsKey {
                name: format!("budget {round}"),
                kind: "usd/total".into(),
                starts_at: window,
            });
            let asked = claims.iter().map(|(is_first, claim)| (keys[usize::from(*is_first)].clone(), *claim)).collect();
            let shared = store.store();
            found = store.wait(shared.claim(asked)).ok();
            found.is_some()
        });
        prop_assert_eq!(found.unwrap(), expected);
    });
}
