//! How one answer is to differ from the plain one.
//!
//! A knob is set in three places, each stronger than the one before: the flags of the process,
//! words in the model name (a gateway between a test and the mock forwards no unknown header, but
//! it forwards the model), and `x-mock-*` request headers.
//!
//! Words in a model name are what follows `mock`, cut at `-`, `_`, `.`, `/`, `:` and spaces; the
//! first word that is no knob ends the run, so that `mock-gpt-4o-2024-08-06` sets nothing.
//! `team/mock-delay-500-tokens-20` sets two knobs.
//!
//! | model words | header | meaning |
//! |---|---|---|
//! | `delay-500` | `x-mock-delay-ms: 500` | wait before the answer |
//! | `tokens-200` | `x-mock-tokens: 200` | length of a text answer, at most [`MAX_TOKENS`] |
//! | `interval-20` | `x-mock-token-interval-ms: 20` | wait before each event that carries content |
//! | `429` | `x-mock-status: 429` | an error body of the format (400 to 599) |
//! | `reset`, `half-head`, ... | `x-mock-fault: reset` | see [`Fault`] and [`Selector`] |
//! | `error-first`, `error-mid` | `x-mock: error-first` | see [`ErrorAt`] |
//! | `echo`, `refusal`, `stamp` | `x-mock: echo` | see [`Say`] |
//! | `length` | `x-mock: length` | the answer ends at its token limit |
//! | `parallel` | `x-mock: parallel` | two tool calls instead of one |
//! | `cached` | `x-mock: cached` | half of the input tokens were read from a cache |
//!
//! `x-mock` takes any of the model words, separated as in a model name.

use std::str::FromStr;

pub use crate::faults::Fault;

/// The longest text answer, in tokens: an answer is built in memory before it is sent.
pub const MAX_TOKENS: u32 = 20_000;

/// Where an error is placed inside a response of status 200. An answer without a stream is the
/// error body, whichever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAt {
    /// After the opening events, before any content.
    First,
    /// Half way through the content.
    Mid,
}

/// The text of a response, if not the usual words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// The last text of the user, even where tools are offered.
    Echo,
    /// The model declines, in the way of the format.
    Refusal,
    /// Each token of a text is a time stamp ([`crate::stamp`]), also where tools are offered.
    Stamp,
}

/// The value of `--fault` and `x-mock-fault`: the name of a [`Fault`], a status, or the place of an
/// error ([`ErrorAt`]). With `:N` behind it, it holds for the first N requests of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selector {
    fault: Option<Fault>,
    status: Option<u16>,
    error: Option<ErrorAt>,
    times: Option<u32>,
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Selector, String> {
        let (name, times) = match text.split_once(':') {
            None => (text, None),
            Some((name, times)) => {
                let times = times.parse().map_err(|_| format!("`{times}` in `{text}` is not a number of requests"))?;
                (name, Some(times))
            }
        };
        let selector = Selector { times, ..Selector::default() };
        Ok(match name {
            "error-first" => Selector { error: Some(ErrorAt::First), ..selector },
            "error-mid" => Selector { error: Some(ErrorAt::Mid), ..selector },
            _ if name.bytes().all(|byte| byte.is_ascii_digit()) => Selector { status: Some(status(name)?), ..selector },
            _ => Selector { fault: Some(one_that_ends(name.parse()?, times)?), ..selector },
        })
    }
}

/// Refuses a number of requests with a fault of the process's address, which holds as long as it runs.
fn one_that_ends(fault: Fault, times: Option<u32>) -> Result<Fault, String> {
    let is_of_the_address =
        fault.is_of_the_listener() || matches!(fault, Fault::TlsFailure | Fault::ExpiredCertificate);
    match times {
        Some(_) if is_of_the_address => {
            Err(format!("`{}` holds for the whole process, so that it takes no number of requests", fault.name()))
        }
        _ => Ok(fault),
    }
}

/// Every knob; the default is the plain answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Knobs {
    /// Milliseconds before the first byte of the answer.
    pub delay_ms: u32,
    /// Tokens of a text answer; `None` is the usual length.
    pub tokens: Option<u32>,
    /// Milliseconds before each event that carries content.
    pub interval_ms: u32,
    /// An error status instead of an answer; 200 takes back what a weaker place has set.
    pub status: Option<u16>,
    /// The fault of the connection, the framing or the content.
    pub fault: Option<Fault>,
    /// For how many requests of the process `fault`, `status` and `error` hold; `None` is all.
    pub fault_times: Option<u32>,
    /// An error inside a response of status 200.
    pub error: Option<ErrorAt>,
    /// A text other than the usual words.
    pub say: Option<Say>,
    /// The response ends by its length limit, whatever its length.
    pub length: bool,
    /// The response has two tool calls, if the request allows it.
    pub parallel: bool,
    /// Half of the input tokens are reported as read from the cache.
    pub cached: bool,
}

impl Knobs {
    /// Sets a fault.
    pub fn select(&mut self, selector: Selector) {
        let Selector { fault, status, error, times } = selector;
        self.fault = fault.or(self.fault);
        self.status = status.or(self.status);
        self.error = error.or(self.error);
        self.fault_times = times;
    }

    /// Decides what a fault that depends on the number of requests means for the `turn`th request of
    /// the process, from 0.
    pub(crate) fn settle(&mut self, turn: u32) {
        if self.fault_times.is_some_and(|times| turn >= times) {
            (self.fault, self.status, self.error) = (None, None, None);
        }
        match self.fault {
            Some(Fault::Flapping) => {
                self.fault = None;
                self.status = Fault::flaps_at(turn).then_some(500);
            }
            Some(Fault::NoRetryAfter | Fault::Quota) => self.status = Some(429),
            Some(Fault::ContextLength | Fault::ContentFilter) => self.status = Some(400),
            _ => {}
        }
    }

    /// Sets what the words of a model name ask for. What is no knob is part of a name, so nothing
    /// is an error here.
    pub fn read_model(&mut self, model: &str) {
        // Nearly every name ends here.
        if memchr::memmem::find(model.as_bytes(), b"mock").is_none() {
            return;
        }
        let mut words = model.split(SEPARATORS).peekable();
        while let Some(word) = words.next() {
            if word == "mock" {
                self.read_run(&mut words);
            }
        }
    }

    /// Sets what the `x-mock-*` headers ask for; other headers are passed over.
    ///
    /// # Errors
    /// A sentence for the caller when a value of such a header cannot be used.
    pub fn read_header(&mut self, name: &str, value: &[u8]) -> Result<(), String> {
        let Some(knob) = strip_prefix_any_case(name, "x-mock") else { return Ok(()) };
        let value = std::str::from_utf8(value).map_err(|_| format!("the value of `{name}` is not text"))?.trim();
        let number = |high: u32| match value.parse::<u32>() {
            Ok(n) if n <= high => Ok(n),
            _ => Err(format!("`{name}` is `{value}`; it takes a number from 0 to {high}")),
        };
        match knob.to_ascii_lowercase().as_str() {
            "" => {
                let mut words = value.split(SEPARATORS).peekable();
                self.read_run(&mut words);
                if let Some(word) = words.next() {
                    return Err(format!("`{word}` in `{name}` is no word that the mock knows"));
                }
            }
            "-delay-ms" => self.delay_ms = number(u32::MAX)?,
            "-token-interval-ms" => self.interval_ms = number(u32::MAX)?,
            "-tokens" => self.tokens = Some(number(MAX_TOKENS)?),
            "-fault" => self.select(value.parse()?),
            "-status" => self.status = Some(status(value)?),
            _ => return Err(format!("`{name}` is no header that the mock knows")),
        }
        Ok(())
    }

    /// Takes words as long as they are knobs.
    fn read_run<'a>(&mut self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str> + Clone>) {
        loop {
            let mut ahead = words.clone();
            if !self.read_knob(&mut ahead) {
                return;
            }
            *words = ahead;
        }
    }

    /// Takes one knob of one or two words. False means that there is none, and that nothing was
    /// set.
    fn read_knob<'a>(&mut self, words: &mut (impl Iterator<Item = &'a str> + Clone)) -> bool {
        let Some(word) = words.next() else { return false };
        match word {
            "echo" => self.say = Some(Say::Echo),
            "refusal" => self.say = Some(Say::Refusal),
            "stamp" => self.say = Some(Say::Stamp),
            "length" => self.length = true,
            "parallel" => self.parallel = true,
            "cached" => self.cached = true,
            "delay" | "tokens" | "interval" => {
                let Some(n) = words.next().and_then(|n| n.parse::<u32>().ok()) else { return false };
                match word {
                    "delay" => self.delay_ms = n,
                    "tokens" => self.tokens = Some(n.min(MAX_TOKENS)),
                    _ => self.interval_ms = n,
                }
            }
            "error" => match words.clone().next() {
                Some("first") => (self.error, _) = (Some(ErrorAt::First), words.next()),
                Some("mid") => (self.error, _) = (Some(ErrorAt::Mid), words.next()),
                _ => return self.read_fault(word, words),
            },
            _ => match status(word) {
                Ok(status) => self.status = Some(status),
                Err(_) => return self.read_fault(word, words),
            },
        }
        true
    }

    /// Takes the longest name of a fault that begins with `word`; names have up to three words.
    fn read_fault<'a>(&mut self, word: &'a str, words: &mut (impl Iterator<Item = &'a str> + Clone)) -> bool {
        for more in [2, 1, 0] {
            let mut ahead = words.clone();
            let name: Vec<&str> = std::iter::once(word).chain(ahead.by_ref().take(more)).collect();
            if let Ok(fault) = name.join("-").parse() {
                *words = ahead;
                self.fault = Some(fault);
                return true;
            }
        }
        false
    }
}

const SEPARATORS: [char; 6] = ['-', '_', '.', '/', ':', ' '];

/// Returns an error status, or 200 for none.
pub fn status(value: &str) -> Result<u16, String> {
    match value.parse::<u16>() {
        Ok(n) if n == 200 || (400..600).contains(&n) => Ok(n),
        _ => Err(format!("`{value}` is not a status that the mock can answer; it takes 200 and 400 to 599")),
    }
}

fn strip_prefix_any_case<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    match name.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => Some(&name[prefix.len()..]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_model_name() {
        let check = |model: &str, expected: Knobs| {
            let mut knobs = Knobs::default();
            knobs.read_model(model);
            assert_eq!(knobs, expected, "model `{model}`");
        };
        let none = Knobs::default;
        check("gpt-4o", none());
        check("mock", none());
        check("mock-gpt-4o-2024-08-06", none());
        check("gpt-429", none());
        check("hammock-429", none());
        check("mock-429", Knobs { status: Some(429), ..none() });
        check("mock-299", none());
        check("mock-delay-500", Knobs { delay_ms: 500, ..none() });
        check("mock-delay-fast", none());
        check("team/mock-delay-500_tokens-20", Knobs { delay_ms: 500, tokens: Some(20), ..none() });
        check("mock-tokens-4000000000", Knobs { tokens: Some(MAX_TOKENS), ..none() });
        check("mock-interval-20-stall", Knobs { interval_ms: 20, fault: Some(Fault::Stall), ..none() });
        check("mock-slow-headers", Knobs { fault: Some(Fault::SlowHeaders), ..none() });
        check("mock-slow", none());
        check("mock-error-first", Knobs { error: Some(ErrorAt::First), ..none() });
        check("mock-error-mid", Knobs { error: Some(ErrorAt::Mid), ..none() });
        check("mock-error", none());
        check("mock-echo-cached", Knobs { say: Some(Say::Echo), cached: true, ..none() });
        check("mock-stamp-tokens-3", Knobs { say: Some(Say::Stamp), tokens: Some(3), ..none() });
        check("mock-refusal", Knobs { say: Some(Say::Refusal), ..none() });
        check("mock-gpt-length", none());
        check("claude-mock-parallel-length", Knobs { parallel: true, length: true, ..none() });
        check("mock-small-mock-500", Knobs { status: Some(500), ..none() });
        for fault in Fault::ALL {
            check(&format!("mock-{}", fault.name()), Knobs { fault: Some(*fault), ..none() });
            let more = Knobs { fault: Some(*fault), cached: true, ..none() };
            check(&format!("mock-{}-cached-x", fault.name()), more);
        }
    }

    #[test]
    fn headers() {
        let check = |name: &str, value: &str, expected: Result<Knobs, &str>| {
            let mut knobs = Knobs::default();
            let got = knobs.read_header(name, value.as_bytes()).map(|()| knobs);
            assert_eq!(got, expected.map_err(str::to_owned), "{name}: {value}");
        };
        let none = Knobs::default;
        check("x-request-id", "x", Ok(none()));
        check("X-Mock-Delay-Ms", "7", Ok(Knobs { delay_ms: 7, ..none() }));
        check("x-mock-tokens", "3", Ok(Knobs { tokens: Some(3), ..none() }));
        check("x-mock-token-interval-ms", " 20 ", Ok(Knobs { interval_ms: 20, ..none() }));
        check("x-mock-status", "529", Ok(Knobs { status: Some(529), ..none() }));
        check("x-mock-fault", "bad-head", Ok(Knobs { fault: Some(Fault::BadHead), ..none() }));
        check("x-mock-fault", "503", Ok(Knobs { status: Some(503), ..none() }));
        check("x-mock-fault", "stall:2", Ok(Knobs { fault: Some(Fault::Stall), fault_times: Some(2), ..none() }));
        check("x-mock-fault", "error-mid", Ok(Knobs { error: Some(ErrorAt::Mid), ..none() }));
        check("x-mock-fault", "stall:x", Err("`x` in `stall:x` is not a number of requests"));
        check("x-mock", "error-mid tokens-5", Ok(Knobs { error: Some(ErrorAt::Mid), tokens: Some(5), ..none() }));
        check("x-mock", "echo-nonsense", Err("`nonsense` in `x-mock` is no word that the mock knows"));
        check("x-mock-tokens", "-1", Err("`x-mock-tokens` is `-1`; it takes a number from 0 to 20000"));
        check("x-mock-colour", "1", Err("`x-mock-colour` is no header that the mock knows"));
        check(
            "x-mock-status",
            "302",
            Err("`302` is not a status that the mock can answer; it takes 200 and 400 to 599"),
        );
    }

    #[test]
    fn faults_that_depend_on_the_number_of_requests() {
        let at = |selector: &str, turn: u32| {
            let mut knobs = Knobs::default();
            knobs.select(selector.parse().unwrap());
            knobs.settle(turn);
            (knobs.fault, knobs.status)
        };
        assert_eq!((at("500:2", 1), at("500:2", 2)), ((None, Some(500)), (None, None)));
        assert_eq!(at("reset-head:1", 0), (Some(Fault::ResetHead), None));
        let flaps: Vec<bool> = (0..12).map(|turn| at("flapping", turn).1.is_some()).collect();
        assert_eq!(flaps, [[true; 5].as_slice(), &[false; 5], &[true; 2]].concat());
    }

    #[test]
    fn the_stronger_place_wins() {
        let mut knobs = Knobs { status: Some(500), tokens: Some(1), ..Knobs::default() };
        knobs.read_model("mock-tokens-2");
        knobs.read_header("x-mock-status", b"200").unwrap();
        assert_eq!((knobs.status, knobs.tokens), (Some(200), Some(2)));
    }
}
