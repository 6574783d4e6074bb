//! Observation and small edits of bytes that pass unchanged between a client and a provider of the
//! same format.

pub mod answer_templates;
pub mod continuation;
pub(crate) mod document_templates;
pub mod event_strings;
pub mod event_template;
pub mod event_templates;
pub mod finish;
mod json_prefix;
pub(crate) mod observation;
pub mod peek;
pub mod plain_documents;
pub mod request_templates;
pub mod splice;
pub mod tap;
