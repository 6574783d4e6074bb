//! Tools and their choice.

use crate::canonical::tools::WebSearch;
use crate::format::Format;
use crate::json::{RawValue, write};
use crate::request::tools::builder::Choice;
use crate::request::tools::{Offer, Offered};
use crate::target::plan::{Context, Plan};
use crate::target::quirks::Quirk;
use crate::target::tool_names::Shape;

/// Writes the members `tools`, `tool_choice`, `parallel_tool_calls` and `web_search_options`.
pub(super) fn write_offer(offer: &Offer<'_, '_>, plan: &Plan, cx: &Context<'_>, o: &mut write::Object<'_>) {
    let search = offer.tools.iter().find_map(|tool| match tool {
        Offered::WebSearch(search) => Some(*search),
        _ => None,
    });
    if let Some(search) = search {
        o.object("web_search_options", |o| write_search(search, o));
    }
    let listed = |tool: &&Offered<'_, '_>| !matches!(tool, Offered::WebSearch(_) | Offered::Mcp(_));
    if offer.tools.iter().find(listed).is_none() {
        return;
    }
    o.array("tools", |list| {
        for tool in offer.tools.iter().filter(listed) {
            write_tool(tool, list);
        }
    });
    if let Some(choice) = &offer.choice {
        write_choice(choice, plan, cx, o);
    }
    if let Some(parallel) = offer.parallel {
        o.bool("parallel_tool_calls", parallel);
    }
}

fn write_tool(tool: &Offered<'_, '_>, list: &mut write::Array<'_>) {
    match tool {
        Offered::Function { name, description, schema, strict, .. } => list.object(|o| {
            o.str("type", "function");
            o.object("function", |o| {
                o.str("name", name);
                if let Some(description) = description {
                    o.raw_str("description", description.raw());
                }
                o.value("parameters", RawValue::new(schema.bytes()));
                if let Some(strict) = strict {
                    o.bool("strict", *strict);
                }
            });
        }),
        Offered::Custom { name, source } => list.object(|o| {
            o.str("type", "custom");
            o.object("custom", |o| {
                o.str("name", name);
                if let Some(description) = &source.description {
                    o.raw_str("description", description.raw());
                }
                if let Some(grammar) = &source.grammar {
                    o.object("format", |o| {
                        o.str("type", "grammar");
                        o.object("grammar", |o| {
                            o.raw_str("syntax", grammar.syntax);
                            o.raw_str("definition", grammar.definition);
                        });
                    });
                }
            });
        }),
        Offered::Native(raw) => list.value(*raw),
        Offered::WebSearch(_) | Offered::Mcp(_) => {}
    }
}

/// `user_location` is nested here and flat in the other formats.
fn write_search(search: &WebSearch<'_>, o: &mut write::Object<'_>) {
    if let Some(size) = search.context_size {
        o.raw_str("search_context_size", size);
    }
    match search.user_location {
        Some(location) if search.format == Format::Chat => o.value("user_location", location),
        Some(location) => o.object("user_location", |o| {
            o.str("type", "approximate");
            o.object("approximate", |o| {
                for (key, value, _) in location.members().filter(|(key, ..)| !key.eq_str("type")) {
                    o.value(&key.unescape(), value);
                }
            });
        }),
        None => {}
    }
}

fn write_choice(choice: &Choice<'_>, plan: &Plan, cx: &Context<'_>, o: &mut write::Object<'_>) {
    let named = |o: &mut write::Object<'_>, name: &str, custom: bool| {
        let kind = if custom { "custom" } else { "function" };
        o.str("type", kind);
        o.object(kind, |o| o.str("name", name));
    };
    match choice {
        Choice::Auto => o.str("tool_choice", "auto"),
        Choice::None => o.str("tool_choice", "none"),
        Choice::Required if cx.target.quirks.has(Quirk::ToolChoiceAny) => o.str("tool_choice", "any"),
        Choice::Required => o.str("tool_choice", "required"),
        Choice::Tool { name, custom } => o.object("tool_choice", |o| named(o, name, *custom)),
        Choice::Allowed { required, names } => o.object("tool_choice", |o| {
            o.str("type", "allowed_tools");
            o.object("allowed_tools", |o| {
                o.str("mode", if *required { "required" } else { "auto" });
                o.array("tools", |list| {
                    for name in names {
                        let custom = plan.tools.find(name).is_some_and(|tool| tool.shape == Shape::Custom);
                        list.object(|o| named(o, name, custom));
                    }
                });
            });
        }),
        Choice::Native(raw) => o.value("tool_choice", *raw),
    }
}
