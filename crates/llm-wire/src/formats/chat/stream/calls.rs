//! Tool calls as they arrive: which call a piece belongs to, and what is known of it.
//!
//! OpenAI keys the pieces of a call by `index`, gives id and name in the first and arguments in the
//! rest. Hosts leave the index out, give 0 for every call, repeat id and name, or give them late;
//! what makes a piece a new call is decided in [`Calls::find`].

use crate::canonical::args;
use crate::canonical::args::ObjectScan;
use crate::canonical::request::CallKind;
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::json::{RawKind, RawStr, RawValue};

/// Most bytes of arguments held for calls whose name has not come.
const HELD_MAX: usize = 8 << 20;

/// Most calls in one answer.
const CALLS_MAX: usize = 1024;

/// The index of the deprecated `function_call`, of which there is one.
pub(super) const LEGACY: u64 = u64::MAX;

/// One element of `tool_calls`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallDelta<'a> {
    pub index: Option<u64>,
    /// Empty where it is absent.
    pub id: RawStr<'a>,
    pub name: RawStr<'a>,
    pub kind: CallKind,
    pub input: Option<RawValue<'a>>,
    /// Google's signature, from `extra_content`.
    pub signature: Option<RawStr<'a>>,
}

impl<'a> CallDelta<'a> {
    /// Reads an element of `tool_calls`.
    pub(super) fn read(element: RawValue<'a>) -> CallDelta<'a> {
        let mut delta = CallDelta::empty();
        for (key, value, _) in element.members() {
            match key.as_bytes() {
                b"index" => delta.index = value.as_u64(),
                b"id" => delta.id = value.as_str().unwrap_or_default(),
                b"type" if value.eq_str("custom") => delta.kind = CallKind::Custom,
                b"function" => {
                    delta.body(value);
                }
                b"custom" if delta.body(value) => delta.kind = CallKind::Custom,
                b"extra_content" => delta.signature = signature(value),
                _ => {}
            }
        }
        delta
    }

    /// Reads the deprecated `function_call`.
    pub(super) fn legacy(function_call: RawValue<'a>) -> CallDelta<'a> {
        let mut delta = CallDelta { index: Some(LEGACY), ..CallDelta::empty() };
        delta.body(function_call);
        delta
    }

    fn empty() -> CallDelta<'a> {
        let nothing = RawStr::default();
        CallDelta { index: None, id: nothing, name: nothing, kind: CallKind::Function, input: None, signature: None }
    }

    /// No call has any content: some hosts fill absent fields with empty ones.
    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty() && self.name.is_empty() && self.input.is_none()
    }

    /// Takes what is filled of `function` or `custom`; `true` if there was a name.
    fn body(&mut self, body: RawValue<'a>) -> bool {
        let mut named = false;
        for (key, value, _) in body.members() {
            match key.as_bytes() {
                b"name" => {
                    let name = value.as_str().filter(|name| !name.is_empty());
                    named = name.is_some();
                    self.name = name.unwrap_or(self.name);
                }
                b"arguments" | b"input" if !matches!(value.bytes(), b"null" | b"\"\"") => self.input = Some(value),
                _ => {}
            }
        }
        named
    }
}

fn signature(extra: RawValue<'_>) -> Option<RawStr<'_>> {
    let vendors = ["google", "vertex"];
    let found = vendors.iter().find_map(|vendor| extra.path(&[vendor, "thought_signature"])?.as_str());
    found.filter(|signature| !signature.is_empty())
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    index: Option<u64>,
    pub id: Text<'static>,
    pub name: Text<'static>,
    pub kind: CallKind,
    pub state: CallState,
    /// Follows the arguments of a call without an id, to tell it from the next one of the same
    /// name.
    scan: Option<ObjectScan>,
}

/// How far a call is.
#[derive(Debug)]
pub(super) enum CallState {
    /// Its name has not come; what came of its input is held, escaped.
    Waiting {
        input: Vec<u8>,
    },
    Open {
        ix: u32,
    },
}

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    list: Vec<Call>,
    held: usize,
}

impl Calls {
    /// Returns whether there is no call.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the calls in the order in which they began.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.list.iter()
    }

    /// Returns a call by its number.
    pub(super) fn get(&mut self, n: usize) -> &mut Call {
        &mut self.list[n]
    }

    /// Returns the call that a piece belongs to, a new one if it belongs to none, with what the
    /// piece adds of it.
    pub(super) fn place(&mut self, delta: &CallDelta<'_>) -> Result<usize, Error> {
        let n = match self.find(delta) {
            Some(n) => n,
            None => {
                if self.list.len() == CALLS_MAX {
                    return Err(too_much(&format!("more than {CALLS_MAX} tool calls")));
                }
                self.list.push(Call {
                    index: delta.index,
                    id: Text::EMPTY,
                    name: Text::EMPTY,
                    kind: delta.kind,
                    state: CallState::Waiting { input: Vec::new() },
                    scan: (delta.id.is_empty() || delta.index.is_none()).then(ObjectScan::default),
                });
                self.list.len() - 1
            }
        };
        let call = &mut self.list[n];
        if call.id.is_empty() && !delta.id.is_empty() {
            call.id = Text::from(delta.id).into_owned();
        }
        if call.name.is_empty() && !delta.name.is_empty() {
            call.name = Text::from(delta.name).into_owned();
        }
        if delta.kind == CallKind::Custom {
            call.kind = CallKind::Custom;
        }
        Ok(n)
    }

    /// A known index with another id and a name is a new call; without ids, with another name, or
    /// with a name again after whole arguments. Without an index the id decides; then a name begins
    /// a new call, and anything else goes on with the last.
    fn find(&self, delta: &CallDelta<'_>) -> Option<usize> {
        if delta.index.is_none() {
            return if !delta.id.is_empty() {
                let n = self.list.iter().rposition(|call| call.id.raw() == delta.id)?;
                // Hosts that give every call one id, and no index, begin each with its name.
                let call = &self.list[n];
                let named = !delta.name.is_empty() && !call.name.is_empty();
                let over = call.scan.is_some_and(|scan| scan.is_complete()) && delta.input.is_some();
                let is_new = named && (call.name.raw() != delta.name || over);
                (!is_new).then_some(n)
            } else if !delta.name.is_empty() {
                None
            } else {
                self.list.len().checked_sub(1)
            };
        }
        let n = self.list.iter().rposition(|call| call.index == delta.index)?;
        let call = &self.list[n];
        if delta.name.is_empty() {
            return Some(n);
        }
        let both_have_ids = !call.id.is_empty() && !delta.id.is_empty();
        let again = call.scan.is_some_and(|scan| scan.is_complete()) && delta.id.is_empty();
        let other_name = !call.name.is_empty() && call.name.raw() != delta.name && !both_have_ids;
        let is_new = (both_have_ids && call.id.raw() != delta.id) || again || other_name;
        (!is_new).then_some(n)
    }

    /// Returns the input in a piece as an escaped body, in `scratch` if it had to be made. Empty if
    /// there is none.
    pub(super) fn input<'a>(&mut self, n: usize, delta: &CallDelta<'a>, scratch: &'a mut Vec<u8>) -> RawStr<'a> {
        let raw = match delta.input {
            None => return RawStr::default(),
            Some(value) if value.kind() == RawKind::String => value.as_str().unwrap_or_default(),
            Some(value) => {
                scratch.clear();
                args::write_quoted(value, scratch);
                RawStr::new(scratch)
            }
        };
        if let Some(scan) = &mut self.list[n].scan {
            scan.feed(raw);
        }
        raw
    }

    /// Holds input back until the name comes.
    pub(super) fn hold(&mut self, n: usize, raw: RawStr<'_>) -> Result<(), Error> {
        self.held += raw.len();
        if self.held > HELD_MAX {
            return Err(too_much("more tool arguments before a tool's name than can be held"));
        }
        if let CallState::Waiting { input } = &mut self.list[n].state {
            input.extend_from_slice(raw.as_bytes());
        }
        Ok(())
    }
}

fn too_much(what: &str) -> Error {
    Error::upstream(Kind::UpstreamFault, format!("the upstream's answer holds {what}"))
}
