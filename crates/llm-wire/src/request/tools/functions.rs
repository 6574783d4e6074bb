//! Tools that the client runs: functions, custom tools behind a shim, and the functions that the
//! gateway itself makes.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::canonical::effort::Mode;
use crate::canonical::loss::{Loss, LossKind, Repair};
use crate::canonical::request::{CallKind, Item, ItemKind, OutputFormat};
use crate::canonical::text::Text;
use crate::canonical::tools::{CustomTool, FunctionTool};
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::json::{RawValue, Tape, write};
use crate::request::reader;
use crate::request::root_choice::without_root_choice;
use crate::request::schema;
use crate::request::tools::builder::{ANSWER_TOOL, Choice, Offered, Schema, ToolsBuilder, keeps_custom};
use crate::target::caps::Structured;
use crate::target::quirks::{Host, Quirk};
use crate::target::tool_names::{Shape, ToolEntry};

impl<'r, 'a> ToolsBuilder<'_, 'r, 'a> {
    /// Offers a function in the form that the target has for it.
    pub(super) fn function(&mut self, at: usize, function: &'r FunctionTool<'a>) -> Result<(), Error> {
        let bad_root = |schema: &RawValue<'_>| {
            !schema.is_object() || (self.target_profile().tools.needs_object_root && !schema::has_object_root(*schema))
        };
        if function.schema.as_ref().is_some_and(bad_root) {
            return Err(reader::invalid(
                &format!("tools.{at}"),
                "needs a schema whose root is an object (`type: \"object\"`)",
            ));
        }
        let name = self.register(at, function.namespace.as_ref(), &function.name, Shape::Function)?;
        let losses = [
            (function.examples.is_some() && !self.target_profile().tools.has_examples, Loss::ToolExamples),
            (function.callers.is_some() && self.to() != self.request.from, Loss::ToolCallers),
            (
                function.output_schema.is_some() && !self.target_profile().tools.has_output_schema,
                Loss::ToolOutputSchema,
            ),
        ];
        for (_, loss) in losses.into_iter().filter(|(lost, _)| *lost) {
            self.ledger.record(
                loss,
                LossKind::Dropped,
                Some(format!("tools.{at}.{}", loss.label().trim_start_matches("tools."))),
            )?;
        }
        let flat = self.flat_root(function.schema)?;
        let strict = match flat {
            // Strict mode requires every property, and here they are those of several branches.
            Some(_) => self.strict(function.strict.map(|_| false)),
            None => self.strict(function.strict),
        };
        if function.strict == Some(true) && strict != Some(true) {
            self.ledger.record(Loss::ToolStrict, LossKind::Dropped, Some(format!("tools.{at}.strict")))?;
        }
        let schema = self.schema(function.schema, flat, strict)?;
        self.offer.tools.push(Offered::Function {
            name: Cow::Owned(name),
            description: function.description.clone(),
            schema,
            strict,
            source: Some(function),
        });
        Ok(())
    }

    /// Responses rewrites schemas when `strict` is absent, so it is always written there.
    pub(super) fn strict(&self, requested: Option<bool>) -> Option<bool> {
        let target = &self.cx.target;
        match target.format {
            Format::Responses => Some(requested.unwrap_or(false) && target.caps.strict_tools),
            _ if target.quirks.has(Quirk::NoToolStrict) || !target.caps.strict_tools => None,
            Format::Messages if target.quirks.has(Quirk::NoMessagesStrict) => None,
            // Absent means false in Chat and Messages, so that only `true` needs the field.
            _ => requested.filter(|strict| *strict || self.request.from.profile().request.tools.has_explicit_strict),
        }
    }

    /// Returns the schema without a choice at its root, where the target refuses one.
    fn flat_root(&mut self, schema: Option<RawValue<'a>>) -> Result<Option<Vec<u8>>, Error> {
        let is_refused =
            self.target_profile().tools.needs_object_root || matches!(self.cx.target.host, Host::OpenAi | Host::Azure);
        let is_translated = self.to() != self.request.from;
        let flat = schema.filter(|_| is_refused && is_translated).and_then(without_root_choice);
        if flat.is_some() {
            self.ledger.approx(Loss::JsonSchema)?;
        }
        Ok(flat)
    }

    /// Returns the schema as the target takes it. `flat` is what [`Self::flat_root`] made of it.
    fn schema(
        &mut self,
        schema: Option<RawValue<'a>>,
        flat: Option<Vec<u8>>,
        strict: Option<bool>,
    ) -> Result<Schema<'a>, Error> {
        let Some(schema) = schema else { return Ok(Schema::Raw(RawValue::new(schema::EMPTY))) };
        let translated = self.to() != self.request.from;
        let root = RawValue::new(flat.as_deref().unwrap_or(schema.bytes()));
        let mut made = translated.then(|| schema::tidy_root(root)).flatten().or(flat);
        // Responses takes `{}` (recorded); Messages demands the type, and so does Chat where there
        // is a schema at all.
        let demands_type = !self.target_profile().tools.has_untyped_schema && translated;
        let root = RawValue::new(made.as_deref().unwrap_or(schema.bytes()));
        if demands_type && root.find("type").is_none() {
            made = Some(schema::typed(root));
        }
        let mut tape = Tape::default();
        let root = made.as_deref().map_or(schema, |made| noted(&mut tape, made));
        if self.target_profile().tools.needs_object_root && strict == Some(true) {
            let mut out = Vec::with_capacity(root.bytes().len() + 32);
            if schema::for_messages(root, &mut out) {
                self.ledger.approx(Loss::JsonSchema)?;
            }
            return Ok(Schema::Made(out));
        }
        let complete = self.complete(root);
        Ok(complete.or(made.map(Schema::Made)).unwrap_or(Schema::Raw(schema)))
    }

    /// With what OpenAI's formats demand of every schema.
    fn complete(&self, schema: RawValue<'_>) -> Option<Schema<'a>> {
        if !self.target_profile().tools.needs_properties {
            return None;
        }
        let rooted = schema::with_properties(schema);
        let mut tape = Tape::default();
        let filled = schema::with_items(rooted.as_deref().map_or(schema, |made| noted(&mut tape, made)));
        filled.or(rooted).map(Schema::Made)
    }

    /// Offers a custom tool, as a function where the target has no custom tools.
    pub(super) fn custom(&mut self, at: usize, custom: &'r CustomTool<'a>) -> Result<(), Error> {
        let known = keeps_custom(self.cx, CallKind::Custom);
        let shape = if known { Shape::Custom } else { Shape::ShimmedCustom };
        let name = self.register(at, custom.namespace.as_ref(), &custom.name, shape)?;
        if known {
            self.offer.tools.push(Offered::Custom { name: Cow::Owned(name), source: custom });
            return Ok(());
        }
        self.offer.tools.push(Offered::Function {
            name: Cow::Owned(name),
            description: custom.description.clone(),
            schema: Schema::Made(shim_schema(custom)),
            strict: self.strict(None),
            source: None,
        });
        Ok(())
    }

    /// Records the name by which the target gets a tool. Two tools of one name are an error.
    pub(super) fn register(
        &mut self,
        at: usize,
        namespace: Option<&Text<'a>>,
        name: &Text<'a>,
        shape: Shape,
    ) -> Result<String, Error> {
        let sent = self.sent(namespace, name);
        let flat = namespace.is_none() && name.eq_str(&sent);
        if !flat && namespace.is_none() {
            self.ledger.repair(Repair::ToolName);
        }
        let entry = ToolEntry {
            sent: sent.clone(),
            name: name.clone().into_owned(),
            namespace: namespace.map(|n| n.clone().into_owned()),
            shape,
        };
        if !self.plan.tools.add(entry) {
            let note =
                format!("two tools are called `{}` (`tools.{at}`); give each a name of its own", name.unescape());
            return Err(Error::client(Kind::InvalidRequest, note).param(format!("tools.{at}")));
        }
        Ok(sent)
    }

    /// Structured output at a Messages model without it: one forced tool whose input is the answer.
    pub(super) fn answer_tool(&mut self) -> Result<(), Error> {
        let OutputFormat::JsonSchema { schema, .. } = &self.request.format else { return Ok(()) };
        let target = &self.cx.target;
        let native = target.caps.structured == Structured::JsonSchema && !target.quirks.has(Quirk::NoMessagesStrict);
        let thinks = matches!(self.request.reasoning.mode, Mode::Manual { .. } | Mode::Adaptive);
        // Beside other tools a forced answer would forbid their use.
        if !self.target_profile().answers_through_tool || native || thinks || !self.offer.tools.is_empty() {
            return Ok(());
        }
        if !schema::has_object_root(*schema) {
            return Err(reader::invalid(&"response_format", "needs a schema whose root is an object"));
        }
        let name = Text::plain(ANSWER_TOOL);
        self.register(0, None, &name, Shape::Answer)?;
        let flat = self.flat_root(Some(*schema))?;
        let schema = self.schema(Some(*schema), flat, None)?;
        self.offer.tools.push(Offered::Function {
            name: Cow::Borrowed(ANSWER_TOOL),
            description: Some(Text::plain("Give the answer with this tool.")),
            schema,
            strict: None,
            source: None,
        });
        self.offer.answer_tool = true;
        Ok(())
    }

    /// Messages refuses calls in history without tools: name them again, and forbid their use.
    pub(super) fn name_from_history(&mut self) {
        if !self.target_profile().tools.needs_declared_calls || !self.offer.tools.is_empty() {
            return;
        }
        let mut seen: HashSet<String> = HashSet::new();
        for item in &self.request.items {
            let Item { kind: ItemKind::Call(call), .. } = item else { continue };
            let name = self.sent(call.namespace.as_ref(), &call.name);
            if !seen.insert(name.clone()) {
                continue;
            }
            self.ledger.repair(Repair::NoTools);
            self.offer.tools.push(Offered::Function {
                name: Cow::Owned(name),
                description: None,
                schema: Schema::Raw(RawValue::new(schema::EMPTY)),
                strict: None,
                source: None,
            });
            self.offer.choice = Some(Choice::None);
        }
    }
}

/// Returns a schema that the gateway made, so that a walk scans none of its levels again.
fn noted<'a>(tape: &'a mut Tape, made: &'a [u8]) -> RawValue<'a> {
    tape.read(made).unwrap_or(RawValue::new(made))
}

/// Returns `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`, with
/// the grammar in the description.
pub(super) fn shim_schema(custom: &CustomTool<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.str("type", "object");
        o.object("properties", |o| {
            o.object("input", |o| {
                o.str("type", "string");
                if let Some(grammar) = custom.grammar {
                    let out = o.key("description");
                    out.extend_from_slice(b"\"The input must match this ");
                    out.extend_from_slice(grammar.syntax.as_bytes());
                    out.extend_from_slice(b" grammar:\\n");
                    out.extend_from_slice(grammar.definition.as_bytes());
                    out.push(b'"');
                }
            });
        });
        o.array("required", |a| a.str("input"));
        o.bool("additionalProperties", false);
    });
    out
}
