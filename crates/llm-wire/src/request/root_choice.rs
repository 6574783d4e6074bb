//! Schemas of tools with a choice of schemas at their root. Anthropic and OpenAI refuse a request
//! with such a tool, although the schema is valid and its properties are those of an object:
//! generators write it for unions (zod, pydantic) and for intersections.
//!
//! The root gets the properties of all branches and requires what every branch requires, which
//! admits all that the choice does and more; the choice itself moves into the description, where the
//! model reads it. A schema is left as it is where that could change what a pointer in it means, or
//! where it is larger than any that a vendor takes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::{RawStr, RawValue, Tape, write};
use crate::request::schema::{describe, has_object_root};

/// The choices, and whether all of their branches hold.
const CHOICES: [(&str, bool); 3] = [("allOf", true), ("anyOf", false), ("oneOf", false)];

/// The most schemas, properties, definitions and names of required ones that are looked at.
const MOST_PARTS: usize = 4096;

/// The deepest branch in a branch, and the most references from one definition to another. Both
/// count for a branch that refers to others.
const MOST_DEPTH: usize = 8;

/// The longest choice that is shown in a description, and the longest name that branches are
/// compared by, in bytes.
const SHOWN: usize = 1024;

/// Pointers into what moves, and names of schemas that may be there.
static POINTERS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
    let into = ["#/allOf", "#/anyOf", "#/oneOf", r"#\/allOf", r"#\/anyOf", r"#\/oneOf", r#""$anchor""#];
    into.into_iter().chain([r#""$dynamicAnchor""#, r#""$recursiveAnchor""#]).map(Finder::new).collect()
});

/// Returns the schema of an object without the choice at its root. `None` if it has none, or has to
/// stay as it is.
pub(crate) fn without_root_choice(schema: RawValue<'_>) -> Option<Vec<u8>> {
    if !schema.members().any(|(key, ..)| is_choice(key)) || has_pointer(schema.bytes()) {
        return None;
    }
    // With the notes of a tape no level is scanned again.
    let mut tape = Tape::default();
    let schema = tape.read(schema.bytes()).ok()?;
    let definitions = Definitions::of(schema)?;
    let mut flat = Flat::default();
    flat.take_all(schema, &definitions)?;
    let shown = CHOICES.iter().filter_map(|(name, _)| Some((RawStr::new(name.as_bytes()), schema.find(name)?)));
    let moved: Vec<_> = shown.filter(|(_, value)| value.bytes().len() <= SHOWN).collect();
    let description = schema.find("description").and_then(RawValue::as_str);
    let mut out = Vec::with_capacity(schema.bytes().len() + 64);
    write::object(&mut out, |o| {
        const MADE: &[&str] = &["properties", "required", "description"];
        for (key, value, _) in schema.members() {
            if !is_choice(key) && !MADE.iter().any(|name| key.eq_str(name)) {
                o.value(&key.unescape(), value);
            }
        }
        flat.write(o);
        if description.is_some() || !moved.is_empty() {
            describe(description, &moved, o.key("description"));
        }
    });
    Some(out)
}

fn is_choice(key: RawStr<'_>) -> bool {
    CHOICES.iter().any(|(name, _)| key.eq_str(name))
}

fn has_pointer(schema: &[u8]) -> bool {
    POINTERS.iter().any(|finder| finder.find(schema).is_some())
}

/// The definitions of a document, by their group and name.
struct Definitions<'a>(HashMap<(&'static str, Cow<'a, str>), RawValue<'a>>);

impl<'a> Definitions<'a> {
    fn of(root: RawValue<'a>) -> Option<Definitions<'a>> {
        let mut all = HashMap::new();
        for group in ["$defs", "definitions"] {
            for (name, definition, _) in root.find(group).into_iter().flat_map(RawValue::members) {
                all.insert((group, name.unescape()), definition);
                if all.len() > MOST_PARTS {
                    return None;
                }
            }
        }
        Some(Definitions(all))
    }

    /// Returns the definition that a reference names: `#/$defs/name`. `None` if there is none.
    fn named(&self, reference: RawValue<'a>) -> Option<RawValue<'a>> {
        let path = reference.as_str()?.unescape();
        let (group, name) = path.strip_prefix("#/")?.split_once('/')?;
        let group = ["$defs", "definitions"].into_iter().find(|known| *known == group)?;
        let name = name.replace("~1", "/").replace("~0", "~");
        self.0.get(&(group, Cow::Owned(name))).copied()
    }
}

/// What a branch requires.
struct Branch<'a> {
    /// A definition that has to hold as well.
    next: Option<RawValue<'a>>,
    required: Vec<RawStr<'a>>,
    /// Whether there are objects that satisfy it.
    takes_objects: bool,
}

impl<'a> Branch<'a> {
    /// `None` if its reference leads nowhere, or a name is longer than any that a vendor takes.
    fn of(schema: RawValue<'a>, definitions: &Definitions<'a>) -> Option<Rc<Branch<'a>>> {
        let next = match schema.find("$ref") {
            Some(reference) => Some(definitions.named(reference)?),
            None => None,
        };
        let names = schema.find("required").into_iter().flat_map(RawValue::elements);
        let required: Vec<_> = names.filter_map(|(name, _)| name.as_str()).collect();
        let are_short = required.iter().all(|name| name.as_bytes().len() <= SHOWN);
        let takes_objects = schema.as_bool() == Some(true) || has_object_root(schema);
        are_short.then(|| Rc::new(Branch { next, required, takes_objects }))
    }
}

/// What a property has to be, by the schemas that name it.
struct Property<'a> {
    name: RawStr<'a>,
    /// In each case.
    always: Option<RawValue<'a>>,
    /// In one branch or another. No two are alike.
    branches: Vec<RawValue<'a>>,
}

/// A schema that is part of the root, and how deep.
struct Part<'a> {
    schema: RawValue<'a>,
    always: bool,
    depth: usize,
}

/// Where a schema stands, which tells it from others with the same bytes.
fn address(schema: RawValue<'_>) -> usize {
    schema.bytes().as_ptr().addr()
}

fn deeper(depth: usize) -> Option<usize> {
    (depth < MOST_DEPTH).then_some(depth + 1)
}

/// The root without its choice.
#[derive(Default)]
struct Flat<'a> {
    parts: usize,
    properties: Vec<Property<'a>>,
    by_name: HashMap<Cow<'a, str>, usize>,
    branches: HashSet<(usize, &'a [u8])>,
    required: Vec<RawStr<'a>>,
    required_names: HashSet<Cow<'a, str>>,
    /// The definitions that branches referred to, by their addresses. However many refer to one,
    /// its members are read once.
    referred: HashMap<usize, Rc<Branch<'a>>>,
}

impl<'a> Flat<'a> {
    /// Takes the properties of the root and of all that it is made of. `None` if that is too much,
    /// or a branch can't be read.
    fn take_all(&mut self, root: RawValue<'a>, definitions: &Definitions<'a>) -> Option<()> {
        let mut taken = HashSet::new();
        let mut waiting = VecDeque::from([Part { schema: root, always: true, depth: 0 }]);
        while let Some(Part { schema, always, depth }) = waiting.pop_front() {
            self.count()?;
            // A definition is taken once as a branch, and once as a part.
            if !taken.insert((address(schema), always)) {
                continue;
            }
            if depth > 0 {
                // With an identifier of its own its references mean another document.
                if schema.find("$id").is_some() {
                    return None;
                }
                // Both what the reference names and what stands beside it has to hold.
                if let Some(reference) = schema.find("$ref") {
                    let schema = definitions.named(reference)?;
                    waiting.push_back(Part { schema, always, depth: deeper(depth)? });
                }
            }
            for (name, value, _) in schema.find("properties").into_iter().flat_map(RawValue::members) {
                self.take(name, value, always)?;
            }
            for (name, _) in schema.find("required").into_iter().filter(|_| always).flat_map(RawValue::elements) {
                name.as_str().map_or(Some(()), |name| self.require(name))?;
            }
            for (name, is_all) in CHOICES {
                let Some(choice) = schema.find(name) else { continue };
                let depth = deeper(depth)?;
                if always && !is_all {
                    self.require_common(choice, definitions)?;
                }
                for (part, _) in choice.elements() {
                    waiting.push_back(Part { schema: part, always: always && is_all, depth });
                    (waiting.len() <= MOST_PARTS).then_some(())?;
                }
            }
        }
        Some(())
    }

    /// `None` once there is too much.
    fn count(&mut self) -> Option<()> {
        self.parts += 1;
        (self.parts <= MOST_PARTS).then_some(())
    }

    fn take(&mut self, name: RawStr<'a>, schema: RawValue<'a>, always: bool) -> Option<()> {
        self.count()?;
        let next = self.properties.len();
        let at = *self.by_name.entry(name.unescape()).or_insert(next);
        if at == next {
            self.properties.push(Property { name, always: None, branches: Vec::new() });
        }
        let property = &mut self.properties[at];
        if always {
            property.always.get_or_insert(schema);
        } else if property.always.is_none() && self.branches.insert((at, schema.bytes())) {
            property.branches.push(schema);
        }
        Some(())
    }

    fn require(&mut self, name: RawStr<'a>) -> Option<()> {
        self.count()?;
        if self.required_names.insert(name.unescape()) {
            self.required.push(name);
        }
        Some(())
    }

    /// Requires what each branch of a choice requires itself. A branch that no object satisfies
    /// does not count.
    fn require_common(&mut self, choice: RawValue<'a>, definitions: &Definitions<'a>) -> Option<()> {
        // By how many branches a name is required so far.
        let mut counts: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let (mut first, mut branches) = (Vec::new(), 0);
        for (branch, _) in choice.elements() {
            let chain = self.chain(branch, definitions)?;
            if !chain.iter().all(|part| part.takes_objects) {
                continue;
            }
            for name in chain.iter().flat_map(|part| part.required.iter().copied()) {
                self.count()?;
                let count = counts.entry(name.unescape()).or_insert(0);
                if branches == 0 && *count == 0 {
                    first.push(name);
                }
                if *count == branches {
                    *count += 1;
                }
            }
            branches += 1;
        }
        let common = first.into_iter().filter(|name| counts.get(&name.unescape()) == Some(&branches));
        common.map(|name| self.require(name)).collect()
    }

    /// Returns a branch and what it refers to, one after the other. `None` if a reference leads
    /// nowhere or too far.
    fn chain(&mut self, branch: RawValue<'a>, definitions: &Definitions<'a>) -> Option<Vec<Rc<Branch<'a>>>> {
        self.count()?;
        let branch = Branch::of(branch, definitions)?;
        let (mut next, mut chain) = (branch.next, vec![branch]);
        while let Some(schema) = next {
            (chain.len() <= MOST_DEPTH).then_some(())?;
            let part = match self.referred.get(&address(schema)) {
                Some(part) => Rc::clone(part),
                None => Branch::of(schema, definitions)?,
            };
            self.referred.insert(address(schema), Rc::clone(&part));
            next = part.next;
            chain.push(part);
        }
        Some(chain)
    }

    fn write(&self, o: &mut write::Object<'_>) {
        let out = o.key("properties");
        out.push(b'{');
        for (n, property) in self.properties.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write::raw_string(out, property.name);
            out.push(b':');
            match (property.always, property.branches.as_slice()) {
                (Some(one), _) | (None, &[one]) => out.extend_from_slice(one.bytes()),
                (None, many) => {
                    write::object(out, |o| o.array("anyOf", |a| many.iter().for_each(|one| a.value(*one))));
                }
            }
        }
        out.push(b'}');
        if !self.required.is_empty() {
            o.array("required", |a| self.required.iter().for_each(|name| a.raw_str(*name)));
        }
    }
}

#[cfg(test)]
mod tests;
