//! Turns, prefills, reasoning that comes home.

use crate::formats::messages::request::tests::*;

/// Turns are repaired, merged and kept in order.
#[test]
fn turns() {
    const T: fn(&str) -> String = |text| format!(r#"{{"type":"text","text":"{text}"}}"#);
    let call = |id: &str| format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#);
    let result = |id: &str, text: &str| format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":"{text}"}}"#);
    let lost = r#"{"type":"tool_result","tool_use_id":"b","content":"tool result unavailable; do not assume it ran","is_error":true}"#;
    let say = |turns: &[(&str, &[String])]| {
        let turns: Vec<_> = turns
            .iter()
            .map(|(role, blocks)| format!(r#"{{"role":"{role}","content":[{}]}}"#, blocks.join(",")))
            .collect();
        format!("[{}]", turns.join(","))
    };
    let first = r#"{"role":"user","content":"(conversation continues)"}"#;
    #[rustfmt::skip]
    let rows = [
        ("results first, in call order; neighbours merged", say(&[("user", &[T("a")]), ("user", &[T("b")]), ("assistant", &[call("a"), T("x"), call("b")]), ("user", &[T("c"), result("b", "2")]), ("user", &[result("a", "1"), T("d")])]), say(&[("user", &[T("a"), T("b")]), ("assistant", &[call("a"), T("x"), call("b")]), ("user", &[result("a", "1"), result("b", "2"), T("c"), T("d")])]), "no_tools=1"),
        ("blank text goes, and a turn of nothing else", say(&[("user", &[T("a"), T(r" \n")]), ("assistant", &[T(""), T(" ")]), ("user", &[T("b")])]), say(&[("user", &[T("a"), T("b")])]), "blank_text=2"),
        ("orphans, duplicates", say(&[("user", &[T("q")]), ("assistant", &[call("a"), call("b")]), ("user", &[result("a", "1"), result("a", "2"), result("z", "3")])]), say(&[("user", &[T("q")]), ("assistant", &[call("a"), call("b")]), ("user", &[result("a", "1"), lost.to_owned(), T("[tool result a] 2"), T("[tool result z] 3")])]), "orphan_call=1, orphan_result=1, duplicate_result=1, no_tools=1"),
        ("an empty result has no content", say(&[("user", &[T("q")]), ("assistant", &[call("a")]), ("user", &[result("a", "")])]), say(&[("user", &[T("q")]), ("assistant", &[call("a")]), ("user", &[r#"{"type":"tool_result","tool_use_id":"a"}"#.to_owned()])]), "no_tools=1"),
        ("the assistant first", say(&[("assistant", &[T("hi")]), ("user", &[T("q")])]), format!("[{first},{}", &say(&[("assistant", &[T("hi")]), ("user", &[T("q")])])[1..]), "first_turn=1"),
        ("nothing", "[]".to_owned(), format!("[{first}]"), "first_turn=1"),
        ("system messages: at the end of the user's turn, or wrapped", say(&[("user", &[T("a")]), ("system", &[T("s")]), ("assistant", &[T("b")]), ("system", &[T("t")]), ("user", &[T("c")]), ("system", &[T("u")]), ("system", &[T("v")])]), say(&[("user", &[T("a")]), ("system", &[T("s")]), ("assistant", &[T("b")]), ("user", &[T("<system>t</system>"), T("c")]), ("system", &[T("u"), T("v")])]), "system;moved"),
        ("a system message between calls and results", say(&[("user", &[T("a")]), ("assistant", &[call("a")]), ("system", &[T("s")]), ("user", &[result("a", "1")])]), say(&[("user", &[T("a")]), ("assistant", &[call("a")]), ("user", &[result("a", "1")]), ("system", &[T("s")])]), "no_tools=1"),
    ];
    for (name, messages, expected, headers) in rows {
        let sent = conversation(&messages, &context("claude-opus-5")).unwrap();
        assert_eq!(sent.get("messages"), expected, "{name}");
        assert_eq!(sent.headers(), headers, "{name}");
    }
    let system = say(&[("user", &[T("a")]), ("system", &[T("s"), T("t")])]);
    let sent = conversation(&system, &context("claude-sonnet-5")).unwrap();
    assert_eq!(sent.get("messages"), say(&[("user", &[T("a"), T(r"<system>s\n\nt</system>")])]));
    let orphan = say(&[("user", &[T("q")]), ("assistant", &[call("a")])]);
    let policy = Policy { repair_tool_pairs: false, ..Policy::default() };
    let error = conversation(&orphan, &Context { policy, ..context("claude-opus-5") }).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages.1"));
}

/// A system message may carry settings for the turns after it, at models that take system messages
/// at all.
#[test]
fn settings_of_a_turn() {
    let messages = r#"[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"system","content":[],"output_config":{"effort":"low"}},{"role":"assistant","content":[{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"text","text":"c"}]}]"#;
    let sent = conversation(messages, &context("claude-opus-5")).unwrap();
    assert_eq!(sent.get("messages"), messages);
    assert_eq!(sent.plan.betas, ["per-turn-control-2026-07-01"]);
    let sent = conversation(messages, &context("claude-sonnet-5")).unwrap();
    assert_eq!(
        sent.get("messages"),
        messages.replace(r#"{"role":"system","content":[],"output_config":{"effort":"low"}},"#, "")
    );
    assert_eq!(
        (sent.get("output_config"), sent.headers().as_str()),
        (r#"{"effort":"low"}"#, "messages.output_config;approx")
    );
}

/// Conversations that end with the assistant.
#[test]
fn prefills() {
    let messages = r#"[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"{\"a\": \n"}]}]"#;
    let kept = conversation(messages, &context("claude-sonnet-4-5")).unwrap();
    assert_eq!(kept.get("messages"), messages.replace(r#": \n""#, r#":""#));
    let refused = conversation(messages, &context("claude-opus-5")).unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Unsupported, Some("prefill_unsupported")));
    let policy = Policy { prefill: crate::target::plan::PrefillPolicy::Hint, ..Policy::default() };
    let hint = conversation(messages, &Context { policy, ..context("claude-opus-5") }).unwrap();
    let words = r#"[{"role":"user","content":[{"type":"text","text":"q"},{"type":"text","text":"Begin your answer with exactly this text, and go on from it: {\"a\":"}]}]"#;
    assert_eq!((hint.get("messages"), hint.headers().as_str()), (words, "prefill;approx"));
}

/// State of another vendor or account, and damaged state, is never sent; its own comes back byte
/// for byte.
#[test]
fn envelopes_are_restored_for_their_account() {
    let seal = |family, scope, seal, text: &str| {
        let mut out = Vec::new();
        let envelope =
            Envelope { family, scope, seal, id: Text::EMPTY, text: Text::plain(text), sealed: Text::plain("sig+/=") };
        envelope.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let own = target("claude-opus-5").scope;
    let other = Scope::new("q", "claude");
    let thinking = |signature: &str| {
        let turn = format!(r#"{{"type":"thinking","thinking":"sho…","signature":"{signature}"}}"#);
        let messages = format!(
            r#"[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{turn},{{"type":"text","text":"a"}}]}},{{"role":"user","content":"r"}}]"#
        );
        let sent = conversation(&messages, &context("claude-opus-5")).unwrap();
        let block = RawValue::new(sent.get("messages").as_bytes()).elements().nth(1).unwrap().0;
        let block = block.find("content").unwrap().elements().next().unwrap().0;
        String::from_utf8(block.bytes().to_vec()).unwrap()
    };
    let answer = r#"{"type":"text","text":"a"}"#;
    let rows = [
        (
            seal(Family::Anthropic, own, Seal::Thinking, "shown whole"),
            r#"{"type":"thinking","thinking":"shown whole","signature":"sig+/="}"#,
        ),
        (seal(Family::Anthropic, own, Seal::Redacted, ""), r#"{"type":"redacted_thinking","data":"sig+/="}"#),
        ("native".to_owned(), r#"{"type":"thinking","thinking":"sho…","signature":"native"}"#),
        (seal(Family::Anthropic, other, Seal::Thinking, "x"), answer),
        (seal(Family::OpenAi, own, Seal::Encrypted, "x"), answer),
        (seal(Family::Anthropic, own, Seal::Encrypted, "x"), answer),
        ("llmp1.an.broken".to_owned(), answer),
        (String::new(), answer),
    ];
    for (signature, block) in rows {
        assert_eq!(thinking(&signature), block, "{signature}");
    }
}

/// A longer conversation begins with the bytes of the shorter one.
#[test]
fn encoding_is_append_only() {
    let turns = [
        r#"{"role":"user","content":"a"}"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"b \n"},{"type":"tool_use","id":"x:1","name":"f.g","input":{"a":1}}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"late"},{"type":"tool_result","tool_use_id":"x:1","content":[]}]},{"role":"system","content":"s"}"#,
        r#"{"role":"assistant","content":" "}"#,
        r#"{"role":"user","content":"c"}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"d"},{"type":"image","source":{"type":"url","url":"https://x"}}]}"#,
        r#"{"role":"user","content":"e"}"#,
    ];
    for model in ["claude-opus-5", "claude-sonnet-4-5", "other"] {
        let encoded = |end: usize| {
            let tools = r#"[{"name":"f.g","input_schema":{"type":"object"}}]"#;
            let messages = turns[..end].join(",");
            let body =
                format!(r#"{{"model":"m","max_tokens":9,"system":"s","tools":{tools},"messages":[{messages}]}}"#);
            through(&body, &context(model)).unwrap().body
        };
        let whole = encoded(turns.len());
        for end in [1, 3, 5] {
            let part = encoded(end);
            let open = part.strip_suffix("]}]}").or_else(|| part.strip_suffix("]}")).unwrap();
            assert!(whole.starts_with(open), "{model} {end}\n{part}\n{whole}");
        }
    }
}
