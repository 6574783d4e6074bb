//! Recognises documents of which a log hides nothing, so that it can copy them unread.

use crate::passthrough::document_templates::DocumentTemplates;

/// The structures of some documents that were written as they came.
#[derive(Debug, Default)]
pub struct PlainDocuments(DocumentTemplates<()>);

impl PlainDocuments {
    /// Returns whether `document` is JSON in UTF-8 of the structure of one that was learned: the
    /// same document with other values where these may differ.
    pub fn is_known(&mut self, document: &[u8]) -> bool {
        self.0.find(document).is_some()
    }

    /// Learns from a document that was just looked for in vain: JSON that was written as it came.
    /// `may_differ` returns whether every value of a key is written unchanged.
    pub fn learn(&mut self, document: &[u8], may_differ: impl Fn(&[u8]) -> bool) {
        self.0.learn(document, |value| may_differ(value.key), |_| Some(()));
    }

    /// Learns nothing from a document that was just looked for in vain. Behind many of those the
    /// next ones are not looked for.
    pub fn skip(&mut self) {
        self.0.skip();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_some_keys_may_differ() {
        let mut known = PlainDocuments::default();
        let document = r#"{"a":"x","n":[1],"secret":""}"#;
        assert!(!known.is_known(document.as_bytes()));
        known.learn(document.as_bytes(), |key| key != b"secret");
        for (other, is_known) in [
            (r#"{"a":"\"é\"","n":[123],"secret":""}"#, true),
            (r#"{"a":"","n":[123],"secret":"y"}"#, false),
            (r#"{"a":"","n":[1,2],"secret":""}"#, false),
            (r#"{"a":"","n":[1],"secret":""} "#, false),
            ("{\"a\":\"\n\",\"n\":[1],\"secret\":\"\"}", false),
        ] {
            // It may pause behind one that was not found.
            let mut known = PlainDocuments::default();
            assert!(!known.is_known(document.as_bytes()));
            known.learn(document.as_bytes(), |key| key != b"secret");
            assert_eq!(known.is_known(other.as_bytes()), is_known, "{other}");
        }
        assert!(!known.is_known(b"{\"a\":\"\xff\",\"n\":[1],\"secret\":\"\"}"));
    }
}
