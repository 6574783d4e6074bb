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

/// The numbers of a `usage` object of an OpenAI format, as they were sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    usage: Usage,
    total: u64,
    /// Cached tokens that are counted beside the details.
    cached: u64,
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
        let usage = &mut self.usage;
        match (place, key) {
            (Place::Top, b"prompt_tokens" | b"input_tokens") => usage.input_total = n,
            (Place::Top, b"completion_tokens" | b"output_tokens") => usage.output_total = n,
            (Place::Top, b"total_tokens") => self.total = n,
            // DeepSeek; Kimi and others.
            (Place::Top, b"prompt_cache_hit_tokens" | b"cached_tokens") => self.cached = n.max(self.cached),
            // Mistral, beside a prompt that leaves audio out.
            (Place::Top, b"prompt_audio_seconds") => self.has_audio = n > 0,
            (Place::InputDetails, b"cached_tokens") => usage.cache_read = n,
            (Place::InputDetails, b"audio_tokens") => usage.audio_input = n,
            (Place::InputDetails, b"image_tokens") => usage.image_input = n,
            // The second is DashScope's, which follows Anthropic's name.
            (Place::InputDetails, b"cache_write_tokens" | b"cache_creation_input_tokens") => usage.cache_write_5m = n,
            (Place::OutputDetails, b"reasoning_tokens") => usage.reasoning = n,
            (Place::OutputDetails, b"audio_tokens") => usage.audio_output = n,
            (Place::OutputDetails, b"image_tokens") => usage.image_output = n,
            _ => {}
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

    /// Reads an object that has whole numbers, nulls and details alone, as nearly all have: a fifth of
    /// the cost of a walk. Returns false for any other, having read a part of it.
    fn read_plain(&mut self, object: &[u8]) -> bool {
        self.plain_object(object, 0, Place::Top) == Some(object.len())
    }

    /// Reads the object at `pos`, and returns the position behind it.
    fn plain_object(&mut self, buf: &[u8], pos: usize, place: Place) -> Option<usize> {
        /// Numbers of so many digits are exact in every reader.
        const MAX_DIGITS: usize = 15;
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
                (b'{', Place::Top) => pos = self.plain_object(buf, pos, Place::inside(key)?)?,
                (b'n', _) if buf[pos..].starts_with(b"null") => {
                    self.take(place, key, 0);
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
                    self.take(place, key, n);
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

    fn settled(self) -> Usage {
        let Counts { mut usage, total, cached, has_audio } = self;
        if usage.cache_read == 0 {
            usage.cache_read = cached;
        }
        // Embeddings hosts may report the total alone, and all of it is input.
        if usage.is_zero() && usage.reasoning == 0 {
            usage.input_total = total;
        }
        usage.settled(total, has_audio)
    }
}

/// Returns the position behind `byte`, if that is at `pos`.
fn expect(buf: &[u8], pos: usize, byte: u8) -> Option<usize> {
    (buf.get(pos) == Some(&byte)).then_some(pos + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_numbers_and_their_oddities() {
        let some = |input_total, cache_read, output_total, reasoning| Usage {
            input_total,
            cache_read,
            output_total,
            reasoning,
            ..Usage::default()
        };
        let rows: &[(&str, Usage)] = &[
            (
                r#"{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":80,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":4}}"#,
                some(100, 80, 9, 4),
            ),
            (
                r#"{"input_tokens":5,"input_tokens_details":{"cached_tokens":2},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":8}"#,
                some(5, 2, 3, 1),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":7,"prompt_cache_miss_tokens":3}"#,
                some(10, 7, 2, 0),
            ),
            (
                r#"{"prompt_tokens":10,"completion_tokens":2,"cached_tokens":6,"prompt_tokens_details":null}"#,
                some(10, 6, 2, 0),
            ),
            (r#"{"prompt_tokens":"10","completion_tokens":2.0,"total_tokens":null}"#, some(10, 0, 2, 0)),
            (
                r#"{"prompt_tokens":-1,"completion_tokens":1e300,"prompt_tokens_details":{"cached_tokens":null}}"#,
                some(0, 0, 0, 0),
            ),
            (r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":15}"#, some(8, 0, 7, 5)),
            (r#"{"prompt_tokens":8,"total_tokens":8}"#, some(8, 0, 0, 0)),
            (
                r#"{"input_tokens":90,"input_tokens_details":{"image_tokens":50,"audio_tokens":30},"output_tokens":20,"output_tokens_details":{"audio_tokens":8,"image_tokens":7}}"#,
                Usage { audio_input: 30, image_input: 50, audio_output: 8, image_output: 7, ..some(90, 0, 20, 0) },
            ),
            (r#"{"total_tokens":3}"#, some(3, 0, 0, 0)),
            (r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":3}"#, some(8, 0, 2, 0)),
            (
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":107,"prompt_tokens_details":{"cached_tokens":100}}"#,
                Usage { repaired: true, ..some(105, 100, 2, 0) },
            ),
            (
                r#"{"prompt_tokens":5,"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":3}}"#,
                Usage { repaired: true, ..some(5, 0, 5, 3) },
            ),
            (r#"null"#, Usage::default()),
            (r#"[]"#, Usage::default()),
        ];
        for (raw, usage) in rows {
            assert_eq!(Usage::from_openai(RawValue::parse(raw.as_bytes()).unwrap()), *usage, "{raw}");
        }
    }

    /// As the hosts have sent it, and what it cost.
    #[test]
    fn hosts() {
        let rows: &[(&str, &str, [u64; 4])] = &[
            // host, usage, input, cache read, output, reasoning
            (
                "xAI",
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":32,"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94}}"#,
                [32, 6, 103, 94],
            ),
            (
                "xAI, cut while it thought",
                r#"{"prompt_tokens":32,"completion_tokens":0,"total_tokens":132,"completion_tokens_details":{"reasoning_tokens":100}}"#,
                [32, 0, 100, 100],
            ),
            (
                "OpenAI",
                r#"{"prompt_tokens":32,"completion_tokens":103,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
                [32, 0, 103, 94],
            ),
            (
                "OpenRouter",
                r#"{"prompt_tokens":2168,"completion_tokens":100,"total_tokens":2268,"prompt_tokens_details":{"cached_tokens":2161}}"#,
                [2168, 2161, 100, 0],
            ),
            (
                "OpenRouter, read and written",
                r#"{"prompt_tokens":2168,"completion_tokens":100,"total_tokens":2268,"prompt_tokens_details":{"cached_tokens":2000,"cache_write_tokens":168}}"#,
                [2168, 2000, 100, 0],
            ),
            ("Gemini", r#"{"prompt_tokens":8,"completion_tokens":2,"total_tokens":15}"#, [8, 0, 7, 5]),
            ("Gemini, cut while it thought", r#"{"prompt_tokens":8,"total_tokens":15}"#, [8, 0, 7, 7]),
            (
                "Mistral",
                r#"{"prompt_audio_seconds":203,"prompt_tokens":4,"completion_tokens":635,"total_tokens":3264}"#,
                [2629, 0, 635, 0],
            ),
            (
                "a host that follows Anthropic",
                r#"{"prompt_tokens":500,"completion_tokens":2,"total_tokens":602,"prompt_tokens_details":{"cached_tokens":100}}"#,
                [600, 100, 2, 0],
            ),
            (
                "both beside",
                r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":117,"prompt_tokens_details":{"cached_tokens":100},"completion_tokens_details":{"reasoning_tokens":10}}"#,
                [105, 100, 12, 10],
            ),
            (
                "equal by chance",
                r#"{"prompt_tokens":50,"completion_tokens":2,"total_tokens":62,"prompt_tokens_details":{"cached_tokens":10},"completion_tokens_details":{"reasoning_tokens":10}}"#,
                [50, 10, 12, 10],
            ),
        ];
        for (host, raw, expected) in rows {
            let usage = Usage::from_openai(RawValue::parse(raw.as_bytes()).unwrap());
            assert_eq!([usage.input_total, usage.cache_read, usage.output_total, usage.reasoning], *expected, "{host}");
        }
    }

    /// The short way reads what the walk reads, or leaves the object to it.
    #[test]
    fn plain_objects_are_read_as_all_are() {
        let details = r#""prompt_tokens_details":{"cached_tokens":2,"audio_tokens":null},"total_tokens":9"#;
        let rows = [
            (format!(r#"{{"prompt_tokens":7,"completion_tokens":2,{details}}}"#), true),
            (format!("{{ \"input_tokens\" : 7 ,\n \"x\":0, {details} }}"), true),
            (r#"{"total_tokens":123456789012345,"output_tokens":0}"#.into(), true),
            (r#"{"prompt_tokens":7,"prompt_tokens_details":null}"#.into(), true),
            (r#"{"prompt_tokens":1234567890123456}"#.into(), false),
            (r#"{"prompt_tokens":7,"cost":0.5}"#.into(), false),
            (r#"{"prompt_tokens":"7"}"#.into(), false),
            (r#"{"prompt_tokens":-7}"#.into(), false),
            (r#"{"prompt_tokens":7e1}"#.into(), false),
            (r#"{"prompt_tokens":7,"service_tier":"default"}"#.into(), false),
            (r#"{"prompt_tokens":7,"x":{"prompt_tokens":8}}"#.into(), false),
            (r#"{"prompt_tokens":7,"x\"":1,"y\\":2}"#.into(), false),
            (r#"{"completion_tokens_details":{"x":{"reasoning_tokens":1}}}"#.into(), false),
            ("{}".into(), false),
            ("null".into(), false),
        ];
        for (text, is_plain) in rows {
            let raw = RawValue::parse(text.as_bytes()).unwrap();
            let (mut plain, mut walked) = (Counts::default(), Counts::default());
            walked.walk(raw);
            assert_eq!(plain.read_plain(raw.bytes()), is_plain, "{text}");
            assert!(!is_plain || plain == walked, "{text}");
            assert_eq!(Counts::of(raw), walked, "{text}");
        }
    }

    #[test]
    fn fresh_input_is_what_no_cache_touched() {
        let usage = Usage {
            input_total: 20,
            cache_read: 80,
            cache_write_5m: 1,
            cache_write_1h: 2,
            output_total: 9,
            ..Usage::default()
        };
        let usage = usage.with_cache_outside();
        assert_eq!((usage.input_total, usage.input_fresh(), usage.cache_write(), usage.total()), (103, 20, 3, 112));
        assert_eq!(usage.settled(usage.total(), false), usage);
    }
}
