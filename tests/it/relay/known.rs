//! Events whose structure is known go through unread: the same bytes and the same facts as of those
//! that are read, wherever chunks and reads are cut.

use super::*;

/// Numbers that look like chance and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const TEXTS: [&str; 8] = [
    "a",
    "some words",
    "",
    r#"\"usage\":{\"completion_tokens\":9}"#,
    r"\\",
    "\u{e9}\u{1f600}",
    "[DONE]",
    "0123456789abcdef0",
];

/// What may stand between two events.
const BETWEEN: [&str; 12] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    ": keep-alive\n\n",
    "\n",
    "\r\n",
    "id: 7\n",
    "event: message\r\ndata: {\"odd\":1}\r\n\r\n",
];

/// The events of a stream, in the format of its provider.
struct Writer {
    id: usize,
    /// The number of the next event, where the format has them.
    number: usize,
}

impl Writer {
    fn chat(&self, delta: &str, finish: &str, usage: &str) -> String {
        let Writer { id, .. } = self;
        format!(
            "data: {{\"id\":\"c{id}\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":{finish}}}],\"usage\":{usage}}}\n\n"
        )
    }

    fn message(&self, name: &str, data: &str) -> String {
        format!("event: {name}\ndata: {{\"type\":\"{name}\"{data}}}\n\n")
    }

    fn response(&mut self, name: &str, data: &str) -> String {
        let (name, number) = (format!("response.{name}"), self.number);
        self.number += 1;
        format!("event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{data}}}\n\n")
    }

    /// An event with the response in it, and one with an item of it.
    fn lifecycle(&mut self, status: &str, usage: &str) -> String {
        let name = if status == "in_progress" { "created" } else { status };
        let response =
            format!("\"response\":{{\"id\":\"resp_{}\",\"status\":\"{status}\",\"usage\":{usage}}}", self.id);
        self.response(name, &response)
    }

    fn item(&mut self, name: &str, content: &str) -> String {
        let item = format!("\"item\":{{\"id\":\"i{}\",\"type\":\"message\",\"content\":[{content}]}}", self.id);
        self.response(name, &format!("\"output_index\":0,{item}"))
    }
}

/// A stream with so many completion tokens, of one of several hosts.
fn stream(sample: &Sample, numbers: &mut Numbers, tokens: usize) -> Vec<String> {
    let is_chat = sample.kind == "openai";
    // Some hosts report usage with each event.
    let reports = is_chat && numbers.below(3) == 0;
    let mut writer = Writer { id: numbers.below(1000), number: 0 };
    let is_plain = numbers.below(2) == 0;
    let usage = |tokens: usize| format!("{{\"prompt_tokens\":3,\"completion_tokens\":{tokens}}}");
    let part = |text: &str| format!("{{\"type\":\"output_text\",\"text\":\"{text}\"}}");
    let mut events = match sample.kind {
        "openai" => vec![writer.chat(r#""role":"assistant","content":"""#, "null", "null")],
        "anthropic" => {
            let usage = format!("{{\"input_tokens\":3,\"output_tokens\":{}}}", writer.id % 3);
            let message = format!(",\"message\":{{\"id\":\"m{}\",\"content\":[],\"usage\":{usage}}}", writer.id);
            let block = ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}";
            vec![writer.message("message_start", &message), writer.message("content_block_start", block)]
        }
        _ => vec![
            writer.lifecycle("in_progress", "null"),
            writer.item("output_item.added", ""),
            writer.response("content_part.added", &format!("\"output_index\":0,\"part\":{}", part(""))),
        ],
    };
    for n in 0..numbers.below(60) {
        let text = numbers.pick(&TEXTS);
        events.push(match sample.kind {
            "openai" => {
                let usage = if reports { usage(n) } else { "null".into() };
                writer.chat(&format!("\"content\":\"{text}\""), "null", &usage)
            }
            "anthropic" => {
                let delta = format!(",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}");
                writer.message("content_block_delta", &delta)
            }
            _ => {
                let padding = &"xxxxxxx"[..numbers.below(8)];
                let delta = format!("\"delta\":\"{text}\",\"logprobs\":[],\"obfuscation\":\"{padding}\"");
                writer.response("output_text.delta", &delta)
            }
        });
        if !is_plain {
            events.push(numbers.pick(&BETWEEN).to_owned());
        }
    }
    events.extend(match sample.kind {
        "openai" if reports => vec![writer.chat("", "\"stop\"", &usage(tokens))],
        "openai" => {
            let last = writer.chat("", "null", &usage(tokens));
            let last = last.replace(r#"{"index":0,"delta":{},"finish_reason":null}"#, "");
            vec![writer.chat("", "\"stop\"", "null"), last]
        }
        "anthropic" => {
            let delta = ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}";
            vec![
                writer.message("content_block_stop", ",\"index\":0"),
                writer.message("message_delta", &format!("{delta},\"usage\":{{\"output_tokens\":{tokens}}}")),
                writer.message("message_stop", ""),
            ]
        }
        _ => {
            let text = numbers.pick(&TEXTS);
            vec![
                writer.response("output_text.done", &format!("\"output_index\":0,\"text\":\"{text}\"")),
                writer.item("output_item.done", &part(text)),
                writer.lifecycle("completed", &format!("{{\"input_tokens\":3,\"output_tokens\":{tokens}}}")),
            ]
        }
    });
    events.extend(is_chat.then(|| "data: [DONE]\n\n".to_owned()));
    events
}

/// A gateway whose log keeps the events of streams, or that has none.
fn logging(sample: &Sample, is_logged: bool) -> (Fake, Gateway) {
    let provider = Fake::start();
    let setup = unheld().env("REQUEST_LOG_ENABLED", is_logged);
    let gateway = setup.provider(sample.provider("p", &provider)).start();
    (provider, gateway)
}

/// The sum of a counter over its series with this label.
fn sum(gateway: &Gateway, name: &str, label: &str) -> f64 {
    let mut client = gateway.client();
    client.ask(&get("/metrics"));
    let response = client.response();
    let lines = response.text().lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn events_that_are_known_are_those_that_are_read() {
    const STREAMS: usize = 120;
    let formats = [
        (1, &sample::CHAT, false),
        (2, &sample::MESSAGES, false),
        (3, &sample::CHAT, true),
        (4, &sample::RESPONSES, false),
    ];
    for (n, sample, is_logged) in formats {
        let (provider, gateway) = logging(sample, is_logged);
        let (mut numbers, mut tokens) = (Numbers(n), 0);
        let mut client = gateway.client();
        let mut conn = None;
        for _ in 0..STREAMS {
            let each = numbers.below(500);
            tokens += each;
            let events = stream(sample, &mut numbers, each);
            client.ask(&post(sample.path).body(sample.ask_stream));
            let conn = conn.get_or_insert_with(|| provider.accept());
            conn.request();
            let expected = events.concat();
            let chunks: Vec<Vec<u8>> = match numbers.below(3) {
                0 => events.iter().filter(|event| !event.is_empty()).map(answer::chunk).collect(),
                1 => {
                    let size = 1 + numbers.below(700);
                    expected.as_bytes().chunks(size).map(answer::chunk).collect()
                }
                _ => events
                    .chunks(1 + numbers.below(4))
                    .map(|some| some.concat())
                    .filter(|some| !some.is_empty())
                    .map(answer::chunk)
                    .collect(),
            };
            let bytes = [answer::SSE.as_bytes(), &chunks.concat(), answer::LAST_CHUNK.as_bytes()].concat();
            // In reads of any size: the parts may come together, or not.
            for part in bytes.chunks(1 + numbers.below(bytes.len())) {
                conn.send(part);
            }
            let response = client.response();
            assert_eq!(response.text(), expected);
        }
        let name = "llm_proxy_tokens_total{";
        eventually("all tokens are counted", || {
            let counts = ["prompt", "completion"].map(|kind| sum(&gateway, name, &format!("token_type=\"{kind}\"")));
            counts == [3.0 * STREAMS as f64, tokens as f64]
        });
        gateway.expect_metric("llm_proxy_upstream_connects_total", 1.0);
    }
}

/// A client that has not requested usage gets none, known or not, and it counts all the same.
#[test]
fn usage_that_was_not_requested_is_left_out() {
    let (provider, gateway) = logging(&sample::CHAT, false);
    let (mut client, mut conn) = (gateway.client(), None);
    for tokens in 0..8 {
        client.ask(&post(sample::CHAT.path).body(r#"{"model":"m-asked","stream":true,"messages":[]}"#));
        let conn = conn.get_or_insert_with(|| provider.accept());
        assert_eq!(conn.request().json()["stream_options"]["include_usage"], true);
        let usage = sample::CHAT.content[3]
            .replace("\"completion_tokens\":2", &format!("\"completion_tokens\":{tokens}"))
            .replace("\"total_tokens\":5", &format!("\"total_tokens\":{}", 3 + tokens));
        let mut events = sample::CHAT.events();
        events.iter_mut().filter(|event| event.contains("\"usage\"")).for_each(|event| *event = &usage);
        conn.send(answer::SSE);
        conn.send(events.iter().flat_map(answer::chunk).chain(answer::LAST_CHUNK.bytes()).collect::<Vec<u8>>());
        let expected = events.concat().replace(&usage, "");
        assert_eq!(client.response().text(), expected);
    }
    let name = "llm_proxy_tokens_total{";
    eventually("all tokens are counted", || sum(&gateway, name, "token_type=\"completion\"") == 28.0);
}

/// Where the provider has another name for the model, the client gets its own in each event, known
/// or not, and all is counted as of events that are read.
#[test]
fn known_events_have_the_name_of_the_client() {
    const STREAMS: usize = 12;
    for sample in [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES] {
        let (provider, gateway) = renaming_with(unheld().env("REQUEST_LOG_ENABLED", false), sample);
        let (mut client, mut conn) = (gateway.client(), None);
        let counted = || sum(&gateway, "llm_proxy_tokens_total{", "token_type=\"completion\"");
        let mut first = 0.0;
        for n in 0..STREAMS {
            let expected = sample.events().concat();
            let theirs = sample.events().into_iter();
            let theirs = theirs.map(|event| event.replace(r#""model":"m-asked""#, r#""model":"m-upstream""#));
            let chunks: Vec<Vec<u8>> = theirs.map(answer::chunk).collect();
            client.ask(&post(sample.path).body(sample.ask_stream));
            let conn = conn.get_or_insert_with(|| provider.accept());
            conn.request();
            conn.send([answer::SSE.as_bytes(), &chunks.concat(), answer::LAST_CHUNK.as_bytes()].concat());
            assert_eq!(client.response().text(), expected, "{} {n}", sample.path);
            if n == 0 {
                eventually("the first stream is counted", || counted() > 0.0);
                first = counted();
            }
        }
        eventually("all streams are counted alike", || counted() == first * STREAMS as f64);
    }
}
