//! What requests cost.

use std::io::Write;
use std::process::{Command, Stdio};

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

/// The binary beside a gateway, on the same store.
fn import(gateway: &Gateway, place: &Place, list: &Value, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().env("DATA_DIR", gateway.data_dir()).current_dir(gateway.data_dir());
    if let Some(db) = &place.0 {
        command.env("DB_URL", db.url());
    }
    command.args(["import-prices", "-"]).args(more);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
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
                && reported_text.contains("1 entries have no price of a token"),
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
