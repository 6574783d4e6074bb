//! What a request may need of its budgets.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::super::core::WorkerSnapshot;
use super::super::endpoint::Operation;
use super::super::request_context::RequestContext;
use super::super::spending::Plan;
use crate::config::prices::cost::May;
use crate::config::prices::{ModelPrices, ProviderPrice};
use crate::route::pick::{Candidate, Candidates};
use crate::tokens;
use llm_wire::passthrough::peek;
use llm_wire::target::caps::UNLIMITED;

/// The tokens that a response is taken to have at most, if neither the request nor what is known of
/// the model says.
const ASSUMED_MOST: u64 = 32_768;

/// What names in a body things that may have a price of their own. Making a finder costs as much as
/// a search.
struct Names {
    cache: Finder<'static>,
    audio: Finder<'static>,
    image: Finder<'static>,
    search: Finder<'static>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    cache: Finder::new("cache_control"),
    audio: Finder::new("audio"),
    image: Finder::new("image"),
    search: Finder::new("web_search"),
});

/// Returns what a request may need that is served by these candidates. `model` is the name by which
/// they were found.
#[inline(always)]
pub(super) fn plan_of(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    (candidates, model): (&Candidates, &str),
    output: peek::Output,
) -> Plan {
    let generates = req.route.operation == Operation::Generate;
    let body = req.body();
    let (by_bytes, likely) = (tokens::most_of_short_prompt(body), tokens::of_short_prompt(body));
    let likely_prompt = likely.unwrap_or_else(|| tokens::prompt(body));
    // The estimate may be too low, and a provider adds tokens of its own.
    let prompt = by_bytes.unwrap_or_else(|| likely_prompt.saturating_add(likely_prompt / 2));
    let limit = output.most(req.route.format).filter(|_| generates);
    let model_most = || {
        let most = candidates.list.iter().map(|candidate| candidate.target.caps.max_output).max();
        most.filter(|most| *most != UNLIMITED).unwrap_or(ASSUMED_MOST)
    };
    let prices = req.core.budgets.with_prices(|table| {
        candidates.prices(table, || {
            let price = |candidate: &Candidate| {
                let (provider, sent) = (view.provider(candidate.provider), &*candidate.upstream_model);
                let price = table.of(&provider.models, &provider.key, &provider.provider_type, model, sent);
                ProviderPrice::new(provider.id, sent, price)
            };
            ModelPrices::new(Arc::clone(table), candidates.list.iter().map(price))
        })
    });
    // The body is searched only for what has a price of its own.
    let names = |finder: &Finder<'_>| finder.find(body).is_some();
    let extras = prices.extras();
    let may = May {
        tier: req.recorder.tier_named(),
        prompt,
        writes_cache: extras.cache_writes && names(&NAMES.cache),
        has_media: extras.media && (names(&NAMES.audio) || names(&NAMES.image)),
        searches: extras.searches && names(&NAMES.search),
    };
    Plan {
        prompt,
        likely_prompt,
        is_by_bytes: by_bytes.is_some(),
        most: if generates { limit.unwrap_or_else(model_most) } else { 0 },
        answers: output.answers(req.route.format),
        is_limited: limit.is_some() || !generates,
        may,
        prices,
        needs_price: false,
    }
}
