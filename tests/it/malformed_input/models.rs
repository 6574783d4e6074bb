//! Models: unknown, forbidden, and names made to break what repeats them.

use llm_proxy::config::rows::CredentialRow;

use super::*;

fn unknown(name: &str) -> ExpectedError {
    expected_error(format!("no provider serves model `{name}`; GET /v1/models lists what is served"))
        .status(404)
        .code("model_not_found")
        .messages_kind("not_found_error")
        .param("model")
}

fn near(name: &str) -> ExpectedError {
    let note =
        format!("no provider serves model `{name}`; did you mean `m-asked`? GET /v1/models lists what is served");
    ExpectedError { message: note, ..unknown(name) }
}

fn long(bytes: usize) -> ExpectedError {
    expected_error(format!("`model` is {bytes} bytes long; names of models have at most 1024")).param("model")
}

#[test]
fn models_without_a_provider_are_refused() {
    let most = "m".repeat(1024);
    let rows: Vec<(String, ExpectedError)> = vec![
        ("m-other".into(), unknown("m-other")),
        ("M-ASKED".into(), near("M-ASKED")),
        (" m-asked".into(), near(" m-asked")),
        ("openai/m-asked".into(), near("openai/m-asked")),
        ("openrouter/openai/M-asked".into(), near("openrouter/openai/M-asked")),
        ("m-asked\0".into(), unknown("m-asked\0")),
        ("m\"asked".into(), unknown("m\"asked")),
        ("m\\asked".into(), unknown("m\\asked")),
        ("`m`".into(), unknown("`m`")),
        ("m\r\nx-evil: 1\r\n\r\n".into(), unknown("m\r\nx-evil: 1\r\n\r\n")),
        ("\u{1b}[2J\u{7f}\u{85}\u{2028}".into(), unknown("\u{1b}[2J\u{7f}\u{85}\u{2028}")),
        ("модель 模型 🤖 e\u{301}".into(), unknown("модель 模型 🤖 e\u{301}")),
        ("\u{202e}dekса-m".into(), unknown("\u{202e}dekса-m")),
        ("</script><script>".into(), unknown("</script><script>")),
        ("{{7*7}}%s%n$(id)".into(), unknown("{{7*7}}%s%n$(id)")),
        ("../../etc/passwd".into(), unknown("../../etc/passwd")),
        ("*".into(), unknown("*")),
        ("/m-asked".into(), near("/m-asked")),
        (most.clone(), unknown(&most)),
        (format!("{most}m"), long(1025)),
        ("é".repeat(1 << 20), long(2 << 20)),
    ];
    let mut bench = Bench::new();
    for (model, expected_error) in &rows {
        for sample in FORMATS {
            let body = json!({ "model": model }).to_string();
            bench.refused(model, &asking(sample, body), sample.shape(), expected_error, Then::Kept);
        }
    }
    // Half a surrogate pair has no UTF-8: it is shown as what replaces it.
    for sample in FORMATS {
        let request = asking(sample, r#"{"model":"m\ud83d"}"#);
        bench.refused("half a pair", &request, sample.shape(), &unknown("m\u{fffd}"), Then::Kept);
    }
    bench.finish();
}

#[test]
fn models_that_a_key_may_not_use_are_refused() {
    let limited = |name: &str, allowed: &str| CredentialRow {
        name: name.into(),
        allowed_models: allowed.into(),
        ..credential(name)
    };
    let setup = Setup::new()
        .credential(credential(KEY))
        .credential(limited("k-one", r#"["m-other"]"#))
        .credential(limited("k-many", r#"["a","b","c","d","e","f","g","h","i","j"]"#))
        .credential(limited("k-odd", r#"["say \"m\"","тест"]"#));
    let rows = [
        ("k-one", MODEL, "model `m-asked` is not allowed for credential `k-one`, which may use m-other"),
        // What may not be used need not exist.
        ("k-one", "m-none", "model `m-none` is not allowed for credential `k-one`, which may use m-other"),
        (
            "k-many",
            MODEL,
            "model `m-asked` is not allowed for credential `k-many`, which may use a, b, c, d, e, f, g, h and 2 more",
        ),
        ("k-odd", "\"\n", "model `\"\n` is not allowed for credential `k-odd`, which may use say \"m\", тест"),
    ];
    let mut bench = Bench::with(setup);
    for (key, model, note) in rows {
        for sample in FORMATS {
            let body = json!({ "model": model }).to_string();
            let request = post(sample.path).key(key).body(body).bytes();
            bench.refused(key, &request, sample.shape(), &forbidden(note).param("model"), Then::Kept);
        }
    }
    bench.finish();
}

#[test]
fn malformed_listing_requests_are_refused() {
    let unlisted = |id: &str| {
        expected_error(format!("model `{id}` is not served, or not to this credential; GET /v1/models lists what is"))
            .status(404)
            .code("model_not_found")
            .messages_kind("not_found_error")
            .param("model")
    };
    let query = |name: &str, text: &str, wanted: &str, param| {
        expected_error(format!("query parameter `{name}` is `{text}`; it must be {wanted}")).param(param)
    };
    let long = "x".repeat(300);
    let rows: Vec<(String, ExpectedError)> = vec![
        ("/v1/models/m-other".into(), unlisted("m-other")),
        ("/v1/models/a%22b%0A%C3%A9".into(), unlisted("a\"b\né")),
        ("/v1/models/%ff".into(), unlisted("\u{fffd}")),
        ("/v1/models/..%2f..%2fetc".into(), unlisted("../../etc")),
        (format!("/v1/models/{long}"), unlisted(&long[..200])),
        ("/v1/models?limit=many".into(), query("limit", "many", "a whole number from 1 to 1000", "limit")),
        (
            "/v1/models?after_id=a&before_id=b".into(),
            expected_error("`after_id` and `before_id` exclude each other; send one of them").param("before_id"),
        ),
        (format!("/v1/models?limit={long}"), query("limit", &long[..100], "a whole number from 1 to 1000", "limit")),
    ];
    let mut bench = Bench::new();
    for (path, expected_error) in &rows {
        let request = get(path).header("anthropic-version", "2023-06-01").bytes();
        bench.refused(path, &request, Shape::Messages, expected_error, Then::Kept);
        if !path.contains('?') {
            bench.refused(path, &get(path).bytes(), Shape::OpenAi, expected_error, Then::Kept);
        }
    }
    bench.finish();
}
