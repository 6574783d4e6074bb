//! Properties over any answer.

use crate::formats::chat::stream::tests::*;

/// Three calls, each in five pieces, in any order that keeps each call's own.
#[test]
fn every_interleaving_of_calls_gives_the_same_calls() {
    let pieces = ["", "{\\\"k\\\"", ":\\\"", "v", "\\\"}"];
    proptest!(ProptestConfig::with_cases(300), |(order in Just([0u8, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2].to_vec()).prop_shuffle())| {
        let mut next = [0; 3];
        let mut seen = 0;
        let mut deltas = Vec::new();
        for call in order {
            let n = &mut next[call as usize];
            // Indexes are given in the order in which calls begin.
            let head = if *n == 0 { format!(r#""id":"t{call}","#) } else { String::new() };
            let name = if *n == 0 { format!(r#""name":"f{call}","#) } else { String::new() };
            deltas.push(format!(r#"{{"tool_calls":[{{"index":{call},{head}"function":{{{name}"arguments":"{}"}}}}]}}"#, pieces[*n]));
            *n += 1;
            seen += 1;
        }
        prop_assert_eq!(seen, 15);
        deltas.push("finish:tool_calls".to_owned());
        let mut answer = Answer::default();
        let mut decoder = Decoder::new(Quirks::NONE);
        for delta in &deltas {
            decoder.frame(Frame { event: None, data: chunk(delta).as_bytes() }, &mut |event| answer.take(&event)).unwrap();
        }
        let mut calls: Vec<String> = answer.items.iter().map(|item| format!("{:?}", item.kind)).collect();
        calls.sort();
        prop_assert_eq!(calls.len(), 3);
        for (n, call) in calls.iter().enumerate() {
            let call_of = |n: usize| format!("id: Text(\"t{n}\"), name: Text(\"f{n}\")");
            prop_assert!((0..3).any(|n| call.contains(&call_of(n))), "{} {}", n, call);
            let input = format!("{:?}", br#"{\"k\":\"v\"}"#.to_vec());
            prop_assert!(call.contains(&input), "{}", call);
        }
    });
}

/// A client's view of a stream: the deltas put together as SDKs do. Fails where the grammar is
/// broken (`docs/internals/translation/streams.md`, "Encoding Chat streams").
fn accumulate(stream: &[u8]) -> serde_json::Value {
    use serde_json::{Value, json};
    let (mut framer, mut rest) = (Framer::default(), stream);
    let mut message = json!({"content": "", "reasoning": "", "refusal": "", "calls": [], "annotations": []});
    let (mut identity, mut finish, mut usage, mut done, mut roles) = (None, Value::Null, Value::Null, false, 0);
    let push = |slot: &mut Value, piece: &Value| {
        if let Some(piece) = piece.as_str() {
            *slot = json!(slot.as_str().unwrap_or_default().to_owned() + piece);
        }
    };
    while let Some(block) = framer.next(&mut rest).unwrap() {
        let Some(frame) = block.frame else { continue };
        assert!(!done, "something follows [DONE]");
        if frame.data == b"[DONE]" {
            done = true;
            continue;
        }
        // Halves of surrogate pairs meet in the client's concatenation, which this reader cannot
        // do.
        let chunk: Value = serde_json::from_slice(frame.data).unwrap();
        let this = (chunk["id"].clone(), chunk["created"].clone(), chunk["model"].clone());
        assert_eq!(*identity.get_or_insert(this.clone()), this);
        if chunk["usage"].is_object() {
            assert!(usage.is_null() && !finish.is_null() && chunk["choices"] == json!([]));
            usage = chunk["usage"].clone();
            continue;
        }
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        assert!(finish.is_null(), "a chunk after the finish");
        roles += usize::from(delta["role"].is_string());
        push(&mut message["content"], &delta["content"]);
        push(&mut message["reasoning"], &delta["reasoning_content"]);
        push(&mut message["refusal"], &delta["refusal"]);
        for cite in delta["annotations"].as_array().into_iter().flatten() {
            let mut cite = cite.clone();
            let all = message["annotations"].as_array_mut().unwrap();
            // Numbered in streams alone.
            assert_eq!(cite.as_object_mut().unwrap().remove("index"), Some(json!(all.len())));
            all.push(cite);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["calls"].as_array_mut().unwrap();
            let index = call["index"].as_u64().unwrap() as usize;
            if index == calls.len() {
                let kind = call["type"].as_str().unwrap();
                calls.push(json!({"id": call["id"], "type": kind, "name": call[kind]["name"], "input": ""}));
            } else {
                assert!(call["id"].is_null() && call["type"].is_null(), "identity twice");
            }
            let input = &mut calls[index]["input"];
            push(input, &call["function"]["arguments"]);
            push(input, &call["custom"]["input"]);
        }
        finish = choice["finish_reason"].clone();
    }
    assert!(done && !finish.is_null() && roles == 1, "{}", String::from_utf8_lossy(stream));
    json!({"message": message, "finish": finish, "usage": usage})
}

/// The same view of a whole answer.
fn viewed(whole: &[u8]) -> serde_json::Value {
    use serde_json::{Value, json};
    let whole: Value = serde_json::from_slice(whole).unwrap();
    let message = &whole["choices"][0]["message"];
    assert!(
        message["role"] == "assistant"
            && message.get("refusal").is_some()
            && whole["choices"][0].get("logprobs").is_some()
    );
    let text = |key: &str| message[key].as_str().unwrap_or_default();
    let calls: Vec<Value> = message["tool_calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| {
            let kind = call["type"].as_str().unwrap();
            let input = if kind == "custom" { &call[kind]["input"] } else { &call[kind]["arguments"] };
            json!({"id": call["id"], "type": kind, "name": call[kind]["name"], "input": input})
        })
        .collect();
    let annotations = message.get("annotations").cloned().unwrap_or(json!([]));
    let message = json!({"content": text("content"), "reasoning": text("reasoning_content"), "refusal": text("refusal"), "calls": calls, "annotations": annotations});
    json!({"message": message, "finish": whole["choices"][0]["finish_reason"], "usage": whole["usage"]})
}

/// Runs a provider's stream through decoder, [`Normalizer`], encoder and fold.
fn translated(data: &[String]) -> (Vec<u8>, Vec<u8>) {
    let (mut shape, mut encoder, mut reply) = (Normalizer::default(), Encoder::default(), reply(true));
    let (mut out, mut answer, mut decoder) = (Vec::new(), Answer::default(), Decoder::new(Quirks::NONE));
    let mut sink = |event: Event<'_>| {
        shape.event(event, &mut reply, &mut |event, reply| {
            answer.take(&event);
            encoder.event(event, reply, &mut out);
        });
    };
    for data in data {
        decoder.frame(Frame { event: None, data: data.as_bytes() }, &mut sink).unwrap();
    }
    decoder.end(&mut sink);
    let mut whole = Vec::new();
    response::encode(&answer, &mut reply, &mut whole).unwrap();
    (out, whole)
}

/// Returns whether a stream failed for a call with input that was never named.
fn has_nameless_call(stream: &[u8]) -> bool {
    String::from_utf8_lossy(stream).contains("without the name of a tool")
}

/// Deltas out of the words that matter, so that chance makes answers.
fn deltas() -> impl Strategy<Value = Vec<String>> {
    let call = (
        0u8..3,
        prop::option::of("[a-c]"),
        prop::option::of("[f-h]"),
        prop::sample::select(vec!["", "{", "}", "1", "\\\"", "é"]),
    );
    let call = call.prop_map(|(index, id, name, input)| {
        let id = id.map(|id| format!(r#""id":"{id}","#)).unwrap_or_default();
        let name = name.map(|name| format!(r#""name":"{name}","#)).unwrap_or_default();
        format!(r#"{{"tool_calls":[{{"index":{index},{id}"function":{{{name}"arguments":"{input}"}}}}]}}"#)
    });
    let text = prop::sample::select(vec!["", "a", "\\n", " ", "é", "\\u00e9", "<think>", "</think>"]);
    let field = prop::sample::select(vec!["content", "reasoning_content", "reasoning", "refusal"]);
    let text = (field, text).prop_map(|(field, text)| format!(r#"{{"{field}":"{text}"}}"#));
    let other = prop::sample::select(vec![
        r#"{"reasoning_details":[{"text":"d","index":0},{"signature":"S"},{"data":"D"}]}"#,
        r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}]}"#,
        r#"{"function_call":{"name":"f","arguments":"{}"}}"#,
        r#"{"content":[{"type":"text","text":"x"}]}"#,
        "{}",
    ]);
    let delta = prop_oneof![3 => text, 3 => call, 1 => other.prop_map(str::to_owned)];
    prop::collection::vec(delta, 0..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any answer becomes a valid stream, and its fold is the whole answer.
    #[test]
    fn streams_are_valid_and_fold_to_the_whole(deltas in deltas(), finish in prop::sample::select(vec!["stop", "length", "tool_calls", "content_filter"])) {
        let mut data: Vec<String> = deltas.iter().map(|delta| chunk(delta)).collect();
        data.push(chunk(&format!("finish:{finish}")));
        data.push(USAGE.to_owned());
        data.push("[DONE]".to_owned());
        let (stream, whole) = translated(&data);
        if !has_nameless_call(&stream) {
            prop_assert_eq!(accumulate(&stream), viewed(&whole));
        }
    }

    /// What this encoder writes, this decoder reads: the second translation equals the first.
    #[test]
    fn a_stream_survives_a_second_translation(deltas in deltas()) {
        let mut data: Vec<String> = deltas.iter().map(|delta| chunk(delta)).collect();
        data.push(chunk("finish:stop"));
        data.push(USAGE.to_owned());
        let (first, _) = translated(&data);
        if has_nameless_call(&first) {
            return Ok(());
        }
        let (mut framer, mut rest, mut again) = (Framer::default(), first.as_slice(), Vec::new());
        while let Some(block) = framer.next(&mut rest).unwrap() {
            again.extend(block.frame.map(|frame| String::from_utf8(frame.data.to_vec()).unwrap()));
        }
        let (second, _) = translated(&again);
        let (mut first, mut second) = (accumulate(&first), accumulate(&second));
        for view in [&mut first, &mut second] {
            // Items that the second reader joins lose the blank line's place, not the text.
            let reasoning = view["message"]["reasoning"].as_str().unwrap().replace('\n', "");
            view["message"]["reasoning"] = reasoning.into();
            view["message"]["annotations"] = serde_json::Value::Null;
        }
        prop_assert_eq!(first, second);
    }

    /// Nothing that arrives makes the decoder panic, and it ends in `End` or `Fail`.
    #[test]
    fn anything_can_arrive(deltas in deltas(), noise in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index, cut: prop::sample::Index, tags: bool) {
        let mut data: Vec<Vec<u8>> = deltas.iter().map(|delta| chunk(delta).into_bytes()).collect();
        data.push(chunk("finish:stop").into_bytes());
        let n = at.index(data.len());
        let middle = cut.index(data[n].len());
        data[n].splice(middle..middle, noise.iter().copied());
        data.push(noise);
        let mut decoder = Decoder::new(if tags { Quirks::NONE.with(Quirk::ThinkTags) } else { Quirks::NONE });
        let mut last = String::new();
        let mut sink = |event: Event<'_>| last = word(&event);
        for data in &data {
            if let Err(error) = decoder.frame(Frame { event: None, data }, &mut sink) {
                sink(Event::Fail(error));
                break;
            }
        }
        decoder.end(&mut sink);
        prop_assert!(last == "end" || last.starts_with("fail"), "{}", last);
    }
}
