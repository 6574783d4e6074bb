//! Adds up what a conversation costs, by the rules of the model's vendor. Readers of the formats
//! tell it what they find.

use super::pdf::{self, Effort};
use super::picture::{self, DefaultPicture, Detail, Size};
use super::text;
use super::vocabulary::{Model, Vendor};
use llm_wire::Format;

// The text around tools, calls and answers is not published; these are the medians of recorded
// exchanges.

/// Anthropic's own words to a model that has tools.
const TOOLS_OF_ANTHROPIC: u64 = 500;
/// OpenAI's words to a model that thinks and has tools: how to keep calls and thoughts apart.
const REASONING_TOOLS: (u64, u64) = (90, 8);
/// A call of an earlier turn, beside its name and arguments.
const CALL: u64 = 7;
/// The same for a model of OpenAI that thinks.
const REASONING_CALL: u64 = 11;
/// An answer of an earlier turn of such a model, beside the frame of a message: it says which of
/// its channels it was on.
const CHANNEL: u64 = 2;
/// Bytes of a document for a token, and its bounds, where its pages are not seen.
const DOCUMENT: (u64, u64, u64) = (1000, 500, 200_000);
/// A page of a document: vendors show it to the model as a picture, and its text beside
/// (docs.claude.com, "PDF support"; platform.openai.com, "File inputs"; 2026-11). The size is that
/// of US Letter at 96 dots an inch, the text that of a page of recorded documents.
const PAGE: (Size, u64) = (Size { width: 816, height: 1056 }, 500);
/// Bytes of sound for a token: wav of 24 kHz at 10 tokens a second.
const AUDIO_BYTES_PER_TOKEN: u64 = 4800;

/// The sum so far.
#[derive(Debug)]
pub(super) struct TokenCounter<'t> {
    model: Model,
    format: Format,
    default_picture: &'t DefaultPicture,
    /// Tokens of the vocabulary, which [`Model::percent`] applies to.
    words: u64,
    /// Others.
    rest: u64,
    exact: bool,
    system: bool,
}

impl<'t> TokenCounter<'t> {
    pub(super) fn new(model: Model, format: Format, default_picture: &'t DefaultPicture) -> TokenCounter<'t> {
        TokenCounter { model, format, default_picture, words: 0, rest: 0, exact: model.published, system: false }
    }

    pub(super) fn vendor(&self) -> Vendor {
        self.model.vendor
    }

    pub(super) fn text(&mut self, text: &str) {
        let count = text::count(self.model.vocabulary, text);
        self.words += count.tokens;
        self.exact &= count.exact;
    }

    /// Something whose cost is not published.
    pub(super) fn guess(&mut self, tokens: u64) {
        self.rest += tokens;
        self.exact = false;
    }

    /// A message begins.
    pub(super) fn message(&mut self, role: &str) {
        let is_system = matches!(role, "system" | "developer");
        self.system |= is_system;
        // Anthropic's system prompt has no frame.
        if is_system && self.model.vendor == Vendor::Anthropic {
            return;
        }
        self.rest += self.model.message + if self.is_reasoning_model() && role == "assistant" { CHANNEL } else { 0 };
        self.text(role);
    }

    /// Returns whether this is a model of OpenAI that thinks, whose conversations have another
    /// frame.
    fn is_reasoning_model(&self) -> bool {
        self.model.reasons && self.model.vendor == Vendor::OpenAi
    }

    /// The name of who speaks.
    pub(super) fn name(&mut self, name: &str) {
        self.rest += 1;
        self.text(name);
    }

    /// A call of an earlier turn.
    pub(super) fn call(&mut self, name: &str, arguments: &str) {
        self.text(name);
        self.text(arguments);
        self.guess(if self.is_reasoning_model() { REASONING_CALL } else { CALL });
    }

    /// A picture; `base64` is `None` for one that is elsewhere.
    pub(super) fn picture(&mut self, base64: Option<&[u8]>, detail: Detail) {
        let size = base64.and_then(picture::size);
        self.guess(picture::tokens(self.model.pictures, size, detail, self.default_picture));
    }

    /// A document; `base64` is `None` for one that is elsewhere.
    pub(super) fn document(&mut self, base64: Option<&[u8]>) {
        let base64 = base64.unwrap_or_default();
        let (bytes, least, most) = DOCUMENT;
        let (page, text) = PAGE;
        self.guess(match pdf::pages(base64, Effort::Whole) {
            Some(pages) => {
                let picture = picture::tokens(self.model.pictures, Some(page), Detail::High, self.default_picture);
                pages.max(1) * (picture + text)
            }
            None => (base64.len() as u64 / 4 * 3 / bytes).clamp(least, most),
        });
    }

    pub(super) fn audio(&mut self, base64: usize) {
        self.guess((base64 as u64 / 4 * 3).div_ceil(AUDIO_BYTES_PER_TOKEN));
    }

    /// All tools together, as [`super::tools`] has written them.
    pub(super) fn tools(&mut self, written: &str) {
        self.text(written);
        let (chat, responses) = REASONING_TOOLS;
        self.guess(match (self.model.vendor, self.format) {
            (Vendor::Anthropic, _) => TOOLS_OF_ANTHROPIC,
            (_, Format::Responses) if self.is_reasoning_model() => responses,
            (_, _) if self.is_reasoning_model() => chat,
            (_, Format::Responses) => 3,
            // They go into the system message, which saves the frame of one.
            _ if self.system => 5,
            _ => 9,
        });
    }

    /// The tokens, and whether each of them was counted by what is published.
    pub(super) fn sum(self) -> (u64, bool) {
        (self.rest + self.words * self.model.percent / 100, self.exact)
    }

    /// As [`TokenCounter::sum`], with the start of the answer that a prompt ends with.
    pub(super) fn prompt(mut self) -> (u64, bool) {
        self.rest += if self.is_reasoning_model() { 2 } else { 3 };
        self.sum()
    }

    /// As [`TokenCounter::sum`], with what ends an answer.
    pub(super) fn answer(mut self) -> (u64, bool) {
        self.rest += match (self.model.vendor, self.format) {
            (Vendor::OpenAi, Format::Responses) if self.is_reasoning_model() => 4,
            (Vendor::OpenAi, Format::Responses) => 1,
            (Vendor::OpenAi, _) if self.is_reasoning_model() => 3,
            (Vendor::OpenAi, _) => 0,
            (Vendor::Anthropic, _) => 3,
            (Vendor::Google, _) => 0,
            (Vendor::Other, _) => 1,
        };
        self.sum()
    }
}
