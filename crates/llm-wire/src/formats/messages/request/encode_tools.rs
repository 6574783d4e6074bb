//! Tools for a provider, and the choice among them.

use crate::canonical::tools::{FunctionTool, McpTool, Tool, WebSearch};
use crate::format::Format;
use crate::formats::messages::request::parts::Blocks;
use crate::json::{RawStr, RawValue, write};
use crate::request::tools::builder::Choice;
use crate::request::tools::{Offer, Offered, Schema};
use crate::target::quirks::Host;

/// The version of web search that every model with web search takes.
const WEB_SEARCH: &str = "web_search_20250305";
const MCP: &str = "mcp-client-2025-11-20";

/// Writes `tools`, `tool_choice` and `mcp_servers`, as far as there is something to write.
pub(crate) fn tools(o: &mut write::Object<'_>, offer: &Offer<'_, '_>, blocks: &mut Blocks<'_, '_>) {
    if offer.tools.is_empty() {
        return;
    }
    // Without a tool that searches, a deferred tool would stay hidden for ever.
    let searches = blocks.request.tools.iter().any(|tool| matches!(tool, Tool::Search { .. }));
    o.array("tools", |a| {
        for tool in &offer.tools {
            match tool {
                Offered::Function { name, description, schema, strict, source } => a.object(|o| {
                    o.str("name", name);
                    if let Some(description) = description.as_ref().filter(|text| !text.is_empty()) {
                        o.raw_str("description", description.raw());
                    }
                    write_schema(o, schema);
                    if let Some(strict) = strict {
                        o.bool("strict", *strict);
                    }
                    if let Some(source) = source {
                        extras(o, source, searches, blocks);
                    }
                }),
                Offered::WebSearch(search) => a.object(|o| web_search(o, search, blocks)),
                Offered::Mcp(mcp) => a.object(|o| toolset(o, mcp)),
                Offered::Native(raw) => a.value(*raw),
                // The format has none: they are offered as functions.
                Offered::Custom { .. } => {}
            }
        }
    });
    tool_choice(o, offer);
    mcp_servers(o, offer, blocks);
}

fn write_schema(o: &mut write::Object<'_>, schema: &Schema<'_>) {
    o.value("input_schema", RawValue::new(schema.bytes()));
}

/// What only this format can say about a function, of a client of this format.
fn extras(o: &mut write::Object<'_>, tool: &FunctionTool<'_>, searches: bool, blocks: &mut Blocks<'_, '_>) {
    if blocks.request.from == Format::Messages {
        if tool.defer && searches {
            o.bool("defer_loading", true);
        }
        if let Some(examples) = tool.examples {
            o.value("input_examples", examples);
        }
        if let Some(eager) = tool.eager.filter(|_| blocks.cx.target.host != Host::Bedrock) {
            o.bool("eager_input_streaming", eager);
        }
        if let Some(callers) = tool.callers {
            o.value("allowed_callers", callers);
        }
    }
    blocks.cache.write(tool.cache, o);
}

fn web_search(o: &mut write::Object<'_>, search: &WebSearch<'_>, blocks: &mut Blocks<'_, '_>) {
    o.str("type", WEB_SEARCH);
    match search.name.as_ref().filter(|_| search.format == Format::Messages) {
        Some(name) => o.raw_str("name", name.raw()),
        None => o.str("name", "web_search"),
    }
    if let Some(max_uses) = search.max_uses {
        o.u64("max_uses", max_uses);
    }
    let domains = [("allowed_domains", search.allowed_domains), ("blocked_domains", search.blocked_domains)];
    for (name, domains) in domains {
        if let Some(domains) = domains.filter(|list| list.elements().next().is_some()) {
            o.value(name, domains);
        }
    }
    if let Some(location) = search.user_location.filter(|location| location.is_object()) {
        o.object("user_location", |o| user_location(o, location));
    }
    blocks.cache.write(search.cache, o);
}

/// Flat here and in Responses; Chat nests it under `approximate`.
fn user_location(o: &mut write::Object<'_>, location: RawValue<'_>) {
    o.str("type", "approximate");
    let flat = location.find("approximate").filter(|inner| inner.is_object()).unwrap_or(location);
    for name in ["city", "region", "country", "timezone"] {
        if let Some(value) = flat.find(name).filter(|value| !value.is_null()) {
            o.value(name, value);
        }
    }
}

fn toolset(o: &mut write::Object<'_>, mcp: &McpTool<'_>) {
    o.str("type", "mcp_toolset");
    o.raw_str("mcp_server_name", mcp.label.raw());
    let Some(allowed) = mcp.allowed else { return };
    let names: Vec<RawStr<'_>> = allowed.elements().filter_map(|(name, _)| name.as_str()).collect();
    o.object("default_config", |o| o.bool("enabled", false));
    let out = o.key("configs");
    out.push(b'{');
    for (n, name) in names.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write::raw_string(out, name);
        out.extend_from_slice(b":{\"enabled\":true}");
    }
    out.push(b'}');
}

fn mcp_servers(o: &mut write::Object<'_>, offer: &Offer<'_, '_>, blocks: &mut Blocks<'_, '_>) {
    let servers = || {
        offer.tools.iter().filter_map(|tool| match tool {
            Offered::Mcp(mcp) => Some(mcp),
            _ => None,
        })
    };
    if servers().next().is_none() {
        return;
    }
    blocks.beta(MCP);
    o.array("mcp_servers", |a| {
        for mcp in servers() {
            a.object(|o| {
                o.str("type", "url");
                if let Some(url) = &mcp.url {
                    o.raw_str("url", url.raw());
                }
                o.raw_str("name", mcp.label.raw());
                if let Some(token) = &mcp.authorization {
                    o.raw_str("authorization_token", token.raw());
                }
            });
        }
    });
}

fn tool_choice(o: &mut write::Object<'_>, offer: &Offer<'_, '_>) {
    let one_by_one = offer.parallel == Some(false);
    let (kind, name) = match &offer.choice {
        None if !one_by_one => return,
        Some(Choice::Native(raw)) => return o.value("tool_choice", *raw),
        None | Some(Choice::Auto) => ("auto", None),
        Some(Choice::None) => ("none", None),
        Some(Choice::Required) => ("any", None),
        // The list of tools was cut to the names already.
        Some(Choice::Allowed { required, .. }) => (if *required { "any" } else { "auto" }, None),
        Some(Choice::Tool { name, .. }) => ("tool", Some(name)),
    };
    o.object("tool_choice", |o| {
        o.str("type", kind);
        if let Some(name) = name {
            o.str("name", name);
        }
        if one_by_one && kind != "none" {
            o.bool("disable_parallel_tool_use", true);
        }
    });
}
