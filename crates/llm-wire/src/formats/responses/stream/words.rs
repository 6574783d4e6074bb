//! Words of a provider's stream and what they mean.

use crate::canonical::codec::Sink;
use crate::canonical::event::{Event, Finish, Note, Reason};
use crate::json::RawValue;

/// Returns the finish of a response that is incomplete.
pub(crate) fn incomplete(response: RawValue<'_>, sink: Sink<'_>) -> Finish<'static> {
    let reason = response.path(&["incomplete_details", "reason"]).and_then(RawValue::as_str).unwrap_or_default();
    Finish::of(match reason.as_bytes() {
        b"max_output_tokens" | b"max_tokens" => Reason::Length,
        b"content_filter" => Reason::Refusal,
        _ => {
            sink(Event::Note(Note::UnknownFinish));
            // Whatever the reason: the provider reports that the answer was cut.
            Reason::Length
        }
    })
}

/// Events that say nothing which another does not say: progress, the ends of parts, and what tools
/// of the vendor do.
pub(crate) fn is_noise(kind: &[u8]) -> bool {
    const ENDS: &[&[u8]] = &[b"_part.added", b"_part.done", b".in_progress", b".searching", b".completed", b".failed"];
    const TOOLS: &[&[u8]] =
        &[b"code_interpreter", b"image_generation", b"mcp_", b"web_search", b"file_search", b"shell_", b"apply_patch"];
    kind == b"keepalive"
        || ENDS.iter().any(|end| kind.ends_with(end))
        || TOOLS.iter().any(|tool| kind.starts_with(tool))
}
