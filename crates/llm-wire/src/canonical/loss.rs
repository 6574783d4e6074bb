//! The ledger of one translation: what the target's format could not say, and what had to be
//! repaired.
//!
//! Nothing is lost in silence: a field that is removed, clamped or approximated is a named
//! [`Loss`], and a conversation that had to be repaired is a named [`Repair`]. Both are counted
//! (`llm_proxy_translation_dropped_total{field}`) and reported to the client in the response
//! headers `x-llm-proxy-dropped` and `x-llm-proxy-repaired`. Names only, never values: a header
//! must not carry a prompt.
//!
//! Strict mode turns the first loss into an [`Error`] with status 400 and the field as `param`.
//! Repairs are not losses: they have a switch of their own (`repair_tool_pairs`). Transport noise
//! (`n: 1`, `store: false`, cache hints to automatic caches) is dropped without an entry;
//! `docs/internals/translation.md`, "Dropped without a name" lists what that is.

use crate::error::{Error, Kind};

/// Longest header value in bytes before it is cut with `…`.
pub const HEADER_MAX: usize = 1024;

/// Longest list kept; a request whose losses exceed it still counts each of them.
const ENTRIES_MAX: usize = 64;

/// What happened to a field that the target can't express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossKind {
    /// Removed.
    Dropped,
    /// Brought into the target's range.
    Clamped,
    /// Said in another way that is close but not equal.
    Approx,
    /// Put in another place of the conversation.
    Moved,
}

impl LossKind {
    /// Returns the word for this kind of loss in `x-llm-proxy-dropped` and in metrics.
    pub fn label(self) -> &'static str {
        match self {
            LossKind::Dropped => "dropped",
            LossKind::Clamped => "clamped",
            LossKind::Approx => "approx",
            LossKind::Moved => "moved",
        }
    }
}

macro_rules! named {
    ($(#[$meta:meta])* $enum:ident: $( $name:ident $label:literal $why:literal; )*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum { $( #[doc = $why] $name, )* }

        impl $enum {
            /// Every row, for the reference and for metric registration.
            pub const ALL: &'static [$enum] = &[ $( $enum::$name, )* ];

            /// Returns the name in headers and the value of metric labels.
            pub fn label(self) -> &'static str {
                match self { $( $enum::$name => $label, )* }
            }

            /// Returns the sentence of the generated reference.
            pub fn description(self) -> &'static str {
                match self { $( $enum::$name => $why, )* }
            }
        }
    };
}

named! {
    /// The fields that a target may be unable to say. The label is the field's name in the client's
    /// words where the formats agree.
    Loss:
    Unknown "unknown" "the gateway does not know the field; the header has its name";
    Seed "seed" "no equivalent in Messages and Responses";
    FrequencyPenalty "frequency_penalty" "no equivalent in Messages and Responses; refused by reasoning models";
    PresencePenalty "presence_penalty" "no equivalent in Messages and Responses; refused by reasoning models";
    LogitBias "logit_bias" "no equivalent in Messages and Responses; refused by reasoning models";
    Logprobs "logprobs" "no equivalent in Messages; refused by reasoning models";
    Temperature "temperature" "brought into the provider's range, or refused by the model";
    TopP "top_p" "refused by the model, or refused together with temperature";
    TopK "top_k" "no equivalent at OpenAI; refused while the model thinks";
    Sampling "sampling" "a sampling parameter of another host, such as min_p or repetition_penalty";
    Stop "stop" "there are more sequences than the provider accepts and the gateway watches for";
    MaxTokens "max_tokens" "brought into the model's range";
    MaxToolCalls "max_tool_calls" "only calls of tools that run at the vendor can be limited";
    Prediction "prediction" "it only lowers latency, and exists in Chat Completions only";
    MessageName "messages.name" "Messages and Responses have no name on a message";
    MessageConfig "messages.output_config" "an effort for each turn exists at Anthropic only; the last one is applied to the request";
    Metadata "metadata" "Messages accepts only `user_id`";
    Verbosity "verbosity" "no equivalent in Messages";
    ServiceTier "service_tier" "the provider has no equivalent tier";
    Truncation "truncation" "`auto` exists in Responses only";
    ContextManagement "context_management" "the edits of the formats are not equivalent";
    Include "include" "the provider has no equivalent output";
    Store "store" "the provider stores no responses";
    Moderation "moderation" "no equivalent in Messages";
    CacheControl "cache_control" "there are more cache breakpoints than the provider accepts, or they stand where it has none; each is named by its path";
    Citations "citations" "citations and their sources exist in Messages only";
    SearchResult "search_result" "sent as text";
    DocumentContext "document.context" "sent as text before the file";
    DocumentTitle "document.title" "sent as the name of the file";
    ToolReference "tool_reference" "exists in Messages only";
    AssistantImage "assistant.image" "sent in the next user turn";
    ResultImage "tool_result.image" "sent after the tool messages of the turn";
    Thinking "thinking" "the model cannot think this way, or not together with the rest of the request";
    ReasoningEffort "reasoning_effort" "replaced by the nearest lower level of the model, or by `none` beside tools";
    ReasoningSummary "reasoning.summary" "the provider cannot show or hide reasoning as requested";
    ReasoningContext "reasoning.context" "exists in Responses only";
    ReasoningMode "reasoning.mode" "exists in Responses only";
    TaskBudget "output_config.task_budget" "exists in Messages only";
    Speed "speed" "exists in Messages only";
    Fallbacks "fallbacks" "exists in Messages only";
    InferenceGeo "inference_geo" "exists in Messages only";
    UserProfile "user_profile_id" "exists in Messages only";
    Diagnostics "diagnostics" "exists in Messages only";
    FallbackCredit "fallback_credit_token" "exists in Messages only";
    ReasoningExtra "reasoning.extra" "a reasoning parameter of another host";
    JsonObject "json_object" "Messages has no free JSON mode; an instruction is added to the prompt";
    JsonSchema "json_schema" "keywords that the provider refuses are moved into descriptions";
    System "system" "the model does not accept a system message within the conversation";
    Prefill "prefill" "replaced by an instruction to the model";
    ServerTool "tools.server" "the tool runs at another vendor";
    ToolSearch "tools.tool_search" "deferred tools are sent at once";
    ToolStrict "tools.strict" "the host does not accept `strict`";
    ToolExamples "tools.input_examples" "exists in Messages only";
    ToolCallers "tools.allowed_callers" "exists in its own format only";
    ToolOutputSchema "tools.output_schema" "exists in Responses only";
    ToolGrammar "tools.format" "the grammar of a custom tool is sent as its description";
    ToolDescription "tools.description" "a namespace of tools has no description in the provider's format";
    ToolChoice "tool_choice" "the host or the model does not accept this choice";
    AllowedTools "tool_choice.allowed_tools" "the list of tools is filtered instead, which renews the prompt cache";
    Parallel "parallel_tool_calls" "the host has no such field";
    ServerTrace "messages.server_tool" "the record of a tool that ran at another vendor";
    ResponseOutput "response.output" "output of the response that the client's format cannot show, such as an image";
    ResponseAudio "response.audio" "the audio of the response; its transcript is the text";
    ResponseCitations "response.citations" "citations of the response that the client's format cannot express";
    ResponseChoices "response.choices" "further choices of the response, where one was requested";
}

named! {
    /// The changes that make a conversation acceptable to the target.
    Repair:
    OrphanCall "orphan_call" "a tool call without a result got a result that reports this";
    OrphanResult "orphan_result" "a tool result without a call became user text";
    DuplicateResult "duplicate_result" "a second result of the same call became user text";
    DuplicateCall "duplicate_call" "a call id that was used before got a suffix";
    MovedResult "moved_result" "a tool result was moved next to its call";
    FirstTurn "first_turn" "a conversation that began with the assistant got a first user message";
    CallId "call_id" "a call id that the target refuses was replaced";
    ToolName "tool_name" "a tool name that the target refuses was replaced";
    ToolArguments "tool_arguments" "arguments that are not a JSON object were wrapped";
    Reasoning "reasoning" "reasoning that belongs to another vendor or account, or that nothing follows, was left out";
    BlankText "blank_text" "blank text that the target refuses was left out";
    ThinkingTools "thinking_tools" "a Chat request with tools and thinking was sent to the provider's Responses endpoint";
    NoTools "no_tools" "the tools were declared again from the history";
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    loss: Loss,
    how: LossKind,
    /// The client's path when it is more specific than the label (`tools.0.strict`, `unknown:foo`).
    path: Option<String>,
}

/// The losses and repairs of one translation. Encoders and decoders of requests write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    strict: bool,
    entries: Vec<Entry>,
    repairs: [u32; Repair::ALL.len()],
}

impl Ledger {
    /// With `strict`, the first loss is an error instead of an entry.
    pub fn new(strict: bool) -> Ledger {
        Ledger { strict, ..Ledger::default() }
    }

    /// Removes a field. `Err` only in strict mode: 400 with the label as `param`.
    pub fn drop(&mut self, loss: Loss) -> Result<(), Error> {
        self.record(loss, LossKind::Dropped, None)
    }

    /// The value was brought into range. `Err` only in strict mode.
    pub fn clamp(&mut self, loss: Loss) -> Result<(), Error> {
        self.record(loss, LossKind::Clamped, None)
    }

    /// The value was expressed in a close but unequal way. `Err` only in strict mode.
    pub fn approx(&mut self, loss: Loss) -> Result<(), Error> {
        self.record(loss, LossKind::Approx, None)
    }

    /// The content is in another place. `Err` only in strict mode.
    pub fn moved(&mut self, loss: Loss) -> Result<(), Error> {
        self.record(loss, LossKind::Moved, None)
    }

    /// A field that this gateway does not know. The name comes from the client: it is shortened and
    /// cleaned before it is shown.
    pub fn unknown(&mut self, name: &str) -> Result<(), Error> {
        self.record(Loss::Unknown, LossKind::Dropped, Some(format!("unknown:{}", cleaned(name))))
    }

    /// Removes a member, whose name comes from the client, of the object that the loss names.
    pub fn drop_member(&mut self, loss: Loss, name: &str) -> Result<(), Error> {
        self.record(loss, LossKind::Dropped, Some(format!("{}.{}", loss.label(), cleaned(name))))
    }

    /// The general form. `path` is the client's path where it is more specific than the label; it
    /// must hold names and indexes only.
    pub fn record(&mut self, loss: Loss, how: LossKind, path: Option<String>) -> Result<(), Error> {
        if self.strict {
            let param = match &path {
                Some(path) => path.strip_prefix("unknown:").unwrap_or(path),
                None => loss.label(),
            };
            let note = format!(
                "`{param}` cannot be sent to this provider as asked ({}: {}), and strict translation is on; leave it out \
                 or change it, or turn `translation.strict` off",
                how.label(),
                loss.description()
            );
            return Err(Error::client(Kind::Unsupported, note).param(param));
        }
        let entry = Entry { loss, how, path };
        if self.entries.len() < ENTRIES_MAX && !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
        Ok(())
    }

    /// The response lost something. That cannot be refused any more, so strict mode does not
    /// matter.
    pub fn record_response_loss(&mut self, loss: Loss) {
        let entry = Entry { loss, how: LossKind::Dropped, path: None };
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }

    /// Counts one repair. The count saturates.
    pub fn repair(&mut self, repair: Repair) {
        let slot = &mut self.repairs[repair as usize];
        *slot = slot.saturating_add(1);
    }

    /// Returns whether nothing was lost and nothing repaired.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.repairs.iter().all(|n| *n == 0)
    }

    /// Returns `(label, how)` of each loss, for the counters. Labels come from [`Loss::ALL`] and
    /// are thus bounded.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, LossKind)> + '_ {
        self.entries.iter().map(|e| (e.loss, e.how))
    }

    /// Each loss, and the client's path where it is more specific than the label.
    pub fn entries(&self) -> impl Iterator<Item = (Loss, LossKind, Option<&str>)> + '_ {
        self.entries.iter().map(|entry| (entry.loss, entry.how, entry.path.as_deref()))
    }

    /// Returns each repair that happened and how often.
    pub fn repairs(&self) -> impl Iterator<Item = (Repair, u32)> + '_ {
        Repair::ALL.iter().zip(self.repairs).filter(|(_, n)| *n > 0).map(|(r, n)| (*r, n))
    }

    /// Returns the value of `x-llm-proxy-dropped`: `temperature;clamped, seed;dropped`. `None` when
    /// nothing was lost.
    pub fn dropped_header(&self) -> Option<String> {
        list(self.entries.iter().map(|e| format!("{};{}", e.path.as_deref().unwrap_or(e.loss.label()), e.how.label())))
    }

    /// Returns the value of `x-llm-proxy-repaired`: `orphan_call=1`. `None` when nothing was
    /// repaired.
    pub fn repaired_header(&self) -> Option<String> {
        list(self.repairs().map(|(repair, n)| format!("{}={n}", repair.label())))
    }
}

/// Returns a name from the client, fit for a header.
fn cleaned(name: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "._-".contains(c) => Some(c),
        // A header has no other letters, but the name must not look like a shorter one.
        c if c.is_alphanumeric() => Some('?'),
        _ => None,
    };
    name.chars().filter_map(shown).take(80).collect()
}

/// Joins with `, ` up to [`HEADER_MAX`] bytes, the ellipsis included.
fn list(words: impl Iterator<Item = String>) -> Option<String> {
    const CUT: &str = ", …";
    let mut out = String::new();
    for word in words {
        let gap = if out.is_empty() { "" } else { ", " };
        if out.len() + gap.len() + word.len() + CUT.len() > HEADER_MAX {
            out.push_str(CUT);
            break;
        }
        out.push_str(gap);
        out.push_str(&word);
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_fit_a_header() {
        let mut seen = std::collections::HashSet::new();
        let labels = Loss::ALL.iter().map(|l| l.label()).chain(Repair::ALL.iter().map(|r| r.label()));
        for label in labels {
            assert!(seen.insert(label), "`{label}` appears twice");
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{label}");
        }
    }

    /// Each loss is named once, in the headers.
    #[test]
    fn headers_name_each_loss_once() {
        let mut ledger = Ledger::new(false);
        assert!(ledger.is_empty() && ledger.dropped_header().is_none() && ledger.repaired_header().is_none());
        ledger.clamp(Loss::Temperature).unwrap();
        ledger.drop(Loss::Seed).unwrap();
        ledger.drop(Loss::Seed).unwrap();
        ledger.record(Loss::ToolStrict, LossKind::Dropped, Some("tools.0.strict".into())).unwrap();
        ledger.unknown("we\r\nird; field").unwrap();
        ledger.unknown("größe").unwrap();
        ledger.repair(Repair::OrphanCall);
        ledger.repair(Repair::OrphanCall);
        assert_eq!(
            ledger.dropped_header().unwrap(),
            "temperature;clamped, seed;dropped, tools.0.strict;dropped, unknown:weirdfield;dropped, unknown:gr??e;dropped"
        );
        assert_eq!(ledger.repaired_header().unwrap(), "orphan_call=2");
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut ledger = Ledger::new(false);
        for n in 0..200 {
            ledger.unknown(&format!("a_rather_long_field_name_{n:03}")).unwrap();
        }
        let header = ledger.dropped_header().unwrap();
        assert!(header.len() <= HEADER_MAX && header.ends_with(", …"), "{} {header}", header.len());
    }

    /// Strict mode refuses the first loss.
    #[test]
    fn strict_mode_refuses_the_first_loss() {
        let mut ledger = Ledger::new(true);
        let error = ledger.drop(Loss::Seed).unwrap_err();
        assert_eq!((error.kind.row().status, error.param.as_deref()), (400, Some("seed")));
        let error = ledger.unknown("foo").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("foo"));
    }
}
