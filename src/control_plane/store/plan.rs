//! Several changes that are made together, such as the import of a file.

use super::change::Change;

/// The changes that turn the rows of a store into those of a file.
#[derive(Debug, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// Rows that are as in the file.
    pub same: usize,
}

/// One change of a plan.
#[derive(Debug)]
pub struct Step {
    /// The name of the change in the audit log, as `provider.update`.
    pub action: &'static str,
    /// The row's name.
    pub object: String,
    /// The row in JSON before and after the change, for the audit log; never with a secret.
    pub before_and_after: [Option<String>; 2],
    pub change: Change,
}

impl Plan {
    /// Counts the steps whose action ends with `what`: `create`, `update` or `delete`.
    pub fn count(&self, what: &str) -> usize {
        self.steps.iter().filter(|step| step.action.ends_with(what)).count()
    }
}
