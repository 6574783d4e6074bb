//! Tool calls and results paired, in order, so that every target takes them
//! (`docs/internals/translation/requests.md`, "Turns").
//!
//! [`pair`] returns a list in which each assistant turn is followed by exactly one result for each
//! of its calls, in call order, and then by the rest of the user's turn;
//! [`turns`](crate::request::turns::turns) cuts such a list into turns. Encoders of Chat and
//! Messages use both; Responses takes items as they are and needs [`pair`] only for its repairs.
//!
//! **Prefix law.** What a turn becomes is decided by the turn and what precedes it, so that a
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

    /// The call that a result of this id answers. It is open no longer. `custom` is the kind of
    /// the call, where the result names it.
    fn take(&mut self, id: &str, custom: Option<bool>, found: &[Match]) -> Option<usize> {
        let own = self.by_id.get_mut(id).and_then(|turns| OpenTurn::take(turns, custom, found));
        match own {
            None if id.is_empty() => OpenTurn::take(&mut self.all, custom, found),
            own => own,
        }
    }

    /// Whether there was a call of this id.
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
    /// The new id of a call whose own is taken: the id with the first free number behind it. It
    /// depends on the calls before it alone.
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
mod tests {
    use super::*;
    use crate::canonical::args::ArgText;
    use crate::canonical::request::ReasoningItem;
    use crate::format::Format;
    use crate::request::turns::{Side, turns};

    fn call(id: &str) -> ItemKind<'static> {
        ToolCall {
            kind: CallKind::Function,
            item_id: None,
            call_id: Text::plain(id),
            namespace: None,
            name: Text::plain("f"),
            input: ArgText::Quoted(Text::EMPTY),
            opaque: None,
            cache: None,
        }
        .into()
    }

    fn result(id: &str) -> ItemKind<'static> {
        let parts = vec![Part::text(Text::plain("ok"))];
        ToolResult { call_id: Text::plain(id), kind: CallKind::Function, parts, is_error: false, cache: None }.into()
    }

    /// `c1` a call, `r1` its result, `u` and `a` messages, `s` a system message, `t` thinking.
    fn conversation(spec: &str) -> Request<'static> {
        let mut request = Request::new(Format::Chat);
        for (n, word) in spec.split_whitespace().enumerate() {
            let message = |role| ItemKind::from(Message::new(role, vec![Part::text(Text::plain("x"))]));
            let kind = match word.split_at(1) {
                ("c", id) => call(id),
                ("r", id) => result(id),
                ("u", _) => message(Role::User),
                ("a", _) => message(Role::Assistant),
                ("s", _) => message(Role::System),
                ("t", _) => ReasoningItem::default().into(),
                _ => panic!("{word}"),
            };
            request.items.push(Item { at: n as u32, kind });
        }
        request
    }

    fn shown(items: &[Item<'_>]) -> String {
        let words = items.iter().map(|item| match &item.kind {
            ItemKind::Call(call) => format!("c{}", call.call_id.unescape()),
            ItemKind::Result(result) if result.is_error => format!("e{}", result.call_id.unescape()),
            ItemKind::Result(result) => format!("r{}", result.call_id.unescape()),
            ItemKind::Message(m) => match (m.role, &m.parts[0]) {
                (Role::User, Part::Text(part)) if part.text.as_bytes().starts_with(b"[tool result") => "w".to_owned(),
                (Role::User, _) => "u".to_owned(),
                (Role::Assistant, _) => "a".to_owned(),
                _ => "s".to_owned(),
            },
            _ => "t".to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Results stand in the order of their calls, and calls and results that do not match are
    /// repaired.
    #[test]
    fn calls_and_results_are_paired() {
        let rows = [
            ("u c1 c2 r2 r1 u", "u c1 c2 r1 r2 u", ""),
            ("u t c1 c2 r2 u r1 s", "u t c1 c2 r1 r2 u s", ""),
            ("u c1 r1 c2 r2", "u c1 r1 c2 r2", ""),
            ("u c1 u", "u c1 e1 u", "orphan_call=1"),
            ("u c1", "u c1 e1", "orphan_call=1"),
            ("u c1 c2 r2", "u c1 c2 e1 r2", "orphan_call=1"),
            ("u r9 a", "u w a", "orphan_result=1"),
            ("u c1 r1 r1 u", "u c1 r1 w u", "duplicate_result=1"),
            ("u r1 c1 u", "u w c1 e1 u", "orphan_call=1, orphan_result=1"),
            ("u c1 u a r1 u", "u c1 r1 u a u", "moved_result=1"),
            ("u c1 s r1", "u c1 r1 s", ""),
            ("u c1 r1 c1 r1", "u c1 r1 c1_2 r1_2", "duplicate_call=1"),
            ("u c1 c1_2 c1 r1 r1_2 r1", "u c1 c1_2 c1_3 r1 r1_2 r1_3", "duplicate_call=1"),
            ("u c1 c1 c1_2 r1 r1 r1_2", "u c1 c1_2 c1_2_2 r1 r1_2 r1_2_2", "duplicate_call=2"),
            ("u c c r r", "u c c_2 r r_2", "duplicate_call=1"),
            ("u c1 c2 r r", "u c1 c2 r1 r2", ""),
            ("u c1 c r1 r", "u c1 c r1 r", ""),
            ("u r c1 r1", "u w c1 r1", "orphan_result=1"),
            ("a u", "a u", ""),
        ];
        for (spec, expected, repaired) in rows {
            let mut ledger = Ledger::new(false);
            let items = pair(&conversation(spec), &Policy::default(), &mut ledger).unwrap();
            assert_eq!(shown(&items), expected, "{spec}");
            assert_eq!(ledger.repaired_header().unwrap_or_default(), repaired, "{spec}");
        }
    }

    /// Which call each result answers: `call-result`, by their places.
    #[test]
    fn results_of_one_id_are_answered_in_order() {
        let answers = |spec: &str| {
            let request = conversation(spec);
            let found = match_up(&request.items, false);
            let pairs = found.iter().enumerate().filter_map(|(n, found)| match found {
                Match::Call { result: Some(result), .. } => Some(format!("{n}-{result}")),
                _ => None,
            });
            pairs.collect::<Vec<_>>().join(" ")
        };
        let rows = [
            ("c1 c1 r1 r1", "0-2 1-3"),
            ("c c c r r r", "0-3 1-4 2-5"),
            ("c1 c2 c1 r1 r2 r1", "0-3 1-4 2-5"),
            ("c1 c2 c1 r2 r1 r1", "0-4 1-3 2-5"),
            // The latest turn with open calls comes first, the earlier ones after it.
            ("c1 c1 u c1 r1 r1 r1", "0-5 1-6 3-4"),
            ("c1 u c1 c1 r1 r1 r1", "0-6 2-4 3-5"),
            ("c1 c1 r1 u c1 r1 r1", "0-2 1-6 4-5"),
            ("c1 r1 c1 r1 c1 r1", "0-1 2-3 4-5"),
            ("c1 t a c1 r1 s r1", "0-4 3-6"),
            // Results without an id.
            ("c1 c2 r r", "0-2 1-3"),
            ("c1 c r1 r", "0-2 1-3"),
            ("c1 c r r1", "0-3 1-2"),
            ("c1 u c2 r r", "0-4 2-3"),
        ];
        for (spec, expected) in rows {
            assert_eq!(answers(spec), expected, "{spec}");
        }
    }

    /// The same id, escaped in two ways.
    #[test]
    fn ids_are_compared_as_they_are_read() {
        let mut request = conversation("cé ré");
        let ItemKind::Result(result) = &mut request.items[1].kind else { panic!() };
        result.call_id = Text::from(crate::json::RawStr::new(br"\u00e9"));
        assert_eq!(match_up(&request.items, false)[1], Match::Paired);
    }

    /// Without repairs the first mismatch is an error.
    #[test]
    fn without_repair_the_first_fault_is_named() {
        let policy = Policy { repair_tool_pairs: false, ..Policy::default() };
        for (spec, param) in [("u c1 u", "messages.1"), ("u r9", "messages.1"), ("u c1 r1 r1", "messages.3")] {
            let error = pair(&conversation(spec), &policy, &mut Ledger::new(false)).unwrap_err();
            assert_eq!((error.kind.row().status, error.param.as_deref()), (400, Some(param)), "{spec}");
        }
        assert!(pair(&conversation("u c1 c2 r2 r1"), &policy, &mut Ledger::new(false)).is_ok());
    }

    /// Every longer conversation begins with the shorter one, as long as no result is late.
    #[test]
    fn pairing_is_prefix_stable() {
        let words: Vec<&str> = "u t c1 c2 r2 r1 u a r7 u c3 u a c1 r1 s u c1 c1_2 c1 r1 r1_2 r1 u".split(' ').collect();
        let turn_ends = [1, 6, 7, 8, 10, 12, 13, 15, 16, 17, 23, 24];
        let paired = |n: usize| {
            let items =
                pair(&conversation(&words[..n].join(" ")), &Policy::default(), &mut Ledger::new(false)).unwrap();
            shown(&items)
        };
        let whole = paired(words.len());
        for end in turn_ends {
            assert!(whole.starts_with(&paired(end)), "{} is no beginning of {whole}", paired(end));
        }
    }

    #[test]
    fn turns_are_runs_of_one_side() {
        let items = pair(&conversation("u u t a c1 r1 u s a"), &Policy::default(), &mut Ledger::new(false)).unwrap();
        let cut: Vec<_> = turns(&items).iter().map(|turn| (turn.side, shown(turn.items))).collect();
        let expected =
            [(Side::User, "u u"), (Side::Assistant, "t a c1"), (Side::User, "r1 u s"), (Side::Assistant, "a")];
        assert_eq!(cut, expected.map(|(side, items)| (side, items.to_owned())));
        let (results, rest) = turns(&items)[2].split_results();
        assert_eq!((shown(results), shown(rest)), ("r1".to_owned(), "u s".to_owned()));
    }
}
