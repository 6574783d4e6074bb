//! Bodies that several routes share.

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::body::body;

body! {
    /// The status of a row.
    Status {
        required is_enabled: bool = "whether the row is used";
    }
}

/// A row that was changed
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Updated {
    /// Version of the configuration with this change
    pub(super) version: i64,
    /// `updated`
    pub(super) status: &'static str,
}
