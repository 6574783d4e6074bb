//! Everything of a request that is neither conversation nor tools: what of it the target takes (`translation.md` 1.11).
//!
//! Each encoder of requests calls [`settle`] once and writes what comes back; the rules about state, sampling, stop sequences,
//! identity and tiers stand here and nowhere else.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::Format;
use super::caps::SamplingRule;
use super::fields;
use super::item::{Number, Request};
use super::loss::{Ledger, Loss};
use super::names;
use super::plan::{Context, Plan};
use super::quirks::{Host, Quirk};
use super::read;
use super::text::Text;
use crate::error::{Error, Kind};
use crate::json::{RawStr, RawValue};

/// What remains. `Some` must be written, `None` left out.
#[derive(Debug, Clone, Default)]
pub struct Settled<'a> {
    /// In the target's range, as the client spelled it where it was.
    pub temperature: Option<Cow<'a, [u8]>>,
    pub top_p: Option<Number<'a>>,
    pub top_k: Option<Number<'a>>,
    pub frequency_penalty: Option<Number<'a>>,
    pub presence_penalty: Option<Number<'a>>,
    pub seed: Option<Number<'a>>,
    pub logit_bias: Option<RawValue<'a>>,
    pub logprobs: bool,
    pub top_logprobs: Option<u64>,
    /// Native stop sequences. What is emulated stands in [`Plan::stops`].
    pub stop: Vec<Text<'a>>,
    pub verbosity: Option<RawStr<'a>>,
    /// In the target's words.
    pub tier: Option<Cow<'a, str>>,
    /// `user` (C, R).
    pub user: Option<Text<'a>>,
    /// `safety_identifier` (C, R), `metadata.user_id` (M).
    pub safety: Option<Text<'a>>,
    /// C and R.
    pub metadata: Option<RawValue<'a>>,
    pub cache_key: Option<Text<'a>>,
    pub cache_options: Option<RawValue<'a>>,
    pub cache_retention: Option<RawValue<'a>>,
    /// `moderation`, between C and R.
    pub moderation: Option<RawValue<'a>>,
}

/// Applies the table of 1.11. `thinks` tells whether the model will reason on this request (see [`effort`](super::effort)).
pub fn settle<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    thinks: bool,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<Settled<'a>, Error> {
    fields::settle_ext(request, cx.target.format, ledger)?;
    state(request, cx, ledger)?;
    let mut out = Settled::default();
    sampling(request, cx, thinks, &mut out, ledger)?;
    stops(request, cx, &mut out, plan, ledger)?;
    identity(request, cx, &mut out, ledger)?;
    out.tier = tier(request.tier, cx, ledger)?;
    Ok(out)
}

/// State that lives at a provider cannot be followed to another one.
fn state(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    let state = &request.state;
    let to = cx.target.format;
    let stateful = [
        (state.previous.is_some(), "previous_response_id"),
        (state.conversation.is_some(), "conversation"),
        (state.prompt.is_some(), "prompt"),
        (state.background, "background"),
    ];
    if let Some((_, name)) = stateful.iter().find(|(asked, _)| *asked && to != Format::Responses) {
        return Err(read::unsupported_parameter(name, &format!("`{name}`")));
    }
    if request.sampling.n.is_some_and(|n| n > 1) && to != request.from {
        return Err(read::unsupported_parameter(&"n", "`n` above 1"));
    }
    if request.max_tokens == Some(0) && to != Format::Messages {
        return Err(read::unsupported_parameter(&"max_tokens", "`max_tokens` 0"));
    }
    if state.store == Some(true) && to != request.from {
        ledger.drop(Loss::Store)?;
    }
    let known = [&b"reasoning.encrypted_content"[..], b"message.output_text.logprobs"];
    if to != Format::Responses && state.include.iter().any(|name| !known.contains(&name.as_bytes())) {
        ledger.drop(Loss::Include)?;
    }
    if to != Format::Responses && state.truncation.is_some_and(|word| word.eq_str("auto")) {
        ledger.drop(Loss::Truncation)?;
    }
    if to != Format::Responses && request.max_tool_calls.is_some() {
        ledger.drop(Loss::MaxToolCalls)?;
    }
    Ok(())
}

fn sampling<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    thinks: bool,
    out: &mut Settled<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (asked, target) = (&request.sampling, &cx.target);
    let caps = &target.caps;
    let openai_reasons = target.format != Format::Messages && caps.sampling != SamplingRule::Ok;
    let refused = match caps.sampling {
        SamplingRule::Ok => false,
        SamplingRule::None => true,
        SamplingRule::OnlyEffortNone => thinks,
    };
    let m_thinks = thinks && target.format == Format::Messages;

    if let Some(temperature) = asked.temperature {
        if refused || m_thinks {
            // The default may be said: models that refuse the field take it at 1.
            if temperature.value() != 1.0 {
                ledger.drop(Loss::Temperature)?;
            }
        } else {
            out.temperature = Some(in_range(temperature, cx, ledger)?);
        }
    }
    if let Some(top_p) = asked.top_p {
        let together = out.temperature.is_some() && !caps.temp_and_top_p_together;
        if refused || together || (m_thinks && top_p.value() < 0.95) {
            if top_p.value() != 1.0 {
                ledger.drop(Loss::TopP)?;
            }
        } else {
            out.top_p = Some(top_p);
        }
    }
    let native = target.host.is_native();
    let chat = target.format == Format::Chat;
    out.top_k = keep(asked.top_k, caps.top_k && !refused && !m_thinks, Loss::TopK, ledger)?;
    let penalties = chat
        && !openai_reasons
        && !target.quirks.has(Quirk::NoPenalties)
        && !minimal(cx)
        && !(target.host == Host::Xai && thinks);
    out.frequency_penalty = keep(asked.frequency_penalty, penalties, Loss::FrequencyPenalty, ledger)?;
    out.presence_penalty = keep(asked.presence_penalty, penalties, Loss::PresencePenalty, ledger)?;
    out.seed = keep(asked.seed, chat && !minimal(cx), Loss::Seed, ledger)?;
    out.logit_bias = keep(asked.logit_bias, chat && !openai_reasons && !minimal(cx), Loss::LogitBias, ledger)?;
    let logprobs = caps.logprobs && !refused && !target.quirks.has(Quirk::NoLogprobs);
    if asked.logprobs || asked.top_logprobs.is_some_and(|n| n > 0) {
        if logprobs {
            (out.logprobs, out.top_logprobs) = (asked.logprobs, asked.top_logprobs);
        } else {
            ledger.drop(Loss::Logprobs)?;
        }
    }
    let verbosity = target.format != Format::Messages && native;
    out.verbosity = keep(request.verbosity, verbosity, Loss::Verbosity, ledger)?;
    Ok(())
}

fn minimal(cx: &Context<'_>) -> bool {
    cx.target.quirks.has(Quirk::MinimalFields)
}

fn keep<T>(value: Option<T>, takes: bool, loss: Loss, ledger: &mut Ledger) -> Result<Option<T>, Error> {
    if value.is_some() && !takes {
        ledger.drop(loss)?;
        return Ok(None);
    }
    Ok(value)
}

fn in_range<'a>(temperature: Number<'a>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<Cow<'a, [u8]>, Error> {
    let (value, max) = (temperature.value(), cx.target.caps.temperature_max);
    if value < 0.0 || value.is_nan() {
        ledger.clamp(Loss::Temperature)?;
        return Ok(Cow::Borrowed(b"0"));
    }
    if value > max as f64 {
        ledger.clamp(Loss::Temperature)?;
        return Ok(Cow::Owned(max.to_string().into_bytes()));
    }
    if value == 0.0 && cx.target.quirks.has(Quirk::NoZeroTemperature) {
        ledger.clamp(Loss::Temperature)?;
        return Ok(Cow::Borrowed(b"0.01"));
    }
    Ok(Cow::Borrowed(temperature.0.bytes()))
}

/// As many native ones as the target takes, the rest by the gateway.
fn stops<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    out: &mut Settled<'a>,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let room = usize::try_from(cx.target.caps.stop_max).unwrap_or(usize::MAX);
    // Messages refuses sequences of white space alone.
    let native = |stop: &Text<'_>| cx.target.format != Format::Messages || !stop.is_blank();
    for stop in request.sampling.stop.iter().filter(|stop| !stop.is_empty()) {
        if out.stop.len() < room && native(stop) {
            out.stop.push(stop.clone());
        } else if cx.policy.emulate_stop {
            plan.stops.push(stop.unescape().into_owned());
        } else {
            ledger.drop(Loss::Stop)?;
        }
    }
    Ok(())
}

fn identity<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    out: &mut Settled<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (who, cache) = (&request.identity, &request.cache);
    let openai = cx.target.format != Format::Messages;
    if !openai {
        out.safety = who.safety.clone().or_else(|| who.user.clone());
        if request.from != Format::Messages && who.metadata.is_some_and(|m| m.members().next().is_some()) {
            ledger.drop(Loss::Metadata)?;
        }
        return Ok(());
    }
    if minimal(cx) || !cx.target.host.is_native() {
        return Ok(());
    }
    out.user = who.user.clone();
    out.safety = who.safety.as_ref().map(|id| fit(id, ""));
    out.cache_key = match &cache.key {
        Some(key) => Some(fit(key, "pck_")),
        None => cx.session.map(Text::plain).or_else(|| session_of(who.safety.as_ref()?)).map(|key| fit(&key, "pck_")),
    };
    out.cache_options = cache.options.filter(|_| cx.target.caps.cache_points);
    out.cache_retention = cache.retention;
    out.moderation = request.ext.find("moderation").filter(|m| !m.is_null());
    if request.from != Format::Messages {
        out.metadata = who.metadata;
    }
    Ok(())
}

/// Within OpenAI's 64 characters: itself, or a hash.
fn fit<'a>(id: &Text<'a>, prefix: &str) -> Text<'a> {
    let plain = id.unescape();
    match names::bounded(&plain, 64, prefix) {
        Cow::Borrowed(_) => id.clone(),
        Cow::Owned(hash) => Text::plain(&hash),
    }
}

/// The session in the user id of Claude Code: `…_session_<uuid>`, or JSON with `session_id`.
fn session_of(user_id: &Text<'_>) -> Option<Text<'static>> {
    let plain = user_id.unescape();
    if plain.starts_with('{') {
        let value = RawValue::parse(plain.as_bytes()).ok()?;
        return Some(Text::from(value.find("session_id")?.as_str()?).into_owned());
    }
    let (_, session) = plain.rsplit_once("_session_")?;
    Some(Text::plain(session))
}

fn tier<'a>(tier: Option<RawStr<'a>>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<Option<Cow<'a, str>>, Error> {
    let Some(word) = tier.map(RawStr::unescape) else { return Ok(None) };
    let mapped = match (cx.target.format, word.as_ref()) {
        _ if !cx.target.host.is_native() => None,
        (Format::Messages, "default" | "standard_only") => Some("standard_only"),
        (Format::Messages, "auto" | "priority" | "fast") => Some("auto"),
        (Format::Messages, _) => None,
        (_, "standard_only") => Some("default"),
        (_, _) => return Ok(Some(word)),
    };
    if mapped.is_none() && word != "auto" && word != "default" {
        ledger.drop(Loss::ServiceTier)?;
    }
    Ok(mapped.map(Cow::Borrowed))
}

/// `max_tokens` for a Messages target when the client gave none: the policy's, else the model's default; for models that refuse
/// to overflow the window, what the window still holds by the estimate.
pub fn default_max_tokens(cx: &Context<'_>) -> u64 {
    let caps = &cx.target.caps;
    let wish = cx.policy.max_tokens.unwrap_or(caps.default_output).min(caps.max_output);
    match cx.input_estimate {
        Some(input) if !caps.window_stop => {
            wish.min(caps.context_window.saturating_sub(input).saturating_sub(1024)).max(1)
        }
        _ => wish,
    }
}

/// Smallest `max_output_tokens` that OpenAI takes (Responses, and reasoning models on Chat).
pub const OPENAI_MIN_TOKENS: u64 = 16;

/// `max_tokens` towards OpenAI-style targets: raised to 16 where less is refused, lowered to the model's limit.
pub fn openai_max_tokens(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<Option<u64>, Error> {
    let Some(asked) = request.max_tokens else { return Ok(None) };
    let caps = &cx.target.caps;
    let reasons = cx.target.host.is_native() && !caps.levels.is_empty();
    let floor = if cx.target.format == Format::Responses || reasons { OPENAI_MIN_TOKENS } else { 0 };
    let fits = asked.clamp(floor, caps.max_output.max(floor));
    if fits != asked {
        ledger.clamp(Loss::MaxTokens)?;
    }
    Ok(Some(fits))
}

/// A conversation's fingerprint for account affinity: stable while the conversation grows.
pub fn conversation_hash(system: &[u8], first_user: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update((system.len() as u64).to_le_bytes());
    hash.update(system);
    hash.update(first_user);
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Fails with the error of a request that lacks what every format needs.
pub fn missing_model() -> Error {
    Error::client(Kind::InvalidRequest, "`model` is required").param("model")
}
