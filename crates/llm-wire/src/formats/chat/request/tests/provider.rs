//! What a provider is sent.

use crate::formats::chat::request::tests::*;

/// Inside one format everything survives, raw bytes included.
#[test]
fn openai_request_round_trip_is_unchanged() {
    let body = r#"{"model":"m1","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO\/w==","detail":"low"}},{"type":"image_url","image_url":{"url":"https:\/\/x"}}]},{"role":"assistant","content":"b","refusal":"r"},{"role":"user","content":"c","name":"Ann"},{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"n\":1.0}"}},{"id":"t2","type":"function","function":{"name":"f","arguments":"not json"}}]},{"role":"tool","tool_call_id":"t1","content":"1"},{"role":"tool","tool_call_id":"t2","content":[{"type":"text","text":"2"},{"type":"text","text":"3"}]},{"role":"user","content":"\ud83d"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"n":{"type":"number","maximum":1e400,"maximum":2}}},"strict":false}}],"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},"max_completion_tokens":99,"temperature":0.50,"top_p":0.9,"seed":12345678901234567890,"logit_bias":{"1":-1.0},"stop":["a","b"],"user":"u","prompt_cache_key":"pk","metadata":{"k":"v"},"service_tier":"flex","stream":false}"#;
    let got = sent(body, Host::OpenAi, "m1");
    assert_eq!((got.dropped.as_str(), got.repaired.as_str()), ("", ""));
    assert_eq!(got.body, body);
}

/// What the canonical form holds beyond Chat, towards OpenAI.
#[test]
fn requests_of_other_formats_towards_chat() {
    let mut request = Request::new(Format::Messages);
    request.model = Text::plain("claude");
    let image = || {
        Part::Image(ImagePart {
            src: Src::Url(Text::plain("https://x")),
            detail: None,
            cache: None,
            path: Box::default(),
        })
    };
    let text = |text: &str| Part::text(Text::plain(text));
    request.system = vec![text("a"), text("b")];
    request.items = vec![
        Item::new(0, Message::new(Role::User, vec![text("q")])),
        Item::new(1, Message::new(Role::Assistant, vec![text("one")])),
        Item::new(1, call("t1", "f", r#"{"a": 1}"#)),
        Item::new(1, call("t2", "f", "{}")),
        Item::new(1, Message::new(Role::Assistant, vec![text("two")])),
        Item::new(2, result("t2", vec![text("r"), image()], true)),
        Item::new(2, result("t1", vec![image()], false)),
        Item::new(2, Message::new(Role::User, vec![text("more")])),
    ];
    request.format = OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema: RawValue::new(br#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#),
        strict: None,
    };
    let got = sent_with(&request, &context(Host::OpenAi, "gpt-4o")).unwrap();
    // Calls and results keep their order, and images of results stand behind all tool messages.
    let expected = r#"[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}],"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},{"id":"t2","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t1","content":"[image 1 of t1 attached below]"},{"role":"tool","tool_call_id":"t2","content":[{"type":"text","text":"[tool_error] r"},{"type":"text","text":"[image 1 of t2 attached below]"}]},{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x"}},{"type":"image_url","image_url":{"url":"https://x"}}]},{"role":"user","content":"more"}]"#;
    assert_eq!(got.get("messages"), expected);
    assert_eq!(got.dropped, "tool_result.image;moved");
    assert!(
        got.get("response_format").contains(r#""name":"response","#)
            && got.get("response_format").ends_with(r#""strict":true}}"#)
    );

    // Mistral takes images in tool results, and no user behind them.
    request.format = OutputFormat::Text;
    let got = sent_with(&request, &context(Host::Mistral, "mistral-large")).unwrap();
    let tail = r#"{"role":"tool","tool_call_id":"ID","content":[{"type":"text","text":"[tool_error] r"},{"type":"image_url","image_url":"https://x"}]},{"role":"assistant","content":"(tool results received)"},{"role":"user","content":"more"}]"#;
    let messages = got.get("messages");
    let id = messages.rsplit_once(r#""tool_call_id":""#).unwrap().1.split('"').next().unwrap().to_owned();
    assert!(id.len() == 9 && messages.ends_with(&tail.replace("ID", &id)), "{messages}");
    assert!(messages.starts_with(r#"[{"role":"system","content":"a\n\nb"}"#) && got.repaired.starts_with("call_id="));
}

fn call(id: &str, name: &str, input: &'static str) -> ToolCall<'static> {
    ToolCall {
        kind: CallKind::Function,
        item_id: None,
        call_id: Text::plain(id),
        namespace: None,
        name: Text::plain(name),
        input: ArgText::Object(RawValue::new(input.as_bytes())),
        opaque: None,
        cache: None,
    }
}

fn result(id: &str, parts: Vec<Part<'static>>, is_error: bool) -> ToolResult<'static> {
    ToolResult { call_id: Text::plain(id), kind: CallKind::Function, parts, is_error, cache: None }
}

fn reasoning(text: &str, opaque: Option<Opaque<'static>>) -> ReasoningItem<'static> {
    let parts = vec![ReasoningPart { kind: ReasoningKind::Full, text: Text::plain(text) }];
    ReasoningItem { parts, opaque: opaque.into_iter().collect(), ..ReasoningItem::default() }
}

/// Reasoning goes back to the host that made it, in its own form, and nowhere else.
#[test]
fn reasoning_goes_back() {
    let own = |host, seal| {
        let target = context(host, "gemini-3-pro").target;
        Some(Opaque { family: target.family, scope: Some(target.scope), seal, bytes: Text::plain("S") })
    };
    let foreign = |family| {
        Some(Opaque { family, scope: Some(Scope::new("x", "y")), seal: Seal::Thinking, bytes: Text::plain("S") })
    };
    let entry = Some(Opaque {
        bytes: Text::plain(r#"{"type":"reasoning.text","signature":"S"}"#),
        ..own(Host::OpenRouter, Seal::Thinking).unwrap()
    });
    let none = "";
    #[rustfmt::skip]
    let rows = [
        (Host::DeepSeek, None, r#""reasoning_content":"r","#, ""),
        (Host::Unknown, None, r#""reasoning_content":"r","#, ""),
        (Host::Vllm, None, r#""reasoning":"r","#, ""),
        (Host::OpenRouter, None, r#""reasoning_details":[{"type":"reasoning.text","text":"r"}],"#, ""),
        (Host::OpenRouter, entry, r#""reasoning_details":[{"type":"reasoning.text","signature":"S","text":"r"}],"#, ""),
        (Host::OpenRouter, foreign(Family::OpenRouter), none, "reasoning=1"),
        (Host::Kimi, foreign(Family::Anthropic), none, "reasoning=1"),
        (Host::Mistral, None, none, "reasoning=1"),
        (Host::OpenAi, None, none, "reasoning=1"),
        (Host::GeminiCompat, own(Host::GeminiCompat, Seal::Signature), none, ""),
    ];
    for (host, opaque, field, repaired) in rows {
        let mut request = Request::new(Format::Messages);
        request.model = Text::plain("m");
        request.items = vec![
            Item::new(0, Message::new(Role::User, vec![Part::text(Text::plain("q"))])),
            Item::new(1, reasoning("r", opaque)),
            Item::new(1, call("t12345678", "f", "{}")),
            Item::new(2, result("t12345678", vec![], false)),
        ];
        let got = sent_with(&request, &context(host, "gemini-3-pro")).unwrap();
        let signed =
            if host == Host::GeminiCompat { r#","extra_content":{"google":{"thought_signature":"S"}}"# } else { "" };
        let expected = format!(
            r#"{{"role":"assistant","content":null,{field}"tool_calls":[{{"id":"t12345678","type":"function","function":{{"name":"f","arguments":"{{}}"}}{signed}}}]}}"#
        );
        let head = if field.is_empty() { expected.replace(",,", ",") } else { expected };
        let messages = got.get("messages").replace("t123456780", "t12345678");
        assert!(messages.contains(&head), "{host:?}\n{messages}\n{head}");
        assert_eq!(got.repaired.replace("call_id=2, ", ""), repaired, "{host:?}");
    }
}

#[test]
fn loops_of_hosts_that_require_reasoning_back() {
    let body = r#"{"model":"m","reasoning_effort":"high","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"x","tool_calls":[{"id":"t1","function":{"name":"f","arguments":""}},{"id":"t2","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t1","content":"1"},{"role":"tool","tool_call_id":"t2","content":"2"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#;
    let deepseek = sent(body, Host::DeepSeek, "deepseek-chat");
    assert!(deepseek.get("messages").contains(r#""content":"x","reasoning_content":"","tool_calls""#));
    assert_eq!(deepseek.get("thinking"), r#"{"type":"enabled"}"#);
    assert!(
        !sent(&body.replace("high", "none"), Host::DeepSeek, "deepseek-chat").get("messages").contains("reasoning")
    );

    // Gemini wants a signature on the first call of each turn; older models have none.
    let gemini = sent(body, Host::GeminiCompat, "gemini-3-pro").get("messages");
    assert_eq!(gemini.matches("skip_thought_signature_validator").count(), 1);
    assert!(gemini.find("skip_thought").unwrap() < gemini.find(r#""id":"t2""#).unwrap());
    assert!(!sent(body, Host::GeminiCompat, "gemini-2.5-pro").get("messages").contains("extra_content"));

    // A forced tool beside thinking: the tool wins.
    let forced = body.replace(r#""tools""#, r#""tool_choice":"required","tools""#);
    let got = sent(&forced, Host::DeepSeek, "deepseek-chat");
    assert_eq!(
        (got.get("thinking"), got.get("tool_choice")),
        (r#"{"type":"disabled"}"#.to_owned(), r#""required""#.to_owned())
    );
    assert_eq!(got.dropped, "thinking;dropped");
}

/// Merging and system messages for templates that want roles in turn and one system message first.
#[test]
fn templates_with_strict_turns() {
    let body = with(
        r#"{"role":"assistant","content":"hi"},{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}],"name":"Ann"},{"role":"system","content":"s"},{"role":"assistant","content":"c"},{"role":"assistant","content":"d"},{"role":"user","content":"e"}"#,
    );
    let got = sent(&body, Host::Vllm, "llama");
    let expected = r#"[{"role":"user","content":"(conversation continues)"},{"role":"assistant","content":"hi"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":"<system>s</system>"}]},{"role":"assistant","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]},{"role":"user","content":"e"}]"#;
    assert_eq!(got.get("messages"), expected);
    assert_eq!((got.dropped.as_str(), got.repaired.as_str()), ("messages.name;dropped, system;moved", "first_turn=1"));
    // Elsewhere each stays what it is.
    let openai = sent(&body, Host::OpenAi, "gpt-5").get("messages");
    assert!(openai.contains(r#"{"role":"developer","content":"s"},{"role":"assistant","content":"c"},{"role":"assistant","content":"d"}"#), "{openai}");
    assert!(sent(&body, Host::OpenAi, "gpt-4o").get("messages").contains(r#"{"role":"system","content":"s"}"#));
}

/// Codex has no `instructions`: its prompt is a run of developer messages. A host that wants one
/// system message gets one.
#[test]
fn the_prompt_of_a_client_of_responses() {
    let body = br#"{"model":"m","instructions":"a","input":[{"role":"developer","content":"b"},{"role":"developer","content":"c"},{"role":"user","content":"q"},{"role":"developer","content":"d"},{"role":"user","content":"r"}]}"#;
    let request = crate::formats::responses::request::decode(RawValue::new(body), &mut Ledger::new(false)).unwrap();
    let system = |text: &str| format!(r#"{{"role":"system","content":"{text}"}}"#);
    let rest = r#"{"role":"user","content":"q"},{"role":"system","content":"d"},{"role":"user","content":"r"}"#;
    let wrapped = r#"{"role":"user","content":[{"type":"text","text":"q"},{"type":"text","text":"<system>d</system>"},{"type":"text","text":"r"}]}"#;
    let rows = [
        (Host::Unknown, "llama", format!(r"[{},{rest}]", system(r"a\n\nb\n\nc"))),
        (Host::Vllm, "llama", format!(r"[{},{wrapped}]", system(r"a\n\nb\n\nc"))),
        (Host::OpenAi, "gpt-4o", format!("[{},{},{},{rest}]", system("a"), system("b"), system("c"))),
    ];
    for (host, model, expected) in rows {
        assert_eq!(sent_with(&request, &context(host, model)).unwrap().get("messages"), expected, "{}", host.name());
    }
}

/// Conversations that begin or end with the assistant.
#[test]
fn words_of_the_assistant_at_the_end() {
    let body = with(r#"{"role":"user","content":"a"},{"role":"assistant","content":"The"}"#);
    let vllm = sent(&body, Host::Vllm, "llama");
    assert_eq!(
        (vllm.get("continue_final_message").as_str(), vllm.get("add_generation_prompt").as_str()),
        ("true", "false")
    );
    let request = parsed(&body).unwrap();
    let cx = context(Host::OpenAi, "gpt-4o");
    assert!(sent_with(&request, &cx).unwrap().get("messages").ends_with(r#"{"role":"assistant","content":"The"}]"#));
    let reject =
        Context { policy: Policy { prefill: crate::target::plan::PrefillPolicy::Reject, ..Policy::default() }, ..cx };
    let mistral = context(Host::Mistral, "mistral-large");
    for cx in [&reject, &mistral] {
        assert_eq!(sent_with(&request, cx).err().and_then(|e| e.code), Some("prefill_unsupported"));
    }
    let hint =
        Context { policy: Policy { prefill: crate::target::plan::PrefillPolicy::Hint, ..Policy::default() }, ..cx };
    let got = sent_with(&request, &hint).unwrap();
    assert!(got.get("messages").ends_with(r#"{"role":"user","content":"a"},{"role":"user","content":"Begin your answer with exactly this text, and go on from it: The"}]"#));
    assert_eq!(got.dropped, "prefill;approx");
}

/// A longer conversation begins with the bytes of the shorter one, at every kind of host.
#[test]
fn encoding_is_append_only() {
    let turns = [
        r#"{"role":"system","content":"s"},{"role":"user","content":"a","name":"Ann"}"#,
        r#"{"role":"assistant","content":"b","reasoning_content":"r","tool_calls":[{"id":"t1","function":{"name":"f.g","arguments":"{}"}},{"id":"t2","function":{"name":"f.g","arguments":""}}]},{"role":"tool","tool_call_id":"t2","content":"2"},{"role":"tool","tool_call_id":"t1","content":[{"type":"text","text":"1"},{"type":"image_url","image_url":{"url":"https://x"}}]}"#,
        r#"{"role":"assistant","content":"c","reasoning_content":"q"},{"role":"assistant","content":"d"},{"role":"user","content":[{"type":"text","text":"e"},{"type":"text","text":"f"}]}"#,
        r#"{"role":"assistant","tool_calls":[{"id":"t3","function":{"name":"h","arguments":"{}"}}]},{"role":"tool","tool_call_id":"t3","content":"[tool_error] x"}"#,
        r#"{"role":"assistant","content":"g"},{"role":"user","content":"h"}"#,
    ];
    for host in Host::ALL.iter().filter(|host| !matches!(host, Host::Anthropic | Host::Bedrock | Host::Vertex)) {
        let mut before = String::from("[");
        for n in 1..=turns.len() {
            let got = sent(&with(&turns[..n].join(",")), *host, "some-model").get("messages");
            let stem = before.trim_end_matches(']');
            assert!(got.starts_with(stem), "{host:?}\n{stem}\n{got}");
            before = got;
        }
    }
}

#[test]
fn parameters_by_host() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"max_tokens":5,"temperature":0.5,"seed":1,"top_k":3,"reasoning_effort":"high","verbosity":"low","user":"u","store":true,"stop":["a","b"],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},"stream":true,"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"f","strict":true}},{"type":"custom","custom":{"name":"p","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"g"}}}}],"tool_choice":"required"}"#;
    type Fields = &'static [(&'static str, &'static str)];
    #[rustfmt::skip]
    let rows: &[(Host, &'static str, Fields)] = &[
        (Host::OpenAi, "gpt-5.1", &[("max_completion_tokens", "16"), ("temperature", "-"), ("seed", "1"), ("top_k", "-"), ("reasoning_effort", r#""high""#), ("verbosity", r#""low""#), ("user", r#""u""#), ("store", "true"), ("stop", "-"), ("stream_options", r#"{"include_usage":true,"include_obfuscation":false}"#), ("parallel_tool_calls", "false"), ("tools", r#"[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}},"strict":true}},{"type":"custom","custom":{"name":"p","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"g"}}}}]"#)]),
        (Host::Unknown, "llama", &[("max_tokens", "5"), ("max_completion_tokens", "-"), ("temperature", "0.5"), ("seed", "-"), ("reasoning_effort", "-"), ("user", "-"), ("store", "-"), ("stop", r#"["a","b"]"#), ("stream_options", r#"{"include_usage":true}"#), ("parallel_tool_calls", "-"), ("response_format", r#"{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#), ("tool_choice", r#""required""#)]),
        (Host::Mistral, "mistral-large", &[("tool_choice", r#""any""#), ("max_tokens", "5")]),
        (Host::Ollama, "llama", &[("tool_choice", "-"), ("top_k", "3")]),
        (Host::DeepSeek, "deepseek-chat", &[("response_format", r#"{"type":"json_object"}"#), ("messages", r#"[{"role":"system","content":"Answer with a single JSON object that fits this JSON schema: {\"type\":\"object\"}"},{"role":"user","content":"q"}]"#)]),
        (Host::Qwen, "qwen3-32b", &[("enable_thinking", "false")]),
        (Host::OpenRouter, "openai/gpt-5", &[("reasoning", r#"{"effort":"high"}"#), ("reasoning_effort", "-"), ("top_k", "3")]),
        (Host::Vllm, "qwen3", &[("chat_template_kwargs", r#"{"enable_thinking":true}"#)]),
    ];
    for (host, model, fields) in rows {
        let got = sent(body, *host, model);
        for (name, value) in *fields {
            assert_eq!(got.get(name), *value, "{host:?} {name}");
        }
        assert_eq!(got.plan.stops.len(), if *host == Host::OpenAi { 2 } else { 0 }, "{host:?}");
    }
    // Without tools there is nothing to choose; a model that thinks only in streams gets one.
    let quiet =
        body.replace(r#""tool_choice":"required""#, r#""x":1"#).replace(r#""stream":true"#, r#""stream":false"#);
    let qwen = sent(&quiet, Host::Qwen, "qwen3-32b");
    assert!(qwen.plan.upstream_stream && !qwen.plan.stream);
    assert_eq!(
        (qwen.get("stream").as_str(), qwen.get("enable_thinking").as_str(), qwen.get("thinking_budget").as_str()),
        ("true", "true", "24576")
    );
}

/// Models that refuse tools together with thinking on this endpoint.
#[test]
fn tools_beside_thinking() {
    let body = |extra: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}]{extra}}}"#
        )
    };
    let unset = sent(&body(""), Host::OpenAi, "gpt-5.6");
    assert_eq!(
        (unset.get("reasoning_effort").as_str(), unset.dropped.as_str()),
        (r#""none""#, "reasoning_effort;approx")
    );
    let with_effort = body(r#","reasoning_effort":"low""#);
    let error = sent_with(&parsed(&with_effort).unwrap(), &context(Host::OpenAi, "gpt-5.6")).err().unwrap();
    assert_eq!(error.param.as_deref(), Some("reasoning_effort"));
    assert_eq!(sent(&with_effort, Host::OpenAi, "gpt-5.2").get("reasoning_effort"), r#""low""#);
}

#[test]
fn inexpressible_requests_are_refused() {
    let at = |path: &str| Foreign {
        format: Format::Responses,
        kind: RawStr::new(b"computer_call"),
        path: path.to_owned(),
        raw: RawValue::new(b"{}"),
    };
    let file = |src| {
        Part::File(Box::new(FilePart {
            src,
            name: None,
            title: Some(Text::plain("T")),
            context: Some(Text::plain("C")),
            citations: true,
            cache: None,
            path: Box::default(),
        }))
    };
    let pdf = || Src::Base64 { media: "application/pdf".into(), data: RawStr::new(b"JVBE") };
    let id = Src::FileId { format: Format::Messages, id: RawStr::new(b"f") };
    type Row = (Part<'static>, Host, Result<&'static str, (&'static str, &'static str)>);
    let rows: Vec<Row> = vec![
        (
            file(pdf()),
            Host::OpenAi,
            Ok(
                r#"[{"type":"text","text":"C"},{"type":"file","file":{"filename":"T","file_data":"data:application/pdf;base64,JVBE"}}]"#,
            ),
        ),
        (file(pdf()), Host::Groq, Err(("messages.0.content", "unsupported_content"))),
        (
            file(Src::Text(Text::plain("body"))),
            Host::Unknown,
            Ok(r#"[{"type":"text","text":"C"},{"type":"text","text":"T\nbody"}]"#),
        ),
        (
            file(Src::Base64 { media: "text/plain".into(), data: RawStr::new(b"aGk=") }),
            Host::Unknown,
            Ok(r#"[{"type":"text","text":"C"},{"type":"text","text":"T\nhi"}]"#),
        ),
        (file(Src::Url(Text::plain("https://x"))), Host::OpenAi, Err(("messages.0.content", "unsupported_content"))),
        (file(id), Host::OpenAi, Err(("messages.0.content", "file_id_not_portable"))),
        (
            Part::Audio { data: RawStr::new(b"AA"), format: RawStr::new(b"wav"), path: Box::default() },
            Host::OpenAi,
            Err(("messages.0.content", "unsupported_content")),
        ),
        (Part::Foreign(at("input.0.content.0")), Host::OpenAi, Err(("input.0.content.0", "unsupported_content"))),
        (Part::ToolReference { name: Text::plain("t") }, Host::OpenAi, Ok(r#""""#)),
        (
            Part::SearchResult {
                source: Text::plain("s"),
                title: Text::plain("t"),
                text: Text::plain("x"),
                raw: RawValue::new(b"{}"),
            },
            Host::OpenAi,
            Ok(r#""[s] t\nx""#),
        ),
    ];
    for (part, host, expected) in rows {
        let mut request = Request::new(Format::Messages);
        request.model = Text::plain("m");
        request.items = vec![Item::new(0, Message::new(Role::User, vec![part]))];
        match (sent_with(&request, &context(host, "gpt-4o")), expected) {
            (Ok(got), Ok(content)) => {
                assert_eq!(got.get("messages"), format!(r#"[{{"role":"user","content":{content}}}]"#))
            }
            (Err(error), Err((param, code))) => {
                assert_eq!((error.param.as_deref(), error.code), (Some(param), Some(code)))
            }
            (got, expected) => panic!("{:?} {expected:?}", got.map(|sent| sent.body)),
        }
    }
    let mut request = Request::new(Format::Responses);
    request.model = Text::plain("m");
    // What a tool did at its vendor may go; what a client was asked to do may not.
    request.items = vec![Item::new(0, Foreign { kind: RawStr::new(b"web_search_call"), ..at("input.0") })];
    let traced = sent_with(&request, &context(Host::OpenAi, "gpt-4o")).unwrap();
    assert_eq!((traced.get("messages"), traced.dropped), ("[]".to_owned(), "messages.server_tool;dropped".to_owned()));
    request.items = vec![Item::new(0, at("input.0"))];
    assert_eq!(sent_with(&request, &context(Host::OpenAi, "gpt-4o")).err().unwrap().param.as_deref(), Some("input.0"));
}

#[test]
fn breakpoints_tools_and_searches_of_other_clients() {
    let mut request = Request::new(Format::Messages);
    request.model = Text::plain("m");
    let marked = |text: &str| {
        Part::Text(TextPart { text: Text::plain(text), citations: None, cache: Some(CachePoint { hour: false }) })
    };
    request.system = vec![marked("s")];
    request.items = (0..4).map(|n| Item::new(n, Message::new(Role::User, vec![marked("u")]))).collect();
    let got = sent_with(&request, &context(Host::OpenAi, "gpt-5.6")).unwrap();
    assert_eq!(got.get("messages").matches("prompt_cache_breakpoint").count(), 4);
    assert!(got.get("messages").starts_with(r#"[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"u","prompt_cache_breakpoint":{"mode":"explicit"}}]}"#));
    assert!(!sent_with(&request, &context(Host::OpenAi, "gpt-5.5")).unwrap().body.contains("breakpoint"));

    let mut request = Request::new(Format::Responses);
    request.model = Text::plain("m");
    let location = RawValue::new(br#"{"type":"approximate","city":"Bern","country":"CH"}"#);
    request.tools = vec![
        Tool::WebSearch(WebSearch {
            format: Format::Responses,
            name: None,
            user_location: Some(location),
            allowed_domains: None,
            blocked_domains: None,
            max_uses: None,
            context_size: Some(RawStr::new(b"low")),
            cache: None,
        }),
        Tool::Function(FunctionTool {
            namespace: Some(Text::plain("fs")),
            name: Text::plain("read"),
            ..FunctionTool::default()
        }),
    ];
    request.tool_choice =
        Some(ToolChoice::Allowed { required: true, names: vec![Text::plain("a.b")], raw: RawValue::new(b"{}") });
    let mut call = call("c1", "read", "{}");
    call.namespace = Some(Text::plain("fs"));
    request.items = vec![Item::new(0, call), Item::new(1, result("c1", vec![], false))];
    let got = sent_with(&request, &context(Host::OpenAi, "gpt-4o-search-preview")).unwrap();
    assert_eq!(
        got.get("web_search_options"),
        r#"{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"city":"Bern","country":"CH"}}}"#
    );
    assert_eq!(got.get("tools"), r#"[{"type":"function","function":{"name":"fs__read","parameters":{"type":"object","properties":{}},"strict":false}}]"#.replace(r#","strict":false"#, ""));
    assert!(got.get("tool_choice").starts_with(r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"a_b_"#));
    // History speaks of the tool by the name that was offered.
    assert!(got.get("messages").contains(r#""name":"fs__read""#));
}

/// Strict mode names the field.
#[test]
fn strict_mode_refuses_losses() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"q"}],"seed":1}"#;
    let cx = context(Host::Unknown, "llama");
    let strict = Context { policy: Policy { strict: true, ..Policy::default() }, ..cx };
    assert_eq!(sent_with(&parsed(body).unwrap(), &cx).unwrap().dropped, "seed;dropped");
    assert_eq!(sent_with(&parsed(body).unwrap(), &strict).err().unwrap().param.as_deref(), Some("seed"));
}
