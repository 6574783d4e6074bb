//! Groups of credentials of the real binary: what each level refuses, and the errors.

use llm_proxy::config::rows::GroupRow;
use serde_json::json;

use super::*;

const OTHER: &str = "sk-other";

fn group(name: &str, change: impl FnOnce(&mut GroupRow)) -> GroupRow {
    let mut row = GroupRow { name: name.into(), allowed_models: "[]".into(), is_enabled: true, ..GroupRow::default() };
    change(&mut row);
    row
}

fn member(key: &str, of: &str) -> CredentialRow {
    CredentialRow { group_name: Some(of.into()), ..credential(key) }
}

fn setup(fake: &MockHandle) -> Setup {
    Setup::new().provider(crate::support::provider("mock", "openai", &format!("{}/v1", fake.url())))
}

fn ask(gateway: &Gateway, key: &str, model: &str) -> Response {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 10 });
    let mut client = gateway.client();
    client.send(post(PATH).key(key).body(body.to_string()).bytes());
    client.response()
}

#[test]
fn models_are_those_that_every_level_allows() {
    let provider = quick();
    let company = group("company", |row| row.allowed_models = r#"["gpt-*","claude-*"]"#.into());
    let team = group("team", |row| {
        row.parent = Some("company".into());
        row.allowed_models = r#"["gpt-4*","llama"]"#.into();
    });
    let gateway = setup(&provider).group(team).group(company).credential(member(KEY, "team")).start();
    assert_eq!(ask(&gateway, KEY, "gpt-4o").status, 200);
    for (model, level) in [("gpt-5", "group `team`"), ("llama", "group `company`")] {
        let refused = ask(&gateway, KEY, model);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains(&format!("is not allowed for {level}")), "{}", refused.text());
    }
}

#[test]
fn limits_of_a_group_are_shared_and_the_refusal_names_it() {
    let provider = quick();
    let company = group("company", |row| (row.rate_limit, row.burst) = (Some(1), Some(3)));
    let team = group("team", |row| row.parent = Some("company".into()));
    let second = CredentialRow { rate_limit: Some(1), burst: Some(100), ..member(OTHER, "company") };
    let setup = setup(&provider).group(company).group(team);
    let gateway = setup.credential(member(KEY, "team")).credential(second).start();
    // One clock second gives one back, so that it takes a few more than three.
    let refused = (0..20).map(|n| ask(&gateway, [KEY, OTHER][n % 2], "m")).find(|response| response.status != 200);
    let refused = refused.expect("three requests and one a second are let through");
    assert_eq!(refused.status, 429);
    assert!(
        refused.text().contains("rate limit of group `company` reached: 1 requests per second"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("3"));
    assert!(refused.header("retry-after").is_some());

    // What the credential gave before the group refused, it has back.
    let mut left = Vec::new();
    for _ in 0..3 {
        let response = ask(&gateway, OTHER, "m");
        if response.status == 429 {
            left.push(response.header("x-ratelimit-limit-requests").unwrap().to_owned());
        }
    }
    assert!(left.iter().all(|limit| limit == "3"), "the level that refused is shown: {left:?}");
}

#[test]
fn a_group_that_cannot_be_used_refuses_its_keys_alone() {
    let provider = quick();
    let circle = [("a", "b"), ("b", "a")].map(|(name, parent)| group(name, |row| row.parent = Some(parent.into())));
    let [a, b] = circle;
    let off = group("off", |row| row.is_enabled = false);
    let setup = setup(&provider).group(a).group(b).group(off);
    let keys = [("k-circle", "a"), ("k-missing", "nobody"), ("k-off", "off")];
    let setup = keys.iter().fold(setup, |setup, (key, of)| setup.credential(member(key, of)));
    let gateway = setup.credential(credential(KEY)).env("ADMIN_KEY", "admin-key").start();
    assert_eq!(ask(&gateway, KEY, "m").status, 200);
    for (key, _) in keys {
        assert_eq!(ask(&gateway, key, "m").status, 401, "{key}");
    }
    let mut client = gateway.client();
    client.ask(&get("/admin/v1/config/problems").key("admin-key"));
    let problems = client.response().text().to_owned();
    for displayed in ["so that the groups are a circle", "group_name names `nobody`, and there is no such group"] {
        assert!(problems.contains(displayed), "{displayed}: {problems}");
    }
    assert!(!problems.contains("credential k-off"), "{problems}");
}
