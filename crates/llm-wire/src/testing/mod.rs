//! Properties that hold for any bytes, as functions that panic where one does not: the bodies of
//! fuzz targets and of property tests.

pub mod answer;
pub mod conversation;
pub mod reading;
pub mod request;

use crate::format::Format;
use crate::formats::errors;
use crate::json::scan::{self, Fault};
use crate::json::walk;
use crate::json::{RawKind, RawValue};
use crate::passthrough::observation::FrameKind;
use crate::passthrough::peek::{PeekError, peek};
use crate::passthrough::splice::Splice;
use crate::passthrough::tap;
use crate::passthrough::tap::AnyTap;
use crate::sse::Framer;

/// The property of the fuzz target `wire_request`: whatever reads a client's body.
pub fn check_request(input: &[u8]) {
    if let Some((_, body)) = input.split_first_chunk::<4>() {
        peek_is_validate(body);
        splice_keeps_the_rest(body);
    }
    request::check(input);
}

/// The property of the fuzz target `wire_stream`: whatever reads a provider's answer.
pub fn check_stream(input: &[u8]) {
    if let Some((_, stream)) = input.split_first_chunk::<4>() {
        tap_accepts_any_stream(stream);
    }
    answer::check(input);
}

/// [`peek`] accepts exactly the objects that [`scan::validate`] accepts and whose few fields have
/// the right type.
pub fn peek_is_validate(body: &[u8]) {
    let valid = scan::validate(body);
    match peek(body) {
        Ok(seen) => {
            assert!(valid.is_ok());
            assert_eq!(seen.model_at.len(), seen.model.len() + 2);
            assert_eq!(walk::find(body, "model").and_then(RawValue::as_str), Some(seen.model));
        }
        Err(PeekError::Json(fault)) => {
            assert!(fault.what == Fault::Utf8 || valid == Err(fault), "{fault} but {valid:?}")
        }
        Err(PeekError::OtherType(_)) => assert!(valid.is_err()),
        Err(PeekError::Empty) => assert_eq!(scan::skip_space(body, 0), body.len()),
        Err(PeekError::NotObject(kind)) => assert!(valid.is_ok() && kind != RawKind::Object),
        Err(
            PeekError::NoModel
            | PeekError::EmptyModel
            | PeekError::TwoModels
            | PeekError::Twice(_)
            | PeekError::WrongType { .. },
        ) => {
            assert!(valid.is_ok())
        }
    }
}

/// A spliced request has the intended change, and is otherwise the request.
pub fn splice_keeps_the_rest(body: &[u8]) {
    let Ok(before) = peek(body) else { return };
    let mut splice = Splice::new();
    if !before.include_usage {
        splice.ask_usage(body, before.stream_options.clone().map(|(_, at)| at));
    }
    splice.model(&before, "up/\"x\"");
    let mut out = Vec::new();
    splice.apply(body, &mut out);
    assert_eq!(out.len(), splice.len_after(body.len()));
    let Ok(after) = peek(&out) else { unreachable!("a spliced body is no longer a request") };
    assert!(after.model.eq_str("up/\"x\""));
    let has_options = |value: RawValue<'_>| matches!(value.kind(), RawKind::Object | RawKind::Null);
    assert_eq!(after.include_usage, before.stream_options.as_ref().is_none_or(|(value, _)| has_options(*value)));
    assert_eq!((after.stream, after.output), (before.stream, before.output));
    let rest = |body| -> Vec<(Vec<u8>, Vec<u8>)> {
        let owned = |(key, value, _): (crate::json::RawStr<'_>, RawValue<'_>, _)| {
            (key.as_bytes().to_vec(), value.bytes().to_vec())
        };
        walk::members(body)
            .filter(|(key, ..)| !key.eq_str("model") && !key.eq_str("stream_options"))
            .map(owned)
            .collect()
    };
    assert_eq!(rest(&out), rest(body));
}

/// A tap accepts any stream, and its results agree with what it has seen.
pub fn tap_accepts_any_stream(stream: &[u8]) {
    for format in Format::ALL {
        let (mut framer, mut tap, mut rest) = (Framer::default(), AnyTap::new(format), stream);
        while let Ok(Some(block)) = framer.next(&mut rest) {
            let Some(frame) = block.frame else { continue };
            let moment = tap.frame(&frame);
            let seen = tap.seen();
            match moment {
                FrameKind::End => assert!(seen.ended),
                FrameKind::Finish => assert!(seen.finished),
                FrameKind::Error => assert!(seen.failed),
                FrameKind::Usage => assert!(seen.usage.is_some()),
                FrameKind::Preamble | FrameKind::Content | FrameKind::KeepAlive | FrameKind::Other => {}
            }
            if let Some(usage) = seen.usage {
                assert!(usage.reasoning <= usage.output_total);
                assert!(usage.cache_read.saturating_add(usage.cache_write()) <= usage.input_total);
            }
            if let Some(at) = tap::model_range(format, frame.data) {
                assert!(RawValue::new(&frame.data[at]).as_str().is_some_and(|name| !name.is_empty()));
            }
            let _ = errors::read_refusal(format, frame.data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bodies out of the words that matter, so that chance makes requests.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let value = prop::sample::select(vec![
            r#""m""#,
            r#""m""#,
            r#""""#,
            "true",
            "false",
            "null",
            "12",
            "-1",
            "[]",
            "{}",
            r#"{"include_usage":false}"#,
            r#"{"include_usage":true,"x":1}"#,
            r#"{ "x" : [1] }"#,
            r#"{"user_id":"u"}"#,
            r#""\u00e9""#,
        ]);
        let key = prop::sample::select(vec![
            "model",
            "model",
            "model",
            "stream",
            "stream_options",
            "stream_options",
            "user",
            "metadata",
            "max_tokens",
            r"m\u006fdel",
            "messages",
        ]);
        prop::collection::vec((key, value), 0..6).prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(key, value)| format!(" \"{key}\" : {value}")).collect();
            format!("{{{}}}", members.join(",")).into_bytes()
        })
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let name = prop::sample::select(vec![
            "message_start",
            "content_block_start",
            "content_block_delta",
            "message_delta",
            "message_stop",
            "ping",
            "error",
            "response.created",
            "response.output_text.delta",
            "response.completed",
            "response.failed",
            "keepalive",
            "message",
            "",
        ]);
        let data = prop::sample::select(vec![
            "[DONE]",
            "{",
            "null",
            "[]",
            r#"[{"error":{}}]"#,
            r#"{"error":{"message":"m"}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":"3","total_tokens":9007199254740992}}"#,
            r#"{"model":"x","choices":[{"delta":{"content":"a"},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"message":{"model":"x","usage":{"input_tokens":9007199254740992,"cache_read_input_tokens":9007199254740992,"output_tokens":1,"output_tokens_details":{"thinking_tokens":7}}}}"#,
            r#"{"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":null}}"#,
            r#"{"delta":"x"}"#,
            r#"{"delta":7}"#,
            r#"{"content_block":{}}"#,
            r#"{"response":{"model":"x","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":7},"output_tokens_details":{"reasoning_tokens":2}}}}"#,
        ]);
        prop::collection::vec((name, data), 0..12).prop_map(|events| {
            events.iter().map(|(n, d)| format!("event: {n}\ndata: {d}\n\n")).collect::<String>().into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn requests(body in body(), at: prop::sample::Index, byte: u8) {
            peek_is_validate(&body);
            splice_keeps_the_rest(&body);
            let mut broken = body;
            let at = at.index(broken.len());
            broken[at] = byte;
            peek_is_validate(&broken);
            splice_keeps_the_rest(&broken);
        }

        #[test]
        fn streams(stream in stream()) {
            tap_accepts_any_stream(&stream);
        }
    }
}
