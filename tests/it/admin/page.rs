//! The operator's page at `/ui`: signing in, what a session may do, and that nothing shown is
//! markup.

use serde_json::json;

use super::{ADMIN_KEY, Admin, empty, new_provider};
use crate::support::*;

const READ_KEY: &str = "read-key-of-the-tests";

const PAGES: &[&str] = &[
    "",
    "/providers",
    "/providers/new",
    "/keys",
    "/keys/new",
    "/models",
    "/models/new",
    "/explain",
    "/groups",
    "/groups/new",
    "/budgets",
    "/budgets/new",
    "/logs",
    "/spend",
    "/playground",
    "/connect",
    "/prices",
    "/prices/edit",
    "/prices/edit?model=gpt-4o&above=9",
    "/settings",
    "/audit",
];

fn ask(client: &mut Client, request: &Outgoing) -> Response {
    client.ask(request);
    if request.bytes().starts_with(b"HEAD") { client.bodiless() } else { client.response() }
}

fn sign_in(client: &mut Client, key: &str) -> Response {
    let authorization = format!("Bearer {key}");
    ask(client, &get("/ui/session").method("POST").header("authorization", &authorization))
}

/// The cookie of a new session, as a browser sends it.
fn session(client: &mut Client, key: &str) -> String {
    let response = sign_in(client, key);
    assert_eq!(response.status, 204, "{}", response.text());
    let cookie = response.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn visit(client: &mut Client, cookie: &str, path: &str) -> Response {
    ask(client, &get(&format!("/ui{path}")).header("authorization", "").header("cookie", cookie))
}

#[test]
fn a_session_is_an_http_only_strict_cookie_and_ends_by_signing_out() {
    let gateway = empty().start();
    let mut client = gateway.client();
    let response = ask(&mut client, &get("/ui/keys?search=a%26b").header("authorization", ""));
    assert_eq!(response.status, 303);
    assert_eq!(response.header("location"), Some("/ui/sign-in?next=%2Fui%2Fkeys%3Fsearch%3Da%2526b"));

    let response = sign_in(&mut client, ADMIN_KEY);
    let cookie = response.header("set-cookie").unwrap().to_owned();
    for attribute in ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        assert!(cookie.split("; ").any(|part| part == attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let other = session(&mut client, ADMIN_KEY);
    assert_ne!(cookie, other);
    assert_eq!(visit(&mut client, cookie, "").status, 200);
    // The session also reads the admin interface.
    assert_eq!(
        ask(&mut client, &get("/admin/v1/providers").header("authorization", "").header("cookie", cookie)).status,
        200
    );

    let out = get("/ui/session").method("DELETE").header("authorization", "").header("cookie", cookie);
    assert_eq!(ask(&mut client, &out).status, 403);
    let out = out.header("x-llm-proxy-page", "1");
    let response = ask(&mut client, &out);
    assert_eq!(response.status, 204);
    assert!(response.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(visit(&mut client, cookie, "").status, 303);
    assert_eq!(
        ask(&mut client, &get("/admin/v1/providers").header("authorization", "").header("cookie", cookie)).status,
        401
    );
    assert_eq!(visit(&mut client, &other, "").status, 200);
}

#[test]
fn wrong_keys_are_slowed_down_as_at_the_admin_interface() {
    let gateway = empty().workers(1).start();
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(sign_in(&mut client, "wrong").status, 401);
    }
    let response = sign_in(&mut client, ADMIN_KEY);
    assert_eq!(response.status, 429, "{}", response.text());
    assert!(response.header("retry-after").is_some() && response.header("set-cookie").is_none());
    // A guessed cookie is no session.
    assert_eq!(visit(&mut client, "llm_proxy_session=guess", "").status, 303);
}

#[test]
fn another_site_changes_nothing() {
    let gateway = empty().start();
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    let create = get("/admin/v1/providers").method("POST").header("authorization", "").header("cookie", &cookie);
    let create = create.body(new_provider("a").to_string());
    let response = ask(&mut client, &create);
    assert_eq!((response.status, response.json()["error"]["code"].as_str()), (403, Some("csrf")));
    // A GET that sends requests to providers is a change as well.
    assert_eq!(
        ask(&mut client, &get("/admin/v1/health/providers/1").header("authorization", "").header("cookie", &cookie))
            .status,
        403
    );
    assert_eq!(ask(&mut client, &create.header("x-llm-proxy-page", "1")).status, 201);
    // No page may be read by another site, or stand in its frames.
    let response = ask(
        &mut client,
        &get("/ui").header("authorization", "").header("cookie", &cookie).header("origin", "https://evil.test"),
    );
    assert_eq!(response.header("access-control-allow-origin"), None);
    assert!(response.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    // Changes are made by the admin interface alone.
    let post = get("/ui/providers")
        .method("POST")
        .header("authorization", "")
        .header("cookie", &cookie)
        .header("x-llm-proxy-page", "1");
    assert_eq!(ask(&mut client, &post).status, 405);
    // What a path does not take is no matter of keys.
    for (method, path, status) in
        [("POST", "/ui/sign-in", 405), ("PUT", "/ui/session", 405), ("GET", "/ui/assets/page-0.css", 404)]
    {
        let refused = ask(&mut client, &get(path).method(method));
        assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (status, Some("invalid_request_error")));
        assert_eq!(refused.header("allow").is_some(), status == 405, "{path}");
    }
}

#[test]
fn a_read_only_key_changes_nothing() {
    let gateway = empty().env("ADMIN_READ_KEY", READ_KEY).start();
    let mut client = gateway.client();
    Admin::of(&gateway).expect(201, "POST", "/providers", new_provider("a"));
    let cookie = session(&mut client, READ_KEY);
    for path in PAGES {
        let response = visit(&mut client, &cookie, path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.text().contains("read-only key"), "{path}");
    }
    let bearer = format!("Bearer {READ_KEY}");
    for (cookie, authorization) in [(cookie.as_str(), ""), ("", bearer.as_str())] {
        let request = |method: &str, path: &str| {
            get(&format!("/admin/v1{path}"))
                .method(method)
                .header("cookie", cookie)
                .header("authorization", authorization)
                .header("x-llm-proxy-page", "1")
        };
        assert_eq!(ask(&mut client, &request("GET", "/providers")).status, 200);
        assert_eq!(ask(&mut client, &request("POST", "/auth/validate")).status, 200);
        assert_eq!(ask(&mut client, &request("POST", "/explain").body(r#"{"model":"m"}"#)).status, 200);
        for (method, path) in [
            ("POST", "/providers"),
            ("PUT", "/providers/1"),
            ("DELETE", "/providers/1"),
            ("POST", "/config/reload"),
            ("GET", "/health/providers/1"),
        ] {
            let response = ask(&mut client, &request(method, path).body("{}"));
            assert_eq!(response.status, 403, "{method} {path}: {}", response.text());
            assert_eq!(response.json()["error"]["code"], "read_only_key");
        }
    }
}

#[test]
fn nothing_that_is_shown_is_markup() {
    const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let fake = Fake::answering(|_| answer::json(400, json!({ "error": { "message": MARKUP } }).to_string()));
    let gateway = empty()
        .provider(chat(&fake))
        .credential(credential("sk-client"))
        .env("REQUEST_LOG_BODY_ENABLED", "true")
        .start();
    let mut client = gateway.client();
    let mut admin = Admin::of(&gateway);
    let key = admin.expect(201, "POST", "/credentials", json!({ "name": MARKUP, "allowed_models": [MARKUP] }));
    let id = key["credential"]["id"].as_i64().unwrap();
    let named = json!({ "model": MARKUP, "messages": [{ "role": "user", "content": MARKUP }] });
    ask(&mut client, &post("/v1/chat/completions").key("sk-client").body(named.to_string()));
    eventually("the request is in the log", || admin.get("/logs")["total"] == 1);
    let entry = admin.get("/logs")["items"][0]["id"].as_i64().unwrap();

    let cookie = session(&mut client, ADMIN_KEY);
    let query = "?search=%3Cscript%3Ealert(1)%3C%2Fscript%3E&model=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&client=%3Cscript%3E";
    let own = [format!("/keys/{id}"), format!("/logs/{entry}"), "/providers/1".to_owned(), "/%3Cscript%3E".to_owned()];
    let paths = PAGES.iter().map(|path| (*path).to_owned()).chain(own);
    for path in paths {
        let response = visit(&mut client, &cookie, &format!("{path}{query}"));
        let text = response.text();
        assert!(!text.contains("<script>") && !text.contains("<img"), "{path}: {text}");
    }
    let text = visit(&mut client, &cookie, &format!("/logs/{entry}")).text().to_owned();
    assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
}

#[test]
fn every_page_is_complete_by_itself() {
    let gateway = empty().start();
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    let mut assets = Vec::new();
    for path in PAGES.iter().copied().chain(["/sign-in"]) {
        let response = visit(&mut client, &cookie, path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let text = response.text();
        // The policy forbids these, so that they would have no effect.
        for inline in ["<style", " style=\"", " onclick=", " onload=", "javascript:"] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
        for mark in ["src=\"", "<link rel=\"stylesheet\" href=\"", "type=\"image/svg+xml\" href=\""] {
            for (_, rest) in text.match_indices(mark).map(|(at, mark)| text.split_at(at + mark.len())) {
                let address = rest.split('"').next().unwrap();
                assert!(address.starts_with("/ui/assets/"), "{path} loads {address}");
                assets.push(address.to_owned());
            }
        }
    }
    assets.sort();
    assets.dedup();
    // Scripts import others by their address.
    let mut at = 0;
    while let Some(address) = assets.get(at).cloned() {
        at += 1;
        let script = ask(&mut client, &get(&address)).text().to_owned();
        let imports = script.split("from \"").skip(1).filter_map(|rest| rest.split('"').next());
        for import in imports.filter(|import| import.starts_with(['.', '/'])) {
            assert!(import.starts_with("/ui/assets/"), "{address} imports {import}");
            if !assets.iter().any(|known| known == import) {
                assets.push(import.to_owned());
            }
        }
    }
    assert_eq!(assets.len(), 8, "{assets:?}");
    for address in assets {
        let response = ask(&mut client, &get(&address));
        assert_eq!(response.status, 200, "{address}");
        assert_eq!(response.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let text = response.text().replace("http://www.w3.org/2000/svg", "");
        // Types in comments are imported by nobody.
        let is_code = |line: &&str| !line.trim_start().starts_with("/*") && !line.trim_start().starts_with('*');
        let text = text.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        for outside in ["http://", "https://", "url(", "@import", "import("] {
            assert!(!text.contains(outside), "{address} has {outside}");
        }
        let packed = ask(&mut client, &get(&address).header("accept-encoding", "br, gzip"));
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
    }
    assert_eq!(ask(&mut client, &get("/ui/assets/page-0000000000000000.js")).status, 404);
    assert_eq!(visit(&mut client, &cookie, "/nothing").status, 404);
}

#[test]
fn the_page_is_on_the_listener_of_the_admin_interface_alone() {
    let gateway = empty().env("ADMIN_ADDR", "127.0.0.1:0").start();
    let mut client = gateway.client();
    for path in ["/ui", "/ui/sign-in", "/ui/session"] {
        assert_eq!(ask(&mut client, &get(path)).status, 404, "{path}");
    }
}

#[test]
fn a_first_visit_leads_to_a_first_answer() {
    let fake = Fake::answering(|_| {
        answer::json(
            200,
            r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
        )
    });
    let gateway = empty().start();
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    let text = visit(&mut client, &cookie, "").text().to_owned();
    assert!(text.contains("Three steps to the first answer"), "{text}");
    let mut change = |path: &str, body: serde_json::Value| {
        let request =
            get(&format!("/admin/v1{path}")).method("POST").header("authorization", "").header("cookie", &cookie);
        let response = ask(&mut client, &request.header("x-llm-proxy-page", "1").body(body.to_string()));
        assert_eq!(response.status, 201, "{}", response.text());
        response.json()
    };
    change("/providers", json!({ "provider_key": "own", "api_base": fake.url("/v1"), "model_mapping": { "m": "m" } }));
    let key = change("/credentials", json!({ "name": "first" }))["key"].as_str().unwrap().to_owned();
    let answered = ask(
        &mut client,
        &post("/v1/chat/completions").key(&key).body(r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#),
    );
    assert_eq!(answered.status, 200, "{}", answered.text());
    let mut admin = Admin::of(&gateway);
    eventually("the request is in the log", || admin.get("/logs")["total"] == 1);
    let text = visit(&mut client, &cookie, "").text().to_owned();
    assert!(!text.contains("Three steps") && text.contains("own"), "{text}");
    assert!(visit(&mut client, &cookie, "/logs").text().contains("first"));
    eventually("the request is summed up", || visit(&mut client, &cookie, "/spend").text().contains("first"));
    assert!(visit(&mut client, &cookie, "/audit").text().contains("credential.create"));
    let found = visit(&mut client, &cookie, "/audit?action=provider&object=OWN").text().to_owned();
    assert!(found.contains("provider.create") && !found.contains("credential.create"), "{found}");
    assert!(visit(&mut client, &cookie, "/audit?actor=cli").text().contains("No change fits these filters."));
    // The same numbers by the interface, as JSON and as CSV.
    let spend = admin.get("/spend?by=model");
    assert_eq!((&spend["rows"][0]["group"], &spend["rows"][0]["input_tokens"]), (&json!("m"), &json!(3)));
    let csv = ask(
        &mut client,
        &get("/admin/v1/spend?by=day&format=csv").header("authorization", "").header("cookie", &cookie),
    );
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text().starts_with("day,requests,errors,input_tokens,output_tokens,cost_usd,"), "{}", csv.text());
    assert!(admin.get("/logs/stats")["duration_ms"]["p50"].is_number());
}

#[test]
fn settings_are_shown_without_secrets() {
    let gateway = empty().env("ADMIN_READ_KEY", READ_KEY).env("PROVIDER_SUFFIX", "Proxy").start();
    let mut admin = Admin::of(&gateway);
    let settings = admin.get("/config/settings");
    let of =
        |name: &str| settings["settings"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!((&of("ADMIN_KEY")["value"], &of("ADMIN_READ_KEY")["value"]), (&json!("***"), &json!("***")));
    assert_eq!(of("MODEL_PREFIX")["value"], "Proxy");
    assert_eq!(of("MODEL_PREFIX")["source"], "PROVIDER_SUFFIX in the environment");
    assert!(!settings.to_string().contains(ADMIN_KEY) && !settings.to_string().contains(READ_KEY));
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    let text = visit(&mut client, &cookie, "/settings").text().to_owned();
    assert!(text.contains("MODEL_PREFIX") && !text.contains(ADMIN_KEY) && !text.contains(READ_KEY));
}

/// The page of a row that there is not says so, with the status of the interface.
#[test]
fn pages_of_missing_rows_are_not_found() {
    let gateway = empty().start();
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    for kind in ["providers", "models", "keys", "groups", "budgets", "logs"] {
        let response = visit(&mut client, &cookie, &format!("/{kind}/999"));
        let (status, text) = (response.status, response.text());
        let list = format!("<a href=\"/ui/{kind}\">To the list</a>");
        assert_eq!(status, 404, "{kind}: {text}");
        assert!(text.contains("not found</h1>") && text.contains(&list), "{text}");
    }
    // A number that no row can have.
    assert_eq!(visit(&mut client, &cookie, "/keys/99999999999999999999").status, 400);
    for path in ["/providers/x", "/audit/1", "/nothing"] {
        assert_eq!(visit(&mut client, &cookie, path).status, 404, "{path}");
    }
}

/// Without a log nobody knows of the first request, so that nothing asks for it for ever.
#[test]
fn a_gateway_without_a_log_says_so() {
    let steps = |log: &str| {
        let store = empty().provider(provider("own", "openai", "http://127.0.0.1:9/v1")).credential(credential(KEY));
        let gateway = store.env("REQUEST_LOG_ENABLED", log).start();
        let mut client = gateway.client();
        let cookie = session(&mut client, ADMIN_KEY);
        ["", "/logs"].map(|path| {
            let text = visit(&mut client, &cookie, path).text().to_owned();
            (text.contains("Three steps"), text.contains("Requests are not logged"))
        })
    };
    assert_eq!(steps("true"), [(true, false), (false, false)]);
    assert_eq!(steps("off"), [(false, true), (false, true)]);
}

/// A search by a text goes through 100,000 changes, and says how it goes on.
#[test]
fn a_search_of_the_audit_log_goes_on_where_it_ended() {
    let gateway = empty().start();
    let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    file.execute_batch(
        "DELETE FROM audit_log;
         WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 100003)
         INSERT INTO audit_log (id, timestamp, actor, action, object, object_id)
         SELECT id, 1800000000000000 + id, iif(id <= 3, 'early', 'bulk'), 'provider.update', 'p', 1 FROM n",
    )
    .unwrap();
    let mut admin = Admin::of(&gateway);
    let first = admin.get("/audit?actor=early");
    assert_eq!((&first["entries"], &first["searched_to"]), (&json!([]), &json!(4)));
    let rest = admin.get("/audit?actor=early&before=4");
    assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["searched_to"]), (3, &json!(null)));
    // Without a text nothing has to be searched.
    assert_eq!(admin.get("/audit?limit=5")["searched_to"], json!(null));
    let mut client = gateway.client();
    let cookie = session(&mut client, ADMIN_KEY);
    let page = visit(&mut client, &cookie, "/audit?actor=early").text().to_owned();
    assert!(page.contains("None of the changes that were searched fits these filters."), "{page}");
    assert!(page.contains("Search older changes") && page.contains("before=4"), "{page}");
    let page = visit(&mut client, &cookie, "/audit?actor=early&before=4").text().to_owned();
    assert!(page.contains("provider.update") && !page.contains("Search older changes"), "{page}");
}
