//! The choice among the tools that were offered, and whether they may be called side by side
//! (`docs/internals/translation/requests.md`, "Tool choice").

use crate::canonical::loss::Loss;
use crate::canonical::text::Text;
use crate::canonical::tools::ToolChoice;
use crate::error::Error;
use crate::format::Format;
use crate::json::RawStr;
use crate::request::reader;
use crate::request::tools::builder::{self, ANSWER_TOOL, Choice, Offered, ToolsBuilder};
use crate::target::quirks::Quirk;
use crate::target::tool_names::Shape;

impl<'a> ToolsBuilder<'_, '_, 'a> {
    /// The last step of an offer: without tools there is no choice, at either vendor a 400.
    pub(crate) fn choose(&mut self) -> Result<(), Error> {
        if self.offer.tools.is_empty() || self.offer.choice.is_some() {
            return Ok(());
        }
        if self.offer.answer_tool {
            self.offer.choice = Some(Choice::Tool { name: ANSWER_TOOL.to_owned(), custom: false });
            (self.offer.forced, self.offer.parallel) = (true, Some(false));
            return Ok(());
        }
        self.offer.choice = match &self.request.tool_choice {
            None => None,
            Some(ToolChoice::Auto) => Some(Choice::Auto),
            Some(ToolChoice::None) => Some(Choice::None),
            Some(ToolChoice::Required) => Some(Choice::Required),
            Some(ToolChoice::Tool { namespace, name }) => Some(self.one(namespace.as_ref(), name)),
            Some(ToolChoice::Allowed { required, names, .. }) if self.keeps_allowed() => {
                let names = names.iter().map(|name| self.sent(None, name)).collect();
                Some(Choice::Allowed { required: *required, names })
            }
            Some(ToolChoice::Allowed { required, .. }) => Some(if *required { Choice::Required } else { Choice::Auto }),
            Some(ToolChoice::Server { format, raw, .. }) if *format == self.to() => Some(Choice::Native(*raw)),
            Some(ToolChoice::Server { kind, .. }) => self.server_choice(*kind)?,
        };
        self.offer.forced =
            matches!(self.offer.choice, Some(Choice::Required | Choice::Tool { .. } | Choice::Native(_)));
        self.parallel()?;
        if self.cx.target.quirks.has(Quirk::NoToolChoice) && self.offer.choice.take().is_some_and(|c| c != Choice::Auto)
        {
            self.ledger.drop(Loss::ToolChoice)?;
        }
        Ok(())
    }

    fn one(&self, namespace: Option<&Text<'_>>, name: &Text<'_>) -> Choice<'a> {
        let name = self.sent(namespace, name);
        let custom = self.plan.tools.find(&name).is_some_and(|entry| entry.shape == Shape::Custom);
        Choice::Tool { name, custom }
    }

    /// A forced server tool that was mapped (web search) keeps its force; the rest was refused
    /// before.
    fn server_choice(&mut self, kind: RawStr<'_>) -> Result<Option<Choice<'a>>, Error> {
        let searches = self.offer.tools.iter().any(|tool| matches!(tool, Offered::WebSearch(_)));
        if searches && kind.as_bytes().starts_with(b"web_search") {
            return Ok(Some(match self.to() {
                Format::Messages => Choice::Tool { name: "web_search".to_owned(), custom: false },
                _ => Choice::Required,
            }));
        }
        Err(reader::unsupported_tool(&"tool_choice", &format!("the tool `{}`", kind.unescape()), builder::NO_TOOL))
    }

    fn parallel(&mut self) -> Result<(), Error> {
        match self.request.parallel {
            // Beside `none` the switch means nothing.
            Some(false) if self.offer.choice == Some(Choice::None) => {}
            Some(false) if self.cx.target.quirks.has(Quirk::NoParallel) => self.ledger.drop(Loss::Parallel)?,
            Some(false) => self.offer.parallel = Some(false),
            // The default of all three formats: written only where the client wrote it, at hosts
            // that take every field.
            Some(true) if self.target_profile().tools.has_allowed && self.cx.target.host.is_native() => {
                self.offer.parallel = Some(true);
            }
            _ => {}
        }
        Ok(())
    }
}
