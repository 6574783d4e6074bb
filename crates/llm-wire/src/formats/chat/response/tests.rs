use super::*;
use crate::canonical::codec::Decode;
use crate::canonical::event::{Block, Cite, Status};
use crate::canonical::request::CallKind;
use crate::canonical::usage::Usage;
use crate::format::Format;
use crate::formats::chat::stream::Decoder;
use crate::response::normalize::Normalizer;
use crate::sse::Frame;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, SequentialIds, Target};
use crate::target::quirks::Host;

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn whole(body: &str) -> Answer {
    let mut answer = Answer::default();
    decode(RawValue::parse(body.as_bytes()).unwrap(), Quirks::NONE, &mut |event| answer.take(&event)).unwrap();
    answer
}

fn streamed(deltas: &[&str], finish: &str, usage: &str) -> Answer {
    let (mut answer, mut decoder) = (Answer::default(), Decoder::new(Quirks::NONE));
    let chunk = |delta: &str, finish: &str| {
        format!(r#"{{"id":"c","model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
    };
    let mut chunks: Vec<String> = deltas.iter().map(|delta| chunk(delta, "null")).collect();
    chunks.push(chunk("{}", &format!("\"{finish}\"")));
    chunks.push(format!(r#"{{"id":"c","choices":[],"usage":{usage}}}"#));
    for data in &chunks {
        let frame = Frame { event: None, data: data.as_bytes() };
        decoder.frame(frame, &mut |event| answer.take(&event)).unwrap();
    }
    decoder.end(&mut |event| answer.take(&event));
    answer
}

/// Decoding a whole response and its stream gives the same events.
#[test]
fn a_whole_answer_is_the_fold_of_its_stream() {
    let usage = r#"{"prompt_tokens":5,"completion_tokens":7}"#;
    #[rustfmt::skip]
        let rows: &[(&str, &[&str], &str)] = &[
            (r#"{"role":"assistant","content":"Hello","refusal":null}"#, &[r#"{"role":"assistant","content":""}"#, r#"{"content":"Hel"}"#, r#"{"content":"lo"}"#], "stop"),
            (r#"{"content":"t","reasoning_content":"think"}"#, &[r#"{"reasoning_content":"thi"}"#, r#"{"reasoning_content":"nk"}"#, r#"{"content":"t"}"#], "length"),
            (r#"{"content":null,"refusal":"no"}"#, &[r#"{"refusal":"n"}"#, r#"{"refusal":"o"}"#], "stop"),
            (r#"{"content":"t","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"custom","custom":{"name":"p","input":"i"}}]}"#,
             &[r#"{"content":"t"}"#, r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#, r#"{"tool_calls":[{"index":1,"id":"b","type":"custom","custom":{"name":"p","input":"i"}}]}"#, r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":1}"}}]}"#], "tool_calls"),
            (r#"{"reasoning":"r","reasoning_details":[{"type":"reasoning.text","text":"r","signature":"S"}],"content":"t","annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}]}"#,
             &[r#"{"reasoning_details":[{"type":"reasoning.text","text":"r","signature":"S"}]}"#, r#"{"content":"t","annotations":[{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":0,"end_index":1}}]}"#], "stop"),
            (r#"{"content":null,"function_call":{"name":"f","arguments":"{}"}}"#, &[r#"{"function_call":{"name":"f","arguments":""}}"#, r#"{"function_call":{"arguments":"{}"}}"#], "function_call"),
        ];
    for (message, deltas, finish) in rows {
        let body = format!(
            r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{message},"finish_reason":"{finish}"}}],"usage":{usage}}}"#
        );
        assert_eq!(format!("{:?}", whole(&body)), format!("{:?}", streamed(deltas, finish, usage)), "{message}");
    }
}

#[test]
fn oddities_of_whole_answers() {
    // Calls are told apart by their place, whatever their ids and indexes are; objects are
    // arguments too.
    let twins = r#"{"choices":[{"message":{"tool_calls":[{"id":"x","index":0,"function":{"name":"f","arguments":{"a":1.0}}},{"id":"x","index":0,"function":{"name":"f","arguments":""}}]},"finish_reason":"stop"}]}"#;
    let answer = whole(twins);
    let inputs = answer.items.iter().map(|item| match &item.kind {
        AnswerKind::Tool { input, .. } => String::from_utf8_lossy(input).into_owned(),
        other => panic!("{other:?}"),
    });
    assert_eq!(inputs.collect::<Vec<_>>(), [r#"{\"a\":1.0}"#, ""]);
    // Perplexity sends an empty delta beside the message.
    let both = r#"{"choices":[{"delta":{"content":""},"message":{"content":"t"},"finish_reason":"stop"}]}"#;
    assert!(matches!(&whole(both).items[0].kind, AnswerKind::Text { text, .. } if text == b"t"));
    let cut = r#"{"choices":[{"message":{"content":"t"},"finish_reason":"length"},{"index":1,"message":{}}]}"#;
    assert_eq!((whole(cut).items[0].status, whole(cut).ended().reason), (Status::Incomplete, Reason::Length));
    let failed =
        r#"{"choices":[{"message":{"content":""},"finish_reason":"error","error":{"code":429,"message":"m"}}]}"#;
    assert_eq!(whole(failed).error.map(|e| e.kind), Some(Kind::RateLimit));
    for nonsense in ["{}", r#"{"choices":[]}"#, r#"{"object":"list","data":[]}"#, "[]", "7"] {
        let result = decode(RawValue::new(nonsense.as_bytes()), Quirks::NONE, &mut |_| {});
        assert_eq!(result.unwrap_err().kind, Kind::UpstreamFault, "{nonsense}");
    }
}

fn written(events: Vec<Event<'_>>) -> String {
    written_for("{}", events)
}

fn written_for(request: &str, events: Vec<Event<'_>>) -> String {
    let target = Target::new(Format::Responses, Host::OpenAi, "gpt-5", "p", &Overrides::default());
    let plan = Plan::new(Format::Chat, RawValue::new(request.as_bytes()), &Context::new(target, "asked"));
    let mut reply = Reply::new(plan, Box::new(SequentialIds::default()), "req_1");
    let (mut shape, mut answer, mut out) = (Normalizer::default(), Answer::default(), Vec::new());
    for event in events {
        shape.event(event, &mut reply, &mut |event, _| answer.take(&event));
    }
    encode(&answer, &mut reply, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn open(ix: u32, block: Block<'_>) -> Event<'_> {
    Event::Open { ix, block }
}

/// All that strict readers demand, and text and offsets over several items.
#[test]
fn an_answer_for_a_client() {
    let cite = |ix, range| Event::Cite { ix, cite: Cite { url: raw("u"), title: raw("t"), range } };
    let tool = Block::Tool { kind: CallKind::Function, id: raw("t1"), name: raw("f"), namespace: None };
    let reason = |part, text| Event::Reason { ix: 0, part, kind: ReasoningKind::Summary, raw: raw(text) };
    let got = written(vec![
        Event::Tier(raw("priority")),
        open(0, Block::Reasoning { id: raw("rs_1") }),
        reason(0, "a"),
        reason(1, "b"),
        Event::Close { ix: 0, status: Status::Complete },
        open(1, Block::Text),
        Event::Text { ix: 1, raw: raw(r"\u00e9") },
        Event::Logprobs { ix: 1, raw: RawValue::new(b"[{},{}]") },
        open(2, Block::Text),
        Event::Text { ix: 2, raw: raw("xyz") },
        cite(2, Some((1, 2))),
        cite(2, None),
        open(3, tool),
        Event::Usage(Usage { input_total: 3, output_total: 2, reasoning: 1, cache_write_1h: 1, ..Usage::default() }),
        Event::Finish(Finish::of(Reason::End)),
        Event::End,
    ]);
    let expected = r#"{"id":"chatcmpl-00000000000000000000000001","object":"chat.completion","created":1700000000,"model":"asked","choices":[{"index":0,"message":{"role":"assistant","content":"\u00e9xyz","refusal":null,"reasoning_content":"a\n\nb","reasoning_details":[{"type":"reasoning.summary","summary":"a\n\nb","index":0}],"annotations":[{"type":"url_citation","url_citation":{"start_index":2,"end_index":3,"title":"t","url":"u"}},{"type":"url_citation","url_citation":{"start_index":1,"end_index":4,"title":"t","url":"u"}}],"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":{"content":[{},{}],"refusal":null},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":1}},"service_tier":"priority"}"#;
    assert_eq!(got, expected);
}

#[test]
fn clients_of_functions_get_one_call() {
    let tool = |id| Block::Tool { kind: CallKind::Function, id: raw(id), name: raw("f"), namespace: None };
    let events = || {
        let end = Event::Finish(Finish::of(Reason::ToolCalls));
        vec![open(0, tool("a")), Event::Args { ix: 0, raw: raw("{}") }, open(1, tool("b")), end, Event::End]
    };
    let got = written_for(r#"{"functions":[{}]}"#, events());
    assert!(
        got.contains(
            r#""function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call""#
        ),
        "{got}"
    );
    assert!(written_for(r#"{"functions":[{}],"tools":[{}]}"#, events()).contains("tool_calls"));
}

/// Finish reasons towards the client, and the rule for `content` when nothing was said.
#[test]
fn ends_and_empty_content() {
    let rows = [
        (Reason::End, "stop"),
        (Reason::StopSequence, "stop"),
        (Reason::Pause, "stop"),
        (Reason::Compaction, "stop"),
        (Reason::Length, "length"),
        (Reason::ContextWindow, "length"),
        (Reason::Refusal, "content_filter"),
    ];
    for (reason, word) in rows {
        let got = written(vec![Event::Finish(Finish::of(reason)), Event::End]);
        let end = format!(
            r#""message":{{"role":"assistant","content":"","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"{word}"}}]"#
        );
        assert!(got.contains(&end), "{got}");
    }
    let refusal = Finish { explanation: Some(raw("why")), ..Finish::of(Reason::Refusal) };
    let got = written(vec![Event::Finish(refusal), Event::End]);
    assert!(got.contains(r#""content":null,"refusal":"why""#), "{got}");
}
