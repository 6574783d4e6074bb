//! Counts the tokens of a text as the vendor does, whatever the text is.
//!
//! tiktoken-rs does the counting, but is never given a text of any size: its regular expressions
//! give up on long runs of one kind of character, by a panic, and its time on them grows faster
//! than they do. So a text is cut, and only where the vocabularies' own patterns cut it whatever
//! is around: behind a letter or digit and before something that can't belong to the same
//! piece. Since the patterns look at nothing behind them, and at one character before them only
//! after white space, the parts have together exactly the tokens of the whole.
//!
//! A stretch of [`LONGEST`] bytes without such a place is no language. It is cut anywhere, which
//! costs a token or so at each cut, and of a very long one only samples are counted;
//! [`Count::exact`] returns.

use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

use super::vocabulary::Vocabulary;

/// Parts are a little longer than this.
const PART: usize = 4 << 10;
/// The longest part.
const LONGEST: usize = 64 << 10;
/// Of a stretch that can't be cut, so many parts are counted.
const SAMPLES: usize = 8;

/// Tokens of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub tokens: u64,
    /// False where the text had to be cut at a place of no meaning.
    pub exact: bool,
}

/// Counts a text of any length. Control tokens such as `<|endoftext|>` are text.
///
/// Takes about a second for 16 MB, in an optimised build. The first call for a vocabulary loads it,
/// which takes 0.2 s and up to 45 MB.
pub fn count(vocabulary: Vocabulary, text: &str) -> Count {
    let bpe = match vocabulary {
        Vocabulary::O200k => o200k_base_singleton(),
        Vocabulary::Cl100k => cl100k_base_singleton(),
    };
    in_parts(bpe, text, PART)
}

fn in_parts(bpe: &CoreBPE, text: &str, length: usize) -> Count {
    let mut count = Count { tokens: 0, exact: true };
    let mut rest = text;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(next_cut(rest, length));
        if part.len() <= LONGEST {
            count.tokens += bpe.count_ordinary(part) as u64;
        } else {
            count.tokens += sample(bpe, part);
            count.exact = false;
        }
        rest = behind;
    }
    count
}

/// Returns the first place at or behind `from` where the patterns surely cut; the end of the text
/// if there is none.
fn next_cut(text: &str, from: usize) -> usize {
    let mut before = None;
    for (at, next) in text[floor(text, from)..].char_indices() {
        if before.is_some_and(|before| cuts(before, next)) {
            return floor(text, from) + at;
        }
        before = Some(next);
    }
    text.len()
}

/// Returns whether any text is cut between these two.
///
/// No alternative of a pattern matches across: those that take letters take only letters, marks and
/// an apostrophe behind the first, those that take digits only digits. Being sure of some is
/// enough, so the lists are short.
fn cuts(before: char, next: char) -> bool {
    match before.is_ascii_digit() {
        true => !next.is_ascii_digit() && (is_apart(next) || is_letter(next)),
        false => is_letter(before) && is_apart(next),
    }
}

/// Surely a letter, and no mark.
fn is_letter(c: char) -> bool {
    matches!(c,
        'a'..='z' | 'A'..='Z' | 'à'..='ö' | 'ø'..='ÿ'
        // Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai.
        | 'α'..='ω' | 'а'..='я' | 'А'..='Я' | 'א'..='ת' | 'ف'..='ي' | 'अ'..='ह' | 'ก'..='ะ'
        // Kana, Han, Hangul.
        | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿' | '가'..='힣')
}

/// Surely neither letter nor mark nor the apostrophe of `don't`. ASCII digits are, and other digits
/// are not.
fn is_apart(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='&' | '('..='@' | '['..='`' | '{'..='~' | '—' | '…' | '　'..='〃' | '「' | '」' | '！' | '，' | '：' | '？')
}

/// Returns the tokens of a stretch that can't be cut, by parts of it at even distances.
fn sample(bpe: &CoreBPE, stretch: &str) -> u64 {
    let parts = stretch.len().div_ceil(LONGEST);
    let (mut tokens, mut bytes) = (0, 0);
    for n in 0..parts.min(SAMPLES) {
        let start = floor(stretch, n * parts / parts.min(SAMPLES) * LONGEST);
        let part = &stretch[start..floor(stretch, start + LONGEST)];
        tokens += bpe.count_ordinary(part) as u128;
        bytes += part.len() as u128;
    }
    (tokens * stretch.len() as u128).div_ceil(bytes.max(1)) as u64
}

/// Returns the start of the character at `at`, or the end of the text.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    const BOTH: [Vocabulary; 2] = [Vocabulary::O200k, Vocabulary::Cl100k];

    fn whole(vocabulary: Vocabulary, text: &str) -> u64 {
        let bpe = match vocabulary {
            Vocabulary::O200k => o200k_base_singleton(),
            Vocabulary::Cl100k => cl100k_base_singleton(),
        };
        bpe.count_ordinary(text) as u64
    }

    const SAMPLES_OF_TEXT: &[&str] = &[
        "It's the 2nd of May, isn't it? They'VE said so; we'll see what I'd do in \"naïve\" cafés -- for $1,234.56!",
        "Falsches Üben von Xylophonmusik quält jeden größeren Zwerg. Straßenbahnhaltestelle, 3.000 €.",
        "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; ¿añoraba a su querido cachorro?",
        "Съешь же ещё этих мягких французских булок, да выпей чаю. Объявление №5.",
        "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
        "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق، ١٢٣.",
        "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
        "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णुवतार भगवान श्रीराम।",
        "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน จงฝ่าฟันพัฒนาวิชาการ",
        "色は匂へど散りぬるを、我が世誰ぞ常ならむ。カタカナとｶﾅ。「引用」",
        "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。１２３ＡＢＣ！",
        "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
        "👩‍👩‍👧‍👦 family, 🇩🇪 flag, 1️⃣ key, ✈️ e\u{301}\u{323} marks, \u{200d}\u{feff}",
        "fn main() {\n\tlet x: Vec<u8> = vec![0x1f; 1_000];\r\n    println!(\"{x:?}\"); // it's\n\n\n}\n",
        "{\"a\": [1, 2.5e-7, null, true],\n  \"deadBEEF00\": \"https://example.com/a/b?c=d&e=%20\"}\n",
        "SELECT * FROM t WHERE a<>'b''c' AND camelCaseHTTPServer=snake_case;",
        "<|endoftext|><|im_start|>system<|fim_prefix|>",
        "    \t indented \n \n\n   trailing   ",
        "aGVsbG8gd29ybGQ5MTI4LzMrYWJjZGVmZ2hpams=",
    ];

    #[test]
    fn samples_are_counted_as_tiktoken_rs_does() {
        for vocabulary in BOTH {
            for text in SAMPLES_OF_TEXT {
                let expected = Count { tokens: whole(vocabulary, text), exact: true };
                assert_eq!(count(vocabulary, text), expected, "{text}");
                // Long enough that it is cut.
                let long = text.repeat(3 * PART / text.len() + 1);
                assert_eq!(count(vocabulary, &long).tokens, whole(vocabulary, &long), "{text}");
            }
            let all = SAMPLES_OF_TEXT.join("\n").repeat(20);
            assert_eq!(count(vocabulary, &all), Count { tokens: whole(vocabulary, &all), exact: true });
        }
    }

    /// What the lists of characters say is what the patterns say.
    #[test]
    fn the_lists_are_true() {
        let letter = Regex::new(r"^\p{L}$").unwrap();
        let joins = Regex::new(r"^[\p{L}\p{M}']$").unwrap();
        let number = Regex::new(r"^\p{N}$").unwrap();
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            assert!(!is_letter(c) || letter.is_match(&text), "{c:?}");
            assert!(!is_apart(c) || !joins.is_match(&text), "{c:?}");
            assert!(!is_apart(c) || c.is_ascii_digit() || !number.is_match(&text), "{c:?}");
        }
    }

    /// Pieces whose neighbours matter: classes of the patterns, contractions, line ends, and what
    /// no list has.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "a",
                "B",
                "the",
                "XML",
                "é",
                "ß",
                "Ǆ",
                "ǅ",
                "ʰ",
                "日",
                "の",
                "한",
                "я",
                "ع",
                "\u{301}",
                "Ⓐ",
                "ª",
                "१",
                "½",
                "Ⅷ",
                "7",
                "12",
                "1234",
                "'",
                "'s",
                "'RE",
                "'ll",
                "’",
                " ",
                "  ",
                "\t",
                "\n",
                "\r\n",
                "\u{a0}",
                "\u{3000}",
                "\u{2028}",
                "!",
                "/",
                "//",
                "\n/",
                "_",
                "—",
                "，",
                "😀",
                "\u{200d}",
                "\0",
                "\u{e000}",
                "<|endoftext|>",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// Cut at every place where it may be cut, a text has the same tokens.
        #[test]
        fn cutting_changes_nothing(text in pieces(), length in 0usize..8) {
            for (vocabulary, bpe) in BOTH.into_iter().zip([o200k_base_singleton(), cl100k_base_singleton()]) {
                prop_assert_eq!(in_parts(bpe, &text, length).tokens, whole(vocabulary, &text));
            }
        }
    }

    /// Neither hangs nor kills: tiktoken-rs alone panics on these spaces, and takes minutes for
    /// others.
    #[test]
    fn ten_megabytes_of_one_character() {
        for text in [" ", "a", "\n", "!", "你", "😀", "\t", "\u{301}", "\t ", "日A", "1", "\r\n"] {
            let long = text.repeat((10 << 20) / text.len());
            for vocabulary in BOTH {
                let found = count(vocabulary, &long);
                let least = long.len() as u64 / 128;
                assert!(found.tokens >= least && found.tokens <= long.len() as u64, "{text:?}: {found:?}");
            }
        }
    }

    /// Stretches that can't be cut are about right.
    #[test]
    fn samples_of_long_stretches() {
        for (text, exact) in [("ab", false), ("你好", false), ("  ", false), ("ab ", true), ("ab1", true)] {
            let long = text.repeat(3 * LONGEST / text.len());
            for vocabulary in BOTH {
                let (found, expected) = (count(vocabulary, &long), whole(vocabulary, &long));
                assert_eq!(found.exact, exact, "{text}");
                assert!(
                    found.tokens.abs_diff(expected) <= if exact { 0 } else { expected / 100 + 8 },
                    "{text}: {found:?} {expected}"
                );
            }
        }
        assert_eq!(count(Vocabulary::O200k, ""), Count { tokens: 0, exact: true });
    }
}
