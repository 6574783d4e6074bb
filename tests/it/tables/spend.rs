//! What was spent, in sums of days: by every dimension, as JSON and as CSV, on either store.

use llm_proxy::config::rows::{CredentialRow, GroupRow};
use serde_json::json;

use super::*;

const PRICED: &str =
    r#"{"m":{"mapped_model":"up","input_cost_per_token":1e-6,"output_cost_per_token":1e-5},"free":"free"}"#;

/// A gateway on this store with two keys, one of them in a group within another, and a provider
/// that uses 1000 and 100 tokens.
fn gateway(place: &Place, upstream: &Fake) -> Gateway {
    let groups = [("org", None), ("team", Some("org"))].map(|(name, parent): (&str, Option<&str>)| GroupRow {
        name: name.into(),
        parent: parent.map(str::to_owned),
        allowed_models: "[]".into(),
        is_enabled: true,
        ..GroupRow::default()
    });
    let member = CredentialRow { group_name: Some("team".into()), ..credential("sk-member") };
    let priced = ProviderRow { model_mapping: PRICED.into(), ..chat(upstream) };
    let setup = match &place.0 {
        None => groups
            .into_iter()
            .fold(Setup::new().credential(credential(KEY)), Setup::group)
            .credential(member)
            .provider(priced),
        Some(db) => {
            let store = db.store();
            store.add_provider(&priced).unwrap();
            store.create_credential(&credential(KEY)).unwrap();
            for group in &groups {
                store.add_group(group).unwrap();
            }
            store.create_credential(&member).unwrap();
            Setup::new().no_credentials().env("DB_URL", db.url())
        }
    };
    setup.env("ADMIN_KEY", ADMIN_KEY).env("ALLOWED_TAGS", "web, batch").start()
}

fn spend(gateway: &Gateway, query: &str) -> Vec<Value> {
    read(gateway, &format!("/spend?{query}"))["rows"].as_array().unwrap().clone()
}

/// Name, requests, failures and millionths of a dollar of each row.
fn rows(gateway: &Gateway, query: &str) -> Vec<(String, i64, i64, i64)> {
    let number = |row: &Value, name: &str| row[name].as_i64().unwrap();
    let row = |row: &Value| {
        let micros = (row["cost"].as_f64().unwrap() * 1e6).round() as i64;
        (row["group"].as_str().unwrap_or_default().to_owned(), number(row, "requests"), number(row, "errors"), micros)
    };
    spend(gateway, query).iter().map(row).collect()
}

#[test]
fn by_every_dimension() {
    on_either(|place| {
        keep_the_hour();
        let upstream = scripted();
        let gateway = gateway(place, &upstream);
        let send = |key: &str, model: &str, tags: &str| {
            let mut request = chat_request(model).key(key);
            if !tags.is_empty() {
                request = request.header("x-llm-proxy-tags", tags);
            }
            ask(&gateway, &request).0
        };
        assert_eq!(send(KEY, "m", "").status, 200);
        assert_eq!(send("sk-member", "m", "web, batch").status, 200);
        assert_eq!(send("sk-member", "m", "batch").status, 200);
        assert_eq!(send("sk-member", "free", "").status, 200);
        assert_eq!(send("sk-member", "none", "").status, 404);
        let refused = send(KEY, "m", "secret");
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains("the tag `secret`, which this gateway does not allow; it allows batch, web"));
        let many = send(KEY, "m", "a,b,c,d,e,f,g,h,i");
        assert_eq!(many.status, 400, "{}", many.text());
        eventually("all are summed up", || spend(&gateway, "by=day").first().is_some_and(|row| row["requests"] == 7));

        let row = |name: &str, requests, errors, micros| (name.to_owned(), requests, errors, micros);
        assert_eq!(rows(&gateway, "by=credential"), [row("sk-member", 4, 1, 4000), row(KEY, 3, 2, 2000)]);
        assert_eq!(rows(&gateway, "by=group"), [row("org", 4, 1, 4000), row("team", 4, 1, 4000), row("", 3, 2, 2000)]);
        assert_eq!(rows(&gateway, "by=tag"), [row("batch", 2, 0, 4000), row("", 5, 3, 2000), row("web", 1, 0, 2000)]);
        assert_eq!(rows(&gateway, "by=model"), [row("m", 3, 0, 6000), row("", 3, 3, 0), row("free", 1, 0, 0)]);
        assert_eq!(rows(&gateway, "by=provider"), [row("chat", 4, 0, 6000), row("", 3, 3, 0)]);
        assert_eq!(rows(&gateway, "by=model&tag=batch"), [row("m", 2, 0, 4000)]);
        assert_eq!(rows(&gateway, "by=credential&group_name=org&model=m"), [row("sk-member", 2, 0, 4000)]);
        assert_eq!(rows(&gateway, "by=model&provider_name=chat&credential_name=sk-test"), [row("m", 1, 0, 2000)]);
        assert_eq!(rows(&gateway, "by=credential&tag=bat"), [], "a part of a tag is none");
        assert_eq!(rows(&gateway, "by=provider&provider_name=chat"), [row("chat", 4, 0, 6000)]);
        let group = [row("org", 4, 1, 4000), row("team", 4, 1, 4000)];
        assert_eq!(rows(&gateway, "by=group&group_name=team"), group, "its requests count in both");
        let days = |query: &str| rows(&gateway, query).into_iter().map(|(_, n, errors, cost)| (n, errors, cost));
        assert!(days("by=day").eq([(7, 3, 6000)]) && days("by=day&tag=batch").eq([(2, 0, 4000)]));
        assert!(days("by=day&group_name=org&model=m").eq([(2, 0, 4000)]));

        let free = &spend(&gateway, "by=model&model=free")[0];
        assert_eq!((&free["unpriced"], &free["input_tokens"]), (&json!(1), &json!(1000)));
        let today = spend(&gateway, "by=day")[0]["group"].as_str().unwrap().to_owned();
        assert!(today.ends_with("T00:00:00Z"), "{today}");
        let by_day = spend(&gateway, &format!("by=credential&per=day&start_time={}", &today[..10]));
        assert_eq!((by_day.len(), &by_day[0]["day"]), (2, &json!(today)));
        assert_eq!(rows(&gateway, "by=credential&start_time=2999-01-01"), []);
        assert_eq!(rows(&gateway, "by=credential&end_time=2001-01-01"), []);
        eventually("the log has them by hour", || {
            spend(&gateway, "by=hour").first().is_some_and(|row| row["requests"] == 7)
        });
        let refused = admin(&gateway, "GET", "/spend?by=hour&tag=web", Value::Null);
        assert!(refused.status == 400 && refused.text().contains("tag is not known by hour"), "{}", refused.text());
    });
}

/// A spreadsheet would run a name that begins as a formula does.
#[test]
fn as_a_file_for_spreadsheets() {
    let upstream = scripted();
    let mapping = r#"{"=SUM(A1)":{"mapped_model":"x","input_cost_per_token":1e-6}}"#;
    let gateway = Place(None).with(vec![ProviderRow { model_mapping: mapping.into(), ..chat(&upstream) }]).start();
    ask(&gateway, &chat_request("=SUM(A1)"));
    let mut text = String::new();
    eventually("the request is summed up", || {
        let csv = admin(&gateway, "GET", "/spend?by=model&per=day&format=csv", Value::Null);
        assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
        text = csv.text().to_owned();
        text.contains("SUM")
    });
    let mut lines = text.split("\r\n");
    assert!(lines.next().unwrap().starts_with("day,model,requests,errors,input_tokens,output_tokens,cost_usd,"));
    assert!(lines.next().unwrap().contains("Z\",\"'=SUM(A1)\",1,0,1000,100,0.001000000,"), "{text}");
}

/// The sums outlive the process and do not need the request log.
#[test]
fn sums_survive_a_restart() {
    let upstream = scripted();
    let db = Db::new();
    let place = Place(Some(db));
    let start = |place: &Place| match &place.0 {
        Some(db) => Setup::new()
            .no_credentials()
            .env("DB_URL", db.url())
            .env("ADMIN_KEY", ADMIN_KEY)
            .env("REQUEST_LOG_ENABLED", "false")
            .start(),
        None => unreachable!(),
    };
    drop(gateway(&place, &upstream));
    let mut first = start(&place);
    ask(&first, &chat_request("m"));
    first.term();
    first.wait();
    let again = start(&place);
    assert_eq!(rows(&again, "by=model"), [("m".to_owned(), 1, 0, 2000)]);
    ask(&again, &chat_request("m"));
    eventually("both are summed up", || rows(&again, "by=model") == [("m".to_owned(), 2, 0, 4000)]);
}

/// The step of the schema makes the sums of names out of the rows that are there, as writes do.
#[test]
fn sums_of_names_are_made_of_rows_that_are_there() {
    const SUMS: &str = "SELECT dimension || ' ' || name || ' ' || requests || ' ' || cost FROM spend_sums ORDER BY 1";
    on_either(|place| {
        let upstream = scripted();
        let mut gateway = gateway(place, &upstream);
        for (key, tags) in [(KEY, "web"), ("sk-member", "web, batch"), ("sk-member", "batch")] {
            ask(&gateway, &chat_request("m").key(key).header("x-llm-proxy-tags", tags));
        }
        eventually("all are summed up", || rows(&gateway, "by=day").first().is_some_and(|row| row.1 == 3));
        gateway.term();
        gateway.wait();
        let cli = |args: &[&str]| {
            let output = match &place.0 {
                Some(db) => db.cli(args),
                None => gateway.cli(args),
            };
            assert!(output.status.success(), "{output:?}");
        };
        let sums = || match &place.0 {
            Some(db) => db.sql(SUMS),
            None => {
                let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
                let mut select = file.prepare(SUMS).unwrap();
                select.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>().unwrap()
            }
        };
        let run = |statement: &str| match &place.0 {
            Some(db) => drop(db.sql(statement)),
            None => {
                let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
                file.execute_batch(statement).unwrap();
            }
        };
        let before = sums();
        for row in ["group org 2 4000000", "group team 2 4000000", "group  1 2000000", "tag batch 2 4000000"] {
            assert!(before.iter().any(|sum| sum == row), "{row}: {before:?}");
        }
        cli(&["migrate", "down", "--to", "10", "--yes"]);
        cli(&["migrate", "up"]);
        assert_eq!(sums(), before);
        // A process of an older version writes the days alone, as here: the sums follow.
        let old = "INSERT INTO spend_days (day, key, credential, group_path, tags, model, provider, upstream_model, \
                   tier, requests, cost) SELECT day, key || '-', credential, group_path, tags, model, provider, \
                   upstream_model, tier, requests, cost FROM spend_days";
        let again = "INSERT INTO spend_days (day, key, credential, group_path, tags, model, provider, upstream_model, \
                     tier, requests, cost) SELECT day, key, credential, group_path, tags, model, provider, \
                     upstream_model, tier, requests, cost FROM spend_days WHERE true ON CONFLICT (day, key) \
                     DO UPDATE SET requests = spend_days.requests + excluded.requests, \
                     cost = spend_days.cost + excluded.cost";
        run(old);
        run(again);
        let times = |sum: &String, factor: i64| {
            let mut words: Vec<_> = sum.rsplitn(3, ' ').map(str::to_owned).collect();
            words[..2].iter_mut().for_each(|number| *number = (number.parse::<i64>().unwrap() * factor).to_string());
            words.reverse();
            words.join(" ")
        };
        let mut expected: Vec<_> = before.iter().map(|sum| times(sum, 4)).collect();
        let mut found = sums();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    });
}
