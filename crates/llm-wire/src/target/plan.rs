//! The context of a translation: the facts that come from outside, and what the request leaves
//! behind for the response.
//!
//! `wire` has no clock, no randomness and no configuration: [`Context`] and [`IdSource`] bring in
//! what is needed. A [`Plan`] is made with the request and kept until the answer ends; together
//! with the stamps it is the [`Reply`] that encoders of responses see.

use crate::canonical::event::Note;
use crate::format::Format;
use crate::json::RawValue;
use crate::reasoning::envelope::{Family, Scope, model_family};
use crate::reasoning::memory::Memory;
use crate::request::retry_without::RetryWithout;
use crate::target::caps::Caps;
use crate::target::echo::Echo;
use crate::target::overrides::Overrides;
use crate::target::quirks::{Host, Quirks};
use crate::target::tool_names::ToolTable;

/// The endpoint of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Target<'c> {
    /// The format that the endpoint speaks.
    pub format: Format,
    /// The kind of host that the endpoint's base URL names.
    pub host: Host,
    /// The deviations of the endpoint from its format.
    pub quirks: Quirks,
    /// What the model accepts.
    pub caps: Caps,
    /// The name sent upstream, plain text.
    pub model: &'c str,
    /// Whose opaque reasoning state this endpoint reads and writes.
    pub family: Family,
    /// Which account of that vendor can read the opaque state.
    pub scope: Scope,
}

impl<'c> Target<'c> {
    /// Returns a target with what is known of its host and model. `account` is the id of the
    /// provider's row; `overrides` and the words for quirks come from its `provider_params`; the
    /// words are applied by the caller ([`Quirks::apply`]).
    pub fn new(format: Format, host: Host, model: &'c str, account: &str, overrides: &Overrides) -> Target<'c> {
        Target {
            format,
            host,
            quirks: Quirks::of_host(host),
            caps: Caps::for_model(format, host, model, overrides),
            model,
            family: Family::of(format, host),
            scope: Scope::new(account, model_family(model)),
        }
    }
}

/// Choices of whoever runs the gateway. [`Policy::default`] holds the defaults of
/// `docs/internals/translation.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// A loss is a 400.
    pub strict: bool,
    /// Repair tool calls without results and results without calls; otherwise 400.
    pub repair_tool_pairs: bool,
    /// Reasoning of another vendor goes on as text in `<thinking>` tags instead of being dropped.
    pub foreign_reasoning_as_text: bool,
    /// What becomes of a conversation that ends with the assistant.
    pub prefill: PrefillPolicy,
    /// What becomes of server tools that the target does not have.
    pub server_tools: ServerTools,
    /// Chat clients get `reasoning_details` beside `reasoning_content`.
    pub reasoning_details: bool,
    /// Ask Responses providers for reasoning summaries on behalf of clients that see thinking.
    pub summaries: bool,
    /// Set a top-level cache breakpoint for clients whose format cannot.
    pub auto_cache: bool,
    /// For Messages targets when the client gave none; before the model's own default.
    pub max_tokens: Option<u64>,
    /// Emulate stop sequences where the target has none; otherwise they are dropped with an entry
    /// in the ledger.
    pub emulate_stop: bool,
}

/// What becomes of a last message of the assistant, where the target has no way of its own to go on
/// from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrefillPolicy {
    /// It is sent as a message of the assistant, unless the model is known to refuse that: then the
    /// request is a 400. OpenAI's endpoints accept it.
    #[default]
    Pass,
    /// The request is a 400.
    Reject,
    /// It becomes an instruction to begin the answer with it.
    Hint,
}

/// What to do with a server tool that the target lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTools {
    /// Drop it if another tool remains and the choice does not name it; else 400.
    #[default]
    Auto,
    /// Refuse the request with a 400.
    Reject,
    /// Drop the tool and record the loss.
    Drop,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            strict: false,
            repair_tool_pairs: true,
            foreign_reasoning_as_text: false,
            prefill: PrefillPolicy::Pass,
            server_tools: ServerTools::Auto,
            reasoning_details: true,
            summaries: true,
            auto_cache: true,
            max_tokens: None,
            emulate_stop: true,
        }
    }
}

/// All that the translation of one request may know beside its body.
#[derive(Clone, Copy)]
pub struct Context<'c> {
    /// The endpoint of the attempt.
    pub target: Target<'c>,
    /// The operator's rules for what cannot be expressed exactly.
    pub policy: Policy,
    /// The model as the client named it: what answers show.
    pub client_model: &'c str,
    /// `x-claude-code-session-id`, for the prompt cache key.
    pub session: Option<&'c str>,
    /// Estimates the input tokens. Needed for old Claude models when the client gave no
    /// `max_tokens`.
    pub input_estimate: Option<&'c dyn Fn() -> u64>,
    /// What a refusal of the first try has taught.
    pub without: RetryWithout,
    /// Where the reasoning of clients that do not send it back is remembered.
    pub memory: Option<&'c dyn Memory>,
}

impl<'c> Context<'c> {
    /// With the default policy and nothing known beside the target.
    pub fn new(target: Target<'c>, client_model: &'c str) -> Context<'c> {
        Context {
            target,
            policy: Policy::default(),
            client_model,
            session: None,
            input_estimate: None,
            without: RetryWithout::Nothing,
            memory: None,
        }
    }
}

/// New ids and the time, from outside.
pub trait IdSource {
    /// 26 characters of `[0-9A-Za-z]`, never given twice: the body of ids such as `call_…`.
    fn id(&mut self) -> [u8; 26];
    /// Returns seconds since 1970.
    fn now(&mut self) -> u64;
    /// Estimates the input tokens of the request. Called where the provider has reported none.
    fn input_estimate(&self) -> u64 {
        0
    }
}

/// What the request leaves behind for the response. Owned: it outlives the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The client's format.
    pub client: Format,
    /// The provider's format.
    pub provider: Format,
    /// The model as the client named it, plain text.
    pub model: String,
    /// The client asked for a stream.
    pub stream: bool,
    /// The provider is asked for a stream, for whatever reason. Set by the encoder of the request;
    /// `stream` to begin with.
    pub upstream_stream: bool,
    /// A Chat client asked for usage in its stream.
    pub include_usage: bool,
    /// The client asked not to be shown reasoning (M `display: omitted`).
    pub display_omitted: bool,
    /// Chat clients get `reasoning_details`.
    pub reasoning_details: bool,
    /// A Chat client offered its tools as the deprecated `functions`: a call goes back as
    /// `function_call`.
    pub legacy_functions: bool,
    /// The client asked for log probabilities.
    pub logprobs: bool,
    /// The tools of the request, with their names for the client and for the provider.
    pub tools: ToolTable,
    /// Stop sequences that the gateway watches for, plain text. Set by the encoder of the request.
    pub stops: Vec<String>,
    /// Headers `anthropic-beta` that the request needs. Set by the encoder of Messages requests.
    pub betas: Vec<&'static str>,
    /// The vendor whose opaque reasoning state the provider reads and writes.
    pub family: Family,
    /// The account to which that state belongs.
    pub scope: Scope,
    /// The deviations of the provider from its format.
    pub quirks: Quirks,
    /// The client's own values, which a Responses answer repeats.
    pub echo: Echo,
}

impl Plan {
    /// A plan before the encoder has had its say. `echo` is taken from the client's body.
    pub fn new(client: Format, body: RawValue<'_>, cx: &Context<'_>) -> Plan {
        Plan {
            client,
            provider: cx.target.format,
            model: cx.client_model.to_owned(),
            stream: false,
            upstream_stream: false,
            include_usage: false,
            display_omitted: false,
            reasoning_details: cx.policy.reasoning_details,
            legacy_functions: client.profile().request.has_legacy_functions && has_functions(body),
            logprobs: false,
            tools: ToolTable::default(),
            stops: Vec::new(),
            betas: Vec::new(),
            family: cx.target.family,
            scope: cx.target.scope,
            quirks: cx.target.quirks,
            echo: if client.profile().response.repeats_request { Echo::of(body) } else { Echo::default() },
        }
    }
}

/// Returns whether a Chat request has `functions` and no `tools`.
fn has_functions(body: RawValue<'_>) -> bool {
    let (mut functions, mut tools) = (false, false);
    for (key, value, _) in body.members().filter(|(_, value, _)| !value.is_null()) {
        functions |= key.eq_str("functions");
        tools |= key.eq_str("tools") && value.elements().next().is_some();
    }
    functions && !tools
}

/// What encoders of responses see: the plan, and what they may ask from outside.
pub struct Reply {
    /// The plan that the request left.
    pub plan: Plan,
    /// The source of ids and of the time.
    pub stamps: Box<dyn IdSource>,
    /// 26 characters that the answer's own id is made of (`chatcmpl-…`, `msg_…`, `resp_…`).
    pub id: [u8; 26],
    /// The answer's own id in its place, where another has begun the answer.
    pub own_id: Option<String>,
    /// Seconds since 1970 when the answer began.
    pub created: u64,
    /// For `request_id` in error bodies and events.
    pub request_id: String,
    /// Estimated input tokens, in the place of what `stamps` estimates.
    pub input_estimate: Option<u64>,
    /// How often each oddity of [`Note::ALL`] was seen.
    pub notes: [u32; Note::ALL.len()],
}

impl Reply {
    /// Makes the reply for one attempt. It takes one id and the current time from `stamps`;
    /// `request_id` is the gateway's own id of the request.
    pub fn new(plan: Plan, mut stamps: Box<dyn IdSource>, request_id: impl Into<String>) -> Reply {
        let (id, created) = (stamps.id(), stamps.now());
        let notes = [0; Note::ALL.len()];
        Reply { plan, stamps, id, own_id: None, created, request_id: request_id.into(), input_estimate: None, notes }
    }

    /// Estimated input tokens, for `message_start` and for hosts that do not count.
    pub fn input_estimate(&self) -> u64 {
        self.input_estimate.unwrap_or_else(|| self.stamps.input_estimate())
    }

    /// Counts an oddity.
    pub fn note(&mut self, note: Note) {
        let slot = &mut self.notes[note as usize];
        *slot = slot.saturating_add(1);
    }

    /// Returns the id of the whole answer with the prefix of the client's format.
    pub fn answer_id(&self) -> String {
        if let Some(own) = &self.own_id {
            return own.clone();
        }
        let prefix = self.plan.client.profile().response.id_prefix;
        [prefix, &String::from_utf8_lossy(&self.id)].concat()
    }

    /// Returns a fresh id such as `call_…`, `fc_…`, `rs_…`.
    pub fn fresh(&mut self, prefix: &str) -> String {
        [prefix, &String::from_utf8_lossy(&self.stamps.id())].concat()
    }
}

/// An [`IdSource`] whose output is the same in every run: ids count up and the time is constant.
/// For tests, and for tools that show a translation without performing it.
#[derive(Debug, Default)]
pub struct SequentialIds(pub u64);

impl IdSource for SequentialIds {
    fn id(&mut self) -> [u8; 26] {
        self.0 += 1;
        let mut out = [b'0'; 26];
        let digits = format!("{:026}", self.0);
        out.copy_from_slice(digits.as_bytes());
        out
    }

    fn now(&mut self) -> u64 {
        1_700_000_000
    }
}
