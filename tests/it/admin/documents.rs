//! The OpenAPI document and the page that shows it.

use super::*;
use crate::support;

/// What the page sends when nothing was changed is answered.
#[test]
fn examples_of_the_docs_page_work() {
    let provider = Fake::answering(|_| answer::json(200, support::sample::CHAT.answer));
    let gateway = Setup::new().provider(every_format(&provider)).start();
    let mut client = gateway.client();
    client.ask(&get("/api-docs/openapi.json"));
    let document = client.response().json();
    for (path, operation) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/"))
    {
        let Some(body) = operation.get("post").and_then(|post| post.get("requestBody")) else { continue };
        let example = body["content"]["application/json"]["example"].to_string();
        let response = client.call(path, &example);
        assert!(response.status != 400 && response.status != 404, "{path} {example}: {}", response.text());
    }
}

#[test]
fn openapi_and_docs_page_need_no_other_host() {
    let gateway = empty().start();
    let mut client = gateway.client();
    client.ask(&get("/api-docs/openapi.json"));
    let document = client.response();
    assert_eq!(document.header("content-type"), Some("application/json"));
    let document = document.json();
    assert_eq!((&document["info"]["title"], &document["openapi"]), (&json!("LLM Proxy API"), &json!("3.1.0")));
    assert!(document["paths"]["/admin/v1/providers/{provider_id}"]["put"].is_object());

    // Client paths have fields, an example that works, and the form of the response.
    for (path, operation) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/"))
    {
        for operation in operation.as_object().unwrap().values() {
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            assert!(content.values().all(|one| one["schema"].is_object()), "{path}");
            let Some(body) = operation.get("requestBody") else { continue };
            let body = &body["content"]["application/json"];
            for field in body["schema"]["required"].as_array().unwrap() {
                assert!(!body["example"][field.as_str().unwrap()].is_null(), "{path}: {field}");
                assert!(
                    body["schema"]["properties"][field.as_str().unwrap()]["description"].is_string(),
                    "{path}: {field}"
                );
            }
        }
    }
    // Every path of the reference is there.
    let reference = include_str!("../../../docs/reference/endpoints.md");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut count = 0;
    let is_page = |name: &str| ["/ui", "/docs", "openapi.json"].iter().any(|end| name.ends_with(end));
    for (name, _) in rows.filter(|(name, _)| !is_page(name)) {
        let (method, path) = name.split_once(' ').unwrap();
        assert!(document["paths"][path][method.to_ascii_lowercase()].is_object(), "{name}");
        count += 1;
    }
    assert!(count > 20, "{count}");

    client.ask(&get("/docs"));
    let page = client.response();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for other in ["src=\"http", "href=\"http", "url(", "@import", "//cdn"] {
        assert!(!page.text().contains(other), "{other}");
    }
    assert!(page.text().contains("api-docs/openapi.json") && page.text().contains("TextDecoderStream"));
    for path in ["/swagger-ui", "/redoc", "/swagger-ui/"] {
        client.ask(&get(path));
        let response = client.response();
        assert_eq!((response.status, response.header("location")), (307, Some("/docs")), "{path}");
    }
}
