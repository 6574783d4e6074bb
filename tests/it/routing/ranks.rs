//! Providers that serve every model: which of them comes first for which model.

use std::collections::BTreeMap;

use super::*;

/// A vendor: it lists its models, and answers 404 for every other.
fn vendor(name: &'static str, models: &'static [&'static str]) -> Fake {
    Fake::answering(move |request| {
        if request.method == "GET" {
            let list: Vec<_> = models.iter().map(|id| serde_json::json!({ "id": id })).collect();
            return answer::json(200, serde_json::json!({ "object": "list", "data": list }).to_string());
        }
        let received = request.json()["model"].as_str().unwrap().to_owned();
        match models.contains(&&*received) {
            true => answer::json(200, serde_json::json!({ "by": name, "asked": received }).to_string()),
            false => answer::json(404, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#),
        }
    })
}

fn row(name: &str, fake: &Fake, mapping: &str) -> ProviderRow {
    ProviderRow { provider_key: name.into(), model_mapping: mapping.into(), ..chat(fake) }
}

/// The models that a vendor was asked for.
fn received(fake: &Fake) -> Vec<String> {
    let requests = fake.requests();
    let posts = requests.iter().filter(|request| request.method == "POST");
    posts.map(|request| request.json()["model"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the gateway has the list of each vendor.
fn lists_are_known(gateway: &Gateway, models: &[&str]) {
    eventually("the lists of models are known", || {
        let mut client = gateway.client();
        client.ask(&get("/v1/models").header("authorization", &format!("Bearer {KEY}")).body(""));
        let text = client.response().text().to_owned();
        models.iter().all(|model| text.contains(&format!("\"{model}\"")))
    });
}

#[test]
fn a_model_goes_to_the_vendor_that_lists_it() {
    let (a, b) = (vendor("a", &["gpt-4o", "both"]), vendor("b", &["claude-opus-4", "both"]));
    let gateway =
        Setup::new().provider(row("a", &a, "{}")).provider(row("b", &b, "{}")).env("MODEL_LIST_SECS", 600).start();
    let mut client = gateway.client();
    // Whether the lists are known yet or not.
    for _ in 0..8 {
        assert_eq!(answered_by(&mut client, "gpt-4o"), "a");
        assert_eq!(answered_by(&mut client, "claude-opus-4"), "b");
    }
    lists_are_known(&gateway, &["gpt-4o", "claude-opus-4"]);
    let before = (received(&a).len(), received(&b).len());
    let mut shares = BTreeMap::<String, u32>::new();
    for _ in 0..8 {
        assert_eq!(answered_by(&mut client, "gpt-4o"), "a");
        assert_eq!(answered_by(&mut client, "claude-opus-4"), "b");
        *shares.entry(answered_by(&mut client, "both")).or_default() += 1;
    }
    assert_eq!((received(&a).len(), received(&b).len()), (before.0 + 12, before.1 + 12), "nobody is asked in vain");
    assert_eq!(shares, BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 4)]));
    // A model that no provider lists gets a provider's response, not the gateway's own.
    assert_eq!(client.call(PATH, ask("gpt-5")).status, 404);
}

#[test]
fn a_name_that_was_written_down_goes_first() {
    let (exact, pattern, every) = (named("exact"), named("pattern"), named("every"));
    let setup = || {
        let rows = [
            row("every", &every, "{}"),
            row("pattern", &pattern, r#"{"gpt-*":"*"}"#),
            row("exact", &exact, r#"{"gpt-4o":"gpt-4o"}"#),
        ];
        rows.into_iter().fold(Setup::new(), Setup::provider)
    };
    let gateway = setup().start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(answered_by(&mut client, "gpt-4o"), "exact");
        assert_eq!(answered_by(&mut client, "gpt-5"), "pattern");
        assert_eq!(answered_by(&mut client, "other"), "every");
    }
    let gateway = setup().env("CATCH_ALL_ROUTING", "equal").start();
    let mut client = gateway.client();
    let mut shares = BTreeMap::<String, u32>::new();
    (0..6).for_each(|_| *shares.entry(answered_by(&mut client, "gpt-4o")).or_default() += 1);
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn lower_ranks_are_failover() {
    let fails = || Fake::answering(|_| answer::json(503, "{}"));
    let (exact, pattern, every) = (fails(), fails(), named("every"));
    let gateway = Setup::new()
        .provider(row("every", &every, "{}"))
        .provider(row("exact", &exact, r#"{"m":"m"}"#))
        .provider(ProviderRow { weight: 0, ..row("pattern", &pattern, r#"{"m*":"m"}"#) })
        .start();
    assert_eq!(answered_by(&mut gateway.client(), "m"), "every");
    assert_eq!((received(&exact).len(), received(&pattern).len()), (1, 1), "a standby that has it goes before a guess");
}
