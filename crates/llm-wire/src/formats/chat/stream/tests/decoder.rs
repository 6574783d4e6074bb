//! Chunks and the events they give.

use crate::formats::chat::stream::tests::*;

#[test]
fn an_answer_of_openai() {
    let got = run_with(
        Quirks::NONE,
        &[
            r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}"#,
            r#"{"id":"chatcmpl-1","model":"gpt","service_tier":"default","choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi"}],"refusal":null},"finish_reason":null}],"usage":null}"#,
            r#"{"id":"chatcmpl-1","model":"gpt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
            USAGE,
            " [DONE]",
        ],
    );
    let expected = r#"start(chatcmpl-1,gpt) tier(default) 0:text 0=Hi 0%[{"token":"Hi"}] 0. End usage(100,80,9) end"#;
    assert_eq!(got, expected);
}

/// The stream of `docs/internals/translation/examples.md`, "One stream, step by step", at the
/// decoder.
#[test]
fn interleaved_calls() {
    let got = run(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
        "finish:stop",
        USAGE,
        "[DONE]",
    ]);
    assert_eq!(got, r#"0:call(a,f) 0={"x": 1:call(b,g) 1={} 0=1} 0. 1. End usage(100,80,9) end"#);
}

/// What is open closes when something else begins.
#[test]
fn order_of_items() {
    #[rustfmt::skip]
    let rows: &[(&[&str], &str)] = &[
        (&[r#"{"reasoning_content":"r"}"#, r#"{"content":"t"}"#, r#"{"reasoning_content":"s"}"#, r#"{"content":"u"}"#],
         "0:reasoning 0~Full=r 0. 1:text 1=t 1. 2:reasoning 2~Full=s 2. 3:text 3=u 3."),
        (&[r#"{"content":"t"}"#, r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#, r#"{"content":"u"}"#],
         "0:text 0=t 0. 1:call(a,f) 1={} 2:text 2=u 2. 1."),
        // Line ends between calls are no message; with words behind them they are its beginning.
        (&[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}"#, r#"{"content":"\n"}"#, r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"f"}}]}"#, r#"{"content":" "}"#, r#"{"content":"x"}"#],
         "0:call(a,f) 1:call(b,f) 2:text 2=  2=x 2. 0. 1."),
        (&[r#"{"reasoning":"r","reasoning_content":"r"}"#, r#"{"refusal":"no"}"#], "0:reasoning 0~Full=r 0. 1:refusal 1=no 1."),
        (&[r#"{"content":"","reasoning_content":"","refusal":"","tool_calls":[]}"#, r#"{"content":null}"#], ""),
        (&[r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"r"}]},{"type":"text","text":"t"},{"type":"reference"}]}"#],
         "0:reasoning 0~Full=r 0. 1:text 1=t <dropped_citation> 1."),
        // Halves of a pair pass as they are.
        (&[r#"{"content":"\ud83d"}"#, r#"{"content":"\ude00"}"#], "0:text 0=\u{fffd} 0=\u{fffd} 0."),
    ];
    for (deltas, expected) in rows {
        let mut all = deltas.to_vec();
        all.extend(["finish:stop", "[DONE]"]);
        let expected = if expected.is_empty() { "End end".to_owned() } else { format!("{expected} End end") };
        assert_eq!(run(&all), expected);
    }
}

/// Deviations of hosts in tool calls.
#[test]
fn oddities_of_calls() {
    #[rustfmt::skip]
    let rows: &[(&[&str], &str)] = &[
        // Name after arguments, id last.
        (&[r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}"#, r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":":1"}}]}"#, r#"{"tool_calls":[{"index":0,"id":"late","function":{"arguments":"}"}}]}"#],
         r#"0:call(,f) 0={"a" 0=:1 0=} 0."#),
        // No index: by id, by name, else the last.
        (&[r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}"#, r#"{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{"}}]}"#, r#"{"tool_calls":[{"function":{"arguments":"}"}}]}"#, r#"{"tool_calls":[{"id":"a","function":{"arguments":"}"}}]}"#, r#"{"tool_calls":[{"function":{"name":"h","arguments":"{}"}}]}"#],
         "0:call(a,f) 0={ 1:call(b,g) 1={ 1=} 0=} 2:call(,h) 2={} 0. 1. 2."),
        // Ollama: index 0 for all, with ids and without.
        (&[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}"#],
         "0:call(a,f) 0={} 1:call(b,f) 1={} 0. 1."),
        (&[r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\":1}"}}]}"#, r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":{"a":2}}}]}"#, r#"{"tool_calls":[{"index":0,"function":{"name":"g","arguments":"{}"}}]}"#],
         r#"0:call(,f) 0={"a":1} 1:call(,f) 1={"a":2} 2:call(,g) 2={} 0. 1. 2."#),
        // Id and name repeated, or empty, or null.
        (&[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#, r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}"#, r#"{"tool_calls":[{"index":0,"id":"","type":"function","function":{"name":"","arguments":"}"}}]}"#, r#"{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":null}}]}"#],
         "0:call(a,f) 0={ 0=} 0."),
        (&[r#"{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"p","input":""}}]}"#, r#"{"tool_calls":[{"index":0,"custom":{"input":"x\ny"}}]}"#],
         "0:custom(a,p) 0=x\ny 0."),
        (&[r#"{"function_call":{"name":"f","arguments":""}}"#, r#"{"function_call":{"arguments":"{}"}}"#, r#"{"function_call":{"name":"","arguments":""}}"#], "0:call(,f) 0={} 0."),
        // A call that never had a name, nor any input.
        (&[r#"{"tool_calls":[{"index":0,"id":"a","function":{}}]}"#], "<dropped_output>"),
        // Google: the signature seals the reasoning before the call, or stands alone.
        (&[r#"{"reasoning_content":"r"}"#, r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"S"}}}]}"#],
         "0:reasoning 0~Full=r 0!Signature=S 0. 1:call(a,f) 1={} 1."),
        (&[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"},"extra_content":{"vertex":{"thought_signature":"S"}}},{"index":1,"id":"b","function":{"name":"f","arguments":"{}"}}]}"#],
         "0:reasoning 0!Signature=S 0. 1:call(a,f) 1={} 2:call(b,f) 2={} 1. 2."),
    ];
    for (deltas, expected) in rows {
        let mut all = deltas.to_vec();
        all.extend(["finish:tool_calls", "[DONE]"]);
        assert_eq!(run(&all), format!("{expected} ToolCalls end"));
    }
}

#[test]
fn reasoning_details() {
    #[rustfmt::skip]
    let rows: &[(&[&str], &str)] = &[
        // OpenRouter sends text and details together; the details count.
        (&[r#"{"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","format":"anthropic-claude-v1","index":0}]}"#,
           r#"{"reasoning":"b","reasoning_details":[{"type":"reasoning.text","text":"b","index":0}]}"#,
           r#"{"reasoning_details":[{"type":"reasoning.text","signature":"S","format":"anthropic-claude-v1","index":0}]}"#,
           r#"{"content":"t"}"#],
         r#"0:reasoning 0~Full=a 0~Full=b 0!Thinking={"type":"reasoning.text","signature":"S","format":"anthropic-claude-v1","index":0} 0. 1:text 1=t 1."#),
        (&[r#"{"reasoning":"s","reasoning_details":[{"type":"reasoning.summary","summary":"s","index":0},{"type":"reasoning.encrypted","data":"D","index":0},{"type":"reasoning.encrypted","data":"E","index":1}]}"#],
         r#"0:reasoning 0~Summary=s 0!Encrypted={"type":"reasoning.encrypted","data":"D","index":0} 0. 1:reasoning 1!Encrypted={"type":"reasoning.encrypted","data":"E","index":1} 1."#),
        // State without text beside plain text.
        (&[r#"{"reasoning":"p","reasoning_details":[{"type":"reasoning.encrypted","data":"D"}]}"#],
         r#"0:reasoning 0~Full=p 0!Encrypted={"type":"reasoning.encrypted","data":"D"} 0."#),
        // A signature whose text is closed is no signature of anything else.
        (&[r#"{"reasoning_details":[{"text":"a"}]}"#, r#"{"content":"t"}"#, r#"{"reasoning_details":[{"signature":"S"}]}"#],
         "0:reasoning 0~Full=a 0. 1:text 1=t <dropped_output> 1."),
    ];
    for (deltas, expected) in rows {
        let mut all = deltas.to_vec();
        all.extend(["finish:stop", "[DONE]"]);
        assert_eq!(run(&all), format!("{expected} End end"));
    }
}

#[test]
fn think_tags_by_quirk_alone() {
    let data: Vec<String> =
        ["<thi", "nk>r</think>\\n", "\\nt"].iter().map(|t| chunk(&format!(r#"{{"content":"{t}"}}"#))).collect();
    let mut data: Vec<&str> = data.iter().map(String::as_str).collect();
    let finish = chunk("finish:stop");
    data.push(&finish);
    let got = run_with(Quirks::NONE.with(Quirk::ThinkTags), &data);
    assert_eq!(got, "start(c,m) 0:reasoning 0~Full=r 0. 1:text 1=t 1. End end");
    assert!(run_with(Quirks::NONE, &data).contains("0:text 0=<thi"));
}

#[test]
fn citations() {
    let cite = |url: &str, range: &str| {
        format!(r#"{{"annotations":[{{"type":"url_citation","url_citation":{{"url":"{url}","title":"T"{range}}}}}]}}"#)
    };
    let (early, late, none) = (
        cite("u1", ",\"start_index\":0,\"end_index\":0"),
        cite("u2", ",\"start_index\":1,\"end_index\":3"),
        cite("", ""),
    );
    let got =
        run(&[&early, r#"{"content":"text"}"#, &late, &none, r#"{"annotations":[{"type":"file"}]}"#, "finish:stop"]);
    assert_eq!(got, "0:text 0@u1None 0=text 0@u2Some((1, 3)) <dropped_citation> <dropped_citation> 0. End end");
}

/// Finish reasons as canonical reasons.
#[test]
fn finish_reasons() {
    let rows = [
        ("stop", "0. End end"),
        ("tool_calls", "0. ToolCalls end"),
        ("function_call", "0. ToolCalls end"),
        ("length", "0? Length end"),
        ("model_length", "0? Length end"),
        ("content_filter", "0? Refusal end"),
        ("content_filter: SAFETY", "0? Refusal end"),
        ("novel", "<unknown_finish> 0. End end"),
        ("insufficient_system_resource", "fail(overloaded)"),
        ("error", "fail(upstream_fault)"),
    ];
    for (reason, expected) in rows {
        let got = run(&[r#"{"content":"t"}"#, &format!("finish:{reason}"), "[DONE]"]);
        assert_eq!(got, format!("0:text 0=t {expected}"), "{reason}");
    }
    let vllm =
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"END"}]}"#;
    assert_eq!(run(&[vllm]), "StopSequence(END) end");
    let twice = run(&[r#"{"content":"t"}"#, "finish:length", "finish:stop", r#"{"content":"late"}"#, "[DONE]"]);
    assert_eq!(twice, "0:text 0=t 0=late 0? Length end", "of two reasons in a row the first wins");
}

/// Usage anywhere, ends of every kind, errors at any point, noise.
#[test]
fn usage_ends_errors_and_noise() {
    let text = r#"{"content":"t"}"#;
    let cumulative = r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"t"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let groq = r#"{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":4}}}"#;
    let azure = r#"{"id":"","model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#;
    let filter = r#"{"id":"c","model":"m","choices":[{"index":0,"content_filter_offsets":{},"finish_reason":null}]}"#;
    let other = r#"{"id":"c","model":"m","choices":[{"index":1,"delta":{"content":"n"}}]}"#;
    #[rustfmt::skip]
    let rows: &[(&[&str], &str)] = &[
        (&[cumulative, cumulative, "finish:stop"], "usage(1,0,2) 0:text 0=t usage(1,0,2) 0=t 0. End end"),
        (&[text, groq], "0:text 0=t usage(3,0,4) 0. End end"),
        (&[text, "finish:stop", USAGE], "0:text 0=t 0. End usage(100,80,9) end"),
        // The end mark alone ends an answer; the end of the bytes alone does not.
        (&[text, "[DONE]"], "0:text 0=t <missing_finish> 0. End end"),
        (&[text], "0:text 0=t fail(upstream_truncated)"),
        (&[], "fail(upstream_truncated)"),
        (&["[DONE]"], "fail(upstream_truncated)"),
        (&[text, r#"{"id":"c","choices":[{"de"#], "0:text 0=t fail(upstream_truncated)"),
        (&[text, r#"{"id" "c"}"#], "0:text 0=t fail(upstream_fault)"),
        // Behind the finish the answer is whole, whatever becomes of the rest.
        (&[text, "finish:stop", r#"{"id":"c","cho"#], "0:text 0=t <disorder> 0. End end"),
        (&[r#"{"error":{"message":"m","code":429}}"#], "fail(rate_limit)"),
        (&[text, r#"{"error":{"message":"m","type":"overloaded_error"}}"#, text], "0:text 0=t fail(overloaded)"),
        (&[text, "finish:stop", r#"{"error":"late"}"#], "0:text 0=t fail(upstream_fault)"),
        (&[r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#], "fail(invalid_request)"),
        (&[r#"{"choices":[{"delta":{},"finish_reason":"error","error":{"code":502,"message":"m"}}]}"#], "start(,) fail(upstream_fault)"),
        (&["", "[]", azure, filter, other, text, "finish:stop"], "<unknown_event> <dropped_choice> 0:text 0=t 0. End end"),
    ];
    for (data, expected) in rows {
        let got = run(data).replacen("<unknown_event> start(c,m)", "<unknown_event>", 1);
        assert_eq!(got, *expected, "{data:?}");
    }
    let mut decoder = Decoder::new(Quirks::NONE);
    let mut words = Vec::new();
    let frame = Frame { event: Some(b"error"), data: br#"{"message":"m"}"# };
    decoder.frame(frame, &mut |event| words.push(word(&event))).unwrap();
    assert_eq!(words, ["fail(upstream_fault)"]);
}
