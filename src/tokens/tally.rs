//! Adds up what a conversation costs, by the rules of the model's vendor. Readers of the formats tell it what they find.

use super::picture::{self, Detail, Unsized};
use super::text;
use super::vocabulary::{Model, Vendor};

/// Tokens of Anthropic's own words to a model that has tools.
const TOOLS_OF_ANTHROPIC: u64 = 350;
/// A call that an earlier turn made, beside its name and arguments.
const CALL: u64 = 5;
/// Bytes of a document for a token, and its bounds: pages can't be counted here, and one is 1500 to 3000.
const DOCUMENT: (u64, u64, u64) = (1000, 500, 200_000);
/// Bytes of sound for a token: wav of 24 kHz at 10 tokens a second.
const SOUND: u64 = 4800;

/// The sum so far.
#[derive(Debug)]
pub(super) struct Tally<'t> {
    model: Model,
    unsized_: &'t Unsized,
    /// Tokens of the vocabulary, which [`Model::percent`] applies to.
    words: u64,
    /// Others.
    rest: u64,
    exact: bool,
    system: bool,
}

impl<'t> Tally<'t> {
    pub(super) fn new(model: Model, unsized_: &'t Unsized) -> Tally<'t> {
        Tally { model, unsized_, words: 0, rest: 0, exact: model.published, system: false }
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
        self.rest += self.model.message;
        self.system |= matches!(role, "system" | "developer");
        self.text(role);
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
        self.guess(CALL);
    }

    /// A picture; `base64` is `None` for one that is elsewhere.
    pub(super) fn picture(&mut self, base64: Option<&[u8]>, detail: Detail) {
        let size = base64.and_then(picture::size);
        self.guess(picture::tokens(self.model.pictures, size, detail, self.unsized_));
    }

    /// A document of so many characters of base64; 0 for one that is elsewhere.
    pub(super) fn document(&mut self, base64: usize) {
        let (bytes, least, most) = DOCUMENT;
        self.guess((base64 as u64 / 4 * 3 / bytes).clamp(least, most));
    }

    pub(super) fn sound(&mut self, base64: usize) {
        self.guess((base64 as u64 / 4 * 3).div_ceil(SOUND));
    }

    /// All tools together, as [`super::tools`] has written them.
    pub(super) fn tools(&mut self, written: &str) {
        self.text(written);
        match self.model.vendor {
            Vendor::Anthropic => self.guess(TOOLS_OF_ANTHROPIC),
            // They go into the system message, which saves the frame of one.
            _ => self.guess(if self.system { 5 } else { 9 }),
        }
    }

    /// The tokens, and whether each of them was counted by what is published.
    pub(super) fn sum(self) -> (u64, bool) {
        (self.rest + self.words * self.model.percent / 100, self.exact)
    }

    /// As [`Tally::sum`], with the frame of the answer that the prompt ends with.
    pub(super) fn prompt(mut self) -> (u64, bool) {
        self.rest += 3;
        self.sum()
    }
}
