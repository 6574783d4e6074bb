//! The configuration file: providers, credentials and settings in YAML, under the names that they
//! have in the tables, in the Admin API and in the environment. [`read`] loads a file or reports
//! all that is wrong with it, each with its line; [`write()`] makes one.

mod document;
mod fields;
mod node;
mod problem;
mod read;
pub mod schema;
mod schema_values;
mod write;
pub(crate) mod yaml;
mod yaml_1_1;

pub use document::File;
pub use problem::FileProblem;
pub use read::{read, read_all};
pub use write::write;
