//! Finds the user and the conversation of a request, by headers and by the fields that each format
//! has for them.

use std::borrow::Cow;

use crate::control_plane::sinks::headers::Head;
use llm_wire::json::RawValue;

/// Bounds a name, in characters, as Langfuse does.
const LONGEST: usize = 200;
/// Headers with the id of a conversation.
const SESSION: [&str; 2] = ["x-session-id", "x-claude-code-session-id"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub user: Option<String>,
    pub session: Option<String>,
}

impl Identity {
    /// Reads both. `body` is the client's, if it is complete.
    pub(super) fn of(head: &Head<'_>, body: Option<RawValue<'_>>) -> Identity {
        let text = |path: &[&str]| Some(body?.path(path)?.as_str()?.unescape().into_owned());
        let mut found = Identity::default();
        if let Some(id) = text(&["metadata", "user_id"]) {
            found = split(&id);
        }
        if found.user.is_none() {
            found.user = text(&["user"]).or_else(|| text(&["safety_identifier"]));
        }
        let header = SESSION.iter().find_map(|name| head.get(name)).map(Cow::into_owned);
        let session = header.or(found.session).or_else(|| text(&["metadata", "session_id"]));
        Identity { user: found.user.and_then(some), session: session.and_then(some) }
    }
}

/// Reads the field of Claude Code, which holds three ids: `user_U_account_A_session_S`, in later
/// versions an object in a text.
fn split(id: &str) -> Identity {
    if let Ok(object) = RawValue::parse(id.as_bytes())
        && object.is_object()
    {
        let text = |key| Some(object.find(key)?.as_str()?.unescape().into_owned());
        let user = text("account_uuid").and_then(some).or_else(|| text("device_id"));
        return Identity { user, session: text("session_id") };
    }
    match id.rsplit_once("_session_") {
        Some((user, session)) => Identity { user: Some(user.to_owned()), session: Some(session.to_owned()) },
        None => Identity { user: Some(id.to_owned()), session: None },
    }
}

/// Returns the name if it is neither empty nor too long.
fn some(mut text: String) -> Option<String> {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_session_of_a_request() {
        // headers, body, user, session
        let rows = [
            ("", "{}", "-", "-"),
            ("", r#"{"user":"u"}"#, "u", "-"),
            ("", r#"{"user":"u","metadata":{"user_id":"m"}}"#, "m", "-"),
            ("", r#"{"user":7,"metadata":[]}"#, "-", "-"),
            ("", r#"{"metadata":{"user_id":"user_1_account_2_session_3"}}"#, "user_1_account_2", "3"),
            (
                "",
                r#"{"metadata":{"user_id":"{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"}}"#,
                "d",
                "s",
            ),
            ("", r#"{"metadata":{"session_id":"s"},"safety_identifier":"i"}"#, "i", "s"),
            ("x-session-id: h\r\n", r#"{"metadata":{"user_id":"a_session_b"}}"#, "a", "h"),
            ("X-Claude-Code-Session-Id: c\r\n", "{}", "-", "c"),
            ("x-session-id: h\r\nx-claude-code-session-id: c\r\n", "not JSON", "-", "h"),
        ];
        for (headers, body, user, session) in rows {
            let head = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            let found = Identity::of(&Head::new(head.as_bytes()), RawValue::parse(body.as_bytes()).ok());
            let text = |found: Option<String>| found.unwrap_or("-".into());
            assert_eq!((text(found.user).as_str(), text(found.session).as_str()), (user, session), "{body}");
        }
        let long = format!(r#"{{"user":"{}"}}"#, "\u{e9}".repeat(300));
        let found = Identity::of(&Head::new(b""), RawValue::parse(long.as_bytes()).ok());
        assert_eq!(found.user.unwrap().chars().count(), 200);
    }
}
