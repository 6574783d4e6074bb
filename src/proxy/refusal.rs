//! What a provider's refusal means: the key in its row was refused, the model is not there, or the
//! request itself is at fault.

use super::attempt::Plan;
use super::request_context::RequestContext;
use super::upstream::{Answer, End, Failure, Held, Upstream, read_held};
use llm_wire::error::shape::{self, ReadError};
use llm_wire::error::{Error, Kind, classify};

/// Whether the words of an answer in the client's own format decide what becomes of it.
pub fn decides(plan: &Plan<'_>, status: u16) -> bool {
    matches!(status, 401 | 403) || (may_lack_model(plan, status) && !plan.only)
}

/// Reads an answer of which [`decides`] holds. Another provider may do better where this one
/// refused the key in its row, or does not have a model that it was asked for only since it serves
/// every name; every other refusal is the client's answer.
pub async fn judge(req: &mut RequestContext<'_>, mut upstream: Upstream, plan: &Plan<'_>, provider: &str) -> End {
    let status = upstream.head.status;
    let answer = match read_held(req, &mut upstream).await {
        Held::Gone => return End::ClientGone,
        Held::Broken => {
            let failure = Failure::of(error(provider, status, None, &[]));
            return End::Failed(Box::new(Failure { lacks_model: status == 404, retry: true, ..*failure }));
        }
        Held::Read(body, decoder) => {
            let (head, bytes) = (upstream.head.clone(), std::mem::take(&mut upstream.bytes));
            upstream.settle(req, &decoder);
            Answer { head, bytes, body, pooled: plan.pooled, foreign: false }
        }
    };
    let said = shape::read_refusal(req.route.format, &answer.body);
    let lacks_model = lacks_model(plan, status, said.as_ref());
    let error = error(provider, status, said, &answer.body);
    let is_key = error.kind == Kind::UpstreamAuth;
    // What was said of the key is not for the client.
    let answer = Some(answer).filter(|_| !is_key);
    End::Failed(Box::new(Failure { error, answer, retry: is_key || lacks_model, lacks_model }))
}

/// Whether a provider of any name says that it does not have this one.
pub fn lacks_model(plan: &Plan<'_>, status: u16, said: Option<&ReadError<'_>>) -> bool {
    may_lack_model(plan, status) && (status == 404 || said.is_some_and(classify::is_no_model))
}

fn may_lack_model(plan: &Plan<'_>, status: u16) -> bool {
    plan.candidate.rank.is_catch_all() && matches!(status, 400 | 404)
}

/// The error behind a refusal. The log has what the provider said in any case.
pub fn error(provider: &str, status: u16, said: Option<ReadError<'_>>, body: &[u8]) -> Error {
    let error = match said {
        Some(said) => classify::error(Some(status), &said),
        None => classify::unreadable(status, body),
    };
    match error.kind {
        Kind::UpstreamAuth => {
            let said = error.detail.unwrap_or_else(|| error.note.into_owned());
            refused_key(provider, status).detail(said)
        }
        _ => error.context(format_args!("provider `{provider}`, status {status}")),
    }
}

/// The provider refused the key in its row. The client's own key was right, so it never sees a 401
/// for it.
fn refused_key(provider: &str, status: u16) -> Error {
    let note = format!("upstream authentication failed: provider `{provider}` refused its key (status {status})");
    Error::upstream(Kind::UpstreamAuth, note)
}
