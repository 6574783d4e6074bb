//! One attempt at one candidate: the request, the head of the response, and then its relay.
//!
//! Until something was sent to the client, an attempt may fail and the next candidate be tried. The
//! failure keeps what was learned: when no candidate is left, the client gets the provider's own
//! error response if there was one.

use std::rc::Rc;

use super::budget;
use super::circuit_guard::CircuitGuard;
use super::core::WorkerSnapshot;
use super::count;
use super::deadlines::{self, Deadlines};
use super::endpoint::Operation;
use super::hedge;
use super::hedge::Won;
use super::interrupt::{BufferedResponse, Failure, Interrupt};
use super::prepare::{self, Bypass, Prepared, TransferMode, Translated};
use super::refusal;
use super::relay::{self, Responder, buffered};
use super::reply::Upstream;
use super::request_context::{Next, RequestContext};
use super::retry_hint::{self, RetryHint};
use super::upstream::{UpstreamResponse, send_request};
use crate::breaker::attribution::Fault;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::proxy::recorder::UpstreamRequest;
use crate::route::pick::Candidate;
use crate::route::target_format::TargetFormat;
use crate::telemetry::record::Outcome;
use crate::telemetry::stages::Stage;
use llm_wire::error::{Error, Kind, Side, classify};
use llm_wire::formats::errors;
use llm_wire::request::retry_without::RetryWithout;

/// What an attempt is made with.
pub struct Attempt<'a> {
    pub view: &'a Rc<WorkerSnapshot>,
    pub candidate: &'a Candidate,
    pub provider: &'a Provider,
    /// Whether no other candidate will be tried after this one. Its error response may go to the
    /// client as it comes.
    pub is_last: bool,
    /// Whether no other candidate was tried before it either.
    pub is_only: bool,
    /// Whether an attempt before it has failed. Of several failures the most useful one is passed
    /// on, so that this one is kept too.
    pub has_failure: bool,
}

/// Tries a candidate, without what it has refused before.
pub async fn run(
    req: &mut RequestContext<'_>,
    attempt: &Attempt<'_>,
    retry_without: RetryWithout,
) -> Result<Next, Interrupt> {
    let provider = attempt.provider;
    if req.recorder.spending_depends_on(provider) {
        Box::pin(budget::reserve_at(req, attempt.view, attempt.candidate)).await?;
    }
    req.core.metrics.inc(Counter::Attempts);
    req.recorder.begin_attempt(provider.id);
    req.attempt_began_us = req.recorder.attempt_began_us();
    let model = &attempt.candidate.upstream_model;
    req.deadlines = Deadlines::of(req.core.boot(), provider, attempt.candidate, model, req.body().len());
    req.circuit_guard = Some(CircuitGuard::begin(req.core, attempt.view, attempt.candidate));
    let result = attempt.run(req, retry_without).await;
    conclude(req, attempt, result)
}

/// Goes on with an attempt that ran beside another one, and has won the race.
pub async fn adopt(req: &mut RequestContext<'_>, attempt: &Attempt<'_>, won: Won) -> Result<Next, Interrupt> {
    let (provider, candidate) = (attempt.provider, attempt.candidate);
    let Won { mut prepared, response, held: _held, began_us, first_byte_us, circuit_guard, hold } = won;
    req.recorder.adopt_attempt(provider.id, began_us);
    req.attempt_began_us = began_us;
    req.deadlines = Deadlines::of(req.core.boot(), provider, candidate, &candidate.upstream_model, req.body().len());
    req.circuit_guard = Some(circuit_guard);
    req.recorder.release_provider_hold();
    if let Some(hold) = hold {
        req.recorder.set_provider_hold(hold);
    }
    note_request(req, candidate, &prepared);
    prepared.release_written();
    req.recorder.first_byte_at(first_byte_us, response.head.status);
    note_head(req, &response);
    let result = attempt.relay(req, response, prepared).await;
    conclude(req, attempt, result)
}

/// Ends an attempt: its outcome goes into the memory of the provider, and into the record.
fn conclude(
    req: &mut RequestContext<'_>,
    attempt: &Attempt<'_>,
    mut result: Result<Next, Interrupt>,
) -> Result<Next, Interrupt> {
    let provider = attempt.provider;
    let hint = std::mem::take(&mut req.hint);
    if let Err(Interrupt::Failed(failure)) = &mut result {
        if req.client.is_superseded {
            req.circuit_guard = None;
            failure.error = Error::gateway(Kind::UpstreamTimeout, hedge::LOST);
            req.recorder.end_superseded_attempt(&provider.key, &failure.error);
            return result;
        }
        failure.hint = hint.1;
        failure.status = failure.status.or(hint.0);
        refusal::note_missing_model(attempt.candidate, failure);
        failure.upstream = req.meta.upstream.clone();
        failure.hide_keys(provider);
        if failure.rest.is_none() {
            req.recorder.charge_failed_attempt();
        }
    }
    settle(req, &result);
    let error = match &result {
        Err(Interrupt::Failed(failure)) => Some(&failure.error),
        Err(Interrupt::ClientDisconnected) => {
            req.recorder.set_client_disconnected();
            None
        }
        Ok(_) => None,
    };
    if error.is_some() || req.recorder.has_failed() {
        req.capture_after_all();
        req.recorder.capture.hide_keys(provider);
    }
    req.recorder.end_attempt(&provider.key, error);
    result
}

/// Notes the request that a provider gets, for the record and the headers of the response.
fn note_request(req: &mut RequestContext<'_>, candidate: &Candidate, prepared: &Prepared) {
    let (format, model, path) = (prepared.format, &*prepared.model, prepared.path);
    req.recorder.set_upstream_request(&UpstreamRequest { format, model, path, body: prepared.own_body() });
    if req.core.boot().show_provider_headers {
        let (name_fields, attempts) = (candidate.name_fields.clone(), req.recorder.attempts());
        req.meta.upstream = Some(Upstream { name_fields, attempts });
    }
}

/// Records in the memory of the provider what became of the attempt.
fn settle(req: &mut RequestContext<'_>, result: &Result<Next, Interrupt>) {
    let Some(mut circuit_guard) = req.circuit_guard.take() else { return };
    let (status, outcome) = req.recorder.outcome();
    match (result, outcome) {
        (Err(Interrupt::ClientDisconnected), _) | (Ok(_), Outcome::ClientDisconnected) => {}
        // The client gave it no more time: that says nothing of the provider.
        (Err(Interrupt::Failed(failure)), _) if failure.fault() == Fault::Silent && req.is_past_client_limit() => {}
        (Err(Interrupt::Failed(failure)), _) => circuit_guard.fail(failure.fault(), &mut req.counted_failures),
        (Ok(_), Outcome::Truncated(kind)) => {
            circuit_guard.fail(Fault::of(Side::Upstream, kind, None), &mut req.counted_failures);
        }
        // The response went to the client as it came.
        (Ok(_), Outcome::Complete | Outcome::Failed(_)) if status >= 400 => {
            let fault = Fault::of(Side::Upstream, kind_of_refusal(status), Some(status));
            circuit_guard.fail(fault, &mut req.counted_failures);
        }
        (Ok(_), Outcome::Complete | Outcome::Failed(_)) => circuit_guard.succeed(),
    }
}

/// Returns the kind of a refusal of which the text was not read.
fn kind_of_refusal(status: u16) -> Kind {
    match status {
        402 | 408 | 429 | 500.. => kind_of_status(status),
        _ => Kind::InvalidRequest,
    }
}

impl Attempt<'_> {
    async fn run(&self, req: &mut RequestContext<'_>, retry_without: RetryWithout) -> Result<Next, Interrupt> {
        let Attempt { view, candidate, provider, .. } = *self;
        req.recorder.record_mut().provider_format = Some(candidate.target.format);
        if count::is_local(req, candidate.target.format, provider.dialect.host) {
            return count::respond_with_estimate(req).await;
        }
        let mut prepared = prepare::request(req, view, candidate, retry_without).map_err(preparation_failed)?;
        req.recorder.end_stage(Stage::Translate);
        note_request(req, candidate, &prepared);
        let response = send_request(req, view.origin(candidate.provider), provider, &prepared).await?;
        prepared.release_written();
        let status = response.head.status;
        req.recorder.first_byte(status);
        note_head(req, &response);
        if matches!(status, 404 | 405 | 501) && req.route.operation == Operation::Count {
            return count::respond_with_estimate(req).await;
        }
        if matches!(status, 204 | 205 | 300..400) && req.route.operation == Operation::Generate {
            return Err(without_answer(&response, &provider.key).into());
        }
        // A whole answer that came with its head is written here; `relay` has all others.
        if status == 200
            && let TransferMode::Bypass(bypass) = prepared.mode
        {
            req.effort_none_added = bypass.effort_none_added;
            if let Some(out) = relay::write_at_once(req, &response, bypass, provider)? {
                response.release(req);
                return Ok(req.finish(out).await?);
            }
        }
        self.relay(req, response, prepared).await
    }

    /// Moves a response to the client, or fails with it.
    async fn relay(
        &self,
        req: &mut RequestContext<'_>,
        response: UpstreamResponse,
        prepared: Prepared,
    ) -> Result<Next, Interrupt> {
        let Attempt { candidate, provider, is_last, is_only, has_failure, .. } = *self;
        let status = response.head.status;
        let response = match response.is_encoded && status >= 400 {
            true => Box::pin(buffered::decode_error(req, response, &provider.key)).await?,
            false => response,
        };
        req.effort_none_added = matches!(prepared.mode, TransferMode::Bypass(Bypass { effort_none_added: true, .. }));
        match prepared.mode {
            TransferMode::Bypass(_) if refusal::needs_text(candidate, is_only, status) => {
                Box::pin(refusal::fail(req, response, candidate, &provider.key)).await
            }
            TransferMode::Bypass(_) if status == 404 && req.stored.is_some() && !is_only => {
                Box::pin(refusal::fail_without_response(req, response, &provider.key)).await
            }
            TransferMode::Bypass(_) if status >= 300 && req.head_sent => {
                fail_with_response(req, response, &provider.key).await
            }
            TransferMode::Bypass(_) if may_fail_over(&response) && (!is_last || has_failure) => {
                fail_with_response(req, response, &provider.key).await
            }
            TransferMode::Bypass(bypass) => {
                let target = TargetFormat { format: prepared.format, ..candidate.target };
                let responder = Responder { provider, target, model: &prepared.model };
                relay::passthrough(req, response, bypass, &responder).await
            }
            TransferMode::Translated(translated) if status >= 300 => {
                Box::pin(self.fail_translated(req, response, &translated)).await
            }
            TransferMode::Translated(_) if req.route.operation == Operation::Count => {
                Box::pin(count::respond_with_counted(req, response)).await
            }
            TransferMode::Translated(translated) => relay::translate(req, response, translated, provider).await,
        }
    }

    /// Fails with an error response of a provider of another format: the error is read, and written
    /// in the client's format if no other candidate does better.
    async fn fail_translated(
        &self,
        req: &mut RequestContext<'_>,
        response: UpstreamResponse,
        translated: &Translated,
    ) -> Result<Next, Interrupt> {
        let status = response.head.status;
        let may_retry = !response.forbids_retry();
        let format = translated.plan.provider;
        let response = buffered::read(req, response).await?;
        let body = response.as_ref().map_or(&[][..], |response| &response.body);
        let reported = errors::read_refusal(format, body);
        let retry_without = match (status, &reported, translated.retry_without) {
            (400, Some(reported), RetryWithout::Nothing) => RetryWithout::of(format, reported).unwrap_or_default(),
            _ => RetryWithout::Nothing,
        };
        let param = reported.as_ref().and_then(|reported| classify::param(req.route.format, format, reported));
        let lacks_model = refusal::lacks_model(self.candidate, status, reported.as_ref());
        let error = refusal::error(&self.provider.key, status, reported, body);
        let error = match param {
            Some(param) => error.param(param),
            None => error,
        };
        let try_next = may_retry
            && (error.retryable() || lacks_model || error.kind == Kind::Billing || matches!(status, 408 | 429 | 500..));
        let response = response.map(|response| BufferedResponse { is_translated: true, ..response });
        let response = refusal::for_client(response, &error);
        Err(Failure { response, try_next, lacks_model, retry_without, ..Failure::from(error) }.into())
    }
}

/// Returns the failure of a request that could not be prepared. A request that cannot be expressed
/// in this provider's format may be expressed in the next one's.
fn preparation_failed(error: Error) -> Failure {
    let is_untranslatable = error.side == Side::Client;
    let failure = Failure::from(error);
    Failure { try_next: failure.try_next || is_untranslatable, ..failure }
}

/// Fails with an error response of a provider of the client's own format.
async fn fail_with_response(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    provider: &str,
) -> Result<Next, Interrupt> {
    let status = response.head.status;
    // A 409 is repeated at the same provider alone.
    let try_next = may_fail_over(&response) && status != 409;
    let response = buffered::read(req, response).await?;
    let body = response.as_ref().map_or(&[][..], |response| &response.body);
    let error = match refusal::is_about_quota(req.route.format, status, body) {
        true => {
            let note = format!("the account at provider `{provider}` has no quota left (status {status})");
            Error::upstream(Kind::Billing, note)
        }
        false => {
            let note = format!("provider `{provider}` responded with status {status}");
            Error::upstream(kind_of_status(status), note)
        }
    };
    Err(Failure { response, try_next, ..Failure::from(error) }.into())
}

/// Returns the failure of a response that has a status without content, or of a redirect: neither
/// is what a model writes, in whichever format. Redirects are not followed, since the
/// provider's key is for its own host.
fn without_answer(response: &UpstreamResponse, provider: &str) -> Failure {
    let status = response.head.status;
    let note = match status {
        300..400 => format!(
            "provider `{provider}` responded with status {status}, a redirect, which the gateway does not follow; \
             its base URL must name the final address"
        ),
        _ => format!("provider `{provider}` responded with status {status}, which has no content"),
    };
    let error = Error::upstream(Kind::UpstreamFault, note);
    let error = match response.head.get(&response.bytes, "location") {
        Some(location) => {
            let location: String = String::from_utf8_lossy(location).chars().take(200).collect();
            error.detail(format_args!("location: {location}"))
        }
        None => error,
    };
    Failure { status: Some(status), ..Failure::from(error) }
}

/// Notes what the head of a response says about later requests.
fn note_head(req: &mut RequestContext<'_>, response: &UpstreamResponse) {
    let with_head = response.bytes.len().saturating_sub(response.head.len);
    req.recorder.set_body(response.is_event_stream, with_head);
    if response.head.status >= 400 {
        let hint = RetryHint::of(&response.head, &response.bytes);
        req.hint = (Some(response.head.status), hint);
        if let Some(circuit_guard) = &mut req.circuit_guard {
            circuit_guard.wait = hint.wait;
        }
    } else if req.pooled
        && let Some(wait) = retry_hint::exhausted(&response.head, &response.bytes, deadlines::prompt_tokens(req.body()))
        && let Some(circuit_guard) = &mut req.circuit_guard
    {
        circuit_guard.exhausted = Some(wait);
    }
}

fn may_fail_over(response: &UpstreamResponse) -> bool {
    let is_invited = || response.head.get(&response.bytes, "x-should-retry") == Some(b"true");
    match response.head.status {
        402 | 408 | 429 | 500.. => !response.forbids_retry(),
        409 => is_invited(),
        _ => false,
    }
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        402 => Kind::Billing,
        408 | 504 => Kind::UpstreamTimeout,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        _ => Kind::UpstreamFault,
    }
}
