//! What is wrong with a document, and where.

use std::fmt;

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a value.
    Eof,
    /// A value should begin here.
    Value,
    /// A key in quotes should begin here.
    Key,
    /// A colon should follow the key.
    Colon,
    /// A comma or the closing bracket should stand here.
    Comma,
    /// A number is malformed (`01`, `1.`, `NaN`).
    Number,
    /// An escape sequence in a string is malformed.
    Escape,
    /// A byte below 0x20 inside a string.
    Control,
    /// The bytes are not UTF-8.
    Utf8,
    /// Arrays and objects are nested deeper than 128 levels.
    TooDeep,
    /// Something follows the value.
    Trailing,
    /// The value is of another kind than the walk needs.
    NotObject,
    /// The value is not an array, which the walk needs.
    NotArray,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Eof => "the document ends inside a value",
            Fault::Value => "a value was expected",
            Fault::Key => "a key in double quotes was expected",
            Fault::Colon => "a colon was expected",
            Fault::Comma => "a comma or a closing bracket was expected",
            Fault::Number => "malformed number",
            Fault::Escape => "malformed escape in a string",
            Fault::Control => "control character in a string",
            Fault::Utf8 => "invalid UTF-8",
            Fault::TooDeep => "nested deeper than 128 levels",
            Fault::Trailing => "something follows the end of the document",
            Fault::NotObject => "an object was expected",
            Fault::NotArray => "an array was expected",
        })
    }
}

/// A fault and its position, in bytes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanError {
    /// The position of the fault, in bytes from the start of the document.
    pub at: usize,
    /// What is wrong there.
    pub what: Fault,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ScanError {}

/// Returns the fault at byte `at` as an error.
pub(super) fn fault<T>(at: usize, what: Fault) -> Result<T, ScanError> {
    Err(ScanError { at, what })
}
