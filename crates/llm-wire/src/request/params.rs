//! Everything of a request that is neither conversation nor tools: what of it the target takes
//! (`docs/internals/translation/requests.md`, "Sampling").
//!
//! Each encoder of requests calls [`settle`] once and writes what comes back; the rules about
//! state, sampling, stop sequences, identity and tiers stand here and nowhere else.

use std::borrow::Cow;

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{Number, Request};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::json::{RawStr, RawValue};
use crate::request::fields;
use crate::request::reader;
use crate::target::caps::SamplingRule;
use crate::target::plan::{Context, Plan};
use crate::target::quirks::{Host, Quirk};
use crate::target::tool_names;

/// What remains. `Some` must be written, `None` left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetParams<'a> {
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
    /// Native stop sequences. Emulated ones are in [`Plan::stops`].
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

/// Applies `docs/internals/translation/requests.md`, "Sampling" and what follows there. `thinks`
/// returns whether the model will reason on this request (see
/// [`effort`](crate::canonical::effort)).
pub(crate) fn settle<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    thinks: bool,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<TargetParams<'a>, Error> {
    fields::settle_ext(request, cx.target.format, ledger)?;
    state(request, cx, ledger)?;
    let mut out = TargetParams::default();
    sampling(request, cx, thinks, &mut out, ledger)?;
    stops(request, cx, &mut out, plan, ledger)?;
    identity(request, cx, &mut out, ledger)?;
    out.tier = tier(request.tier, cx, ledger)?;
    Ok(out)
}

/// Why a reference to state is refused.
const NO_STATE: &str = "its format keeps no conversations; send the whole conversation in `input`";

/// State that lives at a provider cannot be followed to another one.
fn state(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    let state = &request.state;
    let (to, profile) = (cx.target.format, &cx.target.format.profile().request);
    let stateful = [
        (state.previous.is_some(), "previous_response_id", NO_STATE),
        (state.conversation.is_some(), "conversation", NO_STATE),
        (state.prompt.is_some(), "prompt", "it stores no prompts; send the text of the prompt"),
        (state.background, "background", "it responds at once only; leave `background` out"),
    ];
    if let Some((_, name, why)) = stateful.iter().find(|(requested, ..)| *requested && !profile.has_state) {
        return Err(reader::unsupported_parameter(name, &format!("`{name}`"), why));
    }
    if request.sampling.n.is_some_and(|n| n > 1) && to != request.from {
        let why = "its format has one choice in a response; send the request several times";
        return Err(reader::unsupported_parameter(&"n", "`n` above 1", why));
    }
    if request.max_tokens == Some(0) && !profile.has_zero_max_tokens {
        let why = "only Messages has requests that fill the cache alone; set it to 1 or more";
        return Err(reader::unsupported_parameter(&"max_tokens", "`max_tokens` 0", why));
    }
    if state.store == Some(true) && to != request.from {
        ledger.drop(Loss::Store)?;
    }
    let known = [&b"reasoning.encrypted_content"[..], b"message.output_text.logprobs"];
    if !profile.has_state && state.include.iter().any(|name| !known.contains(&name.as_bytes())) {
        ledger.drop(Loss::Include)?;
    }
    if !profile.has_state && state.truncation.is_some_and(|word| word.eq_str("auto")) {
        ledger.drop(Loss::Truncation)?;
    }
    if !profile.has_state && request.max_tool_calls.is_some() {
        ledger.drop(Loss::MaxToolCalls)?;
    }
    Ok(())
}

fn sampling<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    thinks: bool,
    out: &mut TargetParams<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (requested, target) = (&request.sampling, &cx.target);
    let caps = &target.caps;
    let profile = &target.format.profile().request;
    let openai_reasons = !profile.thinking_bars_sampling && caps.sampling != SamplingRule::Ok;
    let refused = match caps.sampling {
        SamplingRule::Ok => false,
        SamplingRule::None => true,
        SamplingRule::OnlyEffortNone => thinks,
    };
    let m_thinks = thinks && profile.thinking_bars_sampling;

    if let Some(temperature) = requested.temperature {
        if refused || m_thinks {
            // The default may be written: models that refuse the field take it at 1.
            if temperature.value() != 1.0 {
                ledger.drop(Loss::Temperature)?;
            }
        } else {
            out.temperature = Some(in_range(temperature, cx, ledger)?);
        }
    }
    if let Some(top_p) = requested.top_p {
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
    let chat = profile.has_seed_and_penalties;
    out.top_k = keep(requested.top_k, caps.top_k && !refused && !m_thinks, Loss::TopK, ledger)?;
    let free = chat && !openai_reasons && !minimal(cx);
    let xai_thinks = target.host == Host::Xai && thinks;
    let penalties = free && !xai_thinks && !target.quirks.has(Quirk::NoPenalties);
    out.frequency_penalty = keep(requested.frequency_penalty, penalties, Loss::FrequencyPenalty, ledger)?;
    out.presence_penalty = keep(requested.presence_penalty, penalties, Loss::PresencePenalty, ledger)?;
    out.seed = keep(requested.seed, chat && !minimal(cx), Loss::Seed, ledger)?;
    out.logit_bias = keep(requested.logit_bias, free, Loss::LogitBias, ledger)?;
    let logprobs = caps.logprobs && !refused && !target.quirks.has(Quirk::NoLogprobs);
    if requested.logprobs || requested.top_logprobs.is_some_and(|n| n > 0) {
        if logprobs {
            (out.logprobs, out.top_logprobs) = (requested.logprobs, requested.top_logprobs);
        } else {
            ledger.drop(Loss::Logprobs)?;
        }
    }
    let verbosity = profile.has_verbosity && native && !target.quirks.has(Quirk::OldFields);
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
/// Most stop sequences that the gateway watches for. Each is looked for in every piece of text, so
/// without a bound a request could make its answer as slow as it likes.
const EMULATED_STOPS_MAX: usize = 64;

fn stops<'a>(
    request: &Request<'a>,
    cx: &Context<'_>,
    out: &mut TargetParams<'a>,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let room = usize::try_from(cx.target.caps.stop_max).unwrap_or(usize::MAX);
    let has_blank_stops = cx.target.format.profile().request.has_blank_stops;
    let native = |stop: &Text<'_>| has_blank_stops || !stop.is_blank();
    for stop in request.sampling.stop.iter().filter(|stop| !stop.is_empty()) {
        if out.stop.len() < room && native(stop) {
            out.stop.push(stop.clone());
        } else if cx.policy.emulate_stop && plan.stops.len() < EMULATED_STOPS_MAX {
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
    out: &mut TargetParams<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (who, cache) = (&request.identity, &request.cache);
    if !cx.target.format.profile().request.has_identity {
        out.safety = who.safety.clone().or_else(|| who.user.clone());
        // Clients that know Anthropic's name for it put the user there.
        let named = |metadata: RawValue<'a>| metadata.find("user_id").and_then(RawValue::as_str);
        if out.safety.is_none() && request.from.profile().request.has_identity {
            out.safety = who.metadata.and_then(named).filter(|id| !id.is_empty()).map(Text::from);
        }
        let taken = out.safety.is_some() && who.safety.is_none() && who.user.is_none();
        return drop_metadata(request, |key| !(taken && key.eq_str("user_id")), ledger);
    }
    if minimal(cx) || !cx.target.host.is_native() {
        return drop_metadata(request, |_| true, ledger);
    }
    if cx.target.quirks.has(Quirk::OldFields) {
        out.user = who.user.clone().or_else(|| who.safety.as_ref().map(|id| fit(id, "")));
        return drop_metadata(request, |_| true, ledger);
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
    if request.from.profile().request.has_identity {
        out.metadata = who.metadata;
    }
    Ok(())
}

/// Enters the members of the client's metadata that are dropped. Those of Messages were entered
/// when the request was decoded.
fn drop_metadata(request: &Request<'_>, goes: impl Fn(RawStr<'_>) -> bool, ledger: &mut Ledger) -> Result<(), Error> {
    let metadata = request.identity.metadata.filter(|_| request.from.profile().request.has_identity);
    for (key, value, _) in metadata.into_iter().flat_map(RawValue::members) {
        if goes(key) && !value.is_null() {
            ledger.drop_member(Loss::Metadata, &key.unescape())?;
        }
    }
    Ok(())
}

/// Within OpenAI's 64 characters: itself, or a hash.
fn fit<'a>(id: &Text<'a>, prefix: &str) -> Text<'a> {
    let plain = id.unescape();
    match tool_names::bounded(&plain, 64, prefix) {
        Cow::Borrowed(_) => id.clone(),
        Cow::Owned(hash) => Text::plain(&hash),
    }
}

/// Returns the session in the user id of Claude Code: `…_session_<uuid>`, or JSON with
/// `session_id`.
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
        _ if !cx.target.host.is_native() || cx.target.quirks.has(Quirk::OldFields) => None,
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

/// `max_tokens` for a Messages target when the client gave none: the policy's, else the model's
/// default; for models that refuse to overflow the window, what the window still holds by the
/// estimate.
pub(crate) fn default_max_tokens(cx: &Context<'_>) -> u64 {
    let caps = &cx.target.caps;
    let wish = cx.policy.max_tokens.unwrap_or(caps.default_output).min(caps.max_output);
    match cx.input_estimate {
        Some(estimate) if !caps.window_stop => {
            wish.min(caps.context_window.saturating_sub(estimate()).saturating_sub(1024)).max(1)
        }
        _ => wish,
    }
}

/// A whole answer with more `max_tokens` than this is asked for as a stream and folded: the
/// vendor's SDKs refuse to wait longer than ten minutes for one (`plan.upstream_stream`, set by the
/// encoder of Messages requests).
pub(crate) const FOLD_ABOVE: u64 = 21_000;

/// Smallest `max_output_tokens` that OpenAI takes (Responses, and reasoning models on Chat).
pub(crate) const OPENAI_MIN_TOKENS: u64 = 16;

/// `max_tokens` towards OpenAI-style targets: raised to 16 where less is refused, lowered to the
/// model's limit.
pub(crate) fn openai_max_tokens(
    request: &Request<'_>,
    cx: &Context<'_>,
    ledger: &mut Ledger,
) -> Result<Option<u64>, Error> {
    let Some(requested) = request.max_tokens else { return Ok(None) };
    let caps = &cx.target.caps;
    let reasons = cx.target.host.is_native() && !caps.levels.is_empty();
    let floor = if cx.target.format.profile().request.has_minimum_of_tokens || reasons { OPENAI_MIN_TOKENS } else { 0 };
    let fits = requested.clamp(floor, caps.max_output.max(floor));
    if fits != requested {
        ledger.clamp(Loss::MaxTokens)?;
    }
    Ok(Some(fits))
}

#[cfg(test)]
mod tests;
