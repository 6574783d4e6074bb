//! What rows say, and how they are found.

use serde_json::json;

use super::*;

#[test]
fn a_row_for_each_request_on_either_store() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        let version = read(&gateway, "/config/version")["version"].clone();
        let agent = |request: Outgoing| request.header("user-agent", "curl/8.5.0").header("cookie", "secret");
        let (_, whole) = ask(&gateway, &agent(chat_request("plain")));
        let stream = post("/v1/chat/completions").body(r#"{"model":"stream","messages":[],"stream":true}"#);
        let (_, stream) = ask(&gateway, &agent(stream));
        let (refused, bad) = ask(&gateway, &agent(chat_request("bad")));
        assert_eq!(refused.status, 400);
        // Strangers, listings and unknown paths are no rows.
        for request in [chat_request("plain").key("wrong"), get("/v1/models"), get("/nothing")] {
            ask(&gateway, &request);
        }
        let rows = items(&gateway, "/logs", 3);
        let ids: Vec<_> = rows.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [&whole, &stream, &bad]);

        let row = &rows[0];
        let expected = json!({
            "id": row["id"], "timestamp": row["timestamp"], "request_id": whole, "endpoint": "/v1/chat/completions",
            "credential_name": KEY, "model_requested": "plain", "model_mapped": "plain", "provider_name": "chat",
            "provider_type": "openai", "client_protocol": "openai", "provider_protocol": "openai", "is_streaming": false,
            "status_code": 200, "input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100,
            "total_duration_ms": row["total_duration_ms"], "ttft_ms": null, "error_category": null, "error_message": null,
            "client": "curl", "cost": null, "session": null, "tags": [],
        });
        assert_eq!(row, &expected);
        assert!(row["timestamp"].as_str().unwrap().starts_with("20") && row["total_duration_ms"].is_i64());
        assert_eq!((&rows[1]["is_streaming"], &rows[1]["total_tokens"]), (&json!(true), &json!(9)));
        assert!(rows[1]["ttft_ms"].is_i64(), "{}", rows[1]);
        assert_eq!((&rows[2]["status_code"], &rows[2]["error_category"]), (&json!(400), &json!("provider_4xx")));

        let detail = read(&gateway, &format!("/logs/{}", row["id"]));
        let headers: Value = serde_json::from_str(detail["request_headers"].as_str().unwrap()).unwrap();
        assert_eq!((&headers["authorization"], &headers["cookie"]), (&json!("***"), &json!("***")));
        assert_eq!((&detail["request_body"], &detail["response_body"]), (&Value::Null, &Value::Null));

        let errors = items(&gateway, "/error-logs", 1);
        let error = &errors[0];
        let seen = ["request_id", "error_category", "error_code", "provider_name", "model_mapped", "client"]
            .map(|name| &error[name]);
        assert_eq!(
            seen,
            [&json!(bad), &json!("provider_4xx"), &json!(400), &json!("chat"), &json!("bad"), &json!("curl")]
        );
        let detail = read(&gateway, &format!("/error-logs/{}", error["id"]));
        assert_eq!(detail["provider_request_headers"]["authorization"], "***");
        assert_eq!(detail["provider_request_headers"]["url"], format!("{}/chat/completions", upstream.url("/v1")));
        assert_eq!((&detail["response_status_code"], &detail["request_body"]), (&json!(400), &Value::Null));

        assert_eq!(read(&gateway, "/config/version")["version"], version, "logs are no change of the configuration");
    });
}

#[test]
fn filters_sorting_pages_and_sums() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        for model in ["a", "b", "b", "bad", "broken"] {
            ask(&gateway, &chat_request(model));
        }
        let stream = post("/v1/chat/completions").body(r#"{"model":"s","messages":[],"stream":true}"#);
        let stream = stream.header("session_id", "s-1").header("x-llm-proxy-tags", "night, batch,night");
        let (_, id) = ask(&gateway, &stream);
        items(&gateway, "/logs", 6);
        // query, models that are found
        let rows: &[(&str, &[&str])] = &[
            ("model=b", &["b", "b"]),
            ("status_code=400", &["bad"]),
            ("is_streaming=true", &["s"]),
            ("error_only=true", &["bad", "broken"]),
            ("provider_name=nobody", &[]),
            ("credential_name=sk-test&model=a", &["a"]),
            ("start_time=2999-01-01T00:00:00Z", &[]),
            ("end_time=1999-01-01", &[]),
            ("start_time=1999-01-01T00:00:00%2B00:00&end_time=2999-01-01T00:00:00.000Z&model=a", &["a"]),
            ("page_size=2&page=2", &["b", "bad"]),
            ("page=9", &[]),
            ("sort_by=status_code&sort_order=desc&page_size=2", &["broken", "bad"]),
            ("sort_by=output_tokens&sort_order=asc&error_only=false&is_streaming=true", &["s"]),
            ("request_id=%00", &[]),
            ("session=s-1", &["s"]),
            ("tag=night", &["s"]),
            ("tag=batch&session=s-1", &["s"]),
            ("tag=nigh", &[]),
            ("tag=%25", &[]),
            ("error=SUCH", &["bad"]),
            ("error=s_ch", &[]),
            ("error=%00", &[]),
        ];
        for (query, models) in rows {
            let order = if query.contains("sort_order") { "" } else { "&sort_order=asc" };
            let found = read(&gateway, &format!("/logs?{query}{order}"));
            let found: Vec<_> =
                found["items"].as_array().unwrap().iter().map(|row| row["model_requested"].as_str().unwrap()).collect();
            assert_eq!(found, *models, "{query}");
        }
        let page = read(&gateway, "/logs?page_size=4");
        let paging = ["total", "page", "page_size", "total_pages"].map(|name| page[name].as_i64().unwrap());
        assert_eq!(paging, [6, 1, 4, 2]);
        assert_eq!(page["items"][0]["request_id"], id, "the newest first");
        for bad in [
            "page=0",
            "page_size=201",
            "status_code=x",
            "is_streaming=maybe",
            "sort_by=id",
            "sort_order=up",
            "start_time=soon",
        ] {
            assert_eq!(admin(&gateway, "GET", &format!("/logs?{bad}"), Value::Null).status, 400, "{bad}");
        }

        let stats = read(&gateway, "/logs/stats");
        let sums = ["total_requests", "total_errors", "total_input_tokens", "total_output_tokens"]
            .map(|name| stats[name].as_i64().unwrap());
        assert_eq!(sums, [6, 2, 3007, 302]);
        assert_eq!((&stats["error_rate"], &stats["requests_by_provider"]), (&json!(0.3333), &json!({ "chat": 6 })));
        assert_eq!(stats["requests_by_status"], json!({ "200": 4, "400": 1, "500": 1 }));
        assert_eq!(stats["requests_by_model"]["b"], 2);
        assert!(stats["avg_duration_ms"].is_f64() && stats["avg_ttft_ms"].is_f64());
        let none = read(&gateway, "/logs/stats?model=unknown");
        assert_eq!(
            (&none["total_requests"], &none["avg_duration_ms"], &none["error_rate"]),
            (&json!(0), &Value::Null, &json!(0.0))
        );
        let errors = items(&gateway, "/error-logs?error_category=provider_5xx", 1);
        assert_eq!(errors[0]["model_requested"], "broken");

        // The sums by the hour come to the same.
        let summary = read(&gateway, "/logs/summary");
        let sums = ["requests", "errors", "input_tokens", "output_tokens"].map(|name| summary[name].as_i64().unwrap());
        assert_eq!(sums, [6, 2, 3007, 302]);
        assert_eq!(summary["providers"], json!([{ "name": "chat", "requests": 6, "errors": 2 }]));
        let hours = summary["hours"].as_array().unwrap();
        assert_eq!(hours.iter().map(|hour| hour["requests"].as_i64().unwrap()).sum::<i64>(), 6);
        assert!(summary["duration_ms"]["p99"].is_f64() && summary["ttft_ms"]["p50"].is_f64());
        assert!(hours.iter().all(|hour| hour.get("duration_ms").is_none()), "classes are read on demand");
        for (step, end) in [("hour", ":00:00Z"), ("day", "T00:00:00Z")] {
            let summary = read(&gateway, &format!("/logs/summary?step={step}"));
            let steps = summary["hours"].as_array().unwrap();
            assert_eq!(steps.iter().map(|one| one["requests"].as_i64().unwrap()).sum::<i64>(), 6);
            assert!(steps[0]["time"].as_str().unwrap().ends_with(end), "{summary}");
            assert!(steps[0]["duration_ms"]["p50"].is_f64() && steps.last().unwrap()["ttft_ms"]["p99"].is_f64());
        }
        assert_eq!(read(&gateway, "/logs/summary?start_time=2999-01-01T00:00:00Z")["requests"], 0);
    });
}

/// Cursors lead through all entries, each once, also while others are written and removed.
#[test]
fn cursors_lead_through_a_list() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        for _ in 0..5 {
            ask(&gateway, &chat_request("bad"));
        }
        for (path, order) in [("/logs?model=bad", "desc"), ("/logs?error_only=true", "asc"), ("/error-logs?", "desc")] {
            let expected = items(&gateway, path, 5);
            let mut expected: Vec<i64> = expected.iter().map(|row| row["id"].as_i64().unwrap()).collect();
            if order == "desc" {
                expected.reverse();
            }
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = read(&gateway, &format!("{path}&sort_order={order}&page_size=2{cursor}"));
                assert_eq!((&page["total"], &page["total_is_exact"]), (&json!(5), &json!(true)));
                seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(seen, expected, "{path}");
        }
        let page = read(&gateway, "/logs?page_size=2");
        let next = page["next_cursor"].as_str().unwrap();
        let last = page["items"][1]["id"].clone();
        ask(&gateway, &chat_request("later"));
        items(&gateway, "/logs", 6);
        assert_eq!(admin(&gateway, "DELETE", &format!("/logs/{last}"), Value::Null).status, 204);
        let rest = read(&gateway, &format!("/logs?cursor={next}"));
        assert_eq!(rest["items"].as_array().unwrap().len(), 3, "the row of the cursor need not be there");
        for bad in [
            format!("cursor={next}&page=1"),
            format!("cursor={next}&sort_by=total_tokens"),
            "cursor=5".to_owned(),
            "cursor=a-b".to_owned(),
        ] {
            let refused = admin(&gateway, "GET", &format!("/logs?{bad}"), Value::Null);
            assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("cursor")), "{bad}");
        }
        assert_eq!(read(&gateway, "/logs?sort_by=total_tokens&page_size=2")["next_cursor"], Value::Null);
    });
}

/// Runs a statement on the store of a gateway.
fn run(place: &Place, gateway: &Gateway, sql: &str) {
    match &place.0 {
        Some(db) => drop(db.sql(sql)),
        None => {
            rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap().execute_batch(sql).unwrap()
        }
    }
}

/// The percentiles are those of the durations, however short or long they are.
#[test]
fn percentiles_of_known_durations() {
    on_either(|place| {
        let gateway = place.with(vec![chat(&scripted())]).start();
        let moment = if place.0.is_some() { "to_timestamp(1800000000)" } else { "1800000000000000" };
        for ms in [0, 1, 2, 3, 8, 30, 1000, 12_000] {
            // 98 of one duration, and two that took 20 times as long.
            let row = |taken: i64| format!("({moment}, 'r', 'm{ms}', {taken}, {taken})");
            let rows = [vec![row(ms); 98], vec![row(ms * 20); 2]].concat().join(", ");
            let columns = "timestamp, request_id, model_requested, total_duration_ms, ttft_ms";
            run(place, &gateway, &format!("INSERT INTO request_logs ({columns}) VALUES {rows}"));
            let stats = read(&gateway, &format!("/logs/stats?model=m{ms}"));
            for name in ["duration_ms", "ttft_ms"] {
                // Up to 3 ms they are exact; a class of longer ones ends at 1.42 times its begin.
                for (percentile, wanted) in [("p50", ms as f64), ("p90", ms as f64), ("p99", ms as f64 * 20.0)] {
                    let found = stats[name][percentile].as_f64().unwrap();
                    let most = if wanted <= 3.0 { 0.0 } else { wanted * if percentile == "p50" { 0.21 } else { 0.42 } };
                    assert!((found - wanted).abs() <= most, "{name} {percentile} of {wanted} ms: {found}");
                }
            }
        }
    });
}

/// Pages begin within the first 10,000 entries, and no more are counted.
#[test]
fn a_long_list_is_counted_up_to_a_bound() {
    const COLUMNS: &str = "INSERT INTO request_logs (timestamp, request_id, model_requested)";
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        let rows = match &place.0 {
            Some(_) => {
                "SELECT to_timestamp(1800000000 + n), 'r' || n, 'm' || (n % 2) FROM generate_series(1, 10060) AS s(n)"
            }
            None => {
                "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10060) \
                SELECT (1800000000 + n) * 1000000, 'r' || n, 'm' || (n % 2) FROM s"
            }
        };
        run(place, &gateway, &format!("{COLUMNS} {rows}"));
        let page = read(&gateway, "/logs?page=200");
        let numbers = ["total", "page", "total_pages"].map(|name| page[name].as_i64().unwrap());
        assert_eq!((numbers, &page["total_is_exact"]), ([10_000, 200, 200], &json!(false)));
        assert_eq!(page["items"][0]["request_id"], "r110", "the newest first");
        let refused = admin(&gateway, "GET", "/logs?page=201", Value::Null);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("page")));
        assert!(refused.text().contains("behind the first 10000 entries; go on"), "{}", refused.text());
        let older = read(&gateway, &format!("/logs?cursor={}", page["next_cursor"].as_str().unwrap()));
        assert_eq!((&older["items"][0]["request_id"], &older["next_cursor"].is_string()), (&json!("r60"), &true));
        let half = read(&gateway, "/logs?model=m1&page=101");
        assert_eq!((&half["total"], &half["total_is_exact"]), (&json!(5030), &json!(true)));
        assert_eq!(half["items"].as_array().unwrap().len(), 30);
        assert_eq!(read(&gateway, "/logs?model=m1&page=999")["items"], json!([]), "behind the last page");
    });
}

/// Of filters that many rows fit each, and hardly any all, a search ends early, says how far it has
/// come, and goes on with the cursor; so does one for a part of a message in a long log.
#[test]
fn a_search_ends_early_and_goes_on() {
    let db = Place(Some(Db::new()));
    let gateway = db.with(vec![chat(&scripted())]).start();
    let rows = "INSERT INTO request_logs (timestamp, request_id, model_requested, provider_name, error_message) \
                SELECT to_timestamp(1800000000 + n), 'r' || n, 'm' || (n % 2), 'p' || (CASE n WHEN 5 THEN 0 ELSE n % 2 END), \
                CASE n WHEN 5 THEN 'odd' ELSE 'even' END FROM generate_series(1, 300000) AS s(n)";
    run(&db, &gateway, rows);
    for filter in ["model=m1&provider_name=p0", "error=odd", "model=m1&error=ODD"] {
        let mut found = read(&gateway, &format!("/logs?{filter}"));
        let mut early = 0;
        while found["searched_to"].is_string() {
            assert_eq!((&found["items"], &found["total"]), (&json!([]), &json!(0)), "{filter}");
            assert_eq!(found["total_is_exact"], json!(false), "{filter}");
            early += 1;
            let cursor = found["next_cursor"].as_str().unwrap();
            found = read(&gateway, &format!("/logs?{filter}&cursor={cursor}"));
        }
        // Through 100,000 rows and up to a slice more each time.
        assert!((1..3).contains(&early), "{filter}: {early}");
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{filter}: {found}");
        assert_eq!(found["items"][0]["request_id"], "r5", "{filter}");
        assert_eq!(found["next_cursor"], Value::Null, "{filter}");
    }
    let many = read(&gateway, "/logs?model=m1&provider_name=p1&page=2");
    assert_eq!((&many["items"][0]["request_id"], &many["total"]), (&json!("r299899"), &json!(10_000)));
    let none = read(&gateway, "/logs?tag=none");
    assert_eq!((&none["total"], &none["total_is_exact"]), (&json!(0), &json!(true)));
}

#[test]
fn a_trace_of_each_request() {
    on_either(|place| {
        let (broken, good) = (scripted(), scripted());
        let first = ProviderRow { model_mapping: r#"{"m":"broken"}"#.into(), ..chat(&broken) };
        let second = ProviderRow { provider_key: "second".into(), weight: 0, ..chat(&good) };
        let gateway = place.with(vec![first, second]).start();
        let messages = post("/v1/messages")
            .body(r#"{"model":"m","max_tokens":5,"top_k":3,"messages":[{"role":"user","content":"Hi"}]}"#);
        let (response, _) = ask(&gateway, &messages);
        assert_eq!(response.status, 200, "{}", response.text());
        let rows = items(&gateway, "/logs", 1);
        assert_eq!(rows[0].get("trace"), None, "lists are short");
        let trace = read(&gateway, &format!("/logs/{}", rows[0]["id"]))["trace"].clone();
        let attempts = trace["attempts"].as_array().unwrap();
        let seen: Vec<_> = attempts.iter().map(|one| [&one["provider"], &one["model"], &one["status"]]).collect();
        assert_eq!(
            seen,
            [[&json!("chat"), &json!("broken"), &json!(500)], [&json!("second"), &json!("m"), &json!(200)]]
        );
        let times = |one: &Value| ["began_ms", "first_byte_ms", "ended_ms"].map(|name| one[name].as_f64().unwrap());
        for one in attempts {
            let [began, first, ended] = times(one);
            assert!(began <= first && first <= ended, "{one}");
        }
        assert!(attempts[0]["error"].as_str().unwrap().contains("broken"), "{trace}");
        assert_eq!(attempts[1].get("error"), None);
        assert!(trace["dropped"].as_str().unwrap().contains("top_k"), "{trace}");
        let stages = trace["stages"].as_array().unwrap();
        assert!(
            stages.iter().any(|stage| stage["stage"] == "first_byte" && stage["ms"].as_f64() > Some(0.0)),
            "{trace}"
        );
        assert!(trace["request_bytes"].as_i64() > Some(0) && trace["response_bytes"].as_i64() > Some(0), "{trace}");
    });
}

#[test]
fn rows_are_removed_one_by_one_and_many_at_once() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        for _ in 0..3 {
            ask(&gateway, &chat_request("bad"));
        }
        for path in ["/logs", "/error-logs"] {
            let ids: Vec<_> = items(&gateway, path, 3).iter().map(|row| row["id"].as_i64().unwrap()).collect();
            let one = format!("{path}/{}", ids[0]);
            assert_eq!(admin(&gateway, "DELETE", &one, Value::Null).status, 204);
            assert_eq!(admin(&gateway, "DELETE", &one, Value::Null).status, 404);
            assert_eq!(admin(&gateway, "GET", &one, Value::Null).status, 404);
            let batch = format!("{path}/batch-delete");
            let many = admin(&gateway, "POST", &batch, json!({ "ids": (0..=1000).collect::<Vec<i64>>() }));
            assert_eq!((many.status, &many.json()["error"]["param"]), (400, &json!("ids")));
            assert_eq!(admin(&gateway, "POST", &batch, json!({})).status, 400);
            assert_eq!(admin(&gateway, "POST", &batch, json!({ "ids": [] })).json(), json!({ "deleted": 0 }));
            assert_eq!(admin(&gateway, "POST", &batch, json!({ "ids": ids })).json(), json!({ "deleted": 2 }));
            items(&gateway, path, 0);
        }
    });
}

/// Also of what PostgreSQL would refuse: U+0000 and what is no JSON.
#[test]
fn bodies_are_kept_when_enabled() {
    on_either(|place| {
        let upstream = scripted();
        let provider = ProviderRow {
            provider_params: r#"{"custom_headers":{"x-tenant-key":"hidden-value"}}"#.into(),
            ..chat(&upstream)
        };
        let gateway = place.with(vec![provider]).env("REQUEST_LOG_BODY_ENABLED", true).start();
        let long = "é".repeat(150);
        let reported_text = |content: &str| json!({ "role": "user", "content": content });
        let body = json!({ "model": "plain", "messages": [reported_text(&long), reported_text("\0")] }).to_string();
        ask(&gateway, &post("/v1/chat/completions").body(body));
        ask(&gateway, &chat_request("bad"));
        ask(&gateway, &post("/v1/chat/completions").body(r#"{"model":"s","messages":[],"stream":true}"#));
        let rows = items(&gateway, "/logs", 3);
        let detail = |at: usize| read(&gateway, &format!("/logs/{}", rows[at]["id"]));
        let text = |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
        let whole = detail(0);
        let received = text(&whole["request_body"]);
        assert_eq!(received["messages"][0]["content"], format!("{}... [truncated, 300 bytes total]", "é".repeat(100)));
        assert_eq!(received["messages"][1]["content"], "\u{fffd}");
        assert_eq!(text(&whole["response_body"])["choices"][0]["message"]["content"], "hi");
        let events = text(&detail(2)["response_body"]);
        assert_eq!(events[0]["choices"][0]["delta"]["content"], "hi");

        let id = &items(&gateway, "/error-logs", 1)[0]["id"];
        let error = read(&gateway, &format!("/error-logs/{id}"));
        assert_eq!(error["request_body"], json!({ "model": "bad", "messages": [] }));
        assert_eq!(error["response_body"]["error"]["message"], "no such thing");
        assert_eq!(error["provider_request_body"]["model"], "bad");
        assert_eq!(error["provider_request_headers"]["x-tenant-key"], "***");
        let all = format!("{whole}{error}");
        assert_eq!(all.matches(KEY).count(), 2, "only as the credential's name: {all}");
        assert!(!all.contains("hidden-value") && !all.contains("pk-upstream"), "{all}");
    });
}

/// What a try has failed by is told, also where another provider then answered.
#[test]
fn failures_by_their_kind() {
    on_either(|place| {
        let upstream = scripted();
        let away = ProviderRow { weight: 1000, ..provider("away", "openai", "http://127.0.0.1:9") };
        let other = ProviderRow {
            model_mapping: r#"{"busy":"busy"}"#.into(),
            ..provider("busy", "openai", &upstream.url("/v1"))
        };
        let chat = ProviderRow { model_mapping: r#"{"plain":"plain"}"#.into(), ..chat(&upstream) };
        let away = ProviderRow { model_mapping: r#"{"plain":"plain"}"#.into(), ..away };
        let gateway = place.with(vec![away, chat, other]).start();
        let (answered, id) = ask(&gateway, &chat_request("plain"));
        assert_eq!(answered.status, 200);
        assert_eq!(ask(&gateway, &chat_request("busy")).0.status, 429);
        assert_eq!(ask(&gateway, &chat_request("unknown")).0.status, 404);
        let rows = items(&gateway, "/logs", 3);
        let categories: Vec<_> = rows.iter().map(|row| &row["error_category"]).collect();
        assert_eq!(categories, [&Value::Null, &json!("provider_4xx"), &json!("client_error")]);
        assert_eq!(rows[2]["provider_name"], Value::Null);
        let errors = items(&gateway, "/error-logs", 1);
        let seen = ["request_id", "error_category", "provider_name"].map(|name| &errors[0][name]);
        assert_eq!(seen, [&json!(id), &json!("connect_error"), &json!("away")]);
        assert!(errors[0]["error_message"].as_str().is_some_and(|text| !text.is_empty()));
    });
}
