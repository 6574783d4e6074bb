//! Fields of a request that have no home in the canonical form.

use std::borrow::Cow;

use crate::json::{RawStr, RawValue};

/// Fields without a canonical home, raw and in order.
#[derive(Debug, Clone, Default)]
pub struct Ext<'a> {
    pub(crate) fields: Vec<Extra<'a>>,
}

/// A field of a request that this gateway does not know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extra<'a> {
    /// The field that contains it; empty at the top.
    pub(crate) parent: &'static str,
    pub(crate) name: RawStr<'a>,
    pub(crate) raw: RawValue<'a>,
}

impl Extra<'_> {
    /// Returns the name, with that of the field that contains it.
    pub(crate) fn path(&self) -> Cow<'_, str> {
        match self.parent {
            "" => self.name.unescape(),
            parent => Cow::Owned(format!("{parent}.{}", self.name.unescape())),
        }
    }
}

impl<'a> Ext<'a> {
    /// Keeps a field. Decoders put here whatever they have no other place for.
    pub fn push(&mut self, name: RawStr<'a>, raw: RawValue<'a>) {
        self.push_in("", name, raw);
    }

    /// Keeps a member of the field `parent`.
    pub fn push_in(&mut self, parent: &'static str, name: RawStr<'a>, raw: RawValue<'a>) {
        self.fields.push(Extra { parent, name, raw });
    }

    /// By path (`output_config.task_budget`).
    pub fn find(&self, path: &str) -> Option<RawValue<'a>> {
        self.fields.iter().rev().find(|extra| extra.path() == path).map(|extra| extra.raw)
    }

    /// Returns whether every field is known.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}
