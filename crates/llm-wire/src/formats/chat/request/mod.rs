//! Requests of the Chat Completions format: decode a client's, encode one for a provider.

mod assistant;
mod decode;
mod decode_tools;
mod encode;
mod history;
mod members;
mod messages;
mod parts;
mod pieces;
#[cfg(test)]
mod tests;

use crate::canonical::loss::Ledger;
use crate::canonical::request::Request;
use crate::error::Error;
use crate::json::RawValue;
use crate::target::plan::{Context, Plan};

/// Reads a client's request into canonical form.
///
/// - `body` is an object and valid JSON throughout; keep it borrowed. Of duplicate keys the last
///   one counts; `null` is absent.
/// - Every top-level field goes where [`fields::FIELDS`](crate::request::fields::FIELDS) says: to
///   its home in [`Request`], else to `request.ext` (also unknown ones). Nothing is decided about
///   the target here, and nothing is refused that some target takes: unknown content parts and
///   items become `Foreign` with their path.
/// - Unknown fields inside messages, parts and tools are dropped with `ledger.unknown` of their
///   last name, once per pattern.
/// - Wrong types and missing required fields fail with the helpers of
///   [`read`](crate::request::reader), which set `param`.
/// - Reasoning state is opened with [`history::opaque_of`](crate::reasoning::history::opaque_of);
///   the marker of failed tool results ([`ERROR_MARKER`](crate::canonical::request::ERROR_MARKER))
///   becomes `is_error`.
pub(crate) fn decode<'a>(body: RawValue<'a>, ledger: &mut Ledger) -> Result<Request<'a>, Error> {
    decode::decode(body, ledger)
}

/// Writes the request for a provider of this format.
///
/// In this order, each decided in one shared place: tools by
/// [`tools::offer`](crate::request::tools::offer), reasoning by
/// [`thinking`](crate::request::thinking), the rest by
/// [`params::settle`](crate::request::params::settle), the conversation by
/// [`pairing::pair`](crate::request::pairing::pair) and
/// [`turns::turns`](crate::request::turns::turns), a trailing assistant message by
/// [`turns::prefill`](crate::request::turns::prefill), reasoning items by
/// [`history::disposition`](crate::reasoning::history::disposition), tool names in history by
/// [`tools::sent_name`](crate::request::tools::sent_name), call ids by
/// [`turns::sent_id`](crate::request::turns::sent_id). Losses of content are entered in `ledger`;
/// its `Err` (strict mode) is passed on with `?`.
///
/// - Deterministic and append-only: the same request gives the same bytes, and what was written for
///   a turn does not depend on later ones (`docs/internals/translation.md`, "Append-only
///   encoding"). Nothing fresh, no map order.
/// - Writes `model` from `cx.target.model`, `stream` from `plan.upstream_stream`, never `null` for
///   an absent field.
/// - May change in `plan`: `upstream_stream`, `betas`, `stops`, `tools` (the last two through the
///   shared functions).
/// - `out` is empty when it begins and may hold anything after an `Err`.
pub(crate) fn encode(
    request: &Request<'_>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    encode::encode(request, cx, plan, ledger, out)
}
