//! What a request may need of its budgets.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;

use super::super::core::WorkerSnapshot;
use super::super::endpoint::Operation;
use super::super::request_context::RequestContext;
use super::super::spending::Plan;
use crate::config::prices::cost::May;
use crate::config::prices::{ModelPrices, PriceTable, ProviderPrice};
use crate::route::pick::{Candidate, Candidates};
use crate::tokens;
use llm_wire::json::RawValue;
use llm_wire::passthrough::peek;
use llm_wire::target::caps::UNLIMITED;

/// The tokens that a response is taken to have at most, if neither the request nor what is known of
/// the model says.
const ASSUMED_MOST: u64 = 32_768;

/// The searches that a request is taken to make at most, if it says nothing of them. The vendors
/// name no bound of their own.
const ASSUMED_SEARCHES: u64 = 10;

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
/// they were found. Inlined, since the plan is built where the request keeps it and not copied.
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
    let prices =
        req.core.budgets.with_prices(|table| candidates.prices(table, || prices_of(view, (candidates, model), table)));
    // The body is searched only for what has a price of its own.
    let names = |finder: &Finder<'_>| finder.find(body).is_some();
    let extras = prices.extras();
    let may = May {
        tier: req.recorder.tier_named(),
        prompt,
        writes_for_hour: extras.hour_writes && names(&NAMES.cache),
        has_media: extras.media && (names(&NAMES.audio) || names(&NAMES.image)),
        searches: if extras.searches && names(&NAMES.search) { most_searches(body) } else { 0 },
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

/// Finds the prices of a model at its candidates, once for each table: cold, so that the request path
/// does not save registers for it.
#[cold]
fn prices_of(view: &WorkerSnapshot, (candidates, model): (&Candidates, &str), table: &Arc<PriceTable>) -> ModelPrices {
    let price = |candidate: &Candidate| {
        let (provider, sent) = (view.provider(candidate.provider), &*candidate.upstream_model);
        let price = table.of(&provider.models, &provider.key, &provider.provider_type, model, sent);
        ProviderPrice::new(provider.id, sent, price)
    };
    ModelPrices::new(Arc::clone(table), candidates.list.iter().map(price))
}

/// Returns how often a provider may search for a request that names a search: the sum of `max_uses`
/// of its search tools, no more than `max_tool_calls` where that is given. Cold, since few requests
/// search.
#[cold]
fn most_searches(body: &[u8]) -> u64 {
    let body = RawValue::new(body);
    let is_search = |tool: &RawValue<'_>| {
        let kind = tool.find("type").and_then(RawValue::as_str);
        kind.is_some_and(|kind| kind.unescape().starts_with("web_search"))
    };
    let tools = body.find("tools").into_iter().flat_map(RawValue::elements).map(|(tool, _)| tool).filter(is_search);
    let uses = tools.map(|tool| tool.find("max_uses").and_then(RawValue::as_u64).unwrap_or(ASSUMED_SEARCHES));
    let of_tools = uses.reduce(u64::saturating_add).unwrap_or(ASSUMED_SEARCHES);
    let of_all = body.find("max_tool_calls").and_then(RawValue::as_u64);
    of_all.map_or(of_tools, |most| most.min(of_tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_that_a_request_allows() {
        let rows = [
            (r#"{"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3}]}"#, 3),
            (r#"{"tools":[{"type":"web_search_20250305","max_uses":3},{"type":"web_search"}]}"#, 13),
            (r#"{"tools":[{"type":"function","name":"web_search","max_uses":1}]}"#, ASSUMED_SEARCHES),
            (r#"{"tools":[{"type":"web_search_preview"}],"max_tool_calls":2}"#, 2),
            (r#"{"tools":[{"type":"web_search","max_uses":4}],"max_tool_calls":200}"#, 4),
            (r#"{"tools":[{"type":"web_search","max_uses":-1}]}"#, ASSUMED_SEARCHES),
            (r#"{"web_search_options":{}}"#, ASSUMED_SEARCHES),
            (r#"{"tools":7,"input":"web_search with \"max_uses\":0"}"#, ASSUMED_SEARCHES),
        ];
        for (body, expected) in rows {
            assert_eq!(most_searches(body.as_bytes()), expected, "{body}");
        }
    }
}
