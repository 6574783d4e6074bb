//! The translation of a request is linear in its body, whichever of its lists is long.
//!
//! Each row below makes a body with a list of `n` entries. A body with four times as many entries
//! must not take more than ten times as long: a step that is linear takes four times as long, one
//! that is quadratic sixteen times.

use std::fmt::Write;
use std::time::{Duration, Instant};

use llm_wire::Format;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate;

const ENTRIES: usize = 1000;
/// Where the longer list takes no longer than this, nothing can be measured.
const FLOOR: Duration = Duration::from_millis(20);

type Make = fn(usize) -> String;

/// `{n}` stands for the number of the entry.
fn list(n: usize, entry: &str) -> String {
    let mut out = String::new();
    for i in 0..n {
        let _ = write!(out, "{}{}", if i == 0 { "" } else { "," }, entry.replace("{n}", &i.to_string()));
    }
    out
}

fn chat(messages: &str, rest: &str) -> String {
    format!(r#"{{"model":"m",{rest}"messages":[{{"role":"user","content":"x"}}{messages}]}}"#)
}

/// With a tool of this schema.
fn chosen(schema: &str) -> String {
    let tool = format!(r#"{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}"#);
    chat("", &format!(r#""tools":[{tool}],"#))
}

fn messages(more: &str, rest: &str) -> String {
    format!(r#"{{"model":"m","max_tokens":9,{rest}"messages":[{{"role":"user","content":"x"}}{more}]}}"#)
}

fn responses(items: &str, rest: &str) -> String {
    format!(r#"{{"model":"m",{rest}"input":[{{"role":"user","content":"x"}}{items}]}}"#)
}

const CHAT: &[(&str, Make)] = &[
    ("messages", |n| chat(&format!(",{}", list(n, r#"{"role":"user","content":"{n}"}"#)), "")),
    ("turns", |n| {
        let turn = r#"{"role":"assistant","content":"{n}"},{"role":"user","content":"{n}"}"#;
        chat(&format!(",{}", list(n, turn)), "")
    }),
    ("content", |n| {
        let parts = list(n, r#"{"type":"text","text":"{n}"}"#);
        chat(&format!(r#",{{"role":"user","content":[{parts}]}}"#), "")
    }),
    ("tools", |n| {
        let tools = list(n, r#"{"type":"function","function":{"name":"f{n}","parameters":{"type":"object"}}}"#);
        chat("", &format!(r#""tools":[{tools}],"#))
    }),
    ("functions", |n| chat("", &format!(r#""functions":[{}],"#, list(n, r#"{"name":"f{n}"}"#)))),
    ("calls of one message", |n| {
        let calls = list(n, r#"{"id":"c{n}","type":"function","function":{"name":"f","arguments":"{}"}}"#);
        let results = list(n, r#"{"role":"tool","tool_call_id":"c{n}","content":"r"}"#);
        chat(&format!(r#",{{"role":"assistant","tool_calls":[{calls}]}},{results}"#), "")
    }),
    ("calls of one id", |n| {
        let calls = list(n, r#"{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}"#);
        let results = list(n, r#"{"role":"tool","tool_call_id":"c","content":"r"}"#);
        chat(&format!(r#",{{"role":"assistant","tool_calls":[{calls}]}},{results}"#), "")
    }),
    ("calls in as many turns, answered at the end", |n| {
        let call = r#"{"id":"{n}","type":"function","function":{"name":"f{n}","arguments":"{}"}}"#;
        let turn = format!(r#"{{"role":"assistant","tool_calls":[{call}]}},{{"role":"user","content":"x"}}"#);
        let results = list(n, r#"{"role":"tool","tool_call_id":"{n}","content":"r"}"#);
        chat(&format!(",{},{results}", list(n, &turn)), "")
    }),
    ("custom calls", |n| {
        let calls = list(n, r#"{"id":"c{n}","type":"custom","custom":{"name":"f","input":"x"}}"#);
        let results = list(n, r#"{"role":"tool","tool_call_id":"c{n}","content":"r"}"#);
        chat(&format!(r#",{{"role":"assistant","tool_calls":[{calls}]}},{results}"#), "")
    }),
    ("function_call", |n| {
        let turn = r#"{"role":"assistant","function_call":{"name":"f{n}","arguments":"{}"}},
                      {"role":"user","content":"x"}"#;
        let results = list(n, r#"{"role":"function","name":"f{n}","content":"r"}"#);
        chat(&format!(",{},{results}", list(n, turn)), "")
    }),
    ("stop", |n| chat("", &format!(r#""stop":[{}],"#, list(n, r#""s{n}""#)))),
    ("unknown members", |n| chat("", &format!("{},", list(n, r#""u{n}":1"#)))),
    ("members of metadata", |n| chat("", &format!(r#""metadata":{{{}}},"#, list(n, r#""m{n}":"x""#)))),
    ("a strict schema", |n| {
        let properties = list(n, r#""p{n}":{"type":"string"}"#);
        let required = list(n, r#""p{n}""#);
        let schema = format!(
            r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":false}}"#
        );
        chat(
            "",
            &format!(
                r#""response_format":{{"type":"json_schema","json_schema":{{"name":"n","strict":true,"schema":{schema}}}}},"#
            ),
        )
    }),
    ("properties of a choice at the root of a schema", |n| {
        let properties = list(n, r#""p{n}":{"type":"string"}"#);
        let required = list(n, r#""p{n}""#);
        chosen(&format!(r#"{{"anyOf":[{{"properties":{{{properties}}},"required":[{required}]}}]}}"#))
    }),
    ("more properties than a choice may have", |n| {
        chosen(&format!(r#"{{"anyOf":[{{"properties":{{{}}}}}]}}"#, list(8 * n, r#""p{n}":{}"#)))
    }),
    ("values below choices in choices", |n| {
        let values = format!(r#"{{"properties":{{"a":{{"enum":[{}]}}}}}}"#, list(8 * n, "{n}"));
        chosen(&(0..8).fold(values, |inner, _| format!(r#"{{"allOf":[{inner}]}}"#)))
    }),
    ("branches that refer to a long definition", |n| {
        let long = list(n, r#""x{n}":0"#);
        let branches = list(n, r##"{"$ref":"#/$defs/A"}"##);
        chosen(&format!(r#"{{"$defs":{{"A":{{{long}}}}},"anyOf":[{branches}]}}"#))
    }),
    ("branches that refer to a definition with a long list", |n| {
        let long = list(n, "[0,0]");
        let branches = list(n, r##"{"$ref":"#/$defs/A"}"##);
        chosen(&format!(r#"{{"$defs":{{"A":{{"required":[[{long}]]}}}},"anyOf":[{branches}]}}"#))
    }),
    ("branches that refer to a definition with a long name", |n| {
        let (long, branches) = ("x".repeat(100 * n), list(n, r##"{"$ref":"#/$defs/A"}"##));
        let definitions = format!(r##""A":{{"$ref":"#/$defs/{long}"}},"{long}":{{"required":["{long}"]}}"##);
        chosen(&format!(r#"{{"$defs":{{{definitions}}},"anyOf":[{branches}]}}"#))
    }),
    ("values at the bottom of a made schema", |n| {
        let values = format!(r#"{{"enum":[{}]}}"#, list(8 * n, "{n}"));
        let deep = (0..60).fold(values, |inner, _| format!(r#"{{"items":{inner}}}"#));
        chosen(&format!(r#"{{"type":["object"],"properties":{{"a":{deep}}}}}"#))
    }),
    ("allowed tools", |n| {
        let tools = list(n, r#"{"type":"function","function":{"name":"f{n}"}}"#);
        let allowed = list(n, r#"{"type":"function","function":{"name":"f{n}"}}"#);
        let choice = format!(r#"{{"type":"allowed_tools","allowed_tools":{{"mode":"auto","tools":[{allowed}]}}}}"#);
        chat("", &format!(r#""tools":[{tools}],"tool_choice":{choice},"#))
    }),
    ("reasoning_details", |n| {
        let details = list(n, r#"{"type":"reasoning.text","text":"{n}"}"#);
        chat(
            &format!(
                r#",{{"role":"assistant","content":"a","reasoning_details":[{details}]}},{{"role":"user","content":"x"}}"#
            ),
            "",
        )
    }),
];

const MESSAGES: &[(&str, Make)] = &[
    ("messages", |n| messages(&format!(",{}", list(n, r#"{"role":"user","content":"{n}"}"#)), "")),
    ("system", |n| messages("", &format!(r#""system":[{}],"#, list(n, r#"{"type":"text","text":"{n}"}"#)))),
    ("content", |n| {
        let parts = list(n, r#"{"type":"text","text":"{n}","cache_control":{"type":"ephemeral"}}"#);
        messages(&format!(r#",{{"role":"user","content":[{parts}]}}"#), "")
    }),
    ("tools", |n| {
        let tools = list(n, r#"{"name":"f{n}","input_schema":{"type":"object"},"defer_loading":true}"#);
        messages("", &format!(r#""tools":[{tools}],"#))
    }),
    ("calls", |n| {
        let calls = list(n, r#"{"type":"tool_use","id":"c{n}","name":"f{n}","input":{}}"#);
        let results = list(n, r#"{"type":"tool_result","tool_use_id":"c{n}","content":"r"}"#);
        messages(&format!(r#",{{"role":"assistant","content":[{calls}]}},{{"role":"user","content":[{results}]}}"#), "")
    }),
    ("images in results", |n| {
        let image = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}"#;
        let results = format!(r#"{{"type":"tool_result","tool_use_id":"c","content":[{}]}}"#, list(n, image));
        let call = r#"{"type":"tool_use","id":"c","name":"f","input":{}}"#;
        messages(&format!(r#",{{"role":"assistant","content":[{call}]}},{{"role":"user","content":[{results}]}}"#), "")
    }),
    ("MCP servers", |n| {
        let servers = list(n, r#"{"type":"url","url":"https://x","name":"s{n}"}"#);
        let sets = list(n, r#"{"type":"mcp_toolset","mcp_server_name":"s{n}"}"#);
        let plain = r#"{"name":"f","input_schema":{"type":"object"}}"#;
        messages("", &format!(r#""mcp_servers":[{servers}],"tools":[{plain},{sets}],"#))
    }),
    ("turns with reasoning", |n| {
        let thinking = r#"{"type":"thinking","thinking":"{n}","signature":"s{n}"},{"type":"text","text":"a"}"#;
        let turn = format!(r#"{{"role":"assistant","content":[{thinking}]}},{{"role":"user","content":"x"}}"#);
        messages(&format!(",{}", list(n, &turn)), "")
    }),
    ("reasoning of one turn", |n| {
        let blocks = list(n, r#"{"type":"redacted_thinking","data":"d{n}"}"#);
        messages(
            &format!(
                r#",{{"role":"assistant","content":[{blocks},{{"type":"text","text":"a"}}]}},{{"role":"user","content":"x"}}"#
            ),
            "",
        )
    }),
    ("calls in as many turns", |n| {
        let call = r#"{"role":"assistant","content":[{"type":"tool_use","id":"c{n}","name":"f{n}","input":{}}]}"#;
        let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c{n}","content":"r"}]}"#;
        messages(&format!(",{}", list(n, &format!("{call},{result}"))), "")
    }),
    ("parts of results", |n| {
        let parts = list(n, r#"{"type":"text","text":"{n}"}"#);
        let result = format!(r#"{{"type":"tool_result","tool_use_id":"c","content":[{parts}]}}"#);
        let call = r#"{"type":"tool_use","id":"c","name":"f","input":{}}"#;
        messages(&format!(r#",{{"role":"assistant","content":[{call}]}},{{"role":"user","content":[{result}]}}"#), "")
    }),
    ("searches of the server", |n| {
        let results =
            list(n, r#"{"type":"web_search_result","url":"https://x/{n}","title":"t","encrypted_content":"e"}"#);
        let call = r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}}"#;
        let result = format!(r#"{{"type":"web_search_tool_result","tool_use_id":"s","content":[{results}]}}"#);
        messages(&format!(r#",{{"role":"assistant","content":[{call},{result}]}},{{"role":"user","content":"x"}}"#), "")
    }),
    ("citations", |n| {
        let citations = list(
            n,
            r#"{"type":"char_location","cited_text":"{n}","document_index":0,"document_title":"t","start_char_index":0,"end_char_index":1}"#,
        );
        let text = format!(r#"{{"type":"text","text":"a","citations":[{citations}]}}"#);
        messages(&format!(r#",{{"role":"assistant","content":[{text}]}},{{"role":"user","content":"x"}}"#), "")
    }),
    ("documents", |n| {
        let document =
            r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"{n}"},"title":"t{n}"}"#;
        messages(&format!(r#",{{"role":"user","content":[{}]}}"#, list(n, document)), "")
    }),
    ("members of metadata", |n| messages("", &format!(r#""metadata":{{{}}},"#, list(n, r#""m{n}":"x""#)))),
    ("unknown members", |n| messages("", &format!("{},", list(n, r#""u{n}":1"#)))),
    ("members of an input", |n| {
        let call = format!(r#"{{"type":"tool_use","id":"c","name":"f","input":{{{}}}}}"#, list(n, r#""m{n}":{n}"#));
        let result = r#"{"type":"tool_result","tool_use_id":"c","content":"r"}"#;
        messages(&format!(r#",{{"role":"assistant","content":[{call}]}},{{"role":"user","content":[{result}]}}"#), "")
    }),
    ("stop_sequences", |n| messages("", &format!(r#""stop_sequences":[{}],"#, list(n, r#""s{n}""#)))),
    ("a schema", |n| {
        let properties = list(n, r#""p{n}":{"type":"string"}"#);
        let required = list(n, r#""p{n}""#);
        let schema = format!(
            r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":false}}"#
        );
        messages("", &format!(r#""output_config":{{"format":{{"type":"json_schema","schema":{schema}}}}},"#))
    }),
];

const RESPONSES: &[(&str, Make)] = &[
    ("input", |n| responses(&format!(",{}", list(n, r#"{"role":"user","content":"{n}"}"#)), "")),
    ("tools", |n| {
        let tools = list(n, r#"{"type":"function","name":"f{n}","parameters":{"type":"object"}}"#);
        responses("", &format!(r#""tools":[{tools}],"#))
    }),
    ("additional tools", |n| {
        let tools = list(n, r#"{"type":"function","name":"f{n}","parameters":{"type":"object"}}"#);
        responses(&format!(r#",{{"type":"additional_tools","role":"developer","tools":[{tools}]}}"#), "")
    }),
    ("lists of additional tools", |n| {
        let tool = r#"{"type":"function","name":"f{n}","parameters":{"type":"object"}}"#;
        let item = format!(r#"{{"type":"additional_tools","role":"developer","tools":[{tool}]}}"#);
        responses(&format!(",{}", list(n, &item)), "")
    }),
    ("calls", |n| {
        let calls = list(n, r#"{"type":"function_call","call_id":"c{n}","name":"f{n}","arguments":"{}"}"#);
        let results = list(n, r#"{"type":"function_call_output","call_id":"c{n}","output":"r"}"#);
        responses(&format!(",{calls},{results}"), "")
    }),
    ("custom calls", |n| {
        let calls = list(n, r#"{"type":"custom_tool_call","call_id":"c{n}","name":"f{n}","input":"x"}"#);
        let results = list(n, r#"{"type":"custom_tool_call_output","call_id":"c{n}","output":"r"}"#);
        responses(&format!(",{calls},{results}"), "")
    }),
    ("reasoning", |n| {
        let items = list(n, r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"{n}"}]}"#);
        responses(&format!(r#",{items},{{"role":"assistant","content":"a"}},{{"role":"user","content":"x"}}"#), "")
    }),
    ("parts of reasoning", |n| {
        let parts = list(n, r#"{"type":"summary_text","text":"{n}"}"#);
        let item = format!(r#"{{"type":"reasoning","id":"rs","summary":[{parts}],"encrypted_content":"e"}}"#);
        responses(&format!(r#",{item},{{"role":"assistant","content":"a"}},{{"role":"user","content":"x"}}"#), "")
    }),
    ("content", |n| {
        let parts = list(n, r#"{"type":"input_text","text":"{n}"}"#);
        responses(&format!(r#",{{"role":"user","content":[{parts}]}}"#), "")
    }),
    ("images", |n| {
        let parts = list(n, r#"{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}"#);
        responses(&format!(r#",{{"role":"user","content":[{parts}]}}"#), "")
    }),
    ("annotations", |n| {
        let notes =
            list(n, r#"{"type":"url_citation","url":"https://x/{n}","title":"t","start_index":0,"end_index":1}"#);
        let text = format!(r#"{{"type":"output_text","text":"a","annotations":[{notes}]}}"#);
        responses(
            &format!(r#",{{"type":"message","role":"assistant","content":[{text}]}},{{"role":"user","content":"x"}}"#),
            "",
        )
    }),
    ("parts of outputs", |n| {
        let parts = list(n, r#"{"type":"input_text","text":"{n}"}"#);
        let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
        let output = format!(r#"{{"type":"function_call_output","call_id":"c","output":[{parts}]}}"#);
        responses(&format!(",{call},{output}"), "")
    }),
    ("calls of one id", |n| {
        let calls = list(n, r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#);
        let results = list(n, r#"{"type":"function_call_output","call_id":"c","output":"r"}"#);
        responses(&format!(",{calls},{results}"), "")
    }),
    ("references", |n| responses(&format!(",{}", list(n, r#"{"type":"item_reference","id":"i{n}"}"#)), "")),
    ("searches", |n| {
        let item =
            r#"{"type":"web_search_call","id":"w{n}","status":"completed","action":{"type":"search","query":"q"}}"#;
        responses(&format!(",{}", list(n, item)), "")
    }),
    ("commands of a shell", |n| {
        let commands = list(n, r#""c{n}""#);
        let call = format!(
            r#"{{"type":"local_shell_call","id":"l","call_id":"c","status":"completed","action":{{"type":"exec","command":[{commands}],"env":{{}}}}}}"#
        );
        responses(&format!(r#",{call},{{"type":"local_shell_call_output","id":"l","call_id":"c","output":"r"}}"#), "")
    }),
    ("tools of MCP servers", |n| {
        let tools = list(n, r#"{"name":"f{n}","input_schema":{"type":"object"}}"#);
        responses(&format!(r#",{{"type":"mcp_list_tools","id":"m","server_label":"s","tools":[{tools}]}}"#), "")
    }),
    ("allowed tools", |n| {
        let tools = list(n, r#"{"type":"function","name":"f{n}","parameters":{"type":"object"}}"#);
        let allowed = list(n, r#"{"type":"function","name":"f{n}"}"#);
        let choice = format!(r#"{{"type":"allowed_tools","mode":"auto","tools":[{allowed}]}}"#);
        responses("", &format!(r#""tools":[{tools}],"tool_choice":{choice},"#))
    }),
    ("a strict schema", |n| {
        let properties = list(n, r#""p{n}":{"type":"string"}"#);
        let required = list(n, r#""p{n}""#);
        let schema = format!(
            r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":false}}"#
        );
        responses(
            "",
            &format!(r#""text":{{"format":{{"type":"json_schema","name":"n","strict":true,"schema":{schema}}}}},"#),
        )
    }),
    ("members of metadata", |n| responses("", &format!(r#""metadata":{{{}}},"#, list(n, r#""m{n}":"x""#)))),
    ("unknown members", |n| responses("", &format!("{},", list(n, r#""u{n}":1"#)))),
    ("include", |n| responses("", &format!(r#""include":[{}],"#, list(n, r#""i{n}""#)))),
];

/// The time that this thread spends on a processor, where the system tells it (Linux); else the
/// time that passes. Other processes make the latter longer.
struct Clock(Instant, Option<Duration>);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), Clock::of_thread())
    }

    fn of_thread() -> Option<Duration> {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    }

    fn elapsed(&self) -> Duration {
        match (self.1, Clock::of_thread()) {
            (Some(start), Some(now)) if now > start => now - start,
            _ => self.0.elapsed(),
        }
    }
}

fn time(from: Format, to: Format, body: &str) -> Duration {
    let (host, model) = match to {
        Format::Messages => (Host::Anthropic, "claude-sonnet-4-5"),
        Format::Chat => (Host::OpenAi, "gpt-4o"),
        Format::Responses => (Host::OpenAi, "gpt-5.1"),
    };
    let target = Target::new(to, host, model, "p", &Overrides::default());
    let cx = Context::new(target, "m");
    let once = || {
        let clock = Clock::start();
        // A refusal is an answer too, as long as it comes as soon.
        let _ = std::hint::black_box(translate::request(from, body.as_bytes(), &cx));
        clock.elapsed()
    };
    once().min(once())
}

#[test]
fn every_list_of_a_body_is_read_in_linear_time() {
    for (from, rows) in [(Format::Chat, CHAT), (Format::Messages, MESSAGES), (Format::Responses, RESPONSES)] {
        for to in Format::ALL.into_iter().filter(|to| *to != from) {
            for (name, make) in rows {
                let (short, long) = (make(ENTRIES), make(4 * ENTRIES));
                assert!(long.len() < 5 * short.len(), "{name}: the bodies grow as their lists do");
                let long_time = time(from, to, &long);
                if long_time < FLOOR {
                    continue;
                }
                let short_time = time(from, to, &short);
                // A busy machine may be at fault once; the second look is longer.
                let again = || time(from, to, &long) < 10 * time(from, to, &short);
                let linear = long_time < 10 * short_time || again() || again();
                assert!(linear, "{from} to {to}, {name}: {short_time:?}, then {long_time:?} for four times as much");
            }
        }
    }
}
