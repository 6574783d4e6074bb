//! What relays are given and give back.

use super::super::request_context::Next;
use super::form::Form;
use super::source::UpstreamBody;
use crate::config::snapshot::Provider;
use crate::route::target_format::TargetFormat;

/// Who sent a response, and as what it was requested.
pub struct Responder<'a> {
    pub provider: &'a Provider,
    pub target: TargetFormat,
    /// The provider's name of the model.
    pub model: &'a str,
}

/// How far a relay came.
pub(super) enum Relayed {
    Done(Next),
    /// The body has another form than the client requested. Nothing of it was used or sent.
    Other(Box<UpstreamBody>, Form),
}
