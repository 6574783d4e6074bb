//! Tool calls and results paired, in order, so that every target takes them
//! (`docs/internals/translation/requests.md`, "Turns").
//!
//! [`pair`] returns a list in which each assistant turn is followed by exactly one result for each
//! of its calls, in call order, and then by the rest of the user's turn;
//! [`turns`](crate::request::turns::turns) cuts such a list into turns. Encoders of Chat and
//! Messages use both; Responses takes items as they are and needs [`pair`] only for its repairs.
//!
//! **Prefix property.** What a turn becomes is decided by the turn and what precedes it, so that a
//! longer conversation begins with the bytes of the shorter one: thinking blocks and prompt caches
//! depend on it. The one exception is a result that comes after later turns: the call was answered
//! by a stand-in until then. It is moved to its call and counted as [`Repair::MovedResult`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::canonical::loss::{Ledger, Repair};
use crate::canonical::request::{CallKind, Item, ItemKind, Message, Part, Request, Role, ToolCall, ToolResult};
use crate::canonical::text::Text;
use crate::error::{Error, Kind};
use crate::reasoning::history::is_user_side;
use crate::target::plan::Policy;

/// What stands for a result that never came.
pub(crate) const NO_RESULT: &str = "tool result unavailable; do not assume it ran";

/// Pairs calls and results. Repairs as far as the policy allows, else fails with the path of the
/// first item at fault.
pub(crate) fn pair<'a>(request: &Request<'a>, policy: &Policy, ledger: &mut Ledger) -> Result<Vec<Item<'a>>, Error> {
    let plan = match_up(&request.items, request.from.profile().request.tools.has_typed_results);
    let mut pairer = Pairer { request, policy, ledger, plan, out: Vec::with_capacity(request.items.len()) };
    pairer.run()?;
    Ok(pairer.out)
}

/// What was found about each item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Match {
    /// Neither call nor result.
    #[default]
    None,
    /// A call, the index of its result, and its new id if its own was used before.
    Call { result: Option<usize>, id: Option<String> },
    /// A result that belongs to a call before it.
    Paired,
    /// A result whose call has one already.
    Duplicate,
    /// A result without a call before it.
    Orphan,
}

/// Finds the result of each call, in one pass.
///
/// A result belongs to the latest turn before it that has unanswered calls of its id, and there to
/// the first of them: the results of parallel calls that share an id come in the order of the
/// calls. A result without an id answers the first open call of the latest turn that has one.
///
/// `typed`: results name the kind of their call, as in Responses, where a `custom_tool_call_output`
/// answers no function. An open call of that kind goes before the others then.
fn match_up(items: &[Item<'_>], typed: bool) -> Vec<Match> {
    let mut found = vec![Match::None; items.len()];
    let mut open = OpenCalls::default();
    let mut ids = CallIds::default();
    let mut turn = 0;
    let mut users_turn = true;
    for (n, item) in items.iter().enumerate() {
        let user = is_user_side(item);
        turn += usize::from(users_turn && !user);
        users_turn = user;
        match &item.kind {
            ItemKind::Call(call) => {
                let id = call.call_id.unescape();
                found[n] = Match::Call { result: None, id: ids.rename(&id) };
                open.add(id, call.kind == CallKind::Custom, turn, n);
            }
            ItemKind::Result(result) => {
                let id = result.call_id.unescape();
                let custom = typed.then_some(result.kind == CallKind::Custom);
                found[n] = match open.take(&id, custom, &found) {
                    Some(call) => {
                        if let Match::Call { result, .. } = &mut found[call] {
                            *result = Some(n);
                        }
                        Match::Paired
                    }
                    None if open.contains(&id) => Match::Duplicate,
                    None => Match::Orphan,
                };
            }
            _ => {}
        }
    }
    found
}

/// The calls that wait for a result.
#[derive(Default)]
struct OpenCalls<'i> {
    by_id: HashMap<Cow<'i, str>, Vec<OpenTurn>>,
    /// All of them, for results without an id.
    all: Vec<OpenTurn>,
}

/// The calls of one turn, in order. Those that got their result in the meantime are skipped.
struct OpenTurn {
    turn: usize,
    functions: VecDeque<usize>,
    customs: VecDeque<usize>,
}

impl<'i> OpenCalls<'i> {
    fn add(&mut self, id: Cow<'i, str>, custom: bool, turn: usize, call: usize) {
        for turns in [self.by_id.entry(id).or_default(), &mut self.all] {
            if turns.last().is_none_or(|last| last.turn != turn) {
                turns.push(OpenTurn { turn, functions: VecDeque::new(), customs: VecDeque::new() });
            }
            if let Some(last) = turns.last_mut() {
                if custom { last.customs.push_back(call) } else { last.functions.push_back(call) }
            }
        }
    }

    /// Returns the call that a result of this id answers. It is open no longer. `custom` is the
    /// kind of the call, where the result names it.
    fn take(&mut self, id: &str, custom: Option<bool>, found: &[Match]) -> Option<usize> {
        let own = self.by_id.get_mut(id).and_then(|turns| OpenTurn::take(turns, custom, found));
        match own {
            None if id.is_empty() => OpenTurn::take(&mut self.all, custom, found),
            own => own,
        }
    }

    /// Returns whether there was a call of this id.
    fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }
}

impl OpenTurn {
    fn take(turns: &mut Vec<OpenTurn>, custom: Option<bool>, found: &[Match]) -> Option<usize> {
        while let Some(last) = turns.last_mut() {
            for calls in [&mut last.functions, &mut last.customs] {
                while calls.front().is_some_and(|call| !matches!(found[*call], Match::Call { result: None, .. })) {
                    calls.pop_front();
                }
            }
            let calls = match (custom, last.functions.front(), last.customs.front()) {
                (_, None, None) => {
                    turns.pop();
                    continue;
                }
                (_, None, _) | (Some(true), _, Some(_)) => &mut last.customs,
                (None, Some(function), Some(custom)) if custom < function => &mut last.customs,
                _ => &mut last.functions,
            };
            return calls.pop_front();
        }
        None
    }
}

/// The ids of the calls so far, under which none may stand twice.
#[derive(Default)]
struct CallIds {
    used: HashSet<String>,
    /// The number to try next for each id that was used before.
    next: HashMap<String, u32>,
}

impl CallIds {
    /// Returns the new id of a call whose own is taken: the id with the first free number behind
    /// it. It depends on the calls before it alone.
    fn rename(&mut self, id: &str) -> Option<String> {
        if self.used.insert(id.to_owned()) {
            return None;
        }
        let next = self.next.entry(id.to_owned()).or_insert(2);
        loop {
            let new = format!("{id}_{next}");
            *next += 1;
            if self.used.insert(new.clone()) {
                return Some(new);
            }
        }
    }
}

struct Pairer<'p, 'a> {
    request: &'p Request<'a>,
    policy: &'p Policy,
    ledger: &'p mut Ledger,
    plan: Vec<Match>,
    out: Vec<Item<'a>>,
}

impl<'a> Pairer<'_, 'a> {
    fn run(&mut self) -> Result<(), Error> {
        let items = &self.request.items;
        let mut at = 0;
        while at < items.len() {
            let end = run_end(items, at, false);
            for n in at..end {
                let item = self.assistant(n);
                self.out.push(item);
            }
            let user_end = run_end(items, end, true);
            self.results(at..end, user_end)?;
            for n in end..user_end {
                self.user(n)?;
            }
            at = user_end;
        }
        Ok(())
    }

    /// An assistant-side item; a call whose id was used before gets a new one.
    fn assistant(&mut self, n: usize) -> Item<'a> {
        let mut item = self.request.items[n].clone();
        if let (ItemKind::Call(call), Match::Call { id: Some(id), .. }) = (&mut item.kind, &self.plan[n]) {
            self.ledger.repair(Repair::DuplicateCall);
            call.call_id = Text::plain(id);
        }
        item
    }

    /// One result for each call of a turn, in call order, wherever they stand in the client's list.
    fn results(&mut self, turn: std::ops::Range<usize>, user_end: usize) -> Result<(), Error> {
        for n in turn {
            let Match::Call { result, id } = self.plan[n].clone() else { continue };
            let ItemKind::Call(call) = &self.request.items[n].kind else { continue };
            let mut item = match result {
                Some(result) => {
                    if result >= user_end {
                        self.ledger.repair(Repair::MovedResult);
                    }
                    self.request.items[result].clone()
                }
                None => {
                    self.may_repair(n, "has no result")?;
                    self.ledger.repair(Repair::OrphanCall);
                    Item::made(no_result(call))
                }
            };
            if let ItemKind::Result(result) = &mut item.kind {
                result.kind = call.kind;
                result.call_id = id.map_or_else(|| call.call_id.clone(), |id| Text::plain(&id));
            }
            self.out.push(item);
        }
        Ok(())
    }

    /// An item of the user's turn that is no paired result.
    fn user(&mut self, n: usize) -> Result<(), Error> {
        let item = &self.request.items[n];
        let ItemKind::Result(result) = &item.kind else {
            self.out.push(item.clone());
            return Ok(());
        };
        let (repair, why) = match self.plan[n] {
            Match::Orphan => (Repair::OrphanResult, "answers a call that does not precede it"),
            Match::Duplicate => (Repair::DuplicateResult, "answers a call that has its result already"),
            _ => return Ok(()),
        };
        self.may_repair(n, why)?;
        self.ledger.repair(repair);
        self.out.push(Item { at: item.at, kind: as_text(result).into() });
        Ok(())
    }

    fn may_repair(&self, n: usize, why: &str) -> Result<(), Error> {
        if self.policy.repair_tool_pairs {
            return Ok(());
        }
        let path = self.request.path(&self.request.items[n]);
        Err(Error::client(Kind::InvalidRequest, format!("the tool call at `{path}` {why}")).param(path))
    }
}

/// Where the run of assistant-side (or user-side) items that begins at `at` ends.
fn run_end(items: &[Item<'_>], at: usize, user: bool) -> usize {
    items[at..].iter().position(|item| is_user_side(item) != user).map_or(items.len(), |n| at + n)
}

fn no_result<'a>(call: &ToolCall<'a>) -> ToolResult<'a> {
    ToolResult {
        call_id: call.call_id.clone(),
        kind: call.kind,
        parts: vec![Part::text(Text::plain(NO_RESULT))],
        is_error: true,
        cache: None,
    }
}

/// `[tool result <id>] …` as the user's words.
fn as_text<'a>(result: &ToolResult<'a>) -> Message<'a> {
    let head = Text::join(&[Text::plain("[tool result "), result.call_id.clone(), Text::plain("] ")], "");
    let mut parts = result.parts.clone();
    match parts.first_mut() {
        Some(Part::Text(first)) => first.text = Text::join(&[head, first.text.clone()], ""),
        _ => parts.insert(0, Part::text(head)),
    }
    Message::new(Role::User, parts)
}

#[cfg(test)]
mod tests;
