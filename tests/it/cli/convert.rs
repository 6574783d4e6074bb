//! Configurations of other gateways.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Place;
use crate::support::{Fake, Setup, answer, post};

const CONFIG: &str = "\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/dep
      api_base: https://x.openai.azure.com
      api_key: os.environ/AZURE_API_KEY
      api_version: '2024-10-21'
      rpm: 900
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: sk-$literal, rpm: 100, timeout: 30}
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_base: os.environ/CLAUDE_BASE
      extra_headers: {x-team: core}
    model_info: {id: 1, input_cost_per_token: 0.000003, mode: chat}
  - model_name: router/*
    litellm_params: {model: openrouter/*, weight: 0.5}
  - model_name: bed
    litellm_params: {model: bedrock/claude}
  - model_name: local
    litellm_params: {model: ollama_chat/qwen3, api_base: 'http://h:11434'}
litellm_settings:
  drop_params: true
  request_timeout: 600
  callbacks: [prometheus, langfuse, sentry]
  cache: true
router_settings:
  routing_strategy: latency-based-routing
  num_retries: 2
  model_group_alias: {smart: claude, none: nothing}
  fallbacks: [{gpt-4o: [claude, gone]}]
  redis_host: cache
  redis_password: os.environ/REDIS_PASSWORD
general_settings:
  master_key: os.environ/MASTER_KEY
  global_max_parallel_requests: 5
  custom_auth: auth.check
";

const FILE: &str = r#"settings:
  total_timeout_secs: 600
  langfuse_enabled: true
  max_attempts: 3
  limits_url: "redis://:${REDIS_PASSWORD}@cache:6379"
  max_concurrent_requests: 5
providers:
  - provider_key: azure
    provider_type: azure
    api_base: "https://x.openai.azure.com?api-version=2024-10-21"
    api_key: "env:AZURE_API_KEY"
    model_mapping: {"gpt-4o": "dep"}
    weight: 900
  - provider_key: openai
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: "sk-$literal"
    model_mapping: {"gpt-4o": "gpt-4o"}
    weight: 100
    provider_params: {"timeouts": {"total": 30}}
  - provider_key: anthropic
    provider_type: anthropic
    api_base: "${CLAUDE_BASE}"
    api_key: "env:ANTHROPIC_API_KEY"
    model_mapping: {"claude": {"mapped_model": "claude-sonnet-4-5", "input_cost_per_token": 0.000003, "mode": "chat"}, "smart": {"mapped_model": "claude-sonnet-4-5", "input_cost_per_token": 0.000003, "mode": "chat"}}
    provider_params: {"custom_headers": {"x-team": "core"}}
  - provider_key: openrouter
    provider_type: openai
    api_base: "https://openrouter.ai/api/v1"
    api_key: "env:OPENROUTER_API_KEY"
    model_mapping: {"router/*": "*"}
    weight: 50
  - provider_key: ollama_chat
    provider_type: openai
    api_base: "http://h:11434/v1"
    model_mapping: {"local": "qwen3"}
  - provider_key: anthropic-fallback
    provider_type: anthropic
    api_base: "${CLAUDE_BASE}"
    api_key: "env:ANTHROPIC_API_KEY"
    model_mapping: {"gpt-4o": {"mapped_model": "claude-sonnet-4-5", "input_cost_per_token": 0.000003, "mode": "chat"}}
    provider_params: {"custom_headers": {"x-team": "core"}, "priority": 1}
credentials:
  - name: litellm-master
    key: "${MASTER_KEY}"
"#;

#[test]
fn a_configuration_of_litellm() {
    let place = Place::new();
    std::fs::write(place.0.path().join("config.yaml"), CONFIG).unwrap();
    let ran = place.run(&["import-litellm", "config.yaml"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, FILE), "{}", ran.stderr);
    let named = [
        (8, "model_list[0].litellm_params.rpm is a share of the requests here, not a limit"),
        (10, "model_list[1].litellm_params.rpm is a share of the requests here, not a limit"),
        (20, "model_list[4]: `bedrock/claude` is of a provider that is not served by this version"),
        (26, "litellm_settings.callbacks: `sentry` has no counterpart and is not carried over"),
        (27, "litellm_settings.cache has no counterpart and is not carried over"),
        (29, "router_settings.routing_strategy: requests are shared by weights, as with simple-shuffle"),
        (31, "model_group_alias.none: there is no model `nothing` to lead to"),
        (32, "the fallback to `gone` is not carried: there is no such model"),
        (34, "redis_password: REDIS_PASSWORD becomes a part of the URL in LIMITS_URL; percent-encode its value"),
        (36, "general_settings.master_key is a client's key here"),
        (38, "general_settings.custom_auth has no counterpart and is not carried over"),
    ];
    let mut lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines.pop().unwrap().starts_with("note: the file that was printed has secrets in it"));
    assert_eq!(lines.len(), named.len(), "{}", ran.stderr);
    for (line, (number, what)) in lines.iter().zip(named) {
        let begins = format!("note: config.yaml: line {number}: {what}");
        assert!(line.starts_with(&begins), "{line}\n{begins}");
    }
    std::fs::write(place.0.path().join("gateway.yaml"), &ran.stdout).unwrap();
    let mut check = place.command(&["check-config", "gateway.yaml"]);
    check.envs([("REDIS_PASSWORD", "p"), ("CLAUDE_BASE", "https://api.anthropic.com"), ("MASTER_KEY", "sk-m")]);
    check.envs([("LANGFUSE_PUBLIC_KEY", "pk"), ("LANGFUSE_SECRET_KEY", "sk")]);
    let checked = super::ran(check.output().unwrap());
    assert_eq!(checked.code, 0, "{}", checked.stderr);
}

/// A key of LiteLLM works as it is: its hash is that of this gateway.
#[test]
fn keys_of_litellm_go_on_working() {
    let upstream = Fake::answering(|_| answer::json(200, r#"{"id":"x"}"#));
    let place = Place::new();
    let config = format!(
        "model_list:\n- model_name: m\n  litellm_params: {{model: openai/m, api_key: k, api_base: '{}'}}\n  \
         model_info: {{access_groups: [beta-models], input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}}\n",
        upstream.url("/v1")
    );
    std::fs::write(place.0.path().join("config.yaml"), config).unwrap();
    let hash = hex::encode(Sha256::digest(b"sk-of-litellm"));
    let keys = json!([
        {"token": hash, "key_alias": "team", "models": ["m"], "rpm_limit": 600, "tpm_limit": 9000,
         "max_parallel_requests": 4, "expires": "2030-01-01T00:00:00", "metadata": {"a": 1}, "spend": 1.5,
         "max_budget": 10.5, "budget_duration": "30d", "blocked": null, "team_id": null},
        {"token": "ab".repeat(32), "models": ["all-proxy-models"], "rpm_limit": 6, "blocked": true,
         "max_budget": 1, "budget_duration": "45d"},
        {"token": "cd".repeat(32), "key_alias": "team", "models": [], "team_id": "t", "expires": "soon"},
        {"token": "ef".repeat(32), "key_alias": "none", "models": ["no-default-models"], "budget_id": "b"},
        {"token": "09".repeat(32), "key_alias": "beta", "models": ["beta-models"], "max_budget": 3},
        {"key_alias": "no token"},
        {"token": "12".repeat(32), "key_alias": "of-team", "models": ["all-team-models"]},
        {"token": "34".repeat(32), "key_alias": "listed", "models": [], "team_id": "t", "team_models": ["m", "n"]},
        {"token": "56".repeat(32), "key_alias": "any", "models": []},
        {"token": "78".repeat(32), "key_alias": "all", "models": ["all-proxy-models"], "team_id": "t"},
        {"token": "9a".repeat(32), "key_alias": "own", "models": ["m"], "team_id": "t"},
    ]);
    std::fs::write(place.0.path().join("keys.json"), keys.to_string()).unwrap();
    let ran = place.run(&["import-litellm", "config.yaml", "--keys", "keys.json", "--write"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "added 13, changed 0, removed 0; 0 were as in the file\n"));
    for what in [
        "key team: its budget begins anew; what was spent is not carried over",
        "key litellm-abababab: rpm_limit 6 became 1 per second",
        "key litellm-abababab: max_budget is not carried over: a budget here is for an hour, a day, a week, a month or in \
         all, not for `45d`",
        "key team-2: the models of its team are not known here, so it is disabled; give it models and enable it",
        "key team-2: team_id has no counterpart and is not carried over",
        "key of-team: the models of its team are not known here, so it is disabled; give it models and enable it",
        "key team-2: expires is no time that could be read, so it is disabled",
        "key none: budget_id has no counterpart and is not carried over",
        "keys[5] has no token and is not carried over",
    ] {
        let what = format!("note: keys.json: line 1: {what}\n");
        assert!(ran.stderr.contains(&what), "{what}\n{}", ran.stderr);
    }
    let budgets = place.json(&["budget", "list", "--json"]);
    for (at, expected) in [
        json!({"name": "team-month", "scope": "credential", "subject": "team", "amount": 10.5, "period": "month"}),
        json!({"name": "beta-total", "scope": "credential", "subject": "beta", "amount": 3.0, "period": "total"}),
    ]
    .into_iter()
    .enumerate()
    {
        super::holds(&budgets["budgets"][at], expected);
    }
    let list = place.json(&["key", "list", "--json"]);
    super::holds(
        &list["credentials"][0],
        json!({"name": "team", "rate_limit": 10, "tokens_per_minute": 9000, "max_concurrency": 4,
               "allowed_models": ["m"], "expires_at": "2030-01-01T00:00:00Z", "metadata": {"a": 1}}),
    );
    for (at, expected) in [
        json!({"name": "litellm-abababab", "rate_limit": 1, "is_enabled": false}),
        json!({"name": "team-2", "is_enabled": false, "allowed_models": ["all-team-models"]}),
        json!({"name": "none", "allowed_models": ["no-default-models"]}),
        json!({"name": "beta", "allowed_models": ["m"]}),
        json!({"name": "of-team", "is_enabled": false, "allowed_models": ["all-team-models"]}),
        json!({"name": "listed", "is_enabled": true, "allowed_models": ["m", "n"]}),
        json!({"name": "any", "is_enabled": true, "allowed_models": []}),
        json!({"name": "all", "is_enabled": false, "allowed_models": ["all-team-models"]}),
        json!({"name": "own", "is_enabled": true, "allowed_models": ["m"]}),
    ]
    .into_iter()
    .enumerate()
    {
        super::holds(&list["credentials"][at + 1], expected);
    }
    let gateway = Setup::new().env("DATA_DIR", place.0.path().join("data").display()).start();
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").key("sk-of-litellm").body(r#"{"model":"m","messages":[]}"#));
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_configuration_of_bifrost() {
    let config = r#"{
  "$schema": "https://www.getbifrost.ai/schema",
  "client": {"max_request_body_size_mb": 10, "enable_logging": true, "initial_pool_size": 300},
  "providers": {
    "openai": {
      "keys": [
        {"id": "k1", "name": "one", "value": "env.OPENAI_API_KEY", "weight": 0.7, "models": ["gpt-4o"]},
        {"name": "two", "value": "sk-two", "weight": 0.3, "models": ["*"], "use_for_batch_api": true}
      ],
      "network_config": {"default_request_timeout_in_seconds": 30, "extra_headers": {"x-a": "b"}}
    },
    "azure": {"keys": [{"name": "a", "value": "env.AZURE_KEY", "models": [], "azure_key_config": {
      "endpoint": "env.AZURE_ENDPOINT", "api_version": "2024-10-21", "deployments": {"gpt-4o": "dep"}}}]},
    "mine": {"keys": [{"value": "k", "models": ["m"]}], "network_config": {"base_url": "http://h:8000"},
      "custom_provider_config": {"base_provider_type": "openai", "request_path_overrides": {"x": "/y"}}},
    "vertex": {"keys": [{"name": "v"}]}
  },
  "governance": {
    "virtual_keys": [{"id": "vk", "name": "team", "value": "sk-bf-x", "is_active": true, "rate_limit_id": "r",
      "provider_configs": [{"provider": "openai", "allowed_models": ["gpt-4o"], "key_ids": ["k1"]},
                           {"provider": "mine", "allowed_models": ["*"], "key_ids": ["*"]}]}],
    "rate_limits": [{"id": "r", "request_max_limit": 1200, "request_reset_duration": "1m",
                     "token_max_limit": 60000, "token_reset_duration": "1h"}, {"id": "spare"}],
    "budgets": [{"id": "b"}, {"id": "c", "max_limit": 5, "reset_duration": "1d"}],
    "providers": [{"name": "mine", "budget_id": "c", "rate_limit_id": "r"}, {"name": "openai", "budget_id": "c"}]
  },
  "mcp": {"client_configs": [1]},
  "plugins": [{"enabled": true, "name": "otel"}, {"enabled": true, "name": "telemetry"},
    {"enabled": true, "name": "semantic_cache"}, {"enabled": false, "name": "maxim"}]
}"#;
    let place = Place::new();
    std::fs::write(place.0.path().join("config.json"), config).unwrap();
    let ran = place.run(&["import-bifrost", "config.json"]);
    let hash = hex::encode(Sha256::digest(b"sk-bf-x"));
    let expected = format!(
        r#"settings:
  max_body_bytes: 10485760
providers:
  - provider_key: openai
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: "env:OPENAI_API_KEY"
    model_mapping: {{"openai/gpt-4o": "gpt-4o", "gpt-4o": "gpt-4o"}}
    weight: 70
    provider_params: {{"custom_headers": {{"x-a": "b"}}, "timeouts": {{"total": 30}}}}
  - provider_key: openai-2
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: sk-two
    model_mapping: {{"openai/*": "*"}}
    weight: 30
    provider_params: {{"custom_headers": {{"x-a": "b"}}, "timeouts": {{"total": 30}}}}
  - provider_key: azure
    provider_type: azure
    api_base: "${{AZURE_ENDPOINT}}?api-version=2024-10-21"
    api_key: "env:AZURE_KEY"
    model_mapping: {{"azure/gpt-4o": "dep", "gpt-4o": "dep"}}
  - provider_key: mine
    provider_type: openai
    api_base: "http://h:8000/v1"
    api_key: k
    model_mapping: {{"mine/m": "m", "m": "m"}}
credentials:
  - name: team
    credential_key: {hash}
    allowed_models: ["openai/gpt-4o", "gpt-4o", "mine/*"]
    rate_limit: 20
budgets:
  - name: team-hour
    scope: credential
    subject: team
    unit: tokens
    amount: 60000
    period: hour
  - name: mine-day
    scope: provider
    subject: mine
    amount: 5.00
    period: day
"#
    );
    let expected = match hash.starts_with(|first: char| first.is_ascii_alphabetic()) {
        true => expected,
        false => expected.replace(&hash, &format!("\"{hash}\"")),
    };
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected.as_str()), "{}", ran.stderr);
    for what in [
        "line 3: client.initial_pool_size has no counterpart",
        "line 8: providers.openai.keys[1]: every model is served as openai/MODEL",
        "line 8: providers.openai.keys[1].use_for_batch_api has no counterpart",
        "line 16: providers.vertex is of a vendor that is not served by this version",
        "line 20: governance.virtual_keys[0].provider_configs[0].key_ids has no counterpart",
        "line 24: governance.budgets[0] is of no virtual key, team, customer or provider",
        "line 15: providers.mine.custom_provider_config.request_path_overrides has no counterpart",
        "line 23: governance.rate_limits[1] is of no virtual key, team or customer",
        "line 25: governance.providers[0].rate_limit_id has no counterpart",
        "line 25: governance.providers[1]: its budget is not that of one provider here",
        "line 27: mcp has no counterpart",
        "line 28: plugins[0]: `otel`: set OTEL_EXPORTER_OTLP_ENDPOINT of the gateway",
        "line 29: plugins[2]: `semantic_cache` has no counterpart",
    ] {
        assert!(ran.stderr.contains(&format!("note: config.json: {what}")), "{what}\n{}", ran.stderr);
    }
}

#[test]
fn what_can_not_be_read_or_holds_nothing() {
    let place = Place::new();
    place.bad(&["import-litellm", "gone.yaml"], 1, "gone.yaml can't be read");
    std::fs::write(place.0.path().join("bad.yaml"), "a: [").unwrap();
    place.bad(&["import-litellm", "bad.yaml"], 2, "bad.yaml: line ");
    std::fs::write(place.0.path().join("empty.json"), "{}").unwrap();
    place.bad(
        &["import-bifrost", "empty.json"],
        1,
        "the file has no provider and no key that this gateway could serve",
    );
}

#[test]
fn settings_of_clients() {
    let place = Place::new();
    let list = place.good(&["connect"]);
    assert!(list.lines().count() > 25 && list.contains("claude-code"), "{list}");
    let args = ["connect", "anthropic-python", "--url", "http://h:1/v1/", "--key", "sk-k", "--model", "m"];
    let text = place.good(&args);
    assert!(text.contains(r#"Anthropic(base_url="http://h:1", api_key="sk-k")"#) && text.contains(r#"model="m""#));
    let codex = place.run(&["connect", "codex"]);
    assert!(codex.stdout.contains("base_url = \"http://127.0.0.1:1/v1\""), "PORT is that of the environment");
    place.bad(&["connect", "codex", "--url", "h:1"], 2, "`h:1` is no address of a gateway");
    place.bad(&["connect", "nothing"], 2, "possible values");
}
