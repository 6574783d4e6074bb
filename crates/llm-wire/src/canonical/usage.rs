//! Token counts in one shape, and the arithmetic between the vendors' shapes.
//!
//! OpenAI (chat, responses) and Gemini count cached tokens inside the input number, Anthropic and
//! Bedrock Converse outside. Here `input_total` holds them all; [`Usage::input_fresh`] is what
//! Anthropic calls `input_tokens`.
//!
//! Field names: OpenAI API reference, "CompletionUsage" and "ResponseUsage"; Anthropic Messages
//! reference, "Usage"; both as in their SDKs of 2026-08. What single hosts do differently stands
//! beside the field.

use crate::json::RawValue;
use crate::json::scan::skip_space;

/// What one answer cost, in tokens. 0 where a provider reported nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, cached or not.
    pub input_total: u64,
    /// Of `input_total`: read from the provider's cache.
    pub cache_read: u64,
    /// Of `input_total`: written to the cache for five minutes, or for a time that was not
    /// reported.
    pub cache_write_5m: u64,
    /// Of `input_total`: written to the cache for an hour.
    pub cache_write_1h: u64,
    /// All output, reasoning included.
    pub output_total: u64,
    /// Of `output_total`: reasoning.
    pub reasoning: u64,
    /// Of `input_total`: audio, where it is counted apart.
    pub audio_input: u64,
    /// Of `input_total`: pictures, where they are counted apart.
    pub image_input: u64,
    /// Of `output_total`: audio, where it is counted apart.
    pub audio_output: u64,
    /// Of `output_total`: pictures, where they are counted apart.
    pub image_output: u64,
    /// Calls of tools that ran at the provider, such as web searches. Requests, not tokens.
    pub server_tools: u64,
    /// The numbers contradicted one another and were repaired; worth a metric.
    pub repaired: bool,
}

impl Usage {
    /// Returns the input tokens that were written to a cache, of both lifetimes.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// Input that was neither read from a cache nor written to one.
    pub fn input_fresh(&self) -> u64 {
        self.input_total.saturating_sub(self.cache_read).saturating_sub(self.cache_write())
    }

    /// Returns the sum of all input and all output tokens. It saturates.
    pub fn total(&self) -> u64 {
        self.input_total.saturating_add(self.output_total)
    }

    /// Nothing was counted. With visible output this means that the host does not count, not that
    /// the answer was free.
    pub fn is_zero(&self) -> bool {
        self.input_total == 0 && self.output_total == 0
    }

    /// From numbers whose input leaves the cached tokens out.
    pub fn with_cache_outside(mut self) -> Usage {
        self.input_total = self.input_total.saturating_add(self.cache_read).saturating_add(self.cache_write());
        self.bounded()
    }

    /// Decides which counts include others, since hosts differ. The total decides where it is
    /// given:
    ///
    /// | total is prompt + completion and | then |
    /// |---|---|
    /// | nothing else | cached tokens are part of the prompt if they can be, reasoning of the completion |
    /// | the reasoning | reasoning is beside the completion (xAI) |
    /// | the cached tokens | they stand beside the prompt (hosts that follow Anthropic) |
    /// | more, with seconds of audio | the rest is audio, which is input (Mistral) |
    /// | more | the rest is reasoning that is counted nowhere else (Gemini) |
    ///
    /// Without a total, what is larger than its whole cannot be part of it.
    fn settled(mut self, total: u64, has_audio: bool) -> Usage {
        let cached = self.cache_read.saturating_add(self.cache_write());
        let hidden = total.checked_sub(self.total());
        let (reasoning_beside, cache_beside) = match hidden {
            None => (self.reasoning > self.output_total, cached > self.input_total),
            // xAI leaves cached tokens out of prompt and total alike.
            Some(0) => (false, cached > self.input_total),
            Some(hidden) => {
                let both = hidden == cached.saturating_add(self.reasoning);
                let cache = cached > 0 && (hidden == cached || both);
                let reasoning = self.reasoning > 0 && (hidden == self.reasoning || both);
                // Equal by chance: cached tokens are part of the prompt if they can be.
                match cached == self.reasoning && cache && !both {
                    true => (cached <= self.input_total, cached > self.input_total),
                    false => (reasoning, cache),
                }
            }
        };
        self.repaired |= hidden.is_none() && reasoning_beside || cached > self.input_total;
        if reasoning_beside {
            self.output_total = self.output_total.saturating_add(self.reasoning);
        }
        if let Some(hidden) = hidden.filter(|_| !reasoning_beside && !cache_beside) {
            if has_audio {
                self.input_total += hidden;
            } else {
                self.output_total += hidden;
                self.reasoning = if self.reasoning == 0 { hidden } else { self.reasoning };
            }
        }
        if cache_beside {
            return self.with_cache_outside();
        }
        self.cache_read = self.cache_read.min(self.input_total);
        self.cache_write_5m = self.cache_write_5m.min(self.input_total - self.cache_read);
        self.bounded()
    }

    fn bounded(mut self) -> Usage {
        self.repaired |= self.reasoning > self.output_total;
        self.reasoning = self.reasoning.min(self.output_total);
        self
    }

    /// Reads the `usage` object of an OpenAI format, with both spellings of its names, since hosts
    /// mix them.
    ///
    /// Nulls, negative and absurd numbers count as 0; numbers in quotes are numbers.
    pub fn from_openai(raw: RawValue<'_>) -> Usage {
        Counts::of(raw).settled()
    }

    /// Does the same for an object that has these names, of which the numbers are given in their
    /// order. `None` if one of them is missing.
    pub(crate) fn from_numbers(names: &NumberNames, mut numbers: impl Iterator<Item = Option<u64>>) -> Option<Usage> {
        let mut counts = Counts::default();
        for NumberName { meaning, is_null } in &names.0 {
            let n = if *is_null { 0 } else { numbers.next()?? };
            counts.set(*meaning, n);
        }
        Some(counts.settled())
    }
}

/// What the numbers in a `usage` object of an OpenAI format are by their names, in their order.
#[derive(Debug)]
pub(crate) struct NumberNames(Vec<NumberName>);

/// What a number is by its name, or a null, which counts as 0.
#[derive(Debug)]
struct NumberName {
    meaning: Meaning,
    is_null: bool,
}

impl NumberNames {
    /// Returns the names in an object that has whole numbers, nulls and details alone.
    pub(crate) fn of(raw: RawValue<'_>) -> Option<NumberNames> {
        let mut names = Vec::new();
        let mut note = |place, key: &[u8], n: Option<u64>| {
            names.push(NumberName { meaning: Meaning::of(place, key), is_null: n.is_none() });
        };
        let end = plain_object(raw.bytes(), 0, Place::Top, &mut note);
        (end == Some(raw.bytes().len())).then_some(NumberNames(names))
    }

    /// Returns how many of them are numbers.
    pub(crate) fn numbers(&self) -> usize {
        self.0.iter().filter(|name| !name.is_null).count()
    }
}

/// Which object a number of a `usage` object stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// `prompt_tokens_details`, or as the Responses format calls it.
    InputDetails,
    /// `completion_tokens_details`, or as the Responses format calls it.
    OutputDetails,
}

impl Place {
    /// Returns the place that a member at the top opens.
    fn inside(key: &[u8]) -> Option<Place> {
        match key {
            b"prompt_tokens_details" | b"input_tokens_details" => Some(Place::InputDetails),
            b"completion_tokens_details" | b"output_tokens_details" => Some(Place::OutputDetails),
            _ => None,
        }
    }
}

/// What a number of a `usage` object counts, by its place and its name.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Input,
    Output,
    Total,
    /// Cached tokens beside the details.
    Cached,
    /// Tokens written to the cache, beside the details.
    Written,
    AudioSeconds,
    CacheRead,
    AudioInput,
    ImageInput,
    CacheWrite,
    Reasoning,
    AudioOutput,
    ImageOutput,
    /// It is not read.
    Nothing,
}

impl Meaning {
    fn of(place: Place, key: &[u8]) -> Meaning {
        match (place, key) {
            (Place::Top, b"prompt_tokens" | b"input_tokens") => Meaning::Input,
            (Place::Top, b"completion_tokens" | b"output_tokens") => Meaning::Output,
            (Place::Top, b"total_tokens") => Meaning::Total,
            // DeepSeek; Kimi and others; LiteLLM, which keeps Anthropic's names beside OpenAI's.
            (Place::Top, b"prompt_cache_hit_tokens" | b"cached_tokens" | b"cache_read_input_tokens") => Meaning::Cached,
            (Place::Top, b"cache_creation_input_tokens") => Meaning::Written,
            // Mistral, beside a prompt that leaves audio out.
            (Place::Top, b"prompt_audio_seconds") => Meaning::AudioSeconds,
            (Place::InputDetails, b"cached_tokens") => Meaning::CacheRead,
            (Place::InputDetails, b"audio_tokens") => Meaning::AudioInput,
            (Place::InputDetails, b"image_tokens") => Meaning::ImageInput,
            // The second is DashScope's, which follows Anthropic's name, the third LiteLLM's.
            (
                Place::InputDetails,
                b"cache_write_tokens" | b"cache_creation_input_tokens" | b"cache_creation_tokens",
            ) => Meaning::CacheWrite,
            (Place::OutputDetails, b"reasoning_tokens") => Meaning::Reasoning,
            (Place::OutputDetails, b"audio_tokens") => Meaning::AudioOutput,
            (Place::OutputDetails, b"image_tokens") => Meaning::ImageOutput,
            _ => Meaning::Nothing,
        }
    }
}

/// The numbers of a `usage` object of an OpenAI format, as they were sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    usage: Usage,
    total: u64,
    /// Cached tokens that are counted beside the details.
    cached: u64,
    /// Tokens written to the cache that are counted beside the details.
    written: u64,
    has_audio: bool,
}

impl Counts {
    fn of(raw: RawValue<'_>) -> Counts {
        let mut counts = Counts::default();
        if counts.read_plain(raw.bytes()) {
            return counts;
        }
        let mut counts = Counts::default();
        counts.walk(raw);
        counts
    }

    fn take(&mut self, place: Place, key: &[u8], n: u64) {
        self.set(Meaning::of(place, key), n);
    }

    fn set(&mut self, meaning: Meaning, n: u64) {
        let usage = &mut self.usage;
        match meaning {
            Meaning::Input => usage.input_total = n,
            Meaning::Output => usage.output_total = n,
            Meaning::Total => self.total = n,
            Meaning::Cached => self.cached = n.max(self.cached),
            Meaning::Written => self.written = n,
            Meaning::AudioSeconds => self.has_audio = n > 0,
            Meaning::CacheRead => usage.cache_read = n,
            Meaning::AudioInput => usage.audio_input = n,
            Meaning::ImageInput => usage.image_input = n,
            Meaning::CacheWrite => usage.cache_write_5m = n,
            Meaning::Reasoning => usage.reasoning = n,
            Meaning::AudioOutput => usage.audio_output = n,
            Meaning::ImageOutput => usage.image_output = n,
            Meaning::Nothing => {}
        }
    }

    /// Reads an object of any shape.
    fn walk(&mut self, raw: RawValue<'_>) {
        for (key, value, _) in raw.members() {
            match Place::inside(key.as_bytes()) {
                Some(place) => value
                    .members()
                    .for_each(|(key, value, _)| self.take(place, key.as_bytes(), value.as_u64().unwrap_or(0))),
                None => self.take(Place::Top, key.as_bytes(), value.as_u64().unwrap_or(0)),
            }
        }
    }

    /// Reads an object that has whole numbers, nulls and details alone, as nearly all have: a fifth
    /// of the cost of a walk. Returns false for any other, having read a part of it.
    fn read_plain(&mut self, object: &[u8]) -> bool {
        let take = &mut |place, key: &[u8], n: Option<u64>| self.take(place, key, n.unwrap_or(0));
        plain_object(object, 0, Place::Top, take) == Some(object.len())
    }

    fn settled(self) -> Usage {
        let Counts { mut usage, total, cached, written, has_audio } = self;
        if usage.cache_read == 0 {
            usage.cache_read = cached;
        }
        if usage.cache_write_5m == 0 {
            usage.cache_write_5m = written;
        }
        // Embeddings hosts may report the total alone, and all of it is input.
        if usage.is_zero() && usage.reasoning == 0 {
            usage.input_total = total;
        }
        usage.settled(total, has_audio)
    }
}

/// Numbers of so many digits are exact in every reader.
pub(crate) const MAX_DIGITS: usize = 15;

/// Reads the object at `pos`, and returns the position behind it. `take` gets the numbers, and
/// `None` for a null.
fn plain_object(
    buf: &[u8],
    pos: usize,
    place: Place,
    take: &mut impl FnMut(Place, &[u8], Option<u64>),
) -> Option<usize> {
    let mut pos = expect(buf, pos, b'{')?;
    loop {
        let start = expect(buf, skip_space(buf, pos), b'"')?;
        let end = start + memchr::memchr(b'"', buf.get(start..)?)?;
        let key = &buf[start..end];
        if key.last() == Some(&b'\\') {
            return None;
        }
        pos = skip_space(buf, expect(buf, skip_space(buf, end + 1), b':')?);
        match (buf.get(pos)?, place) {
            (b'{', Place::Top) => pos = plain_object(buf, pos, Place::inside(key)?, take)?,
            (b'n', _) if buf[pos..].starts_with(b"null") => {
                take(place, key, None);
                pos += 4;
            }
            (b'0'..=b'9', _) => {
                let (first, mut n) = (pos, 0);
                while let Some(digit) = buf.get(pos).filter(|byte| byte.is_ascii_digit()) {
                    if pos - first == MAX_DIGITS {
                        return None;
                    }
                    n = n * 10 + u64::from(digit - b'0');
                    pos += 1;
                }
                take(place, key, Some(n));
            }
            _ => return None,
        }
        pos = skip_space(buf, pos);
        match buf.get(pos)? {
            b',' => pos += 1,
            b'}' => return Some(pos + 1),
            _ => return None,
        }
    }
}

/// Returns the position behind `byte`, if that is at `pos`.
fn expect(buf: &[u8], pos: usize, byte: u8) -> Option<usize> {
    (buf.get(pos) == Some(&byte)).then_some(pos + 1)
}

#[cfg(test)]
mod tests;
