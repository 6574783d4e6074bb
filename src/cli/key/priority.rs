//! `--priority`: who goes first of the requests that wait for room. It is a member of a key's
//! metadata, beside the operator's own notes.

use serde_json::{Map, Value};

use crate::cli::failure::Failure;

const MEMBER: &str = "priority";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Priority {
    High,
    Normal,
    Low,
}

impl Priority {
    /// Returns `metadata` with this priority; `normal` needs no member. Fails if it is no object.
    pub(super) fn written_into(self, metadata: &str) -> Result<Value, Failure> {
        let mut notes: Map<String, Value> = serde_json::from_str(metadata).map_err(|_| {
            Failure::failed("the metadata of the key is no JSON object; replace it through the admin interface first")
        })?;
        match self {
            Priority::High => notes.insert(MEMBER.to_owned(), "high".into()),
            Priority::Normal => notes.remove(MEMBER),
            Priority::Low => notes.insert(MEMBER.to_owned(), "low".into()),
        };
        Ok(Value::Object(notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stay() {
        let written =
            |priority: Priority, notes: &str| priority.written_into(notes).map(|notes| notes.to_string()).ok();
        assert_eq!(written(Priority::High, "{}").as_deref(), Some(r#"{"priority":"high"}"#));
        let notes = r#"{"owner":"me","priority":"high"}"#;
        assert_eq!(written(Priority::Low, notes).as_deref(), Some(r#"{"owner":"me","priority":"low"}"#));
        assert_eq!(written(Priority::Normal, notes).as_deref(), Some(r#"{"owner":"me"}"#));
        assert_eq!(written(Priority::Low, "[]"), None);
    }
}
