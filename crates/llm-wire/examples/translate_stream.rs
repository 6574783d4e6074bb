//! Translates a stream of Anthropic's Messages API for a client of the Chat format.
//!
//! The plan of a request decides how its response is translated: a request comes first. The stream
//! arrives in reads of any size; here a read is 32 bytes.
//!
//! `cargo run -p llm-wire --example translate_stream`

use llm_wire::Format;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Translator};

const BODY: &str = r#"{"model":"assistant","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Good day."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target =
        Target::new(Format::Messages, Host::Anthropic, "claude-sonnet-4-5", "my-provider", &Overrides::default());
    let encoded = translate::request(Format::Chat, BODY.as_bytes(), &Context::new(target, "assistant"))?;

    // A server passes ids that never repeat and its clock instead of `SequentialIds`.
    let reply = Reply::new(encoded.plan, Box::new(SequentialIds::default()), "request-1");
    let mut translator = Translator::new(reply);
    let mut framer = Framer::default();
    let mut out = Vec::new();
    for mut read in STREAM.as_bytes().chunks(32) {
        while let Some(block) = framer.next(&mut read)? {
            if let Some(frame) = block.frame {
                translator.frame(frame, &mut out)?;
            }
        }
    }
    translator.end(&mut out)?;
    print!("{}", String::from_utf8_lossy(&out));
    Ok(())
}
