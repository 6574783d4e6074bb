//! Which tools a target is offered, under which names and in which shape; and the choice among them
//! (`docs/internals/translation/requests.md`, "Function tools").
//!
//! One function, [`offer`], for all targets. Encoders write what it returns and decide nothing
//! about tools themselves. It fills the [`ToolTable`](crate::target::tool_names::ToolTable) of the
//! plan, with which names find their way back. [`functions`] and [`server`] hold the rules for
//! either kind of tool.

pub(crate) mod builder;
mod functions;
mod server;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::Request;
use crate::canonical::text::Text;
use crate::canonical::tools::{Tool, ToolChoice};
use crate::error::Error;
use crate::format::Format;
use crate::formats::profile::RequestProfile;
use crate::json::RawValue;
use crate::request::reader;
use crate::target::plan::{Context, Plan};
use crate::target::tool_names::Shape;
use builder::NO_TOOL;
pub(crate) use builder::{Offer, Offered, Schema, ToolsBuilder, keeps_custom, sent_name};

/// Decides about tools for the target of `cx`. Fails for duplicate names, for tools whose loss
/// would change the meaning, and in strict mode for any loss.
pub(crate) fn offer<'r, 'a>(
    request: &'r Request<'a>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<Offer<'r, 'a>, Error> {
    let mut builder = ToolsBuilder { request, cx, plan, ledger, offer: Offer::default(), lacking: Vec::new() };
    let keep = builder.allowed()?;
    for (at, tool) in request.tools.iter().enumerate() {
        if keep.as_ref().is_none_or(|allowed| allowed.has(tool)) {
            builder.tool(at, tool)?;
        }
    }
    builder.lacking()?;
    builder.answer_tool()?;
    builder.name_from_history();
    builder.choose()?;
    Ok(builder.offer)
}

impl<'r, 'a> ToolsBuilder<'_, 'r, 'a> {
    /// Returns the format of the target.
    pub(crate) fn to(&self) -> Format {
        self.cx.target.format
    }

    /// Returns what requests of the target's format can say.
    pub(crate) fn target_profile(&self) -> &'static RequestProfile {
        &self.to().profile().request
    }

    /// Messages has no `allowed_tools`: the list is cut to the names instead, which renews the
    /// prompt cache.
    fn allowed(&mut self) -> Result<Option<Allowed<'r>>, Error> {
        match &self.request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) if !self.keeps_allowed() => {
                self.ledger.approx(Loss::AllowedTools)?;
                Ok(Some(Allowed::of(names)))
            }
            _ => Ok(None),
        }
    }

    /// Returns whether the target accepts a choice among some of the tools.
    pub(crate) fn keeps_allowed(&self) -> bool {
        self.target_profile().tools.has_allowed && self.cx.target.host.is_native()
    }

    fn tool(&mut self, at: usize, tool: &'r Tool<'a>) -> Result<(), Error> {
        match tool {
            Tool::Function(function) => self.function(at, function),
            Tool::Custom(custom) => self.custom(at, custom),
            Tool::WebSearch(search) if self.takes_web_search() => {
                self.offer.tools.push(Offered::WebSearch(search));
                Ok(())
            }
            Tool::WebSearch(_) => self.lacks(format!("tools.{at}"), "web_search", NO_TOOL),
            Tool::Mcp(mcp) => self.mcp(at, mcp),
            Tool::Client { kind, name, raw } => match (self.to(), kind.as_function()) {
                (Format::Messages, _) => self.native(*raw),
                (_, Some((description, schema))) => {
                    let sent = self.register(at, None, name, Shape::Function)?;
                    self.offer.tools.push(Offered::Function {
                        name: Cow::Owned(sent),
                        description: Some(Text::plain(description)),
                        schema: Schema::Made(schema.as_bytes().to_vec()),
                        strict: self.strict(None),
                        source: None,
                    });
                    Ok(())
                }
                (_, None) => Err(reader::unsupported_tool(&format!("tools.{at}"), "the computer tool", NO_TOOL)),
            },
            Tool::Search { format, raw } if *format == self.to() => self.native(*raw),
            Tool::Search { .. } => self.ledger.drop(Loss::ToolSearch),
            Tool::Server { format, raw, .. } if *format == self.to() && self.runs_tools() => self.native(*raw),
            Tool::Server { kind, .. } => {
                let kind = kind.unescape();
                self.lacks(format!("tools.{at}"), &kind, self.why_no_server_tool(&kind))
            }
        }
    }

    fn native(&mut self, raw: RawValue<'a>) -> Result<(), Error> {
        self.offer.tools.push(Offered::Native(raw));
        Ok(())
    }

    /// Returns the name by which the target knows a tool.
    pub(crate) fn sent(&self, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
        sent_name(self.cx, namespace, name)
    }
}

/// The tools that a choice allows.
struct Allowed<'r> {
    names: HashSet<Cow<'r, str>>,
    web_search: bool,
}

impl<'r> Allowed<'r> {
    fn of(names: &'r [Text<'_>]) -> Allowed<'r> {
        let names: HashSet<Cow<'r, str>> = names.iter().map(Text::unescape).collect();
        let web_search = names.iter().any(|name| name.starts_with("web_search"));
        Allowed { names, web_search }
    }

    fn has(&self, tool: &Tool<'_>) -> bool {
        let named = |name: &Text<'_>| self.names.contains(name.unescape().as_ref());
        match tool {
            Tool::Function(tool) => named(&tool.name),
            Tool::Custom(tool) => named(&tool.name),
            Tool::Client { name, .. } => named(name),
            Tool::Mcp(tool) => named(&tool.label),
            Tool::WebSearch(_) => self.web_search,
            Tool::Search { .. } => false,
            Tool::Server { kind, name, .. } => {
                name.as_ref().is_some_and(named) || self.names.contains(kind.unescape().as_ref())
            }
        }
    }
}
