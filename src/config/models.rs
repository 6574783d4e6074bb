//! Which models a provider serves and under what name, and which models a credential may ask for.

/// A provider's `model_mapping`.
#[derive(Debug, Default)]
pub struct Mapping {}

impl Mapping {
    /// The upstream's name for `model`, or `None` if this provider does not serve it.
    pub fn resolve<'a>(&'a self, model: &'a str) -> Option<std::borrow::Cow<'a, str>> {
        Some(std::borrow::Cow::Borrowed(model))
    }
}

/// A credential's `allowed_models`.
#[derive(Debug, Default)]
pub struct Allowed {}

impl Allowed {
    pub fn allows(&self, _model: &str) -> bool {
        true
    }
}
