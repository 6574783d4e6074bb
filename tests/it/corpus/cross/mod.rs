//! The corpus across formats: recorded answers for clients of the two other formats, recorded
//! requests for providers of them.
//!
//! No row is left out without a reason beside its id.

mod answers;
mod requests;

use llm_wire::Format;

/// The formats other than this one.
fn others(format: Format) -> impl Iterator<Item = Format> {
    Format::ALL.into_iter().filter(move |other| *other != format)
}

/// Protocols of the corpus that are conversations, by their names there.
const CONVERSATIONS: &[&str] = &["chat", "messages", "responses"];
