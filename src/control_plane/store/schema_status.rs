//! Which steps of a store's schema were applied.

/// The state of a store's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// All steps that this binary knows, in their order.
    pub steps: Vec<Step>,
    /// A note about the store, such as which program its tables belong to.
    pub note: Option<String>,
}

/// One migration, and whether it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub version: i64,
    pub name: &'static str,
    pub applied: bool,
}

impl Status {
    /// Returns the number of the newest applied step; 0 is an empty store.
    pub fn version(&self) -> i64 {
        self.steps.iter().filter(|step| step.applied).map(|step| step.version).max().unwrap_or_default()
    }
}
