//! Converts a response of the client's own format from a stream to a whole response, or back: some
//! hosts ignore `stream`.

use super::super::interrupt::Interrupt;
use super::super::prepare::translated::conversion;
use super::super::request_context::{Next, RequestContext};
use super::form::Form;
use super::relayed::Responder;
use super::source::{UpstreamBody, malformed};
use super::translated;

/// Relays `body`, whose form is not the one that was requested.
pub(super) async fn run(
    req: &mut RequestContext<'_>,
    body: UpstreamBody,
    form: Form,
    responder: &Responder<'_>,
) -> Result<Next, Interrupt> {
    let provider = &*responder.provider.key;
    if matches!(form, Form::Markup | Form::Text) || !req.route.translates() {
        return Err(malformed(provider, format_args!("a status of success, but a body of the form {form:?}")).into());
    }
    let conversion = conversion(req, responder.provider, &responder.target, responder.model);
    translated::run(req, body, Box::new(conversion), responder.provider).await
}
