//! The configuration in force: read from the store, compiled, published, kept on disk for a start
//! without the store, exported and imported.

pub(crate) mod current;
pub mod disk_cache;
pub mod import_export;
pub mod models_file;
mod row_changes;
mod row_files;
pub mod sync;
