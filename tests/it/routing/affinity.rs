//! Requests of one conversation go to one provider, which holds its prompt cache.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// A provider with a prompt cache: it reports the prompt as cached if it has seen its first turn.
fn caching(name: &'static str) -> Fake {
    let seen: Arc<Mutex<HashSet<String>>> = Arc::default();
    Fake::answering(move |request| {
        let first = request.json()["messages"][0]["content"].to_string();
        let cached = if seen.lock().unwrap().insert(first) { 0 } else { 1000 };
        let usage = json!({ "prompt_tokens": 1000, "completion_tokens": 1,
            "prompt_tokens_details": { "cached_tokens": cached } });
        answer::json(200, json!({ "by": name, "choices": [], "usage": usage }).to_string())
    })
}

struct Three {
    gateway: Gateway,
    _fakes: [Fake; 3],
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three providers with the weights 3, 2 and 1.
fn three(affinity: &str) -> Three {
    let fakes = NAMES.map(caching);
    let mut setup =
        Setup::new().env("ADMIN_KEY", ADMIN_KEY).env("ADAPTIVE_ROUTING_ENABLED", true).env("AFFINITY", affinity);
    for (at, name) in NAMES.into_iter().enumerate() {
        let weight = 3 - at as i64;
        setup = setup.provider(ProviderRow { weight, ..provider(name, "openai", &fakes[at].url("/v1")) });
    }
    Three { gateway: setup.start(), _fakes: fakes }
}

/// A turn of a conversation: who answered, and how many tokens were cached.
fn turn(client: &mut Client, conversation: usize, turn: usize, header: Option<&str>) -> (String, u64) {
    let mut messages = vec![json!({ "role": "user", "content": format!("conversation {conversation}") })];
    messages.extend((0..turn).map(|n| json!({ "role": "user", "content": n.to_string() })));
    let request = post(PATH).key(KEY).body(json!({ "model": "m", "messages": messages }).to_string());
    client.ask(&match header {
        Some(name) => request.header(name, &format!("session-{conversation}")),
        None => request,
    });
    let answer: Value = client.response().json();
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    (answer["by"].as_str().unwrap().to_owned(), cached)
}

/// The part of prompt tokens that was read from caches, over conversations of four turns. Their
/// number is no multiple of the weights, so that taking turns does not bring them back by chance.
fn hit_ratio(affinity: &str, header: Option<&str>) -> f64 {
    let three = three(affinity);
    let mut client = three.gateway.client();
    let mut cached = 0;
    for n in 0..4 {
        cached += (0..59).map(|conversation| turn(&mut client, conversation, n, header).1).sum::<u64>();
    }
    cached as f64 / (4.0 * 59.0 * 1000.0)
}

/// Every turn but the first is cached; without affinity a turn finds its cache as luck has it.
#[test]
fn conversations_find_their_caches() {
    for header in ["x-session-affinity", "x-claude-code-session-id", "session_id", "x-opencode-session"] {
        assert_eq!(hit_ratio("session", Some(header)), 0.75, "{header}");
    }
    assert_eq!(hit_ratio("prefix", None), 0.75);
    let without = hit_ratio("off", Some("session_id"));
    assert!(without < 0.5, "{without}");
    assert_eq!(hit_ratio("session", None), hit_ratio("off", None), "without a header nothing changes");
}

/// The figures of `docs/internals/affinity.md`: ten thousand conversations of two turns over the
/// weights 3, 2 and 1, with affinity and without, and a third turn while a provider is out.
#[test]
fn ten_thousand_conversations() {
    const CONVERSATIONS: usize = 10_000;
    const SHARES: [f64; 3] = [0.5, 1.0 / 3.0, 1.0 / 6.0];
    /// Who serves a turn of each conversation, and the part of the prompts that was cached.
    fn turns(three: &Three, n: usize) -> (Vec<String>, f64) {
        let mut client = three.gateway.client();
        let served = (0..CONVERSATIONS).map(|at| turn(&mut client, at, n, Some("session_id")));
        let (by, cached): (Vec<_>, Vec<u64>) = served.unzip();
        (by, cached.iter().sum::<u64>() as f64 / 1000.0 / CONVERSATIONS as f64)
    }
    let share = |by: &[String], name: &str| by.iter().filter(|by| *by == name).count() as f64 / by.len() as f64;
    let mut found = Vec::new();
    for affinity in ["off", "session"] {
        let three = three(affinity);
        let (first, none) = turns(&three, 0);
        let (second, cached) = turns(&three, 1);
        assert_eq!(none, 0.0);
        let shares = NAMES.map(|name| share(&first, name));
        println!("AFFINITY={affinity}: shares {shares:.3?}, cached at the second turn {cached:.3}");
        for (found, expected) in shares.into_iter().zip(SHARES) {
            assert!((found - expected).abs() < 0.02, "{affinity}: {shares:?}");
        }
        found.push(cached);
        if affinity == "session" {
            assert_eq!(first, second);
            let mut client = three.gateway.client();
            client.ask(&post("/admin/v1/providers/2/circuit").key(ADMIN_KEY).body(r#"{"state":"open"}"#));
            assert_eq!(client.response().status, 200);
            let (third, cached) = turns(&three, 2);
            let moved = first.iter().zip(&third).filter(|(before, after)| before != after);
            let (of_b, moved) = (first.iter().filter(|by| *by == "b").count(), moved.map(|(before, _)| before));
            let moved: Vec<_> = moved.collect();
            assert!(moved.iter().all(|before| *before == "b") && moved.len() == of_b);
            println!("b is out: {} of its {of_b} conversations moved, and no other; cached {cached:.3}", moved.len());
        }
    }
    // A provider that is not asked by conversation has seen one as often as its share says: the sum
    // of their squares.
    assert!(found[0] < 0.5 && found[1] == 1.0, "{found:?}");
}

#[test]
fn only_the_conversations_of_a_provider_that_goes_move() {
    let three = three("session");
    let mut client = three.gateway.client();
    let place = |client: &mut Client| -> HashMap<usize, String> {
        (0..120).map(|conversation| (conversation, turn(client, conversation, 0, Some("session_id")).0)).collect()
    };
    let before = place(&mut client);
    let count = |name: &str| before.values().filter(|by| *by == name).count();
    assert!(count("a") > count("b") && count("b") > count("c") && count("c") > 5, "{before:?}");
    let set = |client: &mut Client, state: &str| {
        let body = json!({ "state": state }).to_string();
        client.ask(&post("/admin/v1/providers/2/circuit").key(ADMIN_KEY).body(body));
        assert_eq!(client.response().status, 200);
    };
    set(&mut client, "open");
    let after = place(&mut client);
    for (conversation, by) in &before {
        match by.as_str() {
            "b" => assert_ne!(after[conversation], "b"),
            _ => assert_eq!(after[conversation], *by, "{conversation}"),
        }
    }
    set(&mut client, "closed");
    assert_eq!(place(&mut client), before);
    three.gateway.expect_metric("llm_proxy_affinity_requests_total", 360.0);

    // Requests without a conversation take exact turns beside them.
    let mut turns: HashMap<String, usize> = HashMap::new();
    for _ in 0..12 {
        *turns.entry(turn(&mut client, 0, 0, None).0).or_default() += 1;
    }
    assert_eq!(turns, HashMap::from([("a".to_owned(), 6), ("b".to_owned(), 4), ("c".to_owned(), 2)]));

    // An explanation names the same provider.
    for (conversation, by) in before.iter().take(10) {
        let body = json!({ "model": "m", "headers": { "session_id": format!("session-{conversation}") } });
        client.ask(&post("/admin/v1/explain").key(ADMIN_KEY).body(body.to_string()));
        let explanation = client.response().json();
        assert_eq!(
            (&explanation["conversation_at"], &explanation["candidates"][0]["provider"]),
            (&json!(by), &json!(by))
        );
    }
    let output = three.gateway.cli(&["explain", "--model", "m", "--header", "session_id: session-0"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("the conversation belongs to provider {}", before[&0])), "{text}");
}
