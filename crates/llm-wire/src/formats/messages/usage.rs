//! Token counts as this format writes them: cached tokens outside `input_tokens`
//! (`docs/internals/translation/responses.md`, "Usage arithmetic").

use crate::canonical::usage::Usage;
use crate::json::write;

/// Writes a `usage` object. `tier` is in the words of this format.
pub(crate) fn write(o: &mut write::Object<'_>, usage: &Usage, tier: Option<&str>) {
    o.object("usage", |o| {
        o.u64("input_tokens", usage.input_fresh());
        o.u64("cache_read_input_tokens", usage.cache_read);
        o.u64("cache_creation_input_tokens", usage.cache_write());
        o.object("cache_creation", |o| {
            o.u64("ephemeral_5m_input_tokens", usage.cache_write_5m);
            o.u64("ephemeral_1h_input_tokens", usage.cache_write_1h);
        });
        o.u64("output_tokens", usage.output_total);
        o.object("output_tokens_details", |o| o.u64("thinking_tokens", usage.reasoning));
        match usage.server_tools {
            0 => o.null("server_tool_use"),
            n => o.object("server_tool_use", |o| {
                o.u64("web_search_requests", n);
                o.u64("web_fetch_requests", 0);
            }),
        }
        o.opt_str("service_tier", tier);
        // No other vendor reports where it ran.
        o.null("inference_geo");
    });
}

/// Returns the tier that served a request, from any vendor's word for it. `None` for those without
/// an equivalent.
pub(super) fn tier(word: &str) -> Option<&'static str> {
    match word {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::messages::tap;
    use crate::json::RawValue;
    use proptest::prelude::*;

    proptest! {
        /// What is written is read back equal, whatever the numbers.
        #[test]
        fn counts_come_back(numbers in prop::array::uniform7(0u64..1 << 48)) {
            let [fresh, read, write_5m, write_1h, output, reasoning, server_tools] = numbers;
            let usage = Usage {
                input_total: fresh,
                cache_read: read,
                cache_write_5m: write_5m,
                cache_write_1h: write_1h,
                output_total: output.max(reasoning),
                reasoning,
                server_tools,
                ..Usage::default()
            }
            .with_cache_outside();
            let mut out = Vec::new();
            crate::json::write::object(&mut out, |o| write(o, &usage, None));
            let written = RawValue::parse(&out).unwrap().find("usage").unwrap();
            prop_assert_eq!(tap::usage(written), usage);
        }
    }
}
