use super::*;
use crate::sse::property;
use proptest::prelude::*;

#[derive(Debug, Default, PartialEq)]
struct Seen {
    frames: Vec<(Option<String>, String)>,
    raw: Vec<u8>,
    tail: Option<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn see(seen: &mut Seen, block: Block<'_>) {
    seen.raw.extend_from_slice(block.raw);
    seen.frames.extend(block.frame.map(|f| (f.event.map(text), text(f.data))));
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut framer = Framer::default();
    let mut seen = Seen::default();
    for mut piece in pieces {
        while let Some(block) = framer.next(&mut piece).unwrap() {
            see(&mut seen, block);
        }
        assert!(piece.is_empty());
    }
    if let Some(block) = framer.finish() {
        seen.tail = Some(text(block.raw)).filter(|_| block.frame.is_some());
        see(&mut seen, block);
    }
    assert!(framer.finish().is_none());
    seen
}

/// Every way of cutting `input` gives these frames, and gives the input back.
fn check(input: &[u8], frames: &[(&str, &str)], tail: Option<&str>) {
    let ways = (0..=input.len()).map(|cut| vec![&input[..cut], &input[cut..]]);
    for way in ways.chain([vec![input], input.chunks(1).collect(), input.chunks(2).collect()]) {
        let seen = run(way.iter().copied());
        let got: Vec<(&str, &str)> =
            seen.frames.iter().map(|(e, d)| (e.as_deref().unwrap_or(""), d.as_str())).collect();
        assert_eq!(got, frames, "{way:?}");
        assert_eq!(text(&seen.raw), text(input), "{way:?}");
        assert_eq!(seen.tail.as_deref(), tail, "{way:?}");
    }
}

#[test]
fn line_ends_are_equivalent() {
    let lf = "event: a\ndata: 1\n\ndata: 2\n\n\n: c\ndata: 3\n\n";
    let frames = &[("a", "1"), ("", "2"), ("", "3")];
    check(lf.as_bytes(), frames, None);
    check(lf.replace('\n', "\r\n").as_bytes(), frames, None);
    check(lf.replace('\n', "\r").as_bytes(), frames, None);
    check(b"event: a\r\ndata: 1\r\r\ndata: 2\n\rdata: 3\r\n\n", frames, None);
}

#[test]
fn comments_and_unknown_fields_are_ignored() {
    for input in [
        "data: x\n\n",
        "data:x\n\n",
        "\u{feff}data: x\n\n",
        ": hello\n\ndata: x\n\n",
        "data: x\n: in between\n\n",
        "id: 1\nretry: 5\nfoo: bar\nfoo\n:\ndata: x\nid\n\n",
        "event: lost\n\nid: 3\n\ndata: x\n\n",
        "event:\ndata: x\n\n",
        "event\ndata: x\n\n",
        "datax: y\ndata : y\n data: y\nDATA: y\ndata: x\n\n",
    ] {
        check(input.as_bytes(), &[("", "x")], None);
    }
    check(b"event: a\nevent:b\ndata: x\n\ndata: y\n\n", &[("b", "x"), ("", "y")], None);
    check(b"data:  x \n\ndata\n\ndata:\n\n", &[("", " x "), ("", ""), ("", "")], None);
    check("data: \u{feff}\n\n\u{feff}data: y\n\n".as_bytes(), &[("", "\u{feff}")], None);
    check(b"", &[], None);
    check(b"\n\r\n\r\r", &[], None);
}

#[test]
fn data_lines_join_with_a_line_feed() {
    check(b"data: {\ndata:  \"a\":\r\ndata: 1}\n\n", &[("", "{\n \"a\":\n1}")], None);
    check(b"data\ndata: x\ndata\n\ndata: a\ndata: b\n\n", &[("", "\nx\n"), ("", "a\nb")], None);
}

#[test]
fn only_lf_crlf_and_cr_end_a_line() {
    let data = "\u{2028}\u{2029}\u{85}\u{b}\u{c}\u{1f600}";
    check(format!("data: {data}\n\n").as_bytes(), &[("", data)], None);
}

#[test]
fn last_event_needs_no_blank_line() {
    for end in ["", "\n", "\r", "\r\n"] {
        check(format!("data: 1\n\ndata: 2{end}").as_bytes(), &[("", "1"), ("", "2")], Some(&format!("data: 2{end}")));
    }
    check(b"data: {\"a\nevent: x", &[("x", "{\"a")], Some("data: {\"a\nevent: x"));
    check(b"data: 1\n\nevent: x\n", &[("", "1")], None);
    check(b"data: 1\n\n: bye", &[("", "1")], None);
}

#[test]
fn events_over_the_limit_are_refused() {
    let content = b"event: a\r\ndata: 12\r\n";
    let stream = [&b": c\r\n"[..], content, b"\r\n", content, b"\r\n"].concat();
    for cut in 0..stream.len() {
        for (limit, frames) in [(content.len(), Ok(2)), (content.len() - 1, Err(TooLong { limit: content.len() - 1 }))]
        {
            let mut framer = Framer::new(limit);
            let mut count = || {
                let mut frames = 0;
                for mut piece in [&stream[..cut], &stream[cut..]] {
                    while let Some(block) = framer.next(&mut piece)? {
                        frames += usize::from(block.frame.is_some());
                    }
                }
                Ok(frames)
            };
            assert_eq!(count(), frames, "limit {limit}, cut at {cut}");
        }
    }
}

#[test]
fn a_large_event_leaves_no_large_buffer_behind() {
    let mut framer = Framer::default();
    let megabyte = vec![b'x'; 1 << 20];
    let mut pieces = vec![&b"data: "[..]];
    pieces.extend([&megabyte[..]; 15]);
    pieces.extend([&b"\ndata: y\n\n"[..], b"data: z\n\n"]);
    let mut lengths = Vec::new();
    for mut piece in pieces {
        while let Some(block) = framer.next(&mut piece).unwrap() {
            lengths.extend(block.frame.map(|f| f.data.len()));
        }
    }
    assert_eq!(lengths, [(15 << 20) + 2, 1]);
    assert!(framer.carry.capacity() <= KEEP_CAPACITY && framer.joined.capacity() <= KEEP_CAPACITY);
    for mut piece in [&b"data: "[..]].into_iter().chain([&megabyte[..]; 15]) {
        assert_eq!(framer.next(&mut piece), Ok(None));
    }
    let mut piece = &[b'x'; 2 << 20][..];
    assert_eq!(framer.next(&mut piece), Err(TooLong { limit: DEFAULT_LIMIT }));
}

/// A gigabyte would take a debug build half a minute; what could grow shows in the first
/// megabytes.
#[test]
fn small_events_do_not_allocate() {
    let read: Vec<u8> =
        b"event: e\ndata: {\"delta\":\"some words\"}\n\n".iter().copied().cycle().take(10_007).collect();
    let mut framer = Framer::default();
    let mut frames = 0;
    for _ in 0..1000 {
        let mut rest = read.as_slice();
        while let Some(block) = framer.next(&mut rest).unwrap() {
            frames += usize::from(block.frame.is_some());
        }
        assert!(framer.carry.capacity() < 1024 && framer.joined.capacity() < 1024);
    }
    assert!(frames > 150_000);
}

/// Lines of every kind, in every order, some of them broken.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "",
        "",
        "",
        "data: {\"a\":1}",
        "data:x",
        "data",
        "data: ",
        "event: e",
        "event",
        "event:",
        ": c",
        ":",
        "id: 1",
        "foo",
        "\u{feff}",
        "data: \u{2028}\u{85}\u{1f600}",
        "dat",
        "data : x",
    ]);
    let end = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r", ""]);
    prop::collection::vec((line, end), 0..24)
        .prop_map(|lines| lines.into_iter().flat_map(|(line, end)| [line, end]).collect::<String>().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_of_the_input_gives_the_same_events(stream in stream(), seed: u64) {
        property::framing_ignores_cuts(&stream, seed);
    }

    #[test]
    fn arbitrary_bytes_are_survived(stream in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\n\r: dat"[..])], 0..80), seed: u64) {
        property::framing_ignores_cuts(&stream, seed);
    }
}

/// An event that is taken as a whole is the one that is framed, and no other is taken.
#[test]
fn whole_events_in_their_usual_form() {
    let rows = [
        ("data: {}\n\n", true),
        ("event: a\ndata: {}\n\n", true),
        ("event: \ndata:  {}\n\n", true),
        ("data: \n\n", true),
        ("data:{}\n\n", false),
        ("data: {}\n", false),
        ("data: {}\r\n\r\n", false),
        ("event: a\rdata: b\ndata: c\n\n", false),
        ("data: {}\ndata: {}\n\n", false),
        ("data: {}\n\ndata: {}\n\n", false),
        ("event: a\n\ndata: {}\n\n", false),
        ("\u{feff}data: {}\n\n", false),
        (": comment\n\n", false),
        ("", false),
    ];
    for (event, is_whole) in rows {
        assert_eq!(Framer::default().whole(event.as_bytes()).is_some(), is_whole, "{event:?}");
    }
    // A mark may begin a stream alone.
    let mut framer = Framer::default();
    assert!(framer.whole(b"data: a\n\n").is_some());
    let mut rest = "\u{feff}data: b\n\n".as_bytes();
    assert_eq!(framer.next(&mut rest).unwrap().unwrap().frame, None);
    // In the middle of an event nothing is taken.
    let mut framer = Framer::default();
    assert!(framer.next(&mut &b"event: x\n"[..]).unwrap().is_none());
    assert!(framer.whole(b"data: a\n\n").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_events_are_framed_ones(parts in prop::collection::vec(0usize..9, 0..8)) {
        const PARTS: [&str; 9] = ["event: ", "data: ", "data:", "a", "{}", "\n", "\r", " ", ":"];
        let event = parts.iter().map(|part| PARTS[*part]).collect::<String>() + "\n\n";
        if let Some(frame) = Framer::default().whole(event.as_bytes()) {
            let (mut framer, mut rest) = (Framer::default(), event.as_bytes());
            let block = framer.next(&mut rest).unwrap().unwrap();
            prop_assert_eq!(block, Block { raw: event.as_bytes(), frame: Some(frame) });
        }
    }
}
