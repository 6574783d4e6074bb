use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::*;

fn environment(process: &[(&str, &str)], file: &[(&str, &str)]) -> Environment {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), Secret::from(*v))).collect();
    Environment { process: map(process), file: map(file) }
}

fn read(name: &'static str, value: &str) -> Result<Boot, Vec<BadValue>> {
    Boot::from(&[], &environment(&[(name, value)], &[])).map(|(boot, _)| boot)
}

#[test]
fn the_defaults_in_the_table_are_the_defaults_in_force() {
    for variable in VARIABLES.iter().filter(|variable| !variable.default.is_empty()) {
        // Where a value was given is no setting.
        let boot = Boot { given: Vec::new(), ..read(variable.name, variable.default).unwrap() };
        assert_eq!(boot, Boot::default(), "{}", variable.name);
    }
}

#[test]
fn names_are_unique() {
    let mut seen = std::collections::HashSet::new();
    let names = VARIABLES.iter().flat_map(|v| [v.name, v.alias]).filter(|name| !name.is_empty());
    for name in names.chain(LATER.iter().map(|l| l.0)).chain(IGNORED.iter().copied()) {
        assert!(seen.insert(name), "{name}");
    }
}

#[test]
fn flag_then_environment_then_file_then_default() {
    let flag = Flag { flag: "--port", variable: "PORT", value: "1".into() };
    // flags, environment, file, port
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let rows: [(&[Flag], Pairs<'_>, Pairs<'_>, u16); 5] = [
        (&[flag], &[("PORT", "2")], &[("PORT", "3")], 1),
        (&[], &[("PORT", "2")], &[("PORT", "3")], 2),
        (&[], &[("PORT", "")], &[("PORT", "3")], 3),
        (&[], &[("PORT", " ")], &[], 18000),
        (&[], &[], &[], 18000),
    ];
    for (flags, process, file, port) in rows {
        let (boot, warnings) = Boot::from(flags, &environment(process, file)).unwrap();
        assert_eq!((boot.port, warnings), (port, vec![]));
    }
}

#[test]
fn values() {
    type Check = fn(&Boot) -> bool;
    let rows: [(&'static str, &str, Check); 20] = [
        ("HOST", "localhost", |b| b.host.is_loopback()),
        ("HOST", "[::]", |b| b.host.is_ipv6() && b.host.is_unspecified()),
        ("PORT", "0", |b| b.port == 0),
        ("RUNTIME_DRIVER", "io_uring", |b| b.driver == Driver::IoUring),
        ("RUNTIME_DRIVER", "EPOLL", |b| b.driver == Driver::Epoll),
        ("ALLOW_ANONYMOUS", "Yes", |b| b.allow_anonymous),
        ("VERIFY_SSL", "off", |b| !b.verify_ssl),
        ("ADMIN_KEY", " key ", |b| b.admin_key.as_deref() == Some("key")),
        ("MODEL_PREFIX", "Proxy", |b| b.model_prefix.as_deref() == Some("Proxy")),
        ("PROVIDER_SUFFIX", "Proxy", |b| b.model_prefix.as_deref() == Some("Proxy")),
        ("REASONING_CACHE_BYTES", "0", |b| b.reasoning_cache_bytes == 0),
        ("REPLAY_CACHE_BYTES", "0", |b| b.reasoning_cache_bytes == 0),
        ("LOG_LEVEL", "WARN", |b| b.log_level == LevelFilter::WARN),
        ("SSL_CERT_FILE", "/a b", |b| b.ssl_cert_file.as_deref() == Some(Path::new("/a b"))),
        ("CONNECT_TIMEOUT_SECS", "0.25", |b| b.connect_timeout == Duration::from_millis(250)),
        ("TTFT_TIMEOUT_SECS", "1.5", |b| {
            b.ttft_timeout == crate::config::timeouts::FirstContent::Fixed(Duration::from_millis(1500))
        }),
        ("TTFT_TIMEOUT_SECS", "0", |b| b.ttft_timeout == crate::config::timeouts::FirstContent::Off),
        ("COMMIT_AFTER_SECS", "0", |b| b.commit_after.is_zero()),
        ("MAX_BODY_BYTES", "1048576", |b| b.max_body_bytes == 1 << 20),
        ("WORKERS", "2", |b| b.workers == 2),
    ];
    for (name, value, check) in rows {
        assert!(check(&read(name, value).unwrap()), "{name}={value}");
    }
}

#[test]
fn every_invalid_value_is_reported() {
    let process: &[(&str, &str)] = &[
        ("HOST", "example.com"),
        ("PORT", "65536"),
        ("WORKERS", "-1"),
        ("RUNTIME_DRIVER", "kqueue"),
        ("ALLOW_ANONYMOUS", "maybe"),
        ("LOG_LEVEL", "5"),
        ("CONNECT_TIMEOUT_SECS", "0"),
        ("REQUEST_TIMEOUT_SECS", "NaN"),
        ("TOTAL_TIMEOUT_SECS", "inf"),
        ("SHUTDOWN_GRACE_SECS", "-1"),
        ("MAX_HEAD_BYTES", "64k"),
        ("MAX_ATTEMPTS", "0"),
        ("PROVIDER_SUFFIX", "a/b"),
        ("TLS_KEY", "key.pem"),
    ];
    let file = [("ADMIN_KEY", "se cret")];
    let flag = Flag { flag: "--port", variable: "PORT", value: "x".into() };
    let bad = Boot::from(&[flag], &environment(process, &file)).unwrap_err();
    assert_eq!(bad.len(), process.len() + file.len(), "{bad:#?}");
    let lines: Vec<_> = bad.iter().map(BadValue::to_string).collect();
    assert_eq!(lines[1], "--port: `x` is invalid; it must be a port from 0 to 65535");
    assert!(lines.iter().any(|line| line.starts_with("ADMIN_KEY in .env: ")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains("cret")), "{lines:#?}");
    assert_eq!(lines[lines.len() - 1], "TLS_KEY: is set without TLS_CERT; set both or neither");
}

#[test]
fn a_former_name_is_an_alias() {
    for variable in VARIABLES.iter().filter(|variable| !variable.alias.is_empty()) {
        let (name, alias) = (variable.name, variable.alias);
        assert!(Boot::from(&[], &environment(&[(name, "1")], &[(alias, "1")])).is_ok(), "{name}");
        let bad = Boot::from(&[], &environment(&[(name, "1")], &[(alias, "2")])).unwrap_err();
        let lines: Vec<_> = bad.iter().map(BadValue::to_string).collect();
        let expected = format!(
            "{name} in the environment: differs from {alias} in .env, which is its former name; set one of the two"
        );
        assert_eq!(lines, [expected]);
    }
}

/// The adaptive routing of llm-proxy v1 had these names and defaults, and it was off.
#[test]
fn adaptive_routing_has_the_names_and_numbers_of_v1() {
    let of_v1 = [
        ("ADAPTIVE_MIN_MULTIPLIER", "0.05"),
        ("ADAPTIVE_HALF_OPEN_WEIGHT_FACTOR", "0.2"),
        ("ADAPTIVE_SUCCESS_RECOVERY_STEP", "0.1"),
        ("ADAPTIVE_SLOW_START_WINDOW_SECS", "60"),
        ("ADAPTIVE_429_THRESHOLD", "3"),
        ("ADAPTIVE_5XX_THRESHOLD", "5"),
        ("ADAPTIVE_TRANSPORT_THRESHOLD", "4"),
        ("ADAPTIVE_HALF_OPEN_SUCCESS_THRESHOLD", "2"),
        ("ADAPTIVE_HALF_OPEN_MAX_PROBES", "1"),
        ("ADAPTIVE_BASE_429_COOLDOWN_SECS", "15"),
        ("ADAPTIVE_MAX_429_COOLDOWN_SECS", "300"),
        ("ADAPTIVE_BASE_OPEN_DURATION_SECS", "30"),
        ("ADAPTIVE_MAX_OPEN_DURATION_SECS", "300"),
    ];
    let of = |variables: &[(&str, &str)]| {
        let (boot, warnings) = Boot::from(&[], &environment(variables, &[])).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        format!("{:?}", boot.adaptive)
    };
    let default = of(&[]);
    assert_eq!(of(&of_v1), default);
    assert_ne!(of(&[("ADAPTIVE_ROUTING_ENABLED", "false")]), default, "it is on by default");
    for (name, value) in of_v1 {
        let other = if value.starts_with("0.") { "0.5" } else { "7" };
        assert_ne!(of(&[(name, other)]), default, "{name} has an effect");
    }
}

#[test]
fn warnings_of_what_has_no_effect() {
    // variable, value, what the one warning says; empty: none
    let rows = [
        ("ADAPTIVE_ROUTING_ENABLED", "true", ""),
        ("MIN_TOKENS_LIMIT", "100", "ignored: MIN_TOKENS_LIMIT"),
        ("LLM_PROXY_WORKERS", "2", "the name is WORKERS"),
        ("LLM_PROXY_COLOUR", "red", "LLM_PROXY_COLOUR is not a variable"),
        ("LLM_PROXY_PORT", "tcp://10.0.0.1:80", ""),
        ("LLM_PROXY_SERVICE_HOST", "10.0.0.1", ""),
        ("ALLOW_ANONYMOUS", "true", "without a key"),
        ("VERIFY_SSL", "false", "VERIFY_SSL is off"),
        ("DB_URL", "postgres://u:secret@db/g?keepalives=1", "DB_URL: the parameter keepalives has no effect"),
        ("TZ", "UTC", ""),
    ];
    for (name, value, expected) in rows {
        let (_, warnings) = Boot::from(&[], &environment(&[(name, value)], &[])).unwrap();
        let lines: Vec<_> = warnings.iter().map(Warning::to_string).collect();
        assert_eq!(lines.len(), usize::from(!expected.is_empty()), "{name}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains(expected) && !line.contains("secret")), "{name}: {lines:?}");
    }
}

#[test]
fn secrets_do_not_print() {
    let environment = environment(&[("ADMIN_KEY", "hush")], &[("OPENAI_API_KEY", "hush")]);
    let (boot, _) = Boot::from(&[], &environment).unwrap();
    assert!(!format!("{boot:?}{environment:?}").contains("hush"));
}

#[test]
fn help_lists_every_variable() {
    let help = table::help();
    for variable in VARIABLES {
        assert!(help.contains(&format!("\n  {} ", variable.name)), "{}", variable.name);
    }
    assert!(help.lines().all(|line| line.len() < 80), "{help}");
}
