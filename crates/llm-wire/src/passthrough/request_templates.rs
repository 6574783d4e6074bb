//! Reads the fields of request bodies, of those that repeat a structure without a walk.

use crate::json::template::{Spot, Value};
use crate::json::{RawStr, RawValue};
use crate::passthrough::document_templates::DocumentTemplates;
use crate::passthrough::peek::{Output, Peek, PeekError, peek};

/// The structures of the requests that a worker has read.
#[derive(Debug, Default)]
pub struct RequestTemplates(DocumentTemplates<Fields>);

/// What [`peek`] found. Nothing of it is in a hole.
#[derive(Debug)]
struct Fields {
    model: Spot,
    stream: bool,
    include_usage: bool,
    stream_options: Option<Spot>,
    output: Output,
    service_tier: Option<Spot>,
    has_envelope: bool,
}

/// Returns whether a value is one that [`peek`] does not read: the texts of a conversation.
fn is_text(value: &Value<'_>) -> bool {
    value.is_string && matches!(value.key, b"content" | b"text" | b"input" | b"instructions" | b"arguments" | b"output")
}

impl RequestTemplates {
    /// Returns what [`peek`] returns.
    pub fn peek<'b>(&mut self, body: &'b [u8]) -> Result<Peek<'b>, PeekError> {
        if let Some((fields, places)) = self.0.find(body) {
            let model_at = fields.model.in_match(places);
            let options = fields.stream_options.map(|spot| spot.in_match(places));
            return Ok(Peek {
                model: RawStr::new(&body[model_at.start + 1..model_at.end - 1]),
                model_at,
                stream: fields.stream,
                include_usage: fields.include_usage,
                stream_options: options.map(|at| (RawValue::new(&body[at.clone()]), at)),
                output: fields.output,
                alternatives: [None; 2],
                previous_response: None,
                service_tier: fields.service_tier.map(|spot| RawStr::new(&body[spot.in_match(places)])),
                // None is read in a text, and all else is as in the example.
                has_envelope: fields.has_envelope,
            });
        }
        let peeked = peek(body)?;
        // The id of a response is another one in each request.
        if peeked.alternatives == [None; 2] && peeked.previous_response.is_none() {
            self.0.learn(body, is_text, |spot| {
                let stream_options = match &peeked.stream_options {
                    Some((_, at)) => Some(spot(at.clone())?),
                    None => None,
                };
                let service_tier = match peeked.service_tier {
                    Some(tier) => {
                        let start = (tier.as_bytes().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
                        Some(spot(start..start + tier.as_bytes().len())?)
                    }
                    None => None,
                };
                Some(Fields {
                    model: spot(peeked.model_at.clone())?,
                    stream: peeked.stream,
                    include_usage: peeked.include_usage,
                    stream_options,
                    output: peeked.output,
                    service_tier,
                    has_envelope: peeked.has_envelope,
                })
            });
        }
        Ok(peeked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODIES: &[&str] = &[
        r#"{"model":"m","messages":[{"role":"system","content":"TEXT"},{"role":"user","content":"TEXT"}],"max_tokens":7}"#,
        r#" {"messages":[{"role":"user","content":"TEXT"}],"stream":true,"model":"m","stream_options":{"include_usage":true},"n":2}"#,
        r#"{"input":"TEXT","model":"m\u002d1","instructions":"TEXT","max_output_tokens":70} "#,
        r#"{"prompt":["TEXT","b"],"model":"m"}"#,
        r#"{"messages":[{"content":[{"type":"text","text":"TEXT"},"model"]}],"model":"TEXT"}"#,
        r#"{"model":"m","models":["a"],"messages":[{"content":"TEXT"}]}"#,
        r#"{"model":"m","messages":[{"content":"TEXT"}],"model":"n"}"#,
        r#"{"messages":[{"content":"TEXT"}]}"#,
        r#"{"model":"m","input":"TEXT","previous_response_id":"TEXT"}"#,
        r#"{"model":"m","input":"TEXT","previous_response_id":null}"#,
        r#"{"model":"m","messages":[{"content":"TEXT"}]"#,
        r#"{"model":"m","service_tier":"flex","input":"TEXT"}"#,
        r#"{"model":"m","service_tier":null,"input":"TEXT"}"#,
        r#"{"model":"m","messages":[{"reasoning_details":[{"data":"llmp1.oa.0123abcd.e30"}],"content":"TEXT"}]}"#,
    ];

    const TEXTS: &[&str] = &[
        "",
        "a",
        "a longer text, as prompts are",
        r#"\"model\":\"x\""#,
        r"\u00e9\n",
        "é",
        "\n",
        r"\x",
        "m",
        "\",\"model\":\"o\",\"x\":\"",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// Whatever came before, a body is read as if nothing had.
        #[test]
        fn a_known_structure_is_read_as_a_new_one(
            steps in prop::collection::vec((0..BODIES.len(), 0..TEXTS.len(), 0..TEXTS.len(), prop::option::of(0usize..160)), 1..60),
        ) {
            let mut templates = RequestTemplates::default();
            for (body, first, second, cut) in steps {
                let mut body = BODIES[body].replacen("TEXT", TEXTS[first], 1).replace("TEXT", TEXTS[second]).into_bytes();
                if let Some(cut) = cut.filter(|cut| cut % 5 == 0) {
                    body.truncate(cut);
                }
                prop_assert_eq!(templates.peek(&body), peek(&body), "{}", String::from_utf8_lossy(&body));
            }
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        let mut templates = RequestTemplates::default();
        let body = |text: &[u8]| [br#"{"model":"m","messages":[{"content":""#, text, br#""}]}"#].concat();
        for _ in 0..3 {
            assert!(templates.peek(&body(b"a")).is_ok());
        }
        assert_eq!(templates.peek(&body(b"\xff")), peek(&body(b"\xff")));
        assert!(templates.peek(&body(b"\xff")).is_err());
    }
}
