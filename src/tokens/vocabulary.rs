//! Which vocabulary a model counts with, by its name, and how well that is known.
//!
//! OpenAI publishes its vocabularies. Other vendors are counted with `o200k_base` and a factor,
//! which is a guess and is marked as one ([`Model::published`]).

/// Words that a text is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// `o200k_base`; `o200k_harmony` of gpt-oss has the same words, and other control tokens, which
    /// no text holds.
    O200k,
    /// `cl100k_base`.
    Cl100k,
}

/// Whose rules define the text around the words: messages, tools, pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    OpenAi,
    Anthropic,
    Google,
    /// No rule is published; OpenAI's are taken.
    Other,
}

/// How a vendor charges a picture. [`super::picture`] has the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pictures {
    /// OpenAI: so much for any, and so much for each tile of 512 by 512.
    Tiles { base: u32, tile: u32 },
    /// OpenAI: patches of 32 by 32, up to so many, in hundredths of a token.
    Patches { most: u32, hundredths: u32 },
    /// Anthropic: width by height by 750, after the longer side was made to fit.
    Area { longest: u32, most: u32 },
    /// Google: so much for each tile of 768 by 768.
    Squares { tile: u32 },
    /// The same for any (`DEFAULT_IMAGE_TOKEN_COUNT`).
    Flat,
}

/// The facts about tokens that follow from a model's name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    pub vocabulary: Vocabulary,
    /// Whether the vocabulary is the model's own, so that text is counted exactly.
    pub published: bool,
    pub vendor: Vendor,
    pub pictures: Pictures,
    /// Tokens of the model for 100 of the vocabulary.
    pub percent: u64,
    /// Tokens of each message beside its words.
    pub message: u64,
    /// Whether it thinks before it writes, and shows nothing or little of that.
    pub reasons: bool,
}

const TILES: Pictures = Pictures::Tiles { base: 85, tile: 170 };
const MINI: Pictures = Pictures::Tiles { base: 2833, tile: 5667 };
const REASONING: Pictures = Pictures::Tiles { base: 75, tile: 150 };
const FIVE: Pictures = Pictures::Tiles { base: 70, tile: 140 };
const PATCHES_120: Pictures = Pictures::Patches { most: 2500, hundredths: 120 };
const PATCHES_162: Pictures = Pictures::Patches { most: 1536, hundredths: 162 };
const PATCHES_172: Pictures = Pictures::Patches { most: 1536, hundredths: 172 };
const PATCHES_246: Pictures = Pictures::Patches { most: 1536, hundredths: 246 };
const AREA: Pictures = Pictures::Area { longest: 1568, most: 1600 };
const LARGE_AREA: Pictures = Pictures::Area { longest: 2576, most: 4784 };
const SQUARES: Pictures = Pictures::Squares { tile: 258 };

const fn open_ai(vocabulary: Vocabulary, pictures: Pictures) -> Model {
    Model { vocabulary, published: true, vendor: Vendor::OpenAi, pictures, percent: 100, message: 3, reasons: false }
}

const fn other(vendor: Vendor, pictures: Pictures, percent: u64) -> Model {
    Model { vocabulary: Vocabulary::O200k, published: false, vendor, pictures, percent, message: 3, reasons: false }
}

const fn o200k(pictures: Pictures) -> Model {
    open_ai(Vocabulary::O200k, pictures)
}

const fn reasoning(pictures: Pictures) -> Model {
    Model { reasons: true, ..o200k(pictures) }
}

const fn cl100k(pictures: Pictures) -> Model {
    open_ai(Vocabulary::Cl100k, pictures)
}

const fn claude(pictures: Pictures, percent: u64) -> Model {
    other(Vendor::Anthropic, pictures, percent)
}

const UNKNOWN: Model = other(Vendor::Other, Pictures::Flat, 100);

/// Beginnings of names; the longest that fits counts.
const MODELS: &[(&str, Model)] = &[
    ("gpt-5", reasoning(FIVE)),
    ("gpt-5-chat", o200k(FIVE)),
    ("gpt-5-mini", reasoning(PATCHES_162)),
    ("gpt-5-nano", reasoning(PATCHES_246)),
    ("gpt-5.2", reasoning(PATCHES_120)),
    ("gpt-5.3", reasoning(PATCHES_120)),
    ("gpt-5.4", reasoning(PATCHES_120)),
    ("gpt-5.4-mini", reasoning(PATCHES_162)),
    ("gpt-5.4-nano", reasoning(PATCHES_246)),
    ("gpt-5.5", reasoning(PATCHES_120)),
    ("gpt-5.6", reasoning(PATCHES_120)),
    ("gpt-4.5", o200k(TILES)),
    ("gpt-4.1", o200k(TILES)),
    ("gpt-4.1-mini", o200k(PATCHES_162)),
    ("gpt-4.1-nano", o200k(PATCHES_246)),
    ("gpt-4o", o200k(TILES)),
    ("gpt-4o-mini", o200k(MINI)),
    ("chatgpt-4o", o200k(TILES)),
    ("chatgpt-", o200k(TILES)),
    ("gpt-4", cl100k(TILES)),
    ("gpt-3.5", cl100k(TILES)),
    ("gpt-3.5-turbo-0301", Model { message: 4, ..cl100k(TILES) }),
    ("gpt-35", cl100k(TILES)),
    ("gpt-oss", Model { vendor: Vendor::Other, ..o200k(Pictures::Flat) }),
    ("gpt-", reasoning(FIVE)),
    ("o1", reasoning(REASONING)),
    ("o3", reasoning(REASONING)),
    ("o4", reasoning(REASONING)),
    ("o4-mini", reasoning(PATCHES_172)),
    ("codex-mini", reasoning(PATCHES_172)),
    ("computer-use-preview", o200k(Pictures::Tiles { base: 65, tile: 129 })),
    ("text-embedding-3", cl100k(Pictures::Flat)),
    ("text-embedding-ada", cl100k(Pictures::Flat)),
    ("claude", claude(LARGE_AREA, 135)),
    ("claude-2", claude(AREA, 115)),
    ("claude-3", claude(AREA, 115)),
    ("claude-instant", claude(AREA, 115)),
    ("claude-opus-4", claude(AREA, 115)),
    ("claude-opus-4-7", claude(LARGE_AREA, 135)),
    ("claude-opus-4.7", claude(LARGE_AREA, 135)),
    ("claude-opus-4-8", claude(LARGE_AREA, 135)),
    ("claude-opus-4.8", claude(LARGE_AREA, 135)),
    ("claude-sonnet-4", claude(AREA, 115)),
    ("claude-haiku-4", claude(AREA, 115)),
    ("gemini", other(Vendor::Google, SQUARES, 100)),
    ("gemma", other(Vendor::Google, Pictures::Flat, 100)),
    ("deepseek", UNKNOWN),
    ("qwen", UNKNOWN),
    ("qwq", UNKNOWN),
    ("llama", UNKNOWN),
    ("meta-llama", UNKNOWN),
    ("mistral", UNKNOWN),
    ("ministral", UNKNOWN),
    ("magistral", UNKNOWN),
    ("codestral", UNKNOWN),
    ("devstral", UNKNOWN),
    ("mixtral", UNKNOWN),
    ("pixtral", UNKNOWN),
    ("grok", UNKNOWN),
    ("command", UNKNOWN),
    ("kimi", UNKNOWN),
    ("moonshot", UNKNOWN),
    ("glm", UNKNOWN),
    ("minimax", UNKNOWN),
    ("nova", UNKNOWN),
    ("phi", UNKNOWN),
    ("sonar", UNKNOWN),
];

/// Returns what is known of a model. A prefix is passed over: `openai/gpt-4o`,
/// `us.anthropic.claude-sonnet-4-5`, `ft:gpt-4o-mini:mine`, `databricks-claude-3-7-sonnet`. An
/// unknown name counts as the newest vocabulary, and as a guess.
pub fn of_model(name: &str) -> Model {
    // Longer ones are nobody's model.
    let name: String = name.chars().take(256).flat_map(char::to_lowercase).collect();
    let name = name.rsplit('/').next().unwrap_or_default();
    let mut rest = name;
    loop {
        if let Some(model) = longest(rest) {
            return model;
        }
        match rest.find(['.', ':', '-', '_', '@', ' ']) {
            Some(at) => rest = &rest[at + 1..],
            None => return UNKNOWN,
        }
    }
}

fn longest(name: &str) -> Option<Model> {
    let fitting = MODELS.iter().filter(|(prefix, _)| name.starts_with(prefix));
    fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, model)| *model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let rows = [
            ("gpt-4o", Vocabulary::O200k, true, TILES),
            ("openai/GPT-4o-mini-2024-07-18", Vocabulary::O200k, true, MINI),
            ("gpt-4-0613", Vocabulary::Cl100k, true, TILES),
            ("gpt-4.1-nano", Vocabulary::O200k, true, PATCHES_246),
            ("gpt-35-turbo-16k", Vocabulary::Cl100k, true, TILES),
            ("gpt-5-2025-08-07", Vocabulary::O200k, true, FIVE),
            ("gpt-7", Vocabulary::O200k, true, FIVE),
            ("o3-mini", Vocabulary::O200k, true, REASONING),
            ("ft:gpt-3.5-turbo:mine::1", Vocabulary::Cl100k, true, TILES),
            ("openai.gpt-5.5", Vocabulary::O200k, true, PATCHES_120),
            ("us.anthropic.claude-sonnet-4-5-v1:0", Vocabulary::O200k, false, AREA),
            ("databricks-claude-3-7-sonnet", Vocabulary::O200k, false, AREA),
            ("claude-opus-4-8", Vocabulary::O200k, false, LARGE_AREA),
            ("models/gemini-2.5-flash", Vocabulary::O200k, false, SQUARES),
            ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", Vocabulary::O200k, false, Pictures::Flat),
            ("deepseek-ai/DeepSeek-V3", Vocabulary::O200k, false, Pictures::Flat),
            ("", Vocabulary::O200k, false, Pictures::Flat),
            ("my-own", Vocabulary::O200k, false, Pictures::Flat),
        ];
        for (name, vocabulary, published, pictures) in rows {
            let model = of_model(name);
            assert_eq!(
                (model.vocabulary, model.published, model.pictures),
                (vocabulary, published, pictures),
                "{name}"
            );
        }
        assert_eq!(of_model("gpt-3.5-turbo-0301").message, 4);
        of_model(&"-".repeat(10 << 20));
    }
}
