//! Whole answers of the Chat Completions format: decode a provider's, encode one for a client.

use crate::canonical::codec::Sink;
use crate::canonical::event::{Event, Finish, Note, Reason};
use crate::canonical::request::ReasoningKind;
use crate::error::classify;
use crate::error::{Error, Kind};
use crate::formats::chat::stream::decode::{Chunk, Finished, status_of};
use crate::formats::chat::stream::message::{Reader, Source};
use crate::formats::chat::{tap, words};
use crate::json::{RawStr, RawValue, write};
use crate::reasoning::envelope::Seal;
use crate::response::whole::{Answer, AnswerKind};
use crate::target::plan::Reply;
use crate::target::quirks::Quirks;

/// Reads a provider's whole answer as the events that a stream of the same answer would have given.
///
/// - `body` is valid JSON, and no error body. Anything but an answer of this format is an `Err` of
///   kind `UpstreamFault`.
/// - Pushes `Start`, for each item `Open`, deltas (each text as one), `Close`; then `Usage`,
///   `Finish`, `End`. No empty deltas.
/// - Tool input that stands as an object is pushed as an escaped string body
///   ([`args::write_quoted`](crate::canonical::args::write_quoted)).
/// - An answer without a finish reason:
///   [`Note::MissingFinish`](crate::canonical::event::Note::MissingFinish) and `Reason::End`.
pub(crate) fn decode(body: RawValue<'_>, quirks: Quirks, sink: Sink<'_>) -> Result<(), Error> {
    let chunk = Chunk::of(body);
    let no_answer = || Error::upstream(Kind::UpstreamFault, "the upstream's answer is no chat completion");
    let choice = chunk.choice.ok_or_else(no_answer)?;
    sink(Event::Start { id: chunk.id, model: chunk.model });
    if let Some(tier) = chunk.tier {
        sink(Event::Tier(tier));
    }
    if chunk.other_choices {
        sink(Event::Note(Note::DroppedChoice));
    }
    let mut reader = Reader::new(quirks);
    if let Some(message) = choice.message(Source::Whole) {
        reader.message(message, choice.logprobs, Source::Whole, sink)?;
    }
    let finish = match choice.finish() {
        Some(Finished::Failed(error)) => {
            sink(Event::Fail(error));
            return Ok(());
        }
        Some(Finished::Reason { finish, known }) => {
            if !known {
                sink(Event::Note(Note::UnknownFinish));
            }
            finish
        }
        None => {
            sink(Event::Note(Note::MissingFinish));
            Finish::of(Reason::End)
        }
    };
    if reader.shows_nothing() {
        sink(Event::Fail(classify::no_visible_output()));
        return Ok(());
    }
    reader.close(status_of(finish.reason), sink);
    if let Some(usage) = chunk.usage {
        sink(Event::Usage(tap::usage(usage)));
    }
    sink(Event::Finish(finish));
    sink(Event::End);
    Ok(())
}

/// Writes a whole answer for a client of this format.
///
/// The law: what it writes equals the fold of what `stream::Encoder` writes for the same events,
/// but for ids and times, blank text, and arguments that are no JSON object. Names, ids, finish and
/// usage are final in `answer`; opaque state is an envelope already. The id is `reply.answer_id()`,
/// the model `reply.plan.model`, the time `reply.created`. `Err` only for a broken invariant.
pub(crate) fn encode(answer: &Answer, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Error> {
    let ended = answer.ended();
    write::object(out, |o| {
        o.str("id", &reply.answer_id());
        o.str("object", "chat.completion");
        o.u64("created", reply.created);
        o.str("model", &reply.plan.model);
        o.array("choices", |list| {
            list.object(|o| {
                o.u64("index", 0);
                o.object("message", |o| write_message(answer, reply, o));
                write_logprobs(answer, o);
                o.str("finish_reason", words::finish(ended.reason, &reply.plan));
            });
        });
        o.object("usage", |o| words::write_usage(&answer.usage.unwrap_or_default(), o));
        if let Some(tier) = &answer.tier {
            words::write_tier(tier.raw(), o);
        }
    });
    Ok(())
}

fn write_message(answer: &Answer, reply: &mut Reply, o: &mut write::Object<'_>) {
    o.str("role", "assistant");
    let texts: Vec<&[u8]> = collect(answer, |kind| match kind {
        AnswerKind::Text { text, .. } => Some(text.as_slice()),
        _ => None,
    });
    let mut refusals: Vec<&[u8]> = collect(answer, |kind| match kind {
        AnswerKind::Refusal { text } => Some(text.as_slice()),
        _ => None,
    });
    let ended = answer.ended();
    if let Some(explanation) = &ended.explanation
        && ended.reason == Reason::Refusal
        && refusals.is_empty()
    {
        refusals.push(explanation.as_bytes());
    }
    let something_else = answer.has_calls() || !refusals.is_empty();
    write_joined("content", &texts, if something_else { None } else { Some("") }, o);
    write_joined("refusal", &refusals, None, o);
    write_reasoning(answer, reply, o);
    write_cites(answer, o);
    if reply.plan.legacy_functions {
        write_function_call(answer, reply, o);
    } else if answer.has_calls() {
        o.array("tool_calls", |list| write_calls(answer, list));
    }
}

/// The deprecated form, in which there is room for one call.
fn write_function_call(answer: &Answer, reply: &mut Reply, o: &mut write::Object<'_>) {
    let mut calls = answer.items.iter().filter_map(|item| match &item.kind {
        AnswerKind::Tool { name, input, .. } => Some((name, input)),
        _ => None,
    });
    if let Some((name, input)) = calls.next() {
        o.object("function_call", |o| {
            o.raw_str("name", name.raw());
            o.raw_str("arguments", RawStr::new(input));
        });
    }
    calls.for_each(|_| reply.note(Note::DroppedOutput));
}

/// The bodies that are not empty.
fn collect<'a>(answer: &'a Answer, body: impl Fn(&'a AnswerKind) -> Option<&'a [u8]>) -> Vec<&'a [u8]> {
    answer.items.iter().filter_map(|item| body(&item.kind)).filter(|body| !body.is_empty()).collect()
}

/// One string of all bodies; if there are none, `otherwise`, or `null`.
fn write_joined(name: &str, bodies: &[&[u8]], otherwise: Option<&str>, o: &mut write::Object<'_>) {
    if bodies.is_empty() {
        return o.opt_str(name, otherwise);
    }
    let out = o.key(name);
    out.push(b'"');
    bodies.iter().for_each(|body| out.extend_from_slice(body));
    out.push(b'"');
}

fn write_reasoning(answer: &Answer, reply: &Reply, o: &mut write::Object<'_>) {
    let mut plain: Vec<&[u8]> = Vec::new();
    let mut any = false;
    for item in &answer.items {
        let AnswerKind::Reasoning { parts, opaque, .. } = &item.kind else { continue };
        any |= !parts.is_empty() || !opaque.is_empty();
        for part in parts {
            if !plain.is_empty() {
                plain.push(br"\n\n");
            }
            plain.push(&part.text);
        }
    }
    if !plain.is_empty() {
        write_joined("reasoning_content", &plain, None, o);
    }
    if any && reply.plan.reasoning_details {
        o.array("reasoning_details", |list| write_details(answer, reply, list));
    }
}

/// For each item its text and its envelopes; a signature in the entry of its text.
fn write_details(answer: &Answer, reply: &Reply, list: &mut write::Array<'_>) {
    let reasonings = answer.items.iter().filter_map(|item| match &item.kind {
        AnswerKind::Reasoning { id, parts, opaque } => Some((id, parts, opaque)),
        _ => None,
    });
    for (index, (id, parts, opaque)) in (0u32..).zip(reasonings) {
        let summary = words::is_summary(reply.plan.provider, parts.first().map_or(ReasoningKind::Full, |p| p.kind));
        if !parts.is_empty() {
            let signature = opaque.iter().find(|(seal, _)| *seal == Seal::Thinking).filter(|_| !summary);
            words::write_shown(summary, index, signature.map(|(_, raw)| RawStr::new(raw)), list, |out| {
                for (n, part) in parts.iter().enumerate() {
                    out.extend_from_slice(if n > 0 { br"\n\n" } else { b"" });
                    out.extend_from_slice(&part.text);
                }
            });
        }
        for (seal, raw) in opaque.iter().filter(|(seal, _)| *seal != Seal::Thinking || parts.is_empty() || summary) {
            words::write_sealed(*seal, RawStr::new(raw), id.raw(), index, list);
        }
    }
}

fn write_cites(answer: &Answer, o: &mut write::Object<'_>) {
    o.array("annotations", |list| {
        let mut start = 0;
        for item in &answer.items {
            let AnswerKind::Text { text, cites, .. } = &item.kind else { continue };
            let end = start + words::chars(text);
            for cite in cites {
                let range = cite
                    .range
                    .map_or((start, end), |(from, to)| (start.saturating_add(from), start.saturating_add(to)));
                words::write_cite(None, (cite.url.raw(), cite.title.raw()), range, list);
            }
            start = end;
        }
    });
}

fn write_calls(answer: &Answer, list: &mut write::Array<'_>) {
    let mut signature: &[u8] = b"";
    for item in &answer.items {
        match &item.kind {
            AnswerKind::Reasoning { opaque, .. } => {
                let seal = opaque.iter().rfind(|(seal, _)| *seal == Seal::Signature);
                signature = seal.map_or(signature, |(_, raw)| raw);
            }
            AnswerKind::Tool { kind, id, name, input, .. } => list.object(|o| {
                words::write_call(*kind, id.raw(), name.raw(), RawStr::new(input), o);
                words::write_signature(RawStr::new(std::mem::take(&mut signature)), o);
            }),
            AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => {}
        }
    }
}

fn write_logprobs(answer: &Answer, o: &mut write::Object<'_>) {
    let lists = collect(answer, |kind| match kind {
        AnswerKind::Text { logprobs, .. } => Some(logprobs.as_slice()),
        _ => None,
    });
    if lists.is_empty() {
        return o.null("logprobs");
    }
    o.object("logprobs", |o| {
        o.array("content", |list| lists.iter().for_each(|inner| list.element().extend_from_slice(inner)));
        o.null("refusal");
    });
}

#[cfg(test)]
mod tests {
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
            Event::Usage(Usage {
                input_total: 3,
                output_total: 2,
                reasoning: 1,
                cache_write_1h: 1,
                ..Usage::default()
            }),
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
}
