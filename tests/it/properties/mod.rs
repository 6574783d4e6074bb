//! Properties of translation over all six directions; `docs/internals/testing.md`, "Properties of
//! translation" has the table of all of them.

mod carriage;
mod requests;
mod streams;

use llm_wire::Format;
use llm_wire::error::Kind;
use llm_wire::json::RawValue;
use llm_wire::sse::{Framer, TooLong};
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::testing::reading;
use llm_wire::testing::reading::{End, OutputItem, Reading};
use llm_wire::translate::Translator;

fn translator(client: Format, provider: Format) -> Translator {
    let target = Target::new(provider, Host::Unknown, "m", "p", &Overrides::default());
    let mut plan = Plan::new(client, RawValue::new(b"{}"), &Context::new(target, "asked"));
    (plan.stream, plan.include_usage) = (true, true);
    Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), "req_1"))
}

/// What a client gets of a provider's stream in these reads. `Err`: the kind of a failure before
/// anything was written.
fn streamed<'a>(client: Format, provider: Format, reads: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Kind> {
    let (mut translator, mut framer, mut out) = (translator(client, provider), Framer::default(), Vec::new());
    for mut read in reads {
        loop {
            match framer.next(&mut read) {
                Ok(Some(block)) => {
                    if let Some(frame) = block.frame {
                        translator.frame(frame, &mut out).map_err(|e| e.kind)?;
                    }
                }
                Ok(None) => break,
                Err(TooLong { .. }) => {
                    let error = llm_wire::error::Error::upstream(Kind::UpstreamFault, "too long");
                    translator.fail(error, &mut out).map_err(|e| e.kind)?;
                    return Ok(out);
                }
            }
        }
    }
    if let Some(frame) = framer.finish().and_then(|block| block.frame) {
        translator.frame(frame, &mut out).map_err(|e| e.kind)?;
    }
    translator.end(&mut out).map_err(|e| e.kind)?;
    Ok(out)
}

/// What the client understands of it.
fn read(client: Format, provider: Format, stream: &str) -> Result<Reading, Kind> {
    streamed(client, provider, [stream.as_bytes()]).map(|out| reading::stream(client, &out))
}

fn texts(reading: &Reading) -> String {
    let text = |item: &OutputItem| match item {
        OutputItem::Text(text) => text.clone(),
        _ => String::new(),
    };
    reading.items.iter().map(text).collect()
}

fn finished(reading: &Reading) -> bool {
    matches!(reading.end, End::Finished(..))
}

/// A stream of text deltas, given as escaped string bodies.
fn text_stream(provider: Format, deltas: &[&str]) -> String {
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\",{data}}}\n\n");
    let deltas = deltas.iter();
    match provider {
        Format::Chat => {
            let chunk = |delta: &str, finish: &str| {
                format!(
                    "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
                )
            };
            let deltas: String = deltas.map(|text| chunk(&format!(r#"{{"content":"{text}"}}"#), "null")).collect();
            deltas + &chunk("{}", "\"stop\"") + "data: [DONE]\n\n"
        }
        Format::Messages => {
            let delta = |text: &&str| {
                event("content_block_delta", &format!(r#""index":0,"delta":{{"type":"text_delta","text":"{text}"}}"#))
            };
            let start = event(
                "message_start",
                r#""message":{"id":"m","model":"m","usage":{"input_tokens":1,"output_tokens":1}}"#,
            );
            let block = event("content_block_start", r#""index":0,"content_block":{"type":"text","text":""}"#);
            let end = event("content_block_stop", r#""index":0"#)
                + &event("message_delta", r#""delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}"#)
                + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
            start + &block + &deltas.map(delta).collect::<String>() + &end
        }
        Format::Responses => {
            let delta = |text: &&str| {
                event(
                    "response.output_text.delta",
                    &format!(r#""item_id":"i","output_index":0,"content_index":0,"delta":"{text}""#),
                )
            };
            let created = event("response.created", r#""response":{"id":"r","model":"m","status":"in_progress"}"#);
            let added = event(
                "response.output_item.added",
                r#""output_index":0,"item":{"id":"i","type":"message","content":[]}"#,
            );
            let end = event("response.completed", r#""response":{"id":"r","status":"completed","output":[]}"#);
            created + &added + &deltas.map(delta).collect::<String>() + &end
        }
    }
}
