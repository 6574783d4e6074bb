//! Translates a request of the Chat format for Anthropic's Messages API and prints what was lost.
//!
//! `cargo run -p llm-wire --example translate_request`

use llm_wire::Format;
use llm_wire::error::Error;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate;

const BODY: &str = r#"{
    "model": "assistant",
    "messages": [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "Why is the sky blue?"}
    ],
    "max_completion_tokens": 200,
    "logit_bias": {"50256": -100}
}"#;

fn main() -> Result<(), Error> {
    let target =
        Target::new(Format::Messages, Host::Anthropic, "claude-sonnet-4-5", "my-provider", &Overrides::default());
    let cx = Context::new(target, "assistant");
    let encoded = translate::request(Format::Chat, BODY.as_bytes(), &cx)?;
    println!("{}", String::from_utf8_lossy(&encoded.body));
    println!("{:?}", encoded.ledger);
    Ok(())
}
