//! Moves the body of an upstream's response to the client.
//!
//! [`whole`] and [`stream`] forward bodies of the client's own format byte for byte, [`translated`]
//! writes those of another format anew, and [`buffered`] keeps error responses until no candidate is
//! left. All of them read with [`source`] and write heads with [`head`].

pub mod buffered;
mod head;
mod outlet;
mod pace;
mod source;
mod stream;
pub mod translated;
mod whole;

use super::interrupt::Interrupt;
use super::prepare::Bypass;
use super::request_context::{Next, RequestContext};
use super::upstream::UpstreamResponse;

/// Forwards a response of the client's own format.
pub async fn passthrough(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    bypass: Bypass,
    provider: &str,
) -> Result<Next, Interrupt> {
    // An encoded body can't be inspected. The gateway requested the identity, so it forwards what it
    // got.
    if response.is_event_stream() && response.head.status == 200 && !response.is_encoded() {
        stream::run(req, response, bypass, provider).await
    } else {
        whole::run(req, response, bypass, provider).await
    }
}
