//! The content of a response, independent of the format.

use serde_json::Value;

use super::kind::Kind;
use super::knobs::{Knobs, Say};
use super::request::{ParsedRequest, Reasoning, Tool};
use super::schema;
use super::stamp;
use super::templates::Splice;

/// The tokens of the usual answer. Longer answers start over.
const WORDS: [&str; 17] = [
    " The",
    " mock",
    " upstream",
    " answers",
    " with",
    " the",
    " same",
    " words",
    " each",
    " time",
    ",",
    " so",
    " a",
    " test",
    " can",
    " tell",
    ".",
];

/// What the mock thinks, token by token.
pub(crate) const THOUGHTS: [&str; 9] = ["Nothing", " to", " think", " about", ":", " the", " words", " are", " fixed"];

const REFUSAL: [&str; 9] = ["I", "'m", " sorry", ",", " but", " I", " can't", " help", "."];

/// A text, as the pieces in which a stream sends it. Every piece is escaped for a JSON string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// The first so many of the usual words.
    Usual(usize),
    /// So many blank time stamps.
    Stamps(usize),
    Refusal,
    Pieces(Vec<String>),
}

impl Text {
    /// Returns `text` cut after every space.
    fn words_of(text: &str) -> Text {
        Text::Pieces(text.split_inclusive(' ').map(escape).collect())
    }

    /// Returns `text` cut into pieces of a few characters, as models stream JSON.
    fn bits_of(text: &str) -> Text {
        let chars: Vec<char> = text.chars().collect();
        Text::Pieces(chars.chunks(6).map(|bit| escape(&bit.iter().collect::<String>())).collect())
    }

    /// Returns the number of pieces, each of which counts as a token.
    pub(crate) fn tokens(&self) -> usize {
        match self {
            Text::Usual(n) | Text::Stamps(n) => *n,
            Text::Refusal => REFUSAL.len(),
            Text::Pieces(pieces) => pieces.len(),
        }
    }

    /// Returns a piece by its number, from 0.
    pub(crate) fn piece(&self, i: usize) -> &str {
        match self {
            Text::Usual(_) if i == 0 => WORDS[0].trim_start(),
            Text::Usual(_) => WORDS[i % WORDS.len()],
            Text::Stamps(_) => stamp::BLANK,
            Text::Refusal => REFUSAL[i],
            Text::Pieces(pieces) => &pieces[i],
        }
    }

    /// Returns all pieces in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &str> {
        (0..self.tokens()).map(|i| self.piece(i))
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Text::Usual(n) | Text::Stamps(n) => *n = len.min(*n),
            Text::Refusal => {}
            Text::Pieces(pieces) => pieces.truncate(len),
        }
    }
}

/// The whole text in one hole.
impl Splice for Text {
    fn splice(&self, out: &mut Vec<u8>) {
        for piece in self.pieces() {
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The changing part of its ids.
    pub id: String,
    /// Escaped.
    pub name: String,
    /// The arguments as JSON text, or the input of a custom tool.
    pub input: String,
    /// The same, as a stream sends it.
    pub pieces: Text,
    /// A custom tool of the Responses format: its input is free text.
    pub custom: bool,
}

/// The content of an answer: a text, or calls of tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Text),
    Refusal(Text),
    Calls(Vec<Call>),
}

/// Why the answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Tools,
    Refusal,
}

/// Token counts. `input` holds `cached`, and `output` holds `reasoning`, as in the OpenAI formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// The answer to one request, before any format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The changing part of every id.
    pub id: String,
    pub reasoning: Option<Reasoning>,
    pub content: Content,
    pub finish: Finish,
    pub usage: Usage,
}

impl Answer {
    /// Makes the answer to a request of this kind.
    pub(crate) fn new(kind: Kind, req: &ParsedRequest, knobs: &Knobs) -> Answer {
        let (content, finish) = content(kind, req, knobs);
        let visible = match &content {
            Content::Text(text) | Content::Refusal(text) => text.tokens(),
            Content::Calls(calls) => calls.iter().map(|call| call.pieces.tokens()).sum(),
        } as u64;
        let reasoning = if req.reasoning.is_some() { THOUGHTS.len() as u64 } else { 0 };
        let cached = if knobs.cached { req.input_tokens / 2 } else { 0 };
        Answer {
            id: id(req.seed, 0),
            reasoning: req.reasoning,
            content,
            finish,
            usage: Usage { input: req.input_tokens, cached, output: (reasoning + visible).max(1), reasoning },
        }
    }
}

fn content(kind: Kind, req: &ParsedRequest, knobs: &Knobs) -> (Content, Finish) {
    let mut text = match knobs.say {
        Some(Say::Refusal) => return (Content::Refusal(Text::Refusal), Finish::Refusal),
        Some(Say::Echo) => Text::words_of(&req.last_user_text(kind)),
        Some(Say::Stamp) => Text::Stamps(knobs.tokens.map_or(WORDS.len(), |n| n as usize)),
        None if !req.tools.is_empty() => return (Content::Calls(calls(req, knobs)), Finish::Tools),
        None => match &req.schema {
            Some(schema) => Text::bits_of(&schema::example(schema)),
            None => Text::Usual(knobs.tokens.map_or(WORDS.len(), |n| n as usize)),
        },
    };
    let limit = req.max_tokens.unwrap_or(u64::MAX);
    let cut = text.tokens() as u64 > limit;
    if cut {
        text.truncate(limit as usize);
    }
    (Content::Text(text), if cut || knobs.length { Finish::Length } else { Finish::Stop })
}

/// Returns one call of the first tool; or two, of the first two tools, or of the only one twice.
fn calls(req: &ParsedRequest, knobs: &Knobs) -> Vec<Call> {
    let count = if knobs.parallel && req.parallel { 2 } else { 1 };
    req.tools.iter().cycle().take(count).enumerate().map(|(i, tool)| call(tool, id(req.seed, i as u64 + 1))).collect()
}

fn call(tool: &Tool, id: String) -> Call {
    let (input, custom) = match &tool.schema {
        Some(schema) => (schema::example(schema), false),
        None => ("some input\nin two lines".to_owned(), true),
    };
    Call { id, name: escape(&tool.name), pieces: Text::bits_of(&input), input, custom }
}

/// `text` as the inside of a JSON string.
pub(crate) fn escape(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// 16 hex digits from the request and the number of the thing in its answer.
fn id(seed: u64, number: u64) -> String {
    // The mixing step of splitmix64, so that neighbours look different.
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", z ^ (z >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "The mock upstream answers with the same words each time, so a test can tell.";

    fn answer(rest: &str, words: &str) -> Answer {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"say \"a\" now"}}]{rest}}}"#);
        let mut knobs = Knobs::default();
        knobs.read_model(&format!("mock-{words}"));
        Answer::new(Kind::Chat, &ParsedRequest::read(Kind::Chat, body.as_bytes()).unwrap(), &knobs)
    }

    fn whole(text: &Text) -> String {
        let mut out = Vec::new();
        text.splice(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts() {
        let check = |rest: &str, words: &str, expected: &str, finish: Finish| {
            let got = answer(rest, words);
            let Content::Text(text) = &got.content else { panic!("{got:?}") };
            assert_eq!((whole(text).as_str(), got.finish), (expected, finish), "{rest} {words}");
            assert_eq!(got.usage.output, (text.tokens() as u64).max(1), "{rest} {words}");
        };
        check("", "", USUAL, Finish::Stop);
        check("", "length", USUAL, Finish::Length);
        check(r#","max_tokens":3"#, "", "The mock upstream", Finish::Length);
        check(r#","max_tokens":17"#, "", USUAL, Finish::Stop);
        check("", "tokens-19", &format!("{USUAL} The mock"), Finish::Stop);
        check("", "tokens-0", "", Finish::Stop);
        check("", "stamp-tokens-2", " @0000000000000000 @0000000000000000", Finish::Stop);
        check("", "echo", r#"say \"a\" now"#, Finish::Stop);
        let schema = r#","response_format":{"type":"json_schema","json_schema":{"schema":{"required":["a"],"properties":{"a":{"type":"integer"}}}}}"#;
        check(schema, "", r#"{\"a\":1}"#, Finish::Stop);
    }

    #[test]
    fn tool_calls() {
        let tools = r#","tools":[{"type":"function","function":{"name":"f\"","parameters":{"required":["a"]}}}]"#;
        let Content::Calls(one) = answer(tools, "").content else { panic!() };
        assert_eq!((one.len(), one[0].name.as_str(), one[0].input.as_str()), (1, r#"f\""#, r#"{"a":"some a"}"#));
        assert_eq!(whole(&one[0].pieces), escape(&one[0].input));
        let Content::Calls(two) = answer(tools, "parallel").content else { panic!() };
        assert_eq!(two.len(), 2);
        assert_ne!(two[0].id, two[1].id);
        let Content::Calls(one) = answer(&format!(r#","parallel_tool_calls":false{tools}"#), "parallel").content else {
            panic!()
        };
        assert_eq!(one.len(), 1);
        assert!(matches!(answer(tools, "echo").content, Content::Text(_)));
        assert!(matches!(answer(tools, "refusal").content, Content::Refusal(_)));
    }

    #[test]
    fn usage_adds_up() {
        let got = answer(r#","reasoning_effort":"low""#, "cached-tokens-5").usage;
        assert_eq!((got.reasoning, got.output), (9, 14));
        assert_eq!(got.cached, got.input / 2);
    }
}
