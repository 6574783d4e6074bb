//! Clients of one format at providers of another, through the front door. What a translation says
//! is tested on its own, without sockets; here it is what the gateway does with it: when it
//! commits, whom it asks next, what it tells of failures, and what it sends where.

mod answers;
mod counts;
mod failures;
mod requests;

use llm_proxy::config::rows::ProviderRow;

use super::support::sample::{CHAT, MESSAGES, RESPONSES, Sample};
use super::support::*;

const FORMATS: [&Sample; 3] = [&CHAT, &MESSAGES, &RESPONSES];

/// Every client with every provider of another format.
fn pairs() -> impl Iterator<Item = (&'static Sample, &'static Sample)> {
    let pairs = FORMATS.into_iter().flat_map(|client| FORMATS.into_iter().map(move |provider| (client, provider)));
    pairs.filter(|(client, provider)| client.kind != provider.kind)
}

/// With its oddities taken as those of the vendor who made the format, and not as an imitator's.
fn native(sample: &Sample, name: &str, fake: &Fake) -> ProviderRow {
    let host = if sample.kind == "anthropic" { "anthropic" } else { "openai" };
    let formats = match sample.kind {
        "anthropic" => "messages",
        "responses" => "responses",
        _ => "chat",
    };
    let params = format!(r#"{{"host":"{host}","formats":["{formats}"]}}"#);
    ProviderRow { provider_params: params, ..sample.provider(name, fake) }
}

fn start(sample: &Sample) -> (Fake, Gateway) {
    let provider = Fake::start();
    let gateway = Setup::new().provider(native(sample, "p", &provider)).start();
    (provider, gateway)
}

/// The text of a whole answer.
fn text(client: &Sample, body: &serde_json::Value) -> String {
    let text = match client.kind {
        "anthropic" => &body["content"][0]["text"],
        "responses" => &body["output"][0]["content"][0]["text"],
        _ => &body["choices"][0]["message"]["content"],
    };
    text.as_str().unwrap_or_else(|| panic!("no text in {body}")).to_owned()
}

/// The data of each event of a stream, `[DONE]` left out.
fn events(stream: &str) -> Vec<serde_json::Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The text of a stream.
fn streamed(client: &Sample, events: &[serde_json::Value]) -> String {
    let piece = |event: &serde_json::Value| {
        let piece = match client.kind {
            "anthropic" => &event["delta"]["text"],
            "responses" if event["type"] == "response.output_text.delta" => &event["delta"],
            "responses" => &serde_json::Value::Null,
            _ => &event["choices"][0]["delta"]["content"],
        };
        piece.as_str().unwrap_or_default().to_owned()
    };
    events.iter().map(piece).collect()
}

/// What the last event of a stream that ended well holds.
fn end_mark(client: &Sample) -> &'static str {
    match client.kind {
        "anthropic" => "message_stop",
        "responses" => "response.completed",
        _ => "[DONE]",
    }
}
