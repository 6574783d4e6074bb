//! The head of a request to a provider, for clients that repeat their own.

use std::rc::Rc;

use llm_wire::Format;

/// What a head depends on beside the client's head, the provider and the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// To a provider of the client's own format.
    Passthrough,
    /// To one of another format, for a response that is a stream or not. It names no beta features.
    Translated { format: Format, is_stream: bool },
}

/// The head of a request to a provider up to what differs with each request, and what it was made
/// from beside the client's head.
pub struct UpstreamHead {
    /// The number of the snapshot.
    pub generation: u64,
    /// The id of the provider.
    pub provider: i64,
    /// The upstream model.
    pub model: Rc<str>,
    pub kind: HeadKind,
    /// Everything up to the request id, the name of its field included.
    pub bytes: Vec<u8>,
}

impl UpstreamHead {
    /// Longer ones are not kept, in bytes.
    pub const MAX_KEPT: usize = 1536;

    /// Returns whether it was made from these, by a client's head of the same bytes.
    pub fn is_for(&self, generation: u64, provider: i64, model: &str, kind: HeadKind) -> bool {
        (self.generation, self.provider, self.kind) == (generation, provider, kind) && *self.model == *model
    }
}
