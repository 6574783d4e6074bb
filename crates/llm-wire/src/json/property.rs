//! Properties that hold for any bytes, as functions that panic where one does not: the bodies of
//! fuzz targets and of property tests.

use super::fault::{Fault, ScanError};
use super::raw::{RawStr, RawValue};
use super::scan;
use super::stream::Document;
use super::tape::Tape;
use super::walk;
use super::write;

/// The property of the fuzz target `json_scan`. The first byte chooses the cuts.
pub fn check(input: &[u8]) {
    let Some((&seed, data)) = input.split_first() else { return };
    walk_is_validate(data);
    tape_is_scan(data, seed.into());
    document_ignores_cuts(data, seed.into());
    strings_survive(data);
}

/// What is written as a string reads as the text, and a string body is what is between the quotes.
fn strings_survive(data: &[u8]) {
    let quoted = [b"\"", data, b"\""].concat();
    let is_string = scan::validate(&quoted).is_ok() && scan::skip_value(&quoted, 0) == Ok(quoted.len());
    assert_eq!(RawStr::parse(data).is_ok() && std::str::from_utf8(data).is_ok(), is_string);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut written = Vec::new();
    write::string(&mut written, text);
    let read = RawValue::parse(&written).ok().and_then(RawValue::as_str);
    assert!(read.is_some_and(|raw| raw.unescape() == text && raw.eq_str(text)));
}

/// Cuts `data` into pieces of which some are empty, the same for the same `seed`.
pub fn pieces(mut data: &[u8], mut seed: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !data.is_empty() {
        // A linear congruence is random enough to choose lengths: mostly short ones, now and then a
        // long one.
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let len = (seed >> 59) as usize;
        let len = if len > 28 { len << 5 } else { len % 7 };
        let (piece, rest) = data.split_at(len.min(data.len()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// A walk over an object or array finds exactly the faults that [`scan::validate`] finds, save
/// UTF-8, and gives out only values that are valid by themselves and are at the reported position.
pub fn walk_is_validate(data: &[u8]) {
    let check = |fault: Option<ScanError>, end: usize| {
        let theirs = scan::validate(if fault.is_none() { &data[..end] } else { data });
        assert!(fault == theirs.err() || theirs.is_err_and(|e| e.what == Fault::Utf8), "{fault:?} but {theirs:?}");
    };
    let value_is_valid = |value: RawValue<'_>| match RawValue::parse(value.bytes()) {
        Ok(again) => assert_eq!(again, value),
        Err(e) => assert_eq!(e.what, Fault::Utf8),
    };
    match data.get(scan::skip_space(data, 0)) {
        Some(b'{') => {
            let mut walk = walk::members(data);
            for (key, value, at) in walk.by_ref() {
                assert_eq!(&data[at], value.bytes());
                assert!(RawStr::parse(key.as_bytes()).is_ok());
                assert!(key.eq_str(&key.unescape()) || std::str::from_utf8(key.as_bytes()).is_err());
                value_is_valid(value);
            }
            check(walk.fault(), walk.position());
        }
        Some(b'[') => {
            let mut walk = walk::elements(data);
            for (value, at) in walk.by_ref() {
                assert_eq!(&data[at], value.bytes());
                value_is_valid(value);
            }
            check(walk.fault(), walk.position());
        }
        _ => {
            assert_eq!(walk::members(data).count() + walk::elements(data).count(), 0);
            let _ = scan::validate(data);
        }
    }
}

/// A tape changes nothing but the time: it finds the faults that [`scan::validate`] finds, and what
/// is found along it is what a scan finds, in the same places. So it is where the bound on its
/// nodes (`most`) is passed, where nothing is noted.
pub fn tape_is_scan(data: &[u8], most: usize) {
    let mut tape = Tape::default();
    // What an earlier document left behind has no effect on the next.
    let _ = tape.read(b"[{\"a\":[1,2,3]},[[[");
    match (tape.read(data), scan::validate(data)) {
        (Ok(taped), Ok(())) => drop(same_values(taped, RawValue::new(data.trim_ascii()))),
        (taped, valid) => assert_eq!(taped.map(drop), valid),
    }
    if let Ok(taped) = tape.read_within(most, data) {
        let count = same_values(taped, RawValue::new(data.trim_ascii()));
        assert_eq!(taped.noted_inside(), if count <= most { count - 1 } else { 0 });
    }
    assert!(tape.noted() <= most);
}

/// Walks two values that should be one in step. Returns how many values there are, these included.
fn same_values(taped: RawValue<'_>, scanned: RawValue<'_>) -> usize {
    let mut count = 0;
    let mut rest = vec![(taped, scanned)];
    while let Some((taped, scanned)) = rest.pop() {
        count += 1;
        assert_eq!(taped.bytes().as_ptr_range(), scanned.bytes().as_ptr_range());
        let (mut ours, mut theirs) = (taped.members(), scanned.members());
        loop {
            let (our, their) = (ours.next(), theirs.next());
            assert_eq!((&our, ours.position(), ours.fault()), (&their, theirs.position(), theirs.fault()));
            let (Some((key, value, at)), Some((_, their_value, _))) = (our, their) else { break };
            if at.start < 256 {
                let key = key.unescape();
                assert_eq!(taped.find(&key), scanned.find(&key));
            }
            rest.push((value, their_value));
        }
        let (mut ours, mut theirs) = (taped.elements(), scanned.elements());
        loop {
            let (our, their) = (ours.next(), theirs.next());
            assert_eq!((&our, ours.position(), ours.fault()), (&their, theirs.position(), theirs.fault()));
            let (Some((value, _)), Some((their_value, _))) = (our, their) else { break };
            rest.push((value, their_value));
        }
    }
    count
}

/// A document that arrives in pieces comes out as one that arrives whole; as long as it is valid,
/// only top-level models differ, and what was captured is what a walk finds.
pub fn document_ignores_cuts(data: &[u8], seed: u64) {
    let run = |pieces: &[&[u8]]| {
        let mut doc = Document::new(&["usage"], 64).replace_model("new");
        let mut out = Vec::new();
        for piece in pieces {
            doc.feed(piece, &mut out);
        }
        doc.finish(&mut out);
        (out, doc.captured("usage").map(|usage| usage.bytes().to_vec()), doc.is_whole())
    };
    let whole = run(&[data]);
    assert_eq!(run(&pieces(data, seed)), whole);
    if scan::validate(data).is_err() || !RawValue::new(data.trim_ascii()).is_object() {
        return;
    }
    let (out, usage, is_whole) = whole;
    let mut expected = Vec::new();
    let mut from = 0;
    for (key, value, at) in walk::members(data) {
        if key.eq_str("model") && value.as_str().is_some() && at.len() <= 1024 {
            expected.extend_from_slice(&data[from..at.start]);
            expected.extend_from_slice(b"\"new\"");
            from = at.end;
        }
    }
    expected.extend_from_slice(&data[from..]);
    assert_eq!(out, expected);
    match walk::find(data, "usage").map(RawValue::bytes) {
        // Without its long strings it may be short enough.
        Some(found) if found.len() > 64 => assert!(usage.is_none_or(|usage| usage.len() <= 64)),
        found => assert_eq!(usage.as_deref(), found),
    }
    assert!(is_whole);
}
