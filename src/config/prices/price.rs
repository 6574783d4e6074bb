//! The price of a model, by the kind of token and the tier of service.

/// The price of a model. Of tokens in dollars per million; `None` is unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Price {
    pub input: Option<f64>,
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    /// Tokens written to a cache for five minutes, or for an unknown time.
    pub cache_write_5m: Option<f64>,
    /// Tokens written to a cache for an hour.
    pub cache_write_1h: Option<f64>,
    pub reasoning: Option<f64>,
    pub audio_input: Option<f64>,
    pub audio_output: Option<f64>,
    pub image_input: Option<f64>,
    pub image_output: Option<f64>,
    /// Of a request, in dollars.
    pub per_request: Option<f64>,
    /// Of a search at the provider, in dollars.
    pub per_search: Option<f64>,
    /// Other prices of tokens for long prompts and for other tiers of service, in no order.
    pub special: Box<[Special]>,
}

/// Prices of tokens for prompts of more than `above` tokens, at a tier of service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Special {
    pub tier: Tier,
    /// 0 is every prompt.
    pub above: u64,
    /// By [`Part`].
    pub parts: [Option<f64>; Part::COUNT],
}

/// A kind of token that may have special prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Part {
    Input,
    Output,
    CacheRead,
    CacheWrite5m,
    CacheWrite1h,
    Reasoning,
}

impl Part {
    /// The number of parts.
    pub const COUNT: usize = 6;

    /// All parts, each at its number.
    pub const ALL: [Part; Part::COUNT] =
        [Part::Input, Part::Output, Part::CacheRead, Part::CacheWrite5m, Part::CacheWrite1h, Part::Reasoning];
}

/// A tier of service, which requests ask for and answers name with `service_tier`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    #[default]
    Standard,
    Batch,
    Flex,
    Priority,
}

impl Tier {
    /// The tiers but the standard one.
    pub const OTHERS: [Tier; 3] = [Tier::Batch, Tier::Flex, Tier::Priority];

    /// Empty for the standard one.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Standard => "",
            Tier::Batch => "batch",
            Tier::Flex => "flex",
            Tier::Priority => "priority",
        }
    }

    /// Returns the tier of this name. `auto`, `default` and what is not known are the standard one.
    pub fn of(name: &[u8]) -> Tier {
        Tier::OTHERS.into_iter().find(|tier| tier.name().as_bytes() == name).unwrap_or_default()
    }

    /// Returns the tier that a piece of an answer names last: the first events of a stream may
    /// repeat what was asked for. `None` if it has no such text. What is null or cut is skipped. A
    /// member of another object is not told apart, since nothing but the price depends on it.
    pub fn named(body: &[u8]) -> Option<Tier> {
        const NAME: &[u8] = br#""service_tier""#;
        memchr::memmem::rfind_iter(body, NAME).find_map(|at| Tier::value(&body[at + NAME.len()..]))
    }

    /// Reads what follows the name of the member.
    fn value(rest: &[u8]) -> Option<Tier> {
        let rest = rest.trim_ascii_start().strip_prefix(b":")?;
        let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let end = memchr::memchr(b'"', rest)?;
        Some(Tier::of(&rest[..end]))
    }
}

/// The most bytes of a value that is read.
const LONGEST: usize = 32;

/// Reads the tier out of an answer that comes in pieces, which may be cut anywhere.
#[derive(Debug, Clone)]
pub struct TierReader {
    /// The last bytes that have come, at its beginning.
    kept: [u8; TierReader::KEPT],
    len: usize,
}

impl Default for TierReader {
    fn default() -> TierReader {
        TierReader { kept: [0; TierReader::KEPT], len: 0 }
    }
}

impl TierReader {
    /// Enough for a member with such a value and some blanks.
    const KEPT: usize = 64;

    /// Takes a piece in, and returns the tier that is named last up to its end. `None` if the piece
    /// neither ends nor has such a member.
    pub fn read(&mut self, piece: &[u8]) -> Option<Tier> {
        let head = piece.get(..TierReader::KEPT).unwrap_or(piece);
        let mut joined = [0; 2 * TierReader::KEPT];
        let end = self.len + head.len();
        joined[..self.len].copy_from_slice(&self.kept[..self.len]);
        joined[self.len..end].copy_from_slice(head);
        let joined = &joined[..end];
        let whole = if head.len() == piece.len() { joined } else { piece };
        let last = &whole[whole.len().saturating_sub(TierReader::KEPT)..];
        self.kept[..last.len()].copy_from_slice(last);
        self.len = last.len();
        Tier::named(piece).or_else(|| Tier::named(joined))
    }
}

impl Price {
    pub(super) fn part(&self, part: Part) -> Option<f64> {
        match part {
            Part::Input => self.input,
            Part::Output => self.output,
            Part::CacheRead => self.cache_read,
            Part::CacheWrite5m => self.cache_write_5m,
            Part::CacheWrite1h => self.cache_write_1h,
            Part::Reasoning => self.reasoning,
        }
    }
}
