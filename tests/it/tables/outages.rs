//! What happens to rows when something is wrong, or too much.

use std::time::{SystemTime, UNIX_EPOCH};

use llm_proxy::control_plane::store::blocking::Blocking;
use llm_proxy::control_plane::store::logs::{ErrorRow, RequestRow, Row};

use super::*;
use crate::support::postgres::Server;

fn dropped(gateway: &Gateway, sink: &str, reason: &str) -> f64 {
    let series = format!("llm_proxy_sink_records_dropped_total{{sink=\"{sink}\",reason=\"{reason}\"}}");
    gateway.metric(&series).unwrap_or_default()
}

#[test]
fn too_many_a_second_are_counted_and_gone() {
    let upstream = scripted();
    let gateway = Place(None).with(vec![chat(&upstream)]).env("REQUEST_LOG_MAX_PER_SEC", 1).start();
    let mut received = 0;
    eventually("rows are dropped", || {
        ask(&gateway, &chat_request("plain"));
        received += 1;
        dropped(&gateway, "request_log", "rate") > 0.0
    });
    eventually("the rest is written", || {
        let written = read(&gateway, "/logs")["total"].as_f64().unwrap();
        written > 0.0 && written + dropped(&gateway, "request_log", "rate") == f64::from(received)
    });
}

/// Of many requests in a second only some are told in detail; those that fail are among them, with
/// every try.
#[test]
fn failures_are_recorded_in_full_under_load() {
    const FAILED: [(&str, u64); 3] = [("bad", 400), ("broken", 500), ("unknown", 404)];
    let (first, second) = (scripted(), scripted());
    let model_mapping = r#"{"plain":"plain","bad":"bad","broken":"broken"}"#;
    let rows = ["chat", "second"].into_iter().zip([&first, &second]);
    let row = |(key, fake): (&str, &Fake)| ProviderRow {
        provider_key: key.into(),
        model_mapping: model_mapping.into(),
        ..chat(fake)
    };
    let rows: Vec<_> = rows.map(row).collect();
    let gateway = Place(None).with(rows).env("REQUEST_LOG_MAX_PER_SEC", 50).start();
    let mut client = gateway.client();
    let mut send = |request: Outgoing| {
        client.ask(&request.header("user-agent", "curl/8.5.0"));
        client.response()
    };
    eventually("requests are left out", || {
        (0..100).for_each(|_| assert_eq!(send(chat_request("plain")).status, 200));
        FAILED.iter().for_each(|(model, status)| assert_eq!(u64::from(send(chat_request(model)).status), *status));
        dropped(&gateway, "request_log", "rate") >= 50.0
    });
    let displayed = |list: &str, id: &Value| read(&gateway, &format!("{list}/{id}"));
    for (model, status) in FAILED {
        let mut row = Value::Null;
        eventually("the failure has its row", || {
            row = read(&gateway, &format!("/logs?model={model}"))["items"][0].clone();
            row.is_object()
        });
        assert_eq!(row["status_code"], status);
        let row = displayed("/logs", &row["id"]);
        assert!(row["request_headers"].as_str().unwrap().contains("curl/8.5.0"), "{row}");
        // The provider's own words, where the gateway has none.
        assert!(row["error_message"].as_str().is_some_and(|text| !text.is_empty()), "{row}");
        let list = format!("/error-logs?request_id={}", row["request_id"].as_str().unwrap());
        let list =
            items(&gateway, &list, ["unknown", "bad", "broken"].iter().position(|known| *known == model).unwrap());
        let mut tries: Vec<_> = list.iter().map(|item| displayed("/error-logs", &item["id"])).collect();
        tries.sort_by_key(|row| row["provider_name"].to_string());
        let tries = tries.iter().map(|row| {
            assert_eq!(row["request_headers"]["user-agent"], "curl/8.5.0", "{row}");
            (row["provider_name"].as_str().unwrap(), row["response_status_code"].as_u64().unwrap())
        });
        let tries: Vec<_> = tries.collect();
        match model {
            "bad" => assert_eq!((tries.len(), tries[0].1), (1, 400)),
            "broken" => assert_eq!(tries, [("chat", 500), ("second", 500)]),
            _ => assert!(tries.is_empty()),
        }
    }
}

#[test]
fn a_database_that_is_gone_costs_rows_and_no_request() {
    let server = Server::start();
    let place = Place(Some(Db::on(&server)));
    let upstream = scripted();
    let gateway = place.with(vec![chat(&upstream)]).start();
    let works =
        || ask(&gateway, &chat_request("bad")).0.status == 400 && ask(&gateway, &chat_request("plain")).0.status == 200;
    assert!(works());
    items(&gateway, "/logs", 2);
    server.crash();
    eventually("rows are lost", || {
        assert!(works());
        dropped(&gateway, "request_log", "store") > 0.0 && dropped(&gateway, "error_log", "store") > 0.0
    });
    assert_eq!(admin(&gateway, "GET", "/logs", Value::Null).status, 503);
    gateway.expect_log(&["rows of request_logs can't be written"]);
    server.resume();
    eventually("rows are written again", || {
        assert!(works());
        let list = admin(&gateway, "GET", "/logs", Value::Null);
        list.status == 200 && list.json()["total"].as_i64().unwrap() > 2
    });
}

#[test]
fn what_waits_is_written_at_the_end() {
    on_either(|place| {
        let upstream = scripted();
        let mut gateway = place.with(vec![chat(&upstream)]).start();
        for _ in 0..70 {
            ask(&gateway, &chat_request("plain"));
        }
        gateway.term();
        assert_eq!(gateway.wait().code(), Some(0));
        let store = place.0.as_ref().map_or_else(|| gateway.store(), Db::store);
        assert_eq!(count(&store), 70);
    });
}

fn count(store: &Blocking) -> u64 {
    let filter = Default::default();
    let stats = store.wait(store.store().tables().unwrap().stats(filter)).unwrap();
    stats.requests.unsigned_abs()
}

#[test]
fn rows_that_are_too_old_are_removed() {
    on_either(|place| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        let days = |days: i64| now - days * 86_400_000_000;
        let dir = tempfile::tempdir().unwrap();
        let setup = place.with(Vec::new()).env("REQUEST_LOG_RETENTION_DAYS", 2);
        let (store, setup) = match &place.0 {
            Some(db) => (db.store(), setup),
            None => (Blocking::embedded(dir.path()).unwrap(), setup.env("DATA_DIR", dir.path().display())),
        };
        let shared = store.store();
        let tables = shared.tables().unwrap();
        let row = |timestamp| RequestRow { timestamp, request_id: "r".into(), ..RequestRow::default() };
        store.wait(tables.insert(RequestRow::TABLE, [3, 1, 90].map(days).map(row).map(Row::values).to_vec())).unwrap();
        let row = |timestamp| ErrorRow {
            timestamp,
            request_id: "r".into(),
            error_category: "x".into(),
            ..ErrorRow::default()
        };
        store.wait(tables.insert(ErrorRow::TABLE, [3, 1].map(days).map(row).map(Row::values).to_vec())).unwrap();
        let gateway = setup.start();
        items(&gateway, "/logs", 1);
        items(&gateway, "/error-logs", 1);
    });
}

#[test]
fn a_configuration_file_has_no_tables() {
    let upstream = scripted();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("llm-proxy.yaml");
    let base = upstream.url("/v1");
    let text = format!(
        "providers:\n  - provider_key: chat\n    api_base: {base}\n    api_key: k\ncredentials:\n  - name: c\n    key: {KEY}\n"
    );
    std::fs::write(&path, text).unwrap();
    let gateway = Setup::new().no_credentials().env("CONFIG_FILE", path.display()).env("ADMIN_KEY", ADMIN_KEY).start();
    assert_eq!(ask(&gateway, &chat_request("plain")).0.status, 200);
    assert_eq!(admin(&gateway, "GET", "/logs", Value::Null).status, 409);
    gateway.expect_log(&["no rows of requests are kept (REQUEST_LOG_ENABLED)"]);
}

#[test]
fn disabled_request_log_writes_no_rows() {
    let upstream = scripted();
    let gateway = Place(None).with(vec![chat(&upstream)]).env("REQUEST_LOG_ENABLED", false).start();
    ask(&gateway, &chat_request("plain"));
    let mut gateway = gateway;
    gateway.term();
    gateway.wait();
    assert_eq!(count(&gateway.store()), 0);
}
