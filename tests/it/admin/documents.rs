//! The OpenAPI document and the page that shows it.

use super::*;

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

    client.ask(&get("/docs"));
    let page = client.response();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for other in ["src=\"http", "href=\"http", "url(", "@import", "//cdn"] {
        assert!(!page.text().contains(other), "{other}");
    }
    assert!(page.text().contains("api-docs/openapi.json"));
    for path in ["/swagger-ui", "/redoc", "/swagger-ui/"] {
        client.ask(&get(path));
        let response = client.response();
        assert_eq!((response.status, response.header("location")), (307, Some("/docs")), "{path}");
    }
}
