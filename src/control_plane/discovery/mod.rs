//! Discovery: addresses of names, model lists of providers, renewed certificates.

pub(crate) mod certificates;
pub(crate) mod dns;
pub(crate) mod model_lists;
