//! Translates whole answers that differ from an earlier one in texts, ids and counts alone, without
//! reading them.
//!
//! The answers of a model mostly are one text under the same members. Its translation is kept in
//! pieces: bytes, texts of the answer, and what is written anew for each, by whoever writes it
//! elsewhere. What is kept was checked: the example was translated twice more with other texts, ids
//! and counts, and the three translations are the same but for these.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use memchr::memmem;

use crate::canonical::event::Reason;
use crate::canonical::text;
use crate::canonical::usage::Usage;
use crate::format::Format;
use crate::formats::{chat, messages};
use crate::json::template::{Spot, Value, Values};
use crate::json::{RawKind, RawStr, RawValue, preamble, write};
use crate::passthrough::document_templates::DocumentTemplates;
use crate::passthrough::tap;
use crate::target::plan::{IdSource, Plan, Reply};
use crate::target::quirks::{Quirk, Quirks};

/// The translations of some answers.
#[derive(Debug, Default)]
pub struct KnownAnswers(DocumentTemplates<Known>);

/// The translation of answers of one structure.
#[derive(Debug)]
struct Known {
    key: Key,
    pieces: Vec<Piece>,
    /// Bytes of the pieces that are no texts, with room for the others.
    fixed: usize,
    /// The counts of the provider.
    usage: Spot,
    end: End,
}

/// What is known of an answer beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: Option<Reason>,
    /// The provider's own name of the model.
    pub(super) model: Option<Box<str>>,
}

/// What a translation depends on beside the answer, of plans that [`is_plain`].
#[derive(Debug, PartialEq, Eq)]
struct Key {
    client: Format,
    provider: Format,
    quirks: Quirks,
    model: Box<str>,
    /// [`flags`].
    flags: [bool; 4],
}

/// A piece of a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What<T> {
    /// A text of the answer, with its quotes.
    Text(T),
    /// The 26 characters of the answer's own id.
    Id,
    /// When the answer began.
    Created,
    /// The member `usage`.
    Usage,
}

/// A piece of a translation.
#[derive(Debug)]
enum Piece<T = Spot> {
    Bytes(Box<[u8]>),
    Of(What<T>),
}

/// What an answer is translated with.
struct Filling<'a, T> {
    text: T,
    id: &'a [u8],
    created: u64,
    usage: &'a Usage,
    client: Format,
}

impl<T> Filling<'_, T> {
    /// Appends a piece.
    #[inline]
    fn write<'b, N: Copy>(&self, piece: &Piece<N>, out: &mut Vec<u8>)
    where
        T: Fn(N) -> &'b [u8],
    {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(bytes),
            Piece::Of(What::Text(text)) => out.extend_from_slice((self.text)(*text)),
            Piece::Of(What::Id) => out.extend_from_slice(self.id),
            Piece::Of(What::Created) => write::u64(out, self.created),
            Piece::Of(What::Usage) => write_usage(self.client, self.usage, out),
        }
    }
}

/// Appends the member `usage` for a client that is told no tier.
fn write_usage(client: Format, usage: &Usage, out: &mut Vec<u8>) {
    write::members(out, |o| match client {
        Format::Chat => o.object("usage", |o| chat::words::write_usage(usage, o)),
        Format::Messages => messages::usage::write(o, usage, None),
        // See [`is_plain`].
        Format::Responses => {}
    });
}

fn flags(plan: &Plan) -> [bool; 4] {
    [plan.display_omitted, plan.reasoning_details, plan.legacy_functions, plan.logprobs]
}

/// Returns whether no more than [`Key`] decides how a text is translated: none is watched for stop
/// sequences or reasoning in tags, there is no tool, and nothing of the request is repeated.
pub(super) fn is_plain(plan: &Plan) -> bool {
    !plan.client.profile().response.repeats_request
        && plan.stops.is_empty()
        && plan.tools.is_empty()
        && !plan.quirks.has(Quirk::ThinkTags)
}

/// Returns whether numbers come to the client as they are: they need no estimate and no repair.
pub(super) fn is_counted(usage: &Usage) -> bool {
    usage.input_total > 0 && usage.output_total > 0 && !usage.repaired
}

impl Key {
    fn of(plan: &Plan) -> Key {
        Key {
            client: plan.client,
            provider: plan.provider,
            quirks: plan.quirks,
            model: plan.model.as_str().into(),
            flags: flags(plan),
        }
    }

    fn is_of(&self, plan: &Plan) -> bool {
        (self.client, self.provider, self.quirks, self.flags) == (plan.client, plan.provider, plan.quirks, flags(plan))
            && *self.model == *plan.model
    }
}

impl KnownAnswers {
    /// Appends the translation of an answer that has the structure of an earlier one.
    pub(super) fn write(&mut self, body: &[u8], reply: &Reply, out: &mut Vec<u8>) -> Option<(Usage, &End)> {
        let (known, places) = self.0.find_where(body, |known| known.key.is_of(&reply.plan))?;
        let text = |spot: Spot| {
            let Range { start, end } = spot.in_match(places);
            &body[start + 1..end - 1]
        };
        let is_blank =
            |piece: &Piece| matches!(piece, Piece::Of(What::Text(spot)) if text::is_blank(RawStr::new(text(*spot))));
        let usage = tap::usage(known.key.provider, RawValue::new(&body[known.usage.in_match(places)]));
        if !is_counted(&usage) || known.pieces.iter().any(is_blank) {
            return None;
        }
        out.reserve(known.fixed + body.len());
        let (id, created, client) = (&reply.id[..], reply.created, known.key.client);
        let filling = Filling { text, id, created, usage: &usage, client };
        known.pieces.iter().for_each(|piece| filling.write(piece, out));
        Some((usage, &known.end))
    }

    /// Learns from an answer that was not found, and became `written` with this reply. `plain_end`
    /// is how it has ended, if that was well and without oddities; `translate` does the same with
    /// another answer, and returns what became of it and how that has ended.
    pub(super) fn learn(
        &mut self,
        (body, written): (&[u8], &[u8]),
        reply: &Reply,
        plain_end: impl FnOnce() -> Option<(Usage, End)>,
        translate: impl Fn(&[u8], Reply) -> Option<(Vec<u8>, Usage, End)>,
    ) {
        let may_learn = self.0.would_learn(body) && preamble::strip(body).len() == body.len();
        let plan = &reply.plan;
        let variable = may_learn.then(|| Variable::of(plan.provider, body)).flatten();
        let found = variable.and_then(|variable| Some((variable, plain_end()?)));
        let Some((variable, (usage, end))) = found else {
            self.0.skip();
            return;
        };
        self.0.learn(
            body,
            |value| variable.has(value),
            |spot| {
                let texts = variable.texts.iter().map(|text| spot(text.clone())).collect::<Option<Vec<_>>>()?;
                let own = |number: usize| &body[variable.texts[number].start + 1..variable.texts[number].end - 1];
                let (id, created, client) = (&reply.id[..], reply.created, plan.client);
                let filling = Filling { text: own, id, created, usage: &usage, client };
                let pieces = pieces(body, &variable, (plan, &end), &translate)?;
                if join(&pieces, &filling) != written {
                    return None;
                }
                let place = |piece: Piece<usize>| match piece {
                    Piece::Bytes(bytes) => Piece::Bytes(bytes),
                    Piece::Of(What::Text(number)) => Piece::Of(What::Text(texts[number])),
                    Piece::Of(What::Id) => Piece::Of(What::Id),
                    Piece::Of(What::Created) => Piece::Of(What::Created),
                    Piece::Of(What::Usage) => Piece::Of(What::Usage),
                };
                let fixed = written.len();
                let pieces = pieces.into_iter().map(place).collect();
                Some(Known { key: Key::of(plan), pieces, fixed, usage: spot(variable.usage.clone())?, end })
            },
        );
    }
}

/// The parts of an answer that may be others in the next one.
struct Variable {
    /// The texts, quotes included.
    texts: Vec<Range<usize>>,
    /// The provider's id, quotes included.
    id: Option<Range<usize>>,
    created: Option<Range<usize>>,
    /// The object with the counts.
    usage: Range<usize>,
}

impl Variable {
    /// Finds them. `None` if the answer has anything but texts that are not blank.
    fn of(provider: Format, body: &[u8]) -> Option<Variable> {
        let place = |value: RawValue<'_>| {
            let start = (value.bytes().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
            Some(start..start + value.bytes().len())
        };
        let (mut texts, mut id, mut created, mut usage) = (Vec::new(), None, None, None);
        let mut note = |value: RawValue<'_>| {
            texts.push(place(value)?);
            value.as_str().filter(|text| !text::is_blank(*text)).map(drop)
        };
        for (key, value, _) in RawValue::new(body).members() {
            match (key.as_bytes(), value.kind()) {
                (b"id", RawKind::String) if id.is_none() => id = Some(place(value)?),
                (b"created", RawKind::Number) if created.is_none() => created = Some(place(value)?),
                (b"usage", RawKind::Object) if usage.is_none() => usage = Some(place(value)?),
                (b"id" | b"created" | b"usage", _) => return None,
                (b"content" | b"choices", RawKind::Array) => {
                    for (element, _) in value.elements() {
                        note(text_of(provider, element)?)?;
                    }
                }
                _ => {}
            }
        }
        let usage = usage.filter(|_| !texts.is_empty())?;
        texts.is_sorted_by_key(|text| text.start).then_some(Variable { texts, id, created, usage })
    }

    /// Returns whether a value is one of them.
    fn has(&self, value: &Value<'_>) -> bool {
        match value.is_string {
            true => self.texts.iter().chain(&self.id).any(|place| place.start + 1 == value.start),
            false => {
                self.usage.contains(&value.start)
                    || self.created.as_ref().is_some_and(|created| *created == (value.start..value.end))
            }
        }
    }

    /// Returns the answer with other texts, another id and other counts.
    fn varied<'t>(&self, body: &[u8], id: &[u8], text: impl Fn(usize) -> &'t [u8]) -> Vec<u8> {
        let (mut out, mut from, mut number) = (Vec::new(), 0, 0);
        for value in Values::of(body).filter(|value| self.has(value)) {
            out.extend_from_slice(&body[from..value.start]);
            let old = &body[value.start..value.end];
            match value.is_string {
                true if self.id.as_ref().is_some_and(|place| place.start + 1 == value.start) => {
                    out.extend_from_slice(id);
                }
                true => {
                    out.extend_from_slice(text(number));
                    number += 1;
                }
                false if old == b"0" => out.push(b'7'),
                false => {
                    out.extend_from_slice(old);
                    out.push(b'7');
                }
            }
            from = value.end;
        }
        out.extend_from_slice(&body[from..]);
        out
    }
}

/// Returns the member of that name, if there is one and no other.
fn member_once<'a>(object: RawValue<'a>, name: &str) -> Option<RawValue<'a>> {
    let mut found = object.members().filter(|(key, ..)| key.eq_str(name)).map(|(_, value, _)| value);
    found.next().filter(|_| found.next().is_none())
}

/// Returns the text of a choice, or of a block of content. `None` if it is none, or if texts of
/// this format are not followed.
fn text_of<'a>(provider: Format, element: RawValue<'a>) -> Option<RawValue<'a>> {
    match provider {
        Format::Chat => member_once(member_once(element, "message")?, "content"),
        Format::Messages if member_once(element, "type")?.eq_str("text") => member_once(element, "text"),
        Format::Messages | Format::Responses => None,
    }
}

/// Gives one id and a time, and counts how often it is asked.
struct OneId {
    id: [u8; 26],
    created: u64,
    asked: Rc<Cell<u32>>,
}

impl IdSource for OneId {
    fn id(&mut self) -> [u8; 26] {
        self.asked.set(self.asked.get() + 1);
        self.id
    }

    fn now(&mut self) -> u64 {
        self.created
    }
}

/// Translates an answer by `translate`. `None` if it ends otherwise than `end`, needs more than one
/// id, or if its counts are not those of its member `usage`.
fn translated(
    body: &[u8],
    (plan, end): (&Plan, &End),
    (id, created): ([u8; 26], u64),
    translate: impl Fn(&[u8], Reply) -> Option<(Vec<u8>, Usage, End)>,
) -> Option<(Vec<u8>, Usage)> {
    let asked = Rc::new(Cell::new(0));
    let stamps = OneId { id, created, asked: asked.clone() };
    let (out, usage, found) = translate(body, Reply::new(plan.clone(), Box::new(stamps), ""))?;
    let counts = Variable::of(plan.provider, body)?.usage;
    let is_own = usage == tap::usage(plan.provider, RawValue::new(&body[counts]));
    (found == *end && asked.get() == 1 && is_own).then_some((out, usage))
}

/// Cuts a translation into pieces, by translating the answer with other texts, ids and counts.
/// `None` if anything else differs then.
fn pieces(
    body: &[u8],
    variable: &Variable,
    (plan, end): (&Plan, &End),
    translate: impl Fn(&[u8], Reply) -> Option<(Vec<u8>, Usage, End)>,
) -> Option<Vec<Piece<usize>>> {
    let count = variable.texts.len();
    let numbered = |text: fn(usize) -> String| (0..count).map(|n| text(n).into_bytes()).collect::<Vec<_>>();
    let marks = numbered(|n| format!("of text {n:04}, in its place"));
    let (id, created) = (*b"0F1E2D3C4B5A69788796A5B4C3", 1_987_654_321);
    let varied = variable.varied(body, b"id of the provider", |n| &marks[n][..]);
    let (marked, usage) = translated(&varied, (plan, end), (id, created), &translate)?;
    let mut counts = Vec::new();
    write_usage(plan.client, &usage, &mut counts);
    let created_digits = created.to_string();
    let mut sought: Vec<(&[u8], What<usize>)> = (0..count).map(|n| (&marks[n][..], What::Text(n))).collect();
    sought.extend([(&id[..], What::Id), (created_digits.as_bytes(), What::Created), (&counts[..], What::Usage)]);
    let mut places = Vec::new();
    for (bytes, what) in sought {
        let mut found = memmem::find_iter(&marked, bytes);
        match (found.next(), what) {
            (Some(at), _) if found.next().is_none() => places.push((at..at + bytes.len(), what)),
            // Not every format has a time.
            (None, What::Created) => {}
            _ => return None,
        }
    }
    places.sort_by_key(|(place, _)| place.start);
    let (mut pieces, mut from) = (Vec::new(), 0);
    for (place, what) in places {
        pieces.push(Piece::Bytes(marked.get(from..place.start)?.into()));
        pieces.push(Piece::Of(what));
        from = place.end;
    }
    pieces.push(Piece::Bytes(marked.get(from..)?.into()));
    // With escapes, and space at both ends.
    let odd = numbered(|n| format!(" {n:04} \\u00e9\\n \u{e9} \\\" "));
    let (id, created) = (*b"ZYXWVTSRQPNMKJHGFEDCBA9876", 1_876_543_210);
    let varied = variable.varied(body, b"", |n| &odd[n][..]);
    let (other, usage) = translated(&varied, (plan, end), (id, created), &translate)?;
    let filling = Filling { text: |n: usize| &odd[n][..], id: &id, created, usage: &usage, client: plan.client };
    (join(&pieces, &filling) == other).then_some(pieces)
}

fn join<'b, T: Fn(usize) -> &'b [u8]>(pieces: &[Piece<usize>], filling: &Filling<'_, T>) -> Vec<u8> {
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| filling.write(piece, &mut out));
    out
}

#[cfg(test)]
mod tests;
