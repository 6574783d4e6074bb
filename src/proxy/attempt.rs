//! One try of a request at one provider: connection, write, head of the answer, and then the relay.
//!
//! Until something was sent to the client, a try may fail and another provider be asked. What was
//! learned of the failure is kept: when no provider is left, the client gets the provider's own
//! answer if there was one.

use super::core::WorkerSnapshot;
use super::count;
use super::endpoint::Operation;
use super::prepare::{self, TransferMode, Translated};
use super::refusal;
use super::relay;
use super::request_context::{Next, RequestContext};
use super::upstream::{Answer, End, Failure, Held, Silence, Upstream, ask, hold, read_held};
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::route::pick::Candidate;
use crate::telemetry::stages::Stage;
use llm_wire::error::{Error, Kind, Side};
use llm_wire::error::{classify, shape};
use llm_wire::request::retry_without::RetryWithout;

/// What one attempt is to do.
pub struct Plan<'a> {
    pub candidate: &'a Candidate,
    /// Several accounts stand behind this model.
    pub pooled: bool,
    /// Nobody is left to ask after this one.
    pub last: bool,
    /// Nobody was asked before it either.
    pub only: bool,
}

pub async fn run(req: &mut RequestContext<'_>, view: &WorkerSnapshot, plan: &Plan<'_>) -> End {
    req.core.metrics.inc(Counter::Attempts);
    let provider = view.provider(plan.candidate.provider);
    req.recorder.begin_attempt(provider.id);
    let end = match once(req, view, plan, provider, RetryWithout::Nothing).await {
        TryOutcome::Ended(end) => end,
        TryOutcome::RetryWithout(mend) => {
            req.core.metrics.inc(Counter::Mended);
            match Box::pin(once(req, view, plan, provider, mend)).await {
                TryOutcome::Ended(end) => end,
                // A second one is not asked for.
                TryOutcome::RetryWithout(_) => End::Failed(Failure::of(Error::gateway(Kind::Internal, "mended twice"))),
            }
        }
    };
    let failure = if let End::Failed(failure) = &end { Some(&failure.error) } else { None };
    if matches!(end, End::ClientGone) {
        req.recorder.set_client_disconnected();
    }
    if failure.is_some() || req.recorder.has_failed() {
        req.capture_after_all();
    }
    req.recorder.end_attempt(&provider.key, failure);
    end
}

/// How a try ended that may be made once more.
enum TryOutcome {
    Ended(End),
    /// The provider refused the translated request for something that can be left out.
    RetryWithout(RetryWithout),
}

async fn once(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    plan: &Plan<'_>,
    provider: &Provider,
    mend: RetryWithout,
) -> TryOutcome {
    req.recorder.record_mut().provider_format = Some(plan.candidate.reach.format);
    if count::is_local(req, plan.candidate.reach.format, provider.dialect.host) {
        return TryOutcome::Ended(End::Answered(count::estimate(req).await));
    }
    let prepared = match prepare::request(req, view, plan.candidate, mend) {
        Ok(prepared) => prepared,
        Err(error) if error.side == Side::Client => {
            return TryOutcome::Ended(End::Failed(Failure::untranslatable(error)));
        }
        Err(error) => return TryOutcome::Ended(End::Failed(Failure::of(error))),
    };
    req.recorder.end_stage(Stage::Translate);
    req.recorder.set_upstream_request(prepared.format, &prepared.model, prepared.path, prepared.own_body());
    let origin = view.origin(plan.candidate.provider);
    let upstream = match ask(req, origin, provider, &prepared).await {
        Ok(upstream) => upstream,
        Err(Silence::Gone) => return TryOutcome::Ended(End::ClientGone),
        Err(Silence::Failed(error)) => return TryOutcome::Ended(End::Failed(Failure::of(error))),
    };
    let status = upstream.head.status;
    req.recorder.first_byte(status);
    if matches!(status, 404 | 405 | 501) && req.route.operation == Operation::Count {
        return TryOutcome::Ended(End::Answered(count::estimate(req).await));
    }
    match prepared.way {
        TransferMode::Bypass(_) if refusal::decides(plan, status) => {
            TryOutcome::Ended(Box::pin(refusal::judge(req, upstream, plan, &provider.key)).await)
        }
        TransferMode::Bypass(_) if may_fail_over(&upstream) && !plan.last => {
            TryOutcome::Ended(hold(req, upstream, &provider.key, plan.pooled).await)
        }
        TransferMode::Bypass(bypass) => {
            let answer = relay::Plan { bypass, pooled: plan.pooled, provider: &provider.key };
            TryOutcome::Ended(relay::run(req, upstream, &answer).await)
        }
        TransferMode::Translated(translated) if status >= 300 => {
            Box::pin(refused(req, upstream, &translated, &provider.key, plan)).await
        }
        TransferMode::Translated(_) if req.route.operation == Operation::Count => {
            TryOutcome::Ended(counted(req, upstream).await)
        }
        TransferMode::Translated(translated) => {
            let answer = relay::translated::Plan { pooled: plan.pooled, provider: &provider.key };
            TryOutcome::Ended(relay::translated::run(req, upstream, translated, &answer).await)
        }
    }
}

async fn counted(req: &mut RequestContext<'_>, mut upstream: Upstream) -> End {
    match Box::pin(read_held(req, &mut upstream)).await {
        Held::Gone => End::ClientGone,
        Held::Broken => End::Answered(count::estimate(req).await),
        Held::Read(body, decoder) => {
            upstream.settle(req, &decoder);
            End::Answered(count::counted_by(req, &body).await)
        }
    }
}

/// A provider of another format answered with an error: it is read, and told in the client's words
/// if no other provider does better.
async fn refused(
    req: &mut RequestContext<'_>,
    mut upstream: Upstream,
    translated: &Translated,
    provider: &str,
    plan: &Plan<'_>,
) -> TryOutcome {
    let status = upstream.head.status;
    let retry = !forbids_retry(&upstream);
    let body = match read_held(req, &mut upstream).await {
        Held::Read(body, decoder) => {
            let (head, bytes) = (upstream.head.clone(), std::mem::take(&mut upstream.bytes));
            upstream.settle(req, &decoder);
            Some((head, bytes, body))
        }
        Held::Gone => return TryOutcome::Ended(End::ClientGone),
        Held::Broken => None,
    };
    let format = translated.plan.provider;
    let said = body.as_ref().and_then(|(.., body)| shape::read_refusal(format, body));
    if let (400, Some(said), RetryWithout::Nothing) = (status, &said, translated.mend)
        && let Some(mend) = RetryWithout::of(format, said)
    {
        return TryOutcome::RetryWithout(mend);
    }
    let param = said.as_ref().and_then(|said| classify::param(req.route.format, format, said));
    let lacks_model = refusal::lacks_model(plan, status, said.as_ref());
    let error = refusal::error(provider, status, said, body.as_ref().map_or(&[], |(.., body)| body));
    let error = match param {
        Some(param) => error.param(param),
        None => error,
    };
    let retry = retry && (error.retryable() || lacks_model || matches!(status, 408 | 429 | 500..));
    // What was said of the key is not for the client.
    let body = body.filter(|_| error.kind != Kind::UpstreamAuth);
    let pooled = plan.pooled;
    let answer = body.map(|(head, bytes, body)| Answer { head, bytes, body, pooled, foreign: true });
    TryOutcome::Ended(End::Failed(Box::new(Failure { error, answer, retry, lacks_model })))
}

fn may_fail_over(upstream: &Upstream) -> bool {
    matches!(upstream.head.status, 408 | 429 | 500..) && !forbids_retry(upstream)
}

fn forbids_retry(upstream: &Upstream) -> bool {
    upstream.head.get(&upstream.bytes, "x-should-retry") == Some(b"false")
}

/// No provider is left: the client gets the last one's answer, or our note.
pub async fn give_up(req: &mut RequestContext<'_>, failure: Box<Failure>) -> Next {
    let Some(answer) = failure.answer else { return req.fail(&failure.error).await };
    if answer.foreign {
        return relay::translated::give_up(req, &failure.error, &answer).await;
    }
    let mut out = Vec::with_capacity(1024 + answer.body.len());
    let framed = relay::head::Framed::Length(answer.body.len() as u64);
    relay::head::begin(&mut out, req, &answer.head, &answer.bytes, answer.pooled, framed);
    relay::head::end_head(&mut out, framed);
    out.extend_from_slice(&answer.body);
    if let Some(detail) = req.recorder.detail() {
        detail.replies(&answer.body);
    }
    req.recorder.set_failed(answer.head.status, &failure.error);
    req.finish(out).await
}
