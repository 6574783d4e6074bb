//! The problems of a configuration file.

use std::fmt;

/// A problem of a configuration file, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The line, counted from 1.
    pub line: usize,
    pub message: String,
}

impl FileProblem {
    pub(super) fn new(line: usize, message: impl Into<String>) -> FileProblem {
        FileProblem { line, message: message.into() }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}
