//! What one model takes of the reasoning that a client asked for
//! (`docs/internals/translation/reasoning.md`).
//!
//! [`for_messages`], [`for_openai`] and [`for_chat`] are the only places that decide it; encoders
//! write what they return.

use crate::canonical::effort::{BUDGET_MIN, Effort, Mode, Reasoning, Show, budget_of, effort_of};
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{ItemKind, Request};
use crate::error::Error;
use crate::json::RawValue;
use crate::target::caps::{Caps, Disable, Thinking};
use crate::target::quirks::{Quirk, Quirks};

/// The `thinking` object towards a Messages provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinkingField {
    /// Leave the field out.
    Absent,
    Disabled,
    Enabled {
        budget: u64,
    },
    Adaptive,
}

/// What goes to a Messages provider. `max_tokens` is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForMessages {
    pub thinking: ThinkingField,
    /// Write `display` explicitly (`summarized` or `omitted`): newer models default to `omitted`.
    /// `None`: the field has no place.
    pub show: Option<Show>,
    /// `output_config.effort`.
    pub effort: Option<Effort>,
    pub max_tokens: u64,
    /// Whether the model will think, so that the encoder drops temperature, top_k and a top_p below
    /// 0.95.
    pub thinks: bool,
}

/// The parts of a request, beside the controls of thinking, that affect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// `max_tokens` as the client gave it (or the default that stands for it).
    pub max_tokens: u64,
    /// The tool choice is `any` or one tool. Manual thinking is refused together with it.
    pub forced_tool: bool,
    /// The assistant turn before the last tool results lost its thinking block; manual thinking
    /// would be refused.
    pub thinking_lost: bool,
}

/// Returns what the client asks for where the request alone has settings: the last effort of a turn
/// of its own replaces that of the request. Strict mode makes that an error.
pub(crate) fn requested(request: &Request<'_>, ledger: &mut Ledger) -> Result<Reasoning, Error> {
    let config = request.items.iter().rev().find_map(|item| match &item.kind {
        ItemKind::Message(message) => message.config,
        _ => None,
    });
    let Some(config) = config else { return Ok(request.reasoning) };
    ledger.approx(Loss::MessageConfig)?;
    let effort = config.find("effort").and_then(RawValue::as_str).and_then(|word| Effort::parse(&word.unescape()));
    Ok(Reasoning { effort: effort.or(request.reasoning.effort), ..request.reasoning })
}

/// Reasoning towards a Messages provider. Strict mode makes a loss an error.
pub(crate) fn for_messages(
    reasoning_request: Reasoning,
    caps: &Caps,
    now: Circumstances,
    ledger: &mut Ledger,
) -> Result<ForMessages, Error> {
    let max_tokens = clamp_max(now.max_tokens, caps, ledger)?;
    let mut out = ForMessages { thinking: ThinkingField::Absent, show: None, effort: None, max_tokens, thinks: false };
    match reasoning_request.mode {
        Mode::Unset => {
            // An effort without a mode comes from a Messages client's `output_config` alone.
            out.effort = snap_messages(reasoning_request.effort, caps, ledger)?;
            out.thinks = caps.thinks_by_default;
            Ok(out)
        }
        Mode::Off => off_messages(reasoning_request, caps, out, ledger),
        Mode::Manual { .. } | Mode::Adaptive => on_messages(reasoning_request, caps, now, out, ledger),
    }
}

fn clamp_max(asked: u64, caps: &Caps, ledger: &mut Ledger) -> Result<u64, Error> {
    if asked > caps.max_output {
        ledger.clamp(Loss::MaxTokens)?;
        return Ok(caps.max_output);
    }
    Ok(asked)
}

fn off_messages(
    reasoning_request: Reasoning,
    caps: &Caps,
    mut out: ForMessages,
    ledger: &mut Ledger,
) -> Result<ForMessages, Error> {
    let effort_requested = reasoning_request.effort.filter(|e| *e != Effort::None);
    match (caps.thinking, caps.disable) {
        (Thinking::None, _) => {}
        (_, Disable::Never) => {
            ledger.approx(Loss::Thinking)?;
            out.effort = caps.levels.snap(Effort::Minimal);
            out.thinks = true;
        }
        (_, Disable::UpTo(limit)) => {
            out.thinking = ThinkingField::Disabled;
            out.effort = snap_messages(effort_requested, caps, ledger)?;
            if out.effort.is_some_and(|e| e > limit) {
                ledger.clamp(Loss::ReasoningEffort)?;
                out.effort = Some(limit);
            }
        }
        (_, Disable::Always) => {
            out.thinking = ThinkingField::Disabled;
            out.effort = snap_messages(effort_requested, caps, ledger)?;
        }
    }
    Ok(out)
}

fn on_messages(
    reasoning_request: Reasoning,
    caps: &Caps,
    now: Circumstances,
    mut out: ForMessages,
    ledger: &mut Ledger,
) -> Result<ForMessages, Error> {
    match caps.thinking {
        Thinking::None | Thinking::Effort => ledger.drop(Loss::Thinking)?,
        Thinking::Manual => {
            if now.forced_tool || now.thinking_lost {
                ledger.drop(Loss::Thinking)?;
                out.thinking = ThinkingField::Disabled;
                return Ok(out);
            }
            let budget = match reasoning_request.mode {
                Mode::Manual { budget } => budget,
                _ => budget_of(reasoning_request.effort.unwrap_or(Effort::Medium)),
            };
            let (budget, max_tokens) = fit(budget, out.max_tokens, caps.max_output, ledger)?;
            if budget < BUDGET_MIN {
                ledger.drop(Loss::Thinking)?;
                return Ok(out);
            }
            (out.thinking, out.max_tokens, out.thinks) = (ThinkingField::Enabled { budget }, max_tokens, true);
            out.show = reasoning_request.show;
        }
        Thinking::Adaptive | Thinking::AdaptiveOrManual => {
            let effort = match (reasoning_request.effort, reasoning_request.mode) {
                (Some(effort), _) => Some(effort),
                (None, Mode::Manual { budget }) => Some(effort_of(budget)),
                (None, _) => None,
            };
            out.effort = snap_messages(effort, caps, ledger)?;
            out.thinking = ThinkingField::Adaptive;
            out.show = Some(reasoning_request.show.unwrap_or(Show::Summary));
            out.thinks = true;
        }
    }
    Ok(out)
}

fn snap_messages(effort: Option<Effort>, caps: &Caps, ledger: &mut Ledger) -> Result<Option<Effort>, Error> {
    let Some(effort) = effort.filter(|e| *e != Effort::None) else { return Ok(None) };
    // `xhigh` has a higher neighbour that means the same to models without it.
    let wish = if effort == Effort::Xhigh && !caps.levels.has(Effort::Xhigh) { Effort::Max } else { effort };
    let snapped = caps.levels.snap(wish);
    if snapped != Some(effort) && effort != Effort::Minimal {
        ledger.approx(Loss::ReasoningEffort)?;
    }
    Ok(snapped)
}

/// Makes room for a budget: `1024 ≤ budget < max_tokens ≤ cap`. The client's limit is for its
/// answer, so it is raised by the budget first and the budget lowered only at the model's cap.
fn fit(budget: u64, max_tokens: u64, cap: u64, ledger: &mut Ledger) -> Result<(u64, u64), Error> {
    let budget = budget.max(BUDGET_MIN);
    if budget < max_tokens {
        return Ok((budget, max_tokens));
    }
    ledger.approx(Loss::MaxTokens)?;
    let raised = budget.saturating_add(max_tokens).min(cap);
    Ok((budget.min(raised.saturating_sub(max_tokens.clamp(1, BUDGET_MIN))), raised))
}

/// What goes to an OpenAI-style provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ForOpenAi {
    /// `reasoning_effort` (C) or `reasoning.effort` (R); `None` leaves it out.
    pub effort: Option<Effort>,
    /// R `reasoning.summary: "auto"`, if the policy asks for summaries at all
    /// ([`Policy::summaries`](crate::target::plan::Policy)).
    pub summary: bool,
    /// Whether the model will think: decides sampling parameters ([`Caps::sampling`]).
    pub thinks: bool,
}

/// Returns reasoning towards Chat Completions or Responses.
pub(crate) fn for_openai(reasoning_request: Reasoning, caps: &Caps, ledger: &mut Ledger) -> Result<ForOpenAi, Error> {
    if caps.levels.is_empty() {
        if !matches!(reasoning_request.mode, Mode::Unset | Mode::Off) {
            ledger.drop(Loss::ReasoningEffort)?;
        }
        return Ok(ForOpenAi { thinks: caps.thinks_by_default, ..ForOpenAi::default() });
    }
    let wish = match reasoning_request.mode {
        Mode::Unset => reasoning_request.effort,
        Mode::Off => Some(Effort::None),
        Mode::Manual { budget } => reasoning_request.effort.or(Some(effort_of(budget))),
        // Adaptive without an effort: the provider's default is meant, or the level that other
        // models have as their default where this one does not think by itself.
        Mode::Adaptive => reasoning_request.effort.or((!caps.thinks_by_default).then_some(Effort::Medium)),
    };
    let effort = wish.and_then(|wish| caps.levels.snap(wish));
    // A budget below every level rises to the lowest in silence; so does `minimal`.
    if effort != wish && wish != Some(Effort::Minimal) {
        ledger.approx(Loss::ReasoningEffort)?;
    }
    let thinks = effort.map_or(caps.thinks_by_default, |e| e != Effort::None);
    // Organisations that are not verified get a 400 for summaries, so nobody is given one who said
    // nothing about reasoning.
    let shows_reasoning =
        matches!(reasoning_request.mode, Mode::Manual { .. } | Mode::Adaptive) || reasoning_request.show.is_some();
    Ok(ForOpenAi {
        effort,
        summary: thinks && shows_reasoning && reasoning_request.show != Some(Show::Omitted),
        thinks,
    })
}

/// How a host that imitates Chat Completions is made to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Switch {
    /// Nothing but `reasoning_effort`, if any.
    #[default]
    None,
    /// `thinking: {"type": "enabled"|"disabled"}`.
    ThinkingType(bool),
    /// `enable_thinking`, and `thinking_budget` where the client gave one.
    EnableThinking(bool, Option<u64>),
    /// `chat_template_kwargs: {"enable_thinking": …}`.
    Template(bool),
    /// `reasoning: {"effort"|"max_tokens", "exclude"}`; with neither, `{"enabled": true}`; effort
    /// `none` switches off.
    Object { effort: Option<Effort>, max_tokens: Option<u64>, exclude: bool },
}

/// Reasoning towards a Chat Completions host with quirks. `(…, Switch::None)` on OpenAI itself.
pub(crate) fn for_chat(
    reasoning_request: Reasoning,
    caps: &Caps,
    quirks: Quirks,
    ledger: &mut Ledger,
) -> Result<(ForOpenAi, Switch), Error> {
    let on = match reasoning_request.mode {
        Mode::Unset if reasoning_request.effort.is_none() => {
            return Ok((for_openai(reasoning_request, caps, ledger)?, Switch::None));
        }
        Mode::Off => false,
        _ => true,
    };
    let budget = match reasoning_request.mode {
        Mode::Manual { budget } => Some(budget),
        _ => None,
    };
    let switch = if quirks.has(Quirk::ReasoningObject) {
        let effort = if on { reasoning_request.effort } else { Some(Effort::None) };
        let max_tokens = budget.filter(|_| effort.is_none());
        Switch::Object { effort, max_tokens, exclude: reasoning_request.show == Some(Show::Omitted) }
    } else if quirks.has(Quirk::ThinkingType) {
        Switch::ThinkingType(on)
    } else if quirks.has(Quirk::EnableThinking) {
        Switch::EnableThinking(on, budget.or(reasoning_request.effort.filter(|_| on).map(budget_of)))
    } else if quirks.has(Quirk::TemplateThinking) && caps.levels.is_empty() {
        Switch::Template(on)
    } else {
        return Ok((for_openai(reasoning_request, caps, ledger)?, Switch::None));
    };
    Ok((ForOpenAi { effort: None, summary: false, thinks: on }, switch))
}

#[cfg(test)]
mod tests;
