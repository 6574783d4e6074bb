//! Defects of llm-proxy v1 in configuration, keys and limits, and the tests that keep them from
//! coming back. Those that stand nowhere else are below.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use llm_proxy::config::rows::{CredentialRow, ProviderRow};

use super::support::*;

/// What was wrong, and the tests: each a file and a function.
const DEFECTS: &str = "\
/health/detailed did not exist | tests/it/admin/health several_providers
/docs did not exist | tests/it/admin/documents openapi_and_docs_page_need_no_other_host
a rate limit of 0 was none | tests/it/admin/transcript rate_limit_of_zero_blocks_all_requests, tests/it/limits/regressions zero_blocks_by_each_limit
a request counted twice, so that a limit of 1 admitted none | tests/it/admin/transcript request_counts_once, tests/it/limits/regressions a_request_costs_one_and_a_burst_is_the_limit
the token bucket was a moving window | src/limit/tests burst_is_the_capacity_and_refills_at_the_rate, src/limit/tests rates_are_exact
no script for the schema | tests/it/postgres/gateway commands_work_on_the_database
the latency of a provider was never counted | tests/it/observability/metrics a_request_is_counted_by_who_where_and_how
is_enabled: false was ignored when a row was made | tests/it/admin/transcript rows_can_be_created_disabled
a provider with an empty mapping served nothing | tests/it/admin/transcript empty_mapping_serves_every_model
shares were left to chance | tests/it/routing/choice shares_are_exact_in_every_round
errors were not in the client's form | tests/it/routing/access keys_that_are_refused, tests/it/limits/regressions a_refusal_says_when_and_whose
a limit could not be cleared | tests/it/admin/transcript null_removes_a_limit
a panic without a provider | tests/it/admin/transcript quick_start, tests/it/admin/transcript no_provider_and_odd_weights_do_not_panic
a panic where all weights are 0, and a negative one was huge | tests/it/admin/transcript no_provider_and_odd_weights_do_not_panic
writes had no effect until a reload | tests/it/admin/live a_write_is_in_force_when_it_is_answered
the timeout was one for the whole answer | tests/it/regressions a_stream_may_last_longer_than_the_timeout
bodies over 2 MiB were refused, others read without end | tests/it/relay/size a_request_of_twenty_megabytes, tests/it/relay/size a_body_larger_than_allowed_is_refused
HOST was ignored, a reload emptied the state, and text was cut within a letter | tests/it/regressions the_host_of_the_environment_is_listened_on, tests/it/limits/regressions a_reload_keeps_what_is_in_a_bucket, tests/it/limits/at_once a_reload_keeps_the_count, tests/it/regressions no_text_is_cut_within_a_letter
the order of patterns was random | src/config/models mapping_looks_for_the_exact_name_then_for_patterns_in_stored_order, tests/it/postgres/store a_mapping_keeps_its_order_until_somebody_writes_another
extended mappings were refused, and broke the listing | tests/it/admin/transcript extended_mappings_are_accepted
logs and traces had no name of a credential | tests/it/tables/logs a_row_for_each_request_on_either_store, tests/it/sinks/langfuse who_and_where
a bad row failed the reload, and without a key the gateway was open | tests/it/admin/transcript bad_row_affects_nothing_else, tests/it/postgres/gateway a_poisoned_row_is_never_an_outage, tests/it/limits/regressions gateway_closes_when_the_last_key_is_removed
disabling all keys opened the gateway | tests/it/regressions keys_that_are_all_disabled_open_nothing, tests/it/routing/access without_credentials_it_is_closed_unless_opened
providers' keys in plain text, addresses told to clients, headers in logs | tests/it/admin/secrets keys_are_encrypted_and_used_all_the_same, src/proxy/listing/tests info_shows_mappings_and_hides_addresses, tests/it/regressions no_secret_is_shown_anywhere
no Retry-After, limits of the provider dropped, no /v1/models/{id} | tests/it/limits/regressions a_refusal_says_when_and_whose, tests/it/limits/regressions rate_limit_headers_name_the_right_limit, src/proxy/listing/tests one_model_is_whatever_would_be_served
providers that were removed went on serving, refusals without the key's name, twice the burst | tests/it/routing/live providers_and_keys_come_and_go, tests/it/limits/regressions a_refusal_says_when_and_whose, tests/it/limits/regressions a_request_costs_one_and_a_burst_is_the_limit
a limit of models was asked before the prefix was taken off | tests/it/routing/choice a_prefix_may_stand_before_a_model
a missing header passed for a valid admin key | tests/it/admin/transcript validate_demands_the_admin_key
listings cost a request | tests/it/limits/regressions listings_and_counts_are_free
";

#[test]
fn every_defect_of_v1_has_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for row in DEFECTS.lines() {
        let cells: Vec<_> = row.split(" | ").collect();
        assert!(cells.len() == 2 && !cells[1].is_empty(), "{row}");
        for test in cells[1].split(", ") {
            let (file, test) = test.split_once(' ').unwrap();
            let source = std::fs::read_to_string(root.join(file).with_extension("rs")).unwrap();
            let test = format!("#[test]\nfn {test}()");
            assert!(source.contains(&test) || source.replace("\n    ", "\n").contains(&test), "not there: {row}");
        }
    }
}

const PATH: &str = sample::CHAT.path;

/// What is limited is a silence.
#[test]
fn a_stream_may_last_longer_than_the_timeout() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).env("REQUEST_TIMEOUT_SECS", 2).start();
    let mut client = gateway.client();
    client.ask(&post(PATH).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    for _ in 0..7 {
        conn.send(answer::chunk(sample::CHAT.content[0]));
        std::thread::sleep(Duration::from_millis(400));
    }
    for event in sample::CHAT.content {
        conn.send(answer::chunk(event));
    }
    conn.send(answer::LAST_CHUNK);
    assert_eq!(client.head().status, 200);
    assert_eq!(client.rest().1, End::Whole);
}

#[test]
fn the_host_of_the_environment_is_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().env("DATA_DIR", dir.path()).env("HOST", "127.0.0.2").env("PORT", "0").env("WORKERS", "1");
    let mut child = command.current_dir(dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listening = lines.into_iter().find(|line| line.contains("listening: "));
    child.kill().unwrap();
    child.wait().unwrap();
    let listening = listening.expect("it listens");
    assert!(listening.contains("listening: http://127.0.0.2:"), "{listening}");
}

/// Names, keys, what clients say of themselves, and what providers answer are cut for people
/// to read.
#[test]
fn no_text_is_cut_within_a_letter() {
    let (long, message) = ("é€𝄞".repeat(25), "é€𝄞".repeat(1000));
    let provider = Fake::answering(move |_| answer::json(400, format!(r#"{{"error":{{"message":"{message}"}}}}"#)));
    let name = "é€𝄞".repeat(80);
    let only = ProviderRow { model_mapping: format!(r#"{{"{long}":"x","y":"y"}}"#), ..chat(&provider) };
    let row = CredentialRow { allowed_models: format!(r#"["{long}","y*"]"#), name: name.clone(), ..credential(KEY) };
    let gateway = Setup::new().provider(only).credential(row).env("ADMIN_KEY", "admin-key").start();
    let mut client = gateway.client();
    let ask = |model: &str| format!(r#"{{"model":"{model}","messages":[]}}"#);
    for (model, status) in [(long.as_str(), 400), ("y", 400), (&long[2..], 403), ("yé€", 404)] {
        client.ask(&post(PATH).header("user-agent", &name).body(ask(model)));
        assert_eq!(client.response().status, status);
    }
    for (path, body) in [
        ("/admin/v1/credentials", format!(r#"{{"name":"{name}","key":"é€𝄞"}}"#)),
        ("/admin/v1/providers/1/health", format!(r#"{{"models":["y","{long}"]}}"#)),
        (
            "/admin/v1/providers",
            format!(r#"{{"provider_key":"{name}","api_base":"http://{long}","api_key":"{long}"}}"#),
        ),
    ] {
        client.ask(&post(path).key("admin-key").body(body));
        let answer = client.response();
        assert!([200, 400].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
    assert!(!gateway.log().join("\n").contains("panic"), "{:?}", gateway.log());
}

/// Also who sends no key at all.
#[test]
fn keys_that_are_all_disabled_open_nothing() {
    let provider = Fake::answering(|_| answer::json(200, "{}"));
    let gateway = Setup::new().provider(chat(&provider)).env("ADMIN_KEY", "admin-key").start();
    let mut client = gateway.client();
    assert_eq!(client.call(PATH, sample::CHAT.ask).status, 200);
    client.ask(&post("/admin/v1/credentials/1/status").key("admin-key").body(r#"{"is_enabled":false}"#));
    assert_eq!(client.response().status, 200);
    for key in ["", "Bearer sk-test", "Bearer other"] {
        client.ask(&post(PATH).header("authorization", key).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 401, "{key}");
    }
    assert_eq!(provider.requests().len(), 1);
}

/// At the most talkative level, by whatever a client or an operator may read.
#[test]
fn no_secret_is_shown_anywhere() {
    let provider = Fake::answering(|_| answer::json(500, r#"{"error":{"message":"no"}}"#));
    let headers = r#"{"custom_headers":{"x-team-secret":"hidden-header"}}"#;
    let row = ProviderRow { provider_params: headers.into(), ..chat(&provider) };
    let gateway = Setup::new().provider(row).env("ADMIN_KEY", "hidden-admin").env("LOG_LEVEL", "trace").start();
    let mut client = gateway.client();
    client.call(PATH, sample::CHAT.ask);
    assert_eq!(provider.requests()[0].header("x-team-secret"), Some("hidden-header"));
    client.ask(&post("/admin/v1/providers/1/health").key("hidden-admin").body("{}"));
    let mut text = client.response().text().to_owned();
    client.ask(&post(PATH).key("sk-hidden-wrong").body(sample::CHAT.ask));
    text += client.response().text();
    for path in ["/v1/models", "/v1/model/info", "/metrics", "/health/ready", "/api-docs/openapi.json"] {
        client.ask(&get(path));
        text += client.response().text();
    }
    for path in ["/admin/v1/providers", "/admin/v1/credentials", "/admin/v1/audit", "/admin/v1/config/export"] {
        client.ask(&get(path).key("hidden-admin"));
        let answer = client.response();
        assert_eq!(answer.status, 200, "{path}");
        text += answer.text();
    }
    text += &gateway.log().join("\n");
    for secret in [PROVIDER_KEY, "hidden-header", "hidden-admin", "sk-hidden-wrong"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

use super::support::gateway::PROVIDER_KEY;
