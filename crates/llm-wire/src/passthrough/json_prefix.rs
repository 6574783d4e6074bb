//! Recognises an answer that is JSON before it is complete.

use crate::json::scan::validate;
use crate::json::{Fault, ScanError};

/// The longest escape sequence of a string, which may be cut.
const LONGEST_ESCAPE: usize = 6;

/// Returns whether a text is an array or an object in JSON, or the beginning of one. It takes one
/// pass.
pub(super) fn is_json_so_far(text: &str) -> bool {
    let text = text.trim_start().as_bytes();
    if !matches!(text.first(), Some(b'{' | b'[')) {
        return false;
    }
    let Err(ScanError { at, what }) = validate(text) else { return true };
    let rest = text.get(at..).unwrap_or_default();
    match what {
        // What is too deep is JSON all the same.
        Fault::Eof | Fault::TooDeep => true,
        // What the end of the text has cut.
        Fault::Number => rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')),
        Fault::Escape => rest.len() < LONGEST_ESCAPE,
        Fault::Value => ["true", "false", "null"].iter().any(|word| word.as_bytes().starts_with(rest)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever a document is cut, it is recognised.
    #[test]
    fn a_document_is_json_so_far_at_each_cut() {
        let document = r#" {"a": [1, -2.5e+3, true, false, null, "x\"\u00e9\n"], "b": {"c": {}}, "d": []} "#;
        for at in 2..=document.len() {
            assert!(is_json_so_far(&document[..at]), "{}", &document[..at]);
        }
    }

    #[test]
    fn a_document_may_be_deep() {
        assert!(is_json_so_far(&"[".repeat(100_000)));
    }

    #[test]
    fn prose_is_not_json() {
        for text in ["", "  ", "Hello", "\"a\"", "12", "[Hello", "[1] Smith", "[link](x)", "{x}", "{\"a\" and", "[nix"]
        {
            assert!(!is_json_so_far(text), "{text}");
        }
    }
}
