//! Messages about settings at the start: values that cannot be used, and warnings for the log.

use std::fmt;

/// A warning for the log, which does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// `--port`, `PORT in the environment`, `PORT in .env`.
    pub place: String,
    /// What is wrong and what would be right, with the value unless it is a secret.
    pub message: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
