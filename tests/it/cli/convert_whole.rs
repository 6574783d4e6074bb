//! Configurations of other gateways with everything that their documentation has, and in strange
//! but valid YAML: nothing is lost without a note, and no secret is in a note.

use serde_json::json;

use super::{Place, Ran};

/// Converts `config`, and checks that what comes out would be served without a problem.
fn converted(place: &Place, command: &str, file: &str, config: &str, env: &[(&str, &str)]) -> Ran {
    std::fs::write(place.0.path().join(file), config).unwrap();
    let ran = place.run(&[command, file]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    std::fs::write(place.0.path().join("gateway.yaml"), &ran.stdout).unwrap();
    let mut check = place.command(&["check-config", "gateway.yaml"]);
    let checked = super::ran(check.envs(env.iter().copied()).output().unwrap());
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", ran.stdout);
    ran
}

/// The notes of `file` without what each begins with.
fn notes<'r>(ran: &'r Ran, file: &str) -> Vec<&'r str> {
    let begins = format!("note: {file}: line ");
    ran.stderr.lines().filter_map(|line| line.strip_prefix(begins.as_str())).collect()
}

/// Anchors, merges, words and numbers of YAML 1.1, quoted numbers, a key that appears twice.
#[test]
fn yaml_as_python_reads_it() {
    let place = Place::new();
    let config = "\
---
x-shared: &shared
  api_key: sk-very-secret-$1
  timeout: '45'
x-slow: &slow {stream_timeout: 1_20, max_retries: +4}
model_list:
  - model_name: fast
    litellm_params:
      <<: [*shared, *slow]
      model: openai/gpt-4o-mini
  - model_name: fast
    litellm_params: {<<: *shared, model: openai/gpt-4o, weight: 'os.environ/WEIGHT', timeout: 9}
  - &third
    model_name: free
    litellm_params:
      model: os.environ/FREE_MODEL
  - model_name: 4.1
    model_name: \"4.1\"
    litellm_params:
      model: \"openai/gpt-4.1\"
      api_key: 'os.environ/ SECOND_API_KEY '
    model_info: {input_cost_per_token: '2e-06', supports_vision: True, note: 'True', mode: ~}
litellm_settings:
  set_verbose: False
  drop_params: Yes
  num_retries: 7
router_settings: {num_retries: '2', model_group_alias: {quick: {model: fast, hidden: no}}}
";
    let ran = converted(&place, "import-litellm", "config.yaml", config, &[("SECOND_API_KEY", "k")]);
    let expected = r#"settings:
  max_attempts: 3
providers:
  - provider_key: openai
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: "sk-very-secret-$1"
    model_mapping: {"fast": "gpt-4o-mini", "quick": "gpt-4o-mini"}
    provider_params: {"timeouts": {"total": 45, "first_content": 120}, "retries": {"max_attempts": 5}}
  - provider_key: openai-2
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: "sk-very-secret-$1"
    model_mapping: {"fast": "gpt-4o", "quick": "gpt-4o"}
    provider_params: {"timeouts": {"total": 9}}
  - provider_key: openai-3
    provider_type: openai
    api_base: "https://api.openai.com/v1"
    api_key: "env:SECOND_API_KEY"
    model_mapping: {"4.1": {"mapped_model": "gpt-4.1", "input_cost_per_token": 0.000002, "supports_vision": true, "note": "True", "mode": null}}
credentials: []
"#;
    assert_eq!(ran.stdout, expected);
    let named = [
        "2: x-shared has no counterpart and is not carried over",
        "5: x-slow has no counterpart and is not carried over",
        "12: model_list[1].litellm_params.weight is no number in this file and is not carried over",
        "16: model_list[2]: its model is in the environment variable FREE_MODEL; write the model into the file",
        "18: `model_name` appears twice, first on line 17; the last one counts",
    ];
    assert_eq!(notes(&ran, "config.yaml"), named);
    assert!(!ran.stderr.contains("very-secret"), "{}", ran.stderr);
}

/// Tiers by `order` and by fallbacks, limits, budgets, shared credentials and virtual models.
#[test]
fn everything_of_litellm_that_has_a_counterpart() {
    let place = Place::new();
    let config = "\
credential_list:
  - credential_name: west
    credential_values: {api_key: os.environ/WEST_API_KEY, api_base: 'https://west.openai.azure.com', api_version: v1}
model_list:
  - model_name: big
    litellm_params: {model: azure/big, litellm_credential_name: west, rpm: 60, tpm: 90000, order: 1}
  - model_name: big
    litellm_params: {model: openai/gpt-4.1, api_key: sk-2, order: 2, max_parallel_requests: 3}
  - model_name: small
    litellm_params: {model: groq/llama, max_budget: 5.25, budget_duration: 1d}
  - model_name: long
    litellm_params: {model: gemini/gemini-2.5-pro, tags: [free]}
litellm_settings:
  context_window_fallbacks: [{small: [long]}]
  content_policy_fallbacks: [{small: [long, gone]}]
  tag_budget_config: {batch: {max_budget: 100, budget_duration: 7d}, odd: {max_budget: 1, budget_duration: 3d}}
  max_budget: 1000
  budget_duration: 30d
router_settings:
  enable_pre_call_checks: true
  optional_pre_call_checks: [enforce_model_rate_limits, prompt_caching]
  fallbacks: [{big: [small, long]}]
  default_fallbacks: [long]
  provider_budget_config: {gemini: {budget_limit: 50, time_period: 1mo}, azure: {budget_limit: many, time_period: 1d}}
  cooldown_time: 600
  allowed_fails: 3
  redis_host: cache
  redis_port: '6380'
  redis_password: p@ss
general_settings:
  max_request_size_mb: 20
  store_prompts_in_spend_logs: true
  maximum_spend_logs_retention_period: 7d
  background_health_checks: true
  health_check_interval: 60
  alerting: [slack]
  allowed_ips: [10.0.0.1]
";
    let env = [("WEST_API_KEY", "k"), ("GROQ_API_KEY", "k"), ("GEMINI_API_KEY", "k")];
    let ran = converted(&place, "import-litellm", "config.yaml", config, &env);
    let served = |yaml: &str| assert!(ran.stdout.contains(yaml), "{yaml}\n{}", ran.stdout);
    for yaml in [
        "settings:\n  adaptive_base_429_cooldown_secs: 600\n  adaptive_base_open_duration_secs: 600\n  \
         adaptive_max_429_cooldown_secs: 600\n  adaptive_max_open_duration_secs: 600\n  \
         limits_url: \"redis://:p%40ss@cache:6380\"\n  max_body_bytes: 20971520\n  request_log_body_enabled: true\n  \
         request_log_retention_days: 7\n  health_check_interval_secs: 60\n",
        "api_base: \"https://west.openai.azure.com?api-version=v1\"\n    api_key: \"env:WEST_API_KEY\"\n    \
         model_mapping: {\"big\": \"big\"}\n    weight: 60\n    \
         provider_params: {\"limits\": {\"requests_per_minute\": 60, \"tokens_per_minute\": 90000}}\n",
        "model_mapping: {\"big\": \"gpt-4.1\"}\n    \
         provider_params: {\"priority\": 1, \"limits\": {\"max_concurrency\": 3}}\n",
        // `small` and then `long` stand in for `big`, behind both of its tiers.
        "model_mapping: {\"big\": \"llama\"}\n    provider_params: {\"priority\": 2}\n",
        "model_mapping: {\"big\": \"gemini-2.5-pro\"}\n    provider_params: {\"priority\": 3}\n",
        "model_mapping: {\"small\": \"gemini-2.5-pro\"}\n    provider_params: {\"priority\": 1}\n",
        "models:\n  - name: small\n    members: [\"small\", {\"model\": \"long\", \"priority\": 1}]\n    \
         options: {\"fallback_on\": [\"context_length\", \"content_filter\"]}\n",
        "  - name: batch-week\n    scope: tag\n    subject: batch\n    amount: 100.00\n    period: week\n",
        "  - name: groq-day\n    scope: provider\n    subject: groq\n    amount: 5.25\n    period: day\n",
        "  - name: gemini-month\n    scope: provider\n    subject: gemini\n    amount: 50.00\n    period: month\n",
    ] {
        served(yaml);
    }
    let named = [
        "12: model_list[3].litellm_params.tags has no counterpart and is not carried over",
        "14: `small` is a virtual model: its fallbacks also serve when it fails otherwise, and a key needs the \
         permission for their names",
        "15: the fallback to `gone` is not carried: there is no such model",
        "15: `small` is a virtual model: its fallbacks also serve when it fails otherwise, and a key needs the \
         permission for their names",
        "16: litellm_settings.tag_budget_config.odd is not carried over: a budget here is for an hour, a day, a week, a \
         month or in all, not for `3d`",
        "17: litellm_settings.max_budget: no budget is of the whole gateway; make one of a group of all keys",
        "20: router_settings.enable_pre_call_checks: rpm and tpm become limits of providers; whether a prompt fits is \
         known when the provider refuses it, which context_window_fallbacks answers",
        "21: router_settings.optional_pre_call_checks: `prompt_caching` has no counterpart and is not carried over",
        "24: router_settings.provider_budget_config.azure is not carried over: the amount is no number from 0 to 9000000",
        "25: router_settings.cooldown_time is the first rest of a provider here; each further one is twice as long",
        "26: router_settings.allowed_fails has no counterpart and is not carried over",
        "36: general_settings.alerting: set WEBHOOK_URL, with WEBHOOK_FORMAT=slack for Slack",
        "37: general_settings.allowed_ips has no counterpart and is not carried over",
    ];
    assert_eq!(notes(&ran, "config.yaml"), named);
}

/// Names that only a pattern serves are models like others: LiteLLM's examples have most of them.
#[test]
fn models_of_patterns_are_fallbacks_and_have_aliases() {
    let place = Place::new();
    let config = "\
model_list:
  - model_name: anthropic/*
    litellm_params: {model: anthropic/*, api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: anthropic/claude-opus-*
    litellm_params: {model: anthropic/claude-opus-*, api_key: os.environ/OPUS_API_KEY}
  - model_name: big
    litellm_params: {model: whisper-1, api_key: os.environ/OPENAI_API_KEY}
credential_list:
  - credential_name: spare
    credential_values: {api_key: k}
router_settings:
  model_group_alias: {best: anthropic/claude-opus-5, none: openai/x}
  fallbacks: [{big: [anthropic/claude-opus-5, anthropic/claude-haiku-5]}, {anthropic/claude-haiku-5: [big]}]
  context_window_fallbacks: [{big: [anthropic/claude-haiku-5]}]
  default_fallbacks: [big]
";
    let env = [("ANTHROPIC_API_KEY", "k"), ("OPUS_API_KEY", "k"), ("OPENAI_API_KEY", "k")];
    let ran = converted(&place, "import-litellm", "config.yaml", config, &env);
    for yaml in [
        "api_key: \"env:OPUS_API_KEY\"\n    \
         model_mapping: {\"anthropic/claude-opus-*\": \"claude-opus-*\", \"best\": \"claude-opus-5\"}\n",
        "model_mapping: {\"big\": \"claude-opus-5\"}\n    provider_params: {\"priority\": 1}\n",
        "model_mapping: {\"big\": \"claude-haiku-5\"}\n    provider_params: {\"priority\": 2}\n",
        "model_mapping: {\"anthropic/claude-haiku-5\": \"whisper-1\"",
        "members: [\"big\", {\"model\": \"anthropic/claude-haiku-5\", \"priority\": 1}]\n",
    ] {
        assert!(ran.stdout.contains(yaml), "{yaml}\n{}", ran.stdout);
    }
    let named = [
        "10: credential_list: no deployment names `spare`, and it is not carried over",
        "12: model_group_alias.none: there is no model `openai/x` to lead to",
        "14: `big` is a virtual model: its fallbacks also serve when it fails otherwise, and a key needs the \
         permission for their names",
        "15: the fallback of every model is not carried for names that only a pattern serves: anthropic/*, \
         anthropic/claude-opus-*",
    ];
    assert_eq!(notes(&ran, "config.yaml"), named);
}

/// `*` at one vendor is what a provider without a mapping serves: what no other one has.
#[test]
fn a_deployment_of_every_model_is_a_provider_without_a_mapping() {
    let place = Place::new();
    let config = "\
model_list:
  - model_name: '*'
    litellm_params: {model: openai/*, api_key: os.environ/OPENAI_API_KEY}
    model_info: {mode: chat}
  - model_name: small
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
  - model_name: '*'
    litellm_params: {model: '*'}
  - model_name: pictures
    litellm_params: {model: azure/, api_base: 'https://x.openai.azure.com'}
router_settings:
  model_group_alias: {best: gpt-5}
  fallbacks: [{small: [gpt-5-mini]}]
";
    let ran = converted(&place, "import-litellm", "config.yaml", config, &[("OPENAI_API_KEY", "k")]);
    let expected = "\
providers:
  - provider_key: openai
    provider_type: openai
    api_base: \"https://api.openai.com/v1\"
    api_key: \"env:OPENAI_API_KEY\"
  - provider_key: openai-2
    provider_type: openai
    api_base: \"https://api.openai.com/v1\"
    api_key: \"env:OPENAI_API_KEY\"
    model_mapping: {\"small\": \"gpt-4o-mini\", \"best\": \"gpt-5\"}
  - provider_key: openai-fallback
    provider_type: openai
    api_base: \"https://api.openai.com/v1\"
    api_key: \"env:OPENAI_API_KEY\"
    model_mapping: {\"small\": \"gpt-5-mini\"}
    provider_params: {\"priority\": 1}
credentials: []
";
    assert_eq!(ran.stdout, expected);
    let named = [
        "2: model_list[0]: it serves what no other provider has a name or a pattern for, and also what those fail to \
         serve",
        "2: model_list[0]: what is known of its models is not carried over",
        "8: model_list[2]: a model of `*` leaves the provider to the name of the model; name each provider",
        "9: model_list[3] has a name that is empty and is not carried over",
    ];
    assert_eq!(notes(&ran, "config.yaml"), named);
}

/// Every member of the documentation's tables that this gateway has nothing for is named.
#[test]
fn each_field_without_a_counterpart_is_named() {
    let place = Place::new();
    let sections = [
        (
            "litellm_settings",
            "service_callbacks turn_off_message_logging enable_preview_features redact_user_api_key_info mcp_aliases \
             langfuse_default_tags force_ipv4 cache cache_params disable_end_user_cost_tracking key_generation_settings \
             disable_hf_tokenizer_download enable_json_schema_validation default_team_settings",
        ),
        (
            "router_settings",
            "enable_tag_filtering tag_filtering_match_any retry_policy allowed_fails allowed_fails_policy \
             default_priority polling_interval max_fallbacks default_litellm_params debug_level client_ttl cache_kwargs \
             routing_strategy_args caching_groups retry_after model_group_retry_policy cache_responses search_tools \
             guardrail_list ignore_invalid_deployments router_general_settings",
        ),
        (
            "general_settings",
            "completion_model disable_spend_updates disable_master_key_return disable_reset_budget enable_jwt_auth \
             enforce_user_param allowed_routes key_management_system database_connection_pool_limit custom_auth \
             infer_model_from_keys alerting_threshold public_routes enforced_params use_x_forwarded_for \
             store_model_in_db max_response_size_mb proxy_batch_write_at custom_key_generate litellm_key_header_name \
             ui_access_mode litellm_jwtauth litellm_license pass_through_endpoints forward_client_headers_to_llm_api",
        ),
        (
            "model_list[0].litellm_params",
            "temperature max_tokens tags region_name mock_response aws_access_key_id vertex_project azure_ad_token \
             additional_drop_params allowed_openai_params input_cost_per_second configurable_clientside_auth_params \
             use_in_pass_through guardrails merge_reasoning_content_in_choices",
        ),
    ];
    let mut config = "model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/m\n".to_owned();
    let mut expected = Vec::new();
    let mut line = 4;
    for (section, fields) in sections.iter().rev() {
        if !section.contains('[') {
            config += &format!("{section}:\n");
            line += 1;
        }
        for field in fields.split_whitespace() {
            config += &format!("{}{field}: sk-secret\n", if section.contains('[') { "      " } else { "  " });
            line += 1;
            expected.push(format!("{line}: {section}.{field} has no counterpart and is not carried over"));
        }
    }
    for section in ["guardrails", "mcp_servers", "callback_settings", "vector_store_registry", "assistant_settings"] {
        config += &format!("{section}: [sk-secret]\n");
        line += 1;
        expected.push(format!("{line}: {section} has no counterpart and is not carried over"));
    }
    let ran = converted(&place, "import-litellm", "config.yaml", &config, &[("OPENAI_API_KEY", "k")]);
    assert_eq!(notes(&ran, "config.yaml"), expected);
    assert!(!ran.stderr.contains("sk-secret"), "{}", ran.stderr);
}

/// Teams, customers, budgets and what may be used, with the meaning that empty lists have.
#[test]
fn governance_of_bifrost() {
    let place = Place::new();
    let config = r#"{
  "providers": {
    "openai": {
      "keys": [{"name": "a", "value": {"env_var": "A_API_KEY", "from_env": true}, "models": ["gpt-4o"]},
               {"name": "b", "value": "vault.b", "models": []},
               {"name": "c", "value": "sk-c", "models": ["*"], "enabled": false}],
      "concurrency_and_buffer_size": {"concurrency": 3}
    },
    "groq": {
      "keys": [{"value": "sk-groq-secret", "models": ["*"]}],
      "network_config": {"max_retries": 2, "stream_idle_timeout_in_seconds": 20, "retry_backoff_initial": 1},
      "concurrency_and_buffer_size": {"concurrency": 3, "buffer_size": 10},
      "proxy_config": {"type": "socks5", "url": "socks5://proxy:1080"}
    },
    "mistral": {"keys": [{"value": "env.M_API_KEY", "models": ["*"]}],
      "proxy_config": {"type": "http", "url": "http://proxy:3128", "password": "secret-of-proxy"}}
  },
  "governance": {
    "customers": [{"id": "c1", "name": "acme", "budget_id": "b1", "rate_limit_id": "r1"}],
    "teams": [{"id": "t1", "name": "search", "customer_id": "c1", "budgets": [{"max_limit": 5, "reset_duration": "1d"}]}],
    "virtual_keys": [
      {"id": "v1", "name": "one", "value": "sk-bf-1", "team_id": "t1", "expires_at": "2030-01-01T00:00:00Z",
       "provider_configs": [{"provider": "openai", "allowed_models": ["*"]}], "calendar_aligned": true},
      {"id": "v2", "name": "two", "value": "sk-bf-2", "provider_configs": []},
      {"id": "v3", "name": "two", "value": "sk-bf-3", "provider_configs": [{"provider": "groq", "allowed_models": []}]}
    ],
    "budgets": [{"id": "b1", "max_limit": 100, "reset_duration": "1M"},
                {"id": "b2", "max_limit": 1.5, "reset_duration": "1w", "virtual_key_id": "v1"},
                {"id": "b3", "max_limit": 1, "reset_duration": "1Y", "virtual_key_id": "v2"}],
    "rate_limits": [{"id": "r1", "request_max_limit": 600, "request_reset_duration": "1m"}],
    "routing_rules": [{"id": "x"}]
  }
}"#;
    let ran = converted(&place, "import-bifrost", "config.json", config, &[("A_API_KEY", "k"), ("M_API_KEY", "k")]);
    for yaml in [
        "api_key: \"env:A_API_KEY\"\n    model_mapping: {\"openai/gpt-4o\": \"gpt-4o\", \"gpt-4o\": \"gpt-4o\"}\n",
        "model_mapping: {\"groq/*\": \"*\"}\n    provider_params: {\"retries\": {\"max_attempts\": 3}, \
         \"timeouts\": {\"silence\": 20}, \"limits\": {\"max_concurrency\": 3}, \"proxy\": \"socks5://proxy:1080\"}\n",
        "groups:\n  - name: acme\n    rate_limit: 10\n  - name: search\n    parent: acme\n",
        "  - name: acme-month\n    scope: group\n    subject: acme\n    amount: 100.00\n    period: month\n",
        "  - name: search-day\n    scope: group\n    subject: search\n    amount: 5.00\n    period: day\n",
        "  - name: one-week\n    scope: credential\n    subject: one\n    amount: 1.50\n    period: week\n",
        "    group_name: search\n    allowed_models: [\"openai/*\"]\n    expires_at: 1893456000\n",
    ] {
        assert!(ran.stdout.contains(yaml), "{yaml}\n{}", ran.stdout);
    }
    assert_eq!(ran.stdout.matches("is_enabled: false").count(), 2, "{}", ran.stdout);
    let named = [
        "5: providers.openai.keys[1]: its value is not known here, and the provider has no key",
        "5: providers.openai.keys[1] serves no model; with \"version\": 1 an empty list is every model",
        "6: providers.openai.keys[2] is disabled and not carried over",
        "7: providers.openai.concurrency_and_buffer_size.concurrency is of all keys together; here `limits` are of \
         each, and none are set",
        "10: providers.groq.keys[0]: every model is served as groq/MODEL; map the names that come without it",
        "11: providers.groq.network_config.retry_backoff_initial has no counterpart and is not carried over",
        "12: providers.groq.concurrency_and_buffer_size.buffer_size has no counterpart and is not carried over",
        "15: providers.mistral.keys[0]: every model is served as mistral/MODEL; map the names that come without it",
        "16: providers.mistral.proxy_config is not carried over; set `proxy` in provider_params",
        "24: governance.virtual_keys[1] may use nothing, and is disabled; with \"version\": 1 an empty list is everything",
        "25: governance.virtual_keys[2] may use nothing, and is disabled; with \"version\": 1 an empty list is everything",
        "29: governance.virtual_keys[1]: its budget is not carried over: a budget here is for an hour, a day, a week, a \
         month or in all, not for `1Y`",
        "31: governance.routing_rules has no counterpart and is not carried over",
    ];
    assert_eq!(notes(&ran, "config.json"), named);
    for secret in ["sk-bf", "groq-secret", "secret-of-proxy"] {
        assert!(!ran.stderr.contains(secret), "{secret}\n{}", ran.stderr);
    }
    // The same file of a Bifrost before 1.5.
    let older = config.replacen('{', "{\"version\": 1,", 1).replace("vault.b", "sk-b");
    let ran = converted(&place, "import-bifrost", "config.json", &older, &[("A_API_KEY", "k"), ("M_API_KEY", "k")]);
    assert!(!ran.stdout.contains("is_enabled: false") && !ran.stderr.contains("may use nothing"), "{}", ran.stdout);
    assert!(ran.stdout.contains("allowed_models: [\"groq/*\"]"), "{}", ran.stdout);
}

/// Budgets, groups and virtual models go into the store as well.
#[test]
fn all_of_it_is_written_to_a_store() {
    let place = Place::new();
    let config = "\
model_list:
  - {model_name: a, litellm_params: {model: openai/a, api_key: k, max_budget: 1}}
  - {model_name: b, litellm_params: {model: openai/b, api_key: k}}
router_settings: {context_window_fallbacks: [{a: [b]}]}
";
    std::fs::write(place.0.path().join("config.yaml"), config).unwrap();
    let ran = place.run(&["import-litellm", "config.yaml", "--write"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "added 4, changed 0, removed 0; 0 were as in the file\n"));
    super::holds(&place.json(&["budget", "list", "--json"])["budgets"][0], json!({"subject": "openai", "amount": 1.0}));
    assert_eq!(place.json(&["model", "list", "--json"])["models"][0]["name"], "a");
}

/// A limit of requests of a longer time than a minute is no rate, and one of tokens is a budget. No
/// key is made of an id, which is no secret.
#[test]
fn limits_of_long_times_and_keys_without_a_value() {
    let place = Place::new();
    let config = r#"{
  "providers": {"openai": {"keys": [{"value": "env.A_API_KEY", "models": ["m"]}]}},
  "governance": {
    "teams": [
      {"id": "t1", "name": "day", "rate_limit": {"request_max_limit": 1000, "request_reset_duration": "1d",
        "token_max_limit": 100000, "token_reset_duration": "1d"}},
      {"id": "t2", "name": "minute", "rate_limit_id": "r",
        "rate_limit": {"request_max_limit": 10, "request_reset_duration": "1m",
          "token_max_limit": 500, "token_reset_duration": "30s"}},
      {"id": "t3", "name": "none", "rate_limit": {"request_max_limit": 0, "request_reset_duration": "1d",
        "token_max_limit": 5, "token_reset_duration": "2d"}},
      {"id": "t4", "name": "untimed", "rate_limit": {"request_max_limit": 9}},
      {"id": "t5", "name": "lost", "rate_limit_id": "r9"}
    ],
    "virtual_keys": [
      {"id": "vk-1", "name": "one", "provider_configs": [{"provider": "openai", "allowed_models": ["*"]}]},
      {"id": "vk-2", "name": "two", "value": "sk-bf-2", "team_id": "t9",
       "provider_configs": [{"provider": "openai", "allowed_models": ["*"]}]}
    ]
  }
}"#;
    let ran = converted(&place, "import-bifrost", "config.json", config, &[("A_API_KEY", "k")]);
    let groups = "\
groups:
  - name: day
  - name: minute
    rate_limit: 1
    tokens_per_minute: 1000
  - name: none
    rate_limit: 0
  - name: untimed
  - name: lost
budgets:
  - name: day-day
    scope: group
    subject: day
    unit: tokens
    amount: 100000
    period: day
";
    assert!(ran.stdout.ends_with(groups), "{}", ran.stdout);
    assert!(ran.stdout.contains("name: two") && !ran.stdout.contains("name: one"), "{}", ran.stdout);
    let named = [
        "5: governance.teams[0]: its limit of 1000 requests per 1d is not carried over; limits of requests are per \
         second here",
        "8: governance.teams[1]: 10 requests per 1m became 1 per second",
        "10: governance.teams[2]: its limit of tokens is not carried over: a budget here is for an hour, a day, a \
         week, a month or in all, not for `2d`",
        "12: governance.teams[3]: its request_max_limit is not carried over: it is no number for a time",
        "13: governance.teams[4].rate_limit_id is of no limit in this file",
        "16: governance.virtual_keys[0] has no value and is not carried over",
        "17: governance.virtual_keys[1].team_id is not in this file; its limits are not carried over",
    ];
    assert_eq!(notes(&ran, "config.json"), named);
}

/// A dollar sign in an address stands for itself, and a password in it is a secret of the file.
#[test]
fn passwords_of_redis() {
    let place = Place::new();
    let config = "\
model_list:
  - {model_name: m, litellm_params: {model: openai/m}}
router_settings: {redis_url: 'redis://:pa$$w0${HOME}rd@h'}
";
    let ran = converted(&place, "import-litellm", "config.yaml", config, &[("OPENAI_API_KEY", "k")]);
    assert!(ran.stdout.contains("limits_url: \"redis://:pa$$$$w0$${HOME}rd@h\"\n"), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("note: the file that was printed has secrets in it;"), "{}", ran.stderr);
}
