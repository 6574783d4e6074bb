//! Streams and requests that the benches measure and `tests/alloc.rs` counts allocations over.

#![allow(dead_code)]

use llm_wire::Format;
use llm_wire::json::RawValue;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::Translator;

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deltas {
    Text,
    Args,
    Reasoning,
}

impl Deltas {
    pub const ALL: [Deltas; 3] = [Deltas::Text, Deltas::Args, Deltas::Reasoning];

    pub fn name(self) -> &'static str {
        match self {
            Deltas::Text => "text",
            Deltas::Args => "args",
            Deltas::Reasoning => "reasoning",
        }
    }

    /// About as long as a token, and escaped as it would be.
    fn words(self) -> &'static str {
        match self {
            Deltas::Text => " token",
            Deltas::Args => r#" \\\"x\\\" "#,
            Deltas::Reasoning => r" hm,\n",
        }
    }
}

/// A provider's stream: what begins it, one delta, what ends it.
pub struct Stream {
    pub head: String,
    pub delta: String,
    pub tail: String,
}

impl Stream {
    /// As the vendor of the format writes it, down to the fields that nobody reads.
    pub fn of(format: Format, deltas: Deltas) -> Stream {
        match format {
            Format::Chat => chat(deltas),
            Format::Messages => messages(deltas),
            Format::Responses => responses(deltas),
        }
    }

    pub fn with(&self, deltas: usize) -> Vec<u8> {
        [self.head.as_str(), &self.delta.repeat(deltas), &self.tail].concat().into_bytes()
    }
}

/// Every direction of translation: the provider's format, the client's.
pub fn directions() -> impl Iterator<Item = (Format, Format)> {
    let pairs = Format::ALL.into_iter().flat_map(|from| Format::ALL.into_iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to)
}

/// A translator for a client that asked for a stream.
pub fn translator(provider: Format, client: Format) -> Translator {
    let target = Target::new(provider, Host::Unknown, "m", "p", &Overrides::default());
    let mut plan = Plan::new(client, RawValue::new(b"{}"), &Context::new(target, "asked"));
    plan.stream = true;
    Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), "req_1"))
}

fn named(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",{data}}}\n\n")
}

fn chat(deltas: Deltas) -> Stream {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1780000000,\"model\":\"gpt-x\",\
             \"system_fingerprint\":\"fp_0123456789\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\
             \"usage\":null}}\n\n"
        )
    };
    let args = |text: &str| format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]}}"#);
    let call = r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}"#;
    let role = chunk(r#"{"role":"assistant","content":""}"#, "null");
    let words = deltas.words();
    let (head, delta, end, finish) = match deltas {
        Deltas::Text => (role, format!(r#"{{"content":"{words}"}}"#), String::new(), "\"stop\""),
        Deltas::Reasoning => (role, format!(r#"{{"reasoning_content":"{words}"}}"#), String::new(), "\"stop\""),
        Deltas::Args => {
            let head = role + &chunk(call, "null") + &chunk(&args(r#"{\"text\":\""#), "null");
            (head, args(words), chunk(&args(r#"\"}"#), "null"), "\"tool_calls\"")
        }
    };
    Stream { head, delta: chunk(&delta, "null"), tail: end + &chunk("{}", finish) + "data: [DONE]\n\n" }
}

fn messages(deltas: Deltas) -> Stream {
    let start = r#""message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}"#;
    let (block, kind, member) = match deltas {
        Deltas::Text => (r#"{"type":"text","text":""}"#, "text_delta", "text"),
        Deltas::Args => {
            (r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{}}"#, "input_json_delta", "partial_json")
        }
        Deltas::Reasoning => (r#"{"type":"thinking","thinking":"","signature":""}"#, "thinking_delta", "thinking"),
    };
    let delta = |kind: &str, member: &str, text: &str| {
        let data = format!(r#""index":0,"delta":{{"type":"{kind}","{member}":"{text}"}}"#);
        named("content_block_delta", &data)
    };
    let (before, after) = match deltas {
        Deltas::Text => (String::new(), String::new()),
        Deltas::Args => (delta(kind, member, r#"{\"text\":\""#), delta(kind, member, r#"\"}"#)),
        Deltas::Reasoning => (String::new(), delta("signature_delta", "signature", "c2lnbmF0dXJl")),
    };
    let head =
        named("message_start", start) + &named("content_block_start", &format!(r#""index":0,"content_block":{block}"#));
    let end = named(
        "message_delta",
        r#""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}"#,
    );
    let tail = after
        + &named("content_block_stop", r#""index":0"#)
        + &end
        + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    Stream { head: head + &before, delta: delta(kind, member, deltas.words()), tail }
}

fn responses(deltas: Deltas) -> Stream {
    let (item, event, part) = match deltas {
        Deltas::Text => (
            r#"{"id":"msg_0123456789abcdef","type":"message","status":"in_progress","role":"assistant","content":[]}"#,
            "response.output_text.delta",
            r#""content_index":0,"#,
        ),
        Deltas::Args => (
            r#"{"id":"fc_0123456789abcdef","type":"function_call","status":"in_progress","call_id":"call_1","name":"f","arguments":""}"#,
            "response.function_call_arguments.delta",
            "",
        ),
        Deltas::Reasoning => (
            r#"{"id":"rs_0123456789abcdef","type":"reasoning","summary":[]}"#,
            "response.reasoning_summary_text.delta",
            r#""summary_index":0,"#,
        ),
    };
    let id = RawValue::new(item.as_bytes())
        .find("id")
        .map_or(String::new(), |id| String::from_utf8_lossy(id.bytes()).into_owned());
    let behind = if deltas == Deltas::Text {
        r#","logprobs":[],"obfuscation":"aBcDeFgH""#
    } else {
        r#","obfuscation":"aBcDeFgH""#
    };
    let delta = |text: &str| {
        named(event, &format!(r#""sequence_number":7,"item_id":{id},"output_index":0,{part}"delta":"{text}"{behind}"#))
    };
    let (before, after) = match deltas {
        Deltas::Args => (delta(r#"{\"text\":\""#), delta(r#"\"}"#)),
        Deltas::Text | Deltas::Reasoning => (String::new(), String::new()),
    };
    let response = |status: &str| {
        format!(
            r#""response":{{"id":"resp_1","object":"response","status":"{status}","model":"gpt-x","output":[],"usage":{{"input_tokens":9,"output_tokens":9}}}}"#
        )
    };
    let head = named("response.created", &response("in_progress"))
        + &named("response.output_item.added", &format!(r#""output_index":0,"item":{item}"#));
    // Backends that leave the whole out of the last events exist; here it keeps the stream one of
    // deltas.
    let tail = after + &named("response.completed", &response("completed"));
    Stream { head: head + &before, delta: delta(deltas.words()), tail }
}

/// A conversation of about 20 KB: a system prompt, six tools, and a loop of calls with results, in
/// the words of a format.
pub fn conversation(format: Format) -> Vec<u8> {
    let prompt = "You are a careful engineer. Read before you write, and say what you did not check.\\n".repeat(20);
    let schema = r#"{"type":"object","properties":{"path":{"type":"string","description":"Where it lies."},"lines":{"type":"array","items":{"type":"integer"}},"mode":{"enum":["r","w","rw"]}},"required":["path"],"additionalProperties":false}"#;
    let describe =
        "Reads a file of the project and returns its text, or the lines that were asked for. Fails if there is none.";
    let result = "fn main() {\\n    let total: u64 = std::env::args().skip(1).map(|word| word.len() as u64).sum();\\n    println!(\\\"{total}\\\");\\n}\\n".repeat(6);
    let tool = |n: usize| match format {
        Format::Chat => format!(
            r#"{{"type":"function","function":{{"name":"read_{n}","description":"{describe}","parameters":{schema}}}}}"#
        ),
        Format::Messages => format!(r#"{{"name":"read_{n}","description":"{describe}","input_schema":{schema}}}"#),
        Format::Responses => format!(
            r#"{{"type":"function","name":"read_{n}","description":"{describe}","parameters":{schema},"strict":false}}"#
        ),
    };
    let tools: Vec<String> = (0..6).map(tool).collect();
    let turn = |n: usize| {
        let (question, said) = ("What does this file do, and who calls it?", "Let me look at the file first.");
        let text = r#"{\"path\":\"src/main.rs\",\"lines\":[1,2,3]}"#;
        let object = r#"{"path":"src/main.rs","lines":[1,2,3]}"#;
        match format {
            Format::Chat => format!(
                r#"{{"role":"user","content":"{question}"}},{{"role":"assistant","content":"{said}","tool_calls":[{{"id":"call_{n}","type":"function","function":{{"name":"read_1","arguments":"{text}"}}}}]}},{{"role":"tool","tool_call_id":"call_{n}","content":"{result}"}}"#
            ),
            Format::Messages => format!(
                r#"{{"role":"user","content":"{question}"}},{{"role":"assistant","content":[{{"type":"text","text":"{said}"}},{{"type":"tool_use","id":"call_{n}","name":"read_1","input":{object}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"call_{n}","content":"{result}"}}]}}"#
            ),
            Format::Responses => format!(
                r#"{{"role":"user","content":"{question}"}},{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"{said}"}}]}},{{"type":"function_call","call_id":"call_{n}","name":"read_1","arguments":"{text}"}},{{"type":"function_call_output","call_id":"call_{n}","output":"{result}"}}"#
            ),
        }
    };
    let turns: Vec<String> = (0..14).map(turn).collect();
    let (tools, turns) = (tools.join(","), turns.join(","));
    let body = match format {
        Format::Chat => format!(
            r#"{{"model":"asked","stream":true,"temperature":0.5,"messages":[{{"role":"system","content":"{prompt}"}},{turns}],"tools":[{tools}],"tool_choice":"auto"}}"#
        ),
        Format::Messages => format!(
            r#"{{"model":"asked","stream":true,"max_tokens":4096,"temperature":0.5,"system":"{prompt}","messages":[{turns}],"tools":[{tools}],"tool_choice":{{"type":"auto"}}}}"#
        ),
        Format::Responses => format!(
            r#"{{"model":"asked","stream":true,"temperature":0.5,"instructions":"{prompt}","input":[{turns}],"tools":[{tools}],"tool_choice":"auto"}}"#
        ),
    };
    body.into_bytes()
}
