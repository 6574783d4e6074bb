//! The request for the rest of a stream that broke off.

use crate::format::Format;
use crate::json::{RawKind, RawStr, RawValue, walk};
use crate::passthrough::json_prefix;
use crate::passthrough::splice::Splice;

/// How the rest is requested from the next provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContinuationMethod {
    /// The text so far as a message of the assistant, and a message of the user that asks for what
    /// follows. Every model takes that.
    Prompt,
    /// The text so far as the last message, which the model goes on with. Newer models refuse it.
    Prefill,
}

/// Asks for the rest.
const PROMPT: &str = "The connection broke in the middle of your last message. Continue it exactly where it ends: \
                      write only what follows, repeat nothing, and add no introduction.";

/// Returns the body of the request for the rest: `body`, of `format`, and behind its conversation
/// the escaped `text` so far. `None` if `body` has no conversation, or if the answer is JSON, which
/// a model would begin anew: the request asks for it, or the text so far is its beginning, whoever
/// has set the form of the answer.
pub fn request(format: Format, body: &[u8], text: &[u8], method: ContinuationMethod) -> Option<Vec<u8>> {
    let (member, may_be_text) = match format {
        Format::Chat | Format::Messages => ("messages", false),
        Format::Responses => ("input", true),
    };
    if asks_for_json(format, body) || json_prefix::is_json_so_far(&RawStr::new(text).unescape()) {
        return None;
    }
    let (_, conversation, at) = walk::members(body).find(|(key, ..)| key.eq_str(member))?;
    let mut splice = Splice::new();
    match conversation.kind() {
        RawKind::Array if conversation.elements().next().is_some() => {}
        // A text is the message of the user.
        RawKind::String if may_be_text => {
            splice.replace(at.start..at.start, b"[{\"role\":\"user\",\"content\":".to_vec());
        }
        _ => return None,
    }
    let mut more = if conversation.kind() == RawKind::String { b"}".to_vec() } else { Vec::new() };
    more.extend_from_slice(b",{\"role\":\"assistant\",\"content\":\"");
    more.extend_from_slice(text);
    more.extend_from_slice(b"\"}");
    if method == ContinuationMethod::Prompt {
        more.extend_from_slice(b",{\"role\":\"user\",\"content\":\"");
        more.extend_from_slice(PROMPT.as_bytes());
        more.extend_from_slice(b"\"}");
    }
    let end = match conversation.kind() {
        RawKind::String => {
            more.push(b']');
            at.end
        }
        _ => at.end - 1,
    };
    splice.replace(end..end, more);
    let mut continued = Vec::with_capacity(splice.len_after(body.len()));
    splice.apply(body, &mut continued);
    Some(continued)
}

/// Returns whether a request asks for an answer in a form that is not text.
fn asks_for_json(format: Format, body: &[u8]) -> bool {
    let paths: &[&[&str]] = match format {
        Format::Chat => &[&["response_format"]],
        Format::Messages => &[&["output_format"], &["output_config", "format"]],
        Format::Responses => &[&["text", "format"]],
    };
    let form = |path: &&[&str]| RawValue::new(body).path(path).filter(|form| form.kind() == RawKind::Object);
    paths.iter().filter_map(form).any(|form| !form.find("type").is_some_and(|kind| kind.eq_str("text")))
}
