//! What requests cost.

use std::io::Write;
use std::process::{Command, Stdio};

use llm_proxy::config::budget::{Unit, show};
use serde_json::json;

use super::*;

/// Dollars that the metric has for a model, by the provider's name of it.
fn charged(gateway: &Gateway, model: &str) -> Option<f64> {
    let labels = format!("model=\"{model}\",provider=\"chat\",api_key_name=\"{KEY}\"");
    gateway.metric(&format!("llm_proxy_cost_dollars_total{{{labels}}}"))
}

#[test]
fn prices_in_a_mapping() {
    on_either(|place| {
        let upstream = scripted();
        let mapping = json!({
            "plain": { "mapped_model": "upstream", "input_cost_per_1k_tokens": 0.002, "output_cost_per_1k_tokens": 0.01 },
            "free": "free",
            "s": { "mapped_model": "s", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6 },
        });
        let gateway = place.with(vec![ProviderRow { model_mapping: mapping.to_string(), ..chat(&upstream) }]).start();
        ask(&gateway, &chat_request("plain"));
        ask(&gateway, &chat_request("free"));
        ask(&gateway, &post("/v1/chat/completions").body(r#"{"model":"s","messages":[],"stream":true}"#));
        let rows = items(&gateway, "/logs", 3);
        let costs: Vec<_> = rows.iter().map(|row| &row["cost"]).collect();
        assert_eq!(costs, [&json!(0.003), &Value::Null, &json!(0.000_011)]);
        assert_eq!(read(&gateway, "/logs/stats")["total_cost"], 0.003_011);
        let cost = |model| charged(&gateway, model).map(|dollars| (dollars * 1e6).round());
        assert_eq!((cost("upstream"), cost("free")), (Some(3000.0), None));
    });
}

/// A request that asks for a tier costs what the tier of its answer does, in passthrough and
/// translated.
#[test]
fn the_tier_that_the_answer_names_is_paid() {
    let upstream = Fake::answering(|request| {
        let asked = request.json();
        let served = if asked["model"] == "served" { "priority" } else { "default" };
        let mut answer: Value = serde_json::from_str(ANSWER).unwrap();
        answer["service_tier"] = json!(served);
        if asked["stream"] == true {
            let event = json!({
                "id": "x", "choices": [{ "index": 0, "delta": { "content": "hi" } }], "service_tier": served,
            });
            let usage = json!({ "id": "x", "choices": [], "usage": answer["usage"], "service_tier": served });
            let [event, usage] = [event, usage].map(|data| format!("data: {data}\n\n"));
            return answer::sse(&[&*event, &*usage, "data: [DONE]\n\n"]);
        }
        answer::json(200, answer.to_string())
    });
    let price = |name: &str| {
        json!({ "mapped_model": name, "input_cost_per_token": 1e-6, "output_cost_per_token": 0,
                "input_cost_per_token_priority": 3e-6 })
    };
    let mapping = json!({ "served": price("served"), "other": price("other") });
    let gateway = Place(None).with(vec![ProviderRow { model_mapping: mapping.to_string(), ..chat(&upstream) }]).start();
    for model in ["served", "other"] {
        for stream in [false, true] {
            let body = json!({ "model": model, "messages": [], "stream": stream, "service_tier": "priority" });
            ask(&gateway, &post("/v1/chat/completions").body(body.to_string()));
        }
    }
    let text = [json!({ "role": "user", "content": "hi" })];
    let body = json!({ "model": "other", "max_tokens": 9, "messages": text, "service_tier": "auto" });
    ask(&gateway, &post("/v1/messages").body(body.to_string()));
    let costs: Vec<_> = items(&gateway, "/logs", 5).iter().map(|row| row["cost"].as_f64().unwrap()).collect();
    assert_eq!(costs, [0.003, 0.003, 0.001, 0.001, 0.001]);
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// The tier is read without the framing of the answer, which may cut the member anywhere, and out
/// of an answer that is compressed.
#[test]
fn the_tier_is_read_whatever_the_framing_is() {
    let text = |served: &str| {
        let mut answer: Value = serde_json::from_str(ANSWER).unwrap();
        answer["service_tier"] = json!(served);
        answer.to_string()
    };
    let upstream = Fake::answering(move |request| {
        let asked = request.json();
        let body = text("priority");
        match asked["model"].as_str().unwrap().rsplit_once('-').unwrap().1 {
            "gzip" => {
                let head = [("content-type", "application/json"), ("content-encoding", "gzip")];
                answer::with(200, &head, gzip(body.as_bytes()))
            }
            size => {
                let chunks = body.as_bytes().chunks(size.parse().unwrap()).flat_map(answer::chunk);
                answer::JSON.bytes().chain(chunks).chain(answer::LAST_CHUNK.bytes()).collect()
            }
        }
    });
    let models = ["p-1", "p-2", "p-3", "p-5", "p-7", "p-11", "p-gzip"];
    let price = |name: &str| {
        json!({ "mapped_model": name, "input_cost_per_token": 1e-6, "output_cost_per_token": 0,
                "input_cost_per_token_priority": 3e-6 })
    };
    let mapping: serde_json::Map<String, Value> = models.iter().map(|name| ((*name).to_owned(), price(name))).collect();
    let mapping = Value::Object(mapping).to_string();
    let gateway = Place(None).with(vec![ProviderRow { model_mapping: mapping, ..chat(&upstream) }]).start();
    for model in models {
        let body = json!({ "model": model, "messages": [], "service_tier": "auto" });
        ask(&gateway, &post("/v1/chat/completions").body(body.to_string()));
    }
    let costs: Vec<_> =
        items(&gateway, "/logs", models.len()).iter().map(|row| row["cost"].as_f64().unwrap()).collect();
    assert_eq!(costs, vec![0.003; models.len()]);
}

#[test]
fn prices_are_set_one_by_one() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        let program = read(&gateway, "/prices");
        assert_eq!(program["source"], "program");
        let change_of = |model: &str, version: i64| {
            let body = json!({ "model": model, "output": 3 }).to_string();
            let mut client = gateway.client();
            let request =
                get("/admin/v1/prices").method("POST").key(ADMIN_KEY).header("if-match", &format!("\"{version}\""));
            client.ask(&request.body(body));
            client.response()
        };
        // The price of the program is compared too, once it is in the table.
        let first = &program["prices"][0];
        let changed = change_of(first["model"].as_str().unwrap(), first["row_version"].as_i64().unwrap());
        assert_eq!(changed.status, 200, "{}", changed.text());
        let body = json!({ "model": "m", "input": 1.5, "output": 2, "more": { "input_cost_per_token_flex": 5e-7 } });
        let set = admin(&gateway, "POST", "/prices", body.clone());
        assert_eq!(set.status, 200, "{}", set.text());
        let version = set.json()["row_version"].as_i64().unwrap();
        let all = read(&gateway, "/prices");
        let count = |list: &Value| list["total_count"].as_i64().unwrap();
        assert_eq!((&all["source"], count(&all)), (&json!("table"), count(&program) + 1), "those of the program stay");
        let found = read(&gateway, "/prices?search=m&size=1000")["prices"].as_array().unwrap().clone();
        let found = found.into_iter().find(|price| price["model"] == "m").unwrap();
        assert_eq!((&found["input"], &found["more"]), (&json!(1.5), &body["more"]));
        eventually("requests have this price", || {
            ask(&gateway, &chat_request("m"));
            charged(&gateway, "m").is_some()
        });
        assert_eq!(change_of("m", version).status, 200);
        let refused = change_of("m", version);
        assert!(refused.status == 412 && refused.text().contains("the price of `m` is not the one of If-Match"));
        for (body, param) in [
            (json!({ "model": "m", "input": -1 }), "input"),
            (json!({ "model": "", "input": 1 }), "model"),
            (json!({ "model": "m" }), "input"),
            (json!({ "model": "m", "more": { "input_cost_per_tokn": 1e-6 } }), "more"),
            (json!({ "model": "m", "more": { "input_cost_per_token_flex": "x" } }), "more"),
        ] {
            let refused = admin(&gateway, "POST", "/prices", body.clone());
            assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(param)), "{body}");
        }
        let one = format!("/prices/{}", found["id"]);
        assert_eq!(admin(&gateway, "DELETE", &one, Value::Null).status, 204);
        assert_eq!(admin(&gateway, "DELETE", &one, Value::Null).status, 404);
        let audit = read(&gateway, "/audit").to_string();
        assert!(audit.contains("price.set") && audit.contains("price.delete"), "{audit}");
    });
}

/// The binary beside a gateway, on the same store.
fn import(gateway: &Gateway, place: &Place, list: &Value, more: &[&str]) -> (bool, String) {
    run(gateway, place, &[&["import-prices", "-"], more].concat(), &list.to_string())
}

fn run(gateway: &Gateway, place: &Place, args: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().env("DATA_DIR", gateway.data_dir()).current_dir(gateway.data_dir());
    if let Some(db) = &place.0 {
        command.env("DB_URL", db.url());
    }
    command.args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let reported_text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(reported_text).unwrap())
}

#[test]
fn a_published_list_of_prices() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        let list = json!({
            "sample_spec": { "input_cost_per_token": 0.0, "mode": "one of: chat, embedding" },
            "plain": { "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5, "litellm_provider": "openai" },
            "chat/own": { "input_cost_per_token": 3e-6 },
            "own": { "input_cost_per_token": 9e-6 },
            "family-*": { "input_cost_per_token": 2e-6 },
            "picture": { "input_cost_per_image": 0.04 },
        });
        let (done, reported_text) = import(&gateway, place, &list, &[]);
        assert!(
            done && reported_text.contains("4 prices written, 0 removed")
                && reported_text.contains("1 entries have no price that is known here"),
            "{reported_text}"
        );
        // It is seen by a gateway that runs.
        eventually("the price is known", || {
            ask(&gateway, &chat_request("plain"));
            charged(&gateway, "plain").is_some()
        });
        for model in ["own", "family-x", "unknown"] {
            ask(&gateway, &chat_request(model));
            let cost = items(&gateway, &format!("/logs?model={model}"), 1)[0]["cost"].clone();
            let expected = match model {
                "own" => json!(0.003),
                "family-x" => json!(0.002),
                _ => Value::Null,
            };
            assert_eq!(cost, expected, "{model}");
        }
        let prices = read(&gateway, "/prices?search=PLAIN");
        assert_eq!((&prices["total_count"], &prices["prices"][0]["output"]), (&json!(1), &json!(10.0)));

        let (done, reported_text) =
            import(&gateway, place, &json!({ "plain": { "input_cost_per_token": 5e-6 } }), &["--prune"]);
        assert!(done && reported_text.contains("1 prices written, 3 removed"), "{reported_text}");
        let prices = read(&gateway, "/prices");
        assert_eq!((&prices["total_count"], &prices["prices"][0]["input"]), (&json!(1), &json!(5.0)));
        let (done, reported_text) = import(&gateway, place, &json!([1]), &[]);
        assert!(!done && reported_text.contains("is no list of prices"), "{reported_text}");
    });
}

/// Tiers of service, long prompts, fees: as a list names them, through the front door.
#[test]
fn special_prices() {
    let body = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":300000,"completion_tokens":100,"total_tokens":300100,"prompt_tokens_details":{"audio_tokens":1000}}}"#;
    let upstream = Fake::answering(move |_| answer::json(200, body));
    let mapping = json!({ "m": {
        "mapped_model": "m", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5,
        "input_cost_per_token_above_200k_tokens": 2e-6, "output_cost_per_token_above_200k_tokens": 2e-5,
        "input_cost_per_token_flex": 5e-7, "output_cost_per_token_flex": 5e-6, "input_cost_per_request": 0.25,
        "input_cost_per_audio_token": 1e-4,
    } });
    let gateway = Place(None).with(vec![ProviderRow { model_mapping: mapping.to_string(), ..chat(&upstream) }]).start();
    ask(&gateway, &chat_request("m"));
    let flex = r#"{"model":"m","messages":[],"service_tier":"flex"}"#;
    ask(&gateway, &post("/v1/chat/completions").body(flex));
    let micros = |row: &Value| (row["cost"].as_f64().unwrap() * 1e6).round();
    let costs: Vec<_> = items(&gateway, "/logs", 2).iter().map(micros).collect();
    // 299,000 tokens at 2e-6, 1000 at 1e-4, 100 at 2e-5, and the fee; then half of it but audio and
    // fee.
    assert_eq!(costs, [598_000.0 + 100_000.0 + 2000.0 + 250_000.0, 299_000.0 + 100_000.0 + 1000.0 + 250_000.0]);
}

/// The prices that come with the program apply until a list is imported.
#[test]
fn prices_of_the_program() {
    let upstream = scripted();
    let place = Place(None);
    let gateway = place.with(vec![chat(&upstream)]).start();
    ask(&gateway, &chat_request("gpt-4o-mini-2024-07-18"));
    // 1000 tokens at 0.15 and 100 at 0.6 dollars for a million.
    assert_eq!(items(&gateway, "/logs", 1)[0]["cost"], json!(0.00021));
    let prices = read(&gateway, "/prices?search=gpt-4o-mini");
    assert_eq!((&prices["source"], &prices["prices"][0]["output"]), (&json!("program"), &json!(0.6)));
    assert_eq!(prices["prices"][0]["more"]["input_cost_per_token_priority"], json!(2.5e-7));
    let list = json!({ "other": { "input_cost_per_token": 1e-6, "output_cost_per_token_flex": 1e-6 } });
    assert!(import(&gateway, &place, &list, &[]).0);
    eventually("the list counts", || read(&gateway, "/prices")["source"] == "table");
    eventually("the price of the program does not count", || {
        let (_, id) = ask(&gateway, &chat_request("gpt-4o-mini"));
        let mut row = Value::Null;
        eventually("the row", || {
            row = read(&gateway, &format!("/logs?request_id={id}"))["items"][0].clone();
            !row.is_null()
        });
        row["cost"].is_null()
    });
    let more = &read(&gateway, "/prices")["prices"][0]["more"];
    assert_eq!(more["output_cost_per_token_flex"], json!(1e-6));
}

/// A price that is corrected prices what was spent anew, and says the difference.
#[test]
fn what_was_spent_is_priced_anew() {
    on_either(|place| {
        let upstream = scripted();
        let gateway = place.with(vec![chat(&upstream)]).start();
        let priced =
            |input: f64| json!({ "a": { "input_cost_per_token": input }, "other": { "input_cost_per_token": 1 } });
        assert!(import(&gateway, place, &priced(1e-6), &[]).0);
        eventually("the price is known", || {
            ask(&gateway, &chat_request("a"));
            charged(&gateway, "a").is_some()
        });
        ask(&gateway, &chat_request("b"));
        let spend = |model: &str| read(&gateway, &format!("/spend?by=model&model={model}"))["rows"][0].clone();
        eventually("both are summed up", || spend("b")["requests"] == 1 && spend("a")["cost"].as_f64() > Some(0.0));
        // Requests that came before the price was known have none, and get one.
        let requests = spend("a")["requests"].as_f64().unwrap();
        let before = spend("a")["cost"].as_f64().unwrap();
        assert!(import(&gateway, place, &priced(3e-6), &[]).0);
        let (done, text) = run(&gateway, place, &["reprice"], "");
        let after = requests * 0.003;
        let line = show(Unit::Dollars, (after * 1e9).round() as i64);
        assert!(done && text.contains(&line) && text.contains("would change; --apply writes them"), "{text}");
        assert!(text.contains("1 sums stay as they are"), "{text}");
        assert_eq!(spend("a")["cost"].as_f64(), Some(before), "nothing is written");
        let (done, text) = run(&gateway, place, &["reprice", "--from", "2020-01-01", "--apply"], "");
        assert!(done && text.contains("sums written, in"), "{text}");
        let row = spend("a");
        assert!((row["cost"].as_f64().unwrap() - after).abs() < 1e-9, "{row}");
        assert_eq!(row["unpriced"], json!(0));
        let (_, text) = run(&gateway, place, &["reprice", "--to", "2020-01-01"], "");
        assert!(text.contains("0 sums would change"), "{text}");
    });
}
