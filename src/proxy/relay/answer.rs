//! Whether a whole response under a status of success is a model's answer. It is looked at before
//! anything of it is sent, so that another provider can still be tried.

use std::time::Duration;

use llm_wire::Format;
use llm_wire::canonical::event::Reason;
use llm_wire::error::{Error, classify};
use llm_wire::formats::errors;
use llm_wire::json::{RawKind, RawStr, RawValue, Tape, preamble, scan, walk};
use llm_wire::passthrough::answer_templates::{AnswerFacts, AnswerTemplates};
use llm_wire::passthrough::finish;

use super::source::{empty, malformed};

/// How long the end of the body is awaited behind an object that is complete. Some hosts keep the
/// connection open and do not send it.
pub(super) const END_GRACE: Duration = Duration::from_millis(250);

/// Returns whether a body may be a complete object, by its last byte.
pub(super) fn may_be_whole(body: &[u8]) -> bool {
    body.trim_ascii_end().last() == Some(&b'}')
}

/// Returns whether a body of which the end has not come is one complete object: nothing that could
/// follow would change it.
pub(super) fn is_whole(body: &[u8]) -> bool {
    let body = preamble::strip(body).trim_ascii();
    may_be_whole(body) && body.first() == Some(&b'{') && scan::validate(body).is_ok()
}

/// The members of an answer that records need, by name.
struct Summary<'a> {
    members: [(&'static str, Option<RawValue<'a>>); 5],
    has_error: bool,
}

/// A body in the place of an answer.
#[derive(Debug)]
pub(super) struct NoAnswer<'a> {
    pub error: Error,
    /// What it says all the same: a provider that reports usage bills for it.
    pub facts: AnswerFacts<'a>,
    /// Whether it is a response of the format, which says that it failed. Clients read it.
    pub is_response: bool,
}

impl<'a> Summary<'a> {
    /// Returns whether what looks like an answer says that it is none.
    fn says_failed(&self, format: Format) -> bool {
        let profile = &format.profile().response;
        let by_status = || self.get("status").is_some_and(|status| status.eq_str("failed"));
        (profile.fails_by_error_member && self.has_error) || (profile.fails_by_status && by_status())
    }

    fn get(&self, name: &str) -> Option<RawValue<'a>> {
        self.members.iter().find(|(known, _)| *known == name)?.1
    }

    fn facts(&self, format: Format) -> AnswerFacts<'a> {
        AnswerFacts { has_error: self.has_error, ..facts(format, |name| self.get(name)) }
    }
}

/// Reads the facts of an answer of which `member` finds the members.
pub(super) fn facts<'a>(format: Format, member: impl Fn(&str) -> Option<RawValue<'a>>) -> AnswerFacts<'a> {
    let reason: Option<Reason> = finish::of_answer(format, &member);
    AnswerFacts { usage: member("usage"), counted: None, model: member("model"), reason, has_error: false }
}

/// Reads the top level of `body` by one walk, without an opinion on it.
pub(super) fn read(format: Format, body: &[u8]) -> AnswerFacts<'_> {
    let mut summary = empty_summary(format);
    for (key, value, _) in walk::members(preamble::strip(body)) {
        note(&mut summary, key, value);
    }
    summary.facts(format)
}

/// Checks that `body` is one whole JSON object and an answer of `format`, and reads its top level
/// by the same walk. An object that is neither a known answer nor a known error passes: hosts have
/// shapes of their own. The tape notes what is inside the members, so that none is scanned again.
/// An answer whose structure `known` has is one without a walk.
pub(super) fn check<'a>(
    format: Format,
    body: &'a [u8],
    (known, tape): (&mut AnswerTemplates, &'a mut Tape),
    provider: &str,
) -> Result<AnswerFacts<'a>, Box<NoAnswer<'a>>> {
    if let Some(facts) = known.find(body) {
        return Ok(facts);
    }
    let mut summary = empty_summary(format);
    let whole_body = body;
    let mut is_answer = false;
    let body = preamble::strip(body);
    let start = scan::skip_space(body, 0);
    let noted = tape.read(body).ok().filter(|root| root.kind() == RawKind::Object);
    let mut walk = noted.map_or_else(|| walk::members(&body[start..]), RawValue::members);
    for (key, value, _) in &mut walk {
        is_answer |= key.eq_str(content_name(format)) && value.kind() == RawKind::Array;
        note(&mut summary, key, value);
    }
    let is_whole =
        noted.is_some() || walk.fault().is_none() && scan::skip_space(body, start + walk.position()) == body.len();
    let facts = summary.facts(format);
    let has_error = facts.has_error;
    if is_whole && is_answer && !summary.says_failed(format) {
        if !has_error && body.len() == whole_body.len() {
            known.learn(format, body, &facts);
        }
        return Ok(facts);
    }
    match explain(format, body, provider) {
        Some((error, is_response)) => Err(Box::new(NoAnswer { error, facts, is_response })),
        None => Ok(facts),
    }
}

/// Returns what is wrong with a body that is not plainly an answer, and whether it is a response
/// that failed. `None` if it may be an answer.
fn explain(format: Format, body: &[u8], provider: &str) -> Option<(Error, bool)> {
    if body.trim_ascii().is_empty() {
        return Some((empty(provider), false));
    }
    let value = match RawValue::parse(body) {
        Ok(value) => value,
        Err(error) => {
            let what = format_args!("a status of success, but the body is not JSON: {error}");
            return Some((malformed(provider, what), false));
        }
    };
    if let Some(read) = errors::recognize(format, value) {
        let error =
            classify::error(None, &read).context(format_args!("provider `{provider}`, under a status of success"));
        let is_response = format.profile().response.fails_by_status && errors::is_answer(format, value);
        return Some((error, is_response));
    }
    if matches!(value.kind(), RawKind::Object | RawKind::Array) {
        return None;
    }
    Some((malformed(provider, "a status of success, but JSON that is no answer"), false))
}

/// The member that has the content of an answer.
fn content_name(format: Format) -> &'static str {
    match format {
        Format::Chat => "choices",
        Format::Messages => "content",
        Format::Responses => "output",
    }
}

fn empty_summary<'a>(format: Format) -> Summary<'a> {
    let mut members = [("", None); 5];
    for (place, name) in members.iter_mut().zip(finish::members(format).iter().chain(&["model"])) {
        place.0 = name;
    }
    Summary { members, has_error: false }
}

fn note<'a>(summary: &mut Summary<'a>, key: RawStr<'a>, value: RawValue<'a>) {
    summary.has_error |= key.eq_str("error") && value.kind() != RawKind::Null;
    if let Some((_, place)) = summary.members.iter_mut().find(|(name, _)| key.eq_str(name)) {
        *place = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use llm_wire::error::Kind;
    use llm_wire::passthrough::tap;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn complete_objects() {
        let rows: [(&[u8], bool); 6] = [
            (b"{\"a\":{}}", true),
            (b" {} \r\n", true),
            (b"{\"a\":{}", false),
            (b"{}}", false),
            (b"[{}]", false),
            (b"", false),
        ];
        for (body, expected) in rows {
            assert_eq!(is_whole(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn answers_pass_and_everything_else_is_named() {
        let rows: &[(Format, &str, Option<Kind>)] = &[
            (Format::Chat, r#"{"choices":[],"usage":{}}"#, None),
            (Format::Chat, r#" {"choices":[],"error":null} "#, None),
            (Format::Chat, r#"{"own":"shape"}"#, None),
            (Format::Messages, r#"{"type":"message","content":[]}"#, None),
            (Format::Responses, r#"{"object":"response","output":[],"error":{"message":"m"}}"#, None),
            (Format::Responses, r#"{"object":"response","status":"incomplete","output":[],"error":null}"#, None),
            (
                Format::Responses,
                r#"{"object":"response","status":"failed","output":[],"error":{"code":"rate_limit_exceeded","message":"m"}}"#,
                Some(Kind::RateLimit),
            ),
            (
                Format::Responses,
                r#"{"error":null,"status":"failed","output":[],"object":"response"}"#,
                Some(Kind::UpstreamFault),
            ),
            (Format::Chat, "", Some(Kind::UpstreamFault)),
            (Format::Chat, "  ", Some(Kind::UpstreamFault)),
            (Format::Chat, "{}", None),
            (Format::Chat, "7", Some(Kind::UpstreamFault)),
            (Format::Chat, "<html>", Some(Kind::UpstreamFault)),
            (Format::Chat, r#"{"choices":["#, Some(Kind::UpstreamFault)),
            (Format::Chat, r#"{"choices":[]} x"#, Some(Kind::UpstreamFault)),
            (Format::Chat, r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, Some(Kind::RateLimit)),
            (Format::Chat, r#"{"choices":[],"error":{"message":"m"}}"#, Some(Kind::UpstreamFault)),
            (
                Format::Messages,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                Some(Kind::Overloaded),
            ),
        ];
        for (format, body, kind) in rows {
            let (mut known, mut tape) = Default::default();
            let found = check(*format, body.as_bytes(), (&mut known, &mut tape), "p");
            assert_eq!(found.err().map(|of| of.error.kind), *kind, "{format} {body}");
        }
    }

    const ANSWERS: &[(Format, &str)] = &[
        (
            Format::Chat,
            r#"{"id":"TEXT","created":NUMBER,"model":"m","choices":[{"message":{"content":"TEXT"},"finish_reason":"WORD"}],"usage":{"prompt_tokens":NUMBER,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":null,"audio_tokens":NUMBER}}}"#,
        ),
        (Format::Chat, r#"{"choices":[{"finish_reason":"WORD"}],"error":"TEXT","model":"WORD"}"#),
        (Format::Chat, r#"{"own":"TEXT","detail":"WORD"}"#),
        (
            Format::Messages,
            r#"{"type":"message","content":[{"type":"text","text":"TEXT"}],"stop_reason":"WORD","usage":{"input_tokens":NUMBER}}"#,
        ),
        (
            Format::Responses,
            r#"{"status":"WORD","incomplete_details":{"reason":"WORD"},"output":[{"type":"WORD","call_id":"TEXT"}],"usage":{"output_tokens":NUMBER}}"#,
        ),
    ];

    const TEXTS: &[&str] =
        &["", "a", "words \\n\\u00e9 and é", "\\x", "\n", "\",\"error\":{\"message\":\"m\"},\"x\":\""];
    const WORDS: &[&str] =
        &["stop", "length", "", "completed", "incomplete", "failed", "function_call", "content_filter"];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// Whatever came before, an answer is judged and read as if nothing had.
        #[test]
        fn a_known_structure_is_read_as_a_new_one(
            steps in prop::collection::vec((0..ANSWERS.len(), 0..TEXTS.len(), 0..WORDS.len(), "0|[1-9][0-9]{0,3}|[1-9][0-9]{13,17}|01|-1|1\\.5"), 1..50),
        ) {
            let mut known: [AnswerTemplates; 3] = Default::default();
            for (answer, text, word, number) in steps {
                let (format, answer) = ANSWERS[answer];
                let body = answer.replace("TEXT", TEXTS[text]).replace("WORD", WORDS[word]).replace("NUMBER", &number);
                let (mut tape, mut other_tape, mut nothing) = Default::default();
                let found = check(format, body.as_bytes(), (&mut known[format as usize], &mut tape), "p");
                let expected = check(format, body.as_bytes(), (&mut nothing, &mut other_tape), "p");
                let kind = |of: Box<NoAnswer<'_>>| (of.error.kind, of.error.note, of.is_response);
                if let Ok(AnswerFacts { usage: Some(usage), counted: Some(counted), .. }) = found {
                    prop_assert_eq!(counted, tap::usage(format, usage), "{}", body);
                }
                let found = found.map(|facts| AnswerFacts { counted: None, ..facts });
                prop_assert_eq!(found.map_err(kind), expected.map_err(kind), "{}", body);
            }
        }
    }
}
