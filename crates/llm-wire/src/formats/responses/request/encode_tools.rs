//! Tools for a provider, and the choice among them.

use crate::canonical::loss::{Ledger, Loss, LossKind};
use crate::canonical::tools::{CustomTool, FunctionTool, McpTool, Tool, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::parts::Parts;
use crate::json::{RawValue, write};
use crate::request::tools::builder::Choice;
use crate::request::tools::{Offer, Offered};
use crate::target::plan::Plan;
use crate::target::tool_names::Shape;

const WEB_SEARCH: &str = "web_search";

/// Returns what the tools of an offer lose in this format.
pub(crate) fn losses(offer: &Offer<'_, '_>, ledger: &mut Ledger) -> Result<(), Error> {
    for (n, tool) in offer.tools.iter().enumerate() {
        let Offered::WebSearch(search) = tool else { continue };
        let blocked = search.blocked_domains.is_some_and(|list| list.elements().next().is_some());
        for (name, lost) in [("max_uses", search.max_uses.is_some()), ("blocked_domains", blocked)] {
            if lost && search.format == Format::Messages {
                ledger.record(Loss::ServerTool, LossKind::Dropped, Some(format!("tools.{n}.{name}")))?;
            }
        }
    }
    Ok(())
}

/// Writes `tools`, `tool_choice` and `parallel_tool_calls`, as far as there is something to write.
pub(crate) fn tools(o: &mut write::Object<'_>, offer: &Offer<'_, '_>, parts: &Parts<'_, '_>, plan: &Plan) {
    if offer.tools.is_empty() {
        return;
    }
    // Without a tool that searches, a deferred tool would stay hidden for ever.
    let searches = parts.request.tools.iter().any(|tool| matches!(tool, Tool::Search { .. }));
    o.array("tools", |a| {
        for tool in &offer.tools {
            match tool {
                Offered::Function { name, description, schema, strict, source } => a.object(|o| {
                    o.str("type", "function");
                    o.str("name", name);
                    if let Some(description) = description.as_ref().filter(|text| !text.is_empty()) {
                        o.raw_str("description", description.raw());
                    }
                    o.value("parameters", RawValue::new(schema.bytes()));
                    // Left out, the provider would rewrite the schema.
                    o.bool("strict", strict.unwrap_or(false));
                    if let Some(source) = source {
                        extras(o, source, searches, parts);
                    }
                }),
                Offered::Custom { name, source } => a.object(|o| custom(o, name, source)),
                Offered::WebSearch(search) => a.object(|o| web_search(o, search)),
                Offered::Mcp(mcp) => a.object(|o| remote(o, mcp)),
                Offered::Native(raw) => a.value(*raw),
            }
        }
    });
    tool_choice(o, offer, plan);
    if let Some(parallel) = offer.parallel {
        o.bool("parallel_tool_calls", parallel);
    }
}

/// What only this format can say about a function, of a client of this format.
fn extras(o: &mut write::Object<'_>, tool: &FunctionTool<'_>, searches: bool, parts: &Parts<'_, '_>) {
    if parts.request.from != Format::Responses {
        return;
    }
    if tool.defer && searches {
        o.bool("defer_loading", true);
    }
    if let Some(callers) = tool.callers {
        o.value("allowed_callers", callers);
    }
    if let Some(schema) = tool.output_schema {
        o.value("output_schema", schema);
    }
}

fn custom(o: &mut write::Object<'_>, name: &str, tool: &CustomTool<'_>) {
    o.str("type", "custom");
    o.str("name", name);
    if let Some(description) = tool.description.as_ref().filter(|text| !text.is_empty()) {
        o.raw_str("description", description.raw());
    }
    if let Some(grammar) = tool.grammar {
        o.object("format", |o| {
            o.str("type", "grammar");
            o.raw_str("syntax", grammar.syntax);
            o.raw_str("definition", grammar.definition);
        });
    }
}

fn web_search(o: &mut write::Object<'_>, search: &WebSearch<'_>) {
    o.str("type", WEB_SEARCH);
    if let Some(location) = search.user_location.filter(|location| location.is_object()) {
        o.object("user_location", |o| {
            o.str("type", "approximate");
            // Flat here and in Messages; Chat nests it.
            let flat = location.find("approximate").filter(|inner| inner.is_object()).unwrap_or(location);
            for name in ["city", "region", "country", "timezone"] {
                if let Some(value) = flat.find(name).filter(|value| !value.is_null()) {
                    o.value(name, value);
                }
            }
        });
    }
    if let Some(domains) = search.allowed_domains.filter(|list| list.elements().next().is_some()) {
        o.object("filters", |o| o.value("allowed_domains", domains));
    }
    if let Some(size) = search.context_size {
        o.raw_str("search_context_size", size);
    }
}

fn remote(o: &mut write::Object<'_>, mcp: &McpTool<'_>) {
    o.str("type", "mcp");
    o.raw_str("server_label", mcp.label.raw());
    if let Some(url) = &mcp.url {
        o.raw_str("server_url", url.raw());
    }
    if let Some(authorization) = &mcp.authorization {
        o.raw_str("authorization", authorization.raw());
    }
    if let Some(allowed) = mcp.allowed {
        o.value("allowed_tools", allowed);
    }
    if mcp.never_asks {
        o.str("require_approval", "never");
    }
}

fn tool_choice(o: &mut write::Object<'_>, offer: &Offer<'_, '_>, plan: &Plan) {
    let searches = offer.tools.iter().any(|tool| matches!(tool, Offered::WebSearch(_)));
    match &offer.choice {
        None => {}
        Some(Choice::Auto) => o.str("tool_choice", "auto"),
        Some(Choice::None) => o.str("tool_choice", "none"),
        Some(Choice::Required) => o.str("tool_choice", "required"),
        Some(Choice::Native(raw)) => o.value("tool_choice", *raw),
        // A client of Messages names web search like any tool.
        Some(Choice::Tool { name, .. }) if searches && plan.tools.find(name).is_none() => {
            match offer.tools.as_slice() {
                [_] => o.str("tool_choice", "required"),
                _ => o.object("tool_choice", |o| o.str("type", WEB_SEARCH)),
            }
        }
        Some(Choice::Tool { name, custom }) => o.object("tool_choice", |o| named(o, name, *custom)),
        Some(Choice::Allowed { required, names }) => o.object("tool_choice", |o| {
            o.str("type", "allowed_tools");
            o.str("mode", if *required { "required" } else { "auto" });
            o.array("tools", |a| {
                for name in names {
                    let custom = plan.tools.find(name).map(|entry| entry.shape == Shape::Custom);
                    a.object(|o| match custom {
                        Some(custom) => named(o, name, custom),
                        // A tool of the vendor, known by its type.
                        None => o.str("type", name),
                    });
                }
            });
        }),
    }
}

fn named(o: &mut write::Object<'_>, name: &str, custom: bool) {
    o.str("type", if custom { "custom" } else { "function" });
    o.str("name", name);
}
