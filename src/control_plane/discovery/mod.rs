//! What is found out about the world: addresses of names, model lists of providers, renewed
//! certificates.

pub mod certificates;
pub mod dns;
pub mod model_lists;
