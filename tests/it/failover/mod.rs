//! What clients see when providers fail: every fault of the mock, alone and with a standby.

mod latency;
mod matrix;
mod pairs;
mod rescue;
mod rescue_formats;
mod scenario_table;
mod scenarios;

use std::net::SocketAddr;

use llm_mock::{Knobs, MockHandle, MockOptions};
use llm_proxy::config::rows::ProviderRow;

use super::support::*;

/// A mock provider with a fault (`x-mock-fault`); an empty one is none. Behind `late-` it comes
/// after 200 ms.
fn mock(fault: &str) -> MockHandle {
    let mut defaults = Knobs::default();
    let fault = match fault.strip_prefix("late-") {
        Some(fault) => {
            defaults.delay_ms = 200;
            fault
        }
        None => fault,
    };
    if !fault.is_empty() {
        defaults.select(fault.parse().unwrap());
    }
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    llm_mock::start(MockOptions { addr, workers: 1, defaults }).unwrap()
}

/// What a client got.
struct Got {
    status: u16,
    /// Who responded, by `x-llm-proxy-provider`.
    provider: String,
    /// `x-llm-proxy-attempts`.
    attempts: u64,
    text: String,
    end: End,
}

/// The last word of the mock's text, in a stream a piece of its own.
const LAST_WORD: &str = "tell";

impl Got {
    fn of(client: &mut Client) -> Got {
        let head = client.head();
        let (body, end) = client.rest();
        Got {
            status: head.status,
            provider: head.header("x-llm-proxy-provider").unwrap_or_default().to_owned(),
            attempts: head.header("x-llm-proxy-attempts").map_or(0, |text| text.parse().unwrap()),
            text: String::from_utf8_lossy(&body).into_owned(),
            end,
        }
    }

    /// The code of the error that the response is or ends with, or its type where the format has no
    /// codes.
    fn error(&self) -> Option<String> {
        let last = || self.text.split("\n\n").filter_map(|event| event.split_once("data: ")).last();
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        let data = parse(&self.text).or_else(|| parse(last()?.1))?;
        let error = data.get("error").filter(|error| !error.is_null())?;
        let word = error["code"].as_str().or(error["type"].as_str())?;
        Some(word.to_owned())
    }

    /// What a client that knows its format takes this for.
    fn outcome(&self, stream: bool) -> String {
        let whole = self.text.contains(LAST_WORD);
        let has_mark = ["data: [DONE]", "event: message_stop"].iter().any(|mark| self.text.contains(mark));
        let is_json = |data: &str| data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok();
        let has_broken = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).any(|data| !is_json(data));
        let content = ["\"content\":\"", "text_delta"].iter().any(|part| self.text.contains(part));
        if self.status != 200 {
            return format!("{} {}", self.status, self.error().unwrap_or_else(|| "(own body)".into()));
        }
        match (self.end, self.error()) {
            (_, Some(code)) if stream && content => format!("part, error {code}"),
            (_, Some(code)) => format!("error event {code}"),
            (End::Truncated, None) if stream => "part, cut".to_owned(),
            (End::Truncated, None) => "cut".to_owned(),
            (End::Whole, None) if has_broken => "answer, one event no JSON".to_owned(),
            (End::Whole, None) if whole && (has_mark || !stream) => "answer".to_owned(),
            (End::Whole, None) if whole => "no end mark".to_owned(),
            (End::Whole, None) => "part, ends well".to_owned(),
        }
    }
}
