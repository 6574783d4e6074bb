//! The canonical request: the union of what the three formats can say, in the order in which it was
//! said.
//!
//! Everything borrows from the client's body. Text stays escaped ([`Text`]), schemas, inputs and
//! metadata stay raw ([`RawValue`]), numbers keep their spelling ([`Number`]); only repairs own
//! bytes. A decoder fills a [`Request`] without knowing the target; an encoder decides every loss,
//! with the capability table and the [ledger](crate::canonical::loss::Ledger) at hand.
//!
//! Where a field of a format has its home is data: [`fields`](crate::request::fields).

use crate::canonical::args::ArgText;
pub(crate) use crate::canonical::cache::CachePoint;
use crate::canonical::effort::Reasoning;
use crate::canonical::ext::Ext;
pub(crate) use crate::canonical::part::{FilePart, Foreign, ImagePart, Part, Src, TextPart};
use crate::canonical::text::Text;
use crate::canonical::tools::{Tool, ToolChoice};
use crate::format::Format;
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::{Family, Scope, Seal};

/// One request, whatever its format was.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The client's format. Decides how paths in errors are spelled and what raw parts mean.
    pub from: Format,
    /// As the client wrote it.
    pub model: Text<'a>,
    /// C: the leading run of `system` and `developer` messages, each part one entry. M: `system`.
    /// R: `instructions`. Never holds blank text, and for Messages clients not the billing block of
    /// Claude Code (see [`is_billing_header`]).
    pub system: Vec<Part<'a>>,
    /// The conversation. Item order is the truth; encoders regroup.
    pub items: Vec<Item<'a>>,
    /// In the client's order; legacy `functions`, `additional_tools` items and `mcp_servers` are
    /// merged in.
    pub tools: Vec<Tool<'a>>,
    pub tool_choice: Option<ToolChoice<'a>>,
    /// `parallel_tool_calls`, or the inverse of M `disable_parallel_tool_use` where that stands.
    pub parallel: Option<bool>,
    /// `max_completion_tokens` before `max_tokens` (C), `max_tokens` (M), `max_output_tokens` (R).
    /// In tokens.
    pub max_tokens: Option<u64>,
    /// R `max_tool_calls`.
    pub max_tool_calls: Option<u64>,
    pub sampling: Sampling<'a>,
    pub reasoning: Reasoning,
    pub format: OutputFormat<'a>,
    /// C `verbosity`, R `text.verbosity`: `low`, `medium`, `high` or newer.
    pub verbosity: Option<RawStr<'a>>,
    pub cache: Cache<'a>,
    pub identity: Identity<'a>,
    /// `service_tier` in the client's words.
    pub tier: Option<RawStr<'a>>,
    pub stream: bool,
    /// C `stream_options.include_usage`.
    pub include_usage: bool,
    pub state: State<'a>,
    /// Top-level fields that only their own format knows, and unknown ones.
    pub ext: Ext<'a>,
}

impl<'a> Request<'a> {
    /// Returns a request with nothing in it, to be filled by a decoder.
    pub fn new(from: Format) -> Request<'a> {
        Request {
            from,
            model: Text::EMPTY,
            system: Vec::new(),
            items: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            parallel: None,
            max_tokens: None,
            max_tool_calls: None,
            sampling: Sampling::default(),
            reasoning: Reasoning::default(),
            format: OutputFormat::Text,
            verbosity: None,
            cache: Cache::default(),
            identity: Identity::default(),
            tier: None,
            stream: false,
            include_usage: false,
            state: State::default(),
            ext: Ext::default(),
        }
    }

    /// Returns the client's path to an item: `messages.3`, `input.3`. Empty for what the gateway
    /// made.
    pub fn path(&self, item: &Item<'_>) -> String {
        let list = self.from.profile().request.conversation;
        // Made for each item and read in errors alone, so without the machinery of `format!`.
        match item.at {
            Item::MADE => String::new(),
            at => [list, ".", itoa::Buffer::new().format(at)].concat(),
        }
    }
}

/// Returns whether a system text is the block that Claude Code puts first and changes with each
/// call. Its only reader is Anthropic; at any other provider it would renew the prompt cache each
/// time, so decoders of Messages leave it out.
pub(crate) fn is_billing_header(text: &Text<'_>) -> bool {
    text.as_bytes().starts_with(b"x-anthropic-billing-header:")
}

/// One piece of a conversation.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// Index in the client's list; items cut from one message share it. [`Item::MADE`] if the
    /// gateway made the item.
    pub at: u32,
    pub kind: ItemKind<'a>,
}

impl<'a> Item<'a> {
    /// The index of an item that the client did not send.
    pub const MADE: u32 = u32::MAX;

    /// Makes an item that stands at index `at` of the client's list.
    pub fn new(at: usize, kind: impl Into<ItemKind<'a>>) -> Item<'a> {
        Item { at: u32::try_from(at).unwrap_or(Item::MADE), kind: kind.into() }
    }

    /// Makes an item that the client did not send.
    pub fn made(kind: impl Into<ItemKind<'a>>) -> Item<'a> {
        Item { at: Item::MADE, kind: kind.into() }
    }
}

/// What an item is.
#[derive(Debug, Clone)]
pub enum ItemKind<'a> {
    Message(Message<'a>),
    Reasoning(ReasoningItem<'a>),
    Call(ToolCall<'a>),
    Result(ToolResult<'a>),
    /// An item or block that only its own format knows.
    Foreign(Foreign<'a>),
}

macro_rules! item_from {
    ($($type:ident => $kind:ident),*) => {
        $(impl<'a> From<$type<'a>> for ItemKind<'a> { fn from(it: $type<'a>) -> ItemKind<'a> { ItemKind::$kind(it) } })*
    };
}
item_from!(Message => Message, ReasoningItem => Reasoning, ToolCall => Call, ToolResult => Result, Foreign => Foreign);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    /// Mid-conversation; a leading one stands in [`Request::system`].
    System,
    /// As `System`; the difference matters only to OpenAI.
    Developer,
}

/// A message of one side, with its parts.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub role: Role,
    /// C `name`.
    pub name: Option<Text<'a>>,
    /// R `phase` of assistant messages.
    pub phase: Option<RawStr<'a>>,
    pub parts: Vec<Part<'a>>,
    /// M `output_config` on a system message (beta `per-turn-control-2026-07-01`).
    pub config: Option<RawValue<'a>>,
}

impl<'a> Message<'a> {
    /// Makes a message without a name, a phase or a configuration.
    pub fn new(role: Role, parts: Vec<Part<'a>>) -> Message<'a> {
        Message { role, name: None, phase: None, parts, config: None }
    }
}

/// One M thinking or redacted block, or one R reasoning item, or the reasoning of one C message.
#[derive(Debug, Clone, Default)]
pub struct ReasoningItem<'a> {
    /// The provider's item id; from an envelope or from R.
    pub id: Option<Text<'a>>,
    pub parts: Vec<ReasoningPart<'a>>,
    pub opaque: Vec<Opaque<'a>>,
    /// C `reasoning_details` as the client sent it, for hosts that want it back unmodified.
    pub details: Option<RawValue<'a>>,
}

/// A piece of visible reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningPart<'a> {
    pub kind: ReasoningKind,
    pub text: Text<'a>,
}

/// Whether reasoning is shown in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasoningKind {
    /// R `summary_text`; M thinking (which is a summary on Claude 4 and newer).
    Summary,
    /// R `reasoning_text`, C `reasoning_content`.
    Full,
}

/// State that only the vendor that made it can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque<'a> {
    pub family: Family,
    /// `None` for a vendor's own string in a client of its own format: who made it is not known.
    pub scope: Option<Scope>,
    pub seal: Seal,
    pub bytes: Text<'a>,
}

/// A call of a tool, in history.
#[derive(Debug, Clone)]
pub struct ToolCall<'a> {
    pub kind: CallKind,
    /// R item id. Never sent on: a stale id is refused.
    pub item_id: Option<Text<'a>>,
    /// As the client wrote it; [`names::call_id`](crate::target::tool_names::call_id) makes it fit
    /// the target.
    pub call_id: Text<'a>,
    pub namespace: Option<Text<'a>>,
    pub name: Text<'a>,
    pub input: ArgText<'a>,
    /// Google's signature on the call (C `extra_content`, or an envelope).
    pub opaque: Option<Opaque<'a>>,
    pub cache: Option<CachePoint>,
}

/// How the input of a tool is given: as JSON or as free text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    Function,
    Custom,
}

/// The result of a call.
#[derive(Debug, Clone)]
pub struct ToolResult<'a> {
    pub call_id: Text<'a>,
    pub kind: CallKind,
    pub parts: Vec<Part<'a>>,
    /// M `is_error`; in C and R the text begins with [`ERROR_MARKER`], which decoders take off.
    pub is_error: bool,
    pub cache: Option<CachePoint>,
}

/// How a failed tool result is marked in formats without a flag. Written and recognised exactly so.
pub(crate) const ERROR_MARKER: &str = "[tool_error] ";

/// Sampling controls. Numbers keep their spelling.
#[derive(Debug, Clone, Default)]
pub struct Sampling<'a> {
    pub temperature: Option<Number<'a>>,
    pub top_p: Option<Number<'a>>,
    pub top_k: Option<Number<'a>>,
    pub frequency_penalty: Option<Number<'a>>,
    pub presence_penalty: Option<Number<'a>>,
    pub seed: Option<Number<'a>>,
    pub logit_bias: Option<RawValue<'a>>,
    /// Never holds empty strings.
    pub stop: Vec<Text<'a>>,
    pub n: Option<u64>,
    /// C `logprobs`, R `include: message.output_text.logprobs`.
    pub logprobs: bool,
    pub top_logprobs: Option<u64>,
}

/// A JSON number, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<'a>(pub RawValue<'a>);

impl Number<'_> {
    /// For comparisons only; write the raw form.
    pub fn value(self) -> f64 {
        std::str::from_utf8(self.0.bytes()).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }
}

/// What form the answer must have.
#[derive(Debug, Clone, Default)]
pub enum OutputFormat<'a> {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: Option<Text<'a>>,
        description: Option<Text<'a>>,
        schema: RawValue<'a>,
        strict: Option<bool>,
    },
    /// R grammar types: OpenAI only.
    Grammar(RawValue<'a>),
}

/// Prompt cache hints.
#[derive(Debug, Clone, Default)]
pub struct Cache<'a> {
    /// `prompt_cache_key` (C, R).
    pub key: Option<Text<'a>>,
    /// `prompt_cache_options` (C, R).
    pub options: Option<RawValue<'a>>,
    /// `prompt_cache_retention` (C, R).
    pub retention: Option<RawValue<'a>>,
    /// M top-level `cache_control`.
    pub whole: Option<CachePoint>,
    /// The client's body, in which breakpoints that are lost are found by their path.
    pub body: Option<RawValue<'a>>,
}

/// Who is asking.
#[derive(Debug, Clone, Default)]
pub struct Identity<'a> {
    /// `user` (C, R).
    pub user: Option<Text<'a>>,
    /// `safety_identifier` (C, R), `metadata.user_id` (M).
    pub safety: Option<Text<'a>>,
    /// `metadata` of C and R; of M the whole object.
    pub metadata: Option<RawValue<'a>>,
}

/// What needs state at the provider. Only R has most of it.
#[derive(Debug, Clone, Default)]
pub struct State<'a> {
    pub store: Option<bool>,
    pub previous: Option<RawValue<'a>>,
    pub conversation: Option<RawValue<'a>>,
    pub prompt: Option<RawValue<'a>>,
    pub background: bool,
    /// R `include`.
    pub include: Vec<RawStr<'a>>,
    /// R `truncation`.
    pub truncation: Option<RawStr<'a>>,
}
