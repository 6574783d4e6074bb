//! Moves an upstream's answer to the client: [`whole`] answers and [`stream`]s of the same format
//! byte for byte, those of another format [`translated`].

pub mod head;
mod outlet;
mod pace;
pub mod stream;
pub mod translated;
pub mod whole;

use super::prepare::Bypass;
use super::request_context::RequestContext;
use super::upstream::{End, Upstream};

/// What the relay has to mind.
pub struct Plan<'a> {
    pub bypass: Bypass,
    /// Several accounts stand behind the model: what one of them says of its limits would mislead.
    pub pooled: bool,
    pub provider: &'a str,
}

pub async fn run(req: &mut RequestContext<'_>, upstream: Upstream, plan: &Plan<'_>) -> End {
    let is_stream = upstream.is_event_stream();
    let encoded = upstream
        .head
        .get(&upstream.bytes, "content-encoding")
        .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    // An encoded body can't be looked into: it was asked for as identity, and passes as it is.
    if is_stream && upstream.head.status == 200 && !encoded {
        stream::run(req, upstream, plan).await
    } else {
        whole::run(req, upstream, plan, encoded).await
    }
}
