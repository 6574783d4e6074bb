//! Recognises documents that have the structure of an earlier one, so that what was found in that
//! one need not be looked for again.
//!
//! The requests of a program, and the answers of a model, mostly differ in the insides of strings
//! and in numbers alone. What else was read of them is the same, and stands at places that the
//! lengths before them give. One list serves a whole worker, since it depends on nothing but bytes.
//!
//! A conversation that grows has another structure each time. So a list that finds nothing pauses,
//! for twice as many documents each time, and costs nothing meanwhile.

use std::ops::Range;

use crate::json::template::{Match, NOWHERE, Places, Spot, Template, Value};

/// Structures that a list keeps.
const MAX_TEMPLATES: usize = 4;

/// Longer documents are not learned, in bytes.
const MAX_DOCUMENT: usize = 8 << 10;

/// The longest pause is two to the power of this, in documents.
const MAX_MISSES: u32 = 8;

/// The structures of some documents, and what was found in each.
#[derive(Debug)]
pub(crate) struct DocumentTemplates<T> {
    /// The last one that matched is first.
    known: Vec<(Template, T)>,
    /// Documents in a row of no known structure, up to a number.
    misses: u32,
    /// How many documents pass unseen.
    pause: u32,
    /// Whether the last document was looked for in vain.
    was_unknown: bool,
    /// Where the parts of the last one are that was found.
    places: Places,
}

impl<T> Default for DocumentTemplates<T> {
    fn default() -> DocumentTemplates<T> {
        DocumentTemplates { known: Vec::new(), misses: 0, pause: 0, was_unknown: false, places: NOWHERE }
    }
}

impl<T> DocumentTemplates<T> {
    /// Returns what was found in a document of the same structure, and where its parts are here. A
    /// document that is found is JSON, in UTF-8.
    pub(crate) fn find(&mut self, document: &[u8]) -> Option<(&T, &Places)> {
        self.find_where(document, |_| true)
    }

    /// Does the same among those documents of which what was found `is_wanted`.
    pub(crate) fn find_where(&mut self, document: &[u8], is_wanted: impl Fn(&T) -> bool) -> Option<(&T, &Places)> {
        self.was_unknown = false;
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let found = self.known.iter().enumerate().find_map(|(n, (template, found))| {
            Some((n, is_wanted(found).then(|| template.match_document(document, &mut self.places))??))
        });
        // What stands between the holes is that of a document which was learned, so it is UTF-8.
        let is_text = |found: Match| found.is_ascii || std::str::from_utf8(document).is_ok();
        let Some((n, _)) = found.filter(|(_, found)| is_text(*found)) else {
            self.misses = (self.misses + 1).min(MAX_MISSES);
            self.was_unknown = true;
            return None;
        };
        self.misses = 0;
        if n > 0 {
            self.known.swap(0, n);
        }
        Some((&self.known[0].1, &self.places))
    }

    /// Returns whether [`DocumentTemplates::learn`] would learn from a document now.
    pub(crate) fn would_learn(&self, document: &[u8]) -> bool {
        self.was_unknown && document.len() <= MAX_DOCUMENT
    }

    /// Does what [`DocumentTemplates::learn`] does with a document from which nothing is learned.
    /// Returns whether it was looked for.
    pub(crate) fn skip(&mut self) -> bool {
        if !std::mem::take(&mut self.was_unknown) {
            return false;
        }
        self.pause = (1 << self.misses) - 2;
        true
    }

    /// Learns from a valid document that [`DocumentTemplates::find`] has looked for in vain.
    /// `found` is made from the places of its parts.
    pub(crate) fn learn(
        &mut self,
        document: &[u8],
        is_hole: impl Fn(&Value<'_>) -> bool,
        found: impl FnOnce(&dyn Fn(Range<usize>) -> Option<Spot>) -> Option<T>,
    ) {
        if !self.skip() || document.len() > MAX_DOCUMENT || std::str::from_utf8(document).is_err() {
            return;
        }
        let Some(template) = Template::cut(document, true, is_hole) else { return };
        // Digits behind a point may begin with 0, and then nothing matches.
        if !template.match_whole(document, &mut self.places) {
            return;
        }
        if let Some(found) = found(&|range| template.spot(range)) {
            self.known.truncate(MAX_TEMPLATES - 1);
            self.known.insert(0, (template, found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(list: &mut DocumentTemplates<Spot>, document: &str) {
        let at = document.find("true").unwrap();
        list.learn(document.as_bytes(), |_| true, |spot| spot(at..at + 4));
    }

    #[test]
    fn places_are_those_of_the_document() {
        let mut list = DocumentTemplates::default();
        assert!(list.find(br#"{"a":"x","b":true}"#).is_none());
        learn(&mut list, r#"{"a":"x","b":true}"#);
        let longer = r#"{"a":"longer","b":true}"#;
        let (spot, places) = list.find(longer.as_bytes()).unwrap();
        assert_eq!(&longer[spot.in_match(places)], "true");
        assert!(list.find(b"{\"a\":\"\xff\",\"b\":true}").is_none(), "not UTF-8");
    }

    #[test]
    fn what_does_not_match_itself_is_not_kept() {
        let mut list = DocumentTemplates::default();
        let document = r#"{"cost":0.00012,"b":true}"#;
        assert!(list.find(document.as_bytes()).is_none());
        learn(&mut list, document);
        assert!(list.known.is_empty());
    }

    #[test]
    fn what_finds_nothing_pauses() {
        let mut list = DocumentTemplates::default();
        let mut looked = 0;
        for n in 0..2000 {
            let document = format!(r#"{{"k{n}":true}}"#);
            looked += u32::from(list.pause == 0);
            assert!(list.find(document.as_bytes()).is_none());
            learn(&mut list, &document);
            assert!(list.known.len() <= MAX_TEMPLATES);
        }
        assert!(looked < 20, "{looked}");
        for n in 0..1000 {
            let document = format!(r#"{{"k":true,"n":{n}}}"#);
            let found = list.find(document.as_bytes()).is_some();
            learn(&mut list, &document);
            assert!(found || n < 600, "{n}");
        }
    }
}
