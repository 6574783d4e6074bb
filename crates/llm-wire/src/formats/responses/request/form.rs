//! The response format that a request demands, as a Responses request states it.

use crate::canonical::text::Text;

/// How the translated request states its response format.
pub(super) enum Form {
    Free,
    /// `text.format`.
    Format(Vec<u8>),
    /// A line at the end of the instructions.
    Words(Text<'static>),
}
