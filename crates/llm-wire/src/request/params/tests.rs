use super::*;
use crate::target::overrides::Overrides;
use crate::target::plan::Target;

fn context(format: Format, host: Host, model: &'static str) -> Context<'static> {
    Context::new(Target::new(format, host, model, "p", &Overrides::default()), "asked")
}

fn plan(cx: &Context<'_>) -> Plan {
    Plan::new(Format::Chat, RawValue::new(b"{}"), cx)
}

fn number(text: &'static str) -> Option<Number<'static>> {
    Some(Number(RawValue::new(text.as_bytes())))
}

#[test]
fn sampling_by_model() {
    let claude = |model| context(Format::Messages, Host::Anthropic, model);
    let rows = [
        // target, thinks, temperature, top_p -> temperature, top_p, header
        (claude("claude-sonnet-4-5"), false, "1.7", None, Some("1"), None, "temperature;clamped"),
        (claude("claude-sonnet-4-5"), false, "0.50", Some("0.9"), Some("0.50"), None, "top_p;dropped"),
        (claude("claude-3-haiku"), false, "0.5", Some("0.9"), Some("0.5"), Some("0.9"), ""),
        (claude("claude-sonnet-4-5"), true, "0.5", Some("0.97"), None, Some("0.97"), "temperature;dropped"),
        (claude("claude-opus-5"), false, "0.5", None, None, None, "temperature;dropped"),
        (claude("claude-opus-5"), false, "1", Some("1.0"), None, None, ""),
        (context(Format::Responses, Host::OpenAi, "gpt-5"), true, "0.5", None, None, None, "temperature;dropped"),
        (context(Format::Responses, Host::OpenAi, "gpt-5.2"), false, "0.5", None, Some("0.5"), None, ""),
        (context(Format::Responses, Host::OpenAi, "gpt-5.2"), true, "0.5", None, None, None, "temperature;dropped"),
        (context(Format::Chat, Host::Kimi, "kimi-k2"), false, "0", None, Some("0.01"), None, "temperature;clamped"),
        (context(Format::Chat, Host::Unknown, "llama"), false, "-1", None, Some("0"), None, "temperature;clamped"),
    ];
    for (cx, thinks, temperature, top_p, sent, sent_top_p, header) in rows {
        let mut request = Request::new(Format::Chat);
        (request.sampling.temperature, request.sampling.top_p) = (number(temperature), top_p.and_then(number));
        let mut ledger = Ledger::new(false);
        let got = settle(&request, &cx, thinks, &mut plan(&cx), &mut ledger).unwrap();
        let what = format!("{} {temperature}", cx.target.model);
        assert_eq!(got.temperature.as_deref(), sent.map(str::as_bytes), "{what}");
        assert_eq!(got.top_p.map(|n| n.0.bytes()), sent_top_p.map(str::as_bytes), "{what}");
        assert_eq!(ledger.dropped_header().unwrap_or_default(), header, "{what}");
    }
}

/// State that lives elsewhere is refused, and named.
#[test]
fn state_of_another_provider_is_refused() {
    let cx = context(Format::Messages, Host::Anthropic, "claude-opus-5");
    let check = |fill: fn(&mut Request<'static>), param: &str| {
        let mut request = Request::new(Format::Responses);
        fill(&mut request);
        let error = settle(&request, &cx, false, &mut plan(&cx), &mut Ledger::new(false)).unwrap_err();
        assert_eq!((error.kind.row().status, error.param.as_deref()), (400, Some(param)));
    };
    check(|r| r.state.previous = Some(RawValue::new(b"\"resp_1\"")), "previous_response_id");
    check(|r| r.state.conversation = Some(RawValue::new(b"{}")), "conversation");
    check(|r| r.state.prompt = Some(RawValue::new(b"{}")), "prompt");
    check(|r| r.state.background = true, "background");
    check(|r| r.sampling.n = Some(2), "n");
}

#[test]
fn stop_sequences_are_native_as_far_as_they_go() {
    let mut request = Request::new(Format::Messages);
    request.sampling.stop = ["a", "b", "c", "d", "e"].map(Text::plain).to_vec();
    for (cx, native, emulated) in [
        (context(Format::Messages, Host::Anthropic, "claude-opus-5"), 5, 0),
        (context(Format::Chat, Host::OpenAi, "gpt-4o"), 4, 1),
        (context(Format::Chat, Host::OpenAi, "o3"), 0, 5),
        (context(Format::Responses, Host::OpenAi, "gpt-4o"), 0, 5),
    ] {
        let mut plan = plan(&cx);
        let got = settle(&request, &cx, false, &mut plan, &mut Ledger::new(true)).unwrap();
        assert_eq!((got.stop.len(), plan.stops.len()), (native, emulated), "{}", cx.target.model);
    }
}

#[test]
fn identity_and_cache_key() {
    let id = format!("user_{}_account_x_session_1234", "f".repeat(64));
    let mut request = Request::new(Format::Messages);
    request.identity.safety = Some(Text::plain(&id));
    let openai = context(Format::Responses, Host::OpenAi, "gpt-5");
    let got = settle(&request, &openai, false, &mut plan(&openai), &mut Ledger::new(true)).unwrap();
    assert_eq!(got.safety.unwrap().as_bytes().len(), 64, "hashed");
    assert!(got.cache_key.unwrap().eq_str("1234"));
    request.identity.safety = Some(Text::plain(r#"{"device_id":"d","session_id":"s-9"}"#));
    let got = settle(&request, &openai, false, &mut plan(&openai), &mut Ledger::new(true)).unwrap();
    assert!(got.cache_key.unwrap().eq_str("s-9"));
    let mut old = context(Format::Chat, Host::Azure, "gpt-4o");
    old.target.quirks = old.target.quirks.with(Quirk::OldFields);
    let got = settle(&request, &old, false, &mut plan(&old), &mut Ledger::new(true)).unwrap();
    assert!(got.safety.is_none() && got.cache_key.is_none() && got.user.is_some());
    let unknown = context(Format::Chat, Host::Unknown, "llama");
    let got = settle(&request, &unknown, false, &mut plan(&unknown), &mut Ledger::new(true)).unwrap();
    assert!(got.safety.is_none() && got.cache_key.is_none());
}

#[test]
fn tiers() {
    let rows = [
        (Format::Messages, Host::Anthropic, "default", Some("standard_only"), ""),
        (Format::Messages, Host::Anthropic, "priority", Some("auto"), ""),
        (Format::Messages, Host::Anthropic, "flex", None, "service_tier;dropped"),
        (Format::Responses, Host::OpenAi, "standard_only", Some("default"), ""),
        (Format::Responses, Host::OpenAi, "flex", Some("flex"), ""),
        (Format::Chat, Host::Unknown, "auto", None, ""),
    ];
    for (format, host, requested, sent, header) in rows {
        let cx = context(format, host, "m");
        let mut request = Request::new(Format::Chat);
        request.tier = Some(RawStr::new(requested.as_bytes()));
        let mut ledger = Ledger::new(false);
        let got = settle(&request, &cx, false, &mut plan(&cx), &mut ledger).unwrap();
        assert_eq!(got.tier.as_deref(), sent, "{format} {requested}");
        assert_eq!(ledger.dropped_header().unwrap_or_default(), header, "{format} {requested}");
    }
}

/// The defaults of `max_tokens` towards Messages.
#[test]
fn limits() {
    let cx = context(Format::Messages, Host::Anthropic, "claude-sonnet-4-20250514");
    assert_eq!(default_max_tokens(&cx), 64_000);
    assert_eq!(default_max_tokens(&Context { input_estimate: Some(&|| 150_000), ..cx }), 48_976);
    assert_eq!(default_max_tokens(&context(Format::Messages, Host::Bedrock, "anthropic.claude-opus-5")), 8192);
    let openai = context(Format::Responses, Host::OpenAi, "gpt-4o");
    let mut request = Request::new(Format::Chat);
    for (requested, sent) in [(None, None), (Some(5), Some(16)), (Some(100), Some(100)), (Some(1 << 40), Some(16_384))]
    {
        request.max_tokens = requested;
        assert_eq!(openai_max_tokens(&request, &openai, &mut Ledger::new(false)).unwrap(), sent);
    }
}
