//! The members of a price list's entry. Their names have the form `BASE[_above_Nk_tokens][_TIER]`,
//! as in LiteLLM's `model_prices_and_context_window.json` (read 2026-11-30).

use serde_json::{Map, Value, json};

use super::price::{Part, Price, Special, Tier};

/// A base name, its factor to dollars per million tokens, and what it sets. Of two rows for the
/// same price the later one counts.
const PARTS: &[(&str, f64, Part)] = &[
    ("input_cost_per_1k_tokens", 1e3, Part::Input),
    ("output_cost_per_1k_tokens", 1e3, Part::Output),
    ("input_cost_per_token", 1e6, Part::Input),
    ("output_cost_per_token", 1e6, Part::Output),
    ("cache_read_input_token_cost", 1e6, Part::CacheRead),
    ("cache_creation_input_token_cost", 1e6, Part::CacheWrite5m),
    ("cache_creation_input_token_cost_above_1hr", 1e6, Part::CacheWrite1h),
    ("output_cost_per_reasoning_token", 1e6, Part::Reasoning),
];

/// A field of the metadata, its factor, and what it sets.
type Field = (&'static str, f64, fn(&mut Price) -> &mut Option<f64>);

/// What no length of a prompt and no tier changes.
const PLAIN: &[Field] = &[
    ("input_cost_per_audio_token", 1e6, |price| &mut price.audio_input),
    ("output_cost_per_audio_token", 1e6, |price| &mut price.audio_output),
    ("input_cost_per_image_token", 1e6, |price| &mut price.image_input),
    ("output_cost_per_image_token", 1e6, |price| &mut price.image_output),
    ("input_cost_per_query", 1.0, |price| &mut price.per_request),
    ("input_cost_per_request", 1.0, |price| &mut price.per_request),
];

/// The price of a search, by how much of what is found the model gets. The middle one is the
/// default of vendors; another one counts where it is missing.
const SEARCH: &str = "search_context_cost_per_query";
const SEARCH_SIZES: [&str; 3] = ["search_context_size_high", "search_context_size_low", "search_context_size_medium"];

/// Prices by the length of the prompt as some lists have them: an array of objects with a range.
const TIERED: &str = "tiered_pricing";
/// Special prices of one model. More are left out.
const MAX_SPECIAL: usize = 32;

/// Reads what is known of an entry.
pub fn read(entry: &Value) -> Price {
    let mut price = Price::default();
    let Some(members) = entry.as_object() else { return price };
    for (base, factor, part) in PARTS {
        if let Some(dollars) = members.get(*base).and_then(number) {
            set(&mut price, *part, rounded(dollars * factor));
        }
    }
    for (name, factor, field) in PLAIN {
        if let Some(dollars) = members.get(*name).and_then(number) {
            *field(&mut price) = Some(rounded(dollars * factor));
        }
    }
    if let Some(search) = members.get(SEARCH) {
        for size in SEARCH_SIZES {
            price.per_search = search.get(size).and_then(number).map(rounded).or(price.per_search);
        }
    }
    let mut special = Vec::new();
    for (name, value) in members {
        if let Some((factor, part, above, tier)) = parse(name)
            && (above > 0 || tier != Tier::Standard)
            && let Some(dollars) = number(value)
        {
            add(&mut special, tier, above, part, rounded(dollars * factor));
        }
    }
    tiered(members, &mut price, &mut special);
    price.special = special.into();
    price
}

/// Writes the same as the members of an entry, without what [`Price`] has in columns of its own.
pub fn write_more(price: &Price) -> Option<String> {
    let mut members = Map::new();
    let plain = [
        ("input_cost_per_audio_token", price.audio_input, 1e6),
        ("output_cost_per_audio_token", price.audio_output, 1e6),
        ("input_cost_per_image_token", price.image_input, 1e6),
        ("output_cost_per_image_token", price.image_output, 1e6),
        ("input_cost_per_request", price.per_request, 1.0),
    ];
    for (name, dollars, factor) in plain {
        if let Some(dollars) = dollars {
            members.insert(name.to_owned(), json!(dollars / factor));
        }
    }
    if let Some(dollars) = price.per_search {
        members.insert(SEARCH.to_owned(), json!({ SEARCH_SIZES[2]: dollars }));
    }
    for Special { tier, above, parts } in &price.special {
        for (_, factor, part) in PARTS.iter().skip(2) {
            if let Some(dollars) = parts[*part as usize] {
                members.insert(name_of(*part, *above, *tier), json!(dollars / factor));
            }
        }
    }
    (!members.is_empty()).then(|| Value::Object(members).to_string())
}

/// Returns the name of the price of a part for prompts of more than `above` tokens at a tier of
/// service.
pub fn name_of(part: Part, above: u64, tier: Tier) -> String {
    let base = PARTS.iter().rfind(|(.., known)| *known == part).map_or("", |(base, ..)| base);
    let above = if above > 0 { format!("_above_{above}_tokens") } else { String::new() };
    let tier = if tier == Tier::Standard { String::new() } else { format!("_{}", tier.name()) };
    format!("{base}{above}{tier}")
}

/// Returns the first member that sets nothing beside what [`Price`] has in columns of its own.
pub fn unknown(members: &Map<String, Value>) -> Option<&str> {
    let is_known = |name: &str, value: &Value| {
        let is_special = parse(name).is_some_and(|(_, _, above, tier)| above > 0 || tier != Tier::Standard);
        let is_plain = PLAIN.iter().any(|(plain, ..)| *plain == name);
        let is_search = name == SEARCH && SEARCH_SIZES.iter().any(|size| value.get(size).and_then(number).is_some());
        is_search || ((is_special || is_plain) && number(value).is_some())
    };
    members.iter().find(|(name, value)| !is_known(name, value)).map(|(name, _)| name.as_str())
}

/// Takes the name of a token's price apart: its factor, the kind of token, the length of the prompt
/// from which it applies, and the tier.
fn parse(name: &str) -> Option<(f64, Part, u64, Tier)> {
    let (name, tier) =
        [("_batches", Tier::Batch), ("_batch", Tier::Batch), ("_flex", Tier::Flex), ("_priority", Tier::Priority)]
            .into_iter()
            .find_map(|(end, tier)| Some((name.strip_suffix(end)?, tier)))
            .unwrap_or((name, Tier::Standard));
    let (base, above) = match name.strip_suffix("_tokens").and_then(|name| name.rsplit_once("_above_")) {
        Some((base, above)) => (base, length(above)?),
        None => (name, 0),
    };
    let (_, factor, part) = PARTS.iter().rfind(|(known, ..)| *known == base)?;
    Some((*factor, *part, above, tier))
}

/// Reads `200k` or `200000`.
fn length(text: &str) -> Option<u64> {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().ok()?.checked_mul(1000),
        None => text.parse().ok(),
    }
}

/// `[{"range": [0, 32000], "input_cost_per_token": 1e-6, ...}, ...]`: the first range is the price
/// of short prompts.
fn tiered(members: &Map<String, Value>, price: &mut Price, special: &mut Vec<Special>) {
    let Some(tiers) = members.get(TIERED).and_then(Value::as_array) else { return };
    for entry in tiers {
        let above = entry.get("range").and_then(|range| range.get(0)).and_then(Value::as_f64).unwrap_or(0.0);
        for (base, factor, part) in PARTS {
            let Some(dollars) = entry.get(*base).and_then(number) else { continue };
            match above as u64 {
                0 if price.part(*part).is_none() => set(price, *part, rounded(dollars * factor)),
                0 => {}
                above => add(special, Tier::Standard, above, *part, rounded(dollars * factor)),
            }
        }
    }
}

fn add(special: &mut Vec<Special>, tier: Tier, above: u64, part: Part, dollars: f64) {
    let known = special.iter().position(|known| known.tier == tier && known.above == above);
    let at = known.unwrap_or_else(|| {
        special.push(Special { tier, above, ..Special::default() });
        special.len() - 1
    });
    if at < MAX_SPECIAL {
        special[at].parts[part as usize] = Some(dollars);
    } else {
        special.truncate(MAX_SPECIAL);
    }
}

fn set(price: &mut Price, part: Part, dollars: f64) {
    let field = match part {
        Part::Input => &mut price.input,
        Part::Output => &mut price.output,
        Part::CacheRead => &mut price.cache_read,
        Part::CacheWrite5m => &mut price.cache_write_5m,
        Part::CacheWrite1h => &mut price.cache_write_1h,
        Part::Reasoning => &mut price.reasoning,
    };
    *field = Some(dollars);
}

/// A price is a finite number from 0 on. Some lists have numbers as text, to keep every digit.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// Rounded to a millionth of a dollar: the rest is noise of the factor.
fn rounded(dollars: f64) -> f64 {
    (dollars * 1e6).round() / 1e6
}

impl Price {
    /// Reads the price in `metadata`. `None` if it has no price of a token, a request or a search.
    pub fn of(metadata: &Value) -> Option<Price> {
        let price = read(metadata);
        let is_known = [price.input, price.output, price.per_request, price.per_search, price.image_output];
        is_known.iter().any(Option::is_some).then_some(price)
    }
}
