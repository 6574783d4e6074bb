use base64::Engine as _;

use super::*;

fn prompt_of(body: &str) -> u64 {
    prompt(body.as_bytes())
}

fn chat(text: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":{}}}]}}"#, serde_json::to_string(text).unwrap())
}

#[test]
fn what_an_answer_may_have() {
    let ask = |max_output, generates| estimate(&Request { body: b"", max_output, answers: 1, generates });
    assert_eq!(ask(Some(7), true), Need { prompt: 0, output: 7 });
    assert_eq!(ask(None, true), Need { prompt: 0, output: ASSUMED_OUTPUT });
    assert_eq!(ask(Some(7), false), Need { prompt: 0, output: 0 });
    let several = |max_output, answers| estimate(&Request { body: b"", max_output, answers, generates: true }).output;
    assert_eq!((several(Some(7), 3), several(None, 2), several(Some(2), u64::MAX)), (21, 2 * ASSUMED_OUTPUT, u64::MAX));
}

/// Data is not text, in each of the places where formats put it.
#[test]
fn pictures_and_documents() {
    let base64 = |start: &str, n: usize| start.to_owned() + &"QUJD".repeat(n / 4);
    let bare = prompt_of(&chat("what is this"));
    let picture = base64("iVBORw0KGgo", 2_000_000);
    let document = base64("JVBERi0xLjQK", 4_000_000);
    let pages = base64::engine::general_purpose::STANDARD
        .encode([b"%PDF-1.4\n1 0 obj <</Type/Pages/Count 31>> endobj\n".as_slice(), &[b' '; 300]].concat());
    let rows = [
        (format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}"#), 1000),
        (
            format!(r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{picture}"}}}}"#),
            1000,
        ),
        (format!(r#"{{"type":"image","source":{{"data": "{picture}","type":"base64"}}}}"#), 1000),
        (format!(r#"{{"type":"input_audio","input_audio":{{"data":"{picture}","format":"wav"}}}}"#), 1000),
        (format!(r#"{{"type":"file","file":{{"file_data":"data:application/pdf;base64,{document}"}}}}"#), 3000),
        (format!(r#"{{"type":"file","file":{{"file_data":"data:application/pdf;base64,{pages}"}}}}"#), 62_000),
        (format!(r#"{{"type":"document","source":{{"type":"base64","data":"{pages}"}}}}"#), 62_000),
        (format!(r#"{{"a":"data:image/png;base64,{picture}","b":"data:image/png;base64,{picture}"}}"#), 2000),
    ];
    for (part, expected) in rows {
        let got = prompt_of(&chat("what is this").replace("\"what is this\"", &format!(r#"["what is this",{part}]"#)));
        assert!((expected..expected + 100).contains(&(got - bare)), "{}: {got}", &part[..60]);
    }
    // Words that only look like it.
    let words = chat(&"the \"data\": \"is here\" and ;base64, is a word ".repeat(1000));
    assert!(prompt_of(&words) > 8000);
    assert!(prompt_of(r#"{"data":"#) < 10 && prompt_of(";base64,") < 10 && prompt_of(r#""data":   "#) < 10);
}

/// Beyond what is looked at, a text costs what its beginning does.
#[test]
fn long_texts_grow_evenly() {
    for text in
        ["The quick brown fox jumps over the lazy dog. ", "你好，世界。", "fn main() { println!(\"{}\", x[1]); }\n"]
    {
        let short = prompt_of(&chat(&text.repeat(4000 / text.len())));
        let long = prompt_of(&chat(&text.repeat(400_000 / text.len())));
        assert!((80..=120).contains(&(long / short)), "{text}: {short} {long}");
    }
}

/// A beginning without weight does not make the rest free, nor does any byte cost more than it can.
#[test]
fn bounds() {
    let hollow = chat(&(" ".repeat(EXACT_BYTES) + &"word ".repeat(100_000)));
    assert!(prompt_of(&hollow) > 500_000 / 9, "{}", prompt_of(&hollow));
    for text in ["1", "\u{1f600}", "\\u4f60", "}", "é"] {
        let body = text.repeat(100_000);
        assert!(prompt(body.as_bytes()) <= body.len() as u64 / 2 + 2 * EXACT_BYTES as u64, "{text}");
    }
    assert_eq!(prompt(b""), 0);
    prompt(&[0xff; 100]);
    prompt(b"\\");
    prompt(b"\\u12");
}
