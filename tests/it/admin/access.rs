//! Access to the admin interface, and its listeners.

use super::*;

#[test]
fn without_an_admin_key_the_admin_api_is_closed() {
    let gateway = Setup::new().start();
    let mut admin = Admin::of(&gateway);
    let (status, message) = error(&admin.call("GET", "/providers", Value::Null));
    assert_eq!((status, message.as_str()), (503, "Admin API not configured. Set ADMIN_KEY environment variable."));
}

#[test]
fn admin_api_demands_the_key() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let valid = admin.expect(200, "POST", "/auth/validate", Value::Null);
    assert_eq!(valid, json!({ "valid": true, "message": "Admin key is valid" }));

    let rows = [
        ("", "Missing or invalid authorization header"),
        ("Basic x", "Missing or invalid authorization header"),
        ("Bearer wrong", "Invalid admin key"),
        ("bEaReR admin-key-of-the-tests2", "Invalid admin key"),
    ];
    for (authorization, expected) in rows {
        let response = admin.ask(&with_authorization("GET", "/providers", authorization));
        assert_eq!(error(&response), (401, expected.to_owned()), "{authorization}");
    }
    let response = admin.ask(&with_authorization("GET", "/providers", "bEaReR admin-key-of-the-tests"));
    assert_eq!(response.status, 200);
    // A client's key is none.
    let response = admin.ask(&with_authorization("POST", "/auth/validate", "Bearer sk-test"));
    let body = response.json();
    assert_eq!(
        (response.status, &body["valid"], &body["detail"]["message"]),
        (401, &json!(false), &json!("Invalid admin key"))
    );
}

#[test]
fn guessing_the_admin_key_is_throttled_per_address() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let response = admin.ask(&with_authorization("GET", "/providers", "Bearer guess"));
        statuses.push(response.status);
        if response.status == 429 {
            assert!(response.header("retry-after").unwrap().parse::<u64>().unwrap() <= 5);
        }
    }
    assert_eq!(statuses[..5], [401; 5]);
    assert!(statuses[5..].contains(&429), "{statuses:?}");
    // Clients are served whatever happens here.
    admin.0.ask(&get("/health"));
    assert_eq!(admin.0.response().status, 200);
}

#[test]
fn a_body_without_a_key_is_not_read() {
    let gateway = empty().start();
    let mut client = gateway.client();
    client.send("POST /admin/v1/providers HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n{");
    assert_eq!(client.response().status, 401);
    client.expect_closed();
    let mut client = gateway.client();
    let key = format!("authorization: Bearer {ADMIN_KEY}");
    client.send(format!("POST /admin/v1/providers HTTP/1.1\r\nhost: x\r\n{key}\r\ncontent-length: 4194305\r\n\r\n"));
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.text().contains("admin interface takes"), "{}", response.text());
}

#[test]
fn admin_listener_can_be_separate() {
    let gateway = empty().env("ADMIN_ADDR", "127.0.0.1:0").start();
    let mut public = Admin::of(&gateway);
    assert_eq!(public.call("GET", "/providers", Value::Null).status, 404);
    let line = gateway.log().into_iter().find(|line| line.contains("admin interface: http://")).unwrap();
    let addr = line.split("http://").nth(1).unwrap();
    let end = addr.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).unwrap_or(addr.len());
    let mut private = Admin(Client::connect(addr[..end].parse().unwrap()));
    assert_eq!(private.get("/providers")["providers"], json!([]));
    private.expect(201, "POST", "/credentials", json!({ "key": "sk-a", "name": "a" }));
    public.0.ask(&get("/v1/models").key("sk-a"));
    assert_eq!(public.0.response().status, 200);
    // Metrics name keys and costs.
    let metrics = |client: &mut Client| {
        client.ask(&get("/metrics"));
        client.response().status
    };
    assert_eq!((metrics(&mut public.0), metrics(&mut private.0)), (404, 200));
    let gateway = empty().env("ADMIN_ADDR", "127.0.0.1:0").env("METRICS_PUBLIC", "true").start();
    assert_eq!(metrics(&mut gateway.client()), 200);
}

#[test]
fn paths_and_methods() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let rows = [
        ("GET", "/nothing", 404, "no such path: /admin/v1/nothing"),
        ("GET", "", 404, "no such path"),
        ("GET", "/providers/x", 400, "provider_id must be a whole number"),
        ("GET", "/providers/7", 404, "there is no provider with id 7"),
        ("GET", "/credentials/7", 404, "there is no credential with id 7"),
        ("DELETE", "/providers/7", 404, "there is no provider with id 7"),
        ("POST", "/providers/7", 405, "this path takes GET, PUT, PATCH, DELETE"),
        ("GET", "/providers?size=0", 400, "size must be a whole number from 1 to 1000"),
    ];
    for (method, path, status, message) in rows {
        let response = admin.call(method, path, Value::Null);
        let (seen, reported_text) = error(&response);
        assert!(seen == status && reported_text.contains(message), "{method} {path}: {seen} {reported_text}");
        assert_eq!(response.header("allow").is_some(), status == 405);
    }
    admin.0.ask(&request("HEAD", "/providers"));
    assert_eq!(admin.0.bodiless().status, 200);
    // The page of v1's web interface may ask.
    let page = "http://localhost:5173";
    let response = admin.ask(&request("OPTIONS", "/providers").header("origin", page));
    assert_eq!((response.status, response.header("access-control-allow-origin")), (204, Some(page)));
}
