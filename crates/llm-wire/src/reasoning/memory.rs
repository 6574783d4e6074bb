//! Where the reasoning of clients that do not send it back is looked up.

/// Envelopes of one turn, in order.
pub type Envelopes = [Box<[u8]>];

/// Finds what was remembered for a tool call.
pub trait Memory {
    /// Returns the envelopes that were kept for the tool call of this id; `None` if there are none.
    fn find(&self, call_id: &str) -> Option<std::sync::Arc<Envelopes>>;
}
