//! What the translation of a request depends on beside its body.

use std::rc::Rc;

use crate::config::snapshot::Provider;
use llm_wire::Format;

/// What a translation depends on, of requests without a session and without a limit that the
/// gateway sets. The provider's capabilities and policy follow from its row.
#[derive(Debug)]
pub struct TranslationKey {
    /// The number of the snapshot, which has the rows.
    generation: u64,
    provider: i64,
    client: Format,
    target: Format,
    /// The upstream model.
    model: Rc<str>,
    /// The model as the client wrote it.
    requested: Box<str>,
}

/// The same, of a request that is looked for.
#[derive(Debug, Clone, Copy)]
pub struct TranslationOf<'a> {
    pub generation: u64,
    pub provider: &'a Provider,
    pub client: Format,
    pub target: Format,
    pub model: &'a Rc<str>,
    pub requested: &'a str,
}

impl TranslationOf<'_> {
    /// Returns whether a key is that of this request.
    pub fn has(&self, key: &TranslationKey) -> bool {
        (self.generation, self.provider.id, self.client, self.target)
            == (key.generation, key.provider, key.client, key.target)
            && **self.model == *key.model
            && *self.requested == *key.requested
    }

    /// Returns the key of this request.
    pub fn key(&self) -> TranslationKey {
        TranslationKey {
            generation: self.generation,
            provider: self.provider.id,
            client: self.client,
            target: self.target,
            model: self.model.clone(),
            requested: self.requested.into(),
        }
    }
}
