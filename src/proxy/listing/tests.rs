use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::config::compile::compile;
use crate::config::rows::{CredentialRow, ProviderRow, Rows};
use crate::config::snapshot::Snapshot;
use crate::shared::catalog::Lists;

/// The store of these tests: two providers with mappings, one that serves everything and told its
/// list, one that did not.
fn snapshot(allowed: &str) -> (Snapshot, Lists) {
    let provider = |id, key: &str, kind: &str, weight, mapping: &str| ProviderRow {
        id,
        provider_key: key.into(),
        provider_type: kind.into(),
        api_base: "https://internal.example/v1".into(),
        api_key: "secret-key".into(),
        model_mapping: mapping.into(),
        weight,
        provider_params: "{}".into(),
        is_enabled: true,
        ..ProviderRow::default()
    };
    let rows = Rows {
        version: 1,
        providers: vec![
            provider(1, "zed", "openai", 3, r#"{"gpt-4":"gpt-4-0613","beta":"beta","gpt-5*":"$1"}"#),
            provider(
                2,
                "ant",
                "anthropic",
                1,
                r#"{"claude":{"mapped_model":"claude-9","max_tokens":5,"weight":9},"beta":"b2"}"#,
            ),
            provider(3, "all", "openai", 2, "{}"),
        ],
        credentials: vec![CredentialRow {
            id: 1,
            credential_key: "00".repeat(32),
            name: "team".into(),
            allowed_models: allowed.into(),
            is_enabled: true,
            ..CredentialRow::default()
        }],
        ..Rows::default()
    };
    let (snapshot, problems) = compile(&rows, None, &|_| None);
    assert_eq!(problems, []);
    let lists = Lists::from([(3, Arc::from(["own".to_owned(), "beta".to_owned()])), (1, Arc::from(["no".to_owned()]))]);
    (snapshot, lists)
}

fn list(allowed: &str, what: Resource<'_>, query: &str, anthropic: bool) -> Result<Value, Error> {
    let (snapshot, lists) = snapshot(allowed);
    let caller = snapshot.credentials.values().next().cloned();
    let listing = Listing { snapshot: &snapshot, lists: &lists, caller: caller.as_deref(), prefix: Some("Proxy") };
    let body = listing.respond(what, Some(query), anthropic)?;
    Ok(serde_json::from_slice(&body).unwrap())
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn openai_lists_what_the_caller_may_use() {
    let rows: [(&str, &[&str]); 4] = [
        ("[]", &["beta", "claude", "gpt-4", "own"]),
        (r#"["gpt*"]"#, &["gpt-4"]),
        (r#"["own","claude"]"#, &["claude", "own"]),
        (r#"["no"]"#, &[]),
    ];
    for (allowed, expected) in rows {
        assert_eq!(ids(&list(allowed, Resource::Models, "", false).unwrap()), expected, "{allowed}");
    }
    let answer = list(r#"["own"]"#, Resource::Models, "limit=1", false).unwrap();
    let own = json!({"id": "own", "object": "model", "created": 1677610602, "owned_by": "system", "permission": [],
        "root": "own", "parent": null});
    assert_eq!(answer, json!({"object": "list", "data": [own]}));
}

#[test]
fn anthropic_lists_in_pages() {
    let rows: [(&str, &[&str], bool); 10] = [
        ("", &["beta", "claude", "gpt-4", "own"], false),
        ("limit=2", &["beta", "claude"], true),
        ("limit=0", &["beta"], true),
        ("limit=5000", &["beta", "claude", "gpt-4", "own"], false),
        ("limit=2&after_id=claude", &["gpt-4", "own"], false),
        ("limit=1&after_id=claude", &["gpt-4"], true),
        ("after_id=coconut", &["gpt-4", "own"], false),
        ("after_id=own", &[], false),
        ("limit=2&before_id=own", &["claude", "gpt-4"], true),
        ("limit=3&before_id=own", &["beta", "claude", "gpt-4"], false),
    ];
    for (query, expected, has_more) in rows {
        let answer = list("[]", Resource::Models, query, true).unwrap();
        assert_eq!(ids(&answer), expected, "{query}");
        assert_eq!(answer["has_more"], has_more, "{query}");
        assert_eq!(answer["first_id"].as_str(), expected.first().copied(), "{query}");
        assert_eq!(answer["last_id"].as_str(), expected.last().copied(), "{query}");
    }
    let answer = list("[]", Resource::Models, "limit=1", true).unwrap();
    let beta = json!({"type": "model", "id": "beta", "display_name": "beta", "created_at": "2023-02-28T18:56:42Z"});
    assert_eq!(answer["data"], json!([beta]));
    for query in ["limit=many", "limit=1.5", "after_id=a&before_id=b"] {
        assert_eq!(list("[]", Resource::Models, query, true).unwrap_err().kind, Kind::InvalidRequest, "{query}");
    }
}

#[test]
fn one_model_is_whatever_would_be_served() {
    let only = r#"["gpt-4"]"#;
    // allowed, path, name in the answer
    let rows = [
        ("[]", "gpt-4", Some("gpt-4")),
        ("[]", "Proxy/gpt-4", Some("Proxy/gpt-4")),
        ("[]", "Proxy%2Fgpt-4", Some("Proxy/gpt-4")),
        ("[]", "org/any%20name", Some("org/any name")),
        ("[]", "", None),
        (only, "gpt-4", Some("gpt-4")),
        (only, "Proxy/gpt-4", Some("Proxy/gpt-4")),
        (only, "Other/gpt-4", None),
        (only, "gpt-5", None),
    ];
    for (allowed, path, name) in rows {
        for anthropic in [false, true] {
            match (list(allowed, Resource::Model(path), "", anthropic), name) {
                (Ok(answer), Some(name)) => {
                    assert_eq!(answer["id"], name, "{path}");
                    assert_eq!(answer.get("type").is_some(), anthropic, "{path}");
                }
                (Err(error), None) => assert_eq!(error.kind, Kind::ModelNotFound, "{path}"),
                (answer, _) => panic!("{path}: {answer:?}"),
            }
        }
    }
}

fn info(allowed: &str, paged: bool, query: &str) -> Result<Value, Error> {
    list(allowed, Resource::Info { paged }, query, false)
}

fn pairs(answer: &Value) -> String {
    let pair = |entry: &Value| {
        let provider = entry["model_info"]["provider_name"].as_str().unwrap();
        format!("{provider}:{}", entry["model_name"].as_str().unwrap())
    };
    answer["data"].as_array().unwrap().iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[test]
fn info_shows_mappings_and_hides_addresses() {
    let answer = info("[]", false, "model=claude").unwrap();
    let claude = json!({
        "model_name": "claude",
        "litellm_params": {"model": "claude-9", "api_base": null, "custom_llm_provider": "anthropic"},
        "model_info": {"provider_name": "ant", "provider_type": "anthropic", "weight": 1, "is_pattern": false, "max_tokens": 5},
    });
    assert_eq!(answer, json!({"data": [claude]}));
    let everything = info("[]", true, "").unwrap().to_string() + &info("[]", false, "").unwrap().to_string();
    assert!(!everything.contains("internal.example") && !everything.contains("secret-key"));
}

#[test]
fn info_filters() {
    // allowed, paged, query, entries
    let rows = [
        ("[]", false, "", "zed:gpt-4 zed:beta zed:gpt-5* ant:claude ant:beta all:own all:beta"),
        ("[]", false, "litellm_model_id=b2", "ant:beta"),
        ("[]", false, "modelId=b2", "zed:gpt-4 zed:beta zed:gpt-5* ant:claude ant:beta all:own all:beta"),
        ("[]", false, "page=0&size=x", "zed:gpt-4 zed:beta zed:gpt-5* ant:claude ant:beta all:own all:beta"),
        ("[]", true, "modelId=b2", "ant:beta"),
        ("[]", true, "model=beta", "zed:beta ant:beta all:beta"),
        ("[]", true, "search=GPT", "zed:gpt-4 zed:gpt-5*"),
        ("[]", true, "search=", "zed:gpt-4 zed:beta zed:gpt-5* ant:claude ant:beta all:own all:beta"),
        ("[]", true, "sortBy=model_name", "zed:beta ant:beta all:beta ant:claude zed:gpt-4 zed:gpt-5* all:own"),
        ("[]", true, "sortBy=provider_name&search=beta", "all:beta ant:beta zed:beta"),
        ("[]", true, "sortBy=weight&sortOrder=desc&search=beta", "zed:beta all:beta ant:beta"),
        ("[]", true, "size=2&page=2", "zed:gpt-5* ant:claude"),
        ("[]", true, "size=2&page=9", ""),
        ("[]", true, "page=-3&size=0", "zed:gpt-4"),
        (r#"["gpt-5.1"]"#, false, "", "zed:gpt-5*"),
        (r#"["gpt-*"]"#, false, "", "zed:gpt-4 zed:gpt-5*"),
        (r#"["own"]"#, true, "", "all:own"),
    ];
    for (allowed, paged, query, expected) in rows {
        assert_eq!(pairs(&info(allowed, paged, query).unwrap()), expected, "{allowed} {query}");
    }
}

#[test]
fn info_pages_tell_where_they_stand() {
    // query, total, page, size, pages
    let rows = [
        ("", 7, 1, 50, 1),
        ("size=3", 7, 1, 3, 3),
        ("size=3&page=3", 7, 3, 3, 3),
        ("size=500", 7, 1, 100, 1),
        ("search=nothing", 0, 1, 50, 0),
    ];
    for (query, total, page, size, pages) in rows {
        let answer = info("[]", true, query).unwrap();
        let seen = ["total_count", "current_page", "size", "total_pages"].map(|name| answer[name].as_u64().unwrap());
        assert_eq!(seen, [total, page, size, pages], "{query}");
    }
    for query in ["page=x", "size=1e3", "page=99999999999999999999", "sortBy=size", "sortOrder=DESC"] {
        let error = info("[]", true, query).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidRequest, "{query}");
        assert!(error.note.contains(query.split('=').next().unwrap()), "{error}");
    }
}
