use super::*;

/// Three events, the second and third with content, as they go over the wire.
fn stream(knobs: &Knobs, keep_alive: bool) -> Plan {
    let mut script = Script::default();
    for (i, event) in ["open\n\n", "one\n\n", "two\n\n", "end\n\n"].iter().enumerate() {
        script.bytes.extend_from_slice(event.as_bytes());
        if i == 1 || i == 2 { script.content() } else { script.event() }
    }
    Draft::stream(script).lay_out(Client { family: Family::OpenAi, keep_alive, head_only: false }, knobs)
}

fn json(knobs: &Knobs) -> Plan {
    let client = Client { family: Family::Anthropic, keep_alive: true, head_only: false };
    Draft::json(b"{\"a\":\"bcd\"}".to_vec()).lay_out(client, knobs)
}

fn body(plan: &Plan) -> String {
    let text = String::from_utf8(plan.bytes.clone()).unwrap();
    text.split_once("\r\n\r\n").map_or(text.clone(), |(_, body)| body.to_owned())
}

fn fault(fault: Fault) -> Knobs {
    Knobs { fault: Some(fault), ..Knobs::default() }
}

#[test]
fn faults_of_a_stream() {
    let check = |knobs: Knobs, expected: &str, ending: Ending| {
        let plan = stream(&knobs, true);
        assert_eq!((body(&plan).as_str(), plan.ending), (expected, ending), "{knobs:?}");
        assert_eq!(plan.pieces.last().unwrap().end, plan.bytes.len(), "{knobs:?}");
    };
    let whole = "15\r\nopen\n\none\n\ntwo\n\nend\n\n\r\n0\r\n\r\n";
    check(Knobs::default(), whole, Ending::KeepAlive);
    check(fault(Fault::SlowHeaders), whole, Ending::KeepAlive);
    check(fault(Fault::Reset), "b\r\nopen\n\none\n\n\r\n", Ending::Reset);
    check(fault(Fault::Stall), "b\r\nopen\n\none\n\n\r\n", Ending::Silence);
    check(fault(Fault::Truncate), "b\r\nopen\n\none\n\n\r\n5\r\ntw", Ending::Close);
    check(fault(Fault::Unfinished), "b\r\nopen\n\none\n\n\r\n0\r\n\r\n", Ending::KeepAlive);
    check(fault(Fault::Garbage), "b\r\nopen\n\none\n\n\r\nthis is not a chunk\r\n", Ending::Close);
    let bad = "2c\r\nopen\n\ndata: {\"this is\": not JSON\n\ntwo\n\nend\n\n\r\n0\r\n\r\n";
    check(fault(Fault::BadEvent), bad, Ending::KeepAlive);
    check(fault(Fault::UntilClose), "open\n\none\n\ntwo\n\nend\n\n", Ending::Close);
    check(fault(Fault::BadHead), "", Ending::Close);
}

#[test]
fn faults_of_a_json_answer() {
    let check = |at: Fault, length: Option<usize>, expected: &str, ending: Ending| {
        let plan = json(&fault(at));
        let head = String::from_utf8(plan.bytes.clone()).unwrap();
        assert_eq!((body(&plan).as_str(), plan.ending), (expected, ending), "{at:?}");
        let found = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
        assert_eq!(found, length, "{at:?}");
    };
    check(Fault::Reset, None, "", Ending::Reset);
    check(Fault::Stall, None, "", Ending::Silence);
    check(Fault::Truncate, Some(11), "{\"a\":", Ending::Close);
    check(Fault::Unfinished, Some(5), "{\"a\":", Ending::KeepAlive);
    check(Fault::Garbage, Some(errors::HTML.len()), errors::HTML, Ending::KeepAlive);
    check(Fault::UntilClose, None, "{\"a\":\"bcd\"}", Ending::Close);
    assert!(json(&fault(Fault::EarlyHints)).bytes.starts_with(b"HTTP/1.1 103 Early Hints\r\n"));
}

#[test]
fn faults_of_the_wire() {
    let plan = |at: Fault| stream(&fault(at), true);
    let check = |at: Fault, ends_with: &str, ending: Ending| {
        let plan = plan(at);
        let text = String::from_utf8_lossy(&plan.bytes).into_owned();
        assert!(text.ends_with(ends_with), "{at:?}: {text}");
        assert_eq!((plan.ending, plan.pieces.last().unwrap().end), (ending, plan.bytes.len()), "{at:?}");
    };
    check(Fault::ResetBody, "\r\n\r\n", Ending::Reset);
    check(Fault::SilentBody, "\r\n\r\n", Ending::Silence);
    check(Fault::OpenEnd, "end\n\n\r\n", Ending::Silence);
    check(Fault::Drip, "0\r\n\r\n", Ending::KeepAlive);
    check(Fault::NoEndMark, "two\n\n\r\n0\r\n\r\n", Ending::KeepAlive);
    assert!(plan(Fault::Silent).bytes.is_empty() && plan(Fault::ResetHead).bytes.is_empty());
    assert!(!String::from_utf8_lossy(&plan(Fault::HalfHead).bytes).contains("\r\n\r\n"));
    assert!(body(&plan(Fault::WrongLength)).starts_with("14\r\nopen"));
    assert!(plan(Fault::Flood1xx).bytes.starts_with(b"HTTP/1.1 103"));
    assert!(plan(Fault::EndlessHead).bytes.len() > 64 << 10);
    assert!(plan(Fault::EndlessEvent).bytes.len() > 16 << 20);
    let lying = String::from_utf8(plan(Fault::LyingType).bytes).unwrap();
    assert!(lying.contains("content-type: application/json\r\n"), "{lying}");
}

#[test]
fn times() {
    let check = |plan: Plan, expected: &[u64]| {
        let waits: Vec<u64> = plan.pieces.iter().map(|piece| piece.wait.as_millis() as u64).collect();
        assert_eq!(waits, expected);
        assert!(plan.pieces.is_sorted_by_key(|piece| piece.end));
    };
    check(stream(&Knobs::default(), true), &[0]);
    check(stream(&Knobs { delay_ms: 5, ..Knobs::default() }, true), &[5]);
    check(stream(&Knobs { delay_ms: 5, interval_ms: 7, ..Knobs::default() }, true), &[5, 7, 7]);
    check(stream(&Knobs { interval_ms: 7, ..fault(Fault::Reset) }, true), &[0, 7, 20]);
    // Status line, eight headers, then the rest.
    check(json(&Knobs { delay_ms: 5, ..fault(Fault::SlowHeaders) }), &[5, 100, 100, 100, 100, 100, 100, 100]);
}

#[test]
fn connection_close_disables_chunking() {
    let plan = stream(&Knobs::default(), false);
    assert_eq!((body(&plan).as_str(), plan.ending), ("open\n\none\n\ntwo\n\nend\n\n", Ending::Close));
    let client = Client { family: Family::OpenAi, keep_alive: true, head_only: true };
    let head = Draft::json(b"{}".to_vec()).lay_out(client, &Knobs::default());
    assert!(head.bytes.ends_with(b"\r\n\r\n"));
}
