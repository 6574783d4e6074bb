//! Faults that were seen in HTTP/1 codecs in the field, each by name. Every one of them cost some
//! gateway an outage, a leak between clients, or its memory.

use llm_http::transcript::{self, End, Transcript};
use llm_http::{
    BodyDecoder, BodyError, Framing, HeadScan, Limits, Method, Step, forbids_body, next_final_response, parse_request,
    write,
};

fn requests(stream: &str) -> Transcript {
    transcript::requests(&[stream.as_bytes()], &Limits::default())
}

fn response(stream: &str, method: Method) -> Transcript {
    transcript::responses(&[stream.as_bytes()], &[method], &Limits::default())
}

fn refused(transcript: &Transcript) -> Option<u16> {
    match &transcript.end {
        End::Refused(refusal) if transcript.messages.is_empty() => Some(refusal.status),
        _ => None,
    }
}

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A relay that held events back until a buffer was full.
#[test]
fn each_event_of_a_stream_is_out_as_soon_as_its_bytes_are_in() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    for number in 0..10 {
        let event = format!("data: {{\"n\":{number}}}\n\n");
        let mut wire = Vec::new();
        write::chunk(&mut wire, event.as_bytes());
        let mut pos = 0;
        let Ok(Step::Data(range)) = decoder.next(&wire, &mut pos) else { panic!("event {number} is held back") };
        assert_eq!(&wire[range], event.as_bytes());
        assert_eq!(decoder.next(&wire, &mut pos), Ok(Step::More));
    }
}

/// Bodies that were pulled into memory whole before the first byte went on.
#[test]
fn a_long_body_is_handed_on_read_by_read_and_never_kept() {
    let read = vec![b'x'; 16 * 1024];
    let reads = 64 * 1024 * 1024 / read.len();
    for framing in [Framing::Length(64 * 1024 * 1024), Framing::Close] {
        let mut decoder = BodyDecoder::new(framing);
        for _ in 0..reads {
            let mut pos = 0;
            assert_eq!(decoder.next(&read, &mut pos), Ok(Step::Data(0..read.len())));
        }
        assert_eq!(decoder.eof(), Ok(()));
    }
    assert!(size_of::<BodyDecoder>() <= 32, "a decoder has no room for a body");
}

/// A chunk that was kept until all of its announced size had arrived.
#[test]
fn a_chunk_of_announced_size_is_handed_on_as_it_arrives() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    assert_eq!(decoder.next(b"4000000\r\nabc", &mut 0), Ok(Step::Data(9..12)));
    assert_eq!(decoder.next(b"def", &mut 0), Ok(Step::Data(0..3)));
}

#[test]
fn content_length_with_chunked_is_refused_and_nothing_smuggled() {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    for fields in
        ["content-length: 4\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\ncontent-length: 4\r\n"]
    {
        assert_eq!(refused(&requests(&format!("{POST}{fields}\r\n{body}"))), Some(400));
    }
}

#[test]
fn two_different_lengths_are_refused() {
    let stream = format!("{POST}content-length: 3\r\ncontent-length: 0\r\n\r\nabc{SMUGGLED}");
    assert_eq!(refused(&requests(&stream)), Some(400));
}

/// Only the first of two fields was read.
#[test]
fn identity_before_chunked_is_refused() {
    let fields = "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n";
    assert_eq!(refused(&requests(&format!("{POST}{fields}\r\nabc{SMUGGLED}"))), Some(400));
    let fields = "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n";
    assert_eq!(refused(&requests(&format!("{POST}{fields}\r\n0\r\n\r\n{SMUGGLED}"))), Some(400));
}

/// The connection was dropped without a response, or both were passed on.
#[test]
fn chunk_extensions_and_trailers_are_stripped() {
    let body = "3;name=value\r\nabc\r\n0;last\r\nx-trailer: y\r\n\r\n";
    let found = requests(&format!("{POST}transfer-encoding: chunked\r\n\r\n{body}{SMUGGLED}"));
    assert_eq!(found.messages[0].body, b"abc");
    assert_eq!(found.messages[1].line, "GET /smuggled", "the next request begins behind the trailers");
}

/// No interim response was sent, and the client waited.
#[test]
fn expect_100_continue_is_noticed_before_the_body_arrives() {
    let head = format!("{POST}expect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    let parsed = parse_request(head.as_bytes(), &mut HeadScan::default(), &Limits::default()).unwrap().unwrap();
    assert!(parsed.expect_continue);
    assert_eq!(write::CONTINUE, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn pipelined_requests_are_read_one_after_the_other() {
    let one = format!("{POST}content-length: 2\r\n\r\nab");
    assert_eq!(requests(&one.repeat(3)).to_string(), "POST / [ab]; POST / [ab]; POST / [ab]; idle");
}

#[test]
fn connection_close_and_http_1_0_are_honoured() {
    for head in ["GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        assert_eq!(requests(&format!("{head}{SMUGGLED}")).to_string(), "GET / []; close");
    }
}

#[test]
fn requests_have_at_most_100_fields_and_responses_512() {
    let fields = |count| "x: y\r\n".repeat(count);
    assert_eq!(requests(&format!("{POST}{}\r\n", fields(99))).to_string(), "POST / []; idle");
    assert_eq!(refused(&requests(&format!("{POST}{}\r\n", fields(100)))), Some(431));
    assert_eq!(refused(&response(&format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(513)), Method::Get)), Some(502));
}

/// A head without a limit, searched from its start on every read. Were this search quadratic, the
/// test would not end.
#[test]
fn a_head_that_drips_in_costs_linear_time_and_ends_at_the_limit() {
    let head = format!("{POST}x: {}", "y".repeat(1 << 20)).into_bytes();
    let refused_at = |limits: &Limits| {
        let mut scan = HeadScan::default();
        (1..=head.len())
            .find_map(|len| parse_request(&head[..len], &mut scan, limits).err().map(|refusal| (len, refusal.status)))
    };
    assert_eq!(refused_at(&Limits::default()), Some((64 * 1024, 431)));
    assert_eq!(refused_at(&Limits { head_bytes: 2 << 20 }), None);

    let lines = format!("{POST}{}", "x: y\r\n".repeat(1 << 18)).into_bytes();
    let mut scan = HeadScan::default();
    let all_partial = (1..=lines.len())
        .all(|len| matches!(parse_request(&lines[..len], &mut scan, &Limits { head_bytes: 2 << 20 }), Ok(None)));
    assert!(all_partial);
}

/// Clients that waited for ever for a body that never comes.
#[test]
fn responses_without_a_body_end_with_their_head_whatever_they_declare() {
    let rows = [(Method::Head, "200 OK"), (Method::Get, "304 Not Modified"), (Method::Get, "204 No Content")];
    for (method, status) in rows {
        for fields in [
            "content-length: 9\r\n",
            "transfer-encoding: chunked\r\n",
            "content-length: 9\r\ntransfer-encoding: chunked\r\n",
        ] {
            let found = response(&format!("HTTP/1.1 {status}\r\n{fields}\r\n"), method);
            assert_eq!((found.messages.len(), found.end), (1, End::Idle), "{status} {fields:?}");
        }
    }
}

/// `content-length: 0` was added to a 204, where no length may stand.
#[test]
fn a_204_gets_neither_body_nor_length() {
    assert!(forbids_body(204, Method::Post) && !forbids_body(200, Method::Post));
    let mut head = Vec::new();
    write::status_line(&mut head, 204);
    write::end_head(&mut head);
    assert_eq!(head, b"HTTP/1.1 204 No Content\r\n\r\n", "nothing is written unasked");
}

/// Such a body was lost, and its dead connection went back into the pool.
#[test]
fn a_response_without_a_length_ends_with_its_connection_which_is_not_kept() {
    assert_eq!(response("HTTP/1.1 200 OK\r\n\r\nall of it", Method::Get).to_string(), "200 [all of it]; close");
}

/// An interim response taken for the final one: the true one stayed in the buffer, and the next
/// client on that connection got it.
#[test]
fn no_interim_response_is_ever_taken_for_the_final_one() {
    for status in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
        let stream = format!("HTTP/1.1 {status}\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes");
        assert_eq!(response(&stream, Method::Get).to_string(), "200 [yes]; idle");
        let interim = &stream.as_bytes()[..stream.find("HTTP/1.1 200").unwrap()];
        let found = next_final_response(interim, &mut HeadScan::default(), &Limits::default(), Method::Get);
        assert_eq!(found, Ok(None));
    }
}

#[test]
fn a_response_with_length_and_chunked_is_refused() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(&response(stream, Method::Get)), Some(502));
}

#[test]
fn a_body_that_is_cut_short_is_never_a_whole_one() {
    let rows = [
        "content-length: 5\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n5\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
    ];
    for rest in rows {
        let found = response(&format!("HTTP/1.1 200 OK\r\n{rest}"), Method::Get);
        assert_eq!(
            (found.messages[0].body.as_slice(), found.end),
            (&b"abc"[..], End::Body(BodyError::Truncated)),
            "{rest:?}"
        );
    }
}

/// What one response leaves behind must not become the next one: bytes behind a body are refused,
/// not skipped.
#[test]
fn a_body_longer_than_its_length_spoils_the_next_response() {
    let stream = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let found = transcript::responses(&[stream], &[Method::Get, Method::Get], &Limits::default());
    assert_eq!(found.to_string(), "200 [ab]; refused 502");
}
