//! Properties of requests: any body of a client, for any provider.

use crate::canonical::loss::{HEADER_MAX, Ledger};
use crate::error::{Error, Side};
use crate::format::Format;
use crate::json::RawValue;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Policy, PrefillPolicy, Target};
use crate::target::quirks::Host;
use crate::translate;
use crate::translate::Encoded;

/// Providers that differ in what their requests look like.
const TARGETS: [(Format, Host, &str); 14] = [
    (Format::Chat, Host::OpenAi, "gpt-5.2"),
    (Format::Chat, Host::OpenAi, "gpt-4o"),
    (Format::Chat, Host::Unknown, "m"),
    (Format::Chat, Host::DeepSeek, "deepseek-chat"),
    (Format::Chat, Host::Mistral, "mistral-large"),
    (Format::Chat, Host::GeminiCompat, "gemini-3-pro"),
    (Format::Chat, Host::Qwen, "qwen3"),
    (Format::Messages, Host::Anthropic, "claude-opus-5"),
    (Format::Messages, Host::Anthropic, "claude-sonnet-4-5"),
    (Format::Messages, Host::Bedrock, "claude-3-haiku"),
    (Format::Messages, Host::Unknown, "m"),
    (Format::Responses, Host::OpenAi, "gpt-5.2"),
    (Format::Responses, Host::Vllm, "m"),
    (Format::Responses, Host::OpenAi, "gpt-4o"),
];

/// The property of the fuzz target `wire_request`. Three bytes choose the client's format (`c`,
/// `m`, `r`), the target and the policy; one more, a line end in our seeds, is skipped; the rest is
/// the body.
pub fn check(input: &[u8]) {
    let Some((&[format, target, policy, _], body)) = input.split_first_chunk::<4>() else { return };
    let client = match format {
        b'c' => Format::Chat,
        b'm' => Format::Messages,
        b'r' => Format::Responses,
        other => Format::ALL[usize::from(other) % Format::ALL.len()],
    };
    check_properties(client, TARGETS[usize::from(target) % TARGETS.len()], policy_of(policy), body);
}

/// Bits: no repair of pairs, foreign reasoning as text, prefill as a hint, server tools dropped, no
/// details, no stop emulation.
fn policy_of(bits: u8) -> Policy {
    let option = |bit: u8| bits & 1 << bit != 0;
    Policy {
        repair_tool_pairs: !option(0),
        foreign_reasoning_as_text: option(1),
        prefill: if option(2) { PrefillPolicy::Hint } else { PrefillPolicy::Pass },
        server_tools: if option(3) { crate::target::plan::ServerTools::Drop } else { Default::default() },
        reasoning_details: !option(4),
        emulate_stop: !option(5),
        ..Policy::default()
    }
}

fn check_properties(client: Format, (format, host, model): (Format, Host, &str), policy: Policy, body: &[u8]) {
    let target = Target::new(format, host, model, "p", &Overrides::default());
    let cx = Context { policy, ..Context::new(target, "asked") };
    let strict = Context { policy: Policy { strict: true, ..policy }, ..cx };
    let encoded = translate::request(client, body, &cx);
    let strictly = translate::request(client, body, &strict);
    let encoded = match encoded {
        Ok(encoded) => encoded,
        Err(error) => {
            assert_eq!(error.side, Side::Client, "{error:?}");
            assert!(strictly.is_err());
            return;
        }
    };
    if let Ok(again) = translate::request(client, body, &cx) {
        assert_eq!(encoded.body, again.body, "encoders are deterministic");
    }
    headers(&encoded.ledger);
    losses(&encoded, &strictly);
    let parsed = RawValue::parse(&encoded.body);
    assert!(parsed.is_ok_and(RawValue::is_object), "{parsed:?}");
    let sent = RawValue::new(&encoded.body);
    assert!(sent.find("model").is_some_and(|name| name.eq_str(model)));
    crate::testing::conversation::check(format, sent);
    // Its own decoder takes it: what is sent is a request.
    let decoded = translate::decode(format, sent, &mut Ledger::new(false));
    assert!(decoded.is_ok(), "{:?} of {}", decoded.err(), String::from_utf8_lossy(&encoded.body));
    assert!(encoded.body.len() <= 16 * body.len() + (64 << 10), "{} of {}", encoded.body.len(), body.len());
}

/// What was lost is named, and in strict mode refused.
fn losses(encoded: &Encoded, strictly: &Result<Encoded, Error>) {
    match (encoded.ledger.losses().next(), strictly) {
        (None, Ok(strictly)) => assert_eq!(encoded.body, strictly.body),
        (None, Err(error)) => unreachable!("strict mode refuses what loses nothing: {error:?}"),
        (Some(loss), Ok(_)) => unreachable!("strict mode accepts {loss:?}"),
        (Some(_), Err(error)) => assert!(error.kind.row().status == 400 && error.param.is_some(), "{error:?}"),
    }
}

/// Names and counts, and nothing that could break out of a header.
fn headers(ledger: &Ledger) {
    for header in [ledger.dropped_header(), ledger.repaired_header()].into_iter().flatten() {
        assert!(header.len() <= HEADER_MAX);
        assert!(header.chars().all(|c| c.is_ascii_graphic() || c == ' ' || c == '…'), "{header}");
    }
}
