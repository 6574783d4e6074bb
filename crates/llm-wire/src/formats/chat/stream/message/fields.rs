//! The members of a message or delta that its reader uses.

use crate::json::{RawStr, RawValue};

/// The fields of a message that mean something here.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) content: Option<RawValue<'a>>,
    pub(super) long: RawStr<'a>,
    pub(super) short: RawStr<'a>,
    /// LiteLLM's copy of either.
    pub(super) copy: RawStr<'a>,
    pub(super) details: Option<RawValue<'a>>,
    pub(super) refusal: RawStr<'a>,
    pub(super) annotations: Option<RawValue<'a>>,
    pub(super) tool_calls: Option<RawValue<'a>>,
    pub(super) function_call: Option<RawValue<'a>>,
    /// There are images, which have no event.
    pub(super) images: bool,
    /// There is audio, which has no event.
    pub(super) audio: bool,
    /// The words of the audio, which are text.
    pub(super) transcript: RawStr<'a>,
}

impl<'a> Fields<'a> {
    /// Reads a message or a delta.
    pub(super) fn read(message: RawValue<'a>) -> Fields<'a> {
        let mut fields = Fields::default();
        // In the order of preference: the details, Anthropic's blocks, an object in the place of
        // text, and LiteLLM's copy of the blocks.
        let mut lists: [Option<RawValue<'a>>; 4] = [None; 4];
        let is_list = |value: &RawValue<'a>| value.is_object() || value.elements().next().is_some();
        for (key, value, _) in message.members() {
            match key.as_bytes() {
                b"content" => fields.content = Some(value),
                b"reasoning_content" | b"reasoning" if value.as_str().is_none() => {
                    lists[2] = lists[2].or(Some(value).filter(is_list));
                }
                b"reasoning_content" => fields.long = value.as_str().unwrap_or_default(),
                // The third is GitHub Copilot's, the second Ollama's.
                b"reasoning" | b"thinking" | b"reasoning_text" if fields.short.is_empty() => {
                    fields.short = value.as_str().unwrap_or_default();
                }
                b"reasoning_details" => lists[0] = Some(value).filter(is_list),
                b"thinking_blocks" => lists[1] = Some(value).filter(is_list),
                b"provider_specific_fields" => {
                    lists[3] = value.find("thinking_blocks").filter(is_list);
                    fields.copy = value.find("reasoning_content").and_then(RawValue::as_str).unwrap_or_default();
                }
                b"refusal" => fields.refusal = value.as_str().unwrap_or_default(),
                b"annotations" => fields.annotations = Some(value),
                b"tool_calls" => fields.tool_calls = Some(value),
                b"function_call" if value.is_object() => fields.function_call = Some(value),
                b"images" => fields.images |= value.elements().next().is_some(),
                b"audio" => {
                    let text = |key| value.find(key).and_then(RawValue::as_str).unwrap_or_default();
                    fields.audio |= !text("data").is_empty();
                    fields.transcript = text("transcript");
                }
                _ => {}
            }
        }
        fields.details = lists.into_iter().flatten().next();
        fields
    }
}
