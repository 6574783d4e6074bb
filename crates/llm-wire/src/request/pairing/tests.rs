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
        let items = pair(&conversation(&words[..n].join(" ")), &Policy::default(), &mut Ledger::new(false)).unwrap();
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
    let expected = [(Side::User, "u u"), (Side::Assistant, "t a c1"), (Side::User, "r1 u s"), (Side::Assistant, "a")];
    assert_eq!(cut, expected.map(|(side, items)| (side, items.to_owned())));
    let (results, rest) = turns(&items)[2].split_results();
    assert_eq!((shown(results), shown(rest)), ("r1".to_owned(), "u s".to_owned()));
}
