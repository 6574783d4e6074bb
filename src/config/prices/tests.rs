//! Prices, as lists name them, and what they come to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cost::{May, Most};
use super::*;
use crate::telemetry::record::{Short, Tokens};

#[test]
fn prices_in_metadata() {
    let full = json!({
        "input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5, "cache_read_input_token_cost": "3e-07",
        "cache_creation_input_token_cost": 3.75e-6, "cache_creation_input_token_cost_above_1hr": 6e-6,
        "output_cost_per_reasoning_token": 2e-5, "mode": "chat",
    });
    let price = Price {
        input: Some(3.0),
        output: Some(15.0),
        cache_read: Some(0.3),
        cache_write_5m: Some(3.75),
        cache_write_1h: Some(6.0),
        reasoning: Some(20.0),
        ..Price::default()
    };
    assert_eq!(Price::of(&full), Some(price));
    let old = json!({ "input_cost_per_1k_tokens": 0.00015, "output_cost_per_1k_tokens": 0.0006 });
    assert_eq!(Price::of(&old), Some(Price { input: Some(0.15), output: Some(0.6), ..Price::default() }));
    for nothing in
        [json!({}), json!(null), json!({ "input_cost_per_token": -1 }), json!({ "input_cost_per_token": "free" })]
    {
        assert_eq!(Price::of(&nothing), None, "{nothing}");
    }
}

#[test]
fn names_go_before_patterns() {
    let price = |dollars| Price { input: Some(dollars), ..Price::default() };
    let rows = [("gpt-*", 1.0), ("gpt-4", 2.0), ("azure/gpt-4", 3.0), ("re:(", 4.0)];
    let prices = PriceTable::new(rows.into_iter().map(|(model, dollars)| (model.to_owned(), price(dollars))));
    let find = |names: &[&str]| prices.find(names).and_then(|price| price.input);
    assert_eq!(find(&["openai/gpt-4", "gpt-4"]), Some(2.0));
    assert_eq!(find(&["azure/gpt-4", "gpt-4"]), Some(3.0));
    assert_eq!(find(&["openai/gpt-5", "gpt-5"]), Some(1.0));
    assert_eq!((find(&["claude"]), find(&["re:("])), (None, Some(4.0)));
}

#[test]
fn price_lists() {
    let list = r#"{"sample_spec":{"input_cost_per_token":0.0},"m":{"input_cost_per_token":1e-6},"image":{"input_cost_per_image":1}}"#;
    let found = published("x.json", list).unwrap();
    assert_eq!((found.prices.len(), found.without, found.prices["m"].input), (1, 1, Some(1.0)));
    assert!(published("x.json", "[]").unwrap_err().starts_with("x.json is no list of prices"));
    assert!(published("x.json", "{}").unwrap_err().starts_with("x.json has no model with a price"));
}

#[test]
fn what_a_request_costs() {
    let price = Price {
        input: Some(3.0),
        output: Some(15.0),
        cache_read: Some(0.3),
        cache_write_5m: Some(3.75),
        cache_write_1h: Some(6.0),
        reasoning: Some(20.0),
        ..Price::default()
    };
    let few = Price { input: Some(3.0), output: Some(15.0), ..Price::default() };
    let plain = Tokens { input: 1000, output: 100, ..Tokens::default() };
    let full = Tokens { cache_read: 500, cache_write_5m: 200, cache_write_1h: 100, reasoning: 40, ..plain };
    // Reported beside the input where it should be within.
    let odd = Tokens { cache_read: 5000, ..plain };
    let rows = [
        (price.clone(), plain, 3_000_000 + 1_500_000),
        (price.clone(), full, 600_000 + 150_000 + 750_000 + 600_000 + 900_000 + 800_000),
        (few.clone(), full, 3_000_000 + 1_500_000),
        (price, odd, 1_500_000 + 1_500_000),
        (Price { output: None, ..few }, plain, 3_000_000),
        (Price { input: Some(0.02), ..Price::default() }, Tokens { input: 7, ..Tokens::default() }, 140),
    ];
    for (price, tokens, expected) in rows {
        assert_eq!(price.cost(Tier::Standard, &tokens), expected, "{tokens:?}");
    }
}

/// A list that has all kinds of prices, as LiteLLM names them.
fn rich() -> Price {
    let entry = json!({
        "input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6, "cache_read_input_token_cost": 5e-7,
        "input_cost_per_token_above_200k_tokens": 4e-6, "output_cost_per_token_above_200k_tokens": 12e-6,
        "input_cost_per_token_above_500k_tokens": 6e-6,
        "input_cost_per_token_batches": 1e-6, "output_cost_per_token_batches": 4e-6,
        "input_cost_per_token_flex": 1e-6, "output_cost_per_token_flex": 4e-6,
        "input_cost_per_token_priority": 3.5e-6, "output_cost_per_token_priority": 14e-6,
        "cache_read_input_token_cost_priority": 8.75e-7, "input_cost_per_token_above_200k_tokens_priority": 7e-6,
        "cache_creation_input_token_cost_above_1hr": 4e-6,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 8e-6,
        "input_cost_per_audio_token": 4e-5, "output_cost_per_audio_token": 8e-5, "output_cost_per_image_token": 3e-5,
        "input_cost_per_request": 0.005, "max_tokens": 8192, "supports_vision": true,
        "search_context_cost_per_query": {
            "search_context_size_low": 0.01, "search_context_size_medium": 0.02, "search_context_size_high": 0.03
        },
    });
    Price::of(&entry).unwrap()
}

#[test]
fn long_prompts_and_tiers_of_service() {
    let price = rich();
    let rates = |tier, prompt| {
        let rates = price.rates(tier, prompt);
        (rates.input, rates.output, rates.cache_read, rates.above)
    };
    // Tier, prompt, then input, output, cache read and the length from which these apply.
    let rows = [
        (Tier::Standard, 200_000, (2.0, 8.0, 0.5, 0)),
        (Tier::Standard, 200_001, (4.0, 12.0, 0.5, 200_000)),
        (Tier::Standard, 600_000, (6.0, 12.0, 0.5, 500_000)),
        (Tier::Flex, 1000, (1.0, 4.0, 0.5, 0)),
        // What the list leaves out costs so much more as it does at the standard tier.
        (Tier::Batch, 300_000, (2.0, 6.0, 0.5, 200_000)),
        (Tier::Priority, 1000, (3.5, 14.0, 0.875, 0)),
        (Tier::Priority, 300_000, (7.0, 21.0, 0.875, 200_000)),
    ];
    for (tier, prompt, expected) in rows {
        assert_eq!(rates(tier, prompt), expected, "{tier:?} {prompt}");
    }
    assert_eq!(price.rates(Tier::Standard, 1).cache_write_1h, 4.0);
    assert_eq!(price.rates(Tier::Standard, 300_000).cache_write_1h, 8.0);
    let ranges = json!({ "tiered_pricing": [
        { "range": [0, 32_000], "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6 },
        { "range": [32_000, 128_000], "input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6 },
    ] });
    let ranges = Price::of(&ranges).unwrap();
    let input = |prompt| ranges.rates(Tier::Standard, prompt).input;
    assert_eq!((input(32_000), input(32_001)), (1.0, 3.0));
}

#[test]
fn media_fees_and_searches() {
    let price = rich();
    let used = Tokens { input: 1000, output: 100, ..Tokens::default() };
    let fee = 5_000_000;
    let plain = 2_000_000 + 800_000 + fee;
    let rows = [
        (used, plain),
        (Tokens { server_tools: 2, ..used }, plain + 40_000_000),
        (Tokens { audio_input: 500, ..used }, plain - 1_000_000 + 20_000_000),
        (Tokens { audio_output: 50, ..used }, plain - 400_000 + 4_000_000),
        (Tokens { image_output: 100, ..used }, plain - 800_000 + 3_000_000),
        // There is no price of pictures in a prompt: they cost as text.
        (Tokens { image_input: 500, ..used }, plain),
    ];
    for (used, expected) in rows {
        assert_eq!(price.cost(Tier::Standard, &used), expected, "{used:?}");
    }
    let may = May { prompt: 1000, ..May::default() };
    assert_eq!(price.most(&may), Most { input: 2000.0, output: 30_000.0, fees: 5_000_000.0 });
    let all = May { prompt: 300_000, writes_for_hour: true, has_media: true, searches: 2, tier: Tier::Priority };
    assert_eq!(price.most(&all), Most { input: 40_000.0, output: 80_000.0, fees: 45_000_000.0 });
}

/// What a budget reserves is at least what the request costs, with every special price: of tiers,
/// long prompts, writes to a cache, which need no word of the client for five minutes, media, and
/// searches.
#[test]
fn no_request_costs_more_than_the_most() {
    let price = rich();
    let of_one = [ProviderPrice::new(1, "m", Some(Arc::new(rich())))];
    let prices = ModelPrices::new(Arc::default(), of_one.into_iter());
    let tiers = [Tier::Standard].into_iter().chain(Tier::OTHERS);
    let sizes = [0, 1, 1000, 200_000, 200_001, 600_000].map(|prompt| [(prompt, 0), (prompt, 5000)]).concat();
    let cases =
        tiers.flat_map(|tier| sizes.iter().flat_map(move |size| (0..8).map(move |extras| (tier, *size, extras))));
    for (tier, (prompt, output), extras) in cases {
        let [writes_for_hour, has_media, searches] = [1, 2, 4].map(|bit| extras & bit > 0);
        let may = May { tier, prompt, writes_for_hour, has_media, searches: 3 * u64::from(searches) };
        // The price depends on the request, so there is none that is the highest for all.
        assert_eq!(prices.highest(&may), None);
        let most = price.most(&may);
        for part in 0..=4 {
            let (some, rest) = (prompt * part / 4, prompt - prompt * part / 4);
            let used = Tokens {
                input: prompt,
                output,
                cache_read: if part % 2 == 0 { some } else { 0 },
                cache_write_5m: if part % 2 == 1 { some } else { 0 },
                cache_write_1h: if writes_for_hour { rest } else { 0 },
                reasoning: output * part / 4,
                audio_input: if has_media && !writes_for_hour { rest / 2 } else { 0 },
                image_input: if has_media && !writes_for_hour { rest / 2 } else { 0 },
                audio_output: if has_media { output * (4 - part) / 4 } else { 0 },
                server_tools: may.searches,
                ..Tokens::default()
            };
            let cost = price.cost(tier, &used) as f64;
            let bound = prompt as f64 * most.input + output as f64 * most.output + most.fees;
            assert!(cost <= bound + 1.0, "{may:?} {used:?}: {cost} is above {bound}");
        }
    }
}

/// What is computed once is what the price says of each request.
#[test]
fn prices_of_a_model_at_its_providers() {
    let plain = Price { special: Box::default(), ..rich() };
    let known = [(1, "m", Some(Arc::new(rich()))), (2, "m", Some(Arc::new(plain.clone()))), (2, "n", None)];
    let list = known.into_iter().map(|(provider, sent, price)| ProviderPrice::new(provider, sent, price));
    let table = Arc::new(PriceTable::default());
    let prices = ModelPrices::new(table.clone(), list);
    assert!(prices.are_of(&table) && !prices.are_of(&Arc::default()));
    assert_eq!((prices.are_complete(), prices.are_unknown()), (false, false));
    for prompt in [1000, 300_000] {
        for tier in [Tier::Standard, Tier::Flex, Tier::Priority] {
            for extras in 0..8 {
                let [writes_for_hour, has_media, searches] = [1, 2, 4].map(|bit| extras & bit > 0);
                let may = May { tier, prompt, writes_for_hour, has_media, searches: u64::from(searches) };
                assert_eq!(
                    prices.most(&may, None).collect::<Vec<_>>(),
                    [rich().most(&may), plain.most(&may)],
                    "{may:?}"
                );
                assert_eq!(prices.most(&may, Some(2)).collect::<Vec<_>>(), [plain.most(&may)], "{may:?}");
            }
        }
    }
    assert_eq!(prices.of(2, &Short::new("m")), Some(&plain));
    assert_eq!(prices.of(2, &Short::new("n")), None);
    // Another name at a provider costs what the first one there does.
    assert_eq!(prices.of(2, &Short::new("o")), Some(&plain));
    assert_eq!(prices.of(3, &Short::new("m")), None);
}

#[test]
fn prices_there_and_back() {
    let price = rich();
    let more: Value = serde_json::from_str(&fields::write_more(&price).unwrap()).unwrap();
    let mut again = fields::read(&more);
    let by = |special: &Special| (special.tier as u8, special.above);
    again.special.sort_by_key(by);
    let mut sorted = price.clone();
    sorted.special.sort_by_key(by);
    let Price { input, output, cache_read, cache_write_5m, cache_write_1h, reasoning, .. } = price.clone();
    let columns = Price { input, output, cache_read, cache_write_5m, cache_write_1h, reasoning, ..again };
    assert_eq!(columns, sorted);
    assert_eq!(fields::write_more(&Price { input, ..Price::default() }), None);
}

#[test]
fn tiers_have_names() {
    let rows = [("flex", Tier::Flex), ("priority", Tier::Priority), ("auto", Tier::Standard), ("", Tier::Standard)];
    for (name, tier) in rows {
        assert_eq!(Tier::of(name.as_bytes()), tier, "{name}");
    }
}

#[test]
fn tiers_that_answers_name() {
    let rows = [
        (r#"{"model":"m","service_tier":"flex"}"#, Some(Tier::Flex)),
        (r#"{"service_tier" : "priority","model":"m"}"#, Some(Tier::Priority)),
        (r#"{"service_tier":"auto"}"#, Some(Tier::Standard)),
        (r#"{"usage":{"service_tier":"batch"}}"#, Some(Tier::Batch)),
        (r#"{"service_tier":null}"#, None),
        (r#"{"service_tier":"auto"} {"service_tier":"priority"}"#, Some(Tier::Priority)),
        (r#"{"service_tier":null} {"service_tier":"flex"} {"service_tier":null} {"service_t"#, Some(Tier::Flex)),
        (r#"{"service_tier":"flex"} {"service_tier":"prio"#, Some(Tier::Flex)),
        (r#"{"service_tier":"#, None),
        (r#"{"service_tier":"fle"#, None),
        (r#"{"model":"m"}"#, None),
    ];
    for (body, tier) in rows {
        assert_eq!(Tier::named(body.as_bytes()), tier, "{body}");
    }
}

#[test]
fn tiers_of_answers_that_are_cut_anywhere() {
    let answer = r#"{"service_tier":"auto","text":"some words that take more room than what is kept of a piece"}
                    {"service_tier" : "priority","text":"some words that take more room than what is kept of it"}"#;
    let last = |pieces: &[&str]| {
        let mut reader = TierReader::default();
        pieces.iter().filter_map(|piece| reader.read(piece.as_bytes())).last()
    };
    for at in 0..answer.len() {
        let (begin, end) = answer.split_at(at);
        assert_eq!(last(&[begin, end]), Some(Tier::Priority), "{begin}|{end}");
    }
    for size in [1, 7, 63, 64, 65] {
        let pieces: Vec<_> = answer.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert_eq!(last(&pieces), Some(Tier::Priority), "{size}");
    }
}

/// The list of this program says of each price where it is from and of which day, and none is
/// absurd.
#[test]
fn the_list_that_comes_with_the_program() {
    let raw: Value = serde_json::from_str(include_str!("common.json")).unwrap();
    for (model, entry) in raw.as_object().unwrap() {
        let day = entry["as_of"].as_str().unwrap();
        assert!(day.len() == 10 && day > "2025" && day < "2027", "{model}: {day}");
        assert!(entry["source"].as_str().unwrap().starts_with("https://"), "{model}");
    }
    let prices = common();
    assert_eq!(prices.len(), raw.as_object().unwrap().len());
    for (model, price) in &prices {
        let input = price.input.unwrap();
        assert!((0.01..=100.0).contains(&input), "{model}: {input}");
        assert!(price.output.is_none_or(|output| output >= input && output <= 10.0 * input), "{model}");
        assert!(price.cache_read.is_none_or(|read| read < input), "{model}");
        assert!(price.cache_write_1h.is_none_or(|write| write == 2.0 * input), "{model}");
    }
    let table = PriceTable::new(prices.into_iter());
    let input = |name: &str| table.find(&[name]).and_then(|price| price.input);
    assert_eq!((input("gpt-4o-mini-2024-07-18"), input("gpt-4o-2024-08-06")), (Some(0.15), Some(2.5)));
    assert_eq!((input("claude-sonnet-4-5-20250929"), input("unheard-of")), (Some(3.0), None));
}

/// Costs are rounded to the next whole number, halves up.
#[test]
fn costs_are_rounded() {
    let price = |dollars| Price { input: Some(dollars), ..Price::default() };
    let cost = |dollars, input| price(dollars).cost(Tier::Standard, &Tokens { input, ..Tokens::default() });
    assert_eq!((cost(0.0004, 1), cost(0.0005, 1), cost(0.0014, 1), cost(0.0025, 1)), (0, 1, 1, 3));
    assert_eq!(cost(1e300, u64::MAX), u64::MAX);
}
