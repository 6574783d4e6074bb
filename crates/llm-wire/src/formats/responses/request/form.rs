//! The form of the response, as the request asks for it.

use crate::canonical::text::Text;

/// How the request asks for the form of the response.
pub(super) enum Form {
    Free,
    /// `text.format`.
    Format(Vec<u8>),
    /// A line at the end of the instructions.
    Words(Text<'static>),
}
