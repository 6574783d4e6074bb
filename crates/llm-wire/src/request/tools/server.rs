//! Tools that run at a vendor: whether this target runs them, and what becomes of those that it
//! does not.

use crate::canonical::loss::{Loss, LossKind};
use crate::canonical::tools::{McpTool, ToolChoice};
use crate::error::Error;
use crate::format::Format;
use crate::request::reader;
use crate::request::tools::builder::{NO_TOOL, Offered, ToolsBuilder};
use crate::target::plan::ServerTools;
use crate::target::quirks::Host;

/// Why a Chat provider gets no MCP servers.
const NO_MCP: &str = "Chat Completions has no MCP servers; use a provider that offers Responses or Messages";

impl<'r, 'a> ToolsBuilder<'_, 'r, 'a> {
    /// Returns whether the target may run server tools of its own format. A client that speaks it
    /// knows its host (`openrouter:web_search`); the clouds that resell Claude run none of
    /// Anthropic's, nor its MCP connector (Anthropic's pages on either, 2026).
    pub(super) fn runs_tools(&self) -> bool {
        !matches!(self.cx.target.host, Host::Bedrock | Host::Vertex)
    }

    /// Returns whether the model can search the web at the target.
    pub(super) fn takes_web_search(&self) -> bool {
        let target = &self.cx.target;
        target.caps.web_search && (!self.target_profile().searches_by_model || target.model.contains("-search"))
    }

    /// Offers a remote MCP server, or notes that the target cannot call it.
    pub(super) fn mcp(&mut self, at: usize, mcp: &'r McpTool<'a>) -> Result<(), Error> {
        let is_supported = self.cx.target.host.is_native() || mcp.format == self.to();
        let why = match self.to() {
            Format::Chat => Some(NO_MCP),
            _ if !is_supported || !self.runs_tools() => {
                Some("its host runs no MCP servers; use the vendor's own endpoint")
            }
            _ if mcp.url.is_none() => Some("only a server with a `server_url` can be offered to another vendor"),
            Format::Messages if !mcp.never_asks => {
                Some("Messages cannot ask for approvals; set `require_approval` to `never`")
            }
            Format::Messages | Format::Responses => None,
        };
        if let Some(why) = why {
            let place = mcp.server.map_or_else(|| format!("tools.{at}"), |n| format!("mcp_servers.{n}"));
            return self.lacks(place, "mcp", why);
        }
        self.offer.tools.push(Offered::Mcp(mcp));
        Ok(())
    }

    /// Notes a tool that the target does not have, and why.
    pub(super) fn lacks(&mut self, place: String, kind: &str, why: &'static str) -> Result<(), Error> {
        self.lacking.push((place, kind.to_owned(), why));
        Ok(())
    }

    /// Returns why a tool of another vendor is not offered. MCP servers get here where they are
    /// declared with more than other formats have words for.
    pub(super) fn why_no_server_tool(&self, kind: &str) -> &'static str {
        match kind {
            "mcp" | "mcp_toolset" if !self.target_profile().tools.has_mcp => NO_MCP,
            "mcp" => {
                "at another vendor an MCP server needs a `server_url`, no `headers`, and \
                 `require_approval: \"never\"` for all of its tools; declare it so, or use a provider of Responses"
            }
            "mcp_toolset" => {
                "single tools of an MCP server cannot be switched off at another vendor; leave `configs` and \
                 `default_config` out, or use a provider of Messages"
            }
            _ => NO_TOOL,
        }
    }

    /// A tool list is an offer: what the target lacks may go, unless it was the point of the
    /// request.
    pub(super) fn lacking(&mut self) -> Result<(), Error> {
        let forced = |kind: &str| match &self.request.tool_choice {
            Some(ToolChoice::Server { kind: chosen, .. }) => chosen.eq_str(kind),
            Some(ToolChoice::Tool { name, .. }) => name.eq_str(kind),
            Some(ToolChoice::Required) => self.offer.tools.is_empty(),
            _ => false,
        };
        let policy = self.cx.policy.server_tools;
        for (place, kind, why) in &self.lacking {
            let meant = forced(kind) || (self.offer.tools.is_empty() && policy == ServerTools::Auto);
            if policy == ServerTools::Reject || meant {
                return Err(reader::unsupported_tool(place, &format!("the tool `{kind}`"), why));
            }
        }
        for (place, ..) in std::mem::take(&mut self.lacking) {
            self.ledger.record(Loss::ServerTool, LossKind::Dropped, Some(place))?;
        }
        Ok(())
    }
}
