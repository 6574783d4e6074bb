use super::*;

/// The body, and the offset behind the message or why there is none.
type Outcome = (Vec<u8>, End);
/// `Ok(None)`: the body ended with the connection.
type End = Result<Option<usize>, BodyError>;

/// Reads `input` in pieces of `size` bytes; each piece is dropped once the decoder returns that it
/// needs more bytes. Before each second step some whole chunks are taken as such.
fn decode(framing: Framing, input: &[u8], size: usize) -> Outcome {
    let (mut decoder, mut body) = (BodyDecoder::new(framing), Vec::new());
    let mut base = 0;
    let mut pieces = input.chunks(size);
    let mut piece: &[u8] = &[];
    let mut pos = 0;
    let mut is_whole = false;
    loop {
        is_whole = !is_whole;
        if is_whole {
            while decoder.is_between_chunks()
                && let Some((data, behind)) = BodyDecoder::split_chunk(&piece[pos..]).filter(|_| body.len() % 3 > 0)
            {
                assert!(!data.is_empty());
                body.extend_from_slice(data);
                pos = piece.len() - behind.len();
            }
        }
        match decoder.next(piece, &mut pos) {
            Ok(Step::Data(range)) => {
                assert!(!range.is_empty());
                body.extend_from_slice(&piece[range]);
            }
            Ok(Step::End) => return (body, Ok(Some(base + pos))),
            Err(error) => {
                assert_eq!(decoder.next(b"0\r\n\r\n", &mut 0), Err(error), "an error is final");
                return (body, Err(error));
            }
            Ok(Step::More) => {
                assert_eq!(pos, piece.len(), "all of the piece was used");
                base += pos;
                pos = 0;
                let Some(next) = pieces.next() else { return (body, decoder.eof().map(|()| None)) };
                piece = next;
            }
        }
    }
}

fn check(framing: Framing, input: &str, body: &str, end: End) {
    for size in 1..=input.len().max(1) {
        let (found, ending) = decode(framing, input.as_bytes(), size);
        let found = String::from_utf8_lossy(&found).into_owned();
        assert_eq!((found.as_str(), ending), (body, end), "{framing:?} {input:?} in pieces of {size}");
    }
}

#[test]
fn plain_bodies() {
    check(Framing::None, "GET /", "", Ok(Some(0)));
    check(Framing::Length(0), "GET /", "", Ok(Some(0)));
    check(Framing::Length(3), "abcGET /", "abc", Ok(Some(3)));
    check(Framing::Length(3), "abc", "abc", Ok(Some(3)));
    check(Framing::Length(3), "ab", "ab", Err(BodyError::Truncated));
    check(Framing::Length(u64::MAX), "ab", "ab", Err(BodyError::Truncated));
    check(Framing::Close, "abc", "abc", Ok(None));
    check(Framing::Close, "", "", Ok(None));
}

#[test]
fn chunked_bodies() {
    use BodyError::*;
    let rows: &[(&str, &str, End)] = &[
        ("0\r\n\r\n", "", Ok(Some(5))),
        ("3\r\nabc\r\n0\r\n\r\nGET /", "abc", Ok(Some(13))),
        ("3\r\nabc\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n", "abcdef", Ok(Some(26))),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", Ok(Some(20))),
        ("00000000000a\r\n0123456789\r\n000\r\n\r\n", "0123456789", Ok(Some(33))),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", Ok(Some(12))),
        // Extensions and trailers are dropped.
        ("1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", "x", Ok(Some(23))),
        ("1 \t;a\r\nx\r\n0\r\n\r\n", "x", Ok(Some(15))),
        ("1\r\nx\r\n0\r\nA: b\r\nc:\r\n\r\nGET", "x", Ok(Some(21))),
        // Sizes that are none.
        ("\r\n", "", Err(ChunkSize)),
        ("g\r\n", "", Err(ChunkSize)),
        ("-1\r\n", "", Err(ChunkSize)),
        ("+1\r\n", "", Err(ChunkSize)),
        ("0x1\r\n", "", Err(ChunkSize)),
        (" 1\r\n", "", Err(ChunkSize)),
        ("1 \r\nx\r\n", "", Err(ChunkSize)),
        (";a\r\n", "", Err(ChunkSize)),
        ("ffffffffffffffff\r\nab", "ab", Err(Truncated)),
        ("10000000000000000\r\n", "", Err(ChunkSize)),
        ("00000000000000001\r\n", "", Err(ChunkSize)),
        // Lines that do not end in CRLF.
        ("1\nx\n0\n\n", "", Err(ChunkSize)),
        ("1\r\nx\n0\r\n\r\n", "x", Err(ChunkEnd)),
        ("1\r\nxy\r\n", "x", Err(ChunkEnd)),
        ("1\rx\r\n", "", Err(ChunkEnd)),
        ("1\r\nx0\r\n\r\n", "x", Err(ChunkEnd)),
        ("1\r\nx\rGET", "x", Err(ChunkEnd)),
        ("1;a\nx\r\n0\r\n\r\n", "", Err(Extension)),
        ("1;a\0\r\n", "", Err(Extension)),
        ("0\r\n\n", "", Err(Trailer)),
        ("0\r\n\rX", "", Err(Trailer)),
        ("0\r\nGET /smuggled HTTP/1.1\r\n\r\n", "", Err(Trailer)),
        ("0\r\n folded: x\r\n\r\n", "", Err(Trailer)),
        ("0\r\na : x\r\n\r\n", "", Err(Trailer)),
        ("0\r\n: x\r\n\r\n", "", Err(Trailer)),
        ("0\r\na: x\n\r\n", "", Err(Trailer)),
        ("0\r\na: \0\r\n\r\n", "", Err(Trailer)),
        // Cut at every kind of place.
        ("", "", Err(Truncated)),
        ("1", "", Err(Truncated)),
        ("1\r\n", "", Err(Truncated)),
        ("1\r\nx", "x", Err(Truncated)),
        ("1\r\nx\r\n", "x", Err(Truncated)),
        ("0\r\n", "", Err(Truncated)),
        ("0\r\na: b\r\n", "", Err(Truncated)),
        ("0\r\n\r", "", Err(Truncated)),
    ];
    for (input, body, end) in rows {
        check(Framing::Chunked, input, body, *end);
    }
}

#[test]
fn what_is_dropped_is_bounded() {
    let rows = [
        (format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(16 * 1024)), None),
        (format!("1;{}\r\n", "a".repeat(16 * 1024 + 1)), Some(BodyError::ExtensionTooLong)),
        ("1;aaa\r\nx\r\n".repeat(6000), Some(BodyError::ExtensionTooLong)),
        (format!("1{}", " ".repeat(20_000)), Some(BodyError::ExtensionTooLong)),
        (format!("0\r\na: {}\r\n\r\n", "a".repeat(8 * 1024 - 4)), None),
        (format!("0\r\na: {}\r\n\r\n", "a".repeat(8 * 1024 - 3)), Some(BodyError::TrailerTooLong)),
        // Each has its own budget.
        (format!("1;{}\r\nx\r\n0\r\na: {}\r\n\r\n", "a".repeat(16 * 1024), "a".repeat(8 * 1024 - 4)), None),
        (format!("0\r\n{}", "a: b\r\n".repeat(2000)), Some(BodyError::TrailerTooLong)),
    ];
    for (input, error) in rows {
        let (_, end) = decode(Framing::Chunked, input.as_bytes(), input.len());
        assert_eq!(end.err(), error, "{}..", &input[..10]);
    }
}

#[test]
fn the_decoder_knows_when_it_has_ended() {
    let mut decoder = BodyDecoder::new(Framing::Length(2));
    let mut pos = 0;
    assert_eq!(decoder.next(b"ab", &mut pos), Ok(Step::Data(0..2)));
    assert!(decoder.is_ended() && decoder.ended_alone(), "no further read is needed to know");
    assert_eq!(decoder.next(b"abHTTP", &mut pos), Ok(Step::End));
    assert!(decoder.is_ended() && !decoder.ended_alone());
    let mut decoder = BodyDecoder::new(Framing::Close);
    assert!(!decoder.is_ended());
    assert_eq!(decoder.eof(), Ok(()));
    assert!(decoder.is_ended());
}
